"""Tests of a plugin on your machine: given events, then rows; given an event, then today's events. No Wasm, no
database, no host::

    harness = Harness(Orders)
    harness.given("order-1", "OrderPlaced", {"customer_id": "c-7"})
    harness.given("order-1", "LineAdded", {"quantity": 3, "unit_price": "2.50"})
    assert harness.row(Order, "order-1").total == Decimal("7.50")
    harness.assert_same_at_any_batch_size()
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from . import log, packed, timestamps
from .check import check, check_upcaster
from .errors import Refused, Violation
from .json_text import dumps, loads
from .packed import Change, Lifted
from .projector import Prepared, Projector, descriptor
from .row import Table, table_of
from .schema import Descriptor, EventSchema, Key, Row, UpcasterDescriptor
from .tables import _prefix
from .traces import Failure
from .upcaster import PreparedUpcaster, Upcaster, upcaster_descriptor

__all__ = ["Failure", "Harness", "TestEvent", "TodayEvent", "UpcasterHarness"]

R = TypeVar("R")

# Events of one call unless a test says otherwise.
_BATCH_EVENTS = 1_000
# 2024-01-01T00:00:00Z: the first event is a second later.
_CLOCK_START = 1_704_067_200_000_000


@dataclass
class TestEvent:
    """An event to give to a harness. ``data`` and ``metadata`` are anything that :func:`lamphouse.dumps` writes."""

    __test__ = False  # pytest: this is no test.

    stream_id: str
    event_type: str
    data: Any = field(default_factory=dict)
    schema_version: int = 1
    #: By default what stands before the first ``-`` of the stream's id.
    stream_type: str | None = None
    metadata: Any = field(default_factory=lambda: {"reason": "given by a test"})
    #: RFC 3339 text, or a datetime with time zone; by default one second after the event before.
    at: str | datetime | None = None

    @classmethod
    def from_line(cls, line: str) -> TestEvent:
        """An event as ``lamphouse export`` writes it and ``lamphouse import`` reads it: one line of JSON."""
        fields = loads(line)
        return cls(
            fields["stream_id"],
            fields["event_type"],
            fields["data"],
            fields.get("schema_version") or 1,
            fields["stream_type"],
            fields.get("metadata") or {},
            fields.get("occurred_at"),
        )

    @property
    def micros(self) -> int | None:
        """When it happened, in microseconds since 1970."""
        if self.at is None:
            return None
        return timestamps.parse(self.at) if isinstance(self.at, str) else timestamps.from_datetime(self.at)

    @property
    def type_of_stream(self) -> str:
        """The stream's type."""
        return self.stream_id.split("-")[0] if self.stream_type is None else self.stream_type


