//! Rows as they go out: JSON objects in the order of the columns, or CSV.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use data_encoding::HEXLOWER;
use lamphouse_contract::{ColumnType, Row, Value};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::window::Window;
use super::wishes::Form;
use crate::api::problem::Problem;
use crate::tables::answer;
use crate::tables::select::{Selected, ShownTable};

const POSITION: HeaderName = HeaderName::from_static("lamphouse-position");
const GENERATION: HeaderName = HeaderName::from_static("lamphouse-generation");
const PROJECTION: HeaderName = HeaderName::from_static("lamphouse-projection");
const PARKED: HeaderName = HeaderName::from_static("lamphouse-parked-events");
const NEXT_OFFSET: HeaderName = HeaderName::from_static("lamphouse-next-offset");
const RANGE_UNIT: HeaderName = HeaderName::from_static("range-unit");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Tells two states of one answer apart. Rows change with the position, with the generation, and with dead letters that
/// are replayed; `asked` is all else that makes the answer.
pub(super) fn tag(shown: &ShownTable, asked: &str, form: Form) -> String {
    let digest = Sha256::digest(format!("{form:?} {asked}"));
    let short = HEXLOWER.encode(&digest[..8]);
    let ShownTable {
        generation,
        position,
        revision,
        ..
    } = shown;
    format!("W/\"{generation}-{position}-{revision}-{short}\"")
}

/// What every answer about a table says of it.
pub(super) fn headers_of(shown: &ShownTable, tag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    add(POSITION, shown.position.to_string());
    add(GENERATION, shown.generation.0.to_string());
    add(PROJECTION, shown.projection.to_string());
    if shown.parked_events > 0 {
        add(PARKED, shown.parked_events.to_string());
    }
    add(header::ETAG, tag.to_owned());
    // For whoever has the token, and to be asked again each time.
    add(header::CACHE_CONTROL, "private, no-cache".to_owned());
    add(header::VARY, "Accept, Authorization, Prefer, Range".to_owned());
    headers
}

/// The whole answer.
pub(super) fn rows(selected: &Selected, window: Window, form: Form, tag: &str) -> Result<Response, Problem> {
    let count = selected.rows.len() as u64;
    let status = window.status(count, selected.total);
    let mut headers = headers_of(&selected.shown, tag);
    let mut add = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    add(RANGE_UNIT, "items".to_owned());
    add(header::CONTENT_RANGE, window.content_range(count, selected.total));
    if selected.total.is_some() {
        add(PREFERENCE_APPLIED, "count=exact".to_owned());
    }
    if selected.more && count > 0 {
        add(NEXT_OFFSET, (window.offset + count).to_string());
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        let total = selected.total.unwrap_or(0);
        let detail = format!(
            "the rows from {} on were asked for, and there are {total}",
            window.offset
        );
        return Ok((headers, Problem::new(status, detail)).into_response());
    }
    let body = match form {
        Form::Json => array(selected).into_bytes(),
        Form::Object => match &selected.rows[..] {
            [row] => {
                let mut out = String::new();
                object(&mut out, &names(selected), &selected.columns, row);
                out.into_bytes()
            }
            rows => {
                let detail = format!(
                    "one row was asked for (Accept: {}), and the answer has {}",
                    form.content_type(),
                    match rows.len() {
                        0 => "none".to_owned(),
                        count => count.to_string(),
                    }
                );
                return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
            }
        },
        Form::Csv => csv(selected)?,
    };
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(form.content_type()),
    );
    Ok((status, headers, body).into_response())
}

/// The names with quotes and colon, made once.
fn names(selected: &Selected) -> Vec<String> {
    let name = |(name, _): &(String, ColumnType)| format!("{}:", Json::from(name.as_str()));
    selected.columns.iter().map(name).collect()
}

fn array(selected: &Selected) -> String {
    let names = names(selected);
    let mut out = String::from("[");
    for (place, row) in selected.rows.iter().enumerate() {
        if place > 0 {
            out.push_str(",\n");
        }
        object(&mut out, &names, &selected.columns, row);
    }
    out.push(']');
    out
}

fn object(out: &mut String, names: &[String], columns: &[(String, ColumnType)], row: &Row) {
    out.push('{');
    for (place, ((name, _), value)) in names.iter().zip(columns).zip(row.iter()).enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(name);
        member(out, value);
    }
    out.push('}');
}

