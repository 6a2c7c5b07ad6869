// What build.mjs puts around a plugin: the exports of the component.

import type { Host } from "../host.ts";
import { type Level, setSink } from "../log.ts";
import type { Projector } from "../projector.ts";
import { CallFailed, runProjector, type Tracer } from "../run.ts";
import type { Stored, TableSchema } from "../schema.ts";
import { runUpcaster, type Upcaster } from "../upcaster.ts";
import { beginCall } from "./guards.ts";
import { type SourceTable, traceOf } from "./trace.ts";
import { fromWit, toWit, type WitValue, witDescriptor, witUpcasterDescriptor } from "./wit.ts";

interface WitTables {
  apply(changes: Uint8Array): void;
  read(reads: Uint8Array): Uint8Array;
  find(
    table: number,
    index: number,
    prefix: readonly WitValue[],
    after: readonly WitValue[] | null,
    limit: number,
  ): readonly (readonly WitValue[])[];
}

interface WitLog {
  write(level: Level, message: string): void;
}

const tracer: Tracer = (error) =>
  traceOf(error, (globalThis as { __lamphouseSources?: SourceTable }).__lamphouseSources);

/** The export `packed-projector`. */
export function projectorExports(projector: Projector, log: WitLog, tables: WitTables): unknown {
  const host = new Sandbox(projector.schemas, tables);
  return {
    describe: () => witDescriptor(projector.descriptor),
    project: (events: Uint8Array) => failing(log, () => runProjector(projector, events, host, tracer)),
  };
}

/** The export `packed-upcaster`. */
export function upcasterExports(upcaster: Upcaster, log: WitLog): unknown {
  return {
    describe: () => witUpcasterDescriptor(upcaster.descriptor),
    upcast: (events: Uint8Array) => failing(log, () => runUpcaster(upcaster, events, tracer)),
  };
}

/** Throws what the bindings take for the failure of the contract. */
function failing(log: WitLog, run: () => Uint8Array): Uint8Array {
  // Not before: while the plugin is built there is no log yet.
  setSink((level, message) => log.write(level, message.toWellFormed()));
  beginCall();
  try {
    return run();
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error;
    const { index, message, trace } = error.failure;
    throw { index: index ?? null, message: message.toWellFormed(), trace: trace.toWellFormed() };
  }
}

class Sandbox implements Host {
  constructor(
    private readonly schemas: readonly TableSchema[],
    private readonly tables: WitTables,
  ) {}

  apply(changes: Uint8Array): void {
    this.tables.apply(changes);
  }

  read(reads: Uint8Array): Uint8Array {
    return this.tables.read(reads);
  }

  find(
    number: number,
    index: number,
    prefix: readonly Stored[],
    after: readonly Stored[] | undefined,
    limit: number,
  ): Stored[][] {
    const { columns, indexes, primaryKey } = this.schemas[number]!;
    const witOf = (numbers: readonly number[], values: readonly Stored[]): WitValue[] =>
      values.map((value, place) => toWit(columns[numbers[place]!]!, value));
    const found = this.tables.find(
      number,
      index,
      witOf(indexes[index]!, prefix),
      after === undefined ? null : witOf(primaryKey, after),
      limit,
    );
    return found.map((row) => row.map((value, place) => fromWit(columns[place]!, value)));
  }
}
