"""Lifts a shop's old events to the form that today's projectors read. The log keeps what it has.

LineAdded 1: unit_price in pounds, as text
    becomes LineAdded 2: unit_price_minor in pence, and currency; a price of part of a penny keeps its digits, and
    says how many: minor_digits
OrderCancelled 1
    becomes CreditNoteIssued 1, otherwise the same
AdjustmentPosted 1: header and line in one
    becomes AdjustmentOpened 1, then LineAdjusted 1
CartViewed 1
    becomes nothing
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lamphouse import Event, Fault, Today, Upcaster, rule

# Version 1 knew one currency, and did not say which.
CURRENCY = "GBP"
# Digits of a pound after the point, down to pence.
SCALE = 2


@dataclass
class LineV1:
    """A line as it was."""

    line_no: int
    sku: str
    description: str | None
    quantity: int
    unit_price: Decimal
    invoice_date: str | None

    def today(self) -> dict[str, Any]:
        """A line as it is today."""
        price = self.unit_price
        pence = price.scaleb(SCALE)
        # Part of a penny keeps its digits: nothing is rounded.
        digits = SCALE if pence == int(pence) else -int(price.as_tuple().exponent)
        line = {
            "line_no": self.line_no,
            "sku": self.sku,
            "description": self.description,
            "quantity": self.quantity,
            "unit_price_minor": whole(price.scaleb(digits)),
        }
        if digits != SCALE:
            line["minor_digits"] = digits
        line["currency"] = CURRENCY
        if self.invoice_date is not None:
            line["invoice_date"] = self.invoice_date
        return line


@dataclass
class Header:
    """The first of the two that an adjustment becomes."""

    adjustment_no: str
    customer_id: str | None
    country: str


@dataclass
class Adjustment(LineV1, Header):
    """Header and line in one."""


class OrderUpcasters(Upcaster):
    name = "order-upcasters-python"
    version = "1.0.0"
    # A view changes nothing that anybody keeps.
    drops = [("CartViewed", 1)]

    @rule(("LineAdded", 1), ("LineAdded", 2), data=LineV1)
    def line_added(self, event: Event[LineV1], today: Today) -> None:
        today.give("LineAdded", 2, event.data.today())

    @rule(("OrderCancelled", 1), ("CreditNoteIssued", 1))
    def cancelled(self, event: Event, today: Today) -> None:
        today.rename("CreditNoteIssued", 1)

    @rule(("AdjustmentPosted", 1), [("AdjustmentOpened", 1), ("LineAdjusted", 1)], data=Adjustment)
    def posted(self, event: Event[Adjustment], today: Today) -> None:
        both = event.data
        today.give("AdjustmentOpened", 1, Header(both.adjustment_no, both.customer_id, both.country))
        today.give("LineAdjusted", 1, both.today())


def whole(number: Decimal) -> int:
    """An integer of 64 bits."""
    if not -(2**63) <= number < 2**63:
        raise Fault(f"{number} minor units do not fit 64 bits")
    return int(number)
