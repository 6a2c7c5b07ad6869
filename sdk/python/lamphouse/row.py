"""Tables as Python classes: each is a dataclass, each of its fields a column."""

from __future__ import annotations

import dataclasses
import operator
import types
import typing
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from . import timestamps
from .errors import Violation
from .json_text import dumps, loads
from .schema import NOTHING, Column, ColumnType, JsonText, Key, Missing, Row, TableSchema, Value
from .semantics import Semantics

R = TypeVar("R")

_JSON = "json"
# A column that keeps JSON: anything that :func:`lamphouse.dumps` writes.
Json = Annotated[Any, _JSON]

_KINDS: dict[object, str] = {
    bool: "boolean",
    int: "integer",
    float: "real",
    Decimal: "decimal",
    str: "text",
    bytes: "bytes",
    datetime: "timestamp",
    Json: "json",
}


@dataclasses.dataclass(frozen=True)
class _Declared:
    """What a field says of its column."""

    key: bool = False
    index: bool = False
    scale: int | None = None
    initial: object = NOTHING


def column(
    *, key: bool = False, index: bool = False, scale: int | None = None, initial: object = NOTHING
) -> Any:
    """A column. ``initial`` is what an upsert gives a new row; without it, null, or it must be set. A Decimal needs its
    ``scale``: digits after the point."""
    return _Declared(key, index, scale, initial)


def key(*, scale: int | None = None) -> Any:
    """A column of the primary key; several make one together, in their order."""
    return _Declared(key=True, scale=scale)


def index(*, scale: int | None = None, initial: object = NOTHING) -> Any:
    """A column with an index of its own, for :meth:`Tables.find`."""
    return _Declared(index=True, scale=scale, initial=initial)


def decimal(scale: int, *, initial: object = NOTHING) -> Any:
    """A Decimal column with so many digits after the point."""
    return _Declared(scale=scale, initial=initial)


@typing.dataclass_transform(kw_only_default=True, field_specifiers=(column, key, index, decimal))
def table(name: str, *, indexes: Sequence[Sequence[str]] = ()) -> Callable[[type[R]], type[R]]:
    """Makes a class the rows of a table, and a dataclass whose fields are given by name::

        @table("orders")
        class Order:
            order_id: str = key()
            customer_id: str | None = index()
            lines: int = column(initial=0)
            total: Decimal = decimal(2, initial=0)
            placed_at: datetime

    Types: ``str, int`` (64 bits), ``float, bool, bytes, datetime`` (UTC, microseconds), ``Decimal`` (exact, 38 digits)
    and :data:`Json`; ``… | None`` is a column that may be null. ``indexes`` declares those over several columns.
    """

    def make(row_type: type[R]) -> type[R]:
        hints = typing.get_type_hints(row_type, include_extras=True)
        columns: list[Column] = []
        keys: list[int] = []
        declared_indexes: list[tuple[int, ...]] = []
        for place, (field, hint) in enumerate(hints.items()):
            declared = row_type.__dict__.get(field, _Declared())
            if not isinstance(declared, _Declared):
                raise TypeError(
                    f"{row_type.__name__}.{field} has a default; a row is given whole: for what an upsert gives a new "
                    f"row, write column(initial={declared!r})"
                )
            if field in row_type.__dict__:
                delattr(row_type, field)
            columns.append(_column(row_type, field, hint, declared))
            if declared.key:
                keys.append(place)
            if declared.index:
                declared_indexes.append((place,))
        places = {column.name: place for place, column in enumerate(columns)}
        for named in indexes:
            unknown = [field for field in named if field not in places]
            if unknown or isinstance(named, str):
                raise TypeError(
                    f"{row_type.__name__}: an index is a tuple of field names, which {named!r} is not"
                )
            declared_indexes.append(tuple(places[field] for field in named))
        schema = TableSchema(name, tuple(columns), tuple(keys), tuple(declared_indexes))
        made = dataclasses.dataclass(kw_only=True)(row_type)
        made.__lamphouse_table__ = Table(schema, made)  # type: ignore[attr-defined]
        return made

    return make


