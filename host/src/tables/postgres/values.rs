//! Values in PostgreSQL's binary form, exactly, in both directions.
//!
//! One encoder serves COPY, arrays for `unnest`, and single parameters, so that a value cannot differ by its way in.
//! Decimals never pass through a float: `numeric` is digits to the base 10,000 on the wire.

use lamphouse_contract::{ColumnType, Decimal, TableSchema, Value};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgValueFormat};
use sqlx::{Postgres, Row as _, Type, ValueRef as _};

use crate::tables::StoreError;

/// Microseconds from 1970 to 2000, where PostgreSQL's timestamps start.
const EPOCH_SHIFT_MICROS: i64 = 946_684_800_000_000;
/// PostgreSQL's timestamps in microseconds since 2000: from 4714 BC (inclusive) to 294277 (exclusive).
const TIMESTAMP_MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
const NUMERIC_POSITIVE: u16 = 0x0000;
const NUMERIC_NEGATIVE: u16 = 0x4000;

/// OIDs of a column type and of its array type.
pub(super) fn oids(kind: ColumnType) -> (u32, u32) {
    match kind {
        ColumnType::Boolean => (16, 1000),
        ColumnType::Integer => (20, 1016),
        ColumnType::Real => (701, 1022),
        ColumnType::Decimal(_) => (1700, 1231),
        ColumnType::Text => (25, 1009),
        ColumnType::Bytes => (17, 1001),
        ColumnType::Timestamp => (1184, 1185),
        ColumnType::Json => (114, 199),
    }
}

/// The type as a cast, without length: `bigint`. Arrays of it are `bigint[]`.
pub(super) fn cast(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "bigint",
        ColumnType::Real => "double precision",
        ColumnType::Decimal(_) => "numeric",
        ColumnType::Text => "text",
        ColumnType::Bytes => "bytea",
        ColumnType::Timestamp => "timestamptz",
        ColumnType::Json => "json",
    }
}

