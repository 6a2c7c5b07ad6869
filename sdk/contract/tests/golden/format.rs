//! The packed format.

use lamphouse_contract::fields::{self, Extracted, Field, FieldKind, Plan};
use lamphouse_contract::packed::{self, Event, Reader};
use lamphouse_contract::{Cell, CellChange, Change, Value};
use serde_json::{Value as Json, json};

use crate::json::{
    bytes_of, change_from_json, change_to_json, decimal, from_json, golden, hex, text, to_json, unhex,
    values_from_json, values_to_json,
};

fn event_to_json(event: &Event<'_>) -> Json {
    json!({
        "position": event.position.to_string(),
        "part": event.part,
        "id": event.id,
        "stream_id": event.stream_id,
        "stream_type": event.stream_type,
        "stream_version": event.stream_version.to_string(),
        "event_type": event.event_type,
        "schema_version": event.schema_version,
        "data": event.data,
        "metadata": event.metadata,
        "occurred_at": event.occurred_at.to_string(),
        "recorded_at": event.recorded_at.to_string(),
    })
}

fn event_from_json(json: &Json) -> Event<'_> {
    let text = |name: &str| json[name].as_str().unwrap();
    Event {
        position: text("position").parse().unwrap(),
        part: json["part"].as_u64().unwrap() as u32,
        id: text("id"),
        stream_id: text("stream_id"),
        stream_type: text("stream_type"),
        stream_version: text("stream_version").parse().unwrap(),
        event_type: text("event_type"),
        schema_version: json["schema_version"].as_u64().unwrap() as u32,
        data: text("data"),
        metadata: text("metadata"),
        occurred_at: text("occurred_at").parse().unwrap(),
        recorded_at: text("recorded_at").parse().unwrap(),
        fields: None,
    }
}

/// A value at each border where the shortest form changes.
fn some_values() -> Vec<Value> {
    let mut values = vec![Value::Null, Value::Boolean(false), Value::Boolean(true)];
    for number in [
        0,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        4_294_967_295,
        4_294_967_296,
        9_007_199_254_740_993,
        i64::MAX,
        -1,
        -32,
        -33,
        -128,
        -129,
        -32_768,
        -32_769,
        -2_147_483_648,
        -2_147_483_649,
        i64::MIN,
    ] {
        values.push(Value::Integer(number));
    }
    values.extend([0.0, 1.5, -2.25, 0.1, 1e300, -5e-324].map(Value::Real));
    for number in [
        "0",
        "7",
        "42",
        "-1",
        "1.50",
        "-12.345",
        "0.00",
        "1234567.8",
        "99999999999999999999999999999999999999",
    ] {
        values.push(decimal(number));
    }
    values.push(decimal("-0.00000000000000000000000000000000000001"));
    values.extend(["", "a", "Größe 🏮 \"x\"\n"].map(text));
    for length in [31, 32, 255, 256] {
        values.push(text(&"x".repeat(length)));
    }
    values.push(Value::Bytes([].into()));
    values.push(Value::Bytes([0, 1, 254, 255].into()));
    values.push(Value::Bytes((0..=255).collect()));
    for micros in [0, 1, -1, 1_700_000_000_123_456, i64::MIN, i64::MAX] {
        values.push(Value::Timestamp(micros));
    }
    for json in [
        "{}",
        "[]",
        "null",
        "1",
        "\"12\"",
        r#"{"a":[1,2.5,"é"]}"#,
        r#"{"long":"0123456789012345678901234567890"}"#,
    ] {
        values.push(Value::Json(json.into()));
    }
    values
}

