//! A case file: a list of cases, each with what is given and what should come of it.

use std::collections::HashMap;
use std::path::Path;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::node::{Entry, Kind, Node, Wrong};
use super::{json, yaml};
use crate::core::limits::AppendLimits;
use crate::core::{EventId, NewEvent, Position, StoredEvent, StreamVersion};
use crate::log::{ImportEvent, check_line};

/// One second before the first event's time, unless that says another: 2024-01-01T00:00:00Z.
const CLOCK_START: i64 = 1_704_067_200;
/// What an event is given as its metadata if it brings none.
const METADATA: &str = r#"{"reason":"given by a test"}"#;

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) given: Vec<StoredEvent>,
    pub(super) should: Outcome,
}

/// What should come of a case.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// These rows, or these events.
    Then(Node),
    /// A fault with this in its message.
    Fails(String),
}

/// The cases of a file's text; everything that is wrong otherwise.
pub(super) fn read(file: &Path, text: &str) -> Result<Vec<Case>, Vec<Wrong>> {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let documents = match is_json {
        true => json::read(text).map(|document| vec![document]),
        false => yaml::read(text),
    };
    let documents = documents.map_err(|wrong| vec![wrong])?;
    let (mut cases, mut mistakes) = (Vec::new(), Vec::new());
    for document in &documents {
        match document.list("the file") {
            Ok(nodes) => {
                for node in nodes {
                    match case(node) {
                        Ok(case) => cases.push(case),
                        Err(wrong) => mistakes.push(wrong),
                    }
                }
            }
            Err(wrong) => mistakes.push(wrong),
        }
    }
    if mistakes.is_empty() {
        Ok(cases)
    } else {
        Err(mistakes)
    }
}

/// The values of an object's keys; an unknown one is a mistake.
pub(super) fn fields<'n, const N: usize>(
    what: &str,
    node: &'n Node,
    known: [&str; N],
) -> Result<[Option<&'n Node>; N], Wrong> {
    let mut found = [None; N];
    for Entry { key, value } in node.map(what)? {
        match known.iter().position(|name| name == key) {
            Some(place) => found[place] = Some(value),
            None => {
                return Err(value.wrong(format!(
                    "{what} has the key '{key}', which means nothing here; there are {}",
                    known.join(", ")
                )));
            }
        }
    }
    Ok(found)
}

fn case(node: &Node) -> Result<Case, Wrong> {
    let [name, given, then, fails] = fields("a case", node, ["case", "given", "then", "fails"])?;
    let name = match name {
        Some(name) => name.text("case")?.to_owned(),
        None => return Err(node.wrong("a case has no `case:`, its name in a few words")),
    };
    let of_case = |wrong: Wrong| Wrong {
        why: format!("case '{name}': {}", wrong.why),
        ..wrong
    };
    let should = match (then, fails) {
        (Some(then), None) => Ok(Outcome::Then(then.clone())),
        (None, Some(fails)) => fails.text("fails").map(|text| Outcome::Fails(text.to_owned())),
        (None, None) => Err(node.wrong("it has neither `then:` nor `fails:`, so that nothing is tested")),
        (Some(_), Some(fails)) => {
            Err(fails.wrong("it has `then:` and `fails:`, and a call that fails changes nothing"))
        }
    };
    let given = match given {
        Some(given) => events(given),
        None => Err(node.wrong("it has no `given:`, the list of its events")),
    };
    Ok(Case {
        line: node.line,
        given: given.map_err(of_case)?,
        should: should.map_err(of_case)?,
        name,
    })
}

fn events(given: &Node) -> Result<Vec<StoredEvent>, Wrong> {
    // What a log refuses whatever its settings are.
    let limits = AppendLimits {
        reason_required: false,
        reason_chars_min: 0,
        ..AppendLimits::default()
    };
    let mut streams: HashMap<String, (String, u64)> = HashMap::new();
    let mut clock = chrono::DateTime::from_timestamp(CLOCK_START, 0).unwrap_or_default();
    let mut events = Vec::new();
    for (place, node) in given.list("given")?.iter().enumerate() {
        let number = place as u64 + 1;
        let line = event(node)?;
        check_line(&line, &limits).map_err(|why| node.wrong(why))?;
        let ImportEvent {
            stream_id,
            stream_type,
            event,
            ..
        } = line;
        let stream = streams
            .entry(stream_id.clone())
            .or_insert_with(|| (stream_type.clone(), 0));
        if stream.0 != stream_type {
            return Err(node.wrong(format!(
                "stream '{stream_id}' is of type '{}' by its first event, and of '{stream_type}' here",
                stream.0
            )));
        }
        stream.1 += 1;
        clock = match event.occurred_at {
            Some(at) => at,
            None => clock + chrono::TimeDelta::seconds(1),
        };
        let id = event.id.unwrap_or(EventId(Uuid::from_u128(
            0x7000_8000_0000_0000_0000 | u128::from(number),
        )));
        events.push(StoredEvent {
            position: Position(number),
            id,
            stream_id,
            stream_type,
            stream_version: StreamVersion(stream.1),
            event_type: event.event_type,
            schema_version: event.schema_version,
            data: event.data,
            metadata: event.metadata,
            occurred_at: clock,
            recorded_at: clock,
        });
    }
    Ok(events)
}

