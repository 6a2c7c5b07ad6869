// Tables in memory, which take changes as the host does.

import type { Host } from "../host.ts";
import { placeOf } from "../memo.ts";
import { fromBinary } from "../packed/binary.ts";
import { Reader } from "../packed/read.ts";
import { type Cells, packRow, PATCH, PUT, REMOVE, UPSERT } from "../packed/write.ts";
import type { Stored, TableSchema } from "../schema.ts";
import { checkIndexes, checkKey, isSummed, newRow, patchRow, pushCell } from "../semantics/change.ts";
import { at, storedText, typeName, Violation } from "../semantics/conform.ts";

type Rows = Map<unknown, Stored[]>;

export class Memory implements Host {
  private readonly rows: Rows[];
  private undo: (() => void)[] = [];

  constructor(readonly schemas: readonly TableSchema[]) {
    this.rows = schemas.map(() => new Map());
  }

  /** One call: all of its changes, or none. */
  call(run: () => void): void {
    this.undo = [];
    try {
      run();
    } catch (error) {
      for (const step of this.undo.reverse()) step();
      throw error;
    }
  }

  row(number: number, key: readonly Stored[]): Stored[] | undefined {
    return this.rows[number]?.get(placeOf(key));
  }

  /** All rows of a table, in the order of their keys. */
  all(number: number): Stored[][] {
    const { primaryKey } = this.schema(number);
    const rows = [...(this.rows[number]?.values() ?? [])];
    return rows.sort((one, other) =>
      compareKeys(
        primaryKey.map((at) => one[at]!),
        primaryKey.map((at) => other[at]!),
      ),
    );
  }

  find(
    number: number,
    index: number,
    prefix: readonly Stored[],
    after: readonly Stored[] | undefined,
    limit: number,
  ): Stored[][] {
    const { indexes, primaryKey } = this.schema(number);
    const columns = indexes[index]!;
    return this.all(number)
      .filter(
        (row) =>
          after === undefined ||
          compareKeys(
            primaryKey.map((at) => row[at]!),
            after,
          ) > 0,
      )
      .filter((row) => prefix.every((value, place) => compare(row[columns[place]!]!, value) === 0))
      .slice(0, limit)
      .map((row) => row.slice());
  }

  read(reads: Uint8Array): Uint8Array {
    const reader = new Reader(reads);
    const answers: string[] = [];
    while (!reader.isDone) {
      if (reader.arrayLength() !== 2) throw new Error("a read is an array of 2");
      const number = reader.count();
      const row = this.row(number, this.readKey(reader, this.schema(number)));
      answers.push(row === undefined ? "\xc0" : packRow(this.schema(number), row));
    }
    return fromBinary(answers.join(""));
  }

  apply(changes: Uint8Array): void {
    const reader = new Reader(changes);
    while (!reader.isDone) this.change(reader);
  }

  private change(reader: Reader): void {
    reader.arrayLength();
    const operation = reader.count();
    const number = reader.count();
    const table = this.schema(number);
    if (operation === PUT) {
      const row = readRow(reader, table);
      const key = table.primaryKey.map((column) => row[column]!);
      checkKey(table, key);
      checkIndexes(table, row);
      this.set(number, key, row);
      return;
    }
    const key = this.readKey(reader, table);
    if (operation === REMOVE) {
      this.set(number, key, undefined);
      return;
    }
    if (operation !== PATCH && operation !== UPSERT) throw new Error(`there is no change ${operation}`);
    const cells = readCells(reader, table);
    const row = this.row(number, key)?.slice();
    if (row !== undefined) {
      patchRow(table, row, cells);
    } else if (operation === PATCH) {
      const shown = table.primaryKey.map((column, place) => storedText(table.columns[column]!, key[place]!));
      throw new Violation(
        `table '${table.name}' has no row with key ${shown.join(", ")} to patch (upsert makes one)`,
      );
    }
    this.set(number, key, row ?? newRow(table, key, cells));
  }

  private set(number: number, key: readonly Stored[], row: Stored[] | undefined): void {
    const rows = this.rows[number]!;
    const place = placeOf(key);
    const old = rows.get(place);
    this.undo.push(() => (old === undefined ? rows.delete(place) : rows.set(place, old)));
    if (row === undefined) {
      rows.delete(place);
    } else {
      rows.set(place, row);
    }
  }

  private readKey(reader: Reader, table: TableSchema): Stored[] {
    const length = reader.arrayLength();
    if (length !== table.primaryKey.length) {
      throw new Violation(
        `table '${table.name}': a key has ${table.primaryKey.length} values, but ${length} came`,
      );
    }
    const key = table.primaryKey.map((column) => reader.conformed(table, table.columns[column]!));
    checkKey(table, key);
    return key;
  }

  private schema(number: number): TableSchema {
    const schema = this.schemas[number];
    if (schema === undefined) throw new Error(`there is no table ${number}`);
    return schema;
  }
}

function readRow(reader: Reader, table: TableSchema): Stored[] {
  const length = reader.arrayLength();
  if (length !== table.columns.length) {
    throw new Violation(
      `table '${table.name}' has ${table.columns.length} columns, but a row of ${length} values came`,
    );
  }
  return table.columns.map((column) => reader.conformed(table, column));
}

function readCells(reader: Reader, table: TableSchema): Cells {
  const cells: Cells = { columns: [], adds: [], values: [] };
  for (let left = reader.arrayLength(); left > 0; left -= 3) {
    const number = reader.count();
    const column = table.columns[number];
    if (column === undefined) {
      throw new Violation(
        `table '${table.name}' has ${table.columns.length} columns; there is none with number ${number}`,
      );
    }
    const here = at(table, column);
    if (table.primaryKey.includes(number))
      throw new Violation(`${here}: it is a key column, and a row keeps its key`);
    if (cells.columns.includes(number)) throw new Violation(`${here}: one change names it twice`);
    const isAdded = reader.count() === 1;
    if (isAdded && !isSummed(column)) {
      throw new Violation(`${here}: the column is ${typeName(column)}, which is only set, never added to`);
    }
    const value = reader.conformed(table, column);
    if (isAdded && value === null) throw new Violation(`${here}: null cannot be added`);
    pushCell(cells, number, isAdded, value);
  }
  return cells;
}

function compareKeys(one: readonly Stored[], other: readonly Stored[]): number {
  for (let place = 0; place < one.length; place++) {
    const order = compare(one[place]!, other[place]!);
    if (order !== 0) return order;
  }
  return 0;
}

/** Values of one column in their order; texts go by their bytes in UTF-8. */
function compare(one: Stored, other: Stored): number {
  if (one === null || other === null) return Number(one !== null) - Number(other !== null);
  if (typeof one === "string") return Buffer.compare(Buffer.from(one), Buffer.from(other as string));
  if (one instanceof Uint8Array) return Buffer.compare(one, other as Uint8Array);
  return one < other ? -1 : one > other ? 1 : 0;
}