fn some_changes() -> Vec<Change> {
    let key = || -> Box<[Value]> { [text("order-1")].into() };
    let cell = |column, change| Cell { column, change };
    vec![
        Change::Put {
            table: 0,
            row: [text("order-1"), Value::Null, Value::Integer(3), decimal("12.50")].into(),
        },
        Change::Put {
            table: 1,
            row: some_values().into_iter().take(20).collect(),
        },
        Change::Patch {
            table: 0,
            key: key(),
            cells: vec![cell(1, CellChange::Set(text("c-7")))],
        },
        Change::Patch {
            table: 0,
            key: key(),
            cells: vec![
                cell(2, CellChange::Add(Value::Integer(-1))),
                cell(3, CellChange::Add(decimal("-0.05"))),
            ],
        },
        Change::Upsert {
            table: 200,
            key: [Value::Integer(5), Value::Timestamp(-1), Value::Boolean(true)].into(),
            cells: vec![
                cell(130, CellChange::Set(Value::Json("{}".into()))),
                cell(4, CellChange::Add(Value::Real(0.5))),
                cell(5, CellChange::Set(Value::Null)),
            ],
        },
        Change::Upsert {
            table: 1,
            key: key(),
            cells: vec![],
        },
        Change::Remove {
            table: 1,
            key: [decimal("1.50"), Value::Bytes([0].into())].into(),
        },
    ]
}

fn some_events() -> Vec<Event<'static>> {
    let event = Event {
        position: 1,
        part: 0,
        id: "0193a5e0-0000-7000-8000-000000000001",
        stream_id: "order-536365",
        stream_type: "order",
        stream_version: 1,
        event_type: "OrderPlaced",
        schema_version: 1,
        data: r#"{"customer_id":"17850","total":"12.50"}"#,
        metadata: r#"{"reason":"Customer order invoiced"}"#,
        occurred_at: 1_291_191_960_000_000,
        recorded_at: 1_700_000_000_123_456,
        fields: None,
    };
    vec![
        event,
        Event {
            position: 9_007_199_254_740_991,
            part: 300,
            stream_version: 70_000,
            schema_version: 128,
            ..event
        },
        Event {
            stream_id: "größe-🏮",
            data: "{}",
            metadata: "{}",
            occurred_at: -1,
            recorded_at: 0,
            ..event
        },
    ]
}

#[test]
fn values_are_as_the_golden_file_says() {
    let made = some_values().into_iter().map(|value| {
        let mut bytes = vec![];
        packed::write_value(&mut bytes, &value);
        json!({"value": to_json(&value), "hex": hex(&bytes)})
    });
    for vector in golden("values.json", &made.collect()) {
        let bytes = bytes_of(&vector);
        let mut reader = Reader::new(&bytes);
        let value = reader.value().unwrap().to_value();
        assert!(reader.is_at_end());
        assert_eq!(to_json(&value), vector["value"]);
        assert_eq!(value, from_json(&vector["value"]));
    }
}

