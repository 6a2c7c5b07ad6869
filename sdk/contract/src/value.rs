use crate::Decimal;

/// One exact value of a row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A finite double; never -0.
    Real(f64),
    /// An exact decimal.
    Decimal(Decimal),
    /// UTF-8 text without U+0000.
    Text(Box<str>),
    /// Raw bytes.
    Bytes(Box<[u8]>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// JSON text.
    Json(Box<str>),
}

/// A row: one value per column, in the declared order.
pub type Row = Box<[Value]>;

/// A key: one value per key column, in the order of [`crate::TableSchema::primary_key`].
pub type Key = Box<[Value]>;
