// Bundles a plugin with the SDK: for the sandbox, for a look at what it declares, and for its tests.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

import { Fault } from "./fault.mjs";
import { sourceTable } from "./source-table.mjs";

const SDK = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const ENTRY = "src/plugin.ts";

/** How everything is bundled. */
function settings(project) {
  return {
    absWorkingDir: project,
    bundle: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    write: false,
    logLevel: "silent",
    // One copy of the SDK, whichever way it is found.
    alias: {
      lamphouse: path.join(SDK, "src/index.ts"),
      "lamphouse/testing": path.join(SDK, "src/testing/index.ts"),
    },
    // Fields that the constructor sets cost nothing else.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false, target: "ES2023" } },
  };
}

async function bundled(options) {
  try {
    return await build(options);
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    const lines = error.errors.map(({ text, location }) =>
      location ? `${location.file}:${location.line}:${location.column + 1}: ${text}` : text,
    );
    throw new Fault(`the plugin cannot be bundled:\n${lines.join("\n")}`);
  }
}

/** The plugin's source, which has to be there. */
export function entryOf(project) {
  if (!existsSync(path.join(project, ENTRY))) {
    throw new Fault(
      `${ENTRY} is missing: the plugin's source, whose default export is a projector or an upcaster`,
    );
  }
  return `./${ENTRY}`;
}

const sdkFile = (file) => JSON.stringify(path.join(SDK, file));

/** Kind, name and version of the plugin, whose declaration is checked as the host would. */
export async function inspect(project) {
  const contents = `
    import ${sdkFile("src/guest/guards.ts")};
    import { checkedPlugin } from ${sdkFile("src/guest/checked.ts")};
    import * as plugin from ${JSON.stringify(entryOf(project))};
    export default checkedPlugin(plugin);
  `;
  const { outputFiles } = await bundled({
    ...settings(project),
    stdin: { contents, resolveDir: project, sourcefile: "inspect.ts", loader: "ts" },
    sourcemap: "inline",
    platform: "neutral",
    mainFields: ["module", "main"],
  });
  const folder = path.join(project, "build");
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, `.inspect-${process.pid}.mjs`);
  await writeFile(file, outputFiles[0].contents);
  try {
    return evaluated(file);
  } finally {
    await rm(file, { force: true });
  }
}

/** What the module says, run by itself: its globals are those of the sandbox. */
function evaluated(file) {
  const script = `
    const write = process.stdout.write.bind(process.stdout);
    import(${JSON.stringify(pathToFileURL(file).href)}).then(
      (module) => write(JSON.stringify(module.default)),
      (error) => { process.stderr.write(String(error?.stack ?? error)); process.exitCode = 1; },
    );
  `;
  const args = ["--enable-source-maps", "--input-type=module", "-e", script];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Fault(`the plugin's source fails as it is loaded:\n${withoutNode(stderr)}`);
  const { errors, ...plugin } = JSON.parse(stdout);
  if (errors.length > 0) throw new Fault(`the host would refuse this plugin:\n- ${errors.join("\n- ")}`);
  return plugin;
}

function withoutNode(stack) {
  const lines = stack.split("\n").filter((line) => !/^\s+at .*(node:internal|\(<anonymous>\))/.test(line));
  return lines.join("\n").trim();
}

/** The module that is made a component; it ends with a table of its lines in the plugin's source. */
export async function bundleForSandbox(project, kind) {
  const exports =
    kind === "projector"
      ? `import tables from "lamphouse:plugin/tables@0.1.0";
         export const packedProjector = projectorExports(plugin, log, tables);`
      : "export const packedUpcaster = upcasterExports(plugin, log);";
  const contents = `
    import ${sdkFile("src/guest/guards.ts")};
    import log from "lamphouse:plugin/log@0.1.0";
    import { projectorExports, upcasterExports } from ${sdkFile("src/guest/index.ts")};
    import plugin from ${JSON.stringify(entryOf(project))};
    ${exports}
  `;
  const { outputFiles } = await bundled({
    ...settings(project),
    stdin: { contents, resolveDir: project, sourcefile: "lamphouse-entry.ts", loader: "js" },
    external: ["lamphouse:*"],
    platform: "neutral",
    mainFields: ["module", "main"],
    sourcemap: "external",
    sourcesContent: false,
    outfile: path.join(project, "build/plugin.js"),
  });
  const code = outputFiles.find((file) => file.path.endsWith(".js")).text;
  const map = JSON.parse(outputFiles.find((file) => file.path.endsWith(".map")).text);
  const table = sourceTable(map, path.join(project, "build"), project, SDK);
  return `${code}\nglobalThis.__lamphouseSources = ${JSON.stringify(table)};\n`;
}

/** Bundles test/**\/*.test.ts into build/test; gives the files. */
export async function bundleTests(project) {
  const folder = path.join(project, "test");
  const names = existsSync(folder) ? await readdir(folder, { recursive: true }) : [];
  const tests = names.filter((name) => name.endsWith(".test.ts")).sort();
  if (tests.length === 0) throw new Fault("there is no test: none of test/**/*.test.ts is there");
  const outdir = path.join(project, "build/test");
  await rm(outdir, { recursive: true, force: true });
  await bundled({
    ...settings(project),
    entryPoints: tests.map((name) => path.join(folder, name)),
    outbase: folder,
    outdir,
    outExtension: { ".js": ".mjs" },
    write: true,
    platform: "node",
    packages: "external",
    sourcemap: "inline",
    plugins: [sdkInside],
  });
  return tests.map((name) => path.join(outdir, name.replace(/\.ts$/, ".mjs")));
}

/** The SDK goes into the bundle, though packages stay outside. */
const sdkInside = {
  name: "sdk-inside",
  setup({ onResolve }) {
    onResolve({ filter: /^lamphouse(\/testing)?$/ }, ({ path: name }) => ({
      path: path.join(SDK, name === "lamphouse" ? "src/index.ts" : "src/testing/index.ts"),
    }));
  },
};
