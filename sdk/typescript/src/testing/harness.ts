import { type Level, setSink } from "../log.ts";
import type { Declared, Projector } from "../projector.ts";
import { CallFailed, messageOf, runProjector } from "../run.ts";
import { checkProjector } from "../semantics/check.ts";
import type { Key, Row, Where } from "../table.ts";
import { CallTables, type TableHandle } from "../tables.ts";
import { CLOCK_START, packedBytes, packEvent, storedEvent, type TestEvent } from "./events.ts";
import { Memory } from "./memory.ts";
import { nodeTrace } from "./trace.ts";

/** Events of one call, unless {@link Harness.batchSize} says otherwise: as many as the host gives. */
const BATCH_EVENTS = 1_000;

/** A line that a plugin wrote to its log. */
export interface LogLine {
  readonly level: Level;
  readonly message: string;
}

/**
 * Runs a projector on given events and shows its rows. No Wasm, no database, no host: the tables are kept in memory, with
 * the same rules.
 *
 * ```ts
 * const harness = new Harness(clicks);
 * harness.given("button-1", "Clicked", {});
 * assert.deepEqual(harness.row("counters", "button-1"), { name: "button-1", count: 1n });
 * harness.assertSameAtAnyBatchSize();
 * ```
 *
 * Events wait until rows are asked for; then they are projected in batches, as the host does it. A failure throws; a test
 * that expects one calls {@link run}.
 */
export class Harness<D extends Declared> {
  private tables: Memory;
  private size = BATCH_EVENTS;
  /** Packed; empty for one that the projector does not take. */
  private readonly events: string[] = [];
  private projected = 0;
  private readonly versions = new Map<string, number>();
  private clock = CLOCK_START;
  private lines: LogLine[] = [];

  /** Empty tables. Throws where the host would refuse what the projector declares. */
  constructor(private readonly projector: Projector<D>) {
    const errors = checkProjector(projector.descriptor);
    if (errors.length > 0) throw new Error(`the host would refuse this projector:\n- ${errors.join("\n- ")}`);
    this.tables = new Memory(projector.schemas);
  }

  /** How many events a call gets. No size may change a row: see {@link assertSameAtAnyBatchSize}. */
  batchSize(events: number): this {
    this.size = Math.max(1, events);
    return this;
  }

  /** Gives one event. */
  given(streamId: string, eventType: string, data: unknown): this {
    return this.givenEvent({ streamId, eventType, data });
  }

  /** Gives one event. One that the projector does not subscribe to takes its place in the log, and is not projected. */
  givenEvent(event: TestEvent): this {
    const version = (this.versions.get(event.streamId) ?? 0) + 1;
    this.versions.set(event.streamId, version);
    const stored = storedEvent(event, this.events.length + 1, version, this.clock + 1_000_000n);
    this.clock = stored.occurredAt;
    this.events.push(this.projector.handlerOf(stored) === undefined ? "" : packEvent(stored));
    return this;
  }

  /** Projects the events that wait. On a failure, the rows are as they were after the last batch that went well. */
  run(): void {
    while (this.projected < this.events.length) {
      const end = Math.min(this.projected + this.size, this.events.length);
      this.project(this.tables, this.projected, end);
      this.projected = end;
    }
  }

  /** A row by its key; undefined where there is none. */
  row<K extends keyof D & string>(table: K, key: Key<D[K]>): Row<D[K]> | undefined {
    return this.handle(table).get(key) as Row<D[K]> | undefined;
  }

  /** All rows of a table, in the order of their keys. */
  rows<K extends keyof D & string>(table: K): Row<D[K]>[] {
    const handle = this.handle(table);
    return this.tables.all(this.numberOf(table)).map((row) => handle.reveal(row) as Row<D[K]>);
  }

  /** The rows that a `find` would give. */
  find<K extends keyof D & string>(table: K, where: Where<D[K]>): Row<D[K]>[] {
    return this.handle(table).find(where);
  }

  /** What the projector wrote to its log since this was last called. */
  log(): LogLine[] {
    const lines = this.lines;
    this.lines = [];
    return lines;
  }

  /**
   * Projects all events anew in batches of 1, 7 and 1,000: throws if any table differs. The host refuses a projector whose
   * rows depend on how its events are cut.
   */
  assertSameAtAnyBatchSize(): void {
    let first: string[] | undefined;
    for (const size of [1, 7, 1_000]) {
      const tables = new Memory(this.projector.schemas);
      for (let from = 0; from < this.events.length; from += size) {
        this.project(tables, from, Math.min(from + size, this.events.length));
      }
      const rows = this.projector.schemas.map((_, number) =>
        JSON.stringify(tables.all(number), (_key, value: unknown) =>
          typeof value === "bigint" ? `${value}n` : value,
        ),
      );
      first ??= rows;
      for (const [number, { name }] of this.projector.schemas.entries()) {
        if (rows[number] !== first[number]) {
          throw new Error(
            `table '${name}' differs in batches of ${size} from batches of 1:\n${rows[number]}\n${first[number]}`,
          );
        }
      }
    }
  }

  private project(tables: Memory, from: number, to: number): void {
    const taken = this.events.slice(from, to).filter((event) => event !== "");
    setSink((level, message) => this.lines.push({ level, message }));
    try {
      tables.call(() => {
        tables.apply(runProjector(this.projector, packedBytes(taken), tables, nodeTrace));
      });
    } catch (error) {
      if (error instanceof CallFailed) throw this.numbered(error, from);
      // What the changes of the whole call come to, which are made at its end.
      throw new CallFailed({ index: undefined, message: messageOf(error), trace: "" });
    }
  }

  /** The failure, with the number of the event among those that the test gave. */
  private numbered(error: CallFailed, from: number): CallFailed {
    const { index, message, trace } = error.failure;
    if (index === undefined) return error;
    let left = index;
    let at = from;
    for (; at < this.events.length; at++) {
      if (this.events[at] === "") continue;
      if (left === 0) break;
      left -= 1;
    }
    const numbered = new CallFailed({ index, message, trace });
    numbered.stack = `Error: event ${at + 1} of the test: ${message}\n${trace.replace(/^/gm, "    ")}`;
    return numbered;
  }

  private numberOf(table: string): number {
    return Object.keys(this.projector.definition.tables).indexOf(table);
  }

  private handle(table: string): TableHandle {
    this.run();
    const call = new CallTables(
      Object.keys(this.projector.definition.tables),
      this.projector.schemas,
      this.tables,
    );
    const handle = call.handles[table];
    if (handle === undefined) throw new Error(`the projector declares no table '${table}'`);
    return handle;
  }
}
