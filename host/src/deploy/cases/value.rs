//! What a column should hold, as a case file writes it.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use lamphouse_contract::{Column, ColumnType, Decimal, Value, semantics};

use super::json;
use super::node::{Kind, Node, Wrong};

/// What a column should hold.
#[derive(Clone, Debug)]
pub(super) enum Should {
    /// This very value.
    Be(Value),
    /// This JSON, however it is written.
    BeJson(Node),
}

impl Should {
    /// Reads it as a value of the column.
    pub(super) fn read(column: &Column, node: &Node) -> Result<Self, Wrong> {
        let wanted = |how: &str| {
            node.wrong(format!(
                "column '{}' is {}, and {} stands here; {how}",
                column.name,
                semantics::type_name(column.kind),
                node.what()
            ))
        };
        if matches!(node.kind, Kind::Null) {
            return match (column.kind, column.nullable) {
                (_, true) => Ok(Self::Be(Value::Null)),
                (ColumnType::Json, false) => Ok(Self::BeJson(node.clone())),
                (_, false) => Err(node.wrong(format!("column '{}' is never null", column.name))),
            };
        }
        let written = match &node.kind {
            Kind::Number(text) | Kind::Text(text) => Some(text.as_str()),
            _ => None,
        };
        let value = match (column.kind, &node.kind) {
            (ColumnType::Json, _) => return Ok(Self::BeJson(node.clone())),
            (ColumnType::Boolean, Kind::Boolean(value)) => Some(Value::Boolean(*value)),
            (ColumnType::Integer, _) => written.and_then(|text| text.parse().ok()).map(Value::Integer),
            (ColumnType::Real, _) => written
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|number| number.is_finite())
                .map(|number| Value::Real(number + 0.0)),
            (ColumnType::Decimal(scale), _) => written
                .and_then(|text| Decimal::parse(text).ok())
                .and_then(|number| number.rescale(scale).ok())
                .map(Value::Decimal),
            (ColumnType::Text, Kind::Text(text)) => Some(Value::Text(text.as_str().into())),
            (ColumnType::Bytes, Kind::Text(text)) => bytes(text).map(|bytes| Value::Bytes(bytes.into())),
            (ColumnType::Timestamp, Kind::Text(text)) => micros(text).map(Value::Timestamp),
            _ => None,
        };
        value.map(Self::Be).ok_or_else(|| {
            wanted(match column.kind {
                ColumnType::Boolean => "write true or false",
                ColumnType::Integer => "write a whole number of 64 bits",
                ColumnType::Real => "write a number",
                ColumnType::Decimal(_) => {
                    "write a number or text such as \"7.50\", with no more digits after the point"
                }
                ColumnType::Text => "write it in quotes",
                ColumnType::Bytes => "write \"hex:00ff\" or base64",
                ColumnType::Timestamp => "write a time such as 2024-01-01T00:00:01Z",
                ColumnType::Json => "",
            })
        })
    }

    /// Whether a value is what it should be.
    pub(super) fn is_met(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Be(should), value) => should == value,
            (Self::BeJson(should), Value::Json(text)) => json::read(text).is_ok_and(|is| {
                let mut found = Vec::new();
                is.differences(should, "", &mut found);
                found.is_empty()
            }),
            (Self::BeJson(_), _) => false,
        }
    }
}

fn micros(text: &str) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    // Finer than a column can hold would be rounded, and so never be met by what was meant.
    time.timestamp_subsec_nanos()
        .is_multiple_of(1_000)
        .then(|| time.timestamp_micros())
}

/// `hex:00ff`, else base64 with padding.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let decoded = match text.strip_prefix("hex:") {
        Some(digits) => HEXLOWER_PERMISSIVE.decode(digits.as_bytes()),
        None => BASE64.decode(text.as_bytes()),
    };
    decoded.ok()
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn read(kind: ColumnType, text: &str) -> Result<Should, String> {
        let column = Column {
            name: "c".to_owned(),
            kind,
            nullable: false,
            initial: None,
        };
        let node = yaml::read(text).expect("YAML").remove(0);
        Should::read(&column, &node).map_err(|wrong| wrong.why)
    }

    fn value(kind: ColumnType, text: &str) -> Value {
        match read(kind, text) {
            Ok(Should::Be(value)) => value,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn values_are_read_by_the_kind_of_their_column() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).expect("a decimal"));
        let scaled = ColumnType::Decimal(2);
        assert_eq!(value(scaled, "7.5"), decimal("7.50"));
        assert_eq!(value(scaled, "\"7.50\""), decimal("7.50"));
        assert_eq!(
            value(scaled, "123456789012345678901234567890.12"),
            decimal("123456789012345678901234567890.12")
        );
        let largest = "9223372036854775807";
        assert_eq!(value(ColumnType::Integer, largest), Value::Integer(i64::MAX));
        assert_eq!(
            value(ColumnType::Integer, &format!("'{largest}'")),
            Value::Integer(i64::MAX)
        );
        assert_eq!(value(ColumnType::Real, "-0.0"), Value::Real(0.0));
        assert_eq!(
            value(ColumnType::Timestamp, "2024-01-01T01:00:00+01:00"),
            Value::Timestamp(1_704_067_200_000_000)
        );
        for text in ["hex:00ff10", "AP8Q"] {
            assert_eq!(value(ColumnType::Bytes, text), Value::Bytes([0, 255, 16].into()));
        }
        assert_eq!(
            value(ColumnType::Bytes, "\"AP8=\""),
            Value::Bytes([0, 255].into())
        );
        assert_eq!(value(ColumnType::Bytes, "\"AA==\""), Value::Bytes([0].into()));
        assert_eq!(value(ColumnType::Bytes, "\"\""), Value::Bytes([].into()));
    }

    #[test]
    fn what_does_not_fit_its_column_says_how_to_write_it() {
        for (kind, text, part) in [
            (ColumnType::Decimal(2), "1.005", "no more digits"),
            (ColumnType::Integer, "1.0", "whole number"),
            (ColumnType::Integer, "9223372036854775808", "whole number"),
            (ColumnType::Text, "123", "in quotes"),
            (ColumnType::Boolean, "yes", "true or false"),
            (ColumnType::Bytes, "hex:0", "hex:00ff"),
            (ColumnType::Bytes, "a===", "base64"),
            (ColumnType::Timestamp, "yesterday", "such as 2024"),
            (
                ColumnType::Timestamp,
                "2024-01-01T00:00:00.0000001Z",
                "such as 2024",
            ),
            (ColumnType::Real, "1e999", "a number"),
            (ColumnType::Text, "null", "never null"),
        ] {
            let why = read(kind, text).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn json_is_met_however_it_is_written() {
        let should = read(ColumnType::Json, "{a: 1.0, b: [x]}").expect("JSON");
        assert!(should.is_met(&Value::Json(r#"{"b":["x"],"a":1}"#.into())));
        assert!(!should.is_met(&Value::Json(r#"{"b":["y"],"a":1}"#.into())));
    }
}
