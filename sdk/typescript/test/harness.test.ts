// What a projector's author meets: rows, changes and reads within a call, failures.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  add,
  boolean,
  bytes,
  Decimal,
  decimal,
  type Event,
  integer,
  json,
  JsonText,
  log,
  projector,
  real,
  type Row,
  safeInteger,
  table,
  text,
  timestamp,
  Timestamp,
  type Tables,
} from "../src/index.ts";
import { CallFailed, eventOfLine, Harness } from "../src/testing/index.ts";

const things = table(
  {
    thingId: text().key(),
    part: integer().key(),
    group: text().nullable().index(),
    count: integer().initial(0),
    few: safeInteger().initial(0),
    weight: real().initial(0),
    total: decimal(2).initial(0),
    flag: boolean().nullable(),
    raw: bytes().nullable(),
    seen: timestamp().nullable(),
    more: json<{ n: unknown }>().nullable(),
  },
  { indexes: [["group", "count"]] },
);
const names = table({ name: text().key(), count: integer().initial(0), note: text().nullable() });
const tables = { things, names };
type All = Tables<typeof tables>;

/** A projector whose handler is the test's. */
function harnessOf(handle: (event: Event<never>, tables: All) => void): Harness<typeof tables> {
  return new Harness(projector({ name: "things", version: "1.0.0", tables, onEveryEvent: handle }));
}

/** What a call of the handler fails with. */
function failureOf(handle: (event: Event<never>, tables: All) => void): CallFailed["failure"] {
  const harness = harnessOf(handle).given("t-1", "Happened", {});
  try {
    harness.run();
  } catch (error) {
    assert.ok(error instanceof CallFailed, String(error));
    return error.failure;
  }
  throw new Error("nothing failed");
}

const WHOLE = {
  thingId: "a",
  part: 1,
  group: "g",
  count: 2n ** 63n - 1n,
  few: 3,
  weight: 0.5,
  total: Decimal.parse("12.5"),
  flag: true,
  raw: new Uint8Array([0, 255]),
  seen: Timestamp.parse("2011-08-12T13:50:00.123456Z"),
  more: { n: 2n ** 63n },
};

test("a row comes back as it was put", () => {
  const harness = harnessOf((_event, { things }) => things.put(WHOLE)).given("t-1", "Happened", {});
  const row: Row<typeof things> | undefined = harness.row("things", { thingId: "a", part: 1n });
  assert.deepEqual(row, { ...WHOLE, part: 1n, total: Decimal.parse("12.50") });
  assert.deepEqual(harness.find("things", { group: "g" }), [row]);
  assert.deepEqual(harness.find("things", { count: WHOLE.count, group: "g" }), [row]);
  assert.deepEqual(harness.find("things", { group: "h" }), []);
});

test("names are snake_case in SQL", () => {
  const { descriptor } = projector({ name: "n", version: "1", tables, onEveryEvent() {} });
  assert.deepEqual(
    descriptor.tables[0]?.columns.slice(0, 3).map(({ name }) => name),
    ["thing_id", "part", "group"],
  );
  assert.deepEqual(descriptor.tables[0]?.indexes, [[2], [2, 3]]);
});

test("reads see every change before them", () => {
  const seen: unknown[] = [];
  const harness = harnessOf((event, { names }) => {
    const name = event.streamId;
    names.upsert(name, { count: add(1) });
    names.upsert(name, { count: add(2n), note: "x" });
    seen.push(names.get(name)?.count, names.look(name, "note"));
    names.patch(name, { note: null });
    seen.push(names.look(name, "note"));
    names.remove(name);
    seen.push(names.get(name), names.look(name, "count"));
    names.upsert(name, { count: add(5) });
    seen.push(names.getMany([name, "none"]).map((row) => row?.count));
  }).given("n-1", "Happened", {});
  assert.deepEqual(harness.rows("names"), [{ name: "n-1", count: 5n, note: null }]);
  assert.deepEqual(seen, [3n, "x", null, undefined, undefined, [5n, undefined]]);
});

test("find sees what the call changed, page by page", () => {
  const pages: unknown[] = [];
  const harness = harnessOf((event, { things }) => {
    for (let part = 0; part < 5; part++) things.upsert({ thingId: event.streamId, part }, { group: "g" });
    things.remove({ thingId: event.streamId, part: 3 });
    const first = things.findPage({ group: "g" }, { limit: 2 });
    const second = things.findPage({ group: "g" }, { after: first[1], limit: 2 });
    pages.push([...first, ...second].map(({ part }) => part));
    for (const row of things.find({ group: "g" })) things.patch(row, { group: "h" });
  }).given("t-1", "Happened", {});
  assert.equal(harness.find("things", { group: "h" }).length, 4);
  assert.deepEqual(pages, [[0n, 1n, 2n, 4n]]);
});

