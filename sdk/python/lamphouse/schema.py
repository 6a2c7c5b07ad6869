"""What plugins declare, as the host is told it, and the values that cross the boundary."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Final, TypeAlias


class Micros(int):
    """A timestamp: microseconds since 1970-01-01T00:00:00Z."""

    __slots__ = ()


class JsonText(str):
    """JSON as text."""

    __slots__ = ()


# A value of the contract. Text is str, decimal is Decimal, real is float, integer is int; bool is none of these.
Value: TypeAlias = bool | int | float | Decimal | str | bytes | Micros | JsonText | None
# The values of a table's columns, in their order.
Row: TypeAlias = list[Value]
# The values of a table's key columns, in their order.
Key: TypeAlias = tuple[Value, ...]
# Column, whether it adds (or else sets), and the value.
Cell: TypeAlias = tuple[int, bool, Value]


class Missing(Enum):
    """No value, not even null."""

    NOTHING = "nothing"


NOTHING: Final = Missing.NOTHING


@dataclass(frozen=True)
class ColumnType:
    """One of boolean, integer, real, decimal (with a scale), text, bytes, timestamp, json."""

    name: str
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True)
class Column:
    """One column. ``initial`` is what an upsert gives a new row; NOTHING is null, or that it must be set."""

    name: str
    kind: ColumnType
    nullable: bool = False
    initial: Value | Missing = NOTHING


@dataclass(frozen=True)
class TableSchema:
    """One table; ``primary_key`` and ``indexes`` name columns by their place."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[int, ...]
    indexes: tuple[tuple[int, ...], ...] = ()

    @functools.cached_property
    def required(self) -> frozenset[int]:
        """Columns that a new row must be given, besides its key."""
        return frozenset(
            place
            for place, column in enumerate(self.columns)
            if not column.nullable and column.initial is NOTHING and place not in self.primary_key
        )

    def at(self, column: int) -> str:
        """``orders.total``."""
        return f"{self.name}.{self.columns[column].name}"

    def names(self, columns: tuple[int, ...]) -> str:
        """The names of these columns, for messages."""
        return ", ".join(self.columns[column].name for column in columns)


@dataclass(frozen=True)
class Subscription:
    """Which events a projector takes: every given field must match; no schema versions means all."""

    event_type: str | None = None
    stream_type: str | None = None
    schema_versions: tuple[int, ...] = ()

    def takes(self, event_type: str, stream_type: str, schema_version: int) -> bool:
        """Whether such an event matches."""
        return (
            self.event_type in (None, event_type)
            and self.stream_type in (None, stream_type)
            and (not self.schema_versions or schema_version in self.schema_versions)
        )


@dataclass(frozen=True)
class Descriptor:
    """What a projector says of itself."""

    name: str
    version: str
    subscriptions: tuple[Subscription, ...] = ()
    tables: tuple[TableSchema, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


# An event type in one version.
EventSchema: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Rule:
    """Events of ``takes`` are handed to the upcaster; each becomes events of ``gives``."""

    takes: EventSchema
    gives: tuple[EventSchema, ...] = ()


@dataclass(frozen=True)
class UpcasterDescriptor:
    """What an upcaster says of itself."""

    name: str
    version: str
    rules: tuple[Rule, ...] = ()
    options: tuple[tuple[str, str], ...] = field(default=())
