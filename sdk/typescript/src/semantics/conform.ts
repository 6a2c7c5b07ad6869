// A value of an author, checked against its column and brought to its one form.

import { Decimal, decimalText } from "../decimal.ts";
import { inspect, parseJson, writeJson } from "../json.ts";
import {
  BOOLEAN,
  BYTES,
  type Column,
  DECIMAL,
  INTEGER,
  JSON_TEXT,
  KIND_NAMES,
  REAL,
  type Stored,
  TEXT,
  TIMESTAMP,
  type TableSchema,
} from "../schema.ts";
import { shown, utf8Length } from "../shown.ts";
import { Timestamp } from "../timestamp.ts";
import { isInteger64, whole, type Whole } from "../whole.ts";
import { jsonError } from "./json-text.ts";

/** Bytes of one key in all: texts and bytes as they are, every other value 8, decimals 16. */
export const KEY_BYTES_MAX = 1_000;
/** Bytes of the columns of one declared index in all, counted as for a key. */
export const INDEX_BYTES_MAX = 2_000;

// The years 1 to 9999: what both databases keep and sort alike.
const MICROS_MIN = -62_135_596_800_000_000n;
const MICROS_MAX = 253_402_300_799_999_999n;
const ODD_TEXT = /[^\x01-\x7f]/;

/** How a value or a change breaks what the table declares; the message names table and column. */
export class Violation extends Error {}

/** `orders.total`. */
export function at(table: TableSchema, column: Column): string {
  return `${shown(table.name, 48)}.${shown(column.name, 48)}`;
}

export function names(table: TableSchema, columns: readonly number[]): string {
  return columns.map((column) => shown(table.columns[column]?.name ?? "", 48)).join(", ");
}

/** A column's type as messages name it: `decimal(2)`. */
export function typeName(column: Column): string {
  return column.kind === DECIMAL ? `decimal(${column.scale})` : (KIND_NAMES[column.kind] ?? "");
}

/** Checks one value; gives its one form. */
export function conform(table: TableSchema, column: Column, value: unknown): Stored {
  switch (column.kind) {
    case TEXT:
      if (typeof value === "string") return ODD_TEXT.test(value) ? oddText(table, column, value) : value;
      break;
    case INTEGER:
      if (typeof value === "number") {
        if (Number.isSafeInteger(value)) return value + 0;
        throw inexact(table, column, value);
      }
      if (typeof value === "bigint") return conformInteger(table, column, whole(value));
      break;
    case DECIMAL:
      return value === null ? conformNull(table, column) : conformDecimal(table, column, value);
    case TIMESTAMP:
      if (value instanceof Timestamp) return conformMicros(table, column, Timestamp.microsOf(value));
      break;
    case BOOLEAN:
      if (typeof value === "boolean") return value;
      break;
    case REAL:
      if (typeof value === "number") {
        // 0 is added, so that -0 becomes 0.
        if (Number.isFinite(value)) return value + 0;
        throw new Violation(`${at(table, column)}: ${value} is not a finite number`);
      }
      break;
    case BYTES:
      // A copy, so that what the author does with the bytes later changes no row.
      if (value instanceof Uint8Array) return value.slice();
      break;
    case JSON_TEXT:
      if (value !== null && value !== undefined) return conformJson(table, column, value);
      break;
  }
  if (value === null) return conformNull(table, column);
  throw mismatch(table, column, described(value));
}

export function conformNull(table: TableSchema, column: Column): null {
  if (column.nullable) return null;
  throw new Violation(`${at(table, column)}: null came, but the column is not nullable`);
}

export function conformInteger(table: TableSchema, column: Column, value: Whole): Whole {
  if (!isInteger64(value)) {
    throw new Violation(`${at(table, column)}: ${value} does not fit a signed 64-bit integer`);
  }
  if (column.safe && typeof value === "bigint") throw unsafe(table, column, value);
  return value;
}

export function unsafe(table: TableSchema, column: Column, value: Whole): Violation {
  return new Violation(
    `${at(table, column)}: ${value} is beyond 2^53 - 1, which a safeInteger() column does not hold (use integer())`,
  );
}

