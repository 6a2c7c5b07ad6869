//! Values, changes and bytes as the golden files write them.

use std::path::PathBuf;

use lamphouse_contract::{Cell, CellChange, Change, Decimal, Value};
use serde_json::{Value as Json, json};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A value as the golden files name it: its type and, as text where a JSON number would not do, what it is.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => json!({"type": "null"}),
        Value::Boolean(value) => json!({"type": "boolean", "value": value}),
        Value::Integer(value) => json!({"type": "integer", "value": value.to_string()}),
        Value::Real(value) => json!({"type": "real", "value": value}),
        Value::Decimal(value) => json!({"type": "decimal", "value": value.to_string()}),
        Value::Text(value) => json!({"type": "text", "value": value}),
        Value::Bytes(value) => json!({"type": "bytes", "value": hex(value)}),
        Value::Timestamp(value) => json!({"type": "timestamp", "value": value.to_string()}),
        Value::Json(value) => json!({"type": "json", "value": value}),
    }
}

pub(crate) fn from_json(json: &Json) -> Value {
    let text = || json["value"].as_str().unwrap();
    match json["type"].as_str().unwrap() {
        "null" => Value::Null,
        "boolean" => Value::Boolean(json["value"].as_bool().unwrap()),
        "integer" => Value::Integer(text().parse().unwrap()),
        "real" => Value::Real(json["value"].as_f64().unwrap()),
        "decimal" => Value::Decimal(Decimal::parse(text()).unwrap()),
        "text" => Value::Text(text().into()),
        "bytes" => Value::Bytes(unhex(text()).into()),
        "timestamp" => Value::Timestamp(text().parse().unwrap()),
        "json" => Value::Json(text().into()),
        other => panic!("type {other} is unknown"),
    }
}

pub(crate) fn values_to_json(values: &[Value]) -> Json {
    values.iter().map(to_json).collect()
}

pub(crate) fn values_from_json(json: &Json) -> Box<[Value]> {
    json.as_array().unwrap().iter().map(from_json).collect()
}

pub(crate) fn change_to_json(change: &Change) -> Json {
    let cells = |cells: &[Cell]| -> Json {
        let cell = |cell: &Cell| match &cell.change {
            CellChange::Set(value) => json!({"column": cell.column, "set": to_json(value)}),
            CellChange::Add(value) => json!({"column": cell.column, "add": to_json(value)}),
        };
        cells.iter().map(cell).collect()
    };
    match change {
        Change::Put { table, row } => json!({"put": {"table": table, "row": values_to_json(row)}}),
        Change::Patch {
            table,
            key,
            cells: list,
        } => {
            json!({"patch": {"table": table, "key": values_to_json(key), "cells": cells(list)}})
        }
        Change::Upsert {
            table,
            key,
            cells: list,
        } => {
            json!({"upsert": {"table": table, "key": values_to_json(key), "cells": cells(list)}})
        }
        Change::Remove { table, key } => json!({"remove": {"table": table, "key": values_to_json(key)}}),
    }
}

pub(crate) fn change_from_json(json: &Json) -> Change {
    let (operation, body) = json.as_object().unwrap().iter().next().unwrap();
    let table = body["table"].as_u64().unwrap() as u32;
    let key = || values_from_json(&body["key"]);
    let cells = || -> Vec<Cell> {
        let cell = |cell: &Json| Cell {
            column: cell["column"].as_u64().unwrap() as u32,
            change: match cell.get("set") {
                Some(value) => CellChange::Set(from_json(value)),
                None => CellChange::Add(from_json(&cell["add"])),
            },
        };
        body["cells"].as_array().unwrap().iter().map(cell).collect()
    };
    match operation.as_str() {
        "put" => Change::Put {
            table,
            row: values_from_json(&body["row"]),
        },
        "patch" => Change::Patch {
            table,
            key: key(),
            cells: cells(),
        },
        "upsert" => Change::Upsert {
            table,
            key: key(),
            cells: cells(),
        },
        "remove" => Change::Remove { table, key: key() },
        other => panic!("operation {other} is unknown"),
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).unwrap())
}

pub(crate) fn golden(name: &str, made: &Json) -> Vec<Json> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../wit/golden")
        .join(name);
    if std::env::var_os("LAMPHOUSE_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let vectors: Vec<String> = made.as_array().unwrap().iter().map(Json::to_string).collect();
        // A vector a line, so that a change of one shows as such.
        std::fs::write(&file, format!("[\n{}\n]\n", vectors.join(",\n"))).unwrap();
    }
    let written: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, *made, "wit/golden/{name} is not what is written today");
    written.as_array().unwrap().clone()
}

pub(crate) fn bytes_of(vector: &Json) -> Vec<u8> {
    unhex(vector["hex"].as_str().unwrap())
}
