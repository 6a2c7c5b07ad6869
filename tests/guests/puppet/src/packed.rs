use lamphouse_contract::{Cell, CellChange, Change, Key, Value, packed};

use crate::{misbehave, script};

wit_bindgen::generate!({ path: "../../../wit", world: "packed-projector-plugin" });

use exports::lamphouse::plugin::packed_projector::Guest;
use lamphouse::plugin::log::{self, Level};
use lamphouse::plugin::tables;
use lamphouse::plugin::types::{Column, ColumnType, Descriptor, Failure, Subscription, TableSchema};

struct Puppet;

export!(Puppet);

fn say(text: &str) {
    log::write(Level::Error, text);
}

impl Guest for Puppet {
    /// `puppet(id text key, count integer 0)`.
    fn describe() -> Descriptor {
        let column = |name: &str, kind| Column {
            name: name.into(),
            kind,
            nullable: false,
            initial: None,
        };
        let id = column("id", ColumnType::Text);
        let mut count = column("count", ColumnType::Integer);
        count.initial = Some(lamphouse::plugin::types::Value::Integer(0));
        Descriptor {
            name: script::get("name"),
            version: script::get("version"),
            subscriptions: vec![Subscription {
                event_type: None,
                stream_type: None,
                schema_versions: vec![],
            }],
            tables: vec![TableSchema {
                name: script::get("table"),
                columns: vec![id, count],
                primary_key: vec![0],
                indexes: vec![],
            }],
            options: vec![],
        }
    }

    fn project(events: Vec<u8>) -> Result<Vec<u8>, Failure> {
        crate::report_panics(say);
        let mut out = Vec::new();
        for (index, event) in packed::events(&events).enumerate() {
            let event = event.map_err(|error| Failure {
                index: Some(index as u32),
                message: format!("{error:?}"),
                trace: String::new(),
            })?;
            project(&event, &mut out);
        }
        Ok(out)
    }
}

fn hexadecimal(text: &str) -> Vec<u8> {
    let digits = text.chars().filter_map(|digit| digit.to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn key(text: &str) -> Key {
    Box::new([Value::Text(text.into())])
}

fn count(text: &str) -> Change {
    let change = CellChange::Add(Value::Integer(1));
    Change::Upsert {
        table: 0,
        key: key(text),
        cells: vec![Cell { column: 1, change }],
    }
}

fn project(event: &packed::Event<'_>, out: &mut Vec<u8>) {
    match event.event_type {
        "Count" => packed::write_change(out, &count(event.stream_id)),
        "ApplyThenRead" => {
            let mut changes = Vec::new();
            packed::write_change(&mut changes, &count(event.stream_id));
            tables::apply(&changes);
            let mut reads = Vec::new();
            packed::write_read(&mut reads, 0, &key(event.stream_id));
            packed::write_read(&mut reads, 0, &key("no such row"));
            let answer = tables::read(&reads);
            let rows: Vec<_> = packed::answers(&answer)
                .map(|row| row.expect("a packed row"))
                .collect();
            log::write(Level::Info, &format!("{rows:?}"));
        }
        "MillionChanges" => {
            for n in 0..1_000_000 {
                packed::write_change(out, &count(&n.to_string()));
            }
        }
        "HugeRow" => packed::write_change(out, &count(&"x".repeat(8 << 20))),
        // Any bytes at all: the event's data says them in hexadecimal.
        "Raw" => out.extend(hexadecimal(event.data)),
        "RawApply" => tables::apply(&hexadecimal(event.data)),
        "RawRead" => drop(tables::read(&hexadecimal(event.data))),
        "TenMillionChanges" => {
            let mut change = Vec::new();
            packed::write_change(&mut change, &count("k"));
            *out = change.repeat(10_000_000);
        }
        "HugePanic" => panic!("{}", "why? ".repeat(2_000_000)),
        "Garbage" => out.extend_from_slice(&[0x94, 0x07, 0x00, 0xc1]),
        "GarbageRead" => drop(tables::read(&[0xc1])),
        "Spin" => misbehave::spin(),
        "EatMemory" => misbehave::eat_memory(),
        "Recurse" => drop(misbehave::recurse(0)),
        "Trap" => misbehave::trap(),
        _ => {}
    }
}