#[test]
fn events_are_as_the_golden_file_says() {
    let made = some_events().into_iter().map(|event| {
        let mut bytes = vec![];
        packed::write_event(&mut bytes, &event);
        json!({"event": event_to_json(&event), "hex": hex(&bytes)})
    });
    for vector in golden("events.json", &made.collect()) {
        let bytes = bytes_of(&vector);
        let events: Vec<_> = packed::events(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(events, [event_from_json(&vector["event"])]);
    }
}

#[test]
fn declared_fields_are_as_the_golden_file_says() {
    let option = fields::spell([(
        "OrderPlaced",
        &[
            ("/data/total", FieldKind::Decimal),
            ("/data/customer_id", FieldKind::Text),
            ("/data/placed_by/name", FieldKind::Text),
            ("/metadata/reason", FieldKind::Json),
        ]
        .map(|(path, kind)| Field { path, kind })[..],
    )]);
    let event = some_events()[0];
    let events = [
        event,
        Event {
            data: r#"{"placed_by":{"name":"Zo\u00eb"},"total":7,"more":[1,{"total":0}]}"#,
            ..event
        },
        // Not as declared, or not declared at all: it comes whole.
        Event {
            data: r#"{"total":12.5}"#,
            ..event
        },
        Event {
            event_type: "OrderShipped",
            ..event
        },
    ];
    let made = events.iter().map(|event| {
        let plan = Plan::parse(&option).unwrap();
        let mut bytes = vec![];
        plan.write_event(&mut bytes, event, &mut Extracted::default());
        let read = packed::events(&bytes).next().unwrap().unwrap();
        let values = read.fields.map(|fields| {
            let mut reader = Reader::new(fields);
            let mut values = vec![];
            while !reader.is_at_end() {
                values.push(to_json(&reader.value().unwrap().to_value()));
            }
            values
        });
        json!({"option": option, "event": event_to_json(event), "values": values, "hex": hex(&bytes)})
    });
    let vectors = golden("fields.json", &made.collect());
    assert_eq!(
        vectors.iter().filter(|vector| vector["values"].is_null()).count(),
        2
    );
}

#[test]
fn changes_are_as_the_golden_file_says() {
    let made = some_changes().into_iter().map(|change| {
        let mut bytes = vec![];
        packed::write_change(&mut bytes, &change);
        json!({"change": change_to_json(&change), "hex": hex(&bytes)})
    });
    for vector in golden("changes.json", &made.collect()) {
        let bytes = bytes_of(&vector);
        let changes: Vec<_> = packed::changes(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(changes, [change_from_json(&vector["change"])]);
    }
}

#[test]
fn lifted_events_are_as_the_golden_file_says() {
    let lifted = |event_type, schema_version, data, metadata| packed::Lifted {
        event_type,
        schema_version,
        data,
        metadata,
    };
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(300));
    let made = [
        vec![],
        vec![lifted("OrderPlaced", 2, Some("{\"total\":1250}"), None)],
        vec![
            lifted("AdjustmentOpened", 1, None, None),
            lifted(
                "LineAdjusted",
                70_000,
                Some(&long),
                Some("{\"reason\":\"größe\"}"),
            ),
        ],
    ]
    .map(|list| {
        let mut bytes = vec![];
        packed::write_lifted_count(&mut bytes, list.len());
        for lifted in &list {
            packed::write_lifted(&mut bytes, lifted);
        }
        json!({"lifted": list.iter().map(lifted_to_json).collect::<Json>(), "hex": hex(&bytes)})
    });
    for vector in golden("lifted.json", &made.into_iter().collect()) {
        let bytes = bytes_of(&vector);
        let lists: Vec<_> = packed::lifted(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(lists.len(), 1);
        let list: Json = lists[0].iter().map(lifted_to_json).collect();
        assert_eq!(list, vector["lifted"]);
    }
}

fn lifted_to_json(lifted: &packed::Lifted<'_>) -> Json {
    json!({
        "event_type": lifted.event_type,
        "schema_version": lifted.schema_version,
        "data": lifted.data,
        "metadata": lifted.metadata,
    })
}

#[test]
fn reads_and_answers_are_as_the_golden_file_says() {
    let row: Box<[Value]> = [text("order-1"), Value::Null, Value::Integer(3), decimal("12.50")].into();
    let made = [
        (0u32, vec![text("order-1")], Some(row)),
        (7, vec![Value::Integer(1), text("é")], None),
    ]
    .map(|(table, key, answer)| {
        let (mut read, mut answered) = (vec![], vec![]);
        packed::write_read(&mut read, table, &key);
        packed::write_answer(&mut answered, answer.as_deref());
        json!({
            "read": {"table": table, "key": values_to_json(&key)},
            "hex": hex(&read),
            "answer": answer.as_deref().map(values_to_json),
            "answer_hex": hex(&answered),
        })
    });
    for vector in golden("reads.json", &made.into_iter().collect()) {
        let bytes = bytes_of(&vector);
        let reads: Vec<_> = packed::reads(&bytes).collect::<Result<_, _>>().unwrap();
        let table = vector["read"]["table"].as_u64().unwrap() as u32;
        assert_eq!(reads, [(table, values_from_json(&vector["read"]["key"]))]);
        let bytes = unhex(vector["answer_hex"].as_str().unwrap());
        let answers: Vec<_> = packed::answers(&bytes).collect::<Result<_, _>>().unwrap();
        let answer = Some(&vector["answer"])
            .filter(|answer| !answer.is_null())
            .map(values_from_json);
        assert_eq!(answers, [answer]);
    }
}
