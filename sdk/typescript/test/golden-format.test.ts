// The bytes of the packed lane, as every SDK writes and reads them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readEvents } from "../src/event.ts";
import { Reader } from "../src/packed/read.ts";
import { packArrayHead, packLifted } from "../src/packed/write.ts";
import { packEvent } from "../src/testing/events.ts";
import {
  columnOf,
  golden,
  hex,
  pack,
  packChange,
  packRead,
  storedOf,
  type Typed,
  type TypedChange,
  unhex,
} from "./golden.ts";

test("values", () => {
  const values = golden<{ value: Typed; hex: string }[]>("values");
  assert.ok(values.length > 50);
  for (const { value, hex: bytes } of values) {
    assert.equal(hex(pack(value)), bytes, JSON.stringify(value));
    const reader = new Reader(unhex(bytes));
    const column = columnOf(value.type === "null" ? { type: "text" } : value);
    assert.deepEqual(reader.stored(column), storedOf(value), JSON.stringify(value));
    assert.ok(reader.isDone);
  }
});

test("values that are cut short are refused", () => {
  for (const { value, hex: bytes } of golden<{ value: Typed; hex: string }[]>("values")) {
    if (bytes.length <= 2 || value.type === "null") continue;
    const reader = new Reader(unhex(bytes).slice(0, -1));
    assert.throws(() => reader.stored(columnOf(value)), /end at|packed bytes/, JSON.stringify(value));
  }
});

test("events", () => {
  const events = golden<{ event: Record<string, string | number>; hex: string }[]>("events");
  assert.ok(events.length > 0);
  for (const { event, hex: bytes } of events) {
    const [read, ...more] = readEvents(new Reader(unhex(bytes)));
    assert.ok(read !== undefined && more.length === 0);
    const found = {
      position: String(read.position),
      part: read.part,
      id: read.id,
      stream_id: read.streamId,
      stream_type: read.streamType,
      stream_version: String(read.streamVersion),
      event_type: read.eventType,
      schema_version: read.schemaVersion,
      data: read.dataText,
      metadata: read.metadataText,
      occurred_at: String(read.occurredAt.micros),
      recorded_at: String(read.recordedAt.micros),
    };
    assert.deepEqual(found, event);
    const written = packEvent({
      position: read.position,
      part: read.part,
      id: read.id,
      streamId: read.streamId,
      streamType: read.streamType,
      streamVersion: read.streamVersion,
      eventType: read.eventType,
      schemaVersion: read.schemaVersion,
      data: read.dataText,
      metadata: read.metadataText,
      occurredAt: read.occurredAt.micros,
      recordedAt: read.recordedAt.micros,
    });
    assert.equal(hex(written), bytes);
  }
});

test("changes", () => {
  const changes = golden<{ change: TypedChange; hex: string }[]>("changes");
  assert.ok(changes.length > 3);
  for (const { change, hex: bytes } of changes) assert.equal(hex(packChange(change)), bytes);
});

test("lifted events", () => {
  interface Lifted {
    readonly event_type: string;
    readonly schema_version: number;
    readonly data: string | null;
    readonly metadata: string | null;
  }
  for (const { lifted, hex: bytes } of golden<{ lifted: Lifted[]; hex: string }[]>("lifted")) {
    const events = lifted.map(({ event_type, schema_version, data, metadata }) =>
      packLifted(event_type, schema_version, data, metadata),
    );
    assert.equal(hex(packArrayHead(events.length) + events.join("")), bytes);
  }
});

test("reads and their answers", () => {
  type Read = {
    read: { table: number; key: Typed[] };
    hex: string;
    answer: Typed[] | null;
    answer_hex: string;
  };
  for (const { read, hex: bytes, answer, answer_hex } of golden<Read[]>("reads")) {
    assert.equal(hex(packRead(read)), bytes);
    const reader = new Reader(unhex(answer_hex));
    if (answer === null) {
      assert.ok(reader.isNil());
    } else {
      const columns = answer.map((value) => columnOf(value.type === "null" ? { type: "text" } : value));
      const row = reader.row({ name: "t", columns, primaryKey: [0], indexes: [] });
      assert.deepEqual(row, answer.map(storedOf));
    }
    assert.ok(reader.isDone);
  }
});
