"""What single events make of the rows."""

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from lamphouse.testing import Failure, Harness
from plugin import Customer, Order, OrderSummary


def header(customer: str | None) -> dict[str, Any]:
    return {"invoice_no": "1", "customer_id": customer, "country": "EIRE", "currency": "GBP"}


def line(quantity: int, unit_price: str) -> dict[str, Any]:
    sold = {"line_no": 1, "sku": "22423", "description": 'CAKE "STAND"'}
    return {**sold, "quantity": quantity, "unit_price": unit_price}


def test_an_order_and_its_credit_note_are_two_rows_of_one_customer() -> None:
    harness = Harness(OrderSummary)
    harness.given("order-1", "OrderPlaced", header("17850"))
    harness.given("order-1", "LineAdded", line(6, "2.55"))
    harness.given("order-1", "LineAdded", line(1, "0.001"))
    harness.given("order-C2", "OrderCancelled", header("17850"))
    harness.given("order-C2", "LineReturned", line(-2, "2.55"))

    assert harness.row(Order, "order-1") == Order(
        order_id="order-1",
        customer_id="17850",
        country="EIRE",
        lines=2,
        quantity=7,
        total=Decimal("15.301"),
        status="placed",
        placed_at=datetime(2024, 1, 1, 0, 0, 1, tzinfo=timezone.utc),
    )
    note = harness.row(Order, "order-C2")
    assert note is not None
    assert (note.status, str(note.total)) == ("credited", "-5.100")
    assert harness.row(Customer, "17850") == Customer(
        customer_id="17850",
        orders=2,
        lines=3,
        quantity=5,
        net=Decimal("10.201"),
        ordered=Decimal("15.301"),
        returned=Decimal("-5.1"),
    )
    harness.assert_same_at_any_batch_size()


def test_lifted_events_give_the_same_rows_as_stored_ones() -> None:
    stored = Harness(OrderSummary)
    stored.given("order-1", "OrderPlaced", header("17850"))
    stored.given("order-1", "LineAdded", line(6, "2.55"))
    stored.given("order-1", "LineAdded", line(1, "0.001"))
    stored.given("order-C2", "OrderCancelled", header("17850"))
    stored.given("order-A3", "AdjustmentPosted", {**header(None), "quantity": 1, "unit_price": "-11062.06"})

    lifted = Harness(OrderSummary)
    lifted.given("order-1", "OrderPlaced", header("17850"))
    lifted.given("order-1", "LineAdded", {"quantity": 6, "unit_price_minor": 255, "currency": "GBP"})
    lifted.given("order-1", "LineAdded", {"quantity": 1, "unit_price_minor": 1, "minor_digits": 3})
    lifted.given("order-C2", "CreditNoteIssued", header("17850"))
    lifted.given("order-A3", "AdjustmentOpened", header(None))
    lifted.given("order-A3", "LineAdjusted", {"quantity": 1, "unit_price_minor": -1_106_206})

    for row_type in (Order, Customer):
        one, other = stored.rows(row_type), lifted.rows(row_type)
        # An adjustment is one event or two, so that the clock of the test stands elsewhere behind it.
        assert [str(row) for row in one] == [str(row) for row in other]


def test_sales_to_nobody_in_particular_have_an_order_and_no_customer() -> None:
    harness = Harness(OrderSummary)
    harness.given("order-1", "OrderPlaced", header(None))
    harness.given("order-1", "LineAdded", line(1, "2.00"))
    assert len(harness.rows(Order)) == 1
    assert harness.rows(Customer) == []


def test_an_adjustment_is_header_and_line_in_one() -> None:
    harness = Harness(OrderSummary)
    harness.given("order-A1", "AdjustmentPosted", {**header("c"), **line(1, "-11062.06")})
    order, customer = harness.row(Order, "order-A1"), harness.row(Customer, "c")
    assert order is not None and customer is not None
    assert (order.status, order.lines, str(order.total)) == ("adjusted", 1, "-11062.060")
    assert [str(money) for money in (customer.net, customer.ordered, customer.returned)] == [
        "-11062.060",
        "0.000",
        "0.000",
    ]


def test_a_line_before_its_order_is_a_failure_that_says_so() -> None:
    harness = Harness(OrderSummary)
    harness.given("order-1", "OrderPlaced", header(None))
    harness.given("order-2", "LineAdded", line(1, "2.00"))
    with pytest.raises(Failure) as caught:
        harness.run()
    assert (caught.value.index, caught.value.message) == (1, "a line came before its order")
    assert 'plugin.py", line' in caught.value.trace


def test_a_price_that_is_no_decimal_is_named() -> None:
    harness = Harness(OrderSummary)
    harness.given("order-1", "OrderPlaced", header(None))
    harness.given("order-1", "LineAdded", line(1, "2,00"))
    with pytest.raises(Failure, match="data of LineAdded: unit_price: '2,00' is not a decimal"):
        harness.run()
