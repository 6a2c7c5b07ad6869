//! What a guest can declare that the host must not take, or must take with care (`wicked=…`).

use super::column;
use super::lamphouse::plugin::types::{ColumnType, Descriptor, Value};

/// Words that SQL keeps for itself, on one database here or on both.
const RESERVED: [&str; 24] = [
    "select",
    "from",
    "where",
    "group",
    "order",
    "user",
    "table",
    "primary",
    "default",
    "null",
    "true",
    "end",
    "limit",
    "check",
    "grant",
    "offset",
    "values",
    "window",
    "all",
    "index",
    "current_date",
    "to",
    "as",
    "system_user",
];

/// Makes what is declared wicked; anything but the words below leaves it as it is.
pub(super) fn twist(descriptor: &mut Descriptor, how: &str) {
    let text = |name: &str| column(name, ColumnType::Text, true, None);
    let long = || "long".repeat(250_000);
    let table = &mut descriptor.tables[0];
    match how {
        "quote" => table.columns[1].name = "no\"te".into(),
        "apostrophe" => table.columns[1].name = "no'te".into(),
        "semicolon" => table.columns[1].name = "note; DROP TABLE events".into(),
        "nul" => table.columns[1].name = "no\0te".into(),
        "newline" => table.name = "pup\npet\u{1b}[2J".into(),
        "quoted-table" => table.name = "\"events\"; DROP TABLE events --".into(),
        "long-name" => descriptor.name = long(),
        "long-version" => descriptor.version = long(),
        "long-table" => table.name = long(),
        "long-column" => table.columns[1].name = long(),
        "long-option" => descriptor.options.push((long(), long())),
        "many-options" => descriptor.options = vec![("speed".into(), "high".into()); 10_000],
        "many-columns" => table.columns.extend((0..2_000).map(|n| text(&format!("c{n}")))),
        "many-subscriptions" => descriptor.subscriptions = vec![descriptor.subscriptions[0].clone(); 100_000],
        "nul-event" => descriptor.subscriptions[0].event_type = Some("Put\0".into()),
        "long-event" => descriptor.subscriptions[0].stream_type = Some(long()),
        "many-wrong-columns" => table.columns = vec![text("No Name"); 200],
        "many-tables" => descriptor.tables = vec![table.clone(); 2_000],
        "many-indexes" => table.indexes = vec![vec![1]; 2_000],
        "wide-index" => table.indexes = vec![vec![1; 100_000]],
        "wide-key" => table.primary_key = (0..6).chain(0..6).collect(),
        "real-key" => table.columns[0].kind = ColumnType::Real,
        "json-index" => table.columns[1].kind = ColumnType::Json,
        "scale" => table.columns[3].kind = ColumnType::Decimal(255),
        "initial-nan" => {
            table.columns[3].kind = ColumnType::Real;
            table.columns[3].initial = Some(Value::Real(f64::NAN));
        }
        "initial-word" => {
            table.columns[1].name = long();
            table.columns[1].initial = Some(Value::Decimal("x".repeat(1_000_000)));
        }
        "initial-long" => table.columns[1].initial = Some(Value::Text("x".repeat(100_000))),
        "initial-type" => table.columns[2].initial = Some(Value::Text("x".repeat(9_000))),
        "initial-deep" => {
            table.columns[1].kind = ColumnType::Json;
            table.columns[1].initial = Some(Value::Json("[".repeat(9_000)));
        }
        // Well-formed names all: these have to work.
        "reserved" => {
            table
                .columns
                .extend(RESERVED.map(|word| column(word, ColumnType::Text, true, None)));
            table.columns[7].nullable = false;
            table.columns[7].initial = Some(Value::Text("from here".into()));
            table.indexes.push(vec![6, 7]);
        }
        _ => {}
    }
}
