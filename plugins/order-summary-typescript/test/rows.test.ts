// What single events make of the rows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CallFailed, Harness } from "lamphouse/testing";

import orderSummary from "../src/plugin.ts";

const header = (customer: string | null): object => ({
  invoice_no: "1",
  customer_id: customer,
  country: "EIRE",
  currency: "GBP",
});

const line = (quantity: number, unitPrice: string): object => ({
  line_no: 1,
  sku: "22423",
  description: 'CAKE "STAND"',
  quantity,
  unit_price: unitPrice,
});

function failureOf(run: () => void): CallFailed["failure"] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof CallFailed, String(error));
    return error.failure;
  }
  throw new Error("nothing failed");
}

test("an order and its credit note are two rows of one customer", () => {
  const harness = new Harness(orderSummary);
  harness.given("order-1", "OrderPlaced", header("17850"));
  harness.given("order-1", "LineAdded", line(6, "2.55"));
  harness.given("order-1", "LineAdded", line(1, "0.001"));
  harness.given("order-C2", "OrderCancelled", header("17850"));
  harness.given("order-C2", "LineReturned", line(-2, "2.55"));

  const order = harness.row("orders", "order-1");
  assert.equal(order?.lines, 2n);
  assert.equal(order.quantity, 7n);
  assert.equal(String(order.total), "15.301");
  assert.equal(order.status, "placed");
  assert.equal(String(order.placedAt), "2024-01-01T00:00:01Z");
  const note = harness.row("orders", "order-C2");
  assert.equal(note?.status, "credited");
  assert.equal(String(note.total), "-5.100");
  const customer = harness.row("customers", "17850");
  assert.deepEqual([customer?.orders, customer?.lines, customer?.quantity], [2n, 3n, 5n]);
  assert.deepEqual([customer?.net, customer?.ordered, customer?.returned].map(String), [
    "10.201",
    "15.301",
    "-5.100",
  ]);
  harness.assertSameAtAnyBatchSize();
});

test("lifted events give the same rows as stored ones", () => {
  const stored = new Harness(orderSummary)
    .given("order-1", "OrderPlaced", header("17850"))
    .given("order-1", "LineAdded", line(6, "2.55"))
    .given("order-1", "LineAdded", line(1, "0.001"))
    .given("order-C2", "OrderCancelled", header("17850"))
    .given("order-A3", "AdjustmentPosted", { ...header(null), quantity: 1, unit_price: "-11062.06" });
  const lifted = new Harness(orderSummary)
    .given("order-1", "OrderPlaced", header("17850"))
    .given("order-1", "LineAdded", { quantity: 6, unit_price_minor: 255, currency: "GBP" })
    .given("order-1", "LineAdded", { quantity: 1, unit_price_minor: 1, minor_digits: 3, currency: "GBP" })
    .given("order-C2", "CreditNoteIssued", header("17850"))
    .givenEvent({ streamId: "order-A3", eventType: "AdjustmentOpened", data: header(null) })
    .givenEvent({
      streamId: "order-A3",
      eventType: "LineAdjusted",
      data: { quantity: 1, unit_price_minor: -1_106_206, currency: "GBP" },
      at: "2024-01-01T00:00:05Z",
    });
  assert.deepEqual(stored.rows("orders"), lifted.rows("orders"));
  assert.deepEqual(stored.rows("customers"), lifted.rows("customers"));
});

test("sales to nobody in particular have an order and no customer", () => {
  const harness = new Harness(orderSummary);
  harness.given("order-1", "OrderPlaced", header(null)).given("order-1", "LineAdded", line(1, "2.00"));
  assert.equal(harness.rows("orders").length, 1);
  assert.deepEqual(harness.rows("customers"), []);
});

test("an adjustment is header and line in one", () => {
  const harness = new Harness(orderSummary);
  harness.given("order-A1", "AdjustmentPosted", { ...header("c"), ...line(1, "-11062.06") });
  const row = harness.row("orders", "order-A1");
  assert.deepEqual([row?.status, row?.lines, String(row?.total)], ["adjusted", 1n, "-11062.060"]);
  const customer = harness.row("customers", "c");
  assert.deepEqual([customer?.net, customer?.ordered, customer?.returned].map(String), [
    "-11062.060",
    "0.000",
    "0.000",
  ]);
});

test("a line before its order is a failure that says so", () => {
  const harness = new Harness(orderSummary);
  harness.given("order-1", "OrderPlaced", header(null)).given("order-2", "LineAdded", line(1, "2.00"));
  const failure = failureOf(() => harness.run());
  assert.equal(failure.index, 1);
  assert.equal(failure.message, "a line came before its order");
  assert.match(failure.trace, /src\/plugin\.ts:\d+/);
});

test("a price that is no decimal is named", () => {
  const harness = new Harness(orderSummary);
  harness.given("order-1", "OrderPlaced", header(null)).given("order-1", "LineAdded", line(1, "2,00"));
  assert.match(failureOf(() => harness.run()).message, /^'2,00' is not a decimal/);
});
