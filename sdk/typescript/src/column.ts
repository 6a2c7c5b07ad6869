// Columns as an author declares them.

import { Decimal } from "./decimal.ts";
import type { JsonText } from "./json.ts";
import { BOOLEAN, BYTES, DECIMAL, INTEGER, JSON_TEXT, REAL, TEXT, TIMESTAMP } from "./schema.ts";
import type { Timestamp } from "./timestamp.ts";

/** What the types of a column say: what is read, what may be written, what may be added. */
export interface ColumnTypes {
  readonly read: unknown;
  readonly write: unknown;
  readonly add: unknown;
  readonly key: boolean;
  readonly indexed: boolean;
}

/** A column of a table. Made by {@link text}, {@link integer} and the others. */
export class ColumnDeclaration<T extends ColumnTypes> {
  /** For the compiler alone. */
  declare readonly "~types": T;

  /** @internal */
  constructor(
    /** @internal */
    readonly kind: number,
    /** @internal */
    readonly scale = 0,
    /** @internal */
    readonly flags: {
      readonly safe?: boolean;
      readonly key?: boolean;
      readonly nullable?: boolean;
      readonly index?: boolean;
      readonly initial?: unknown;
    } = {},
  ) {}

  /** Makes it the key, or one of its columns, which count in the order of their declaration. */
  key(): ColumnDeclaration<{
    read: T["read"];
    write: T["write"];
    add: never;
    key: true;
    indexed: T["indexed"];
  }> {
    return new ColumnDeclaration(this.kind, this.scale, { ...this.flags, key: true });
  }

  /** Lets it be null. */
  nullable(): ColumnDeclaration<{
    read: T["read"] | null;
    write: T["write"] | null;
    add: T["add"];
    key: T["key"];
    indexed: T["indexed"];
  }> {
    return new ColumnDeclaration(this.kind, this.scale, { ...this.flags, nullable: true });
  }

  /** What an `upsert` gives a new row. Without it, an upsert must set the column, unless it may be null. */
  initial(value: NonNullable<T["write"]>): ColumnDeclaration<T> {
    return new ColumnDeclaration(this.kind, this.scale, { ...this.flags, initial: value });
  }

  /** Declares an index of this column alone, for `find`. For several columns, see `table`. */
  index(): ColumnDeclaration<{
    read: T["read"];
    write: T["write"];
    add: T["add"];
    key: T["key"];
    indexed: true;
  }> {
    return new ColumnDeclaration(this.kind, this.scale, { ...this.flags, index: true });
  }
}

type Plain<Read, Write = Read, Add = never> = ColumnDeclaration<{
  read: Read;
  write: Write;
  add: Add;
  key: false;
  indexed: false;
}>;

/** True or false. */
export function boolean(): Plain<boolean> {
  return new ColumnDeclaration(BOOLEAN);
}

/** A signed 64-bit integer: read as a bigint, written as a bigint or a safe whole number. */
export function integer(): Plain<bigint, bigint | number, bigint | number> {
  return new ColumnDeclaration(INTEGER);
}

/** An integer up to 2^53 - 1 in size: read as a number. What is larger fails the call. */
export function safeInteger(): Plain<number, bigint | number, bigint | number> {
  return new ColumnDeclaration(INTEGER, 0, { safe: true });
}

/** A finite double. */
export function real(): Plain<number, number, number> {
  return new ColumnDeclaration(REAL);
}

/** An exact decimal of 38 digits in all, so many of them after the point. */
export function decimal(scale: number): Plain<Decimal, Decimal | bigint | number, Decimal | bigint | number> {
  return new ColumnDeclaration(DECIMAL, scale);
}

/** Text. */
export function text(): Plain<string> {
  return new ColumnDeclaration(TEXT);
}

/** Raw bytes. */
export function bytes(): Plain<Uint8Array> {
  return new ColumnDeclaration(BYTES);
}

/** A moment, in microseconds. */
export function timestamp(): Plain<Timestamp> {
  return new ColumnDeclaration(TIMESTAMP);
}

/** JSON: read parsed, written as a value or as `JsonText`. */
export function json<T = unknown>(): Plain<T, T | JsonText> {
  return new ColumnDeclaration(JSON_TEXT);
}