fn event(node: &Node) -> Result<ImportEvent, Wrong> {
    let known = [
        "stream_id",
        "event_type",
        "data",
        "stream_type",
        "schema_version",
        "metadata",
        "occurred_at",
        "id",
    ];
    let [
        stream_id,
        event_type,
        data,
        stream_type,
        version,
        metadata,
        occurred_at,
        id,
    ] = fields("an event", node, known)?;
    let needed = |value: Option<&'_ Node>, name: &str| match value {
        Some(value) => value.text(name).map(str::to_owned),
        None => Err(node.wrong(format!("an event has no {name}"))),
    };
    let stream_id = needed(stream_id, "stream_id")?;
    let event_type = needed(event_type, "event_type")?;
    let data = data.ok_or_else(|| node.wrong("an event has no data; write {} where it carries nothing"))?;
    let stream_type = match stream_type {
        Some(node) => node.text("stream_type")?.to_owned(),
        None => stream_id.split('-').next().unwrap_or_default().to_owned(),
    };
    let occurred_at = match occurred_at {
        Some(node) => Some(
            chrono::DateTime::parse_from_rfc3339(node.text("occurred_at")?)
                .map_err(|_| node.wrong("occurred_at is no RFC 3339 time such as 2026-01-31T12:00:00Z"))?
                .to_utc(),
        ),
        None => None,
    };
    let id = match id {
        Some(node) => Some(EventId(
            node.text("id")?
                .parse()
                .map_err(|_| node.wrong("id is no UUID"))?,
        )),
        None => None,
    };
    Ok(ImportEvent {
        line: node.line as u64,
        stream_id,
        stream_type,
        idempotency_key: None,
        event: NewEvent {
            id,
            event_type,
            schema_version: schema_version(version)?,
            data: raw(data.json(), data)?,
            metadata: match metadata {
                Some(metadata) => raw(metadata.json(), metadata)?,
                None => raw(METADATA.to_owned(), node)?,
            },
            occurred_at,
        },
    })
}

/// A schema's version; 1 where none is named.
pub(super) fn schema_version(node: Option<&Node>) -> Result<u32, Wrong> {
    let Some(node) = node else { return Ok(1) };
    let number = match &node.kind {
        Kind::Number(number) => number.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| node.wrong("schema_version has to be a whole number from 1"))
}

fn raw(text: String, node: &Node) -> Result<Box<RawValue>, Wrong> {
    RawValue::from_string(text)
        .map_err(|error| node.wrong(format!("this cannot be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Case>, String> {
        read(Path::new("x.yaml"), text).map_err(|mistakes| {
            let lines = mistakes
                .iter()
                .map(|wrong| format!("{}: {}", wrong.line, wrong.why));
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn events_have_the_same_defaults_as_in_native_tests() {
        let cases = of("
- case: one
  given:
    - {stream_id: order-1, event_type: A, data: {n: 12345678901234567890.50}}
    - {stream_id: order-1, event_type: B, data: {}, occurred_at: 2011-08-12T13:50:00Z}
    - {stream_id: c, stream_type: cart, event_type: C, schema_version: 3, data: null, metadata: {tenant: t},
       id: 11111111-1111-4111-8111-111111111111}
  then: {}
")
        .expect("cases");
        let [a, b, c] = &cases[0].given[..] else {
            panic!("{cases:?}")
        };
        assert_eq!(a.id.to_string(), "00000000-0000-7000-8000-000000000001");
        assert_eq!(a.occurred_at.to_rfc3339(), "2024-01-01T00:00:01+00:00");
        assert_eq!(
            (a.stream_type.as_str(), a.schema_version, a.metadata.get()),
            ("order", 1, METADATA)
        );
        assert_eq!(a.data.get(), r#"{"n":12345678901234567890.50}"#);
        assert_eq!((b.position, b.stream_version), (Position(2), StreamVersion(2)));
        assert_eq!(c.occurred_at.to_rfc3339(), "2011-08-12T13:50:01+00:00");
        assert_eq!(
            (c.stream_type.as_str(), c.schema_version, c.data.get()),
            ("cart", 3, "null")
        );
        assert_eq!(c.id.to_string(), "11111111-1111-4111-8111-111111111111");
    }

    #[test]
    fn json_files_are_the_same() {
        let text = r#"[{"case": "one", "given": [{"stream_id": "o-1", "event_type": "A", "data": {}}], "fails": "x"}]"#;
        let cases = read(Path::new("x.json"), text).expect("cases");
        assert!(matches!(&cases[0].should, Outcome::Fails(text) if text == "x"));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let why = of("
- case: a
  given: []
- case: b
  given: []
  then: {}
  fails: x
- given: []
- case: c
  given: [{stream_id: o-1, event_type: A, data: {}, colour: red}]
  then: {}
- case: d
  given:
    - {stream_id: o-1, event_type: A, data: {}}
    - {stream_id: o-1, stream_type: p, event_type: A, data: {}}
  then: {}
- case: e
  given: [{stream_id: o-1, event_type: A, data: {}, metadata: 7}]
  then: {}
- case: f
  expect: {}
- 7
")
        .expect_err("wrong");
        for part in [
            "2: case 'a': it has neither",
            "7: case 'b': it has `then:` and `fails:`",
            "8: a case has no `case:`",
            "10: case 'c': an event has the key 'colour'",
            "15: case 'd': stream 'o-1' is of type 'o'",
            "18: case 'e': the event of stream 'o-1' has metadata that is not a JSON object",
            "21: a case has the key 'expect'",
            "22: a case is a number",
        ] {
            assert!(why.contains(part), "{part}\n{why}");
        }
        assert!(
            of("a: 1")
                .expect_err("no list")
                .contains("the file is an object, where a list")
        );
    }
}
