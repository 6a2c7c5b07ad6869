import { parseJson } from "./json.ts";
import { fromUtf8 } from "./packed/binary.ts";
import type { Reader } from "./packed/read.ts";
import { Random } from "./random.ts";
import { Timestamp } from "./timestamp.ts";

const FIELDS = 12;

/**
 * One event. `T` is what its data is taken to be: nothing checks it, so that a column faults where the data is not as it
 * should be.
 *
 * What it is made of is decoded when it is asked for.
 */
export class Event<T = unknown> {
  /** Place in the log. Siblings that upcasters made of one stored event share it. */
  readonly position: number;
  /** From 0, among those siblings. */
  readonly part: number;
  /** Place in its stream, from 1. */
  readonly streamVersion: number;
  readonly eventType: string;
  /** Version of the event type's schema, from 1. */
  readonly schemaVersion: number;

  // Of each text, where its bytes are.
  private readonly idLength: number;
  private readonly idEnd: number;
  private readonly streamLength: number;
  private readonly streamEnd: number;
  private readonly streamTypeLength: number;
  private readonly streamTypeEnd: number;
  private readonly dataLength: number;
  private readonly dataEnd: number;
  private readonly metadataLength: number;
  private readonly metadataEnd: number;
  private readonly times: number;
  private stream: string | undefined;
  private parsed: unknown;
  private isParsed = false;

  /** @internal Reads the next one. */
  constructor(
    private readonly reader: Reader,
    types: Map<string, string>,
  ) {
    const length = reader.arrayLength();
    if (length !== FIELDS) throw new Error(`an event of ${length} fields came, where ${FIELDS} are due`);
    this.position = reader.count();
    this.part = reader.count();
    this.idLength = reader.textLength();
    this.idEnd = reader.at;
    this.streamLength = reader.textLength();
    this.streamEnd = reader.at;
    this.streamTypeLength = reader.textLength();
    this.streamTypeEnd = reader.at;
    this.streamVersion = reader.count();
    this.eventType = typeOf(reader, types);
    this.schemaVersion = reader.count();
    this.dataLength = reader.textLength();
    this.dataEnd = reader.at;
    this.metadataLength = reader.textLength();
    this.metadataEnd = reader.at;
    this.times = reader.at;
    reader.skipInteger();
    reader.skipInteger();
  }

  get id(): string {
    return this.reader.slice(this.idEnd - this.idLength, this.idEnd);
  }

  get streamId(): string {
    return (this.stream ??= this.reader.slice(this.streamEnd - this.streamLength, this.streamEnd));
  }

  get streamType(): string {
    return this.reader.slice(this.streamTypeEnd - this.streamTypeLength, this.streamTypeEnd);
  }

  /** What happened. Whole numbers beyond 2^53 - 1 in size come as bigints. */
  get data(): T {
    if (!this.isParsed) {
      this.parsed = this.parse("data", this.dataText);
      this.isParsed = true;
    }
    return this.parsed as T;
  }

  /** The same as JSON text, to the letter. */
  get dataText(): string {
    return this.reader.slice(this.dataEnd - this.dataLength, this.dataEnd);
  }

  /** Who, why and more. Always an object; parsed anew each time. */
  get metadata(): Record<string, unknown> {
    return this.parse("metadata", this.metadataText) as Record<string, unknown>;
  }

  /** The same as JSON text, to the letter. */
  get metadataText(): string {
    return this.reader.slice(this.metadataEnd - this.metadataLength, this.metadataEnd);
  }

  /** When it happened. The only clock that a projector should look at. */
  get occurredAt(): Timestamp {
    this.reader.at = this.times;
    return Timestamp.fromMicros(this.reader.integer());
  }

  /** When the log stored it. */
  get recordedAt(): Timestamp {
    this.reader.at = this.times;
    this.reader.skipInteger();
    return Timestamp.fromMicros(this.reader.integer());
  }

  /** Random numbers that are the same whenever this event is projected, on every machine. */
  random(): Random {
    return new Random(this.id, this.part);
  }

  private parse(what: string, text: string): unknown {
    try {
      return parseJson(text);
    } catch (error) {
      throw new Error(
        `${what} of ${this.eventType}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}

/** A text that comes again and again, decoded once. */
function typeOf(reader: Reader, types: Map<string, string>): string {
  const length = reader.textLength();
  const bytes = reader.binary.substring(reader.at - length, reader.at);
  let type = types.get(bytes);
  if (type === undefined) {
    type = fromUtf8(bytes);
    types.set(bytes, type);
  }
  return type;
}

/** The events of a call. */
export function readEvents(reader: Reader): Event[] {
  const types = new Map<string, string>();
  const events: Event[] = [];
  while (!reader.isDone) events.push(new Event(reader, types));
  return events;
}
