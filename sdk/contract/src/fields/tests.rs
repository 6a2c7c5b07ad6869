#![allow(clippy::unwrap_used)]

use super::*;
use crate::packed::{self, Event};
use crate::{Decimal, Value};

fn event<'a>(event_type: &'a str, data: &'a str) -> Event<'a> {
    Event {
        position: 1,
        part: 0,
        id: "",
        stream_id: "s-1",
        stream_type: "s",
        stream_version: 1,
        event_type,
        schema_version: 1,
        data,
        metadata: r#"{"by":{"user":"ann"},"reason":"x"}"#,
        occurred_at: 0,
        recorded_at: 0,
        fields: None,
    }
}

fn plan(fields: &[(&str, FieldKind)]) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let fields = fields.iter().map(|&(path, kind)| Field { path, kind });
    plan.add("E", fields).map(|()| plan)
}

/// The values that the fields have, or why they have none.
fn taken(fields: &[(&str, FieldKind)], data: &str) -> Result<Vec<Value>, String> {
    let mut room = Extracted::default();
    assert!(plan(fields).unwrap().extract(&event("E", data), &mut room)?);
    let mut reader = packed::Reader::new(room.values());
    let mut values = Vec::new();
    while !reader.is_at_end() {
        values.push(reader.value().unwrap().to_value());
    }
    Ok(values)
}

#[test]
fn values_come_in_the_order_of_the_declaration() {
    let fields = [
        ("/data/price/amount", FieldKind::Decimal),
        ("/data/quantity", FieldKind::Integer),
        ("/metadata/by/user", FieldKind::Text),
        ("/data/price/currency", FieldKind::Text),
        ("/data/gone", FieldKind::Timestamp),
        ("/data/lines/1/sku", FieldKind::Text),
        ("/data/a~1b", FieldKind::Boolean),
        ("/data/rest", FieldKind::Json),
        ("/data/rate", FieldKind::Real),
    ];
    let data = r#"{"rest": {"x": [1, 2]}, "quantity":3,"other":{"quantity":"no"},"a/b":true,"rate":2,
        "price":{"currency":"\u20ac","amount":"12.50"},"lines":[{"sku":"A"},{"sku":"B"}],"gone":null}"#;
    let texts = |text: &str| Value::Text(text.into());
    assert_eq!(
        taken(&fields, data).unwrap(),
        [
            Value::Decimal(Decimal::parse("12.50").unwrap()),
            Value::Integer(3),
            texts("ann"),
            texts("\u{20ac}"),
            Value::Null,
            texts("B"),
            Value::Boolean(true),
            Value::Json(r#"{"x": [1, 2]}"#.into()),
            Value::Real(2.0),
        ]
    );
    assert_eq!(
        taken(&[("/data", FieldKind::Json)], "[1]").unwrap(),
        [Value::Json("[1]".into())]
    );
    assert_eq!(
        taken(&[], "not even JSON").unwrap(),
        [],
        "what is not declared is not looked at"
    );
}

