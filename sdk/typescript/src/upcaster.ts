// Upcasters: old events in, today's events out.

import { type Event, readEvents } from "./event.ts";
import { writeJson } from "./json.ts";
import { fromBinary } from "./packed/binary.ts";
import { Reader } from "./packed/read.ts";
import { packArrayHead, packLifted } from "./packed/write.ts";
import { CallFailed, messageOf, refusePromise, type Tracer } from "./run.ts";
import type { EventSchema, UpcasterDescriptor } from "./schema.ts";

/** An event type and the version of its schema: `["LineAdded", 2]`. */
export type Schema = readonly [eventType: string, schemaVersion: number];

/** Gives what one event is today. A method, so that the event's data may be given any type. */
export type Lift = { upcast(event: Event, today: Today): void }["upcast"];

/** One rule of an upcaster. Made by {@link rule} or {@link drops}. */
export interface Rule {
  readonly takes: Schema;
  readonly gives: readonly Schema[];
  readonly upcast: Lift;
}

/**
 * Takes events of one schema, and gives events of those. What comes out is lifted again, by this upcaster or another,
 * until nothing takes it.
 */
export function rule(takes: Schema, gives: readonly Schema[], upcast: Lift): Rule {
  return { takes, gives, upcast };
}

/** Takes events of one schema, and gives none. */
export function drops(takes: Schema): Rule {
  return { takes, gives: [], upcast: () => {} };
}

/** @internal One event that was given; null is "as in the event that was lifted". */
export interface Given {
  readonly eventType: string;
  readonly schemaVersion: number;
  readonly data: string | null;
  readonly metadata: string | null;
}

/**
 * Takes what an event is today, in order. Position, stream, times and id stay those of the stored event; metadata stays
 * unless it is given too.
 */
export class Today {
  /** @internal */
  readonly given: Given[] = [];

  /** Gives an event with data that is written as JSON. */
  give(eventType: string, schemaVersion: number, data: unknown): void {
    this.given.push({ eventType, schemaVersion, data: written("data", eventType, data), metadata: null });
  }

  /** Gives an event with data and metadata; metadata is to be an object. */
  giveWithMetadata(eventType: string, schemaVersion: number, data: unknown, metadata: object): void {
    this.given.push({
      eventType,
      schemaVersion,
      data: written("data", eventType, data),
      metadata: written("metadata", eventType, metadata),
    });
  }

  /** Gives the event under another type or version; its data and metadata stay as they are, to the letter. */
  rename(eventType: string, schemaVersion: number): void {
    this.given.push({ eventType, schemaVersion, data: null, metadata: null });
  }

  /** Gives an event whose data and metadata are JSON text already. */
  giveJson(eventType: string, schemaVersion: number, data: string, metadata: string): void {
    this.given.push({ eventType, schemaVersion, data, metadata });
  }
}

function written(what: string, eventType: string, value: unknown): string {
  try {
    return writeJson(value);
  } catch (error) {
    throw new Error(`${what} of ${eventType}: ${messageOf(error)}`);
  }
}

export interface UpcasterDefinition {
  /** Lower-case letters, digits and `-`, at most 48 characters. */
  readonly name: string;
  /** A new version builds the projections anew that it reaches: raise it whenever other events would come out. */
  readonly version: string;
  /**
   * What is taken and what is given. Only one upcaster of a host may take a schema, and no chain of rules may come back to
   * where it was.
   */
  readonly rules: readonly Rule[];
}

/** An upcaster, for `export default`. Made by {@link upcaster}. */
export class Upcaster {
  /** @internal */
  readonly kind = "upcaster";

  /** @internal */
  constructor(readonly definition: UpcasterDefinition) {}

  /** As the host is told. */
  get descriptor(): UpcasterDescriptor {
    const { name, version, rules } = this.definition;
    const schema = ([eventType, schemaVersion]: Schema): EventSchema => ({ eventType, schemaVersion });
    return {
      name,
      version,
      rules: rules.map(({ takes, gives }) => ({ takes: schema(takes), gives: gives.map(schema) })),
      options: [],
    };
  }

  /** @internal What one event became. */
  lift(event: Event): readonly Given[] {
    for (const { takes, upcast } of this.definition.rules) {
      if (takes[0] !== event.eventType || takes[1] !== event.schemaVersion) continue;
      const today = new Today();
      refusePromise(upcast(event, today));
      return today.given;
    }
    throw new Error(`event type ${event.eventType} ${event.schemaVersion} was not asked for`);
  }
}

/**
 * Declares an upcaster: it lifts events of old schemas to newer ones, between the log and the projectors. The plugin's
 * `export default`.
 *
 * ```ts
 * export default upcaster({
 *   name: "prices",
 *   version: "1.0.0",
 *   rules: [
 *     rule(["CustomerSignedUp", 1], [["CustomerRegistered", 1]], (_event, today) => {
 *       today.rename("CustomerRegistered", 1);
 *     }),
 *     drops(["CartViewed", 1]),
 *   ],
 * });
 * ```
 *
 * What comes out of an event may depend on that event alone.
 */
export function upcaster(definition: UpcasterDefinition): Upcaster {
  return new Upcaster(definition);
}

/** @internal Lifts a call's packed events; gives what they became, packed. */
export function runUpcaster(upcaster: Upcaster, packed: Uint8Array, trace: Tracer): Uint8Array<ArrayBuffer> {
  let index = 0;
  try {
    const out: string[] = [];
    for (const event of readEvents(new Reader(packed))) {
      const given = upcaster.lift(event);
      let lifted = packArrayHead(given.length);
      for (const { eventType, schemaVersion, data, metadata } of given) {
        lifted += packLifted(eventType, schemaVersion, data, metadata);
      }
      out.push(lifted);
      index += 1;
    }
    return fromBinary(out.join(""));
  } catch (error) {
    throw new CallFailed({ index, message: messageOf(error), trace: trace(error) });
  }
}
