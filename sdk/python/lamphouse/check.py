"""Whether what a plugin declares can be kept, by the host's own rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

from .decimals import DIGITS_MAX, shown
from .errors import Violation
from .schema import (
    NOTHING,
    Descriptor,
    EventSchema,
    Missing,
    Subscription,
    TableSchema,
    UpcasterDescriptor,
    Value,
)
from .semantics import Semantics

T = TypeVar("T", bound=Hashable)

# Longest name in bytes: leaves room for `__g` and a number within PostgreSQL's 63.
_NAME_BYTES_MAX = 48
_TABLES_MAX = 64
_COLUMNS_MAX = 200
_INDEXES_MAX = 32
_KEY_COLUMNS_MAX = 8
_INDEX_COLUMNS_MAX = 8
_SUBSCRIPTIONS_MAX = 1_000
_SCHEMA_VERSIONS_MAX = 1_000
_INITIAL_BYTES_MAX = 10_000
_RULES_MAX = 1_000
_GIVES_MAX = 100
_EVENT_TYPE_BYTES_MAX = 256
_VERSION_BYTES_MAX = 64
# Names that a database gives columns of its own.
_RESERVED_COLUMNS = frozenset(["cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"])
_RESERVED_FORMS = re.compile(r"lamphouse|sqlite_|pg_|.*__g", re.DOTALL)


def check(descriptor: Descriptor) -> list[str]:
    """What is wrong with a projector's declaration; empty when all is right. Options are the host's matter."""
    errors = [*_name_errors("plugin", descriptor.name), *_version_errors(descriptor.version)]
    if not descriptor.subscriptions:
        errors.append(
            "no subscription is declared, so no event would ever come (one without event type and stream type takes "
            "every event)"
        )
    if len(descriptor.subscriptions) > _SUBSCRIPTIONS_MAX:
        count = len(descriptor.subscriptions)
        errors.append(f"{count} subscriptions are declared; at most {_SUBSCRIPTIONS_MAX} are allowed")
    else:
        for subscription in descriptor.subscriptions:
            errors += _subscription_errors(subscription)
    tables = descriptor.tables
    if not tables:
        errors.append("no table is declared")
    if len(tables) > _TABLES_MAX:
        return [*errors, f"{len(tables)} tables are declared; at most {_TABLES_MAX} are allowed"]
    errors += [f"table '{shown(name)}' is declared twice" for name in _twice(table.name for table in tables)]
    for table in tables:
        errors += _table_errors(table)
    return errors


def check_upcaster(descriptor: UpcasterDescriptor) -> list[str]:
    """What is wrong with an upcaster's declaration by itself. Cycles are the host's matter, as options are."""
    errors = [*_name_errors("plugin", descriptor.name), *_version_errors(descriptor.version)]
    rules = descriptor.rules
    if not rules:
        errors.append("no rule is declared, so no event would ever come")
    if len(rules) > _RULES_MAX:
        return [*errors, f"{len(rules)} rules are declared; at most {_RULES_MAX} are allowed"]
    errors += [f"two rules take {_schema(takes)}" for takes in _twice(rule.takes for rule in rules)]
    for rule in rules:
        takes = _schema(rule.takes)
        if len(rule.gives) > _GIVES_MAX:
            count = len(rule.gives)
            errors.append(
                f"the rule that takes {takes} gives {count} schemas; at most {_GIVES_MAX} are allowed"
            )
            continue
        wrong = [error for schema in (rule.takes, *rule.gives) for error in _schema_errors(schema)]
        wrong += [f"it names {_schema(schema)} twice among what it gives" for schema in _twice(rule.gives)]
        errors += [f"the rule that takes {takes}: {error}" for error in wrong]
    return errors


def _subscription_errors(subscription: Subscription) -> Iterable[str]:
    names = (("event type", subscription.event_type), ("stream type", subscription.stream_type))
    if any(name == "" for _, name in names):
        yield "a subscription names an empty event type or stream type (leave it out to take any)"
    for what, name in names:
        if name is not None and _is_no_type(name):
            yield (
                f"a subscription names {what} '{shown(name)}', which has more than {_EVENT_TYPE_BYTES_MAX} bytes or a "
                "U+0000, as no event's has"
            )
    versions = subscription.schema_versions
    if len(versions) > _SCHEMA_VERSIONS_MAX:
        yield f"a subscription names {len(versions)} schema versions; at most {_SCHEMA_VERSIONS_MAX} are allowed"
    if 0 in versions:
        yield "a subscription names schema version 0 (they count from 1)"


def _is_no_type(name: str) -> bool:
    return len(name.encode()) > _EVENT_TYPE_BYTES_MAX or "\0" in name


def _schema(schema: EventSchema) -> str:
    return f"{shown(schema[0])} {schema[1]}"


def _schema_errors(schema: EventSchema) -> Iterable[str]:
    event_type, version = schema
    if not event_type:
        yield "an event type is empty"
    elif _is_no_type(event_type):
        yield f"event type '{shown(event_type)}' has more than {_EVENT_TYPE_BYTES_MAX} bytes or a U+0000"
    elif version < 1:
        yield f"'{shown(event_type)}' has schema version {version} (they count from 1)"


def _version_errors(version: str) -> Iterable[str]:
    if not 1 <= len(version) <= _VERSION_BYTES_MAX or not re.fullmatch(r"[!-~]+", version):
        yield f"version '{shown(version)}' must be 1 to {_VERSION_BYTES_MAX} visible ASCII characters"


def _name_errors(what: str, name: str) -> Iterable[str]:
    signs, described = (
        ("a-z0-9_-", "digits, '_' and '-'") if what == "plugin" else ("a-z0-9_", "digits and '_'")
    )
    size = len(name.encode())
    if not name:
        yield f"a {what} name is empty"
    elif size > _NAME_BYTES_MAX:
        yield f"{what} name '{shown(name)}' has {size} bytes; at most {_NAME_BYTES_MAX} are allowed"
    elif not re.fullmatch(rf"[a-z][{signs}]*", name):
        yield f"{what} name '{shown(name)}' must be lower-case ASCII: a letter first, then letters, {described}"
    elif _RESERVED_FORMS.match(name):
        yield f"{what} name '{shown(name)}' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')"


def _table_errors(table: TableSchema) -> list[str]:
    errors = list(_name_errors("table", table.name))
    here = f"table '{shown(table.name)}'"
    columns = table.columns
    if not 1 <= len(columns) <= _COLUMNS_MAX:
        return [*errors, f"{here} declares {len(columns)} columns; 1 to {_COLUMNS_MAX} are allowed"]
    for column in columns:
        errors += [f"{here}: {error}" for error in _name_errors("column", column.name)]
        if column.name in _RESERVED_COLUMNS:
            errors.append(
                f"{here}: column name '{column.name}' is one that databases give columns of their own"
            )
        if column.kind.name == "decimal" and not 0 <= column.kind.scale <= DIGITS_MAX:
            errors.append(
                f"{here}: column '{shown(column.name)}' is {column.kind}; at most {DIGITS_MAX} digits after the point "
                "are allowed"
            )
    errors += [f"{here} declares column '{shown(name)}' twice" for name in _twice(c.name for c in columns)]
    errors += _key_errors(table, here)
    errors += _index_errors(table, here)
    if not errors:
        errors += _initial_errors(table, here)
    return errors


def _key_errors(table: TableSchema, here: str) -> Iterable[str]:
    yield from _column_errors(table, here, "primary key", table.primary_key, _KEY_COLUMNS_MAX)
    for place in table.primary_key[:_KEY_COLUMNS_MAX]:
        if not 0 <= place < len(table.columns):
            continue
        column = table.columns[place]
        name = f"{here}: key column '{shown(column.name)}'"
        if column.nullable:
            yield f"{name} is nullable; a key has no null"
        if column.kind.name in ("real", "json"):
            yield f"{name} is real or json, which cannot be a key"
        if column.initial is not NOTHING:
            yield f"{name} has an initial value; a key is always given"


def _index_errors(table: TableSchema, here: str) -> Iterable[str]:
    if len(table.indexes) > _INDEXES_MAX:
        yield f"{here} declares {len(table.indexes)} indexes; at most {_INDEXES_MAX} are allowed"
    for number, index in enumerate(table.indexes[:_INDEXES_MAX]):
        yield from _column_errors(table, here, f"index {number}", index, _INDEX_COLUMNS_MAX)
        there = [table.columns[place] for place in index if 0 <= place < len(table.columns)]
        if any(column.kind.name == "json" for column in there):
            yield f"{here}: index {number} has a json column, which cannot be indexed"
        if index in table.indexes[:number] and len(there) == len(index):
            yield f"{here} declares the index ({table.names(index)}) twice"


def _column_errors(
    table: TableSchema, here: str, what: str, columns: tuple[int, ...], columns_max: int
) -> Iterable[str]:
    if not 1 <= len(columns) <= columns_max:
        yield f"{here}: the {what} has {len(columns)} columns; 1 to {columns_max} are allowed"
        return
    for column in columns:
        if not 0 <= column < len(table.columns):
            yield f"{here}: the {what} names column {column}, but there are {len(table.columns)} (they count from 0)"
    if _twice(columns):
        yield f"{here}: the {what} names a column twice"


def _initial_errors(table: TableSchema, here: str) -> Iterable[str]:
    semantics = Semantics(table)
    for column, conform in zip(table.columns, semantics.conform, strict=True):
        initial = column.initial
        if isinstance(initial, Missing):
            continue
        size = _heap_bytes(initial)
        if size > _INITIAL_BYTES_MAX:
            yield (
                f"{here}: the initial value of column '{shown(column.name)}' has {size} bytes; at most "
                f"{_INITIAL_BYTES_MAX} are allowed"
            )
            continue
        try:
            conform(initial)
        except Violation as violation:
            yield f"initial value of {violation}"


def _heap_bytes(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    return len(value) if isinstance(value, bytes) else 0


def _twice(items: Iterable[T]) -> list[T]:
    """What comes more than once, each once."""
    return [item for item, count in Counter(items).items() if count > 1]
