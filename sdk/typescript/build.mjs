#!/usr/bin/env node
// Builds the plugin of the current folder: types checked, bundled, made a component.
//
//   node node_modules/lamphouse/build.mjs --out build/NAME.wasm
//   node node_modules/lamphouse/build.mjs --check

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

import { componentOf } from "./bundle/component.mjs";
import { bundleForSandbox, entryOf, inspect } from "./bundle/bundle.mjs";
import { Fault, printed } from "./bundle/fault.mjs";
import { checkTypes } from "./bundle/types.mjs";

const USAGE = "usage: node node_modules/lamphouse/build.mjs [--project DIR] (--out FILE | --check)";

function parsed() {
  try {
    return parseArgs({
      options: {
        project: { type: "string", default: "." },
        out: { type: "string" },
        check: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new Fault(`${error.message}\n${USAGE}`, 2);
  }
}

async function main() {
  const options = parsed();
  if (options.help) {
    console.log(USAGE);
    return;
  }
  if (!options.check && options.out === undefined) throw new Fault(USAGE, 2);
  const project = path.resolve(options.project);
  entryOf(project);
  // The plugin is bundled while its types are checked: both take their time.
  const [, plugin] = await settled([checkTypes(project, { withTests: options.check }), inspect(project)]);
  if (options.check) {
    console.log(`${plugin.kind} ${plugin.name} ${plugin.version}: all right`);
    return;
  }
  const bundle = await bundleForSandbox(project, plugin.kind);
  const component = await componentOf(bundle, plugin.kind);
  const out = path.resolve(project, options.out);
  await mkdir(path.dirname(out), { recursive: true });
  await writeFile(out, component);
  const megabytes = (component.length / 1e6).toFixed(1);
  console.log(
    `${plugin.kind} ${plugin.name} ${plugin.version}: ${path.relative(process.cwd(), out)} (${megabytes} MB)`,
  );
}

/** All results; the first failure in the order given, and not in the order of time. */
async function settled(promises) {
  const results = await Promise.allSettled(promises);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return results.map((result) => result.value);
}

try {
  await main();
} catch (error) {
  console.error(printed(error));
  process.exitCode = error instanceof Fault ? error.code : 1;
}
