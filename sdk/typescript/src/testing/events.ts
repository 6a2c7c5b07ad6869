// Events that a test gives.

import { JsonText, parseJson, writeJson } from "../json.ts";
import { fromBinary } from "../packed/binary.ts";
import { packInteger, packText } from "../packed/write.ts";
import { Timestamp } from "../timestamp.ts";

/** An event to give to a harness. */
export interface TestEvent {
  readonly streamId: string;
  /** By default what stands before the first `-` of the stream's id. */
  readonly streamType?: string | undefined;
  readonly eventType: string;
  /** Version of the event type's schema: 1. */
  readonly schemaVersion?: number | undefined;
  /** Written as JSON, unless it is a `JsonText`. */
  readonly data: unknown;
  /** By default only a reason. */
  readonly metadata?: object | undefined;
  /** When it happened: `2011-08-12T13:50:00Z`. By default one second after the event before. */
  readonly at?: string | Timestamp | undefined;
}

/** An event as `lamphouse export` writes it and `lamphouse import` reads it: one line of JSON. */
export function eventOfLine(line: string): TestEvent {
  const event = parseJson(line) as Record<"stream_id" | "stream_type" | "event_type", string> & {
    readonly schema_version?: number;
    readonly data: unknown;
    readonly metadata?: object;
    readonly occurred_at?: string;
  };
  return {
    streamId: event.stream_id,
    streamType: event.stream_type,
    eventType: event.event_type,
    schemaVersion: event.schema_version,
    data: event.data,
    metadata: event.metadata ?? {},
    at: event.occurred_at,
  };
}

/** @internal An event as it is stored. */
export interface StoredEvent {
  readonly position: number;
  readonly part: number;
  readonly id: string;
  readonly streamId: string;
  readonly streamType: string;
  readonly streamVersion: number;
  readonly eventType: string;
  readonly schemaVersion: number;
  readonly data: string;
  readonly metadata: string;
  readonly occurredAt: bigint;
  readonly recordedAt: bigint;
}

/** @internal 2024-01-01T00:00:00Z: a second before the first event of a test. */
export const CLOCK_START = 1_704_067_200_000_000n;

/** @internal */
export function storedEvent(
  event: TestEvent,
  number: number,
  streamVersion: number,
  clock: bigint,
): StoredEvent {
  const at =
    event.at === undefined
      ? clock
      : typeof event.at === "string"
        ? Timestamp.parse(event.at).micros
        : event.at.micros;
  return {
    position: number,
    part: 0,
    id: `00000000-0000-7000-8000-${number.toString(16).padStart(12, "0")}`,
    streamId: event.streamId,
    streamType: event.streamType ?? event.streamId.split("-")[0] ?? "",
    streamVersion,
    eventType: event.eventType,
    schemaVersion: event.schemaVersion ?? 1,
    data: writeJson(event.data),
    metadata:
      event.metadata instanceof JsonText
        ? event.metadata.text
        : writeJson(event.metadata ?? { reason: "given by a test" }),
    occurredAt: at,
    recordedAt: at,
  };
}

/** @internal */
export function packEvent(event: StoredEvent): string {
  const integer = (value: bigint): string =>
    packInteger(
      value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= -BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(value)
        : value,
    );
  return [
    "\x9c",
    packInteger(event.position),
    packInteger(event.part),
    packText(event.id),
    packText(event.streamId),
    packText(event.streamType),
    packInteger(event.streamVersion),
    packText(event.eventType),
    packInteger(event.schemaVersion),
    packText(event.data),
    packText(event.metadata),
    integer(event.occurredAt),
    integer(event.recordedAt),
  ].join("");
}

/** @internal */
export function packedBytes(packed: readonly string[]): Uint8Array {
  return fromBinary(packed.join(""));
}
