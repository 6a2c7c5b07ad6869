import assert from "node:assert/strict";

import { readEvents } from "../event.ts";
import { parseJson } from "../json.ts";
import { Reader } from "../packed/read.ts";
import { CallFailed, messageOf } from "../run.ts";
import type { EventSchema } from "../schema.ts";
import { checkUpcaster } from "../semantics/check.ts";
import type { Given, Upcaster } from "../upcaster.ts";
import {
  CLOCK_START,
  packedBytes,
  packEvent,
  type StoredEvent,
  storedEvent,
  type TestEvent,
} from "./events.ts";
import { nodeTrace } from "./trace.ts";

/** One event that came out. */
export interface TodayEvent {
  readonly eventType: string;
  readonly schemaVersion: number;
  readonly data: unknown;
  readonly metadata: unknown;
}

/** Type, version and data of an event that should come out. */
export type Expected = readonly [eventType: string, schemaVersion: number, data: unknown];

/**
 * Lifts given events and checks what comes out, as the host would: through the upcaster's own rules until none takes the
 * result.
 *
 * ```ts
 * const harness = new UpcasterHarness(prices);
 * harness.given("order-1", "LineAdded", { price: "2.50" }).becomes(["LineAdded", 2, { price_minor: 250 }]);
 * harness.given("cart-1", "CartViewed", {}).becomesNothing();
 * ```
 */
export class UpcasterHarness {
  /** Throws where the host would refuse what the upcaster declares. */
  constructor(private readonly upcaster: Upcaster) {
    const errors = checkUpcaster(upcaster.descriptor);
    if (errors.length > 0) throw new Error(`the host would refuse this upcaster:\n- ${errors.join("\n- ")}`);
  }

  /** Lifts one event. Throws where it fails, gives what its rule does not name, or gives what is no JSON. */
  given(streamId: string, eventType: string, data: unknown): Lifted {
    return this.givenEvent({ streamId, eventType, data });
  }

  /** Lifts one event. */
  givenEvent(event: TestEvent): Lifted {
    let forms: StoredEvent[] = [storedEvent(event, 1, 1, CLOCK_START)];
    const { rules } = this.upcaster.descriptor;
    // A chain without a cycle ends within as many rounds as there are rules.
    for (let round = 0; round <= rules.length; round++) {
      let isDone = true;
      forms = forms.flatMap((form, part) => {
        const rule = rules.find(({ takes }) => isSame(takes, form));
        if (rule === undefined) return [form];
        isDone = false;
        return this.step({ ...form, part }).map((given) => {
          if (!rule.gives.some((schema) => isSame(schema, given))) {
            throw new Error(
              `${form.eventType} ${form.schemaVersion} became ${given.eventType} ${given.schemaVersion}, which its rule ` +
                `does not name: the host would fault`,
            );
          }
          return {
            ...form,
            eventType: given.eventType,
            schemaVersion: given.schemaVersion,
            data: given.data ?? form.data,
            metadata: given.metadata ?? form.metadata,
          };
        });
      });
      if (isDone) return new Lifted(forms.map(today));
    }
    throw new Error("the rules form a cycle: the host would refuse this upcaster");
  }

  private step(form: StoredEvent): readonly Given[] {
    try {
      return readEvents(new Reader(packedBytes([packEvent(form)]))).flatMap((event) =>
        this.upcaster.lift(event),
      );
    } catch (error) {
      const failed = new CallFailed({ index: 0, message: messageOf(error), trace: nodeTrace(error) });
      failed.stack = (error instanceof Error ? error.stack : undefined) ?? failed.message;
      throw failed;
    }
  }
}

function isSame(one: EventSchema, other: EventSchema): boolean {
  return one.eventType === other.eventType && one.schemaVersion === other.schemaVersion;
}

function today({ eventType, schemaVersion, data, metadata }: StoredEvent): TodayEvent {
  const parsed = (what: string, text: string): unknown => {
    try {
      return parseJson(text);
    } catch (error) {
      throw new Error(`the ${what} of ${eventType} ${schemaVersion} is not JSON: ${messageOf(error)}`);
    }
  };
  const object = parsed("metadata", metadata);
  if (typeof object !== "object" || object === null || Array.isArray(object)) {
    throw new Error(`the metadata of ${eventType} ${schemaVersion} is no object: the host would fault`);
  }
  return { eventType, schemaVersion, data: parsed("data", data), metadata: object };
}

/** What an event is today. */
export class Lifted {
  constructor(
    /** The siblings, in order. */
    readonly events: readonly TodayEvent[],
  ) {}

  /** Throws unless these came out, in order. */
  becomes(...events: readonly Expected[]): this {
    assert.deepEqual(
      this.events.map(({ eventType, schemaVersion, data }) => [eventType, schemaVersion, data]),
      events,
    );
    return this;
  }

  /** Throws unless the event was dropped. */
  becomesNothing(): void {
    this.becomes();
  }
}
