// The rows that one call has read or changed.
//
// Every row is answered from here once it is known, with all changes of the call in it; what it became goes to the host
// once, at the end: a row that a batch touches a hundred times crosses the boundary once. A row that is only changed, never
// read, is never asked for: its changes are merged instead.

import type { Host } from "./host.ts";
import { fromBinary } from "./packed/binary.ts";
import { Reader } from "./packed/read.ts";
import { type Cells, packCells, packPut, packRead, packRemove, PATCH, UPSERT } from "./packed/write.ts";
import { type Stored, TEXT, type TableSchema } from "./schema.ts";
import { mergeCells, namesAllRequired, newRow, patchRow } from "./semantics/change.ts";
import { storedText, Violation } from "./semantics/conform.ts";

/** Never read, or handed over since. */
const UNKNOWN = 0;
/** The row as it is now, or null where there is none. */
const KNOWN = 1;
/** Merged changes of a row that was never read. */
const PENDING = 2;

/** One row of a call. */
export class Entry {
  state = UNKNOWN;
  row: Stored[] | null = null;
  /** Whether a known row is to be handed over. */
  isDirty = false;
  cells: Cells | undefined;
  /** Whether the pending changes are of a patch. */
  mustExist = false;

  constructor(
    readonly number: number,
    readonly table: TableSchema,
    readonly key: readonly Stored[],
  ) {}

  get isUnread(): boolean {
    return this.state !== KNOWN;
  }

  private know(row: Stored[] | null, isDirty: boolean): void {
    this.state = KNOWN;
    this.row = row;
    this.isDirty = isDirty;
    this.cells = undefined;
  }

  /** Takes in what the host has, with the changes that were made meanwhile. */
  learn(row: Stored[] | null): void {
    if (this.state === UNKNOWN) {
      this.know(row, false);
    } else if (this.state === PENDING) {
      const cells = this.cells!;
      if (row !== null) {
        patchRow(this.table, row, cells);
      } else if (this.mustExist) {
        throw this.absent();
      }
      this.know(row ?? newRow(this.table, this.key, cells), true);
    }
  }

  /** Takes in a row that the host found. */
  found(row: Stored[]): void {
    if (this.state === UNKNOWN) this.know(row, false);
  }

  /** Puts or removes a whole row. */
  replace(row: Stored[] | null, memo: Memo): void {
    // A patch of an absent row faults, even if another row comes after it.
    if (this.state === PENDING && this.mustExist) memo.read([this]);
    // A row known to be absent need not be removed again.
    const isGone = row === null && this.state === KNOWN && this.row === null && !this.isDirty;
    this.know(row, !isGone);
  }

  /** Changes cells of a row: an upsert, or, where the row must exist, a patch. The cells must be conformed. */
  change(cells: Cells, mustExist: boolean, memo: Memo): void {
    let rest: Cells | undefined = cells;
    if (this.state === KNOWN) {
      if (this.row !== null) {
        patchRow(this.table, this.row, cells);
      } else if (mustExist) {
        throw this.absent();
      } else {
        this.row = newRow(this.table, this.key, cells);
      }
      this.isDirty = true;
      return;
    }
    if (this.state === PENDING) {
      // Behind either change the row exists, so that an upsert and a patch are the same now.
      rest = mergeCells(this.table, this.cells!, cells);
      if (rest === undefined) return;
    } else if (mustExist || namesAllRequired(this.table, cells)) {
      this.state = PENDING;
      this.cells = cells;
      this.mustExist = mustExist;
      return;
    }
    // Only right if the row is there already, which only the host knows.
    memo.read([this]);
    this.change(rest, mustExist, memo);
  }

  /** What became of the row, packed; it then counts as handed over. */
  handOver(out: string[]): void {
    if (this.state === PENDING) {
      out.push(packCells(this.mustExist ? PATCH : UPSERT, this.number, this.table, this.key, this.cells!));
      this.state = UNKNOWN;
      this.cells = undefined;
    } else if (this.state === KNOWN && this.isDirty) {
      out.push(
        this.row === null
          ? packRemove(this.number, this.table, this.key)
          : packPut(this.number, this.table, this.row),
      );
      this.isDirty = false;
    }
  }

  private absent(): Violation {
    const key = this.table.primaryKey.map((number, place) =>
      storedText(this.table.columns[number]!, this.key[place]!),
    );
    return new Violation(
      `table '${this.table.name}' has no row with key ${key.join(", ")} to patch (upsert makes one)`,
    );
  }
}

/** All rows of a call. */
export class Memo {
  private readonly entries: Entry[] = [];
  private readonly places: Map<unknown, Entry>[];

  constructor(
    private readonly tables: readonly TableSchema[],
    private readonly host: Host,
  ) {
    this.places = tables.map(() => new Map());
  }

  /** The entry of a key that is a text as it stands; undefined where there is none yet. */
  ofText(number: number, key: string): Entry | undefined {
    return this.places[number]!.get(key);
  }

  /** The entry of a row; made where there is none. The key must be conformed. */
  entry(number: number, key: readonly Stored[]): Entry {
    const table = this.tables[number]!;
    const place = placeOf(key);
    const places = this.places[number]!;
    let entry = places.get(place);
    if (entry === undefined) {
      entry = new Entry(number, table, key);
      places.set(place, entry);
      this.entries.push(entry);
    }
    return entry;
  }

  /** Makes these rows known, with one read. */
  read(entries: Iterable<Entry>): void {
    const wanted = [...new Set(entries)].filter((entry) => entry.isUnread);
    if (wanted.length === 0) return;
    const reads = wanted.map((entry) => packRead(entry.number, entry.table, entry.key));
    const answers = new Reader(this.host.read(fromBinary(reads.join(""))));
    for (const entry of wanted) {
      if (answers.isDone) throw new Error("the host answered fewer rows than were asked for");
      entry.learn(answers.isNil() ? null : answers.row(entry.table));
    }
  }

  /** What became of the rows of one table, or of all. */
  handOver(only?: number): Uint8Array<ArrayBuffer> {
    const out: string[] = [];
    for (const entry of this.entries) {
      if (only === undefined || only === entry.number) entry.handOver(out);
    }
    return fromBinary(out.join(""));
  }
}

/** A key in a form that a Map tells apart. */
export function placeOf(key: readonly Stored[]): unknown {
  if (key.length === 1 && !(key[0] instanceof Uint8Array)) return key[0];
  // Keys of a table have the same types, and texts have no U+0000.
  return key
    .map((value) => (value instanceof Uint8Array ? `${value.length}:${value.join()}` : String(value)))
    .join("\0");
}

/** Whether the key of a table is one text. */
export function hasTextKey(table: TableSchema): boolean {
  return table.primaryKey.length === 1 && table.columns[table.primaryKey[0]!]?.kind === TEXT;
}
