// The tables as handlers see them.

import type { Host } from "./host.ts";
import { type Entry, hasTextKey, Memo } from "./memo.ts";
import type { Cells } from "./packed/write.ts";
import type { Column, Stored, TableSchema } from "./schema.ts";
import { checkIndexes, checkKey, isSummed } from "./semantics/change.ts";
import { at, conform, names, revealed, typeName, Violation } from "./semantics/conform.ts";
import { Add, type Changes, type Key, type NewRow, type Row, type Where } from "./table.ts";

/** Rows that one page of `find` asks the host for. */
const FIND_PAGE_ROWS = 1_000;
/** What the bindings take whole. */
const LIMIT_MAX = 0x7fff_ffff;

/**
 * One of the projector's tables.
 *
 * Reads see every change made before them. All changes of the call go in together, or, if the call fails, not at all. A
 * change that the table's declaration does not allow fails the call, even if its error is caught.
 */
export interface Table<T> {
  /** A row by its key; undefined where there is none. */
  get(key: Key<T>): Row<T> | undefined;
  /** Rows by their keys, read together: in the order of the keys, undefined where there is no row. */
  getMany(keys: Iterable<Key<T>>): (Row<T> | undefined)[];
  /** The value of one column of a row: quicker than the whole row. Undefined where there is no row. */
  look<C extends keyof Row<T>>(key: Key<T>, column: C): Row<T>[C] | undefined;
  /**
   * All rows whose indexed columns have these values, in the order of their keys. For groups too large to hold at once,
   * use {@link findPage}.
   */
  find(where: Where<T>): Row<T>[];
  /** One page of `find`: at most `limit` rows, those after the row `after`. */
  findPage(where: Where<T>, page: { readonly after?: Row<T> | undefined; readonly limit: number }): Row<T>[];
  /** Inserts a row, or replaces the one with its key. */
  put(row: NewRow<T>): void;
  /** Changes cells of a row that must be there; an absent one fails the call. */
  patch(key: Key<T>, changes: Changes<T>): void;
  /**
   * Changes cells of a row; an absent one is made first, from each column's `initial`. The row need not be read before:
   * sums over rows that nobody looks at cost least this way.
   */
  upsert(key: Key<T>, changes: Changes<T>): void;
  /** Removes a row, if it is there. */
  remove(key: Key<T>): void;
}

type Fields = Readonly<Record<string, unknown>>;

/** The tables of one call. */
export class CallTables {
  readonly memo: Memo;
  /** The first failure of a table. */
  broken: string | undefined;
  /** By the names that the author gave them. */
  readonly handles: Readonly<Record<string, TableHandle>>;

  constructor(
    names: readonly string[],
    readonly schemas: readonly TableSchema[],
    readonly host: Host,
  ) {
    this.memo = new Memo(schemas, host);
    this.handles = Object.fromEntries(names.map((name, number) => [name, new TableHandle(this, number)]));
  }

  /** Remembers the first failure, so that the call fails even if the author catches it. */
  failed(error: unknown): unknown {
    this.broken ??= error instanceof Error ? error.message : String(error);
    return error;
  }
}

class TableHandle implements Table<never> {
  private readonly schema: TableSchema;
  private readonly memo: Memo;
  private readonly hasTextKey: boolean;
  /** Numbers of columns by the names that the author gave them. */
  private readonly numbers: ReadonlyMap<string, number>;
  /** Whether a column is of the key. */
  private readonly keyed: readonly boolean[];

  constructor(
    private readonly call: CallTables,
    private readonly number: number,
  ) {
    this.schema = call.schemas[number]!;
    this.memo = call.memo;
    this.hasTextKey = hasTextKey(this.schema);
    this.numbers = new Map(this.schema.columns.map(({ property }, column) => [property, column]));
    this.keyed = this.schema.columns.map((_, column) => this.schema.primaryKey.includes(column));
  }

