// From a module to a component.

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { componentize } from "componentize-qjs";

import { Fault } from "./fault.mjs";

/** Beside the SDK in a project that has its own copy of it; else where the SDK's source is. */
const WITS = ["../wit/lamphouse.wit", "../../../wit/lamphouse.wit"];
const WORLDS = { projector: "packed-projector-plugin", upcaster: "packed-upcaster-plugin" };

/** In memory, where all values lie, a pair of 32 bits is a 64-bit integer: see src/guest/wit.ts. */
const PAIR = "tuple<s32, s32>";
const S64 = 0x78;

/** Makes the bundle a component. */
export async function componentOf(bundle, kind) {
  const folder = await mkdtemp(path.join(tmpdir(), "lamphouse-"));
  try {
    await writeFile(path.join(folder, "lamphouse.wit"), pairedWit(await contract()));
    const { component } = await componentize({
      witPath: folder,
      world: WORLDS[kind],
      jsSource: bundle,
      sync: true,
      stubWasi: true,
    });
    return withIntegers(component, kind);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault(`the plugin cannot be made a component: ${error.message}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function contract() {
  const files = WITS.map((wit) => fileURLToPath(new URL(wit, import.meta.url)));
  const file = files.find(existsSync);
  if (file === undefined) throw new Fault(`${files[0]} is missing: the contract belongs to the SDK`);
  return readFile(file, "utf8");
}

/** The contract with pairs for the integers of a value. */
export function pairedWit(wit) {
  const paired = wit
    .replace("integer(s64)", `integer(${PAIR})`)
    .replace("timestamp(micros)", `timestamp(${PAIR})`);
  if (paired.split(PAIR).length !== 3)
    throw new Error("the contract's values are not as this SDK knows them");
  return paired;
}

/**
 * Writes the integers' type back into the component: in a variant, a case is its name's length and text, 1 where it has a
 * payload, and the payload's type, here the number of the pair's.
 */
export function withIntegers(component, kind) {
  const bytes = Buffer.from(component);
  let changed = 0;
  for (const name of ["integer", "timestamp"]) {
    const head = Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from([1])]);
    for (let at = bytes.indexOf(head); at >= 0; at = bytes.indexOf(head, at + 1)) {
      const type = at + head.length;
      // A type's number in one byte, and the end of the case.
      if (bytes[type] >= 0x40 || bytes[type + 1] !== 0) continue;
      bytes[type] = S64;
      changed += 1;
    }
  }
  // An upcaster has no values.
  if (changed % 2 !== 0 || (changed === 0) !== (kind === "upcaster"))
    throw new Error("the component's values are not as this SDK knows them");
  return bytes;
}
