//! Values as they are typed, and what each column takes.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike as _, Utc};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use lamphouse_contract::{ColumnType, Decimal, Value};

/// A typed text as a value of a column's kind; the error says what the kind takes.
///
/// Decimals keep their own digits: one with more after the point than the column has is a number all the same, which no
/// row equals.
pub(super) fn value(kind: ColumnType, given: &str) -> Result<Value, String> {
    let trimmed = given.trim_matches(' ');
    match kind {
        ColumnType::Boolean => boolean(trimmed).map(Value::Boolean),
        ColumnType::Integer => trimmed
            .parse()
            .map(Value::Integer)
            .map_err(|_| "whole numbers from -9223372036854775808 to 9223372036854775807".to_owned()),
        ColumnType::Real => trimmed
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Value::Real)
            .ok_or_else(|| "finite numbers, such as -1.5 or 2e9".to_owned()),
        ColumnType::Decimal(scale) => Decimal::parse(trimmed)
            .map_err(|_| decimals(scale))
            .map(|number| Value::Decimal(number.rescale(scale).unwrap_or(number))),
        ColumnType::Text | ColumnType::Json => {
            if given.contains('\0') {
                return Err("text without U+0000".to_owned());
            }
            Ok(match kind {
                ColumnType::Text => Value::Text(given.into()),
                _ => Value::Json(given.into()),
            })
        }
        ColumnType::Bytes => bytes(trimmed)
            .map(|bytes| Value::Bytes(bytes.into()))
            .ok_or_else(|| "base64 with padding, or \\x and hexadecimal digits".to_owned()),
        ColumnType::Timestamp => timestamp(trimmed).map(Value::Timestamp),
    }
}

fn decimals(scale: u8) -> String {
    match scale {
        0 => "numbers of up to 38 digits, such as -12".to_owned(),
        scale => format!(
            "numbers of up to 38 digits, such as -12.{:0>width$}",
            5,
            width = usize::from(scale)
        ),
    }
}

fn boolean(given: &str) -> Result<bool, String> {
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| given.eq_ignore_ascii_case(word));
    if is_one_of(["true", "t", "yes", "on", "1"]) {
        Ok(true)
    } else if is_one_of(["false", "f", "no", "off", "0"]) {
        Ok(false)
    } else {
        Err("true and false".to_owned())
    }
}

/// RFC 3339; a time without a zone is UTC, a day alone is its first instant.
fn timestamp(given: &str) -> Result<i64, String> {
    let wanted = || {
        let plus = match given.rsplit_once(' ') {
            // An unescaped '+' in an address reads as a blank.
            Some((before, zone)) if before.contains(['T', ' ']) && zone.contains(':') => {
                "; a '+' in an address is written %2B"
            }
            _ => "",
        };
        format!("times of RFC 3339, such as 2026-01-31T23:59:59.5Z, or days{plus}")
    };
    let time: DateTime<Utc> = if let Ok(time) = DateTime::parse_from_rfc3339(given) {
        time.to_utc()
    } else if let Ok(time) =
        NaiveDateTime::parse_from_str(&given.replacen(' ', "T", 1), "%Y-%m-%dT%H:%M:%S%.f")
    {
        time.and_utc()
    } else {
        let day = NaiveDate::parse_from_str(given, "%Y-%m-%d").map_err(|_| wanted())?;
        day.and_hms_opt(0, 0, 0).ok_or_else(wanted)?.and_utc()
    };
    // The texts of a database sort within four digits; a year of five comes in no RFC 3339 text.
    if !(0..=9999).contains(&chrono::Datelike::year(&time)) {
        return Err(wanted());
    }
    // A leap second counts as the second after it.
    if !time.nanosecond().is_multiple_of(1_000) {
        return Err("times of whole microseconds (six digits after the second)".to_owned());
    }
    Ok(time.timestamp_micros())
}

