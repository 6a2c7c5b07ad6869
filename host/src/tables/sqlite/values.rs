//! Values as SQLite keeps them, and back.

use lamphouse_contract::{ColumnType, Decimal, DecimalBuffer, Value};
use rusqlite::Statement;
use rusqlite::types::ValueRef;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Binds one value; `text` is a buffer that is used again and again, so that a flush does not allocate per value.
#[inline]
pub(super) fn bind(
    statement: &mut Statement<'_>,
    place: usize,
    value: &Value,
    text: &mut String,
) -> rusqlite::Result<()> {
    match value {
        Value::Null => statement.raw_bind_parameter(place, rusqlite::types::Null),
        Value::Boolean(value) => statement.raw_bind_parameter(place, i64::from(*value)),
        Value::Integer(value) => statement.raw_bind_parameter(place, *value),
        Value::Real(value) => statement.raw_bind_parameter(place, *value),
        Value::Text(value) | Value::Json(value) => statement.raw_bind_parameter(place, &**value),
        Value::Bytes(value) => statement.raw_bind_parameter(place, &**value),
        Value::Decimal(value) => {
            statement.raw_bind_parameter(place, value.encode(&mut DecimalBuffer::default()))
        }
        Value::Timestamp(micros) => {
            text.clear();
            write_timestamp(*micros, text);
            statement.raw_bind_parameter(place, text.as_str())
        }
    }
}

/// Reads one value by its declared type; the error says what is there instead.
pub(super) fn decode(kind: ColumnType, stored: ValueRef<'_>) -> Result<Value, String> {
    let value = match (kind, stored) {
        (_, ValueRef::Null) => Value::Null,
        (ColumnType::Boolean, ValueRef::Integer(value @ (0 | 1))) => Value::Boolean(value == 1),
        (ColumnType::Integer, ValueRef::Integer(value)) => Value::Integer(value),
        (ColumnType::Real, ValueRef::Real(value)) => Value::Real(value),
        (ColumnType::Bytes, ValueRef::Blob(bytes)) => Value::Bytes(bytes.into()),
        (_, ValueRef::Text(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "text that is not UTF-8".to_owned())?;
            return decode_text(kind, text).ok_or_else(|| format!("the text '{}'", shortened(text)));
        }
        (_, other) => return Err(format!("a value of type {}", other.data_type())),
    };
    Ok(value)
}

fn decode_text(kind: ColumnType, text: &str) -> Option<Value> {
    match kind {
        ColumnType::Text => Some(Value::Text(text.into())),
        ColumnType::Json => Some(Value::Json(text.into())),
        ColumnType::Timestamp => parse_timestamp(text).map(Value::Timestamp),
        ColumnType::Decimal(scale) => {
            let decimal = Decimal::parse(text).ok()?.rescale(scale).ok()?;
            Some(Value::Decimal(decimal))
        }
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Appends `2026-01-31T23:59:59.000001Z`. Years beyond 0 to 9999 get a sign and six digits (ISO 8601's expanded form):
/// they come back exactly, but do not sort as text.
pub(super) fn write_timestamp(micros: i64, out: &mut String) {
    let (year, month, day) = civil(micros.div_euclid(MICROS_PER_DAY));
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    if (0..=9999).contains(&year) {
        digits(year, 4, out);
    } else {
        out.push(if year < 0 { '-' } else { '+' });
        digits(year.abs(), 6, out);
    }
    let seconds = of_day / MICROS_PER_SECOND;
    for (sign, value, width) in [
        ('-', month, 2),
        ('-', day, 2),
        ('T', seconds / 3600, 2),
        (':', seconds / 60 % 60, 2),
        (':', seconds % 60, 2),
        ('.', of_day % MICROS_PER_SECOND, 6),
    ] {
        out.push(sign);
        digits(value, width, out);
    }
    out.push('Z');
}

fn digits(value: i64, width: u32, out: &mut String) {
    for place in (0..width).rev() {
        let digit = value / 10i64.pow(place) % 10;
        out.push(char::from(b'0' + digit as u8));
    }
}

/// The inverse of [`write_timestamp`]; None for any other text.
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (sign, width) = match bytes.first()? {
        b'-' => (-1, 6),
        b'+' => (1, 6),
        _ => (1, 4),
    };
    let start = usize::from(width == 6);
    let year = sign * number(bytes.get(start..start + width)?)?;
    let rest = bytes.get(start + width..)?;
    let separators = [
        (0, b'-'),
        (3, b'-'),
        (6, b'T'),
        (9, b':'),
        (12, b':'),
        (15, b'.'),
        (22, b'Z'),
    ];
    if rest.len() != 23 || separators.iter().any(|(place, sign)| rest[*place] != *sign) {
        return None;
    }
    let (month, day) = (number(&rest[1..3])?, number(&rest[4..6])?);
    let (hour, minute, second) = (
        number(&rest[7..9])?,
        number(&rest[10..12])?,
        number(&rest[13..15])?,
    );
    let micros = number(&rest[16..22])?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros;
    // The earliest day begins before the earliest instant, so the sum is made in 128 bits.
    let total = i128::from(days(year, month, day)) * i128::from(MICROS_PER_DAY) + i128::from(of_day);
    i64::try_from(total).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years begin in March
/// here, so that the leap day is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(micros: i64) -> String {
        let mut text = String::new();
        write_timestamp(micros, &mut text);
        text
    }

    #[test]
    fn timestamps_are_iso_texts() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shown(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(shown(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(parse_timestamp("1970-01-01 00:00:00.000000Z"), None);
        assert_eq!(parse_timestamp("1970-13-01T00:00:00.000000Z"), None);
    }

    proptest! {
        #[test]
        fn every_timestamp_comes_back(micros: i64) {
            prop_assert_eq!(parse_timestamp(&shown(micros)), Some(micros));
        }

        #[test]
        fn timestamps_of_four_digit_years_sort_as_text(
            left in -62_167_219_200_000_000i64..253_402_300_800_000_000,
            right in -62_167_219_200_000_000i64..253_402_300_800_000_000,
        ) {
            prop_assert_eq!(shown(left).cmp(&shown(right)), left.cmp(&right));
        }

        #[test]
        fn timestamps_are_what_chrono_says(micros in -62_167_219_200_000_000i64..253_402_300_800_000_000) {
            let expected = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            let expected = expected.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            prop_assert_eq!(shown(micros), expected);
        }
    }

    #[test]
    fn the_extremes_come_back() {
        for micros in [i64::MIN, i64::MAX] {
            assert_eq!(parse_timestamp(&shown(micros)), Some(micros));
        }
    }
}
