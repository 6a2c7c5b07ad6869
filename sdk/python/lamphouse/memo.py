"""The rows that one call has read or changed.

Every row is answered from here once it is known, with all changes of the call in it; what it became goes to the host
once, at the end. A row that is only changed, never read, is never asked for: its changes are merged instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from . import packed
from .errors import Fault, Violation
from .row import Table
from .schema import Cell, Key, Row, Value


class Host(Protocol):
    """What a call of a projector needs of the world: the sandbox's imports, or the test harness's tables."""

    def apply(self, changes: bytes) -> None:
        """Makes packed changes, in order."""

    def read(self, reads: bytes) -> bytes:
        """Answers packed reads."""

    def find(self, table: int, index: int, prefix: Key, after: Key | None, limit: int) -> list[Row]:
        """Rows of one page, in the order of their keys."""


class Entry:
    """One row, as far as this call knows it."""

    __slots__ = ("dirty", "key", "known", "must_exist", "pending", "row", "table")

    def __init__(self, table: int, key: Key) -> None:
        self.table = table
        self.key = key
        # Whether `row` is the row as it is now; else it was never read, or handed over since.
        self.known = False
        # None where there is no row.
        self.row: Row | None = None
        self.dirty = False
        # Merged changes of a row that was never read, by column: of an upsert, or, where it must exist, of a patch.
        self.pending: dict[int, tuple[bool, Value]] | None = None
        self.must_exist = False


class Memo:
    """All rows of one call, by table and key."""

    def __init__(self, tables: Sequence[Table], host: Host) -> None:
        self._tables = tables
        self._host = host
        self._entries: list[Entry] = []
        self._places: list[dict[Any, Entry]] = [{} for _ in tables]

    def place(self, number: int, key: object) -> Entry:
        """The row's place, by a key as the plugin gives it; Violation where it is none."""
        places = self._places[number]
        table = self._tables[number]
        # A key of just the column's own type is the same when it is conformed.
        if type(key) is table.semantics.key_type:
            entry = places.get(key)
            if entry is not None:
                return entry
        return self.place_of(number, table.to_key(key))

    def place_of(self, number: int, key: Key) -> Entry:
        """The same by a conformed key."""
        known = key[0] if len(key) == 1 else key
        entry = self._places[number].get(known)
        if entry is None:
            entry = self._places[number][known] = Entry(number, key)
            self._entries.append(entry)
        return entry

    def read(self, entries: Iterable[Entry]) -> None:
        """Makes rows known, with one read."""
        wanted = list(dict.fromkeys(entry for entry in entries if not entry.known))
        if not wanted:
            return
        reads = bytearray()
        for entry in wanted:
            packed.write_read(reads, entry.table, entry.key)
        answers = list(packed.read_answers(self._host.read(bytes(reads))))
        if len(answers) != len(wanted):
            raise Fault("the host answered another number of rows than were asked for")
        for entry, row in zip(wanted, answers, strict=True):
            self._learn(entry, row)

    def found(self, number: int, row: Row) -> None:
        """Takes in a row that a find gave."""
        entry = self.place_of(number, self._tables[number].semantics.key_of(row))
        if not entry.known and entry.pending is None:
            entry.known, entry.row, entry.dirty = True, row, False

    def replace(self, entry: Entry, row: Row | None) -> None:
        """Puts or removes a whole row."""
        if entry.pending is not None and entry.must_exist:
            # A patch of an absent row faults, even if another row comes after it.
            self.read([entry])
        # A row known to be absent need not be removed again.
        entry.dirty = row is not None or not entry.known or entry.row is not None or entry.dirty
        entry.known, entry.row, entry.pending = True, row, None

    def change(self, entry: Entry, cells: Sequence[Cell], must_exist: bool) -> None:
        """Changes cells of a row: an upsert, or, where the row must exist, a patch."""
        semantics = self._tables[entry.table].semantics
        if entry.row is not None:
            entry.dirty = True
            semantics.patch(entry.row, cells)
            return
        if entry.known:
            if must_exist:
                raise self._absent(entry)
            entry.row, entry.dirty = semantics.new_row(entry.key, cells), True
            return
        rest: Sequence[Cell] = cells
        if entry.pending is not None:
            # Behind either change the row exists, so that an upsert and a patch are the same now.
            rest = semantics.merge(entry.pending, cells)
            if not rest:
                return
        else:
            conformed = semantics.conform_cells(cells)
            columns = {column for column, _, _ in conformed}
            if must_exist or semantics.table.required <= columns:
                entry.pending = {column: (adds, value) for column, adds, value in conformed}
                entry.must_exist = must_exist
                return
            # Only right if the row is there already, which only the host knows.
        self.read([entry])
        self.change(entry, rest, must_exist)

    def hand_over(self, only: int | None = None) -> bytes:
        """What became of the rows, of one table or of all, as packed changes; they then count as handed over."""
        out = bytearray()
        for entry in self._entries:
            if only is not None and entry.table != only:
                continue
            if entry.known:
                if entry.dirty:
                    if entry.row is None:
                        packed.write_remove(out, entry.table, entry.key)
                    else:
                        packed.write_put(out, entry.table, entry.row)
                    entry.dirty = False
            elif entry.pending is not None:
                packed.write_cells(out, entry.table, entry.key, _cells(entry.pending), entry.must_exist)
                entry.pending = None
        return bytes(out)

    def _learn(self, entry: Entry, row: Row | None) -> None:
        """Takes in what the host has, with the changes that were made meanwhile."""
        pending = entry.pending
        if pending is not None:
            semantics = self._tables[entry.table].semantics
            if row is not None:
                semantics.patch(row, _cells(pending))
            elif entry.must_exist:
                raise self._absent(entry)
            else:
                row = semantics.new_row(entry.key, _cells(pending))
        entry.known, entry.row, entry.dirty, entry.pending = True, row, pending is not None, None

    def _absent(self, entry: Entry) -> Violation:
        shown = ", ".join(repr(value) for value in entry.key)
        name = self._tables[entry.table].schema.name
        return Violation(f"table '{name}' has no row with key {shown} to patch (upsert makes one)")


def _cells(pending: dict[int, tuple[bool, Value]]) -> list[Cell]:
    return [(column, adds, value) for column, (adds, value) in pending.items()]
