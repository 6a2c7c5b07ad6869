"""Upcasters, through their harness."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from lamphouse import Event, Refused, Today, Upcaster, log, rule
from lamphouse.testing import Failure, TestEvent, UpcasterHarness


@dataclass
class Line:
    price: Decimal


class Shop(Upcaster):
    name = "shop"
    version = "1.0.0"
    drops = [("Gone", 1)]

    @rule(("Line", 1), ("Line", 2), data=Line)
    def line(self, event: Event[Line], today: Today) -> None:
        today.give("Line", 2, {"price": event.data.price})

    @rule(("Line", 2), ("Line", 3))
    def line_2(self, event: Event[Any], today: Today) -> None:
        today.give("Line", 3, {**event.data, "currency": "GBP"})

    @rule(("Both", 1), [("One", 1), ("Two", 2)])
    def both(self, event: Event[Any], today: Today) -> None:
        log.info("both")
        today.give_with_metadata("One", 1, event.data["one"], {"by": "us", "part": event.part})
        today.give_json("Two", 2, '{"a": 1.10}', event.metadata_json)

    @rule(("Old", 1), ("New", 1))
    def old(self, event: Event[Any], today: Today) -> None:
        today.rename("New", 1)

    @rule(("Stray", 1), ("New", 1))
    def stray(self, event: Event[Any], today: Today) -> None:
        today.rename("Newer", 1)

    @rule(("Broken", 1), ("New", 1))
    def broken(self, event: Event[Any], today: Today) -> None:
        today.give_json("New", 1, "{", "{}")


def test_events_are_lifted_until_no_rule_takes_them() -> None:
    harness = UpcasterHarness(Shop)
    assert harness.given("s-1", "Line", {"price": "2.50"}) == [
        ("Line", 3, {"price": "2.50", "currency": "GBP"})
    ]
    assert harness.given("s-1", "Line", {"price": 2}, schema_version=2) == [
        ("Line", 3, {"price": 2, "currency": "GBP"})
    ]
    assert harness.given("s-1", "Gone") == []
    assert harness.given("s-1", "Other", {"a": 1}) == [("Other", 1, {"a": 1})]
    one, two = harness.given_event(TestEvent("s-1", "Both", {"one": [1]}))
    assert one == ("One", 1, [1], {"by": "us", "part": 0})
    assert two == ("Two", 2, {"a": 1.1}, {"reason": "given by a test"})
    assert harness.log() == [("info", "both")]


def test_what_the_rule_does_not_name_is_told() -> None:
    harness = UpcasterHarness(Shop)
    with pytest.raises(AssertionError, match="Stray 1 became Newer 1, which its rule does not name"):
        harness.given("s-1", "Stray")
    with pytest.raises(AssertionError, match="what came out as New 1 is not JSON"):
        harness.given("s-1", "Broken")


def test_a_failure_says_what_and_where() -> None:
    with pytest.raises(Failure) as caught:
        UpcasterHarness(Shop).given("s-1", "Both", {"two": 1})
    assert (caught.value.index, caught.value.message) == (0, "KeyError: 'one'")
    assert 'event.data["one"]' in caught.value.trace
    with pytest.raises(Failure, match="data of Line: price: '2,50' is not a decimal"):
        UpcasterHarness(Shop).given("s-1", "Line", {"price": "2,50"})


def test_what_the_host_would_refuse_is_refused() -> None:
    class Twice(Upcaster):
        name = "twice"
        version = "1.0.0"
        drops = [("Old", 1), ("Old", 1), ("", 1)]

    with pytest.raises(Refused, match="two rules take Old 1"):
        UpcasterHarness(Twice)

    class Circle(Upcaster):
        name = "circle"
        version = "1.0.0"

        @rule(("A", 1), ("B", 1))
        def a(self, event: Event[Any], today: Today) -> None:
            today.rename("B", 1)

        @rule(("B", 1), ("A", 1))
        def b(self, event: Event[Any], today: Today) -> None:
            today.rename("A", 1)

    with pytest.raises(Refused, match="its rules form a cycle"):
        UpcasterHarness(Circle).given("s-1", "A")
    with pytest.raises(TypeError, match="a schema is an event type and its version"):
        rule(("A", "1"), ("B", 1))  # type: ignore[arg-type]
