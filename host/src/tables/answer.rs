//! The JSON of a query's answer: the same for both databases.

use data_encoding::BASE64;
use lamphouse_contract::Value;
use serde_json::Value as Json;

/// Largest integer that every JSON reader keeps exactly: 2^53.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// A number, or a text above 2^53.
pub fn integer(value: i64) -> Json {
    if value.unsigned_abs() > EXACT_INTEGER_MAX {
        Json::String(value.to_string())
    } else {
        Json::from(value)
    }
}

/// A number; a text for what JSON has no number for (`Infinity`, `NaN`: a query can compute them).
pub fn real(value: f64) -> Json {
    match serde_json::Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => Json::from("NaN"),
        None if value > 0.0 => Json::from("Infinity"),
        None => Json::from("-Infinity"),
    }
}

/// Base64 with padding (RFC 4648).
pub fn bytes(value: &[u8]) -> Json {
    Json::String(BASE64.encode(value))
}

/// The value of a JSON column: the JSON that it holds. Text that is no JSON (a query can cut one) stays text.
pub fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::from(text))
}

/// A value of a row.
pub fn cell(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::from(*value),
        Value::Integer(value) => integer(*value),
        Value::Real(value) => real(*value),
        Value::Decimal(value) => Json::from(value.to_string()),
        Value::Text(text) => Json::from(&**text),
        Value::Bytes(value) => bytes(value),
        Value::Timestamp(micros) => {
            let time = chrono::DateTime::from_timestamp_micros(*micros);
            time.map_or_else(
                || integer(*micros),
                |time| Json::from(time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
            )
        }
        Value::Json(text) => json(text),
    }
}

/// Names as a message lists them, in their order.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    if names.is_empty() {
        return "none yet".to_owned();
    }
    names.sort_unstable();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_above_2_to_the_53_are_text() {
        assert_eq!(integer(1 << 53), Json::from(1i64 << 53));
        assert_eq!(integer((1 << 53) + 1), Json::from("9007199254740993"));
        assert_eq!(integer(i64::MIN), Json::from("-9223372036854775808"));
    }

    #[test]
    fn cells_are_as_a_query_gives_them() {
        let values = [
            Value::Integer(1 << 60),
            Value::Text("a".into()),
            Value::Bytes([102].into()),
            Value::Timestamp(1_000_000),
            Value::Null,
        ];
        assert_eq!(
            values.iter().map(cell).collect::<Vec<_>>(),
            [
                Json::from("1152921504606846976"),
                Json::from("a"),
                Json::from("Zg=="),
                Json::from("1970-01-01T00:00:01.000000Z"),
                Json::Null
            ]
        );
    }

    #[test]
    fn bytes_are_base64_as_the_rfc_has_it() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(bytes(plain.as_bytes()), Json::from(encoded));
        }
    }
}
