//! What changes make of rows, and which ones fault.

use lamphouse_contract::semantics::{self, Violation};
use lamphouse_contract::{Cell, CellChange, Change, Column, ColumnType, Key, Row, TableSchema, Value};
use serde_json::{Value as Json, json};

use crate::json::{change_to_json, decimal, golden, text, to_json, values_to_json};

/// A table with every kind of column.
pub(crate) fn things() -> TableSchema {
    let column = |name: &str, kind, nullable, initial| Column {
        name: name.into(),
        kind,
        nullable,
        initial,
    };
    TableSchema {
        name: "things".into(),
        columns: vec![
            column("id", ColumnType::Text, false, None),
            column("part", ColumnType::Integer, false, None),
            column("flag", ColumnType::Boolean, true, None),
            column("count", ColumnType::Integer, false, Some(Value::Integer(0))),
            column("weight", ColumnType::Real, true, Some(Value::Real(0.5))),
            column("total", ColumnType::Decimal(2), false, Some(Value::Integer(1))),
            column("name", ColumnType::Text, false, None),
            column("raw", ColumnType::Bytes, true, None),
            column("seen", ColumnType::Timestamp, true, None),
            column("more", ColumnType::Json, true, None),
            column("sums", ColumnType::Integer, true, None),
        ],
        primary_key: vec![0, 1],
        indexes: vec![vec![6], vec![2, 3]],
    }
}

/// The row that all changes begin with.
fn row() -> Row {
    [
        text("a"),
        Value::Integer(1),
        Value::Null,
        Value::Integer(9_007_199_254_740_993),
        Value::Real(1.25),
        decimal("10.00"),
        text("one"),
        Value::Null,
        Value::Timestamp(0),
        Value::Null,
        Value::Null,
    ]
    .into()
}

fn key(part: i64) -> Key {
    [text("a"), Value::Integer(part)].into()
}

fn set(column: u32, value: Value) -> Cell {
    Cell {
        column,
        change: CellChange::Set(value),
    }
}

fn add(column: u32, value: Value) -> Cell {
    Cell {
        column,
        change: CellChange::Add(value),
    }
}

fn patch(cells: Vec<Cell>) -> Change {
    Change::Patch {
        table: 0,
        key: key(1),
        cells,
    }
}

fn upsert(part: i64, cells: Vec<Cell>) -> Change {
    Change::Upsert {
        table: 0,
        key: key(part),
        cells,
    }
}

/// The row above with one value in another's place.
fn put(column: usize, value: Value) -> Change {
    let mut row = row();
    row[column] = value;
    Change::Put { table: 0, row }
}