  get(key: unknown): never {
    try {
      return this.reveal(this.read(key)) as never;
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  getMany(keys: Iterable<unknown>): never[] {
    try {
      const entries = Array.from(keys, (key) => this.entry(key));
      this.memo.read(entries);
      return entries.map((entry) => this.reveal(entry.row) as never);
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  look(key: unknown, column: never): never {
    try {
      const row = this.read(key);
      const number = this.numbers.get(column);
      if (number === undefined) throw this.noColumn(column);
      return (row === null ? undefined : revealed(this.schema.columns[number]!, row[number]!)) as never;
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  find(where: unknown): never[] {
    try {
      const rows: Stored[][] = [];
      for (;;) {
        const last = rows.at(-1);
        const page = this.page(where, last && this.keyOf(last), FIND_PAGE_ROWS);
        rows.push(...page);
        if (page.length < FIND_PAGE_ROWS) return rows.map((row) => this.reveal(row) as never);
      }
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  findPage(where: unknown, page: { readonly after?: unknown; readonly limit: number }): never[] {
    try {
      const { after, limit } = page;
      if (!Number.isInteger(limit) || limit < 0)
        throw new Error(`findPage takes a whole number as limit, not ${limit}`);
      const rows = this.page(
        where,
        after === undefined ? undefined : this.keyIn(after),
        Math.min(limit, LIMIT_MAX),
      );
      return rows.map((row) => this.reveal(row) as never);
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  put(fields: unknown): void {
    try {
      const row = this.conformRow(fields);
      this.memo.entry(this.number, this.keyOf(row)).replace(row, this.memo);
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  patch(key: unknown, changes: unknown): void {
    try {
      this.entry(key).change(this.cells(changes), true, this.memo);
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  upsert(key: unknown, changes: unknown): void {
    try {
      this.entry(key).change(this.cells(changes), false, this.memo);
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  remove(key: unknown): void {
    try {
      this.entry(key).replace(null, this.memo);
    } catch (error) {
      throw this.call.failed(error);
    }
  }

  /** The memo's entry of a key of any form. */
  entry(key: unknown): Entry {
    if (this.hasTextKey && typeof key === "string") {
      const entry = this.memo.ofText(this.number, key);
      if (entry !== undefined) return entry;
    }
    return this.memo.entry(this.number, this.conformKey(key));
  }

  private read(key: unknown): Stored[] | null {
    const entry = this.entry(key);
    if (entry.isUnread) this.memo.read([entry]);
    return entry.row;
  }

  private page(where: unknown, after: readonly Stored[] | undefined, limit: number): Stored[][] {
    const [index, prefix] = this.prefix(where);
    // Only the host has the index, so it has to know what this call changed.
    const changes = this.memo.handOver(this.number);
    if (changes.length > 0) this.call.host.apply(changes);
    const rows = this.call.host.find(this.number, index, prefix, after, limit);
    for (const row of rows) this.memo.entry(this.number, this.keyOf(row)).found(row.slice());
    return rows;
  }

  /** The index that is looked up, and the values of its first columns. */
  private prefix(where: unknown): [number, Stored[]] {
    const { schema } = this;
    const given = this.fields(where, "find");
    const wanted = Object.keys(given);
    const numbers = wanted.map((name) => {
      const number = this.numbers.get(name);
      if (number === undefined) throw this.noColumn(name);
      return number;
    });
    const index = schema.indexes.findIndex(
      (columns) =>
        numbers.length > 0 && numbers.every((number) => columns.slice(0, numbers.length).includes(number)),
    );
    const columns = schema.indexes[index];
    if (columns === undefined) {
      const declared = schema.indexes.map((columns) => `(${names(schema, columns)})`).join(", ") || "none";
      throw new Violation(
        `table '${schema.name}': find by (${names(schema, numbers)}) needs an index that begins with these columns; ` +
          `declared: ${declared}`,
      );
    }
    const prefix = columns.slice(0, numbers.length).map((number) => {
      const column = schema.columns[number]!;
      const value = given[column.property];
      if (value === null)
        throw new Violation(`${at(schema, column)}: find looks for a value, and null is none`);
      return conform(schema, column, value);
    });
    return [index, prefix];
  }

  private conformKey(key: unknown): Stored[] {
    const { schema } = this;
    const { primaryKey, columns } = schema;
    const conformed =
      primaryKey.length === 1
        ? [conform(schema, columns[primaryKey[0]!]!, key)]
        : this.partsOf(this.fields(key, "a key"));
    checkKey(schema, conformed);
    return conformed;
  }

  /** The key of a row that the author gives. */
  private keyIn(row: unknown): Stored[] {
    return this.partsOf(this.fields(row, "findPage after a row"));
  }

  private partsOf(given: Fields): Stored[] {
    const { schema } = this;
    return schema.primaryKey.map((number) => {
      const column = schema.columns[number]!;
      return conform(schema, column, given[column.property]);
    });
  }

  private keyOf(row: readonly Stored[]): Stored[] {
    return this.schema.primaryKey.map((column) => row[column]!);
  }

  private conformRow(fields: unknown): Stored[] {
    const { schema } = this;
    const { columns } = schema;
    const given = this.fields(fields, "put");
    const row: Stored[] = [];
    for (let number = 0; number < columns.length; number++) {
      const column = columns[number]!;
      row.push(conform(schema, column, given[column.property]));
    }
    if (Object.keys(given).length !== columns.length) {
      const other = Object.keys(given).find((property) => !this.numbers.has(property));
      if (other !== undefined) throw this.noColumn(other);
    }
    checkKey(schema, this.keyOf(row));
    checkIndexes(schema, row);
    return row;
  }

  /** The cells of an author's changes. */
  private cells(changes: unknown): Cells {
    const { schema, numbers } = this;
    const given = this.fields(changes, "changes");
    const columns: number[] = [];
    const adds: boolean[] = [];
    const values: Stored[] = [];
    const properties = Object.keys(given);
    for (let place = 0; place < properties.length; place++) {
      const property = properties[place]!;
      const number = numbers.get(property);
      const value = given[property];
      if (number === undefined || value === undefined || this.keyed[number])
        throw this.refused(property, number);
      const column = schema.columns[number]!;
      const isAdded = value instanceof Add;
      columns.push(number);
      adds.push(isAdded);
      values.push(isAdded ? this.amount(column, value.amount) : conform(schema, column, value));
    }
    return { columns, adds, values };
  }

  private amount(column: Column, amount: unknown): Stored {
    const { schema } = this;
    if (!isSummed(column)) {
      throw new Violation(
        `${at(schema, column)}: the column is ${typeName(column)}, which is only set, never added to`,
      );
    }
    if (amount === null) throw new Violation(`${at(schema, column)}: null cannot be added`);
    return conform(schema, column, amount);
  }

  /** Why a field cannot be changed: it is none of the table, is of the key, or is undefined. */
  private refused(property: string, number: number | undefined): Violation {
    const { schema } = this;
    const column = number === undefined ? undefined : schema.columns[number];
    if (number === undefined || column === undefined) return this.noColumn(property);
    return this.keyed[number]
      ? new Violation(
          `${at(schema, column)}: it is a key column, and a row keeps its key (remove the row and put another)`,
        )
      : new Violation(`${at(schema, column)}: undefined came; leave it out, or give null`);
  }

  private noColumn(name: unknown): Violation {
    const declared = this.schema.columns.map(({ property }) => property).join(", ");
    return new Violation(`table '${this.schema.name}' has no column '${String(name)}'; it has ${declared}`);
  }

  private fields(value: unknown, what: string): Fields {
    if (typeof value === "object" && value !== null) return value as Fields;
    throw new Violation(
      `table '${this.schema.name}': ${what} must be an object of columns, but ${String(value)} came`,
    );
  }

  /** A row as the author sees it. */
  /** @internal */
  reveal(row: readonly Stored[] | null): Record<string, unknown> | undefined {
    if (row === null) return undefined;
    const { columns } = this.schema;
    const fields: Record<string, unknown> = {};
    for (let number = 0; number < columns.length; number++) {
      const column = columns[number]!;
      fields[column.property] = revealed(column, row[number]!);
    }
    return fields;
  }
}

export type { TableHandle };
