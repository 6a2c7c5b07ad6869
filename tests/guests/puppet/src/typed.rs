use core::sync::atomic::{AtomicU32, Ordering};

use crate::{misbehave, script};

mod evil;
mod wicked;

wit_bindgen::generate!({ path: "../../../wit", world: "projector-plugin" });

use exports::lamphouse::plugin::projector::Guest;
use lamphouse::plugin::log::{self, Level};
use lamphouse::plugin::tables;
use lamphouse::plugin::types::{
    Cell, CellChange, Column, ColumnType, Descriptor, Event, Failure, Subscription, TableSchema, Value,
};

struct Puppet;

export!(Puppet);

fn say(text: &str) {
    log::write(Level::Error, text);
}

static DESCRIBED: AtomicU32 = AtomicU32::new(0);

impl Guest for Puppet {
    fn describe() -> Descriptor {
        crate::report_panics(say);
        let times = DESCRIBED.fetch_add(1, Ordering::Relaxed);
        match script::get("describe").as_str() {
            "trap" => misbehave::trap(),
            "panic" => panic!("describe has nothing to say"),
            "spin" => misbehave::spin(),
            "recurse" => drop(misbehave::recurse(0)),
            "eat" => misbehave::eat_memory(),
            "read" => drop(tables::get(0, &[Value::Text("1".into())])),
            _ => {}
        }
        let version = match script::is("describe", "disagree") {
            true => format!("{}.{times}", script::get("version")),
            false => script::get("version"),
        };
        describe(version)
    }

    fn project(events: Vec<Event>) -> Result<(), Failure> {
        crate::report_panics(say);
        match script::get("project").as_str() {
            "trap" => misbehave::trap(),
            "panic" => panic!("version {} cannot project", script::get("version")),
            "spin" => misbehave::spin(),
            "fail" => return Err(failure(None, "version says no")),
            "boundary" => {
                events.iter().for_each(|event| evil::count(event, events.len()));
                return Ok(());
            }
            "hash" => {
                events
                    .iter()
                    .for_each(|event| evil::note(event, &evil::hash_order()));
                return Ok(());
            }
            "leak" => {
                let leaked = evil::leaks();
                events.iter().for_each(|event| evil::note(event, &leaked));
                return Ok(());
            }
            "record" => {
                events.iter().for_each(record);
                return Ok(());
            }
            _ => {}
        }
        events
            .iter()
            .enumerate()
            .try_for_each(|(index, event)| project(index as u32, event))
    }
}

fn failure(index: Option<u32>, message: &str) -> Failure {
    Failure {
        index,
        message: message.into(),
        trace: "puppet::project".into(),
    }
}

fn column(name: &str, kind: ColumnType, nullable: bool, initial: Option<Value>) -> Column {
    Column {
        name: name.into(),
        kind,
        nullable,
        initial,
    }
}

