// What all golden tests need: the files, and typed values as bytes and as the SDK keeps them.

import { readFileSync } from "node:fs";

import { Decimal } from "../src/decimal.ts";
import { packArrayHead, packInteger, packValue } from "../src/packed/write.ts";
import { type Column, KIND_NAMES, type Stored, type TableSchema } from "../src/schema.ts";
import { conform } from "../src/semantics/conform.ts";
import { Timestamp } from "../src/timestamp.ts";
import { whole } from "../src/whole.ts";

export interface Typed {
  readonly type: string;
  readonly value?: string | number | boolean;
}

export interface TypedCell {
  readonly column: number;
  readonly set?: Typed;
  readonly add?: Typed;
}

interface Keyed {
  readonly table: number;
  readonly key: readonly Typed[];
}

export interface TypedChange {
  readonly put?: { readonly table: number; readonly row: readonly Typed[] };
  readonly patch?: Keyed & { readonly cells: readonly TypedCell[] };
  readonly upsert?: Keyed & { readonly cells: readonly TypedCell[] };
  readonly remove?: Keyed;
}

export interface TypedTable {
  readonly name: string;
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly scale: number | null;
    readonly nullable: boolean;
    readonly initial: Typed | null;
  }[];
  readonly primary_key: readonly number[];
  readonly indexes: readonly (readonly number[])[];
}

/** A file of wit/golden. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(`../../wit/golden/${name}.json`, "utf8")) as T;
}

/** A column that holds such values. */
export function columnOf({ type, value }: Typed): Column {
  const kind = KIND_NAMES.indexOf(type as (typeof KIND_NAMES)[number]);
  const scale = type === "decimal" ? Decimal.parse(value as string).scale : 0;
  return { name: "c", property: "c", kind, scale, nullable: true, initial: undefined, safe: false };
}

/** A value as the SDK keeps it, in a column that is made for it. */
export function storedOf({ type, value }: Typed): Stored {
  switch (type) {
    case "null":
      return null;
    case "integer":
    case "timestamp":
      return whole(BigInt(value as string));
    case "decimal":
      return whole(Decimal.parse(value as string).mantissa);
    case "bytes":
      return Uint8Array.from(Buffer.from(value as string, "hex"));
    default:
      return value as Stored;
  }
}

/** A value as an author gives it. */
export function given({ type, value }: Typed): unknown {
  switch (type) {
    case "integer":
      return BigInt(value as string);
    case "timestamp":
      return Timestamp.fromMicros(BigInt(value as string));
    case "decimal":
      return Decimal.parse(value as string);
    default:
      return storedOf({ type, ...(value === undefined ? {} : { value }) });
  }
}

export function pack(typed: Typed): string {
  return typed.type === "null" ? "\xc0" : packValue(columnOf(typed), storedOf(typed));
}

const packList = (values: readonly Typed[]): string =>
  packArrayHead(values.length) + values.map(pack).join("");

export function packRead({ table, key }: Keyed): string {
  return packArrayHead(2) + packInteger(table) + packList(key);
}

export function packChange({ put, patch, upsert, remove }: TypedChange): string {
  if (put) return packArrayHead(3) + packInteger(0) + packInteger(put.table) + packList(put.row);
  if (remove) return packArrayHead(3) + packInteger(3) + packInteger(remove.table) + packList(remove.key);
  const change = patch ?? upsert;
  if (!change) throw new Error("a change that this test does not know");
  const cells = change.cells.map(
    ({ column, set, add }) =>
      packInteger(column) + packInteger(add ? 1 : 0) + pack(add ?? set ?? { type: "null" }),
  );
  return [
    packArrayHead(4),
    packInteger(patch ? 1 : 2),
    packInteger(change.table),
    packList(change.key),
    packArrayHead(3 * cells.length),
    ...cells,
  ].join("");
}

/** Throws where an initial value does not fit. */
export function schemaOf(table: TypedTable): TableSchema {
  const columns = table.columns.map(({ name, type, scale, nullable }) => ({
    ...columnOf({ type, value: "0" }),
    name,
    property: name,
    scale: scale ?? 0,
    nullable,
    initial: undefined as Stored | undefined,
  }));
  const schema = { name: table.name, columns, primaryKey: table.primary_key, indexes: table.indexes };
  for (const [number, { initial }] of table.columns.entries()) {
    const column = columns[number];
    if (initial !== null && column) column.initial = conform(schema, column, given(initial));
  }
  return schema;
}

export const hex = (binary: string): string => Buffer.from(binary, "latin1").toString("hex");
export const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));