test("find without an index says which there are", () => {
  const failure = failureOf((_event, { things }) => void things.find({ count: 1 }));
  assert.equal(
    failure.message,
    "table 'things': find by (count) needs an index that begins with these columns; declared: (group), (group, count)",
  );
});

test("what a column does not hold fails the call", () => {
  const key = { thingId: "a", part: 1 };
  const set = (changes: object) => failureOf((_event, { things }) => things.upsert(key, changes)).message;
  assert.equal(set({ count: 1.5 }), "things.count: the column is integer, but 1.5 came");
  assert.match(
    set({ count: 2 ** 53 }),
    /9007199254740992 is beyond 2\^53 - 1 and may have lost digits: give a bigint/,
  );
  assert.match(set({ count: 2n ** 63n }), /does not fit a signed 64-bit integer/);
  assert.match(set({ few: 2n ** 53n }), /a safeInteger\(\) column does not hold/);
  assert.equal(set({ weight: NaN }), "things.weight: NaN is not a finite number");
  assert.match(
    set({ total: Decimal.parse("1.005") }),
    /1.005 does not fit decimal\(2\): 3 digits after the point/,
  );
  assert.match(set({ total: 1.5 }), /the number 1.5 is not exact/);
  assert.match(set({ total: "1.5" }), /the column is decimal\(2\), but text '1.5' came/);
  assert.match(set({ group: "a\0b" }), /text may not contain U\+0000/);
  assert.match(set({ group: "a\ud800" }), /half of a surrogate pair/);
  assert.match(set({ flag: 1 }), /the column is boolean, but number 1 came/);
  assert.match(set({ count: null }), /null came, but the column is not nullable/);
  assert.match(set({ count: undefined }), /undefined came; leave it out, or give null/);
  assert.match(set({ kount: 1 }), /table 'things' has no column 'kount'; it has thingId, part/);
  assert.match(set({ part: 1 }), /it is a key column/);
  assert.match(set({ more: { n: "\0" } }), /U\+0000/);
  assert.match(set({ more: { n: NaN } }), /NaN cannot be written as JSON/);
  assert.match(set({ flag: add(1) }), /only set, never added to/);
  assert.match(set({ seen: new Date(0) }), /the column is timestamp, but an object/);
});

test("sums that do not fit fail the call", () => {
  const failure = failureOf((_event, { names }) => {
    names.upsert("n", { count: 2n ** 63n - 1n });
    names.upsert("n", { count: add(1) });
    names.get("n");
  });
  assert.equal(failure.message, "names.count: the sum does not fit integer");
  assert.deepEqual(failure.index, 0);
});

test("sums beyond 2^53 keep every digit", () => {
  const harness = harnessOf((_event, { names }) => names.upsert("n", { count: add(2 ** 53 - 1) }));
  for (let given = 0; given < 3; given++) harness.given("n-1", "Happened", {});
  assert.equal(harness.row("names", "n")?.count, 3n * (2n ** 53n - 1n));
  harness.assertSameAtAnyBatchSize();
});

test("an absent row is not patched, even if another comes after it", () => {
  const patched = failureOf((_event, { names }) => names.patch("n", { count: 1 }));
  assert.equal(patched.message, "table 'names' has no row with key 'n' to patch (upsert makes one)");
  const replaced = failureOf((_event, { names }) => {
    names.patch("n", { count: 1 });
    names.put({ name: "n", count: 2, note: null });
  });
  assert.equal(replaced.message, patched.message);
});

test("a failure of the tables that is caught fails the call all the same", () => {
  const failure = failureOf((_event, { names }) => {
    try {
      names.upsert("n", { count: 1.5 });
    } catch {
      names.upsert("n", { count: 1 });
    }
  });
  assert.match(failure.message, /^the projector went on after a failure of its tables: names.count: /);
});

test("a failure leaves the rows as they were, and names the event and the place", () => {
  const harness = harnessOf((event, { names }) => {
    names.upsert("n", { count: add(1) });
    if (event.eventType === "Broken") throw new TypeError("no", { cause: new Error("because") });
  }).batchSize(2);
  harness.given("n-1", "Happened", {}).given("n-1", "Happened", {});
  harness.given("n-1", "Happened", {}).given("n-1", "Broken", {});
  assert.throws(
    () => harness.run(),
    (error) => {
      assert.ok(error instanceof CallFailed);
      assert.equal(error.failure.index, 1);
      assert.equal(error.failure.message, "TypeError: no: because");
      assert.match(error.failure.trace, /test\/harness\.test\.ts:\d+/);
      assert.match(String(error.stack), /event 4 of the test: TypeError: no/);
      return true;
    },
  );
});

test("an async handler is refused", () => {
  const failure = failureOf((async () => {}) as () => void);
  assert.match(failure.message, /the handler is async, but a call does not wait/);
});