/// `puppet(id text key, note text null, count integer 0, amount decimal(2) 0, stamp text, at timestamp null)`, by
/// default; with `index 0 (note)`.
fn describe(version: String) -> Descriptor {
    let mut columns = vec![
        column("id", ColumnType::Text, false, None),
        column("note", ColumnType::Text, true, None),
        column("count", ColumnType::Integer, false, Some(Value::Integer(0))),
        column(
            "amount",
            ColumnType::Decimal(2),
            false,
            Some(Value::Decimal("0".into())),
        ),
        column(
            "stamp",
            ColumnType::Text,
            false,
            Some(Value::Text(script::get("stamp"))),
        ),
        column("at", ColumnType::Timestamp, true, None),
    ];
    if !script::get("extra").is_empty() {
        columns.push(column(&script::get("extra"), ColumnType::Text, true, None));
    }
    if script::is("count", "text") {
        columns[2] = column("count", ColumnType::Text, false, Some(Value::Text("0".into())));
    }
    let indexes = match script::is("index", "none") {
        true => vec![],
        false => vec![vec![1]],
    };
    let key = script::get("key").parse().unwrap_or(0);
    let table = TableSchema {
        name: script::get("table"),
        columns,
        primary_key: vec![key],
        indexes,
    };
    let mut tables = vec![table.clone()];
    for name in script::get("more_tables")
        .split(',')
        .filter(|name| !name.is_empty())
    {
        tables.push(TableSchema {
            name: name.into(),
            ..table.clone()
        });
    }
    let subscription = |event_type: Option<String>| Subscription {
        event_type,
        stream_type: None,
        schema_versions: vec![],
    };
    let subscriptions = match script::get("events").as_str() {
        "" => vec![subscription(None)],
        "none" => vec![],
        list => list
            .split(',')
            .map(|name| subscription(Some(name.into())))
            .collect(),
    };
    if !script::get("kinds").is_empty() {
        tables.push(kinds());
    }
    let options = script::get("options");
    let options = options.split(',').filter_map(|pair| pair.split_once(':'));
    let mut descriptor = Descriptor {
        name: script::get("name"),
        version,
        subscriptions,
        tables,
        options: options
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    wicked::twist(&mut descriptor, &script::get("wicked"));
    descriptor
}

/// Table 1 of a puppet with `kinds=NAME`: a column of each type that the first table has not.
fn kinds() -> TableSchema {
    TableSchema {
        name: script::get("kinds"),
        columns: vec![
            column("id", ColumnType::Text, false, None),
            column("ratio", ColumnType::Real, true, None),
            column("amount", ColumnType::Decimal(2), true, None),
            column("doc", ColumnType::Json, true, None),
            column("blob", ColumnType::Bytes, true, None),
            column("at", ColumnType::Timestamp, true, None),
            column("n", ColumnType::Integer, true, None),
        ],
        primary_key: vec![0],
        indexes: vec![],
    }
}

fn row(event: &Event) -> Vec<Value> {
    let mut row = vec![
        Value::Text(event.stream_id.clone()),
        Value::Text(event.data.clone()),
        Value::Integer(event.stream_version as i64),
        Value::Decimal("1.5".into()),
        Value::Text(script::get("stamp")),
        Value::Timestamp(event.occurred_at),
    ];
    if script::is("count", "text") {
        row[2] = Value::Text(event.stream_version.to_string());
    }
    if !script::get("extra").is_empty() {
        row.push(Value::Text(script::get("version")));
    }
    row
}

/// A row for each event that came, in the order of the log: position and part, then what it was. The event's id is the
/// stamp, and its metadata the extra column.
fn record(event: &Event) {
    let mut row = row(event);
    row[0] = Value::Text(format!("{:09}.{:03}", event.position, event.part));
    row[1] = Value::Text(format!(
        "{} {} {} {}",
        event.stream_id, event.event_type, event.schema_version, event.data
    ));
    row[4] = Value::Text(event.id.clone());
    if let Some(extra) = row.get_mut(6) {
        *extra = Value::Text(event.metadata.clone());
    }
    tables::put(0, &row);
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

fn project(index: u32, event: &Event) -> Result<(), Failure> {
    let key = [Value::Text(event.stream_id.clone())];
    match event.event_type.as_str() {
        "Put" => tables::put(0, &row(event)),
        "Count" => tables::upsert(
            0,
            &key,
            &[add(2, Value::Integer(1)), add(3, Value::Decimal("0.25".into()))],
        ),
        "Patch" => tables::patch(0, &key, &[set(1, Value::Text(event.data.clone()))]),
        "Remove" => tables::remove(0, &key),
        "GetAfterPut" => {
            tables::put(0, &row(event));
            let found = tables::get(0, &key).expect("a row that was just put");
            let many = tables::get_many(0, &[key.to_vec(), vec![Value::Text("no such row".into())]]);
            assert_eq!(
                (found.len(), many[0].is_some(), many[1].is_none()),
                (row(event).len(), true, true)
            );
            tables::patch(0, &key, &[set(1, Value::Text(format!("read {found:?}")))]);
        }
        "GetAThousandTimes" => {
            let key = vec![Value::Text(event.data.clone())];
            drop(tables::get_many(0, &vec![key; 1000]));
        }
        "Find" => {
            let found = tables::find(0, 0, &[Value::Text(event.data.clone())], None, 1000);
            tables::upsert(0, &key, &[set(2, Value::Integer(found.len() as i64))]);
        }
        "Spin" => misbehave::spin(),
        "SpinCalling" => loop {
            tables::get(0, &key);
        },
        "EatMemory" => misbehave::eat_memory(),
        "Recurse" => drop(misbehave::recurse(0)),
        "RecurseInMemory" => drop(misbehave::recurse_in_memory(0)),
        "Trap" => misbehave::trap(),
        "Panic" => panic!("the puppet panics: {}", event.data),
        "Fail" => return Err(failure(Some(index), &event.data)),
        "FailWithoutIndex" => return Err(failure(None, &event.data)),
        "MillionChanges" => {
            for n in 0..1_000_000_u32 {
                tables::upsert(0, &[Value::Text(n.to_string())], &[add(2, Value::Integer(1))]);
            }
        }
        "HugeRow" => {
            let mut row = row(event);
            row[1] = Value::Text("x".repeat(8 << 20));
            tables::put(0, &row);
        }
        "UndeclaredTable" => tables::put(7, &row(event)),
        "UndeclaredColumn" => tables::upsert(0, &key, &[set(99, Value::Integer(1))]),
        "WrongType" => tables::upsert(0, &key, &[set(2, Value::Boolean(true))]),
        "WrongDecimal" => tables::upsert(0, &key, &[set(3, Value::Decimal("12,50".into()))]),
        #[cfg(feature = "wasi")]
        "LookAround" => {
            let seen = Value::Text(crate::wasi::look_around());
            tables::upsert(0, &key, &[set(1, seen)]);
        }
        #[cfg(feature = "wasi")]
        "Exit" => crate::wasi::leave(),
        "Log" => log::write(Level::Info, &event.data),
        "FloodLog" => {
            for n in 0..100_000_u32 {
                log::write(Level::Debug, &format!("line {n} {}", "x".repeat(100)));
            }
        }
        // What is not evil either is none of its business.
        other => return evil::project(other, event, &key),
    }
    Ok(())
}
