"""Runs this SDK once at build time, on a projector of its own: CPython fits its bytecode to what it meets, and each call
begins with what the build left. Nothing of it stays but that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from . import packed
from .event import Event
from .projector import Prepared, Projector, on
from .row import column, decimal, key, table
from .schema import Key, Row
from .tables import Tables, Wanted, add

_EVENTS = 64


@table("rows")
class _Row:
    row_id: str = key()
    name: str | None
    count: int = column(initial=0)
    total: Decimal = decimal(2, initial=0)
    at: datetime | None


@dataclass
class _Line:
    quantity: int
    name: str | None
    price: Decimal


class _Warm(Projector):
    name = "warm"
    version = "1.0.0"
    tables = [_Row]

    def prefetch(self, event: Event[Any], wanted: Wanted) -> None:
        wanted.row(_Row, event.stream_id)

    @on("Put")
    def put(self, event: Event[Any], tables: Tables) -> None:
        name = event.data["name"]
        tables.put(_Row(row_id=event.stream_id, name=name, count=0, total=Decimal(0), at=event.occurred_at))

    @on("Line", data=_Line)
    def line(self, event: Event[_Line], tables: Tables) -> None:
        line = event.data
        row = tables.get(_Row, event.stream_id)
        if row is not None:
            tables.patch(_Row, row.row_id, count=add(line.quantity), total=add(line.price), name=line.name)
        tables.upsert(_Row, "all", count=add(line.quantity), total=add(line.price))


class _Nothing:
    """A host without rows."""

    def apply(self, changes: bytes) -> None:
        pass

    def read(self, reads: bytes) -> bytes:
        return b"\xc0" * len(list(packed.read_reads(reads)))

    def find(self, table: int, index: int, prefix: Key, after: Key | None, limit: int) -> list[Row]:
        return []


def warm() -> None:
    """Runs some events of each kind."""
    out = bytearray()
    for number in range(_EVENTS):
        is_line = number % 8 > 0
        data = '{"quantity":3,"name":"a","price":"2.50"}' if is_line else '{"name":null}'
        event_id = f"00000000-0000-7000-8000-{number:012x}"
        packed.write_event(
            out,
            [
                number, 0, event_id, f"row-{number // 8}", "row", number % 8 + 1, "Line" if is_line else "Put", 1, data,
                '{"reason":"made at build time"}', 1_704_067_200_000_000 + number, 1_704_067_200_000_000 + number,
            ],
        )  # fmt: skip
    Prepared(_Warm).run(bytes(out), _Nothing())
