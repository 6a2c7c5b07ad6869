"""The byte format of the packed lane, wit/PACKED.md: MessagePack, written in the shortest form, read in every form."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from .decimals import DecimalError, canonical, parse
from .errors import PackedError
from .schema import Cell, JsonText, Key, Micros, Row, Value

_EXT_DECIMAL, _EXT_TIMESTAMP, _EXT_JSON = 1, 2, 3
_PUT, _PATCH, _UPSERT, _REMOVE = range(4)
_OPERATIONS = ("put", "patch", "upsert", "remove")
_NIL = 0xC0
_EVENT_ENTRIES = 12

_U8 = struct.Struct(">BB").pack
_U16 = struct.Struct(">BH").pack
_U32 = struct.Struct(">BI").pack
_U64 = struct.Struct(">BQ").pack
_I8 = struct.Struct(">Bb").pack
_I16 = struct.Struct(">Bh").pack
_I32 = struct.Struct(">Bi").pack
_I64 = struct.Struct(">Bq").pack
_F64 = struct.Struct(">Bd").pack
_TIMESTAMP = struct.Struct(">BBq").pack


@dataclass(frozen=True)
class Change:
    """One change: put (``row``), patch and upsert (``key`` and ``cells``), remove (``key``)."""

    operation: str
    table: int
    row: tuple[Value, ...] = ()
    key: Key = ()
    cells: tuple[Cell, ...] = ()


# ---- writing


def write_array(out: bytearray, entries: int) -> None:
    """Opens an array of so many entries."""
    if entries < 16:
        out.append(0x90 | entries)
    else:
        out += _U16(0xDC, entries) if entries < 0x1_0000 else _U32(0xDD, entries)


def write_int(out: bytearray, number: int) -> None:
    """Writes an integer of -2^63 to 2^64 - 1."""
    if 0 <= number < 0x80:
        out.append(number)
    elif number >= 0:
        if number < 0x100:
            out += _U8(0xCC, number)
        elif number < 0x1_0000:
            out += _U16(0xCD, number)
        elif number < 0x1_0000_0000:
            out += _U32(0xCE, number)
        else:
            out += _U64(0xCF, number)
    elif number >= -0x20:
        out.append(number & 0xFF)
    elif number >= -0x80:
        out += _I8(0xD0, number)
    elif number >= -0x8000:
        out += _I16(0xD1, number)
    elif number >= -0x8000_0000:
        out += _I32(0xD2, number)
    else:
        out += _I64(0xD3, number)


def write_text(out: bytearray, text: str) -> None:
    """Writes a text."""
    encoded = text.encode()
    length = len(encoded)
    if length < 32:
        out.append(0xA0 | length)
    elif length < 0x100:
        out += _U8(0xD9, length)
    else:
        out += _U16(0xDA, length) if length < 0x1_0000 else _U32(0xDB, length)
    out += encoded


def _write_bytes(out: bytearray, value: bytes) -> None:
    length = len(value)
    if length < 0x100:
        out += _U8(0xC4, length)
    else:
        out += _U16(0xC5, length) if length < 0x1_0000 else _U32(0xC6, length)
    out += value


_FIXED_EXT = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}


def _write_ext(out: bytearray, kind: int, value: bytes) -> None:
    length = len(value)
    fixed = _FIXED_EXT.get(length)
    if fixed is not None:
        out.append(fixed)
    elif length < 0x100:
        out += _U8(0xC7, length)
    else:
        out += _U16(0xC8, length) if length < 0x1_0000 else _U32(0xC9, length)
    out.append(kind)
    out += value


_WRITERS: dict[type, Callable[[bytearray, Value], None]] = {
    type(None): lambda out, value: out.append(_NIL),
    bool: lambda out, value: out.append(0xC3 if value else 0xC2),
    int: write_int,  # type: ignore[dict-item]
    float: lambda out, value: out.extend(_F64(0xCB, value)),
    str: write_text,  # type: ignore[dict-item]
    bytes: _write_bytes,  # type: ignore[dict-item]
    Decimal: lambda out, value: _write_ext(out, _EXT_DECIMAL, canonical(value).encode()),  # type: ignore[arg-type]
    Micros: lambda out, value: out.extend(_TIMESTAMP(0xD7, _EXT_TIMESTAMP, value)),
    JsonText: lambda out, value: _write_ext(out, _EXT_JSON, value.encode()),  # type: ignore[union-attr]
}


def write_value(out: bytearray, value: Value) -> None:
    """Writes a value of the contract."""
    _WRITERS[type(value)](out, value)


def write_values(out: bytearray, values: Sequence[Value]) -> None:
    """Writes a row or a key."""
    write_array(out, len(values))
    for value in values:
        _WRITERS[type(value)](out, value)


def write_put(out: bytearray, table: int, row: Sequence[Value]) -> None:
    """Writes a put."""
    out += b"\x93\x00"
    write_int(out, table)
    write_values(out, row)


def write_cells(out: bytearray, table: int, key: Key, cells: Sequence[Cell], must_exist: bool) -> None:
    """Writes a patch where the row must exist, else an upsert."""
    out += b"\x94\x01" if must_exist else b"\x94\x02"
    write_int(out, table)
    write_values(out, key)
    write_array(out, len(cells) * 3)
    for column, adds, value in cells:
        write_int(out, column)
        out.append(adds)
        write_value(out, value)


def write_remove(out: bytearray, table: int, key: Key) -> None:
    """Writes a remove."""
    out += b"\x93\x03"
    write_int(out, table)
    write_values(out, key)


def write_change(out: bytearray, change: Change) -> None:
    """Writes a change."""
    match change.operation:
        case "put":
            write_put(out, change.table, change.row)
        case "remove":
            write_remove(out, change.table, change.key)
        case operation:
            write_cells(out, change.table, change.key, change.cells, operation == "patch")


def write_read(out: bytearray, table: int, key: Key) -> None:
    """Writes one read: its answer is a row or nil."""
    out.append(0x92)
    write_int(out, table)
    write_values(out, key)


def write_answer(out: bytearray, row: Sequence[Value] | None) -> None:
    """Writes the answer to one read."""
    if row is None:
        out.append(_NIL)
    else:
        write_values(out, row)


def write_event(out: bytearray, entries: Iterable[int | str | None]) -> None:
    """Writes an event: its twelve entries in order."""
    write_array(out, _EVENT_ENTRIES)
    for entry in entries:
        write_value(out, entry)


# What an upcaster gives: event type, schema version, data and metadata; None: as in the event that was given.
Lifted = tuple[str, int, str | None, str | None]


def write_lifted(out: bytearray, lifted: Sequence[Lifted]) -> None:
    """Writes what one event became."""
    write_array(out, len(lifted))
    for entries in lifted:
        write_values(out, entries)


# ---- reading

# Bytes of a whole entry by its first byte; 0 where its length follows, or where it is no single value.
SIZES = bytes(
    1 if tag < 0x80 or tag >= 0xE0 or tag in (0xC0, 0xC2, 0xC3)
    else 1 + (tag & 0x1F) if 0xA0 <= tag < 0xC0
    else {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9,
          0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}.get(tag, 0)
    for tag in range(256)
)  # fmt: skip
# Bytes of the length that follows the first byte, by that byte; texts, bytes, extensions.
_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}
_INTS = {
    0xCC: (">B", 2), 0xCD: (">H", 3), 0xCE: (">I", 5), 0xCF: (">Q", 9),
    0xD0: (">b", 2), 0xD1: (">h", 3), 0xD2: (">i", 5), 0xD3: (">q", 9), 0xCA: (">f", 5), 0xCB: (">d", 9),
}  # fmt: skip


def skip(data: bytes, at: int) -> int:
    """Where the entry ends that begins here; it may be behind the end of the bytes, if they were cut."""
    tag = data[at]
    size = SIZES[tag]
    if size:
        return at + size
    width = _LENGTHS.get(tag)
    if width is None:
        raise PackedError(f"byte {at}: {tag:#04x} begins no value")
    length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    return at + 1 + width + length + (0xC7 <= tag <= 0xC9)


def _content(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The extension kind (or -1), the bytes, and the end, of a text, bytes, or an extension."""
    tag = data[at]
    end = skip(data, at)
    if end > len(data):
        raise PackedError(f"byte {at}: an entry goes beyond the end")
    if 0xD4 <= tag <= 0xD8:
        return data[at + 1], data[at + 2 : end], end
    start = at + 1 + _LENGTHS.get(tag, 0)
    if 0xC7 <= tag <= 0xC9:
        return data[start], data[start + 1 : end], end
    return -1, data[start:end], end


