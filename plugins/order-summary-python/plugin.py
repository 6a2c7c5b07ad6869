"""Keeps what a shop wants to know of its orders: one row an order, one a customer.

It takes the events as they are stored, and in the form that the order upcasters lift them to: with or without
them the rows are the same. Credit notes and adjustments are streams of their own and have rows of their own. A
line names no customer, so the projector looks at the row of the line's order.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from lamphouse import Event, Fault, Projector, Tables, Wanted, add, column, decimal, key, on, table

# Digits of a pound after the point.
PENCE_DIGITS = 2


@table("orders")
class Order:
    """One row a stream: an order, a credit note or an adjustment."""

    order_id: str = key()
    customer_id: str | None
    country: str
    lines: int
    quantity: int
    # Prices have up to three digits after the point, so sums do too.
    total: Decimal = decimal(3)
    # placed, credited or adjusted
    status: str
    placed_at: datetime


@table("customers")
class Customer:
    """One row a known customer."""

    customer_id: str = key()
    # Streams: orders, credit notes and adjustments.
    orders: int = column(initial=0)
    lines: int = column(initial=0)
    quantity: int = column(initial=0)
    net: Decimal = decimal(3, initial=0)
    # The lines of orders.
    ordered: Decimal = decimal(3, initial=0)
    # The lines of credit notes: negative.
    returned: Decimal = decimal(3, initial=0)


@dataclass
class Header:
    """What opens a stream."""

    # None for sales to nobody in particular.
    customer_id: str | None
    country: str


@dataclass
class Line:
    """A line of an order; of a credit note, its quantity is negative."""

    quantity: int
    # In pounds: the stored form.
    unit_price: Decimal | None
    # In pence: what the upcasters make of it.
    unit_price_minor: int | None
    # Digits after the point of unit_price_minor, where they are not two.
    minor_digits: int | None

    def value(self) -> Decimal:
        if self.unit_price is not None:
            return self.unit_price * self.quantity
        if self.unit_price_minor is None:
            raise Fault("a line has neither unit_price nor unit_price_minor")
        digits = PENCE_DIGITS if self.minor_digits is None else self.minor_digits
        return Decimal(self.unit_price_minor * self.quantity).scaleb(-digits)


@dataclass
class Adjustment(Line):
    """Header and line in one."""

    customer_id: str | None
    country: str


class OrderSummary(Projector):
    name = "order-summary-python"
    version = "1.0.0"
    tables = [Order, Customer]

    def prefetch(self, event: Event, wanted: Wanted) -> None:
        if event.event_type in ("LineAdded", "LineReturned", "LineAdjusted"):
            wanted.row(Order, event.stream_id)

    @on("OrderPlaced", data=Header)
    def placed(self, event: Event[Header], tables: Tables) -> None:
        open_stream(event.data, "placed", event, tables)

    @on("OrderCancelled", "CreditNoteIssued", data=Header)
    def credited(self, event: Event[Header], tables: Tables) -> None:
        open_stream(event.data, "credited", event, tables)

    @on("AdjustmentOpened", data=Header)
    def adjusted(self, event: Event[Header], tables: Tables) -> None:
        open_stream(event.data, "adjusted", event, tables)

    @on("AdjustmentPosted", data=Adjustment)
    def posted(self, event: Event[Adjustment], tables: Tables) -> None:
        both = event.data
        open_stream(Header(both.customer_id, both.country), "adjusted", event, tables)
        add_line(both, event, tables)

    @on("LineAdded", data=Line)
    def added(self, event: Event[Line], tables: Tables) -> None:
        add_line(event.data, event, tables, counts_as="ordered")

    @on("LineReturned", data=Line)
    def returned(self, event: Event[Line], tables: Tables) -> None:
        add_line(event.data, event, tables, counts_as="returned")

    @on("LineAdjusted", data=Line)
    def line_adjusted(self, event: Event[Line], tables: Tables) -> None:
        add_line(event.data, event, tables)


def open_stream(header: Header, status: str, event: Event, tables: Tables) -> None:
    """A stream begins: its row, and one more stream of its customer."""
    if header.customer_id is not None:
        tables.upsert(Customer, header.customer_id, orders=add(1))
    tables.put(
        Order(
            order_id=event.stream_id,
            customer_id=header.customer_id,
            country=header.country,
            lines=0,
            quantity=0,
            total=Decimal(0),
            status=status,
            placed_at=event.occurred_at,
        )
    )


def add_line(line: Line, event: Event, tables: Tables, counts_as: str | None = None) -> None:
    """A line: counted for its order, and for the order's customer where it is known."""
    order = tables.get(Order, event.stream_id)
    if order is None:
        raise Fault("a line came before its order")
    value = line.value()
    tables.patch(Order, event.stream_id, lines=add(1), quantity=add(line.quantity), total=add(value))
    if order.customer_id is not None:
        sums = {"lines": add(1), "quantity": add(line.quantity), "net": add(value)}
        if counts_as is not None:
            sums[counts_as] = add(value)
        tables.upsert(Customer, order.customer_id, **sums)
