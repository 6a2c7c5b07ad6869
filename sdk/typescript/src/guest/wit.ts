// Values as the component's bindings know them.
//
// The engine's bindings take every 64-bit integer through a double, which would round what is beyond 2^53. So the plugin is
// built against a contract in which the integers of a value are pairs of 32 bits, low first, which lie in memory as the
// 64-bit integer does; build.mjs then writes the integer's type back into the component.

import { Decimal, decimalText } from "../decimal.ts";
import {
  BOOLEAN,
  BYTES,
  type Column,
  DECIMAL,
  type Descriptor,
  type EventSchema,
  INTEGER,
  JSON_TEXT,
  KIND_NAMES,
  REAL,
  type Stored,
  TEXT,
  TIMESTAMP,
  type UpcasterDescriptor,
} from "../schema.ts";
import { whole, type Whole } from "../whole.ts";

/** Both signed, which is how the bindings take 32 bits whole. */
type Pair = readonly [low: number, high: number];
export type WitValue = { readonly tag: string; readonly val?: boolean | number | string | Uint8Array | Pair };

function bits32(value: number): number {
  return value | 0;
}

function toPair(value: Whole): Pair {
  const bits = BigInt.asUintN(64, BigInt(value));
  return [bits32(Number(bits & 0xffff_ffffn)), bits32(Number(bits >> 32n))];
}

function fromPair([low, high]: Pair): Whole {
  return whole(BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0)));
}

export function toWit(column: Column, value: Stored): WitValue {
  if (value === null) return { tag: "null" };
  const tag = KIND_NAMES[column.kind]!;
  switch (column.kind) {
    case INTEGER:
    case TIMESTAMP:
      return { tag, val: toPair(value as Whole) };
    case DECIMAL:
      return { tag, val: decimalText(value as Whole, column.scale) };
    default:
      return { tag, val: value as boolean | number | string | Uint8Array };
  }
}

export function fromWit(column: Column, { tag, val }: WitValue): Stored {
  if (tag === "null") return null;
  if (tag !== KIND_NAMES[column.kind]) throw new Error(`the host gave ${tag} for column '${column.name}'`);
  switch (column.kind) {
    case INTEGER:
    case TIMESTAMP:
      return fromPair(val as Pair);
    case DECIMAL:
      return Decimal.mantissaAt(Decimal.parse(val as string), column.scale);
    case BYTES:
      return Uint8Array.from(val as Uint8Array);
    case BOOLEAN:
    case REAL:
    case TEXT:
    case JSON_TEXT:
      return val as boolean | number | string;
  }
  throw new Error(`there is no column of kind ${column.kind}`);
}

/** A projector's descriptor. */
export function witDescriptor({ name, version, subscriptions, tables, options }: Descriptor): unknown {
  return {
    name,
    version,
    subscriptions: subscriptions.map(({ schemaVersions, ...subscription }) => ({
      ...subscription,
      schemaVersions: schemaVersions.map(bits32),
    })),
    tables: tables.map((table) => ({
      name: table.name,
      columns: table.columns.map((column) => ({
        name: column.name,
        kind:
          column.kind === DECIMAL ? { tag: "decimal", val: column.scale } : { tag: KIND_NAMES[column.kind] },
        nullable: column.nullable,
        initial: column.initial === undefined ? null : toWit(column, column.initial),
      })),
      primaryKey: table.primaryKey,
      indexes: table.indexes,
    })),
    options,
  };
}

/** An upcaster's descriptor. */
export function witUpcasterDescriptor({ name, version, rules, options }: UpcasterDescriptor): unknown {
  const schema = ({ eventType, schemaVersion }: EventSchema): EventSchema => ({
    eventType,
    schemaVersion: bits32(schemaVersion),
  });
  return {
    name,
    version,
    rules: rules.map(({ takes, gives }) => ({ takes: schema(takes), gives: gives.map(schema) })),
    options,
  };
}
