"""JSON whose numbers are kept: whole numbers are int, all others :class:`Number`, exact as they are written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from . import timestamps
from .decimals import canonical

# Deepest nesting of a JSON value in a row.
DEPTH_MAX = 128
# Longest number, and largest exponent: more than any use, less than where PostgreSQL's numeric ends.
_NUMBER_MAX = 10_000


class Number(Decimal):
    """A JSON number with a point or an exponent, exact as it was written: a Decimal that is written as a number
    again. What is computed from it is a plain Decimal, and plain Decimals are written as text: ``"12.50"``."""

    __slots__ = ()


class _NotPlain(Exception):
    """The quick encoder met what it does not know."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_quickly(value: object) -> NoReturn:
    raise _NotPlain


_decoder = json.JSONDecoder(parse_float=Number, parse_constant=_refuse_constant)
# As raw_decode has it, without its look for spaces.
_scan = _decoder.scan_once  # type: ignore[attr-defined]
_quick = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse_quickly
).encode
_string = json.JSONEncoder(ensure_ascii=False).encode


def loads(text: str) -> Any:
    """What JSON text holds; ValueError where it is none."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (ValueError, StopIteration):
        pass
    # There are spaces around it, or it is wrong.
    return _decoder.decode(text)


def dumps(value: object) -> str:
    """A value as JSON text: besides what ``json`` knows, Decimals (as text), :class:`Number`, datetimes (RFC 3339 in
    UTC), UUIDs and dataclasses.

    Raises:
        TypeError: for what JSON does not have.
        ValueError: for NaN, infinity, and datetimes without time zone.

    """
    try:
        return _quick(value)
    except _NotPlain:
        return _write(value)


def _write(value: Any) -> str:
    match value:
        case str():
            return _string(value)
        case None | bool() | int():
            return json.dumps(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not JSON")
            return json.dumps(value)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is not JSON")
            return str(value) if isinstance(value, Number) else f'"{canonical(value)}"'
        case datetime():
            return f'"{timestamps.text(timestamps.from_datetime(value))}"'
        case UUID():
            return f'"{value}"'
        case list() | tuple():
            return "[" + ",".join(map(_write, value)) + "]"
        case Mapping():
            return "{" + ",".join(f"{_name(name)}:{_write(item)}" for name, item in value.items()) + "}"
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return _write({field.name: getattr(value, field.name) for field in fields})
        case _:
            raise TypeError(f"{type(value).__name__} {value!r} cannot be written as JSON")


def _name(name: object) -> str:
    if isinstance(name, str):
        return _string(name)
    if isinstance(name, int) and not isinstance(name, bool):
        # As json has it.
        return f'"{int(name)}"'
    raise TypeError(f"JSON names are texts, but a key is {name!r}")


def _checked_number(text: str) -> None:
    _, _, exponent = text.lower().partition("e")
    if len(text) > _NUMBER_MAX or len(exponent) > 6 or abs(int(exponent or 0)) > _NUMBER_MAX:
        raise ValueError(f"a number of more than {_NUMBER_MAX} digits")


_check = json.JSONDecoder(
    parse_float=_checked_number, parse_int=_checked_number, parse_constant=_refuse_constant
).decode


def check(text: str) -> None:
    """Checks that a text is JSON that every database keeps: no U+0000, no lone surrogate, no number of more than ten
    thousand digits, nested at most 128 deep. Raises ValueError with what is wrong."""
    too_deep = f"nested more than {DEPTH_MAX} deep"
    try:
        document = _check(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    if text.count("[") + text.count("{") <= DEPTH_MAX and "\\u" not in text and text.isascii():
        # Nothing in it can be wrong but its form, as in most.
        return
    level: list[Any] = [document]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_string(item)
            elif isinstance(item, (dict, list)):
                if depth == DEPTH_MAX:
                    raise ValueError(too_deep)
                below.extend(item)
                if isinstance(item, dict):
                    below.extend(item.values())
        level = below
        depth += 1


def _check_string(text: str) -> None:
    if "\0" in text:
        raise ValueError("U+0000 in a text, which databases do not keep")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate in a text") from None
