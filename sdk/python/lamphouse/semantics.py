"""What a change makes of a row: the same rules as the host's.

The functions at the top are made once for each column and work on one value; the others work on rows and cells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from math import isfinite

from . import decimals, json_text
from .decimals import DecimalError, shown
from .errors import Violation
from .schema import NOTHING, Cell, JsonText, Key, Micros, Row, TableSchema, Value

# Bytes of one key in all: texts and bytes as they are, every other value 8, decimals 16.
KEY_BYTES_MAX = 1_000
# Bytes of the columns of one declared index in all, counted as for a key.
INDEX_BYTES_MAX = 2_000
# Timestamps of the years 1 to 9999, in microseconds since 1970: what both databases keep and sort alike.
TIMESTAMP_MIN, TIMESTAMP_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
_INTEGER_MIN, _INTEGER_MAX = -(1 << 63), (1 << 63) - 1

# Brings a value to the one form that a column keeps, or raises Violation.
Conform = Callable[[Value], Value]
# Adds the second value to the first.
Add = Callable[[Value, Value], Value]


def _conformer(table: TableSchema, index: int) -> Conform:
    column = table.columns[index]
    place = table.at(index)

    def other(value: Value) -> Value:
        """A value that is not of the column's own Python type."""
        if value is None and column.nullable:
            return None
        raise Violation(f"{place}: {_mismatch(column.kind, value)}")

    def boolean(value: Value) -> Value:
        return value if type(value) is bool else other(value)

    def integer(value: Value) -> Value:
        if type(value) is not int:
            # An IntEnum is an integer too.
            if not isinstance(value, int) or isinstance(value, (bool, Micros)):
                return other(value)
            value = int(value)
        if _INTEGER_MIN <= value <= _INTEGER_MAX:
            return value
        raise Violation(f"{place}: {value} does not fit an integer of 64 bits")

    def real(value: Value) -> Value:
        if type(value) is not float:
            return other(value)
        if isfinite(value):
            # 0.0 is added, so that -0 becomes 0.
            return value + 0.0
        raise Violation(f"{place}: {value} is not a finite number")

    rescale = decimals.rescaler(column.kind.scale)

    def decimal(value: Value) -> Value:
        if type(value) is not Decimal and not isinstance(value, Decimal):
            if not isinstance(value, int) or isinstance(value, (bool, Micros)):
                return other(value)
            value = Decimal(value)
        try:
            return rescale(value)
        except DecimalError as error:
            raise Violation(f"{place}: {value} does not fit {column.kind}: {error}") from None

    def text(value: Value) -> Value:
        if type(value) is not str:
            # A StrEnum is text too.
            if not isinstance(value, str) or isinstance(value, JsonText):
                return other(value)
            value = str.__str__(value)
        if "\0" in value:
            raise Violation(f"{place}: text may not contain U+0000")
        if not value.isascii():
            _encoded(value, place)
        return value

    def raw(value: Value) -> Value:
        return value if type(value) is bytes else other(value)

    def timestamp(value: Value) -> Value:
        if type(value) is not Micros:
            return other(value)
        if TIMESTAMP_MIN <= value <= TIMESTAMP_MAX:
            return value
        raise Violation(
            f"{place}: {int(value)} microseconds since 1970 lie outside the years 1 to 9999, which both databases can keep"
        )

    def json(value: Value) -> Value:
        if type(value) is not JsonText:
            return other(value)
        try:
            json_text.check(value)
        except ValueError as error:
            raise Violation(f"{place}: not JSON that can be kept: {error}") from None
        return value

    forms = (boolean, integer, real, decimal, text, raw, timestamp, json)
    names = ("boolean", "integer", "real", "decimal", "text", "bytes", "timestamp", "json")
    return dict(zip(names, forms, strict=True))[column.kind.name]


