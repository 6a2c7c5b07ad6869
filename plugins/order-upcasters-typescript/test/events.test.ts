// What single events become.

import assert from "node:assert/strict";
import { test } from "node:test";

import { UpcasterHarness } from "lamphouse/testing";

import orderUpcasters from "../src/plugin.ts";

const harness = new UpcasterHarness(orderUpcasters);

const lineV1 = (unitPrice: string): object => ({
  line_no: 1,
  sku: "22423",
  description: 'CAKE "STAND"',
  quantity: 3,
  unit_price: unitPrice,
});

const lineV2 = (unitPriceMinor: number): object => ({
  line_no: 1,
  sku: "22423",
  description: 'CAKE "STAND"',
  quantity: 3,
  unit_price_minor: unitPriceMinor,
  currency: "GBP",
});

test("a price in pounds becomes pence and a currency", () => {
  for (const [pounds, pence] of [
    ["2.55", 255],
    ["2.5", 250],
    ["12", 1_200],
    ["0.01", 1],
  ] as const) {
    harness.given("order-1", "LineAdded", lineV1(pounds)).becomes(["LineAdded", 2, lineV2(pence)]);
  }
});

test("a price of part of a penny keeps its digits", () => {
  harness
    .given("order-1", "LineAdded", lineV1("0.001"))
    .becomes(["LineAdded", 2, { ...lineV2(1), minor_digits: 3 }]);
});

test("a price without end fails and says so", () => {
  assert.throws(() => harness.given("order-1", "LineAdded", lineV1("1e9")), /'1e9' is not a decimal/);
});

test("today's lines stay as they are", () => {
  harness
    .givenEvent({ streamId: "order-1", eventType: "LineAdded", schemaVersion: 2, data: lineV2(255) })
    .becomes(["LineAdded", 2, lineV2(255)]);
});

test("a cancelled order is a credit note with the same data and metadata", () => {
  const data = { credit_note_no: "C1", customer_id: null, country: "EIRE" };
  const lifted = harness.given("order-C1", "OrderCancelled", data).becomes(["CreditNoteIssued", 1, data]);
  assert.deepEqual(lifted.events[0]?.metadata, { reason: "given by a test" });
});

test("an adjustment is opened and then has its line", () => {
  const header = { adjustment_no: "A1", customer_id: "17", country: "Malta" };
  harness
    .given("order-A1", "AdjustmentPosted", { ...header, ...lineV1("-11062.06") })
    .becomes(["AdjustmentOpened", 1, header], ["LineAdjusted", 1, lineV2(-1_106_206)]);
});

test("a view of a cart is dropped", () => {
  harness.given("cart-1", "CartViewed", { sku: "22423" }).becomesNothing();
});