#[test]
fn what_is_not_as_declared_is_said() {
    for (kind, json) in [
        (FieldKind::Integer, "1.0"),
        (FieldKind::Integer, "9223372036854775808"),
        (FieldKind::Integer, "\"1\""),
        (FieldKind::Decimal, "1.5"),
        (FieldKind::Decimal, "\"1e3\""),
        (FieldKind::Text, "7"),
        (FieldKind::Boolean, "{}"),
        (FieldKind::Timestamp, "\"yesterday\""),
        (FieldKind::Real, "[]"),
    ] {
        let error = taken(&[("/data/f", kind)], &format!("{{\"f\":{json}}}")).unwrap_err();
        assert!(error.starts_with("data of E: "), "{error}");
    }
    let twice = taken(&[("/data/f", FieldKind::Integer)], r#"{"f":1,"f":2}"#).unwrap_err();
    assert!(twice.contains("comes twice"), "{twice}");
    let not_there = taken(&[("/data/f/g", FieldKind::Integer)], r#"{"f":1}"#).unwrap_err();
    assert!(not_there.contains("an object with 'g'"), "{not_there}");
}

#[test]
fn an_event_is_written_with_its_fields_or_whole() {
    let plan = plan(&[("/data/n", FieldKind::Integer)]).unwrap();
    let (mut out, mut room) = (Vec::new(), Extracted::default());
    let events = [
        event("E", r#"{"n":5}"#),
        event("E", r#"{"n":"five"}"#),
        event("Other", r#"{"n":5}"#),
    ];
    events
        .iter()
        .for_each(|event| plan.write_event(&mut out, event, &mut room));
    let back: Vec<Event<'_>> = packed::events(&out).map(Result::unwrap).collect();
    let slim = Event {
        data: "",
        metadata: "",
        fields: Some(&[5]),
        ..events[0]
    };
    assert_eq!(back, [slim, events[1], events[2]]);
}

#[test]
fn the_option_is_spelled_and_read() {
    let fields = [Field {
        path: "/data/n",
        kind: FieldKind::Integer,
    }];
    let text = spell([("E", &fields[..]), ("Bare", &[])]);
    let mut due = plan(&[("/data/n", FieldKind::Integer)]).unwrap();
    due.add("Bare", []).unwrap();
    assert_eq!(Plan::parse(&text).unwrap(), due);
    for (text, problem) in [
        ("{}", "is not of the form"),
        (
            r#"[{"event_type":"E","fields":[],"more":1}]"#,
            "is not of the form",
        ),
        (
            r#"[{"event_type":"E","fields":[]},{"event_type":"E","fields":[]}]"#,
            "'E' twice",
        ),
        (
            r#"[{"event_type":"E","fields":[{"path":"/n","type":"text"}]}]"#,
            "begins neither with /data",
        ),
        (
            r#"[{"event_type":"E","fields":[{"path":"/data/~2","type":"text"}]}]"#,
            "no JSON Pointer",
        ),
        (
            r#"[{"event_type":"E","fields":[{"path":"/data/n","type":"json"},{"path":"/data/n/m","type":"text"}]}]"#,
            "lies within another",
        ),
        (
            r#"[{"event_type":"E","fields":[{"path":"/data/n/m","type":"json"},{"path":"/data/n","type":"json"}]}]"#,
            "lies within another",
        ),
    ] {
        let problems = Plan::parse(text).unwrap_err();
        assert!(problems[0].contains(problem), "{problems:?}");
    }
}

#[test]
fn only_events_whose_fields_are_declared_come_without_other_entries() {
    let options = [
        (OPTION, spell([("E", &[][..])])),
        (
            ENTRIES_OPTION,
            Entries::spell(&[Entry::StreamVersion, Entry::OccurredAt]),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text));
    assert_eq!(options[1].1, r#"["stream_version","occurred_at"]"#);
    assert_eq!(check(&options), [""; 0]);
    let descriptor = crate::Descriptor {
        name: String::new(),
        version: String::new(),
        subscriptions: vec![],
        tables: vec![],
        options: options.to_vec(),
    };
    let plan = descriptor.field_plan().unwrap();
    let stored = Event {
        id: "an id",
        stream_version: 9,
        schema_version: 3,
        occurred_at: -7,
        recorded_at: 8,
        ..event("E", "{}")
    };
    let written = |event: &Event<'_>| {
        let mut bytes = Vec::new();
        plan.write_event(&mut bytes, event, &mut Extracted::default());
        bytes
    };
    let bytes = written(&stored);
    let lean = Event {
        id: "",
        stream_type: "",
        schema_version: 0,
        recorded_at: 0,
        data: "",
        metadata: "",
        fields: Some(&[]),
        ..stored
    };
    assert_eq!(packed::events(&bytes).collect::<Vec<_>>(), [Ok(lean)]);
    let other = Event {
        event_type: "F",
        ..stored
    };
    assert_eq!(packed::events(&written(&other)).collect::<Vec<_>>(), [Ok(other)]);
}

#[test]
fn entries_that_are_none_are_refused() {
    let check = |options: &[(&str, &str)]| {
        let options = options
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        check(&options.collect::<Vec<_>>()).join("; ")
    };
    let problem = check(&[(OPTION, "[]"), (ENTRIES_OPTION, r#"["weather"]"#)]);
    assert!(
        problem.starts_with("option 'entries' is not of the form") && problem.contains("weather"),
        "{problem}"
    );
    let problem = check(&[(ENTRIES_OPTION, "[]")]);
    assert!(problem.contains("there is no option 'fields'"), "{problem}");
}
