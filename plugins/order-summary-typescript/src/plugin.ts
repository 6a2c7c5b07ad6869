// Keeps what a shop wants to know of its orders: one row an order, one a customer.
//
// It takes the events as they are stored, and in the form that `order-upcasters` lifts them to: with or without it the rows
// are the same.
//
// Credit notes and adjustments are streams of their own and have rows of their own. A line names no customer, so the
// projector looks at the row of the line's order.

import { add, type Event, projector, type Tables } from "lamphouse";

import { type Header, type Line, unitPrice } from "./events.ts";
import { customers, orders } from "./tables.ts";

/** What kind of stream a row stands for. */
type Kind = "placed" | "credited" | "adjusted";

const tables = { orders, customers };

/** A stream begins: its row, and one more stream of its customer. */
function open(event: Event<Header>, status: Kind, { orders, customers }: Tables<typeof tables>): void {
  const { customer_id: customerId, country } = event.data;
  if (customerId !== null) customers.upsert(customerId, { orders: add(1) });
  orders.put({
    orderId: event.streamId,
    customerId,
    country,
    lines: 0,
    quantity: 0,
    total: 0,
    status,
    placedAt: event.occurredAt,
  });
}

/** A line: counted for its order, and for the order's customer where it is known. */
function line(event: Event<Line>, kind: Kind, { orders, customers }: Tables<typeof tables>): void {
  const { quantity } = event.data;
  const value = unitPrice(event.data).times(quantity);
  const customerId = orders.look(event.streamId, "customerId");
  if (customerId === undefined) throw new Error("a line came before its order");

  orders.patch(event.streamId, { lines: add(1), quantity: add(quantity), total: add(value) });
  if (customerId === null) return;
  const always = { lines: add(1), quantity: add(quantity), net: add(value) };
  if (kind === "placed") {
    customers.upsert(customerId, { ...always, ordered: add(value) });
  } else if (kind === "credited") {
    customers.upsert(customerId, { ...always, returned: add(value) });
  } else {
    customers.upsert(customerId, always);
  }
}

const LINES = new Set(["LineAdded", "LineReturned", "LineAdjusted"]);

export default projector({
  name: "order-summary-typescript",
  version: "1.0.0",
  tables,
  prefetch(event, wanted) {
    if (LINES.has(event.eventType)) wanted.orders(event.streamId);
  },
  on: {
    OrderPlaced: (event: Event<Header>, tables) => open(event, "placed", tables),
    LineAdded: (event: Event<Line>, tables) => line(event, "placed", tables),
    OrderCancelled: (event: Event<Header>, tables) => open(event, "credited", tables),
    CreditNoteIssued: (event: Event<Header>, tables) => open(event, "credited", tables),
    LineReturned: (event: Event<Line>, tables) => line(event, "credited", tables),
    // One event that is header and line in one.
    AdjustmentPosted(event: Event<Header & Line>, tables) {
      open(event, "adjusted", tables);
      line(event, "adjusted", tables);
    },
    AdjustmentOpened: (event: Event<Header>, tables) => open(event, "adjusted", tables),
    LineAdjusted: (event: Event<Line>, tables) => line(event, "adjusted", tables),
  },
});