class Harness:
    """Runs a projector on given events and shows its rows. Raises :class:`Refused` where the host would refuse what
    the projector declares.

    Events wait until rows are asked for; then they are projected in batches, as the host does it. A failure raises
    :class:`Failure`; a test that expects one calls :meth:`run`::

        with pytest.raises(Failure, match="a line came before its order"):
            harness.run()
    """

    def __init__(self, projector: type[Projector], *, batch_size: int = _BATCH_EVENTS) -> None:
        self._prepared = Prepared(projector)
        self.descriptor: Descriptor = descriptor(projector)
        errors = check(self.descriptor)
        if errors:
            raise Refused("projector", errors)
        #: How many events a call gets. No size may change a row: see :meth:`assert_same_at_any_batch_size`.
        self.batch_size = batch_size
        self._memory = _Memory(self._prepared.tables)
        # Packed; empty for one that the projector does not take.
        self._events: list[bytes] = []
        self._projected = 0
        self._versions: dict[str, int] = {}
        self._clock = _CLOCK_START
        self._log: list[tuple[str, str]] = []

    def given(
        self,
        stream_id: str,
        event_type: str,
        data: Any = None,
        *,
        schema_version: int = 1,
        stream_type: str | None = None,
        metadata: Any = None,
        at: str | datetime | None = None,
    ) -> Harness:
        """Gives one event: see :class:`TestEvent`."""
        event = TestEvent(
            stream_id, event_type, {} if data is None else data, schema_version, stream_type, at=at
        )
        if metadata is not None:
            event.metadata = metadata
        return self.given_event(event)

    def given_event(self, event: TestEvent) -> Harness:
        """Gives one event. One that the projector does not subscribe to takes its place in the log, and is not
        projected."""
        version = self._versions[event.stream_id] = self._versions.get(event.stream_id, 0) + 1
        micros = event.micros
        self._clock = self._clock + 1_000_000 if micros is None else micros
        number = len(self._events) + 1
        schema = (event.event_type, event.type_of_stream, event.schema_version)
        taken = any(subscription.takes(*schema) for subscription in self.descriptor.subscriptions)
        self._events.append(_packed(event, number, 0, version, self._clock) if taken else b"")
        return self

    def run(self) -> None:
        """Projects the events that wait. On a failure, the rows are as they were after the last batch that went well."""
        while self._projected < len(self._events):
            batch = self._events[self._projected : self._projected + self.batch_size]
            self._project(self._memory, batch)
            self._projected += len(batch)

    def row(self, row_type: type[R], key: object) -> R | None:
        """A row by its key."""
        number, table = self._settled(row_type)
        row = self._memory.rows[number].get(table.to_key(key))
        return None if row is None else table.to_row(row.copy())

    def rows(self, row_type: type[R]) -> list[R]:
        """All rows of a table, in the order of their keys."""
        number, table = self._settled(row_type)
        return [table.to_row(row.copy()) for _, row in sorted(self._memory.rows[number].items(), key=_by_key)]

    def find(self, row_type: type[R], /, **values: object) -> list[R]:
        """The rows that ``tables.find`` would give."""
        number, table = self._settled(row_type)
        index, prefix = _prefix(table, values)
        return [table.to_row(row) for row in self._memory.find(number, index, prefix, None, None)]

    def log(self) -> list[tuple[str, str]]:
        """Level and text of what the projector wrote to its log since this was last called."""
        lines, self._log = self._log, []
        return lines

    def assert_same_at_any_batch_size(self) -> None:
        """Projects all events anew in batches of 1, 7 and 1,000, and fails if any row differs. The host refuses a
        projector whose rows depend on how its events are cut."""
        first: _Memory | None = None
        for size in (1, 7, 1_000):
            memory = _Memory(self._prepared.tables)
            for start in range(0, len(self._events), size):
                self._project(memory, self._events[start : start + size], f"in batches of {size}: ")
            if first is None:
                first = memory
                continue
            for table, one, other in zip(self._prepared.tables, first.rows, memory.rows, strict=True):
                for key in dict.fromkeys([*one, *other]):
                    assert one.get(key) == other.get(key), (
                        f"table '{table.schema.name}', row {key}: {one.get(key)} in batches of 1, "
                        f"{other.get(key)} in batches of {size}"
                    )

    def _project(self, memory: _Memory, batch: list[bytes], where: str = "") -> None:
        before, log.write = log.write, lambda level, message: self._log.append((level, message))
        try:
            memory.project(self._prepared, b"".join(batch))
        except Failure as failure:
            if not where and failure.index is not None:
                taken = [number for number, event in enumerate(batch) if event]
                where = f"event {self._projected + taken[failure.index] + 1} of the test: "
            failure.args = (where + failure.message,)
            raise
        finally:
            log.write = before

    def _settled(self, row_type: type) -> tuple[int, Table]:
        self.run()
        table = table_of(row_type)
        for number, known in enumerate(self._prepared.tables):
            if known is table:
                return number, table
        raise TypeError(f"the projector's tables do not name {row_type.__name__}")


def _packed(event: TestEvent, number: int, part: int, version: int, clock: int) -> bytes:
    out = bytearray()
    entries: list[Any] = [
        number,
        part,
        f"00000000-0000-7000-8000-{number:012x}",
        event.stream_id,
        event.type_of_stream,
        version,
    ]
    entries += [
        event.event_type,
        event.schema_version,
        dumps(event.data),
        dumps(event.metadata),
        int(clock),
        int(clock),
    ]
    packed.write_event(out, entries)
    return bytes(out)


def _by_key(item: tuple[Key, Row]) -> Any:
    return item[0]


class _Memory:
    """Tables in memory, by key: what the host is to a call."""

    def __init__(self, tables: list[Table]) -> None:
        self._tables = tables
        self.rows: list[dict[Key, Row]] = [{} for _ in tables]

    def project(self, prepared: Prepared, batch: bytes) -> None:
        """One call: all of its changes, or none."""
        before = [rows.copy() for rows in self.rows]
        try:
            self.apply(prepared.run(batch, self))
        except BaseException as error:
            self.rows = before
            if isinstance(error, Failure):
                raise
            raise Failure.of(error) from error

    def apply(self, changes: bytes) -> None:
        for change in packed.read_changes(changes):
            apply(self._tables, self.rows, change)

    def read(self, reads: bytes) -> bytes:
        out = bytearray()
        for number, key in packed.read_reads(reads):
            packed.write_answer(out, self.rows[number].get(self._tables[number].semantics.conform_key(key)))
        return bytes(out)

    def find(self, table: int, index: int, prefix: Key, after: Key | None, limit: int | None) -> list[Row]:
        columns = self._tables[table].schema.indexes[index]
        found = sorted(
            (
                (key, row)
                for key, row in self.rows[table].items()
                if (after is None or key > after)
                and all(row[column] == value for column, value in zip(columns, prefix, strict=False))
            ),
            key=_by_key,
        )
        return [row.copy() for _, row in found[:limit]]


