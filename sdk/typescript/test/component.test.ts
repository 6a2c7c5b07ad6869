// What the build makes of a contract and of a component's bytes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { traceOf } from "../src/guest/trace.ts";
import { fromWit, toWit } from "../src/guest/wit.ts";
// @ts-expect-error no types
import { pairedWit, withIntegers } from "../bundle/component.mjs";
// @ts-expect-error no types
import { sourceTable } from "../bundle/source-table.mjs";
import { columnOf, golden, storedOf, type Typed } from "./golden.ts";

test("the contract's integers are pairs for the build", () => {
  const wit = readFileSync("../../wit/lamphouse.wit", "utf8");
  assert.match(pairedWit(wit), /integer\(tuple<s32, s32>\).*\n.*timestamp\(tuple<s32, s32>\)/);
  assert.throws(() => pairedWit(wit.replace("integer(s64)", "integer(s128)")), /not as this SDK knows them/);
});

test("integers get their type back", () => {
  const of = (type: number) =>
    Buffer.from(
      `\x07integer\x01${String.fromCharCode(type)}\0\x09timestamp\x01${String.fromCharCode(type)}\0`,
      "latin1",
    );
  assert.deepEqual(withIntegers(of(3), "projector"), of(0x78));
  // Kinds of columns have the same names, and no payload.
  const kinds = Buffer.from("\x07integer\0\0\x09timestamp\0\0", "latin1");
  assert.deepEqual(withIntegers(kinds, "upcaster"), kinds);
  assert.throws(() => withIntegers(kinds, "projector"), /not as this SDK knows them/);
  assert.throws(() => withIntegers(of(3).subarray(0, 11), "projector"), /not as this SDK knows them/);
});

test("values cross the bindings whole", () => {
  for (const { value } of golden<{ value: Typed }[]>("values")) {
    const column = columnOf(value.type === "null" ? { type: "text" } : value);
    assert.deepEqual(fromWit(column, toWit(column, storedOf(value))), storedOf(value), JSON.stringify(value));
  }
  const integer = columnOf({ type: "integer" });
  assert.deepEqual(toWit(integer, -1), { tag: "integer", val: [-1, -1] });
  assert.deepEqual(toWit(integer, 0xffff_ffff), { tag: "integer", val: [-1, 0] });
  assert.throws(() => fromWit(integer, { tag: "text", val: "1" }), /the host gave text for column 'c'/);
});

test("a stack of the bundle names lines of the plugin's source", () => {
  // Two lines: one of the SDK, and one of src/plugin.ts with two places.
  const map = { sources: ["../sdk/index.ts", "../src/plugin.ts"], mappings: "AAAA;ACEA,IACI" };
  const table = sourceTable(map, "/project/build", "/project", "/project/sdk");
  assert.deepEqual(table, { sources: ["src/plugin.ts"], lines: { 2: [0, 0, 3, 1, 4, 0, 4, 5] } });
  const error = new Error("no");
  error.stack =
    "    at inner (/bundle.js:2:5)\n    at /bundle.js:2:2\n    at run (/bundle.js:1:1)\n    at native\n";
  assert.equal(traceOf(error, table), "at inner (src/plugin.ts:4:5)\nat src/plugin.ts:3:1");
  assert.equal(traceOf("no error", table), "");
});