/// One value as JSON. A JSON column goes out as the text that it is, so that its numbers keep their digits.
fn member(out: &mut String, value: &Value) {
    if let Value::Json(text) = value
        && serde_json::from_str::<&RawValue>(text).is_ok()
    {
        out.push_str(text);
        return;
    }
    out.push_str(&json(value).to_string());
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => answer::integer(*value),
        Value::Real(value) => answer::real(*value),
        Value::Decimal(value) => Json::String(value.to_string()),
        Value::Text(text) | Value::Json(text) => Json::from(&**text),
        Value::Bytes(bytes) => answer::bytes(bytes),
        Value::Timestamp(micros) => Json::String(timestamp(*micros)),
    }
}

/// RFC 3339 in UTC with microseconds.
fn timestamp(micros: i64) -> String {
    match DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        // Beyond the year 262,142 there is no date to write.
        None => micros.to_string(),
    }
}

fn csv(selected: &Selected) -> Result<Vec<u8>, Problem> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let failed = |error: csv::Error| {
        let detail = format!("the answer could not be written as CSV, which is a bug of ours: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    };
    writer
        .write_record(selected.columns.iter().map(|(name, _)| name))
        .map_err(failed)?;
    for row in &selected.rows {
        writer.write_record(row.iter().map(cell)).map_err(failed)?;
    }
    writer
        .into_inner()
        .map_err(|error| failed(error.into_error().into()))
}

/// One value as it stands in a cell: null is empty.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Json(text) => text.to_string(),
        value => match json(value) {
            Json::String(text) => text,
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use lamphouse_contract::Decimal;

    use super::*;
    use crate::core::{GenerationId, PluginName, Position};

    fn selected(rows: Vec<Row>) -> Selected {
        Selected {
            shown: ShownTable {
                name: "all".to_owned(),
                projection: PluginName::new("all").unwrap(),
                generation: GenerationId(7),
                position: Position(42),
                revision: 1,
                parked_events: 0,
            },
            columns: vec![
                ("the \"name\"".to_owned(), ColumnType::Text),
                ("n".to_owned(), ColumnType::Integer),
                ("price".to_owned(), ColumnType::Decimal(2)),
                ("doc".to_owned(), ColumnType::Json),
                ("at".to_owned(), ColumnType::Timestamp),
                ("data".to_owned(), ColumnType::Bytes),
                ("flag".to_owned(), ColumnType::Boolean),
            ],
            rows,
            more: false,
            total: None,
        }
    }

    fn row() -> Row {
        Box::new([
            Value::Text("=cmd|' /C'!A0, \"hi\"\r\n".into()),
            Value::Integer(i64::MAX),
            Value::Decimal(Decimal::parse("1.50").unwrap()),
            Value::Json("{\"z\": 12345678901234567890.10}".into()),
            Value::Timestamp(1),
            Value::Bytes(Box::new([0, 255])),
            Value::Boolean(true),
        ])
    }

    #[test]
    fn json_keeps_the_order_and_every_digit() {
        let nothing: Row = vec![Value::Null; 7].into();
        insta::assert_snapshot!(array(&selected(vec![row(), nothing])), @r#"
        [{"the \"name\"":"=cmd|' /C'!A0, \"hi\"\r\n","n":"9223372036854775807","price":"1.50","doc":{"z": 12345678901234567890.10},"at":"1970-01-01T00:00:00.000001Z","data":"AP8=","flag":true},
        {"the \"name\"":null,"n":null,"price":null,"doc":null,"at":null,"data":null,"flag":null}]
        "#);
        assert_eq!(array(&selected(Vec::new())), "[]");
    }

    #[test]
    fn csv_is_as_the_rfc_has_it() {
        let nothing: Row = vec![Value::Null; 7].into();
        let text = String::from_utf8(csv(&selected(vec![row(), nothing])).unwrap()).unwrap();
        assert_eq!(
            text,
            "\"the \"\"name\"\"\",n,price,doc,at,data,flag\r\n\
             \"=cmd|' /C'!A0, \"\"hi\"\"\r\n\",9223372036854775807,1.50,\"{\"\"z\"\": 12345678901234567890.10}\",\
             1970-01-01T00:00:00.000001Z,AP8=,true\r\n,,,,,,\r\n"
        );
    }
}