export function conformMicros(table: TableSchema, column: Column, micros: Whole): Whole {
  if (micros < MICROS_MIN || micros > MICROS_MAX) {
    throw new Violation(
      `${at(table, column)}: ${micros} microseconds since 1970 lie outside the years 1 to 9999, which both databases can keep`,
    );
  }
  return micros;
}

export function conformText(table: TableSchema, column: Column, value: string): string {
  return ODD_TEXT.test(value) ? oddText(table, column, value) : value;
}

function oddText(table: TableSchema, column: Column, value: string): string {
  if (value.includes("\0")) throw new Violation(`${at(table, column)}: text may not contain U+0000`);
  if (isLone(value)) {
    throw new Violation(`${at(table, column)}: text may not contain half of a surrogate pair`);
  }
  return value;
}

function isLone(value: string): boolean {
  return /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(value);
}

function conformDecimal(table: TableSchema, column: Column, value: unknown): Whole {
  if (!(value instanceof Decimal)) {
    if (typeof value === "bigint") {
      if (!isInteger64(whole(value))) {
        throw new Violation(`${at(table, column)}: ${value} does not fit a signed 64-bit integer`);
      }
    } else if (typeof value !== "number") {
      throw mismatch(table, column, described(value));
    }
  }
  try {
    return Decimal.mantissaAt(Decimal.of(value as Decimal | bigint | number), column.scale);
  } catch (error) {
    throw noDecimal(table, column, String(value), error);
  }
}

export function noDecimal(table: TableSchema, column: Column, value: string, error: unknown): Violation {
  const why = error instanceof Error ? error.message : String(error);
  return new Violation(`${at(table, column)}: ${value} does not fit ${typeName(column)}: ${why}`);
}

function conformJson(table: TableSchema, column: Column, value: unknown): string {
  let written: string;
  try {
    written = writeJson(value);
  } catch (error) {
    throw new Violation(`${at(table, column)}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return conformJsonText(table, column, written);
}

export function conformJsonText(table: TableSchema, column: Column, text: string): string {
  const error = jsonError(text);
  if (error === undefined) return text;
  throw new Violation(`${at(table, column)}: not JSON that can be kept: ${error}`);
}

export function mismatch(table: TableSchema, column: Column, came: string): Violation {
  return new Violation(`${at(table, column)}: the column is ${typeName(column)}, but ${came} came`);
}

function inexact(table: TableSchema, column: Column, value: number): Violation {
  return Number.isInteger(value)
    ? new Violation(
        `${at(table, column)}: ${value} is beyond 2^53 - 1 and may have lost digits: give a bigint`,
      )
    : new Violation(`${at(table, column)}: the column is integer, but ${value} came`);
}

/** A value as messages name it: type and, cut short, what it is. */
function described(value: unknown): string {
  if (value === undefined) return "undefined";
  if (value === null) return "null";
  if (typeof value === "string") return `text '${shown(value)}'`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof Decimal) return `decimal ${value.toString()}`;
  if (value instanceof Timestamp) return `timestamp ${value.toString()}`;
  if (typeof value === "object") return `an object ${shown(inspect(value))}`;
  return `${typeof value} ${shown(String(value))}`;
}

/** The value that an author sees. */
export function revealed(column: Column, value: Stored): unknown {
  if (value === null) return null;
  switch (column.kind) {
    case INTEGER:
      if (!column.safe) return BigInt(value as Whole);
      if (typeof value === "bigint") throw new Violation(`${column.name}: ${value} is beyond 2^53 - 1`);
      return value;
    case DECIMAL:
      return Decimal.ofMantissa(value as Whole, column.scale);
    case TIMESTAMP:
      return Timestamp.fromMicros(value as Whole);
    case BYTES:
      return (value as Uint8Array).slice();
    case JSON_TEXT:
      return parseJson(value as string);
    default:
      return value;
  }
}

/** Bytes that a value counts in a key or an index. */
export function sortBytes(column: Column, value: Stored | undefined): number {
  if (typeof value === "string") return utf8Length(value);
  if (value instanceof Uint8Array) return value.length;
  return column.kind === DECIMAL && value !== null ? 16 : 8;
}

/** A value for a message. */
export function storedText(column: Column, value: Stored): string {
  if (column.kind === DECIMAL && value !== null) return decimalText(value as Whole, column.scale);
  return typeof value === "string" ? `'${shown(value)}'` : String(value);
}
