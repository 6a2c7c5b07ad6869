// Lifts a shop's old events to the form that today's projectors read. The log keeps what it has.
//
// | stored | today |
// |---|---|
// | `LineAdded` 1: `unit_price` in pounds, as text | `LineAdded` 2: `unit_price_minor` in pence, and `currency`; a price of part of a penny keeps its digits, and says how many: `minor_digits` |
// | `OrderCancelled` 1 | `CreditNoteIssued` 1, otherwise the same |
// | `AdjustmentPosted` 1: header and line in one | `AdjustmentOpened` 1, then `LineAdjusted` 1 |
// | `CartViewed` 1 | nothing |

import { Decimal, drops, type Event, rule, upcaster } from "lamphouse";

/** Version 1 knew one currency, and did not say which. */
const CURRENCY = "GBP";
/** Digits of a pound after the point, down to pence. */
const SCALE = 2;

/** A line as it was. */
interface LineV1 {
  readonly line_no: number;
  readonly sku: string;
  readonly description?: string | null;
  readonly quantity: number;
  readonly unit_price: string;
  readonly invoice_date?: string;
}

/** A line as it is today. */
interface LineV2 {
  readonly line_no: number;
  readonly sku: string;
  readonly description: string | null;
  readonly quantity: number;
  readonly unit_price_minor: bigint;
  /** Digits after the point, where pence are too coarse: nothing is rounded. */
  readonly minor_digits?: number;
  readonly currency: string;
  readonly invoice_date?: string;
}

/** `AdjustmentPosted`, and the first of the two that it becomes. */
interface Header {
  readonly adjustment_no: string;
  readonly customer_id?: string | null;
  readonly country: string;
}

function lineOf(line: LineV1): LineV2 {
  const minor = minorUnits(Decimal.parse(line.unit_price));
  return {
    line_no: line.line_no,
    sku: line.sku,
    description: line.description ?? null,
    quantity: line.quantity,
    unit_price_minor: minor.mantissa,
    ...(minor.scale === SCALE ? {} : { minor_digits: minor.scale }),
    currency: CURRENCY,
    ...(line.invoice_date === undefined ? {} : { invoice_date: line.invoice_date }),
  };
}

/** In pence, or in smaller parts where pence are too coarse. */
function minorUnits(price: Decimal): Decimal {
  try {
    return price.rescale(SCALE);
  } catch {
    return price;
  }
}

export default upcaster({
  name: "order-upcasters-typescript",
  version: "1.0.0",
  rules: [
    rule(["LineAdded", 1], [["LineAdded", 2]], (event: Event<LineV1>, today) => {
      today.give("LineAdded", 2, lineOf(event.data));
    }),
    rule(["OrderCancelled", 1], [["CreditNoteIssued", 1]], (_event, today) => {
      today.rename("CreditNoteIssued", 1);
    }),
    rule(
      ["AdjustmentPosted", 1],
      [
        ["AdjustmentOpened", 1],
        ["LineAdjusted", 1],
      ],
      (event: Event<Header & LineV1>, today) => {
        const { adjustment_no, customer_id = null, country } = event.data;
        today.give("AdjustmentOpened", 1, { adjustment_no, customer_id, country });
        today.give("LineAdjusted", 1, lineOf(event.data));
      },
    ),
    // A view changes nothing that anybody keeps.
    drops(["CartViewed", 1]),
  ],
});