def read_value(data: bytes, at: int) -> tuple[Value, int]:
    """The value that begins here, and where it ends."""
    try:
        tag = data[at]
        if tag < 0x80:
            return tag, at + 1
        if tag >= 0xE0:
            return tag - 0x100, at + 1
        if tag == _NIL:
            return None, at + 1
        if tag == 0xC2 or tag == 0xC3:
            return tag == 0xC3, at + 1
        number = _INTS.get(tag)
        if number is not None:
            form, size = number
            value: Value = struct.unpack_from(form, data, at + 1)[0]
            return value, at + size
        kind, content, end = _content(data, at)
        if kind == -1:
            return (content if 0xC4 <= tag <= 0xC6 else content.decode()), end
        if kind == _EXT_DECIMAL:
            return parse(content.decode("ascii")), end
        if kind == _EXT_TIMESTAMP and len(content) == 8:
            return Micros(int.from_bytes(content, "big", signed=True)), end
        if kind == _EXT_JSON:
            return JsonText(content.decode()), end
    except (IndexError, struct.error):
        raise PackedError(f"byte {at}: the bytes end within a value") from None
    except (UnicodeDecodeError, DecimalError) as error:
        raise PackedError(f"byte {at}: {error}") from None
    raise PackedError(f"byte {at}: extension {kind} of {len(content)} bytes is unknown")


