"""JSON in and out: numbers are kept, shapes are checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from lamphouse import Fault, Number, dumps, loads
from lamphouse.json_text import check
from lamphouse.shapes import reader


@pytest.mark.parametrize(
    "text",
    [
        '{"a":9007199254740993,"b":-170141183460469231731687303715884105728}',
        "[1.10,0.1,123456789012345678901234567890.123456789,1E+400]",
        '{"é":"🏮\\n","n":null,"t":true}',
        '"\\u0001"',
    ],
)
def test_what_is_read_is_written_again(text: str) -> None:
    assert dumps(loads(text)) == text


def test_computed_decimals_are_texts() -> None:
    price = loads('{"price":2.50}')["price"]
    assert isinstance(price, Number)
    assert dumps([price, price * 2, Decimal("0.00")]) == '[2.50,"5.00","0.00"]'


def test_other_values_are_written() -> None:
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    value = {"at": moment, "id": UUID(int=1), "row": Point(1, None), "pair": (1, 2.5)}
    assert dumps(value) == (
        '{"at":"2024-05-01T00:00:00Z","id":"00000000-0000-0000-0000-000000000001","row":{"x":1,"y":null},"pair":[1,2.5]}'
    )
    for wrong in (
        float("nan"),
        [Decimal("Infinity")],
        {"a": datetime(2024, 1, 1)},
        [object()],
        [{None: Decimal(1)}],
    ):
        with pytest.raises((ValueError, TypeError)):
            dumps(wrong)
    for text in ("NaN", "{", "1 2", ""):
        with pytest.raises(ValueError, match=r".+"):
            loads(text)
    assert loads(" [1] \n") == [1]


def test_json_that_databases_do_not_keep_is_refused() -> None:
    for text in ("1" + "0" * 9_999, "1e10000", "[" * 128 + "]" * 128, '{"a":"\\ud83c\\udfee"}'):
        check(text)
    for text in (
        "1" + "0" * 10_000, "1e10001", "1e-99999", "[" * 129 + "]" * 129, "[" * 100_000, '"\\u0000"', '{"\\ud800":1}',
        "[1,]", "01", "NaN", "'a'", '"\x01"',
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r".+"):
            check(text)


@dataclass
class Point:
    x: int
    y: Decimal | None


@dataclass
class Shape:
    points: list[Point]
    name: str = "shape"
    ratio: float | None = None
    by_name: dict[str, int] = field(default_factory=dict)
    at: datetime | None = None
    rest: Any = None
    inner: Shape | None = None


def test_data_is_read_as_a_dataclass() -> None:
    data = loads(
        '{"points":[{"x":1,"y":"2.50","z":0},{"x":2}],"ratio":1.5,"by_name":{"a":1},"at":"2024-05-01T00:00:00Z",'
        '"rest":[1],"inner":{"points":[]}}'
    )
    shape = reader(Shape)(data)
    assert shape == Shape(
        points=[Point(1, Decimal("2.50")), Point(2, None)],
        ratio=1.5,
        by_name={"a": 1},
        at=datetime(2024, 5, 1, tzinfo=UTC),
        rest=[1],
        inner=Shape(points=[]),
    )
    assert reader(Point)(loads('{"x":1,"y":2.50}')) == Point(1, Decimal("2.50"))
    assert reader(Point)({"x": 1, "y": 2}) == Point(1, Decimal(2))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "expected an object, but a list came"),
        ({}, "missing field 'points'"),
        ({"points": None}, "points: expected a list, but null came"),
        ({"points": [{"x": True}]}, "points: [0]: x: expected an integer, but boolean true came"),
        (
            {"points": [{"x": 1, "y": "1e3"}]},
            "points: [0]: y: '1e3' is not a decimal of the form [-]digits[.digits]",
        ),
        ({"points": [{"x": "1"}]}, "points: [0]: x: expected an integer, but text '1' came"),
        ({"points": [], "name": None}, "name: expected a text, but null came"),
        ({"points": [], "by_name": {"a": []}}, "by_name: a: expected an integer, but a list came"),
        ({"points": [], "at": "today"}, "at: 'today' is no RFC 3339 timestamp such as 2011-08-12T13:50:00Z"),
        ({"points": [], "ratio": "1"}, "ratio: expected a number, but text '1' came"),
    ],
)
def test_data_of_another_shape_is_told(data: Any, why: str) -> None:
    with pytest.raises(Fault) as caught:
        reader(Shape)(data)
    assert str(caught.value) == why


def test_a_type_that_json_does_not_have_is_told() -> None:
    with pytest.raises(TypeError, match="cannot be read from JSON"):
        reader(set[int])
