// MessagePack in its shortest form, a byte a character: see PACKED.md.

import { decimalText } from "../decimal.ts";
import {
  BOOLEAN,
  BYTES,
  type Column,
  DECIMAL,
  INTEGER,
  JSON_TEXT,
  REAL,
  type Stored,
  TEXT,
  type TableSchema,
  TIMESTAMP,
} from "../schema.ts";
import type { Whole } from "../whole.ts";
import { toBinary, toUtf8 } from "./binary.ts";

const EXT_DECIMAL = 1;
const EXT_TIMESTAMP = 2;
const EXT_JSON = 3;

const CHARS = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
const FLOAT = new DataView(new ArrayBuffer(8));

function u16(value: number): string {
  return CHARS[value >>> 8]! + CHARS[value & 0xff]!;
}

function u32(value: number): string {
  return u16(value >>> 16) + u16(value & 0xffff);
}

function u64(value: bigint): string {
  const bits = BigInt.asUintN(64, value);
  return u32(Number(bits >> 32n)) + u32(Number(bits & 0xffff_ffffn));
}

export function packInteger(value: Whole): string {
  if (typeof value === "bigint") return (value < 0n ? "\xd3" : "\xcf") + u64(value);
  if (value >= 0) {
    if (value < 0x80) return CHARS[value]!;
    if (value < 0x100) return "\xcc" + CHARS[value]!;
    if (value < 0x1_0000) return "\xcd" + u16(value);
    if (value < 0x1_0000_0000) return "\xce" + u32(value);
    return "\xcf" + u32(Math.floor(value / 0x1_0000_0000)) + u32(value % 0x1_0000_0000);
  }
  if (value >= -0x20) return CHARS[value + 0x100]!;
  if (value >= -0x80) return "\xd0" + CHARS[value + 0x100]!;
  if (value >= -0x8000) return "\xd1" + u16(value + 0x1_0000);
  if (value >= -0x8000_0000) return "\xd2" + u32(value + 0x1_0000_0000);
  return "\xd3" + u64(BigInt(value));
}

export function packText(text: string): string {
  const bytes = toUtf8(text);
  const length = bytes.length;
  if (length < 32) return CHARS[0xa0 | length]! + bytes;
  if (length < 0x100) return "\xd9" + CHARS[length]! + bytes;
  if (length < 0x1_0000) return "\xda" + u16(length) + bytes;
  return "\xdb" + u32(length) + bytes;
}

function packBytes(value: Uint8Array): string {
  const length = value.length;
  const head =
    length < 0x100
      ? "\xc4" + CHARS[length]!
      : length < 0x1_0000
        ? "\xc5" + u16(length)
        : "\xc6" + u32(length);
  return head + toBinary(value);
}

function packExtension(type: number, bytes: string): string {
  const length = bytes.length;
  const head =
    length === 1 || length === 2 || length === 4 || length === 8 || length === 16
      ? CHARS[0xd4 + Math.log2(length)]!
      : length < 0x100
        ? "\xc7" + CHARS[length]!
        : length < 0x1_0000
          ? "\xc8" + u16(length)
          : "\xc9" + u32(length);
  return head + CHARS[type]! + bytes;
}

export function packArrayHead(length: number): string {
  if (length < 16) return CHARS[0x90 | length]!;
  return length < 0x1_0000 ? "\xdc" + u16(length) : "\xdd" + u32(length);
}

/** A value of a column. */
export function packValue(column: Column, value: Stored): string {
  if (value === null) return "\xc0";
  switch (column.kind) {
    case TEXT:
      return packText(value as string);
    case INTEGER:
      return packInteger(value as Whole);
    case DECIMAL:
      return packExtension(EXT_DECIMAL, decimalText(value as Whole, column.scale));
    case TIMESTAMP:
      return packExtension(EXT_TIMESTAMP, u64(BigInt(value as Whole)));
    case BOOLEAN:
      return value === true ? "\xc3" : "\xc2";
    case REAL: {
      FLOAT.setFloat64(0, value as number);
      return "\xcb" + u32(FLOAT.getUint32(0)) + u32(FLOAT.getUint32(4));
    }
    case BYTES:
      return packBytes(value as Uint8Array);
    case JSON_TEXT:
      return packExtension(EXT_JSON, toUtf8(value as string));
  }
  throw new Error(`there is no column of kind ${column.kind}`);
}

/** A row. */
export function packRow(table: TableSchema, row: readonly Stored[]): string {
  const columns = table.columns;
  let packed = packArrayHead(columns.length);
  for (let at = 0; at < columns.length; at++) packed += packValue(columns[at]!, row[at]!);
  return packed;
}

/** A key. */
export function packKey(table: TableSchema, key: readonly Stored[]): string {
  let packed = packArrayHead(key.length);
  for (let at = 0; at < key.length; at++)
    packed += packValue(table.columns[table.primaryKey[at]!]!, key[at]!);
  return packed;
}

/** Cells: column, whether it is added to, value. */
export interface Cells {
  readonly columns: number[];
  readonly adds: boolean[];
  readonly values: Stored[];
}

export const PUT = 0;
export const PATCH = 1;
export const UPSERT = 2;
export const REMOVE = 3;

export function packPut(number: number, table: TableSchema, row: readonly Stored[]): string {
  return "\x93\x00" + packInteger(number) + packRow(table, row);
}

export function packRemove(number: number, table: TableSchema, key: readonly Stored[]): string {
  return "\x93\x03" + packInteger(number) + packKey(table, key);
}

/** A patch or an upsert. */
export function packCells(
  operation: number,
  number: number,
  table: TableSchema,
  key: readonly Stored[],
  cells: Cells,
): string {
  let packed = "\x94" + CHARS[operation]! + packInteger(number) + packKey(table, key);
  packed += packArrayHead(3 * cells.columns.length);
  for (let at = 0; at < cells.columns.length; at++) {
    const column = cells.columns[at]!;
    packed += packInteger(column) + (cells.adds[at] ? "\x01" : "\x00");
    packed += packValue(table.columns[column]!, cells.values[at]!);
  }
  return packed;
}

export function packRead(number: number, table: TableSchema, key: readonly Stored[]): string {
  return "\x92" + packInteger(number) + packKey(table, key);
}

/** A lifted event; null is "as in the event that was given". */
export function packLifted(
  eventType: string,
  schemaVersion: number,
  data: string | null,
  metadata: string | null,
): string {
  const text = (value: string | null): string => (value === null ? "\xc0" : packText(value));
  return "\x94" + packText(eventType) + packInteger(schemaVersion) + text(data) + text(metadata);
}
