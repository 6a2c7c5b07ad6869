// What a change makes of a row. Cells whose row is not at hand are merged, so that many changes of a row become one.

import { DECIMAL, INTEGER, REAL, type Column, type Stored, type TableSchema } from "../schema.ts";
import type { Cells } from "../packed/write.ts";
import { addWhole, isInteger64, type Whole } from "../whole.ts";
import {
  at,
  INDEX_BYTES_MAX,
  KEY_BYTES_MAX,
  names,
  sortBytes,
  typeName,
  unsafe,
  Violation,
} from "./conform.ts";

const SAFE = Number.MAX_SAFE_INTEGER;
const DECIMAL_MAX = 10n ** 38n - 1n;

/** The sum of a cell and an amount, both in the column's form; null counts as 0. */
export function sum(table: TableSchema, column: Column, old: Stored, amount: Stored): Stored {
  if (typeof old === "number" && typeof amount === "number" && column.kind !== REAL) {
    const total = old + amount;
    if (total <= SAFE && total >= -SAFE) return total;
  }
  const start = old ?? 0;
  if (column.kind === REAL) {
    const total = (start as number) + (amount as number);
    if (Number.isFinite(total)) return total + 0;
    throw overflow(table, column);
  }
  const total = addWhole(start as Whole, amount as Whole);
  if (typeof total === "number") return total;
  if (column.kind === INTEGER) {
    if (column.safe) throw unsafe(table, column, total);
    if (isInteger64(total)) return total;
  } else if (total <= DECIMAL_MAX && total >= -DECIMAL_MAX) {
    return total;
  }
  throw overflow(table, column);
}

function overflow(table: TableSchema, column: Column): Violation {
  return new Violation(`${at(table, column)}: the sum does not fit ${typeName(column)}`);
}

/** Whether cells of the column can be added to. */
export function isSummed(column: Column): boolean {
  return column.kind === INTEGER || column.kind === DECIMAL || column.kind === REAL;
}

/** Changes a row in place; the cells must be conformed. */
export function patchRow(table: TableSchema, row: Stored[], { columns, adds, values }: Cells): void {
  let isIndexed = false;
  for (let place = 0; place < columns.length; place++) {
    const number = columns[place]!;
    const value = values[place]!;
    if (adds[place]) {
      row[number] = sum(table, table.columns[number]!, row[number]!, value);
    } else {
      row[number] = value;
      // Numbers do not grow longer.
      isIndexed ||= typeof value === "string" || value instanceof Uint8Array;
    }
  }
  if (isIndexed) checkIndexes(table, row);
}

/** The row that an upsert makes where there is none. Key and cells must be conformed. */
export function newRow(table: TableSchema, key: readonly Stored[], cells: Cells): Stored[] {
  const row = table.columns.map((column) => column.initial ?? null);
  table.primaryKey.forEach((number, place) => (row[number] = key[place]!));
  patchRow(table, row, cells);
  checkIndexes(table, row);
  for (const [number, column] of table.columns.entries()) {
    if (!column.nullable && row[number] === null) {
      throw new Violation(
        `${at(table, column)}: an upsert of a new row must set it, for it is not nullable and declares no initial value`,
      );
    }
  }
  return row;
}

/** Whether these cells name every column that a new row must be given: not nullable, without an initial value. */
export function namesAllRequired(table: TableSchema, cells: Cells): boolean {
  return table.columns.every(
    (column, number) =>
      column.nullable ||
      column.initial !== undefined ||
      table.primaryKey.includes(number) ||
      cells.columns.includes(number),
  );
}

/**
 * Puts `later` behind `earlier`: the same row comes of it as of both in turn. Gives back those that do not merge, for the
 * row must be known: two sums of reals (their order counts), and sums that overflow.
 */
export function mergeCells(table: TableSchema, earlier: Cells, later: Cells): Cells | undefined {
  let left: Cells | undefined;
  for (let place = 0; place < later.columns.length; place++) {
    const number = later.columns[place]!;
    const value = later.values[place]!;
    // Changes of one row mostly name the same columns in the same order.
    const before = earlier.columns[place] === number ? place : earlier.columns.indexOf(number);
    if (before < 0) {
      pushCell(earlier, number, later.adds[place]!, value);
    } else if (!later.adds[place]) {
      earlier.adds[before] = false;
      earlier.values[before] = value;
    } else if (!mergeSum(table, earlier, before, value)) {
      left ??= { columns: [], adds: [], values: [] };
      pushCell(left, number, true, value);
    }
  }
  return left;
}

function mergeSum(table: TableSchema, cells: Cells, place: number, amount: Stored): boolean {
  const column = table.columns[cells.columns[place]!]!;
  if (cells.adds[place] && column.kind === REAL) return false;
  try {
    cells.values[place] = sum(table, column, cells.values[place]!, amount);
    return true;
  } catch {
    return false;
  }
}

export function pushCell(cells: Cells, column: number, isAdded: boolean, value: Stored): void {
  cells.columns.push(column);
  cells.adds.push(isAdded);
  cells.values.push(value);
}

/** Throws where the columns of an index are too long. */
export function checkIndexes(table: TableSchema, row: readonly Stored[]): void {
  const indexes = table.indexes;
  for (let number = 0; number < indexes.length; number++) {
    const columns = indexes[number]!;
    const bytes = bytesOf(table, columns, row, INDEX_BYTES_MAX);
    if (bytes > INDEX_BYTES_MAX) {
      throw new Violation(
        `table '${table.name}': the indexed columns (${names(table, columns)}) have ${bytes} bytes; at most ` +
          `${INDEX_BYTES_MAX} are allowed`,
      );
    }
  }
}

/** Throws where a key is too long. */
export function checkKey(table: TableSchema, key: readonly Stored[]): void {
  let length = 0;
  for (const value of key) length += typeof value === "string" ? 3 * value.length : 16;
  if (length <= KEY_BYTES_MAX && !key.some((value) => value instanceof Uint8Array)) return;
  let bytes = 0;
  table.primaryKey.forEach((number, place) => (bytes += sortBytes(table.columns[number]!, key[place])));
  if (bytes > KEY_BYTES_MAX) {
    throw new Violation(
      `table '${table.name}': a key (${names(table, table.primaryKey)}) has ${bytes} bytes; at most ${KEY_BYTES_MAX} ` +
        `are allowed`,
    );
  }
}

/** Bytes of some columns of a row; 0 where they are far below the limit, which is told quickly. */
function bytesOf(
  table: TableSchema,
  columns: readonly number[],
  row: readonly Stored[],
  max: number,
): number {
  let most = 0;
  for (let place = 0; place < columns.length; place++) {
    const value = row[columns[place]!];
    most += typeof value === "string" ? 3 * value.length : value instanceof Uint8Array ? value.length : 16;
  }
  if (most <= max) return 0;
  return columns.reduce((bytes, number) => bytes + sortBytes(table.columns[number]!, row[number]), 0);
}
