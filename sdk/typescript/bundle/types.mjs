// Checks types by the compiler that the SDK pins.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { Fault } from "./fault.mjs";

const require = createRequire(import.meta.url);

/** Checks src/ by tsconfig.json, and, with its tests, test/ by its own where there is one. */
export async function checkTypes(project, { withTests = false } = {}) {
  if (!existsSync(path.join(project, "tsconfig.json"))) {
    throw new Fault(
      'tsconfig.json is missing; this does: {"extends": "lamphouse/tsconfig.json", "include": ["src"]}',
    );
  }
  const wanted = ["tsconfig.json", ...(withTests ? ["test/tsconfig.json"] : [])];
  const configs = wanted.filter((file) => existsSync(path.join(project, file)));
  const outputs = await Promise.all(configs.map((config) => compile(project, config)));
  const errors = outputs.filter((output) => output !== "");
  if (errors.length > 0) throw new Fault(`types do not fit:\n${errors.join("\n")}`);
}

/** What the compiler says; empty when all is right. */
function compile(project, config) {
  const compiler = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  const pretty = process.stderr.isTTY ? "true" : "false";
  const args = [compiler, "--noEmit", "--pretty", pretty, "-p", config];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: project, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve(code === 0 ? "" : output.trim() || `tsc ended with code ${code}`));
  });
}
