//! One line of an import file.

use chrono::{DateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::core::{EventId, NewEvent, StoredEvent};
use crate::deploy::story::Part;
use crate::log::ImportEvent;

/// Characters of the parser's words that are shown.
const SAID_CHARS_MAX: usize = 300;

/// The keys of a line. Only `id` and `idempotency_key` may be absent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    stream_id: String,
    stream_type: String,
    event_type: String,
    schema_version: u32,
    data: Box<RawValue>,
    metadata: Box<RawValue>,
    #[serde(deserialize_with = "time")]
    occurred_at: DateTime<Utc>,
    #[serde(default, deserialize_with = "uuid")]
    id: Option<EventId>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    DateTime::deserialize(deserializer)
        .map_err(|_| D::Error::custom("occurred_at is no RFC 3339 time such as 2026-01-31T12:00:00Z"))
}

fn uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EventId>, D::Error> {
    Option::deserialize(deserializer).map_err(|_| D::Error::custom("id is no UUID"))
}

/// Reads a line, which has no line break. The error says where and why.
pub(in crate::cli) fn parse(line: &[u8], number: u64) -> Result<ImportEvent, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| explain(line, &error))?;
    Ok(ImportEvent {
        line: number,
        stream_id: line.stream_id,
        stream_type: line.stream_type,
        idempotency_key: line.idempotency_key,
        event: NewEvent {
            id: line.id,
            event_type: line.event_type,
            schema_version: line.schema_version,
            data: line.data,
            metadata: line.metadata,
            occurred_at: Some(line.occurred_at),
        },
    })
}

/// The parser's words with the column of this line, and the likely cause where we can tell.
fn explain(line: &[u8], error: &serde_json::Error) -> String {
    if let Err(utf8) = std::str::from_utf8(line) {
        return format!("column {}: the line is not UTF-8 text", utf8.valid_up_to() + 1);
    }
    let text = error.to_string();
    let said = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(said, _)| said);
    // It may hold a name or a text of the line, of any length.
    let said = match said.char_indices().nth(SAID_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said.to_owned(),
    };
    match line.first() {
        Some(b'{') if error.is_eof() => format!("column {}: the JSON ends too early", line.len()),
        Some(b'{') => format!("column {}: {said}", error.column()),
        Some(b'[') => {
            "a line must be a JSON object; this one begins a list: write one event per line".to_owned()
        }
        _ => "a line must be a JSON object".to_owned(),
    }
}

/// A line that imports to this event.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct ExportLine<'a> {
    stream_id: &'a str,
    stream_type: &'a str,
    event_type: &'a str,
    schema_version: u32,
    data: &'a RawValue,
    metadata: &'a RawValue,
    occurred_at: DateTime<Utc>,
    id: EventId,
}

impl<'a> From<&'a StoredEvent> for ExportLine<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        Self {
            stream_id: &event.stream_id,
            stream_type: &event.stream_type,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            data: &event.data,
            metadata: &event.metadata,
            occurred_at: event.occurred_at,
            id: event.id,
        }
    }
}

impl<'a> ExportLine<'a> {
    /// What a stored event is today, as an event of its own.
    pub(in crate::cli) fn of_part(event: &'a StoredEvent, part: &'a Part) -> Self {
        Self {
            event_type: &part.event_type,
            schema_version: part.schema_version,
            data: &part.data,
            metadata: &part.metadata,
            id: part.own_id(event.id),
            ..Self::from(event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"stream_id":"order-1","stream_type":"order","event_type":"OrderPlaced","schema_version":1,"data":{"total": 1.10},"metadata":{"reason":"an order came in"},"occurred_at":"2010-12-01T08:26:00Z"}"#;

    fn why(line: &str) -> String {
        parse(line.as_bytes(), 1).expect_err("a bad line")
    }

    #[test]
    fn data_keeps_its_text() {
        let event = parse(GOOD.as_bytes(), 7).expect("a good line");
        assert_eq!((event.line, event.event.data.get()), (7, r#"{"total": 1.10}"#));
        assert_eq!(event.event.id, None);
    }

    #[test]
    fn a_long_name_does_not_make_a_long_message() {
        let said = why(&GOOD.replace("stream_type", &"x".repeat(100_000)));
        assert!(
            said.starts_with("column 100025: unknown field `xxx") && said.len() < 400,
            "{said}"
        );
        let said = why(&GOOD.replace(":1,", &format!(":\"{}\",", "x".repeat(100_000))));
        assert!(
            said.contains("invalid type: string") && said.len() < 400,
            "{said}"
        );
    }

    #[test]
    fn bad_lines_say_where_and_why() {
        let without = |key: &str| {
            let mut line: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(GOOD).expect("JSON");
            line.remove(key);
            serde_json::to_string(&line).expect("JSON")
        };
        let shown = [
            why(&GOOD[..60]),
            why(&GOOD.replace(":1,", ":1,,")),
            why(&without("occurred_at")),
            why(&GOOD.replace("stream_type", "streamtype")),
            why(&GOOD.replace("\"OrderPlaced\"", "3")),
            why(&GOOD.replace("2010-12-01T", "yesterday ")),
            why(&GOOD.replace("\"schema_version\":1", "\"schema_version\":-1")),
            why(&GOOD.replace("{\"stream_id\"", "{\"id\":\"7\",\"stream_id\"")),
            why(&format!("{GOOD}{GOOD}")),
            why("[1, 2]"),
            why("stream_id,stream_type"),
            parse(b"{\"stream_id\":\"\xff\"}", 1).expect_err("a bad line"),
        ];
        insta::assert_snapshot!(shown.join("\n"), @"
        column 60: the JSON ends too early
        column 92: key must be a string
        column 153: missing field `occurred_at`
        column 35: unknown field `streamtype`, expected one of `stream_id`, `stream_type`, `event_type`, `schema_version`, `data`, `metadata`, `occurred_at`, `id`, `idempotency_key`
        column 59: invalid type: integer `3`, expected a string
        column 191: occurred_at is no RFC 3339 time such as 2026-01-31T12:00:00Z
        column 91: invalid value: integer `-1`, expected u32
        column 9: id is no UUID
        column 193: trailing characters
        a line must be a JSON object; this one begins a list: write one event per line
        a line must be a JSON object
        column 15: the line is not UTF-8 text
        ");
    }
}