def read_array(data: bytes, at: int) -> tuple[int, int]:
    """How many entries the array has that begins here, and where the first is."""
    if at < len(data):
        tag = data[at]
        if 0x90 <= tag < 0xA0:
            return tag & 0x0F, at + 1
        width = {0xDC: 2, 0xDD: 4}.get(tag)
        if width is not None and at + width < len(data):
            return int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
    raise PackedError(f"byte {at}: an array is due")


def read_values(data: bytes, at: int) -> tuple[Row, int]:
    """The row or key that begins here, and where it ends."""
    count, at = read_array(data, at)
    values: Row = []
    for _ in range(count):
        value, at = read_value(data, at)
        values.append(value)
    return values, at


def _read_int(data: bytes, at: int) -> tuple[int, int]:
    value, end = read_value(data, at)
    if type(value) is not int or value < 0:
        raise PackedError(f"byte {at}: an unsigned integer is due")
    return value, end


def read_changes(data: bytes) -> Iterator[Change]:
    """The changes of a sequence."""
    at = 0
    while at < len(data):
        count, at = read_array(data, at)
        operation, at = _read_int(data, at)
        if operation > _REMOVE or count != (4 if operation in (_PATCH, _UPSERT) else 3):
            raise PackedError(f"byte {at}: operation {operation} of {count} entries is unknown")
        table, at = _read_int(data, at)
        values, at = read_values(data, at)
        if operation == _PUT:
            yield Change("put", table, row=tuple(values))
        elif operation == _REMOVE:
            yield Change("remove", table, key=tuple(values))
        else:
            cells, at = _read_cells(data, at)
            yield Change(_OPERATIONS[operation], table, key=tuple(values), cells=cells)


def _read_cells(data: bytes, at: int) -> tuple[tuple[Cell, ...], int]:
    count, at = read_array(data, at)
    if count % 3:
        raise PackedError(f"byte {at}: cells have three entries each")
    cells: list[Cell] = []
    for _ in range(count // 3):
        column, at = _read_int(data, at)
        change, at = _read_int(data, at)
        if change > 1:
            raise PackedError(f"byte {at}: a cell is set (0) or added to (1), not {change}")
        value, at = read_value(data, at)
        cells.append((column, change == 1, value))
    return tuple(cells), at


def read_reads(data: bytes) -> Iterator[tuple[int, Key]]:
    """The reads of a sequence: table and key."""
    at = 0
    while at < len(data):
        count, at = read_array(data, at)
        if count != 2:
            raise PackedError(f"byte {at}: a read has 2 entries")
        table, at = _read_int(data, at)
        key, at = read_values(data, at)
        yield table, tuple(key)


def read_answers(data: bytes) -> Iterator[Row | None]:
    """The answers of a sequence: rows, or None."""
    at = 0
    while at < len(data):
        if data[at] == _NIL:
            at += 1
            yield None
        else:
            row, at = read_values(data, at)
            yield row


def read_lifted(data: bytes) -> Iterator[list[Row]]:
    """What each event of a sequence became."""
    at = 0
    while at < len(data):
        count, at = read_array(data, at)
        given = []
        for _ in range(count):
            entries, at = read_values(data, at)
            given.append(entries)
        yield given
