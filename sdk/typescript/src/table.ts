// Tables as an author declares them, and the types of their rows.

import type { ColumnDeclaration, ColumnTypes } from "./column.ts";

/** Columns by their names. */
export type Columns = Readonly<Record<string, ColumnDeclaration<ColumnTypes>>>;

/** A table. Made by {@link table}. */
export class TableDeclaration<C extends Columns, I extends string = string> {
  /** For the compiler alone. */
  declare readonly "~indexed": I;

  /** @internal */
  constructor(
    /** @internal */
    readonly columns: C,
    /** @internal */
    readonly indexes: readonly (readonly string[])[],
  ) {}
}

/** More of a table than its columns. */
export interface TableOptions<I extends string> {
  /** Indexes of several columns, for `find`: of an index (a, b), rows are found by a, or by a and b. */
  readonly indexes?: readonly (readonly I[])[];
}

/**
 * Declares a table.
 *
 * ```ts
 * const orders = table({
 *   orderId: text().key(),
 *   customerId: text().nullable().index(),
 *   lines: integer().initial(0),
 *   total: decimal(2).initial(0),
 * });
 * type Order = Row<typeof orders>;
 * ```
 *
 * In SQL the columns have the same names in snake_case: `order_id`. Names may be written so at once, too.
 */
export function table<C extends Columns, I extends keyof C & string = never>(
  columns: C,
  options: TableOptions<I> = {},
): TableDeclaration<C, I> {
  return new TableDeclaration(columns, options.indexes ?? []);
}

type Simplify<T> = { [K in keyof T]: T[K] };
type TypesOf<C> = C extends ColumnDeclaration<infer T> ? T : never;
type ColumnsOf<T> = T extends TableDeclaration<infer C> ? C : never;
type IndexedBy<T> = T extends TableDeclaration<Columns, infer I> ? I : never;
type KeyNames<C> = { [K in keyof C]: TypesOf<C[K]>["key"] extends true ? K : never }[keyof C];
type IndexedNames<C> = { [K in keyof C]: TypesOf<C[K]>["indexed"] extends true ? K : never }[keyof C];
type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never;

/** A row as it is read. */
export type Row<T> = Simplify<{ -readonly [K in keyof ColumnsOf<T>]: TypesOf<ColumnsOf<T>[K]>["read"] }>;

/** A row as it may be written: all of its columns. */
export type NewRow<T> = Simplify<{ readonly [K in keyof ColumnsOf<T>]: TypesOf<ColumnsOf<T>[K]>["write"] }>;

/** A key: the value of the key column, or, where there are several, an object of them. */
export type Key<T> =
  IsUnion<KeyNames<ColumnsOf<T>>> extends true
    ? { readonly [K in KeyNames<ColumnsOf<T>>]: TypesOf<ColumnsOf<T>[K]>["write"] }
    : TypesOf<ColumnsOf<T>[KeyNames<ColumnsOf<T>>]>["write"];

/** Changes of a row: values that are set, and amounts that are added. */
export type Changes<T> = Simplify<{
  readonly [K in Exclude<keyof ColumnsOf<T>, KeyNames<ColumnsOf<T>>>]?:
    | TypesOf<ColumnsOf<T>[K]>["write"]
    | ([TypesOf<ColumnsOf<T>[K]>["add"]] extends [never] ? never : Add<TypesOf<ColumnsOf<T>[K]>["add"]>);
}>;

/** What rows are found by: values of indexed columns. */
export type Where<T> = Simplify<{
  readonly [K in (IndexedNames<ColumnsOf<T>> | IndexedBy<T>) & keyof ColumnsOf<T>]?: NonNullable<
    TypesOf<ColumnsOf<T>[K]>["write"]
  >;
}>;

/** An amount that is added to a cell. Made by {@link add}. */
export class Add<out T> {
  constructor(readonly amount: T) {}
}

/** In `patch` and `upsert`: adds to a cell. Nothing counts as 0; a sum that does not fit fails the call. */
export function add<T>(amount: T): Add<T> {
  return new Add(amount);
}