def _adder(table: TableSchema, index: int, conform: Conform) -> Add:
    kind = table.columns[index].kind
    place = table.at(index)

    def overflow() -> Violation:
        return Violation(f"{place}: the sum does not fit {kind}")

    def not_addable(value: Value) -> Violation:
        return Violation(f"{place}: cannot add {described(value)} to a column of type {kind}")

    def integer(old: Value, more: Value) -> Value:
        if type(more) is int and type(old) is int:
            total = old + more
            if _INTEGER_MIN <= total <= _INTEGER_MAX and _INTEGER_MIN <= more <= _INTEGER_MAX:
                return total
            raise overflow()
        if type(more) is not int and (not isinstance(more, int) or isinstance(more, (bool, Micros))):
            raise not_addable(more)
        total = int(old or 0) + int(more)
        if _INTEGER_MIN <= total <= _INTEGER_MAX and _INTEGER_MIN <= more <= _INTEGER_MAX:
            return total
        raise overflow()

    def real(old: Value, more: Value) -> Value:
        if type(more) is not float:
            raise not_addable(more)
        # 0.0 is added, so that -0 becomes 0.
        total = (old or 0.0) + more + 0.0  # type: ignore[operator]
        if isfinite(total):
            return total
        raise overflow()

    add_quickly = decimals.quick_adder(kind.scale)

    def decimal(old: Value, more: Value) -> Value:
        # What nearly every sum is: both there, both fit.
        if type(more) is Decimal and type(old) is Decimal:
            total = add_quickly(old, more)
            if total is not None:
                return total
        if not isinstance(more, (Decimal, int)) or isinstance(more, (bool, Micros)):
            raise not_addable(more)
        exact: Decimal = conform(more)  # type: ignore[assignment]
        if old is None:
            return exact
        try:
            return decimals.add(old, exact)  # type: ignore[arg-type]
        except DecimalError:
            raise overflow() from None

    def never(old: Value, more: Value) -> Value:
        raise Violation(f"{place}: the column is {kind}, which is only set, never added to")

    return {"integer": integer, "real": real, "decimal": decimal}.get(kind.name, never)


