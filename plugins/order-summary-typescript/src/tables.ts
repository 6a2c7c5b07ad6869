// Prices have up to three digits after the point, so sums do too.

import { decimal, integer, table, text, timestamp } from "lamphouse";

/** One row a stream: an order, a credit note or an adjustment. */
export const orders = table({
  orderId: text().key(),
  customerId: text().nullable(),
  country: text(),
  lines: integer(),
  quantity: integer(),
  total: decimal(3),
  /** `placed`, `credited` or `adjusted`. */
  status: text(),
  placedAt: timestamp(),
});

/** One row a known customer. */
export const customers = table({
  customerId: text().key(),
  /** Streams: orders, credit notes and adjustments. */
  orders: integer().initial(0),
  lines: integer().initial(0),
  quantity: integer().initial(0),
  net: decimal(3).initial(0),
  /** The lines of orders. */
  ordered: decimal(3).initial(0),
  /** The lines of credit notes: negative. */
  returned: decimal(3).initial(0),
});
