"""What single events become."""

from typing import Any

import pytest
from lamphouse.testing import Failure, TestEvent, UpcasterHarness
from plugin import OrderUpcasters


@pytest.fixture
def harness() -> UpcasterHarness:
    return UpcasterHarness(OrderUpcasters)


def line_v1(unit_price: str) -> dict[str, Any]:
    sold = {"line_no": 1, "sku": "22423", "description": 'CAKE "STAND"', "quantity": 3}
    return {**sold, "unit_price": unit_price}


def line_v2(unit_price_minor: int) -> dict[str, Any]:
    sold = {"line_no": 1, "sku": "22423", "description": 'CAKE "STAND"', "quantity": 3}
    return {**sold, "unit_price_minor": unit_price_minor, "currency": "GBP"}


@pytest.mark.parametrize(
    ("pounds", "pence"), [("2.55", 255), ("2.5", 250), ("2.550", 255), ("12", 1_200), ("0.01", 1), ("0", 0)]
)
def test_a_price_in_pounds_becomes_pence_and_a_currency(
    harness: UpcasterHarness, pounds: str, pence: int
) -> None:
    assert harness.given("order-1", "LineAdded", line_v1(pounds)) == [("LineAdded", 2, line_v2(pence))]


def test_a_price_of_part_of_a_penny_keeps_its_digits(harness: UpcasterHarness) -> None:
    lifted = {**line_v2(1), "minor_digits": 3}
    assert harness.given("order-1", "LineAdded", line_v1("0.001")) == [("LineAdded", 2, lifted)]


def test_a_price_without_end_fails_and_says_so(harness: UpcasterHarness) -> None:
    with pytest.raises(Failure, match="data of LineAdded: unit_price: '1e9' is not a decimal"):
        harness.given("order-1", "LineAdded", line_v1("1e9"))


def test_todays_lines_stay_as_they_are(harness: UpcasterHarness) -> None:
    given = harness.given("order-1", "LineAdded", line_v2(255), schema_version=2)
    assert given == [("LineAdded", 2, line_v2(255))]


def test_a_cancelled_order_is_a_credit_note_with_the_same_data_and_metadata(harness: UpcasterHarness) -> None:
    data = {"credit_note_no": "C1", "customer_id": None, "country": "EIRE"}
    (lifted,) = harness.given_event(TestEvent("order-C1", "OrderCancelled", data))
    assert lifted == ("CreditNoteIssued", 1, data, {"reason": "given by a test"})


def test_an_adjustment_is_opened_and_then_has_its_line(harness: UpcasterHarness) -> None:
    header = {"adjustment_no": "A1", "customer_id": "17", "country": "Malta"}
    assert harness.given("order-A1", "AdjustmentPosted", {**header, **line_v1("-11062.06")}) == [
        ("AdjustmentOpened", 1, header),
        ("LineAdjusted", 1, line_v2(-1_106_206)),
    ]


def test_a_view_of_a_cart_is_dropped(harness: UpcasterHarness) -> None:
    assert harness.given("cart-1", "CartViewed", {"sku": "22423"}) == []
