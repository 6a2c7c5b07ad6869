// What the events carry, as far as this projector looks at it.

import { Decimal } from "lamphouse";

/** `OrderPlaced`, `OrderCancelled` (`CreditNoteIssued`), and the head of `AdjustmentPosted` (`AdjustmentOpened`). */
export interface Header {
  /** Null for sales to nobody in particular. */
  readonly customer_id: string | null;
  readonly country: string;
}

/** `LineAdded`, `LineReturned` (its quantity is negative), and the line of `AdjustmentPosted` (`LineAdjusted`). */
export interface Line {
  readonly quantity: number;
  /** In pounds: the stored form. */
  readonly unit_price?: string;
  /** In pence: what `order-upcasters` makes of it. */
  readonly unit_price_minor?: number;
  /** Digits after the point of `unit_price_minor`, where they are not two. */
  readonly minor_digits?: number;
}

/** Digits of a pound after the point. */
const PENCE_DIGITS = 2;

/** Price of one piece, in pounds. */
export function unitPrice(line: Line): Decimal {
  if (line.unit_price !== undefined) return Decimal.parse(line.unit_price);
  if (line.unit_price_minor !== undefined) {
    return Decimal.ofMantissa(line.unit_price_minor, line.minor_digits ?? PENCE_DIGITS);
  }
  throw new Error("a line has neither unit_price nor unit_price_minor");
}
