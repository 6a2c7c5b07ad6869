#!/usr/bin/env node
// Runs the tests of the current folder, test/**/*.test.ts, with Node's own test runner. Further arguments go to it.
//
//   node node_modules/lamphouse/test.mjs [--test-name-pattern=PATTERN] …

import { spawnSync } from "node:child_process";
import path from "node:path";

import { bundleTests } from "./bundle/bundle.mjs";
import { printed } from "./bundle/fault.mjs";

try {
  const files = await bundleTests(path.resolve("."));
  const flags = ["--enable-source-maps", "--test", "--test-reporter=spec", ...process.argv.slice(2)];
  const { status } = spawnSync(process.execPath, [...flags, ...files], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} catch (error) {
  console.error(printed(error));
  process.exitCode = 1;
}