fn some_changes() -> Vec<Change> {
    let integer = Value::Integer;
    let stamp = Value::Timestamp;
    let json = |text: &str| Value::Json(text.into());
    let named = set(6, text("new"));
    vec![
        // Whole rows.
        put(6, text("two")),
        put(5, integer(7)),
        put(5, decimal("7.5")),
        put(5, decimal("7.500")),
        put(5, decimal("7.505")),
        put(5, decimal(&"9".repeat(38))),
        put(5, integer(i64::MAX)),
        put(4, Value::Real(-0.0)),
        put(4, integer(1)),
        put(3, Value::Real(1.0)),
        put(3, decimal("1")),
        put(3, integer(i64::MIN)),
        put(3, Value::Null),
        put(2, integer(1)),
        put(2, Value::Boolean(true)),
        put(6, Value::Null),
        put(6, text("a\0b")),
        put(6, text(&"n".repeat(2_000))),
        put(6, text(&"n".repeat(2_001))),
        put(0, text(&"k".repeat(992))),
        put(0, text(&"k".repeat(993))),
        put(0, Value::Null),
        put(0, integer(1)),
        put(7, Value::Bytes([0, 255].into())),
        put(7, text("00ff")),
        put(8, stamp(-62_135_596_800_000_000)),
        put(8, stamp(-62_135_596_800_000_001)),
        put(8, stamp(253_402_300_799_999_999)),
        put(8, stamp(253_402_300_800_000_000)),
        put(8, integer(0)),
        put(9, json("{\"a\": [1, null]}")),
        put(9, json("{a: 1}")),
        put(9, json("")),
        put(9, json("1 2")),
        put(9, json("\"\\u0000\"")),
        put(9, text("{}")),
        Change::Put {
            table: 0,
            row: row()[..10].into(),
        },
        // Cells of a row that is there.
        patch(vec![]),
        patch(vec![
            set(6, text("two")),
            add(3, integer(1)),
            add(5, decimal("0.05")),
        ]),
        patch(vec![add(3, integer(-9_007_199_254_740_994))]),
        patch(vec![add(3, integer(i64::MAX))]),
        patch(vec![add(3, decimal("1"))]),
        patch(vec![add(3, Value::Null)]),
        patch(vec![add(3, Value::Real(1.0))]),
        patch(vec![add(4, Value::Real(0.1))]),
        patch(vec![add(4, integer(1))]),
        patch(vec![add(5, integer(-3))]),
        patch(vec![add(5, decimal("0.005"))]),
        patch(vec![add(5, decimal("0.500"))]),
        patch(vec![add(5, decimal(&"9".repeat(36)))]),
        patch(vec![add(6, text("x"))]),
        patch(vec![add(8, stamp(1))]),
        patch(vec![add(10, integer(5))]),
        patch(vec![add(10, integer(5)), set(2, Value::Null)]),
        patch(vec![set(10, Value::Null)]),
        patch(vec![set(3, Value::Null)]),
        patch(vec![set(0, text("b"))]),
        patch(vec![set(3, integer(1)), add(3, integer(1))]),
        patch(vec![set(11, integer(1))]),
        Change::Patch {
            table: 0,
            key: key(2),
            cells: vec![set(6, text("two"))],
        },
        Change::Patch {
            table: 0,
            key: [text("a")].into(),
            cells: vec![],
        },
        Change::Patch {
            table: 0,
            key: [integer(1), text("a")].into(),
            cells: vec![],
        },
        // A row that may not be there.
        upsert(1, vec![add(3, integer(1))]),
        upsert(2, vec![named.clone()]),
        upsert(
            2,
            vec![
                named.clone(),
                add(3, integer(2)),
                add(5, decimal("0.25")),
                add(4, Value::Real(0.25)),
                add(10, integer(-1)),
            ],
        ),
        upsert(2, vec![add(3, integer(1))]),
        upsert(2, vec![named, set(8, stamp(1))]),
        // Gone, or never there.
        Change::Remove {
            table: 0,
            key: key(1),
        },
        Change::Remove {
            table: 0,
            key: key(2),
        },
        Change::Remove {
            table: 0,
            key: [Value::Null, integer(1)].into(),
        },
    ]
}

/// The rows after one change of a table that holds one row.
fn after(table: &TableSchema, before: &Row, change: Change) -> Result<Vec<Row>, Violation> {
    let of = |key: &Key| (semantics::key_of(table, before) == *key).then_some(before);
    let (kept, changed) = match change {
        Change::Put { row, .. } => {
            let row = semantics::conform_row(table, row)?;
            (of(&semantics::key_of(table, &row)).is_none(), Some(row))
        }
        Change::Patch { key, cells, .. } => {
            let key = semantics::conform_key(table, key)?;
            let mut row = of(&key)
                .cloned()
                .ok_or_else(|| Violation("there is no such row".into()))?;
            semantics::patch(table, &mut row, cells)?;
            (false, Some(row))
        }
        Change::Upsert { key, cells, .. } => {
            let key = semantics::conform_key(table, key)?;
            (
                of(&key).is_none(),
                Some(semantics::upsert(table, of(&key), &key, cells)?),
            )
        }
        Change::Remove { key, .. } => (of(&semantics::conform_key(table, key)?).is_none(), None),
    };
    Ok(kept.then(|| before.clone()).into_iter().chain(changed).collect())
}

pub(crate) fn table_to_json(table: &TableSchema) -> Json {
    let column = |column: &Column| {
        let (kind, scale) = match column.kind {
            ColumnType::Decimal(scale) => ("decimal".to_owned(), Some(scale)),
            kind => (semantics::type_name(kind), None),
        };
        json!({
            "name": column.name, "type": kind, "scale": scale, "nullable": column.nullable,
            "initial": column.initial.as_ref().map(to_json),
        })
    };
    json!({
        "name": table.name,
        "columns": table.columns.iter().map(column).collect::<Json>(),
        "primary_key": table.primary_key,
        "indexes": table.indexes,
    })
}

#[test]
fn changes_make_rows_as_the_golden_file_says() {
    let (table, before) = (things(), row());
    let mut made = vec![json!({"table": table_to_json(&table), "rows": [values_to_json(&before)]})];
    made.extend(some_changes().into_iter().map(|change| {
        let written = change_to_json(&change);
        match after(&table, &before, change) {
            Ok(rows) => json!({"change": written, "rows": rows.iter().map(|row| values_to_json(row)).collect::<Json>()}),
            Err(fault) => json!({"change": written, "fault": fault.0}),
        }
    }));
    let vectors = golden("rules.json", &made.into());
    assert!(vectors.iter().any(|vector| vector["fault"].is_string()));
}
