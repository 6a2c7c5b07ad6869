//! Declared fields: what a projector says it reads of its events, and what it is then given.

#![allow(clippy::unwrap_used)]

use lamphouse_sdk::contract::fields::Extracted;
use lamphouse_sdk::contract::packed;
use lamphouse_sdk::native::{self, Tables as NativeTables};
use lamphouse_sdk::prelude::*;
use lamphouse_sdk::testing::{Harness, TestEvent};
use serde_json::json;

#[derive(Row, Debug, PartialEq)]
#[row(table = "lines")]
struct LineRow {
    #[row(key)]
    stream: String,
    sku: String,
    quantity: i64,
    #[row(scale = 2)]
    price: Decimal,
    user: Option<String>,
    gift: Option<bool>,
    tags: Json<Vec<String>>,
    shipped: bool,
}

#[derive(EventFields)]
struct LineAdded<'a> {
    sku: &'a str,
    quantity: u16,
    #[field(path = "/data/price/amount")]
    price: Decimal,
    #[field(path = "/metadata/user")]
    user: Option<&'a str>,
    gift: Option<bool>,
    tags: Json<Vec<String>>,
}

#[derive(EventFields)]
struct Other {
    #[field(path = "/data/sku")]
    _sku: String,
}

struct Lines;

impl Projector for Lines {
    fn describe() -> Plugin {
        Plugin::new("lines", "1.0.0")
            .on_fields::<LineAdded>("LineAdded")
            .on_without_data("Shipped")
            .on("Undeclared")
            .on_fields::<Other>("Misread")
            .entries([Entry::StreamVersion])
            .table::<LineRow>()
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        match event.event_type {
            "LineAdded" => {
                let line: LineAdded = event.fields()?;
                tables.put(LineRow {
                    stream: event.stream_id.into(),
                    sku: line.sku.into(),
                    quantity: line.quantity.into(),
                    price: line.price,
                    user: line.user.map(Into::into),
                    gift: line.gift,
                    tags: line.tags,
                    shipped: false,
                })
            }
            "Shipped" if event.stream_version() > 2 => event.data::<serde_json::Value>().map(|_| ()),
            "Shipped" if event.stream_id == "curious" => fault!("happened at {:?}", event.occurred_at()),
            "Shipped" => tables.patch(event.stream_id, [LineRow::SHIPPED.set(true)]),
            "Undeclared" => event.fields::<LineAdded>().map(|_| ()),
            _ => event.fields::<LineAdded>().map(|_| ()),
        }
    }
}

fn line(data: serde_json::Value) -> TestEvent {
    let mut event = TestEvent::new("order-1", "LineAdded", data);
    event.metadata = r#"{"reason":"x","user":"ann"}"#.into();
    event
}

fn due() -> LineRow {
    LineRow {
        stream: "order-1".into(),
        sku: "a \"b\"".into(),
        quantity: 3,
        price: Decimal::parse("2.50").unwrap(),
        user: Some("ann".into()),
        gift: None,
        tags: Json(vec!["x".into()]),
        shipped: false,
    }
}

#[test]
fn fields_come_as_values_whatever_else_the_event_has() {
    let mut harness = Harness::<Lines>::new();
    let data = json!({"sku": "a \"b\"", "quantity": 3, "price": {"amount": "2.5", "currency": "EUR"}, "tags": ["x"], "more": {}});
    harness.given_event(&line(data));
    assert_eq!(harness.row("order-1"), Some(due()));
    harness.given("order-1", "Shipped", json!({}));
    assert!(harness.row::<LineRow>("order-1").unwrap().shipped);
    harness.assert_same_at_any_batch_size();
}