/// Appends a value as PostgreSQL sends it in binary: four bytes of length (-1 for null), then the value.
pub(super) fn encode(kind: ColumnType, value: &Value, out: &mut Vec<u8>) -> Result<(), StoreError> {
    if matches!(value, Value::Null) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_present(kind, value, out)?;
    let bytes = i32::try_from(out.len() - start - 4)
        .map_err(|_| StoreError::Invalid("a value has more than 2 GiB; PostgreSQL takes 1 GiB".to_owned()))?;
    out[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
    Ok(())
}

fn encode_present(kind: ColumnType, value: &Value, out: &mut Vec<u8>) -> Result<(), StoreError> {
    match (kind, value) {
        (ColumnType::Boolean, Value::Boolean(value)) => out.push(u8::from(*value)),
        (ColumnType::Integer, Value::Integer(value)) => out.extend_from_slice(&value.to_be_bytes()),
        (ColumnType::Real, Value::Real(value)) => out.extend_from_slice(&value.to_be_bytes()),
        (ColumnType::Decimal(_), Value::Decimal(value)) => encode_numeric(value, out),
        (ColumnType::Text, Value::Text(text)) | (ColumnType::Json, Value::Json(text)) => {
            out.extend_from_slice(text.as_bytes());
        }
        (ColumnType::Bytes, Value::Bytes(bytes)) => out.extend_from_slice(bytes),
        (ColumnType::Timestamp, Value::Timestamp(micros)) => {
            let shifted = micros
                .checked_sub(EPOCH_SHIFT_MICROS)
                .filter(|shifted| TIMESTAMP_MICROS.contains(shifted))
                .ok_or_else(|| {
                    StoreError::Invalid(format!(
                        "the timestamp of {micros} microseconds since 1970 does not fit PostgreSQL, which holds the \
                         years 4714 BC to 294276"
                    ))
                })?;
            out.extend_from_slice(&shifted.to_be_bytes());
        }
        (kind, value) => {
            return Err(StoreError::Internal(format!(
                "a {kind:?} column was given {value:?}; rows are checked before they come here, so this is a bug"
            )));
        }
    }
    Ok(())
}

/// `numeric` on the wire: count of digits to the base 10,000, weight of the first, sign, digits after the decimal
/// point, the digits.
fn encode_numeric(value: &Decimal, out: &mut Vec<u8>) {
    let scale = usize::from(value.scale());
    let (whole, fraction) = split(value.mantissa().unsigned_abs(), scale);

    // 38 digits before the point are 10 groups, 38 after it are 10 more.
    let mut digits = [0_u16; 20];
    let mut before = 0;
    let mut rest = whole;
    while rest > 0 {
        before += 1;
        rest /= 10_000;
    }
    rest = whole;
    for place in (0..before).rev() {
        digits[place] = group(rest % 10_000);
        rest /= 10_000;
    }
    let mut count = before;
    let mut rest = fraction;
    let mut left = scale;
    while left > 0 {
        let taken = left.min(4);
        left -= taken;
        let unit = power(left);
        digits[count] = group(rest / unit * power(4 - taken));
        rest %= unit;
        count += 1;
    }

    let first = digits[..count]
        .iter()
        .position(|digit| *digit != 0)
        .unwrap_or(count);
    let last = digits[..count]
        .iter()
        .rposition(|digit| *digit != 0)
        .map_or(first, |place| place + 1);
    let kept = &digits[first..last];
    let weight = if kept.is_empty() {
        0
    } else {
        small(before) - 1 - small(first)
    };
    let sign = if value.mantissa() < 0 {
        NUMERIC_NEGATIVE
    } else {
        NUMERIC_POSITIVE
    };
    out.extend_from_slice(&small(kept.len()).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&small(scale).to_be_bytes());
    for digit in kept {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

fn split(magnitude: u128, scale: usize) -> (u128, u128) {
    (magnitude / power(scale), magnitude % power(scale))
}

fn power(exponent: usize) -> u128 {
    10_u128.pow(u32::try_from(exponent).expect("invariant: a decimal has at most 38 digits"))
}

fn group(digit: u128) -> u16 {
    u16::try_from(digit).expect("invariant: a group is below 10,000")
}

fn small(count: usize) -> i16 {
    i16::try_from(count).expect("invariant: a decimal has at most 20 groups")
}

/// Reads one value of a column; None says that the bytes are no such value.
fn decode(kind: ColumnType, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        ColumnType::Boolean => Value::Boolean(*bytes.first()? != 0),
        ColumnType::Integer => Value::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Real => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Decimal(scale) => Value::Decimal(decode_numeric(bytes, scale)?),
        ColumnType::Text => Value::Text(std::str::from_utf8(bytes).ok()?.into()),
        ColumnType::Json => Value::Json(std::str::from_utf8(bytes).ok()?.into()),
        ColumnType::Bytes => Value::Bytes(bytes.into()),
        ColumnType::Timestamp => {
            let shifted = i64::from_be_bytes(bytes.try_into().ok()?);
            Value::Timestamp(shifted.checked_add(EPOCH_SHIFT_MICROS)?)
        }
    })
}

fn decode_numeric(bytes: &[u8], scale: u8) -> Option<Decimal> {
    let word = |place: usize| {
        Some(u16::from_be_bytes(
            bytes.get(place * 2..place * 2 + 2)?.try_into().ok()?,
        ))
    };
    let count = usize::from(word(0)?);
    let weight = i32::from(word(1)?.cast_signed());
    let negative = match word(2)? {
        NUMERIC_POSITIVE => false,
        NUMERIC_NEGATIVE => true,
        // NaN and the infinities have no place in a row of ours.
        _ => return None,
    };
    let mut mantissa = 0_i128;
    for place in 0..count {
        let digit = i128::from(word(4 + place)?);
        let exponent = 4 * (weight - i32::try_from(place).ok()?) + i32::from(scale);
        let unit = 10_i128.checked_pow(exponent.unsigned_abs());
        let part = if digit == 0 {
            0
        } else if exponent >= 0 {
            digit.checked_mul(unit?)?
        } else if digit % unit? == 0 {
            digit / unit?
        } else {
            return None;
        };
        mantissa = mantissa.checked_add(part)?;
    }
    Decimal::new(if negative { -mantissa } else { mantissa }, scale).ok()
}

/// Reads the columns of `table` from a row of a prepared statement, which has them from column `first` on.
pub(super) fn decode_row(
    table: &TableSchema,
    row: &PgRow,
    first: usize,
) -> Result<lamphouse_contract::Row, StoreError> {
    table
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let unreadable = |why: &str| {
                StoreError::Internal(format!(
                    "column {} of table {} holds a value that is no {:?} ({why}); was the table changed by hand? \
                     Rebuild the projection",
                    column.name, table.name, column.kind
                ))
            };
            let raw = row.try_get_raw(first + place).map_err(|error| unreadable(&error.to_string()))?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            if raw.format() != PgValueFormat::Binary {
                return Err(unreadable("it came as text"));
            }
            let bytes = raw.as_bytes().map_err(|error| unreadable(&error.to_string()))?;
            decode(column.kind, bytes).ok_or_else(|| unreadable("it does not decode"))
        })
        .collect()
}