/// As PostgreSQL shows them, or RFC 4648 with padding, and with nothing in the bits that padding leaves.
fn bytes(given: &str) -> Option<Vec<u8>> {
    let decoded = match given.strip_prefix("\\x") {
        Some(digits) => HEXLOWER_PERMISSIVE.decode(digits.as_bytes()),
        None => BASE64.decode(given.as_bytes()),
    };
    decoded.ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::answer;

    #[test]
    fn each_kind_takes_what_it_shows() {
        use ColumnType::{Boolean, Bytes, Integer, Real, Text, Timestamp};
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        for (kind, given, expected) in [
            (Boolean, "TRUE", Value::Boolean(true)),
            (Boolean, "f", Value::Boolean(false)),
            (Integer, "9223372036854775807", Value::Integer(i64::MAX)),
            (Integer, "-9223372036854775808", Value::Integer(i64::MIN)),
            (Integer, " 7", Value::Integer(7)),
            (Real, "-1.5e3", Value::Real(-1500.0)),
            (ColumnType::Decimal(2), "12.5", decimal("12.50")),
            (ColumnType::Decimal(2), "12.505", decimal("12.505")),
            (Text, " it's; --", Value::Text(" it's; --".into())),
            (Bytes, "AP8=", Value::Bytes(Box::new([0, 255]))),
            (Bytes, "\\x00fF", Value::Bytes(Box::new([0, 255]))),
            (Bytes, "", Value::Bytes(Box::new([]))),
            (Timestamp, "1970-01-01T00:00:01Z", Value::Timestamp(1_000_000)),
            (Timestamp, "1970-01-01T01:00:00+01:00", Value::Timestamp(0)),
            (Timestamp, "1970-01-01 00:00:00.000001", Value::Timestamp(1)),
            (Timestamp, "1970-01-02", Value::Timestamp(86_400_000_000)),
        ] {
            assert_eq!(value(kind, given), Ok(expected), "{given}");
        }
    }

    #[test]
    fn anything_else_is_told_what_the_kind_takes() {
        use ColumnType::{Boolean, Bytes, Integer, Real, Text, Timestamp};
        for (kind, given, words) in [
            (Boolean, "maybe", "true and false"),
            (Integer, "1.0", "whole numbers"),
            (Integer, "9223372036854775808", "whole numbers"),
            (Integer, "", "whole numbers"),
            (Integer, "1 OR 1=1", "whole numbers"),
            (Real, "NaN", "finite"),
            (Real, "1e999", "finite"),
            (Real, "inf", "finite"),
            (ColumnType::Decimal(2), "1e3", "such as -12.05"),
            (ColumnType::Decimal(0), "--1", "such as -12"),
            (Text, "a\0b", "U+0000"),
            (Bytes, "A", "base64"),
            (Bytes, "AP9=", "base64"),
            (Bytes, "====", "base64"),
            (Bytes, "\\x+1", "base64"),
            (Timestamp, "today", "RFC 3339"),
            (Timestamp, "1970-01-01T01:00:00 01:00", "%2B"),
            (Timestamp, "1970-13-01", "RFC 3339"),
            (Timestamp, "-0001-01-01", "RFC 3339"),
            (Timestamp, "1970-01-01T00:00:00.0000001Z", "microseconds"),
        ] {
            let error = value(kind, given).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
    }

    proptest! {
        #[test]
        fn shown_bytes_are_taken_again(plain: Vec<u8>) {
            let shown = answer::bytes(&plain);
            prop_assert_eq!(bytes(shown.as_str().unwrap()), Some(plain));
        }

        #[test]
        fn no_text_breaks_a_kind(given: String, scale in 0u8..=38) {
            use ColumnType::{Boolean, Bytes, Integer, Json, Real, Text, Timestamp};
            for kind in [Boolean, Integer, Real, ColumnType::Decimal(scale), Text, Bytes, Timestamp, Json] {
                let _ = value(kind, &given);
            }
        }
    }
}