def apply(tables: list[Table], rows: list[dict[Key, Row]], change: Change) -> None:
    """What one change makes of the rows, by the host's rules; Violation where it is not allowed."""
    if change.table >= len(tables):
        raise Violation(f"there is no table {change.table}")
    semantics, kept = tables[change.table].semantics, rows[change.table]
    if change.operation == "put":
        row = semantics.conform_row(change.row)
        kept[semantics.key_of(row)] = row
        return
    key = semantics.conform_key(change.key)
    if change.operation == "remove":
        kept.pop(key, None)
        return
    semantics.check_cells(change.cells)
    old: Row | None = kept.get(key)
    if old is not None:
        changed = old.copy()
        semantics.patch(changed, change.cells)
        kept[key] = changed
    elif change.operation == "patch":
        shown = ", ".join(repr(value) for value in key)
        raise Violation(
            f"table '{semantics.table.name}' has no row with key {shown} to patch (upsert makes one)"
        )
    else:
        kept[key] = semantics.new_row(key, change.cells)


class TodayEvent(NamedTuple):
    """One event that came out of an upcaster."""

    event_type: str
    schema_version: int
    data: Any
    metadata: Any


class UpcasterHarness:
    """Lifts given events as the host would: through the upcaster's own rules until none takes the result. Raises
    :class:`Refused` where the host would refuse what the upcaster declares::

        harness = UpcasterHarness(Prices)
        assert harness.given("order-1", "LineAdded", {"price": "2.5"}) == [("LineAdded", 2, {"price_minor": 250})]
    """

    def __init__(self, upcaster: type[Upcaster]) -> None:
        self._prepared = PreparedUpcaster(upcaster)
        self.descriptor: UpcasterDescriptor = upcaster_descriptor(upcaster)
        errors = check_upcaster(self.descriptor)
        if errors:
            raise Refused("upcaster", errors)
        self._log: list[tuple[str, str]] = []

    def given(
        self, stream_id: str, event_type: str, data: Any = None, *, schema_version: int = 1
    ) -> list[tuple[str, int, Any]]:
        """Lifts one event; gives type, version and data of each event that it became. Raises :class:`Failure`."""
        event = TestEvent(stream_id, event_type, {} if data is None else data, schema_version)
        return [(today.event_type, today.schema_version, today.data) for today in self.given_event(event)]

    def given_event(self, event: TestEvent) -> list[TodayEvent]:
        """Lifts one event; gives all of what it became."""
        before, log.write = log.write, lambda level, message: self._log.append((level, message))
        try:
            return self._lift(event)
        finally:
            log.write = before

    def log(self) -> list[tuple[str, str]]:
        """Level and text of what the upcaster wrote to its log since this was last called."""
        lines, self._log = self._log, []
        return lines

    def _lift(self, event: TestEvent) -> list[TodayEvent]:
        rules = {rule.takes: rule.gives for rule in self.descriptor.rules}
        forms = [(event.event_type, event.schema_version, dumps(event.data), dumps(event.metadata))]
        # A chain without a cycle ends within as many rounds as there are rules.
        for _ in range(len(rules) + 1):
            if not any(form[:2] in rules for form in forms):
                return [_today(form) for form in forms]
            lifted = []
            for part, form in enumerate(forms):
                gives = rules.get(form[:2])
                if gives is None:
                    lifted.append(form)
                    continue
                for event_type, version, data, metadata in self._step(event, form, part):
                    _named(form[:2], (event_type, version), gives)
                    lifted.append(
                        (
                            event_type,
                            version,
                            form[2] if data is None else data,
                            form[3] if metadata is None else metadata,
                        )
                    )
            forms = lifted
        raise Refused("upcaster", ["its rules form a cycle"])

    def _step(self, event: TestEvent, form: tuple[str, int, str, str], part: int) -> list[Lifted]:
        micros = event.micros
        clock = _CLOCK_START if micros is None else micros
        out = bytearray()
        entries: list[Any] = [
            1,
            part,
            "00000000-0000-7000-8000-000000000001",
            event.stream_id,
            event.type_of_stream,
            1,
        ]
        packed.write_event(out, [*entries, *form, int(clock), int(clock)])
        given: list[Lifted] = []
        for lifted in packed.read_lifted(self._prepared.run(bytes(out))):
            given += [tuple(entries) for entries in lifted]  # type: ignore[misc]
        return given


def _named(takes: EventSchema, given: EventSchema, gives: tuple[EventSchema, ...]) -> None:
    assert given in gives, (
        f"{takes[0]} {takes[1]} became {given[0]} {given[1]}, which its rule does not name: the host would fault"
    )


def _today(form: tuple[str, int, str, str]) -> TodayEvent:
    event_type, version, data, metadata = form
    try:
        today = TodayEvent(event_type, version, json.loads(data), json.loads(metadata))
    except ValueError as error:
        raise AssertionError(f"what came out as {event_type} {version} is not JSON: {error}") from None
    assert isinstance(today.metadata, dict), (
        f"the metadata of {event_type} {version} is no object: the host would fault"
    )
    return today
