// What the compiler tells an author: each line below an expectation must not compile, or `npm run check` fails.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  add,
  Decimal,
  decimal,
  type Event,
  integer,
  type Key,
  projector,
  type Row,
  safeInteger,
  table,
  type Tables,
  text,
  timestamp,
} from "../src/index.ts";

const orders = table(
  {
    orderId: text().key(),
    customerId: text().nullable().index(),
    lines: integer().initial(0),
    pieces: safeInteger(),
    total: decimal(2),
    placedAt: timestamp(),
  },
  { indexes: [["lines", "total"]] },
);
const parts = table({ orderId: text().key(), line: integer().key(), note: text() });

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(isSame: Same<A, B>): void => assert.ok(isSame);

/** Compiled, never run. */
function author({
  orders: rows,
  parts: lines,
}: Tables<{ orders: typeof orders; parts: typeof parts }>): void {
  const row = rows.get("order-1");
  // @ts-expect-error the row may not be there
  void row.lines;
  const customer: string | null | undefined = rows.look("order-1", "customerId");
  void customer;
  // @ts-expect-error there is no such column
  rows.look("order-1", "customer");
  // @ts-expect-error the key is a text
  rows.get(1);
  // @ts-expect-error the key has two columns
  lines.get("order-1");
  lines.get({ orderId: "order-1", line: 1 });
  // @ts-expect-error a row has all columns
  lines.put({ orderId: "order-1", line: 1 });
  // @ts-expect-error a key column is not changed
  lines.patch({ orderId: "order-1", line: 1 }, { line: 2 });
  // @ts-expect-error a text is not added to
  lines.patch({ orderId: "order-1", line: 1 }, { note: add("x") });
  rows.patch("order-1", { lines: add(1n), pieces: add(2), total: add(Decimal.ZERO), customerId: null });
  // @ts-expect-error a decimal is not added to an integer
  rows.patch("order-1", { lines: add(Decimal.ZERO) });
  // @ts-expect-error it is not nullable
  rows.patch("order-1", { lines: null });
  // @ts-expect-error a text is no decimal
  rows.patch("order-1", { total: "1.50" });
  rows.find({ customerId: "c-7" });
  rows.find({ lines: 1, total: 2 });
  // @ts-expect-error no index has it
  rows.find({ placedAt: row });
  // @ts-expect-error null is not found
  rows.find({ customerId: null });
}

// @ts-expect-error an index names declared columns
table({ a: text().key() }, { indexes: [["b"]] });
// @ts-expect-error the initial value is of the column's type
integer().initial("0");

test("types come from the declaration", () => {
  same<
    Row<typeof orders>,
    {
      orderId: string;
      customerId: string | null;
      lines: bigint;
      pieces: number;
      total: Decimal;
      placedAt: import("../src/index.ts").Timestamp;
    }
  >(true);
  same<Key<typeof orders>, string>(true);
  same<Key<typeof parts>, { readonly orderId: string; readonly line: bigint | number }>(true);
  assert.equal(typeof author, "function");
});

test("handlers know their tables, and may say what the data is", () => {
  const plugin = projector({
    name: "typed",
    version: "1.0.0",
    tables: { orders },
    on: {
      Placed(event: Event<{ readonly lines: number }>, { orders }) {
        orders.upsert(event.streamId, { lines: event.data.lines });
        // @ts-expect-error there is no such column
        orders.upsert(event.streamId, { line: 1 });
      },
      Shipped(event, { orders }) {
        // @ts-expect-error nothing is known of the data
        void event.data.lines;
        orders.remove(event.streamId);
      },
    },
  });
  assert.equal(plugin.descriptor.subscriptions.length, 2);
});