test("lines of the log are kept for the test", () => {
  const harness = harnessOf(() => log.warn("so", 1n, { a: Decimal.parse("1.50") })).given(
    "n-1",
    "Happened",
    {},
  );
  harness.run();
  assert.deepEqual(harness.log(), [{ level: "warn", message: 'so 1 {"a":"1.50"}' }]);
  assert.deepEqual(harness.log(), []);
});

test("rows that depend on the batch are found", () => {
  let kept = 0;
  const harness = harnessOf((event, { names }) => names.upsert(event.streamId, { count: kept++ }));
  harness.given("n-1", "Happened", {}).given("n-1", "Happened", {});
  assert.throws(
    () => harness.assertSameAtAnyBatchSize(),
    /table 'names' differs in batches of 7 from batches of 1/,
  );
});

test("what the host would refuse is refused", () => {
  const declared = (name: string, tables: Parameters<typeof projector>[0]["tables"]) => () =>
    new Harness(projector({ name, version: "1.0.0", tables, onEveryEvent() {} }));
  assert.throws(declared("Shop", tables), /plugin name 'Shop' must be lower-case ASCII/);
  assert.throws(declared("shop", { t: table({ a: text() }) }), /the primary key has 0 columns/);
  assert.throws(declared("shop", { t: table({ fooBar: text().key(), foo_bar: text() }) }), /'foo_bar' twice/);
  assert.throws(declared("shop", {}), /no table is declared/);
  assert.throws(
    () =>
      table({ a: text().key(), b: decimal(1).initial(Decimal.parse("0.05")) }) &&
      declared("shop", {
        t: table({ a: text().key(), b: decimal(1).initial(Decimal.parse("0.05")) }),
      })(),
    /initial value of t.b: 0.05 does not fit decimal\(1\)/,
  );
});

test("events have what the log has", () => {
  const seen: unknown[] = [];
  const harness = harnessOf((event: Event<{ n: unknown; text: string }>) => {
    const { position, part, id, streamId, streamType, streamVersion, eventType, schemaVersion } = event;
    seen.push([position, part, id, streamId, streamType, streamVersion, eventType, schemaVersion]);
    seen.push(
      event.data,
      event.dataText,
      event.metadata,
      event.occurredAt.toString(),
      event.random().below(100),
    );
  });
  harness.givenEvent(
    eventOfLine(
      '{"stream_id":"größe-1","stream_type":"größe","event_type":"Made","schema_version":2,' +
        '"data":{"n":9007199254740993,"text":"é🏮"},"metadata":{"user":"u"},"occurred_at":"2011-08-12T13:50:00.5Z"}',
    ),
  );
  harness.run();
  assert.deepEqual(seen.slice(0, 5), [
    [1, 0, "00000000-0000-7000-8000-000000000001", "größe-1", "größe", 1, "Made", 2],
    { n: 9007199254740993n, text: "é🏮" },
    '{"n":9007199254740993,"text":"é🏮"}',
    { user: "u" },
    "2011-08-12T13:50:00.500000Z",
  ]);
});

test("handlers are chosen by type, version and stream, in this order", () => {
  const seen: string[] = [];
  const one = table({ id: text().key() });
  const harness = new Harness(
    projector({
      name: "choice",
      version: "1.0.0",
      tables: { one },
      on: {
        Plain: () => void seen.push("plain"),
        Versioned: [
          { schemaVersions: [1], handle: () => void seen.push("1") },
          {
            schemaVersions: [2, 3],
            streamType: "cart",
            handle: () => void seen.push("2 or 3 of carts"),
          },
        ],
      },
      onStreamType: { cart: () => void seen.push("cart") },
    }),
  );
  const give = (streamId: string, eventType: string, schemaVersion: number) =>
    harness.givenEvent({ streamId, eventType, schemaVersion, data: null });
  give("cart-1", "Plain", 9);
  give("order-1", "Versioned", 1);
  give("order-1", "Versioned", 2);
  give("cart-1", "Versioned", 3);
  give("cart-1", "Versioned", 4);
  harness.run();
  assert.deepEqual(seen, ["plain", "1", "2 or 3 of carts", "cart"]);
});

test("a json column keeps text to the letter", () => {
  const text = '{"n": 1.0, "big": 12345678901234567890}';
  const harness = harnessOf((_event, { things }) =>
    things.upsert({ thingId: "a", part: 1 }, { more: new JsonText(text) }),
  ).given("t-1", "Happened", {});
  assert.deepEqual(harness.row("things", { thingId: "a", part: 1 })?.more, {
    n: 1,
    big: 12345678901234567890n,
  });
});

test("keys of texts sort by their bytes", () => {
  const harness = harnessOf((event, { names }) => names.put({ name: event.streamId, count: 0, note: null }));
  for (const name of ["\ufb01", "😀", "b", "B", "é"]) harness.given(name, "Happened", {});
  assert.deepEqual(
    harness.rows("names").map(({ name }) => name),
    ["B", "b", "é", "\ufb01", "😀"],
  );
});
