//! What a guest on the typed lane can pass to the host that the host must not take.
//!
//! Columns of table 1 (`kinds=NAME`): 1 real, 2 decimal(2), 3 json, 4 bytes, 5 timestamp, 6 integer.

use std::collections::HashMap;

use super::lamphouse::plugin::log::{self, Level};
use super::lamphouse::plugin::tables;
use super::lamphouse::plugin::types::{Event, Failure, Value};
use super::{add, row, set};

/// A row that says how many events came in its call.
pub(super) fn count(event: &Event, events: usize) {
    let mut row = row(event);
    row[2] = Value::Integer(events as i64);
    tables::put(0, &row);
}

/// A row with this note.
pub(super) fn note(event: &Event, note: &str) {
    let mut row = row(event);
    row[1] = Value::Text(note.into());
    tables::put(0, &row);
}

/// The order of a new hash map. Each map of an instance has another seed than the one before.
pub(super) fn hash_order() -> String {
    let map: HashMap<u32, ()> = (0..20).map(|key| (key, ())).collect();
    format!("{:?}", map.keys().collect::<Vec<_>>())
}

/// What differs between two native processes: addresses of code, stack and statics, and the seed of the first hash map.
pub(super) fn leaks() -> String {
    static PLACE: u8 = 0;
    let local = 0_u8;
    let (code, stack, place) = (leaks as fn() -> String, &raw const local, &raw const PLACE);
    format!("{code:p} {stack:p} {place:p} {}", hash_order())
}

const MB: usize = 1_000_000;

/// Sets one column of table 1.
fn kind(key: &[Value], column: u32, value: Value) {
    tables::upsert(1, key, &[set(column, value)]);
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// `order` is the event's type; what is none of these is nobody's business.
pub(super) fn project(order: &str, event: &Event, key: &[Value; 1]) -> Result<(), Failure> {
    match order {
        "Nan" => kind(key, 1, Value::Real(f64::NAN)),
        "Infinity" => kind(key, 1, Value::Real(f64::INFINITY)),
        "MinusInfinity" => kind(key, 1, Value::Real(f64::NEG_INFINITY)),
        "AddNan" => tables::upsert(1, key, &[add(1, Value::Real(f64::NAN))]),
        "AddToInfinity" => (0..2).for_each(|_| tables::upsert(1, key, &[add(1, Value::Real(f64::MAX))])),
        "AddTooMuch" => (0..2).for_each(|_| tables::upsert(1, key, &[add(6, Value::Integer(i64::MAX))])),
        "AddJson" => tables::upsert(1, key, &[add(3, Value::Json("1".into()))]),
        "DecimalNan" => kind(key, 2, Value::Decimal("NaN".into())),
        "DecimalInfinity" => kind(key, 2, Value::Decimal("-Infinity".into())),
        "DecimalExponent" => kind(key, 2, Value::Decimal("1e9".into())),
        "DecimalHuge" => kind(key, 2, Value::Decimal("9".repeat(MB))),
        "DecimalDigits" => kind(key, 2, Value::Decimal("1.001".into())),
        "LateTimestamp" => kind(key, 5, Value::Timestamp(i64::MAX)),
        // The event's own data, as deep as the log takes it.
        "KeepData" => kind(key, 3, Value::Json(event.data.clone())),
        "DeepJson" => kind(key, 3, Value::Json(nested(129))),
        "DeeperJson" => kind(key, 3, Value::Json(nested(400_000))),
        "NoJson" => kind(key, 3, Value::Json("{\"a\":".into())),
        "JsonNan" => kind(key, 3, Value::Json("NaN".into())),
        "JsonNul" => kind(key, 3, Value::Json("\"\\u0000\"".into())),
        "NulText" => tables::upsert(0, key, &[set(1, Value::Text("a\0b".into()))]),
        "NulKey" => tables::remove(0, &[Value::Text("a\0b".into())]),
        "LongKey" => tables::upsert(0, &[Value::Text("k".repeat(5_000))], &[]),
        "HugeKey" => drop(tables::get(0, &[Value::Text("k".repeat(8 * MB))])),
        "NullKey" => tables::upsert(0, &[Value::Null], &[]),
        "NanKey" => tables::upsert(0, &[Value::Real(f64::NAN)], &[]),
        "TwoKeys" => tables::upsert(0, &[key[0].clone(), key[0].clone()], &[]),
        "SetKey" => tables::upsert(0, key, &[set(0, Value::Text("other".into()))]),
        "TwiceTheColumn" => tables::upsert(0, key, &[add(2, Value::Integer(1)), add(2, Value::Integer(1))]),
        "EmptyRow" => tables::put(0, &[]),
        "WideRow" => tables::put(0, &vec![Value::Null; 100_000]),
        "LongIndexed" => tables::upsert(0, key, &[set(1, Value::Text("x".repeat(5_000)))]),
        "ReadUndeclared" => drop(tables::get(u32::MAX, key)),
        "FindUndeclared" => drop(tables::find(0, 9, key, None, 1)),
        "TenMillionChanges" => {
            for n in 0..10_000_000_u32 {
                tables::upsert(0, &[Value::Text(n.to_string())], &[add(2, Value::Integer(1))]);
            }
        }
        "HugePanic" => panic!("{}", "why? ".repeat(2 * MB)),
        "HugeFailure" => {
            return Err(Failure {
                index: Some(u32::MAX),
                message: "no! ".repeat(MB),
                trace: "a place\n".repeat(MB),
            });
        }
        "HugeLog" => (0..200).for_each(|_| log::write(Level::Info, &"blah ".repeat(MB / 10))),
        "TenMegabyteLine" => log::write(Level::Info, &"\u{1b}[31mred\r\n".repeat(MB)),
        _ => {}
    }
    Ok(())
}