def _column(row_type: type, field: str, hint: object, declared: _Declared) -> Column:
    here = f"{row_type.__name__}.{field}"
    nullable = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        some = [part for part in typing.get_args(hint) if part is not type(None)]
        nullable = len(some) < len(typing.get_args(hint))
        hint = some[0] if len(some) == 1 else hint
    kind = _KINDS.get(hint) if isinstance(hint, typing.Hashable) else None
    if kind is None:
        raise TypeError(
            f"{here} is {hint}; a column is str, int, float, bool, Decimal, bytes, datetime, Json, or one of them | None"
        )
    if (kind == "decimal") != (declared.scale is not None):
        raise TypeError(
            f"{here} is Decimal and needs its digits after the point: decimal(2), or key(scale=2)"
            if kind == "decimal"
            else f"{here} has a scale, but is no Decimal"
        )
    initial: Value | Missing = NOTHING
    if declared.initial is not NOTHING and not (declared.initial is None and nullable):
        intake = _INTAKES.get(kind)
        given: Any = declared.initial
        initial = given if intake is None else intake(given)
    return Column(field, ColumnType(kind, declared.scale or 0), nullable, initial)


def _real(value: Any) -> Any:
    # In Python a whole number is a float where one is due; a number from an event's JSON may be a Decimal.
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        return float(value)
    return value


def _timestamp(value: Any) -> Any:
    return timestamps.from_datetime(value) if isinstance(value, datetime) else value


def _json(value: Any) -> Any:
    return value if value is None else JsonText(dumps(value))


# Where the Python value is not the contract's.
_INTAKES: dict[str, Callable[[Any], Any]] = {"real": _real, "timestamp": _timestamp, "json": _json}
_OUTTAKES: dict[str, Callable[[Any], Any]] = {"timestamp": timestamps.to_datetime, "json": loads}


class Table:
    """A table and the class of its rows."""

    def __init__(self, schema: TableSchema, row_type: type) -> None:
        self.schema = schema
        self.row_type = row_type
        self.semantics = Semantics(schema)
        self.names = tuple(column.name for column in schema.columns)
        self.places = {name: place for place, name in enumerate(self.names)}
        # The columns that patch and upsert may name.
        self.cells = {
            column.name: (place, _INTAKES.get(column.kind.name))
            for place, column in enumerate(schema.columns)
            if place not in schema.primary_key
        }
        self.intakes = tuple(_INTAKES.get(column.kind.name) for column in schema.columns)
        self._outtakes = tuple(
            (column.name, _OUTTAKES[column.kind.name])
            for column in schema.columns
            if column.kind.name in _OUTTAKES
        )
        get = operator.attrgetter(*self.names)
        self._get = get if len(self.names) > 1 else lambda row: (get(row),)

    def to_row(self, values: Row) -> Any:
        """The row that has these values."""
        row: Any = object.__new__(self.row_type)
        cells = dict(zip(self.names, values, strict=True))
        for name, outtake in self._outtakes:
            value = cells[name]
            if value is not None:
                cells[name] = outtake(value)
        row.__dict__ = cells
        return row

    def to_values(self, row: object) -> list[Any]:
        """A row's values, not yet checked."""
        return [
            value if intake is None else self._taken(place, value)
            for place, (intake, value) in enumerate(zip(self.intakes, self._get(row), strict=True))
        ]

    def to_value(self, place: int, value: object) -> Any:
        """One cell's value, not yet checked."""
        return value if self.intakes[place] is None else self._taken(place, value)

    def to_key(self, key: object) -> Key:
        """A key's values, conformed. A key of several columns is a tuple."""
        primary = self.schema.primary_key
        if len(primary) == 1:
            values: tuple[Any, ...] = (key,)
        elif isinstance(key, tuple):
            values = key
        else:
            names = self.schema.names(primary)
            raise Violation(f"table '{self.schema.name}': a key is a tuple ({names}), but {key!r} came")
        if len(values) == len(primary):
            values = tuple(self.to_value(place, value) for place, value in zip(primary, values, strict=True))
        return self.semantics.conform_key(values)

    def no_cell(self, name: str) -> Violation:
        """Why patch and upsert may not name this column."""
        place = self.places.get(name)
        if place is None:
            return Violation(
                f"table '{self.schema.name}' has no column '{name}'; it has {', '.join(self.names)}"
            )
        return Violation(
            f"{self.schema.at(place)}: it is a key column, and a row keeps its key (remove the row and put another)"
        )

    def _taken(self, place: int, value: Any) -> Any:
        intake = self.intakes[place]
        try:
            return value if intake is None else intake(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Violation(f"{self.schema.at(place)}: {error}") from None


def table_of(row_type: type) -> Table:
    """The table whose rows are of this class."""
    found = getattr(row_type, "__lamphouse_table__", None)
    if not isinstance(found, Table):
        name = getattr(row_type, "__name__", repr(row_type))
        raise TypeError(f'{name} is no table: put @table("…") above the class')
    return found
