/// <reference path="./globals.d.ts" />

/**
 * Write Lamphouse plugins in TypeScript: projectors (events in, rows out) and upcasters (old events in, today's out). See
 * {@link projector} and {@link upcaster}, and README.md.
 *
 * @module
 */

export {
  boolean,
  bytes,
  type ColumnDeclaration,
  decimal,
  integer,
  json,
  real,
  safeInteger,
  text,
  timestamp,
} from "./column.ts";
export { Decimal } from "./decimal.ts";
export type { Event } from "./event.ts";
export { JsonText, parseJson, writeJson } from "./json.ts";
export { type Level, log } from "./log.ts";
export {
  type Projector,
  projector,
  type ProjectorDefinition,
  type Tables,
  type Wanted,
} from "./projector.ts";
export type { Random } from "./random.ts";
export {
  Add,
  add,
  type Changes,
  type Key,
  type NewRow,
  type Row,
  table,
  type TableDeclaration,
  type Where,
} from "./table.ts";
export type { Table } from "./tables.ts";
export { Timestamp } from "./timestamp.ts";
export {
  drops,
  rule,
  type Rule,
  type Schema,
  type Today,
  type Upcaster,
  upcaster,
  type UpcasterDefinition,
} from "./upcaster.ts";