#[test]
fn what_is_not_as_declared_fails_with_path_and_place() {
    for (data, why) in [
        (
            json!({"quantity": 3, "price": {"amount": "2.5"}, "tags": []}),
            "data of LineAdded: missing field /data/sku: null or not there, where a text is due",
        ),
        (
            json!({"sku": "a", "quantity": 70_000, "price": {"amount": "2.5"}, "tags": []}),
            "data of LineAdded: /data/quantity: 70000 does not fit u16",
        ),
        (
            json!({"sku": "a", "quantity": 3, "price": {"amount": 2.5}, "tags": []}),
            "data of LineAdded: ",
        ),
        (
            json!({"sku": "a", "quantity": 3, "price": 2, "tags": []}),
            "an object with 'amount'",
        ),
    ] {
        let mut harness = Harness::<Lines>::new();
        harness.given_event(&line(data));
        let failure = harness.run().unwrap_err();
        assert!(failure.message.contains(why), "{}", failure.message);
        assert!(failure.trace.contains("tests/fields.rs"), "{}", failure.trace);
        assert_eq!(failure.index, Some(0));
    }
}

#[test]
fn what_is_declared_is_what_can_be_read() {
    for (event_type, versions, why) in [
        ("Undeclared", 1, "subscribe with .on_fields::<…>(\"Undeclared\")"),
        ("Misread", 1, "other fields of Misread are read"),
        ("Shipped", 3, "it has fields(), and neither data nor metadata"),
    ] {
        let mut harness = Harness::<Lines>::new();
        for _ in 1..versions {
            harness.given_event(&line(
                json!({"sku": "a", "quantity": 3, "price": {"amount": "2.5"}, "tags": []}),
            ));
        }
        harness.given("order-1", event_type, json!({"sku": "a"}));
        let failure = harness.run().unwrap_err();
        assert!(failure.message.contains(why), "{}", failure.message);
    }
}

struct NoTables;

impl NativeTables for NoTables {
    fn apply(&mut self, _: &[u8]) -> Result<(), String> {
        unreachable!("these events change rows at the end only")
    }
    fn read(&mut self, _: &[u8]) -> Result<Vec<u8>, String> {
        unreachable!("these events read no row")
    }
}

#[test]
#[should_panic(expected = "OccurredAt of Shipped is read, but describe() says by .entries(…) that it is not")]
fn an_entry_that_was_not_named_is_not_read() {
    let mut harness = Harness::<Lines>::new();
    harness.given("curious", "Shipped", serde_json::json!({}));
    let _ = harness.run();
}

/// The host may take the fields out or leave the events whole, event by event.
#[test]
fn the_same_changes_come_of_fields_and_of_whole_events() {
    let harness = Harness::<Lines>::new();
    let plan = harness.descriptor().field_plan().unwrap();
    assert!(plan.entries().has(Entry::StreamVersion) && !plan.entries().has(Entry::Id));
    let data = r#"{"sku":"a \"b\"","quantity":3,"price":{"amount":"2.5"},"tags":["x"],"gift":null}"#;
    let event = packed::Event {
        position: 1,
        part: 0,
        id: "",
        stream_id: "order-1",
        stream_type: "order",
        stream_version: 1,
        event_type: "LineAdded",
        schema_version: 1,
        data,
        metadata: r#"{"user":"ann"}"#,
        occurred_at: 0,
        recorded_at: 0,
        fields: None,
    };
    let other = packed::Event {
        stream_id: "order-2",
        position: 2,
        ..event
    };
    let (mut whole, mut mixed) = (Vec::new(), Vec::new());
    let mut room = Extracted::default();
    packed::write_event(&mut whole, &event);
    packed::write_event(&mut whole, &other);
    packed::write_event(&mut mixed, &event);
    plan.write_event(&mut mixed, &other, &mut room);
    assert!(mixed.len() < whole.len());
    let changes = native::project::<Lines>(&whole, &mut NoTables).unwrap();
    assert_eq!(native::project::<Lines>(&mixed, &mut NoTables).unwrap(), changes);
    assert_eq!(packed::changes(&changes).count(), 2);
}
