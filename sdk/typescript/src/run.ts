// One call: a batch of packed events in, packed changes out.

import { type Event, readEvents } from "./event.ts";
import type { Host } from "./host.ts";
import type { Entry } from "./memo.ts";
import { Reader } from "./packed/read.ts";
import type { Projector, Tables, Wanted } from "./projector.ts";
import type { Declared } from "./projector.ts";
import type { Failure } from "./schema.ts";
import { CallTables } from "./tables.ts";

/** Makes a text of an error's stack: frames of the plugin's own source. */
export type Tracer = (error: unknown) => string;

/** A call that failed. */
export class CallFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** What happened: the error's own text, with the texts of its causes. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown: ${String(error)}`;
  const name = error.name === "Error" || error.name === "" ? "" : `${error.name}: `;
  const message = `${name}${error.message}`;
  return error.cause === undefined ? message : `${message}: ${messageOf(error.cause)}`;
}

/** A handler that gives a promise would go on after the call. */
export function refusePromise(result: unknown): void {
  if (typeof result === "object" && result !== null && "then" in result) {
    throw new Error("the handler is async, but a call does not wait: handlers give no promise");
  }
}

/** Runs one batch; throws {@link CallFailed}. */
export function runProjector<D extends Declared>(
  projector: Projector<D>,
  packed: Uint8Array,
  host: Host,
  trace: Tracer,
): Uint8Array<ArrayBuffer> {
  let index: number | undefined;
  try {
    const events = readEvents(new Reader(packed));
    const call = new CallTables(Object.keys(projector.definition.tables), projector.schemas, host);
    prefetch(projector, events, call);
    const tables = call.handles as unknown as Tables<D>;
    for (index = 0; index < events.length; index++) {
      const event = events[index]!;
      const handle = projector.handlerOf(event);
      if (handle === undefined) {
        throw new Error(`event type ${event.eventType} ${event.schemaVersion} was not asked for`);
      }
      const result: unknown = handle(event, tables);
      if (result !== undefined) refusePromise(result);
      if (call.broken !== undefined) {
        throw new CallFailed({
          index,
          message: `the projector went on after a failure of its tables: ${call.broken}`,
          trace: "",
        });
      }
    }
    index = undefined;
    return call.memo.handOver();
  } catch (error) {
    if (error instanceof CallFailed) throw error;
    throw new CallFailed({ index, message: messageOf(error), trace: trace(error) });
  }
}

/** Reads the rows that the events will want, together. */
function prefetch<D extends Declared>(
  projector: Projector<D>,
  events: readonly Event[],
  call: CallTables,
): void {
  const { prefetch } = projector.definition;
  if (prefetch === undefined) return;
  const entries: Entry[] = [];
  const wanted = Object.fromEntries(
    Object.entries(call.handles).map(([name, table]) => [
      name,
      (key: unknown): void => {
        try {
          entries.push(table.entry(key));
        } catch {
          // A key that cannot be one is told when it is used.
        }
      },
    ]),
  ) as unknown as Wanted<D>;
  for (const event of events) prefetch(event, wanted);
  call.memo.read(entries);
}
