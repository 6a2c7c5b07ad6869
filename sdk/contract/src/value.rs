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

/// A [`Value`] whose text and bytes are borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// An exact decimal.
    Decimal(Decimal),
    /// UTF-8 text.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// JSON text.
    Json(&'a str),
}

impl Value {
    /// The same value, borrowed.
    #[inline]
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Decimal(value) => ValueRef::Decimal(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Bytes(value) => ValueRef::Bytes(value),
            Self::Timestamp(value) => ValueRef::Timestamp(*value),
            Self::Json(value) => ValueRef::Json(value),
        }
    }

    /// Bytes that it holds in memory beside the value itself: of text, bytes and JSON.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// Whether it is no value.
    #[inline]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl ValueRef<'_> {
    /// The same value with its own text and bytes.
    #[inline]
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(value),
            Self::Integer(value) => Value::Integer(value),
            Self::Real(value) => Value::Real(value),
            Self::Decimal(value) => Value::Decimal(value),
            Self::Text(value) => Value::Text(value.into()),
            Self::Bytes(value) => Value::Bytes(value.into()),
            Self::Timestamp(value) => Value::Timestamp(value),
            Self::Json(value) => Value::Json(value.into()),
        }
    }
}
