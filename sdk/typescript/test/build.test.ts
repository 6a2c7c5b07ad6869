// What the build says of a plugin that it cannot make.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

const SDK = process.cwd();

/** What `build.mjs --check` says of such a source; undefined for no source at all. */
function check(
  source: string | undefined,
  config = '{"extends":"lamphouse/tsconfig.json","include":["src"]}',
) {
  const project = mkdtempSync(path.join(tmpdir(), "lamphouse-test-"));
  try {
    mkdirSync(path.join(project, "src"));
    mkdirSync(path.join(project, "node_modules"));
    symlinkSync(SDK, path.join(project, "node_modules/lamphouse"));
    if (config !== "") writeFileSync(path.join(project, "tsconfig.json"), config);
    if (source !== undefined) writeFileSync(path.join(project, "src/plugin.ts"), source);
    const args = ["node_modules/lamphouse/build.mjs", "--check"];
    return spawnSync(process.execPath, args, { cwd: project, encoding: "utf8" });
  } finally {
    rmSync(project, { recursive: true });
  }
}

const projector = (rest: string) => `
import { integer, projector, table, text } from "lamphouse";
const t = table({ id: text().key(), n: integer() });
export default projector({ name: "p", version: "1.0.0", tables: { t }, ${rest} });
`;

test("a plugin that is all right", () => {
  const { stdout, stderr, status } = check(projector("onEveryEvent() {}"));
  assert.deepEqual([status, stdout, stderr], [0, "projector p 1.0.0: all right\n", ""]);
});

for (const [name, source, message] of [
  [
    "types that do not fit",
    projector('onEveryEvent(e, { t }) { t.put({ id: "a", n: "b" }); }'),
    /src\/plugin\.ts\(4,\d+\): error TS2322/,
  ],
  ["no source", undefined, /src\/plugin\.ts is missing/],
  ["no default export", "export const plugin = 1;", /src\/plugin\.ts has no default export/],
  ["another default export", "export default { name: 'p' };", /neither a projector nor an upcaster/],
  [
    "a bad name",
    projector("onEveryEvent() {}").replace('"p"', '"P"'),
    /plugin name 'P' must be lower-case ASCII/,
  ],
  ["no event", projector(""), /no subscription is declared/],
  [
    "a clock as it is loaded",
    `const now = Date.now();${projector("onEveryEvent() { void now; }")}`,
    /Date\.now\(\).*use event\.occurredAt[\s\S]*src\/plugin\.ts:1/,
  ],
  ["a package that is not there", `import x from "left-pad"; x;${projector("")}`, /src\/plugin\.ts/],
] as const) {
  test(`${name}: said`, () => {
    const { stderr, status } = check(source);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /^error: /);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /node:internal/);
  });
}

test("no tsconfig.json: said", () => {
  assert.match(
    check(projector("onEveryEvent() {}"), "").stderr,
    /^error: tsconfig\.json is missing; this does: /,
  );
});
