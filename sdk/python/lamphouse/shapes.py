"""An event's data as a dataclass: what JSON holds, checked against the fields' types."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from . import timestamps
from .decimals import parse
from .errors import Fault
from .semantics import described

# Makes a Python value of a JSON value, or raises _Unfit.
Read = Callable[[Any], Any]


class _Unfit(Fault):
    """A JSON value of another shape; what it is within is put in front."""

    def within(self, step: str) -> _Unfit:
        return _Unfit(f"{step}: {self}")


def _expected(what: str, value: object) -> _Unfit:
    shown = "null" if value is None else "an object" if isinstance(value, dict) else described(value)
    return _Unfit(f"expected {what}, but {'a list' if isinstance(value, list) else shown} came")


def _plain(kind: type, what: str) -> Read:
    def read(value: Any) -> Any:
        # `type`, not isinstance: true is no integer.
        if type(value) is kind:
            return value
        raise _expected(what, value)

    return read


def _float(value: Any) -> Any:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return float(value)
    raise _expected("a number", value)


def _decimal(value: Any) -> Any:
    if type(value) is str:
        try:
            return parse(value)
        except ValueError as error:
            raise _Unfit(str(error)) from None
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise _expected("a decimal as text, or a number", value)


def _datetime(value: Any) -> Any:
    if type(value) is not str:
        raise _expected("an RFC 3339 timestamp", value)
    try:
        return timestamps.to_datetime(timestamps.parse(value))
    except (ValueError, OverflowError) as error:
        raise _Unfit(str(error)) from None


_READS: dict[object, Read] = {
    str: _plain(str, "a text"),
    int: _plain(int, "an integer"),
    bool: _plain(bool, "true or false"),
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    dict: _plain(dict, "an object"),
    list: _plain(list, "a list"),
    type(None): _plain(type(None), "null"),
    Any: lambda value: value,
    object: lambda value: value,
}


@functools.cache
def reader(hint: Any) -> Read:
    """What makes values of this type of JSON: str, int, bool, float, Decimal, datetime, Any, dataclasses, lists and
    dicts of them, and any of these ``| None``. TypeError where a type is none of these."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    plain = _READS.get(hint)
    if plain is not None:
        return plain
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:
        some = reader(next(part for part in args if part is not type(None)))
        return lambda value: None if value is None else some(value)
    if origin is list:
        item = reader(args[0])
        return lambda value: [_at(f"[{place}]", item, part) for place, part in enumerate(_READS[list](value))]
    if origin is dict and args[0] is str:
        item = reader(args[1])
        return lambda value: {name: _at(name, item, part) for name, part in _READS[dict](value).items()}
    raise TypeError(
        f"{hint} cannot be read from JSON: use str, int, float, bool, Decimal, datetime, a dataclass, list[…], "
        "dict[str, …], one of them | None, or Any"
    )


def _at(step: str, read: Read, value: Any) -> Any:
    try:
        return read(value)
    except _Unfit as unfit:
        raise unfit.within(step) from None


_ABSENT = object()
# Where a type stands for itself, or for itself | None.
_OPTIONAL = (None, typing.Union, types.UnionType)


def _dataclass(made: type) -> Read:
    # Made when first used, so that a dataclass may name itself.
    @functools.cache
    def fields() -> list[tuple[str, object, Read, bool, bool]]:
        hints = typing.get_type_hints(made)
        listed = []
        for field in dataclasses.fields(made):
            if not field.init:
                continue
            hint = hints[field.name]
            has_default = not (
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            )
            some = [part for part in typing.get_args(hint) if part in (str, int)] or [hint]
            # Texts and integers are what they are.
            plain = some[0] if some[0] in (str, int) and typing.get_origin(hint) in _OPTIONAL else None
            listed.append((field.name, plain, reader(hint), has_default, type(None) in typing.get_args(hint)))
        return listed

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        given = {}
        for name, plain, read_field, has_default, may_be_none in fields():
            part = value.get(name, _ABSENT)
            if type(part) is plain:
                given[name] = part
            elif part is not _ABSENT:
                try:
                    given[name] = read_field(part)
                except _Unfit as unfit:
                    raise unfit.within(name) from None
            elif not has_default:
                if not may_be_none:
                    raise _Unfit(f"missing field '{name}'")
                given[name] = None
        return made(**given)

    return read