class Semantics:
    """The rules of one table, ready to be applied. Rows are lists that are changed in place."""

    def __init__(self, table: TableSchema) -> None:
        self.table = table
        self.conform = tuple(_conformer(table, index) for index in range(len(table.columns)))
        self.add = tuple(_adder(table, index, conform) for index, conform in enumerate(self.conform))
        # Where only one Python type is a key, and it cannot be mistaken for another one: see Memo.
        key_kinds = [table.columns[index].kind.name for index in table.primary_key]
        self.key_type = (
            {"text": str, "integer": int, "bytes": bytes}.get(key_kinds[0]) if len(key_kinds) == 1 else None
        )
        # Changes of other columns cannot make an index too long.
        long_kinds = ("text", "bytes")
        self._sized = [
            index
            for index in table.indexes
            if any(table.columns[column].kind.name in long_kinds for column in index)
        ]
        self._sized_columns = frozenset(column for index in self._sized for column in index)

    def key_of(self, row: Sequence[Value]) -> Key:
        """The values of a row's key columns."""
        return tuple([row[column] for column in self.table.primary_key])

    def conform_key(self, key: Sequence[Value]) -> Key:
        """Checks a key: types, not null, at most 1,000 bytes; gives it in its one form."""
        table = self.table
        if len(key) != len(table.primary_key):
            raise Violation(
                f"table '{table.name}': a key has {len(table.primary_key)} "
                f"{'value' if len(table.primary_key) == 1 else 'values'} ({table.names(table.primary_key)}), "
                f"but {len(key)} came"
            )
        conformed = tuple(
            [self.conform[column](value) for column, value in zip(table.primary_key, key, strict=True)]
        )
        self._check_key(conformed)
        return conformed

    def conform_prefix(self, index: int, prefix: Sequence[Value]) -> Key:
        """Checks the prefix of a declared index: one value or more, not more than it has columns, no null."""
        table = self.table
        if not 0 <= index < len(table.indexes):
            raise Violation(
                f"table '{table.name}' declares {len(table.indexes)} indexes; there is none with number {index} "
                "(they count from 0)"
            )
        columns = table.indexes[index]
        if not 1 <= len(prefix) <= len(columns):
            raise Violation(
                f"table '{table.name}': find by index ({table.names(columns)}) takes 1 to {len(columns)} values, "
                f"but {len(prefix)} came"
            )
        for value, column in zip(prefix, columns, strict=False):
            if value is None:
                raise Violation(f"{table.at(column)}: find looks for a value, and null is none")
        return tuple(self.conform[column](value) for value, column in zip(prefix, columns, strict=False))

    def conform_row(self, row: Sequence[Value]) -> Row:
        """Checks a whole row, and gives it in its one form."""
        table = self.table
        if len(row) != len(table.columns):
            raise Violation(
                f"table '{table.name}' has {len(table.columns)} columns, but a row of {len(row)} values came"
            )
        conformed = [conform(value) for conform, value in zip(self.conform, row, strict=True)]
        self._check_key(self.key_of(conformed))
        if self._sized:
            self._check_indexes(conformed)
        return conformed

    def check_cells(self, cells: Iterable[Cell]) -> None:
        """Refuses a column that is not there, is of the key, or is named twice."""
        table = self.table
        seen: set[int] = set()
        for column, _, _ in cells:
            if not 0 <= column < len(table.columns):
                raise Violation(
                    f"table '{table.name}' has {len(table.columns)} columns; there is none with number {column} "
                    "(they count from 0)"
                )
            if column in table.primary_key:
                raise Violation(
                    f"{table.at(column)}: it is a key column, and a row keeps its key (remove the row and put another)"
                )
            if column in seen:
                raise Violation(f"{table.at(column)}: one change names it twice")
            seen.add(column)

    def patch(self, row: Row, cells: Sequence[Cell]) -> None:
        """Changes a row in place; on a violation it is left half changed, and the caller drops it. The cells' columns
        must have been checked, here and below: see :meth:`check_cells`."""
        sized = False
        for column, adds, value in cells:
            if adds:
                row[column] = self.add[column](row[column], value)
            else:
                row[column] = self.conform[column](value)
                sized = sized or column in self._sized_columns
        if sized:
            self._check_indexes(row)

    @functools.cached_property
    def _initial(self) -> Row:
        return [
            None if column.initial is NOTHING else conform(column.initial)
            for column, conform in zip(self.table.columns, self.conform, strict=True)
        ]

    def new_row(self, key: Key, cells: Sequence[Cell]) -> Row:
        """The row that an upsert makes where there is none: from each column's initial."""
        row = self._initial.copy()
        for column, value in zip(self.table.primary_key, key, strict=True):
            row[column] = value
        self.patch(row, cells)
        for column in self.table.required:
            if row[column] is None:
                raise Violation(
                    f"{self.table.at(column)}: an upsert of a new row must set it, for it is not nullable and "
                    "declares no initial value"
                )
        if self._sized:
            self._check_indexes(row)
        return row

    def conform_cells(self, cells: Iterable[Cell]) -> list[Cell]:
        """Checks cells as far as that goes without their row: an add may still overflow there."""
        return [
            (column, adds, self.add[column](None, value) if adds else self.conform[column](value))
            for column, adds, value in cells
        ]

    def merge(self, earlier: dict[int, tuple[bool, Value]], later: Iterable[Cell]) -> list[Cell]:
        """Takes later cells into earlier ones: the same row comes of it as of both. Gives back those that do not merge,
        for the row must be known: two sums of reals (their order counts), and sums that overflow."""
        left: list[Cell] = []
        for column, adds, value in later:
            before = earlier.get(column)
            if not adds:
                earlier[column] = (False, self.conform[column](value))
            elif before is None:
                earlier[column] = (True, self.add[column](None, value))
            elif before[0] and self.table.columns[column].kind.name == "real":
                left.append((column, True, self.add[column](None, value)))
            else:
                try:
                    earlier[column] = (before[0], self.add[column](before[1], value))
                except Violation:
                    left.append((column, True, self.add[column](None, value)))
        return left

    def _check_key(self, key: Key) -> None:
        size = _sort_bytes(key)
        if size > KEY_BYTES_MAX:
            raise Violation(
                f"table '{self.table.name}': a key ({self.table.names(self.table.primary_key)}) has {size} bytes; "
                f"at most {KEY_BYTES_MAX} are allowed"
            )

    def _check_indexes(self, row: Row) -> None:
        for index in self._sized:
            size = _sort_bytes([row[column] for column in index])
            if size > INDEX_BYTES_MAX:
                raise Violation(
                    f"table '{self.table.name}': the indexed columns ({self.table.names(index)}) have {size} bytes; "
                    f"at most {INDEX_BYTES_MAX} are allowed"
                )


def _sort_bytes(values: Sequence[Value]) -> int:
    """Bytes that values count in a key or an index."""
    size = 0
    for value in values:
        if isinstance(value, str):
            size += len(value) if value.isascii() else len(value.encode())
        elif isinstance(value, bytes):
            size += len(value)
        else:
            size += 16 if isinstance(value, Decimal) else 8
    return size


def _encoded(text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Violation(f"{place}: text may not contain half of a surrogate pair") from None


def _mismatch(kind: object, value: Value) -> str:
    if value is None:
        return "null came, but the column is not nullable"
    return f"the column is {kind}, but {described(value)} came"


def described(value: object) -> str:
    """A value as messages name it: type and, cut short, what it is."""
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean {str(value).lower()}"
        case Micros():
            return f"timestamp {int(value)}"
        case int():
            return f"integer {shown(str(int(value)))}"
        case float():
            return f"real {value}"
        case Decimal():
            return f"decimal {value}"
        case JsonText():
            return f"json {shown(value)}"
        case str():
            return f"text '{shown(value)}'"
        case bytes():
            return f"{len(value)} bytes"
        case _:
            return f"{type(value).__name__} {shown(repr(value))}"
