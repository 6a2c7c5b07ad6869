"""Tables and rows, through the harness."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from lamphouse import (
    Event,
    Json,
    Number,
    Projector,
    Refused,
    Tables,
    Violation,
    Wanted,
    add,
    column,
    decimal,
    index,
    key,
    log,
    on,
    on_every_event,
    table,
)
from lamphouse.testing import Failure, Harness


@table("things", indexes=[("flag", "count")])
class Thing:
    """Every kind of column."""

    thing_id: str = key()
    part: int = key()
    flag: bool | None
    count: int = column(initial=0)
    weight: float | None = column(initial=0.5)
    total: Decimal = decimal(2, initial=1)
    name: str = index()
    raw: bytes | None
    seen: datetime | None
    more: Json | None


@table("counters")
class Counter:
    """A key of one column."""

    name: str = key()
    count: int = column(initial=0)
    sum: Decimal | None = decimal(2)
    weight: float = column(initial=0)


# What types would not let through.
TEXT: Any = "1"
Act = Callable[[Event[Any], Tables], object]


def acting(*acts: Act) -> Harness:
    """A harness whose events each do one thing."""

    class Acting(Projector):
        name = "acting"
        version = "1.0.0"
        tables = [Thing, Counter]

        @on("Acted")
        def act(self, event: Event[Any], tables: Tables) -> None:
            acts[event.position - 1](event, tables)

    harness = Harness(Acting)
    for _ in acts:
        harness.given("thing-1", "Acted")
    return harness


def thing(**fields: Any) -> Thing:
    given: dict[str, Any] = {
        "thing_id": "a", "part": 1, "flag": None, "count": 0, "weight": None, "total": Decimal(0), "name": "one",
        "raw": None, "seen": None, "more": None,
    }  # fmt: skip
    return Thing(**{**given, **fields})


def test_every_kind_of_value_comes_back_exactly() -> None:
    row = thing(
        flag=True,
        part=2**63 - 1,
        count=-(2**63),
        weight=0.1,
        total=Decimal("123456789012345678901234567890123456.78"),
        name="größe 🏮",
        raw=bytes(range(256)),
        seen=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        more={"whole": 2**70, "exact": Number("1.10"), "text": "é\n", "list": [None, True, "2.50"]},
    )
    harness = acting(lambda event, tables: tables.put(row))
    assert harness.row(Thing, ("a", 2**63 - 1)) == row
    assert harness.rows(Thing) == [row]


def test_values_take_the_form_of_their_column() -> None:
    class Colour(StrEnum):
        RED = "red"

    harness = acting(
        lambda event, tables: tables.put(
            thing(
                name=Colour.RED,
                weight=2,
                total=Number("7.500"),
                seen=datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
                more={"at": datetime(2024, 5, 1, tzinfo=UTC), "price": Decimal("2.50")},
            )
        )
    )
    row = harness.row(Thing, ("a", 1))
    assert row is not None
    assert (type(row.name), row.name, type(row.weight), row.weight) == (str, "red", float, 2.0)
    assert str(row.total) == "7.50"
    assert row.seen == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert row.more == {"at": "2024-05-01T00:00:00Z", "price": "2.50"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"count": 2**63}, "things.count: 9223372036854775808 does not fit an integer of 64 bits"),
        ({"count": True}, "things.count: the column is integer, but boolean true came"),
        ({"count": 1.0}, "things.count: the column is integer, but real 1.0 came"),
        (
            {"total": Decimal("0.005")},
            "things.total: 0.005 does not fit decimal.2.: 3 digits after the point",
        ),
        ({"total": Decimal(1) / Decimal(3)}, "digits after the point where 2 are kept"),
        ({"total": 0.1}, "things.total: the column is decimal.2., but real 0.1 came"),
        ({"total": Decimal("NaN")}, "not a finite number"),
        ({"total": Decimal(10) ** 36}, "more than 38 digits"),
        ({"name": "a\0"}, "text may not contain U.0000"),
        ({"name": "\ud800"}, "half of a surrogate pair"),
        ({"name": None}, "things.name: null came, but the column is not nullable"),
        ({"name": b"one"}, "things.name: the column is text, but 3 bytes came"),
        ({"weight": float("inf")}, "things.weight: inf is not a finite number"),
        ({"seen": datetime(2024, 1, 1)}, "has no time zone"),
        ({"seen": "2024-01-01T00:00:00Z"}, "things.seen: the column is timestamp, but text"),
        ({"more": {"nan": float("nan")}}, "things.more: "),
        ({"more": {1: 2}, "flag": True}, None),
        ({"more": {"zero": "\0"}}, "things.more: not JSON that can be kept: U.0000"),
        ({"more": object()}, "things.more: object"),
        ({"thing_id": "x" * 993}, "has 1001 bytes; at most 1000"),
        ({"name": "é" * 1_001}, "have 2002 bytes; at most 2000"),
    ],
)
def test_what_does_not_fit_fails(fields: dict[str, Any], why: str | None) -> None:
    harness = acting(lambda event, tables: tables.put(thing(**fields)))
    if why is None:
        harness.run()
        return
    with pytest.raises(Failure, match=why):
        harness.run()
    assert harness.descriptor.name == "acting"


def test_reads_see_every_earlier_change_of_the_call() -> None:
    seen: list[object] = []
    harness = acting(
        lambda event, tables: tables.upsert(Counter, "a", count=add(2)),
        lambda event, tables: seen.append(tables.get(Counter, "a")),
        lambda event, tables: tables.patch(Counter, "a", count=add(1), sum=add(Decimal("0.10"))),
        lambda event, tables: tables.remove(Counter, "b"),
        lambda event, tables: seen.append(tables.get_many(Counter, ["a", "b"])),
        lambda event, tables: tables.put(thing(name="red")),
        lambda event, tables: seen.append([row.thing_id for row in tables.find(Thing, name="red")]),
        lambda event, tables: tables.patch(Thing, ("a", 1), name="blue"),
        lambda event, tables: seen.append(tables.find(Thing, name="red")),
    )
    harness.run()
    one = Counter(name="a", count=2, sum=None, weight=0.0)
    two = Counter(name="a", count=3, sum=Decimal("0.10"), weight=0.0)
    assert seen == [one, [two, None], ["a"], []]
    harness.assert_same_at_any_batch_size()


def test_a_row_that_was_got_is_a_copy() -> None:
    def change(event: Event[Any], tables: Tables) -> None:
        row = tables.get(Counter, "a")
        assert row is not None
        row.count = 7

    harness = acting(lambda event, tables: tables.upsert(Counter, "a"), change)
    assert harness.row(Counter, "a") == Counter(name="a", count=0, sum=None, weight=0.0)


def test_pages_of_an_index_follow_each_other() -> None:
    pages: list[list[int]] = []

    def page(event: Event[Any], tables: Tables) -> None:
        after: Thing | None = None
        while rows := tables.find_page(Thing, after, 2, flag=True):
            pages.append([row.part for row in rows])
            after = rows[-1]

    puts: list[Act] = [
        lambda event, tables: tables.put(thing(part=event.position, flag=event.position != 3))
        for _ in range(6)
    ]
    harness = acting(*puts, page)
    harness.run()
    assert pages == [[1, 2], [4, 5], [6]]
    assert [row.part for row in harness.find(Thing, flag=True, count=0)] == [1, 2, 4, 5, 6]


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (
            lambda event, tables: tables.patch(Counter, 1, count=1),
            "counters.name: the column is text, but integer 1",
        ),
        (lambda event, tables: tables.get(Thing, "a"), "a key is a tuple .thing_id, part., but 'a' came"),
        (lambda event, tables: tables.get(Thing, ("a",)), "a key has 2 values .thing_id, part., but 1 came"),
        (
            lambda event, tables: tables.upsert(Counter, "a", cuont=1),
            "has no column 'cuont'; it has name, count",
        ),
        (lambda event, tables: tables.upsert(Counter, "a", name="b"), "a row keeps its key"),
        (lambda event, tables: tables.upsert(Counter, "a", count=add(2**63)), "the sum does not fit integer"),
        (
            lambda event, tables: tables.upsert(Counter, "a", count=add(TEXT)),
            "cannot add text '1' to a column of type",
        ),
        (
            lambda event, tables: tables.upsert(Thing, ("a", 1)),
            "things.name: an upsert of a new row must set it",
        ),
        (lambda event, tables: tables.upsert(Thing, ("a", 1), name=add(1)), "only set, never added to"),
        (
            lambda event, tables: tables.find(Thing, count=1),
            "needs an index that begins with these columns; declared",
        ),
        (lambda event, tables: tables.find(Thing, flag=None), "find looks for a value, and null is none"),
        (lambda event, tables: tables.put(event), "Event is no table"),
    ],
)
def test_what_is_not_allowed_fails_even_if_it_is_caught(act: Act, why: str) -> None:
    def catching(event: Event[Any], tables: Tables) -> None:
        try:
            act(event, tables)
        except (Violation, TypeError, Exception):
            pass

    with pytest.raises(Failure, match=why):
        acting(act).run()
    with pytest.raises(Failure, match=f"went on after a failure of its tables: .*{why}"):
        acting(catching).run()


def test_a_patch_of_no_row_fails_by_the_end_of_the_call() -> None:
    with pytest.raises(Failure, match="table 'counters' has no row with key 'z' to patch") as caught:
        acting(lambda event, tables: tables.patch(Counter, "z", count=1)).run()
    assert caught.value.index is None
    with pytest.raises(Failure, match="event 2 of the test: table 'counters' has no row"):
        acting(
            lambda event, tables: tables.patch(Counter, "z", count=1),
            lambda event, tables: tables.put(Counter(name="z", count=1, sum=None, weight=0.0)),
        ).run()


def test_a_failed_call_leaves_no_change() -> None:
    def fail(event: Event[Any], tables: Tables) -> None:
        tables.upsert(Counter, "b")
        raise ValueError("boom")

    harness = acting(lambda event, tables: tables.upsert(Counter, "a"), fail)
    harness.batch_size = 1
    with pytest.raises(Failure, match="event 2 of the test: ValueError: boom") as caught:
        harness.rows(Counter)
    assert (caught.value.index, caught.value.message) == (0, "ValueError: boom")
    assert "test_tables.py" in caught.value.trace
    assert 'raise ValueError("boom")' in caught.value.trace
    assert "lamphouse/projector.py" not in caught.value.trace


def test_handlers_take_what_they_say() -> None:
    seen: list[tuple[str, str]] = []

    class Listening(Projector):
        name = "listening"
        version = "1.0.0"
        tables = [Counter]

        def prefetch(self, event: Event[Any], wanted: Wanted) -> None:
            wanted.row(Counter, event.stream_id)
            wanted.row(Counter, None)

        @on("Placed", "Moved")
        def by_type(self, event: Event[Any], tables: Tables) -> None:
            seen.append(("by_type", event.event_type))

        @on("Placed", versions=[2])
        def by_version(self, event: Event[Any], tables: Tables) -> None:
            seen.append(("by_version", event.event_type))

        @on(stream_type="cart")
        def by_stream(self, event: Event[Any], tables: Tables) -> None:
            seen.append(("by_stream", event.event_type))

    class Everything(Listening):
        name = "everything"

        @on_every_event
        def all(self, event: Event[Any], tables: Tables) -> None:
            seen.append(("all", event.event_type))

    for projector in (Listening, Everything):
        harness = Harness(projector)
        harness.given("order-1", "Placed").given("order-1", "Placed", schema_version=2)
        harness.given("cart-1", "Moved").given("cart-1", "Viewed").given("order-1", "Other")
        harness.run()
    own = [
        ("by_type", "Placed"), ("by_type", "Placed"), ("by_version", "Placed"),
        ("by_type", "Moved"), ("by_stream", "Moved"), ("by_stream", "Viewed"),
    ]  # fmt: skip
    assert seen[:6] == own
    assert [call for call in seen[6:] if call[0] != "all"] == own
    assert len([call for call in seen if call[0] == "all"]) == 5


def test_an_event_tells_what_it_is() -> None:
    told: list[object] = []

    def tell(event: Event[Any], tables: Tables) -> None:
        told.extend(
            [event.position, event.part, event.id, event.stream_id, event.stream_type, event.stream_version]
        )
        told.extend([event.schema_version, event.data, event.data_json, event.metadata, event.metadata_json])
        told.extend(
            [event.occurred_at, event.recorded_at, event.random().next_u64() == event.random().next_u64()]
        )
        log.warn(f"at {event.position}")
        log.info(1)

    class Telling(Projector):
        name = "telling"
        version = "1.0.0"
        tables = [Counter]
        tell = on("Told")(lambda self, event, tables: tell(event, tables))

    harness = Harness(Telling)
    harness.given("order-1", "Other").given(
        "order-1", "Told", {"n": 2**64, "x": 1}, metadata={"user": "u"}, at="2024-05-01T00:00:00.000001Z"
    )
    harness.run()
    at = datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert told == [
        2, 0, "00000000-0000-7000-8000-000000000002", "order-1", "order", 2, 1, {"n": 2**64, "x": 1},
        '{"n":18446744073709551616,"x":1}', {"user": "u"}, '{"user":"u"}', at, at, True,
    ]  # fmt: skip
    assert harness.log() == [("warn", "at 2"), ("info", "1")]
    assert harness.log() == []


def test_what_the_host_would_refuse_is_refused() -> None:
    class Wrong(Projector):
        name = "Wrong"
        version = ""

    with pytest.raises(Refused) as caught:
        Harness(Wrong)
    assert len(caught.value.errors) == 4


def test_a_class_that_is_no_table_is_told_at_once() -> None:
    with pytest.raises(TypeError, match=r"Bad.total is Decimal and needs its digits after the point"):

        @table("bad")
        class Bad:
            bad_id: str = key()
            total: Decimal

    with pytest.raises(TypeError, match=r"Bad2.things is .*; a column is str, int"):

        @table("bad")
        class Bad2:
            things: list[str]

    with pytest.raises(TypeError, match=r"Bad3.count has a default"):

        @table("bad")
        class Bad3:
            count: int = 0

    with pytest.raises(TypeError, match=r"async or a generator"):

        class Bad4(Projector):
            @on("A")  # type: ignore[arg-type]
            async def a(self, event: Event[Any], tables: Tables) -> None: ...


def test_rows_do_not_depend_on_how_events_are_cut() -> None:
    """Random changes give the same rows in one call as one after the other, and fail alike."""
    for seed in range(300):
        chance = random.Random(seed)
        acts = [_random_act(chance) for _ in range(chance.randrange(1, 30))]
        outcomes = []
        for size in (1, 5, 1_000):
            harness = acting(*acts)
            harness.batch_size = size
            try:
                outcomes.append((harness.rows(Counter), harness.rows(Thing)))
            except Failure as failure:
                assert "went on" not in failure.message
                outcomes.append(([], []))
        assert outcomes[0] == outcomes[1] == outcomes[2], seed


def _random_act(chance: random.Random) -> Act:
    name = chance.choice("abc")
    number = chance.randrange(-3, 4)

    def remove_all(event: Event[Any], tables: Tables) -> None:
        for row in tables.find(Thing, name="n1"):
            tables.remove(Thing, (row.thing_id, 1))

    acts: list[Act] = [
        lambda event, tables: tables.put(Counter(name=name, count=number, sum=None, weight=0.5)),
        lambda event, tables: tables.upsert(Counter, name, count=add(number)),
        lambda event, tables: tables.upsert(Counter, name, sum=add(number), weight=add(0.1)),
        lambda event, tables: tables.upsert(Counter, name, count=number, sum=None),
        lambda event, tables: tables.patch(Counter, name, count=add(1)) if event.position > 20 else None,
        lambda event, tables: tables.get(Counter, name),
        lambda event, tables: tables.remove(Counter, name),
        lambda event, tables: tables.put(thing(thing_id=name, name=f"n{number}", count=number)),
        remove_all,
        lambda event, tables: tables.upsert(Thing, (name, 1), name="n1", count=add(number)),
    ]
    return chance.choice(acts)
