// Reads MessagePack: any valid encoding. See PACKED.md.

import { Decimal } from "../decimal.ts";
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
  type TableSchema,
  TIMESTAMP,
} from "../schema.ts";
import {
  conformInteger,
  conformJsonText,
  conformMicros,
  conformNull,
  conformText,
  mismatch,
  noDecimal,
} from "../semantics/conform.ts";
import { whole, type Whole } from "../whole.ts";
import { fromUtf8, toBinary } from "./binary.ts";

const EXTENSIONS = [undefined, DECIMAL, TIMESTAMP, JSON_TEXT];

/** Goes through packed bytes. */
export class Reader {
  readonly bytes: Uint8Array;
  /** The same, a byte a character. */
  readonly binary: string;
  /** Where it is. */
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.binary = toBinary(bytes);
  }

  get isDone(): boolean {
    return this.at >= this.bytes.length;
  }

  private byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw this.cut();
    return byte;
  }

  private u16(): number {
    return this.byte() * 0x100 + this.byte();
  }

  private u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  /** Moves past so many bytes; gives where they begin. */
  private skip(length: number): number {
    const from = this.at;
    this.at += length;
    if (this.at > this.bytes.length) throw this.cut();
    return from;
  }

  private cut(): Error {
    return new Error(`packed bytes end at ${this.bytes.length} within a value`);
  }

  private unexpected(wanted: string, head: number): Error {
    return new Error(`packed bytes have 0x${head.toString(16)} at ${this.at - 1}, where ${wanted} is due`);
  }

  /** Whether nil is next; it is passed over then. */
  isNil(): boolean {
    if (this.bytes[this.at] !== 0xc0) return false;
    this.at += 1;
    return true;
  }

  arrayLength(): number {
    const head = this.byte();
    if (head >= 0x90 && head < 0xa0) return head & 0x0f;
    if (head === 0xdc) return this.u16();
    if (head === 0xdd) return this.u32();
    throw this.unexpected("an array", head);
  }

  integer(): Whole {
    // What most are; calls within calls cost an interpreter most.
    const first = this.bytes[this.at]!;
    if (first < 0x80) {
      this.at += 1;
      return first;
    }
    const head = this.byte();
    const value = this.integerOf(head);
    if (value === undefined) throw this.unexpected("an integer", head);
    return value;
  }

  private integerOf(head: number): Whole | undefined {
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    switch (head) {
      case 0xcc:
        return this.byte();
      case 0xcd:
        return this.u16();
      case 0xce:
        return this.u32();
      case 0xcf:
        return joined(this.u32(), this.u32());
      case 0xd0:
        return (this.byte() << 24) >> 24;
      case 0xd1:
        return (this.u16() << 16) >> 16;
      case 0xd2:
        return this.u32() | 0;
      case 0xd3:
        return joined(this.u32() | 0, this.u32());
      default:
        return undefined;
    }
  }

  /** An integer that is a count, a number of something or a position. */
  count(): number {
    const value = this.integer();
    if (typeof value === "number" && value >= 0) return value;
    throw new Error(`packed bytes have ${value} where a count is due`);
  }

  /** Moves past an integer. */
  skipInteger(): void {
    const head = this.bytes[this.at]!;
    // What a time of today is.
    if (head === 0xcf && this.at + 9 <= this.bytes.length) {
      this.at += 9;
    } else {
      this.integer();
    }
  }

  /** Moves past a text; gives the length of its bytes, which end where the reader then is. */
  textLength(): number {
    const { bytes, at } = this;
    const head = bytes[at]!;
    // What nearly all texts are; calls within calls cost an interpreter most.
    if (head >= 0xa0 && head < 0xc0) {
      const length = head & 0x1f;
      this.at = at + 1 + length;
      if (this.at <= bytes.length) return length;
    } else if (head === 0xd9 && at + 1 < bytes.length) {
      const length = bytes[at + 1]!;
      this.at = at + 2 + length;
      if (this.at <= bytes.length) return length;
    } else {
      return this.longTextLength();
    }
    throw this.cut();
  }

  private longTextLength(): number {
    const head = this.byte();
    const length = this.textLengthOf(head);
    if (length === undefined) throw this.unexpected("a text", head);
    this.skip(length);
    return length;
  }

  private textLengthOf(head: number): number | undefined {
    if (head >= 0xa0 && head < 0xc0) return head & 0x1f;
    if (head === 0xd9) return this.byte();
    if (head === 0xda) return this.u16();
    if (head === 0xdb) return this.u32();
    return undefined;
  }

  text(): string {
    const length = this.textLength();
    return this.slice(this.at - length, this.at);
  }

  /** The text of UTF-8 bytes. */
  slice(from: number, to: number): string {
    return fromUtf8(this.binary.substring(from, to));
  }

  /** One value, as it stands. */
  private value(): { kind: number | null; value: Stored } {
    const head = this.byte();
    const integer = this.integerOf(head);
    if (integer !== undefined) return { kind: INTEGER, value: integer };
    const textLength = this.textLengthOf(head);
    if (textLength !== undefined) {
      const from = this.skip(textLength);
      return { kind: TEXT, value: this.slice(from, this.at) };
    }
    switch (head) {
      case 0xc0:
        return { kind: null, value: null };
      case 0xc2:
      case 0xc3:
        return { kind: BOOLEAN, value: head === 0xc3 };
      case 0xca:
      case 0xcb: {
        const size = head === 0xca ? 4 : 8;
        const from = this.skip(size);
        const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + from, size);
        return { kind: REAL, value: size === 4 ? view.getFloat32(0) : view.getFloat64(0) };
      }
      case 0xc4:
      case 0xc5:
      case 0xc6: {
        const length = head === 0xc4 ? this.byte() : head === 0xc5 ? this.u16() : this.u32();
        const from = this.skip(length);
        return { kind: BYTES, value: this.bytes.slice(from, this.at) };
      }
    }
    return this.extension(head);
  }

  private extension(head: number): { kind: number; value: Stored } {
    const length =
      head >= 0xd4 && head <= 0xd8
        ? 1 << (head - 0xd4)
        : head === 0xc7
          ? this.byte()
          : head === 0xc8
            ? this.u16()
            : head === 0xc9
              ? this.u32()
              : undefined;
    if (length === undefined) throw this.unexpected("a value", head);
    const kind = EXTENSIONS[this.byte()];
    if (kind === undefined) throw this.unexpected("an extension of type 1 to 3", head);
    if (kind === TIMESTAMP) {
      if (length !== 8) throw new Error(`packed bytes have a timestamp of ${length} bytes`);
      return { kind, value: joined(this.u32() | 0, this.u32()) };
    }
    const from = this.skip(length);
    return { kind, value: this.slice(from, this.at) };
  }

  /** A value that the host wrote for this column. */
  stored(column: Column): Stored {
    const { kind, value } = this.value();
    if (kind === null || kind === column.kind) {
      return kind === DECIMAL ? mantissa(value as string, column.scale) : value;
    }
    throw new Error(`packed bytes have ${KIND_NAMES[kind]} where column '${column.name}' is due`);
  }

  /** A value of whatever origin, checked against its column. */
  conformed(table: TableSchema, column: Column): Stored {
    const { kind, value } = this.value();
    if (kind === null) return conformNull(table, column);
    if (column.kind === DECIMAL && (kind === DECIMAL || kind === INTEGER)) {
      try {
        return mantissa(String(value as Whole | string), column.scale);
      } catch (error) {
        throw noDecimal(table, column, String(value as Whole | string), error);
      }
    }
    if (kind !== column.kind) throw mismatch(table, column, KIND_NAMES[kind] ?? "");
    switch (kind) {
      case INTEGER:
        return conformInteger(table, column, value as Whole);
      case TIMESTAMP:
        return conformMicros(table, column, value as Whole);
      case TEXT:
        return conformText(table, column, value as string);
      case JSON_TEXT:
        return conformJsonText(table, column, value as string);
      case REAL:
        if (Number.isFinite(value as number)) return (value as number) + 0;
        throw mismatch(table, column, String(value as number));
      default:
        return value;
    }
  }

  /** A row that the host wrote. */
  row(table: TableSchema): Stored[] {
    const length = this.arrayLength();
    if (length !== table.columns.length) {
      throw new Error(
        `a row of ${length} values came for table '${table.name}', which has ${table.columns.length}`,
      );
    }
    return table.columns.map((column) => this.stored(column));
  }
}

function mantissa(text: string, scale: number): Whole {
  return Decimal.mantissaAt(Decimal.parse(text), scale);
}

function joined(high: number, low: number): Whole {
  return high < 0x20_0000 && high > -0x20_0000
    ? high * 0x1_0000_0000 + low
    : whole(BigInt(high) * 0x1_0000_0000n + BigInt(low));
}