/// A parameter that is encoded already: one value, or one array.
pub(super) struct Encoded {
    oid: u32,
    /// None is null.
    bytes: Option<Vec<u8>>,
}

impl Encoded {
    /// One value of a column type.
    pub(super) fn scalar(kind: ColumnType, value: &Value) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        if !matches!(value, Value::Null) {
            encode_present(kind, value, &mut bytes)?;
        }
        Ok(Self {
            oid: oids(kind).0,
            bytes: (!matches!(value, Value::Null)).then_some(bytes),
        })
    }

    /// Values of one column type as a one-dimensional array.
    pub(super) fn array<'a>(
        kind: ColumnType,
        values: impl ExactSizeIterator<Item = &'a Value>,
    ) -> Result<Self, StoreError> {
        let (element, array) = oids(kind);
        let count = i32::try_from(values.len())
            .map_err(|_| StoreError::Internal("an array of more than 2^31 values".to_owned()))?;
        let mut bytes = Vec::with_capacity(20 + values.len() * 16);
        // Dimensions, "may hold nulls", element type, length, lower bound.
        for word in [1, 1, element.cast_signed(), count, 1] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        for value in values {
            encode(kind, value, &mut bytes)?;
        }
        Ok(Self {
            oid: array,
            bytes: Some(bytes),
        })
    }
}

impl Type<Postgres> for Encoded {
    fn type_info() -> PgTypeInfo {
        // Never asked: `produces` knows the type of each parameter.
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Encoded {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.oid)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(text: &str, scale: u8) -> Vec<u8> {
        let value = Decimal::parse(text).unwrap().rescale(scale).unwrap();
        let mut out = Vec::new();
        encode_numeric(&value, &mut out);
        let back = decode_numeric(&out, scale).unwrap();
        assert_eq!(
            (back.mantissa(), back.scale()),
            (value.mantissa(), scale),
            "{text} at {scale}"
        );
        out
    }

    fn words(bytes: &[u8]) -> Vec<i16> {
        bytes
            .chunks(2)
            .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }

    #[test]
    fn numerics_are_the_bytes_that_postgres_sends() {
        // Taken from `SELECT numeric_send(…)`.
        assert_eq!(words(&numeric("0", 2)), [0, 0, 0, 2]);
        assert_eq!(words(&numeric("1", 0)), [1, 0, 0, 0, 1]);
        assert_eq!(words(&numeric("12345.67", 2)), [3, 1, 0, 2, 1, 2345, 6700]);
        assert_eq!(words(&numeric("-0.0001", 4)), [1, -1, 0x4000, 4, 1]);
        assert_eq!(words(&numeric("0.00001", 5)), [1, -2, 0, 5, 1000]);
        assert_eq!(words(&numeric("10000", 2)), [1, 1, 0, 2, 1]);
    }

    #[test]
    fn numerics_of_every_scale_round_trip() {
        for scale in 0..=38 {
            for mantissa in [
                0,
                1,
                9,
                10,
                9_999,
                10_000,
                10_001,
                123_456_789,
                10_i128.pow(38) - 1,
            ] {
                for sign in [1, -1] {
                    let value = Decimal::new(sign * mantissa, scale).unwrap();
                    let mut out = Vec::new();
                    encode_numeric(&value, &mut out);
                    let back = decode_numeric(&out, scale).unwrap();
                    assert_eq!(back.mantissa(), value.mantissa(), "scale {scale}");
                }
            }
        }
    }

    #[test]
    fn timestamps_before_postgres_begins_are_refused() {
        let error = encode(
            ColumnType::Timestamp,
            &Value::Timestamp(i64::MIN),
            &mut Vec::new(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("4714 BC"), "{error}");
        encode(
            ColumnType::Timestamp,
            &Value::Timestamp(i64::MAX),
            &mut Vec::new(),
        )
        .unwrap();
    }
}
