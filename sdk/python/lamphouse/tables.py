"""The projector's own tables, for the time of one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from .errors import Fault, Violation
from .memo import Entry, Host, Memo
from .row import Table, table_of
from .schema import Cell, Key

R = TypeVar("R")

# Rows that one page of find asks the host for.
_FIND_PAGE_ROWS = 1_000


class _Add:
    __slots__ = ("value",)

    def __init__(self, value: int | float | Decimal) -> None:
        self.value = value


def add(value: int | float | Decimal) -> Any:
    """In ``patch`` and ``upsert``: adds to the cell instead of setting it. Null counts as 0; a sum that does not fit
    fails the call."""
    return _Add(value)


class Tables:
    """The projector's own tables, for the time of one call.

    Reads see every change made before them. All changes of the call go in together, or, if the call fails, not at all.
    A change that the table's declaration does not allow raises :class:`Violation`, and fails the call even if that is
    caught. A key is a value, or a tuple for a key of several columns.
    """

    def __init__(self, tables: Sequence[Table], host: Host) -> None:
        self._tables = tables
        self._numbers = {table.row_type: number for number, table in enumerate(tables)}
        self._host = host
        self._memo = Memo(tables, host)
        # The first read or change that was not allowed.
        self.broken: BaseException | None = None

    def get(self, row_type: type[R], key: object, /) -> R | None:
        """The row with this key, or None. It is a copy: changing it changes nothing until it is put."""
        try:
            number = self._number(row_type)
            entry = self._memo.place(number, key)
            if not entry.known:
                self._memo.read([entry])
            return None if entry.row is None else self._tables[number].to_row(entry.row)
        except BaseException as error:
            self._break(error)
            raise

    def get_many(self, row_type: type[R], keys: Iterable[object], /) -> list[R | None]:
        """The rows with these keys, read together: in the order of the keys, None where there is no row."""
        try:
            number = self._number(row_type)
            entries = [self._memo.place(number, key) for key in keys]
            self._memo.read(entries)
            to_row = self._tables[number].to_row
            return [None if entry.row is None else to_row(entry.row) for entry in entries]
        except BaseException as error:
            self._break(error)
            raise

    def find(self, row_type: type[R], /, **values: object) -> list[R]:
        """All rows whose columns have these values, which are the first ones of a declared index, in the order of
        their keys: ``tables.find(Order, customer_id="c-7")``. For groups too large to hold at once, use
        :meth:`find_page`."""
        try:
            rows: list[R] = []
            while True:
                page = self._page(row_type, rows[-1] if rows else None, _FIND_PAGE_ROWS, values)
                rows += page
                if len(page) < _FIND_PAGE_ROWS:
                    return rows
        except BaseException as error:
            self._break(error)
            raise

    def find_page(self, row_type: type[R], after: R | None, limit: int, /, **values: object) -> list[R]:
        """One page of :meth:`find`: at most ``limit`` rows, those after the row ``after``."""
        try:
            return self._page(row_type, after, limit, values)
        except BaseException as error:
            self._break(error)
            raise

    def put(self, row: object, /) -> None:
        """Inserts a row, or replaces the one with its key."""
        try:
            number = self._number(type(row))
            table = self._tables[number]
            values = table.semantics.conform_row(table.to_values(row))
            self._memo.replace(self._memo.place_of(number, table.semantics.key_of(values)), values)
        except BaseException as error:
            self._break(error)
            raise

    def patch(self, row_type: type, key: object, /, **cells: Any) -> None:
        """Changes cells of a row that must be there; an absent one fails the call::

        tables.patch(Order, event.stream_id, status="shipped", lines=add(1))
        """
        try:
            self._change(row_type, key, cells, True)
        except BaseException as error:
            self._break(error)
            raise

    def upsert(self, row_type: type, key: object, /, **cells: Any) -> None:
        """Changes cells of a row; an absent one is made first, from each column's ``initial``. The row need not be
        read for it."""
        try:
            self._change(row_type, key, cells, False)
        except BaseException as error:
            self._break(error)
            raise

    def remove(self, row_type: type, key: object, /) -> None:
        """Removes a row; an absent one is no mistake."""
        try:
            self._memo.replace(self._memo.place(self._number(row_type), key), None)
        except BaseException as error:
            self._break(error)
            raise

    def _change(self, row_type: type, key: object, cells: dict[str, Any], must_exist: bool) -> None:
        number = self._number(row_type)
        entry = self._memo.place(number, key)
        self._memo.change(entry, _cells(self._tables[number], cells), must_exist)

    def _break(self, error: BaseException) -> None:
        """Remembers the first failure, so that the call fails even if the plugin catches it and goes on."""
        if self.broken is None:
            self.broken = error

    def _number(self, row_type: type) -> int:
        number = self._numbers.get(row_type)
        if number is None:
            table = table_of(row_type)
            raise Fault(
                f"rows of table '{table.schema.name}' are used, but the projector's tables do not name "
                f"{row_type.__name__}"
            )
        return number

    def _page(self, row_type: type[R], after: R | None, limit: int, values: dict[str, object]) -> list[R]:
        number = self._number(row_type)
        table = self._tables[number]
        index, prefix = _prefix(table, values)
        after_key: Key | None = None
        if after is not None:
            after_key = table.semantics.conform_key(table.semantics.key_of(table.to_values(after)))
        # Only the host has the index, so it has to know what this call changed.
        changes = self._memo.hand_over(number)
        if changes:
            self._host.apply(changes)
        rows = self._host.find(number, index, prefix, after_key, limit)
        found = [table.to_row(row) for row in rows]
        for row in rows:
            self._memo.found(number, row)
        return found

    def prefetch(self, wanted: Wanted) -> None:
        """Reads the rows that the events of a call will want, together."""
        self._memo.read(wanted.entries)

    def wanted(self) -> Wanted:
        """Takes the rows that the events of a call will want."""
        return Wanted(self._numbers, self._memo)

    def finish(self) -> bytes:
        """What the call changed, packed."""
        return self._memo.hand_over()


class Wanted:
    """The rows that a batch will read, named ahead: see :meth:`Projector.prefetch`."""

    def __init__(self, numbers: dict[type, int], memo: Memo) -> None:
        self._numbers = numbers
        self._memo = memo
        self.entries: list[Entry] = []

    def row(self, row_type: type, key: object, /) -> None:
        """Names a row."""
        # A table that is not declared is told when it is used, and so is a key that cannot be one.
        number = self._numbers.get(row_type)
        if number is not None:
            try:
                self.entries.append(self._memo.place(number, key))
            except Violation:
                pass


def _cells(table: Table, cells: dict[str, Any]) -> list[Cell]:
    changes: list[Cell] = []
    for name, value in cells.items():
        found = table.cells.get(name)
        if found is None:
            raise table.no_cell(name)
        place, intake = found
        adds = type(value) is _Add
        if adds:
            value = value.value
        changes.append((place, adds, value if intake is None else table.to_value(place, value)))
    return changes


def _prefix(table: Table, values: dict[str, object]) -> tuple[int, Key]:
    """The number of the index whose first columns are these, and their values in its order."""
    schema = table.schema
    for number, index in enumerate(schema.indexes):
        names = [table.names[place] for place in index[: len(values)]]
        if values and len(names) == len(values) and set(names) == set(values):
            prefix = [table.to_value(place, values[table.names[place]]) for place in index[: len(values)]]
            return number, table.semantics.conform_prefix(number, prefix)
    declared = "; ".join(f"({schema.names(index)})" for index in schema.indexes) or "none"
    raise Violation(
        f"table '{schema.name}': find by ({', '.join(values)}) needs an index that begins with these columns; declared: "
        f"{declared}"
    )
