//! A line of an import file.
//!
//! *Always:* an error names a column of the line, or says that it is no object, in few words. What is read is, written
//! down and read again, the same. What the log's limits take is JSON that a column of a table takes, too.

use lamphouse::cli::read_import_line;
use lamphouse::core::limits::AppendLimits;
use lamphouse::log::{ImportEvent, check_line};
use lamphouse_contract::semantics::json;

use crate::Target;

pub(crate) const IMPORT_LINE: Target = Target {
    name: "import-line",
    run,
    words: &[
        b"\"stream_id\":",
        b"\"stream_type\":",
        b"\"event_type\":",
        b"\"schema_version\":",
        b"\"data\":",
        b"\"metadata\":",
        b"\"occurred_at\":",
        b"\"id\":",
        b"\"idempotency_key\":",
        b"\"reason\":\"a good reason\"",
        b"{\"reason\":",
        b"\"2026-01-31T12:00:00Z\"",
        b"\"-262143-01-01T00:00:00Z\"",
        b"\"2026-12-31T23:59:60.999999999+14:00\"",
        b"\"01890a5d-ac96-774b-bcce-b302099a8057\"",
        b"\"00000000-0000-0000-0000-000000000000\"",
        b"null",
        b"true",
        b"{}",
        b"[]",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\u0000",
        b"\\ud800",
        b"\\udc00",
        b"\\\\",
        b"1e400",
        b"-0.0",
        b"1e99999",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\x00",
        b"\xc3\xa9",
    ],
    bytes_max: 4_096,
    memory_beside_max: 1 << 20,
};

fn run(line: &[u8]) {
    let event = match read_import_line(line, 7) {
        Ok(event) => event,
        Err(why) => return assert_tells(line, &why),
    };
    let written = written(&event);
    let again = read_import_line(written.as_bytes(), 7).unwrap_or_else(|why| panic!("{why}: {written}"));
    assert_eq!(self::written(&again), written);
    match check_line(&event, &AppendLimits::default()) {
        Ok(()) => {
            for text in [event.event.data.get(), event.event.metadata.get()] {
                if let Err(why) = json::check(text, json::DEPTH_MAX) {
                    // The one thing that a table's column takes less of: numbers of ten thousand digits.
                    assert!(
                        why.contains("digits"),
                        "the log takes what no table does: {why}: {text}"
                    );
                }
            }
        }
        Err(why) => assert!(why.len() <= 2_000, "a long message: {why}"),
    }
}

fn assert_tells(line: &[u8], why: &str) {
    assert!(why.len() <= 600, "a long message: {why}");
    let Some(rest) = why.strip_prefix("column ") else {
        assert!(
            why.starts_with("a line must be a JSON object"),
            "no place is named: {why}"
        );
        return;
    };
    let column = rest.split(':').next().unwrap_or_default().parse::<usize>();
    // Behind the last byte, where something is missing.
    let is_there = column.is_ok_and(|column| column <= line.len() + 1);
    assert!(is_there, "the line has {} bytes: {why}", line.len());
}

/// The event as a line of an import file.
fn written(event: &ImportEvent) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let time = event
        .event
        .occurred_at
        .map(|at| at.to_rfc3339())
        .unwrap_or_default();
    let mut line = format!(
        "{{\"stream_id\":{},\"stream_type\":{},\"event_type\":{},\"schema_version\":{},\"data\":{},\"metadata\":{},\
         \"occurred_at\":{}",
        text(&event.stream_id),
        text(&event.stream_type),
        text(&event.event.event_type),
        event.event.schema_version,
        event.event.data.get(),
        event.event.metadata.get(),
        text(&time),
    );
    if let Some(id) = event.event.id {
        line.push_str(&format!(",\"id\":{}", text(&id.to_string())));
    }
    if let Some(key) = &event.idempotency_key {
        line.push_str(&format!(",\"idempotency_key\":{}", text(key)));
    }
    line.push('}');
    line
}
