"""The entry module of a projector's component: world packed-projector-plugin."""

from __future__ import annotations

from typing import Any

import plugin
from wit_world.imports import tables as wit_tables
from wit_world.imports import types as wit

from . import guest
from .decimals import canonical, parse
from .entry import find_plugin
from .projector import Prepared, Projector, descriptor
from .schema import NOTHING, JsonText, Key, Micros, Row, TableSchema, Value
from .traces import Failure
from .warm import warm

_TO_WIT: dict[type, Any] = {
    type(None): lambda value: wit.Value_Null(),
    bool: wit.Value_Boolean,
    int: wit.Value_Integer,
    float: wit.Value_Real,
    str: wit.Value_Text,
    bytes: wit.Value_Bytes,
    Micros: lambda value: wit.Value_Timestamp(int(value)),
    JsonText: lambda value: wit.Value_Json(str.__str__(value)),
}
_OF_WIT: dict[Any, Any] = {
    wit.Value_Decimal: parse,
    wit.Value_Timestamp: Micros,
    wit.Value_Json: JsonText,
}


def _to_wit(value: Value) -> Any:
    make = _TO_WIT.get(type(value))
    return wit.Value_Decimal(canonical(value)) if make is None else make(value)  # type: ignore[arg-type]


def _of_wit(value: Any) -> Value:
    if type(value) is wit.Value_Null:
        return None
    make = _OF_WIT.get(type(value))
    plain: Value = value.value
    return plain if make is None else make(plain)


def _table(schema: TableSchema) -> Any:
    columns = []
    for column in schema.columns:
        kind = column.kind
        of_kind = getattr(wit, f"ColumnType_{kind.name.capitalize()}")
        made = of_kind(kind.scale) if kind.name == "decimal" else of_kind()
        initial = None if column.initial is NOTHING else _to_wit(column.initial)
        columns.append(wit.Column(column.name, made, column.nullable, initial))
    return wit.TableSchema(schema.name, columns, list(schema.primary_key), [list(i) for i in schema.indexes])


class _Sandbox:
    """The host, as its imports are called."""

    def apply(self, changes: bytes) -> None:
        wit_tables.apply(changes)

    def read(self, reads: bytes) -> bytes:
        answers: bytes = wit_tables.read(reads)
        return answers

    def find(self, table: int, index: int, prefix: Key, after: Key | None, limit: int) -> list[Row]:
        behind = None if after is None else [_to_wit(value) for value in after]
        rows = wit_tables.find(table, index, [_to_wit(value) for value in prefix], behind, limit)
        return [[_of_wit(value) for value in row] for row in rows]


_projector: Any = find_plugin(plugin)
assert issubclass(_projector, Projector)
_prepared = Prepared(_projector)
_declared = descriptor(_projector)
_descriptor = wit.Descriptor(
    _declared.name,
    _declared.version,
    [wit.Subscription(s.event_type, s.stream_type, list(s.schema_versions)) for s in _declared.subscriptions],
    [_table(table) for table in _declared.tables],
    list(_declared.options),
)


class PackedProjector:
    """The exports."""

    def describe(self) -> Any:
        """What the projector says of itself."""
        return _descriptor

    def project(self, events: bytes) -> bytes:
        """One call."""
        try:
            return _prepared.run(events, _Sandbox())
        except Failure as failure:
            raise guest.failed(failure) from None


warm()
guest.prepare()
