//! What a projector may declare, and what is refused.

use lamphouse_contract::semantics::check;
use lamphouse_contract::{ColumnType, Descriptor, Subscription, TableSchema, Value};
use serde_json::{Value as Json, json};

use crate::json::{golden, text};
use crate::rules::{table_to_json, things};

fn subscription(
    event_type: Option<&str>,
    stream_type: Option<&str>,
    schema_versions: &[u32],
) -> Subscription {
    Subscription {
        event_type: event_type.map(str::to_owned),
        stream_type: stream_type.map(str::to_owned),
        schema_versions: schema_versions.to_vec(),
    }
}

fn plugin() -> Descriptor {
    Descriptor {
        name: "things".into(),
        version: "1.0.0".into(),
        subscriptions: vec![subscription(Some("ThingMade"), None, &[])],
        tables: vec![things()],
        options: vec![],
    }
}

/// The plugin above with something else about it.
fn with(change: impl FnOnce(&mut Descriptor)) -> Descriptor {
    let mut plugin = plugin();
    change(&mut plugin);
    plugin
}

fn named(name: &str) -> Descriptor {
    with(|plugin| plugin.name = name.into())
}

fn version(version: &str) -> Descriptor {
    with(|plugin| plugin.version = version.into())
}

fn subscribed(subscriptions: Vec<Subscription>) -> Descriptor {
    with(|plugin| plugin.subscriptions = subscriptions)
}

fn table(change: impl FnOnce(&mut TableSchema)) -> Descriptor {
    with(|plugin| change(&mut plugin.tables[0]))
}

fn column_named(name: &str) -> Descriptor {
    table(|table| table.columns[2].name = name.into())
}

fn some_plugins() -> Vec<Descriptor> {
    let long = "n".repeat(48);
    vec![
        plugin(),
        named("order-summary_2"),
        named(&long),
        named(&format!("{long}n")),
        named(""),
        named("Orders"),
        named("2orders"),
        named("größe"),
        named("lamphouse-orders"),
        named("sqlite_orders"),
        named("pg_orders"),
        named("orders__g7"),
        version(""),
        version("1 0"),
        version(&"1".repeat(64)),
        version(&"1".repeat(65)),
        subscribed(vec![]),
        subscribed(vec![subscription(None, None, &[])]),
        subscribed(vec![
            subscription(Some("A"), Some("order"), &[1, 2]),
            subscription(None, Some("order"), &[]),
        ]),
        subscribed(vec![subscription(Some(""), None, &[])]),
        subscribed(vec![subscription(Some("A"), None, &[0])]),
        subscribed(vec![subscription(Some(&"A".repeat(257)), None, &[])]),
        with(|plugin| plugin.tables.clear()),
        with(|plugin| plugin.tables.push(things())),
        table(|table| table.name = "order-lines".into()),
        table(|table| table.columns.clear()),
        column_named("Flag"),
        column_named("flag 2"),
        column_named("rowid"),
        column_named("count"),
        table(|table| table.columns[5].kind = ColumnType::Decimal(38)),
        table(|table| table.columns[5].kind = ColumnType::Decimal(39)),
        table(|table| table.primary_key = vec![]),
        table(|table| table.primary_key = vec![0, 0]),
        table(|table| table.primary_key = vec![0, 11]),
        table(|table| table.primary_key = vec![5]),
        table(|table| {
            table.columns[5].initial = None;
            table.primary_key = vec![5];
        }),
        table(|table| table.columns[0].nullable = true),
        table(|table| table.columns[0].initial = Some(text("x"))),
        table(|table| table.columns[0].kind = ColumnType::Real),
        table(|table| table.columns[0].kind = ColumnType::Json),
        table(|table| table.columns[0].kind = ColumnType::Bytes),
        table(|table| table.indexes = vec![vec![]]),
        table(|table| table.indexes = vec![vec![6, 6]]),
        table(|table| table.indexes = vec![vec![11]]),
        table(|table| table.indexes = vec![vec![9]]),
        table(|table| table.indexes = vec![vec![6], vec![6]]),
        table(|table| table.indexes = vec![vec![6], vec![6, 4]]),
        table(|table| table.columns[3].initial = Some(text("0"))),
        table(|table| table.columns[3].initial = Some(Value::Null)),
        table(|table| table.columns[2].initial = Some(Value::Null)),
        table(|table| table.columns[6].initial = Some(text(&"x".repeat(10_001)))),
    ]
}

fn to_json(plugin: &Descriptor) -> Json {
    let subscriptions = plugin.subscriptions.iter().map(|subscription| {
        json!({
            "event_type": subscription.event_type,
            "stream_type": subscription.stream_type,
            "schema_versions": subscription.schema_versions,
        })
    });
    json!({
        "name": plugin.name,
        "version": plugin.version,
        "subscriptions": subscriptions.collect::<Json>(),
        "tables": plugin.tables.iter().map(table_to_json).collect::<Json>(),
    })
}

#[test]
fn declarations_are_refused_as_the_golden_file_says() {
    let made = some_plugins()
        .iter()
        .map(|plugin| json!({"plugin": to_json(plugin), "errors": check(plugin)}))
        .collect();
    let vectors = golden("declarations.json", &made);
    let refused = vectors
        .iter()
        .filter(|vector| vector["errors"] != json!([]))
        .count();
    assert!(refused > 20 && refused + 8 < vectors.len(), "{refused}");
}
