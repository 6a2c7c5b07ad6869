"""The golden vectors of wit/golden, which every SDK reads."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lamphouse import check, decimals, packed, timestamps
from lamphouse.decimals import DecimalError
from lamphouse.errors import PackedError, Violation
from lamphouse.event import read_events
from lamphouse.packed import Change
from lamphouse.randomness import Random
from lamphouse.row import Table
from lamphouse.schema import (
    NOTHING,
    Column,
    ColumnType,
    Descriptor,
    JsonText,
    Micros,
    Rule,
    Subscription,
    TableSchema,
    UpcasterDescriptor,
    Value,
)
from lamphouse.testing import apply

GOLDEN = Path(__file__).parents[3] / "wit" / "golden"


def golden(name: str) -> list[Any]:
    vectors: list[Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert vectors
    return vectors


def value_of(vector: dict[str, Any]) -> Value:
    value = vector.get("value")
    match vector["type"]:
        case "null":
            return None
        case "integer":
            return int(value)  # type: ignore[arg-type]
        case "real":
            return float(value)  # type: ignore[arg-type]
        case "decimal":
            return decimals.parse(value)  # type: ignore[arg-type]
        case "bytes":
            return bytes.fromhex(value)  # type: ignore[arg-type]
        case "timestamp":
            return Micros(value)  # type: ignore[arg-type]
        case "json":
            return JsonText(value)
        case _:
            return value


def same(one: Any, other: Any) -> bool:
    """Equal, of one type, and, for decimals and reals, to the digit."""
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, Decimal):
        return decimals.canonical(one) == decimals.canonical(other)
    return (
        struct.pack(">d", one) == struct.pack(">d", other) if isinstance(one, float) else bool(one == other)
    )


def values_of(vectors: list[Any]) -> tuple[Value, ...]:
    return tuple(map(value_of, vectors))


def change_of(vector: dict[str, Any]) -> Change:
    ((operation, body),) = vector.items()
    cells = tuple(
        (cell["column"], "add" in cell, value_of(cell["add"] if "add" in cell else cell["set"]))
        for cell in body.get("cells", [])
    )
    row, key = values_of(body.get("row", [])), values_of(body.get("key", []))
    return Change(operation, body["table"], row=row, key=key, cells=cells)


def table_of(vector: dict[str, Any]) -> TableSchema:
    columns = tuple(
        Column(
            column["name"],
            ColumnType(column["type"], column["scale"] or 0),
            column["nullable"],
            NOTHING if column["initial"] is None else value_of(column["initial"]),
        )
        for column in vector["columns"]
    )
    indexes = tuple(map(tuple, vector["indexes"]))
    return TableSchema(vector["name"], columns, tuple(vector["primary_key"]), indexes)


def schema_of(vector: dict[str, Any]) -> tuple[str, int]:
    return vector["event_type"], vector["schema_version"]


@pytest.mark.parametrize("vector", golden("values"), ids=lambda vector: str(vector["value"])[:60])
def test_values(vector: dict[str, Any]) -> None:
    value, hexed = value_of(vector["value"]), bytes.fromhex(vector["hex"])
    out = bytearray()
    packed.write_value(out, value)
    assert out == hexed
    back, end = packed.read_value(hexed, 0)
    assert same(back, value) and end == len(hexed)
    with pytest.raises(PackedError):
        packed.read_value(hexed[:-1], 0)


def test_events() -> None:
    vectors = golden("events")
    events = read_events(b"".join(bytes.fromhex(vector["hex"]) for vector in vectors))
    for event, vector in zip(events, vectors, strict=True):
        fields = vector["event"]
        assert fields == {
            "position": str(event.position),
            "part": event.part,
            "id": event.id,
            "stream_id": event.stream_id,
            "stream_type": event.stream_type,
            "stream_version": str(event.stream_version),
            "event_type": event.event_type,
            "schema_version": event.schema_version,
            "data": event.data_json,
            "metadata": event.metadata_json,
            "occurred_at": str(timestamps.from_datetime(event.occurred_at)),
            "recorded_at": str(timestamps.from_datetime(event.recorded_at)),
        }
        out = bytearray()
        numbers = ("position", "part", "stream_version", "schema_version", "occurred_at", "recorded_at")
        packed.write_event(out, [int(text) if name in numbers else text for name, text in fields.items()])
        assert out.hex() == vector["hex"]


def test_events_that_are_cut_are_refused() -> None:
    for vector in golden("events"):
        whole = bytes.fromhex(vector["hex"])
        for length in range(1, len(whole)):
            with pytest.raises(PackedError):
                read_events(whole[:length])


@pytest.mark.parametrize("vector", golden("changes"), ids=lambda vector: next(iter(vector["change"])))
def test_changes(vector: dict[str, Any]) -> None:
    change = change_of(vector["change"])
    out = bytearray()
    packed.write_change(out, change)
    assert out.hex() == vector["hex"]
    (back,) = packed.read_changes(bytes(out))
    assert (back.operation, back.table) == (change.operation, change.table)
    assert same([back.row, back.key, back.cells], [change.row, change.key, change.cells])


def test_reads() -> None:
    for vector in golden("reads"):
        table, key = vector["read"]["table"], values_of(vector["read"]["key"])
        out = bytearray()
        packed.write_read(out, table, key)
        assert out.hex() == vector["hex"]
        assert list(packed.read_reads(bytes(out))) == [(table, key)]
        answer = bytes.fromhex(vector["answer_hex"])
        (row,) = packed.read_answers(answer)
        assert row is None if vector["answer"] is None else same(row, list(values_of(vector["answer"])))
        out = bytearray()
        packed.write_answer(out, row)
        assert out == answer


def test_lifted() -> None:
    for vector in golden("lifted"):
        out = bytearray()
        packed.write_lifted(out, [tuple(entries.values()) for entries in vector["lifted"]])
        assert out.hex() == vector["hex"]
        (back,) = packed.read_lifted(bytes(out))
        assert back == [list(entries.values()) for entries in vector["lifted"]]


RULES = golden("rules")


@pytest.mark.parametrize("vector", RULES[1:], ids=lambda vector: str(vector.get("fault", "rows"))[:60])
def test_rules(vector: dict[str, Any]) -> None:
    table = Table(table_of(RULES[0]["table"]), object)
    rows = {table.semantics.key_of(row): list(row) for row in map(values_of, RULES[0]["rows"])}
    change = change_of(vector["change"])
    if "fault" in vector:
        with pytest.raises(Violation):
            apply([table], [rows], change)
    else:
        apply([table], [rows], change)
        found = [row for _, row in sorted(rows.items(), key=lambda item: item[0])]
        assert same(found, [list(values_of(row)) for row in vector["rows"]])


@pytest.mark.parametrize("vector", golden("declarations"), ids=lambda vector: str(vector["errors"])[:70])
def test_declarations(vector: dict[str, Any]) -> None:
    plugin = vector["plugin"]
    if "rules" in plugin:
        rules = tuple(Rule(schema_of(r["takes"]), tuple(map(schema_of, r["gives"]))) for r in plugin["rules"])
        errors = check.check_upcaster(UpcasterDescriptor(plugin["name"], plugin["version"], rules))
    else:
        subscriptions = tuple(
            Subscription(s["event_type"], s["stream_type"], tuple(s["schema_versions"]))
            for s in plugin["subscriptions"]
        )
        tables = tuple(map(table_of, plugin["tables"]))
        errors = check.check(Descriptor(plugin["name"], plugin["version"], subscriptions, tables))
    assert bool(errors) == bool(vector["errors"]), (errors, vector["errors"])


@pytest.mark.parametrize("vector", golden("decimals"), ids=str)
def test_decimals(vector: dict[str, Any]) -> None:
    wanted = vector["is"]
    if "compare" in vector:
        one, other = map(decimals.parse, vector["compare"])
        assert (one > other) - (one < other) == wanted
        return
    try:
        if "parse" in vector:
            found = decimals.parse(vector["parse"])
        elif "rescale" in vector:
            text, scale = vector["rescale"]
            found = decimals.rescaler(scale)(decimals.parse(text))
        elif "add" in vector:
            one, other = map(decimals.parse, vector["add"])
            rescale = decimals.rescaler(max(_scale(one), _scale(other)))
            found = decimals.add(rescale(one), rescale(other))
        else:
            one, times = decimals.parse(vector["times"][0]), int(vector["times"][1])
            with decimals.arithmetic():
                product = one * times
            found = decimals.rescaler(_scale(one))(product)
    except DecimalError:
        assert wanted is None
    else:
        assert decimals.canonical(found) == wanted


def _scale(number: Decimal) -> int:
    return -int(number.as_tuple().exponent)


@pytest.mark.parametrize("vector", golden("timestamps"), ids=lambda vector: vector["text"])
def test_timestamps(vector: dict[str, Any]) -> None:
    if vector["micros"] is None:
        with pytest.raises(ValueError, match="no RFC 3339 timestamp"):
            timestamps.parse(vector["text"])
        return
    micros = timestamps.parse(vector["text"])
    assert micros == int(vector["micros"])
    assert timestamps.text(micros) == vector["canonical"]
    assert timestamps.from_datetime(timestamps.to_datetime(micros)) == micros


def test_random() -> None:
    for vector in golden("random"):
        random = Random(vector["id"], vector["part"])
        assert [str(random.next_u64()) for _ in vector["next_u64"]] == vector["next_u64"]
        assert [random.below(6) for _ in vector["below_6"]] == vector["below_6"]
        assert str(random.below(1 << 63)) == vector["below_2_to_the_63"]
        assert random.below(0) == vector["below_0"]
        assert random.fraction() == vector["fraction"]
        assert random.uuid() == vector["uuid"]


def test_the_contract_is_the_one_of_this_repository() -> None:
    own = Path(check.__file__).parent / "wit" / "lamphouse.wit"
    assert own.read_text(encoding="utf-8") == (GOLDEN.parent / "lamphouse.wit").read_text(encoding="utf-8")
