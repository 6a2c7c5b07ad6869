//! The Rust types that columns may have.

use lamphouse_contract::{ColumnType, Decimal, Value, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result, Timestamp};

/// A Rust type that a column may have; `Option` of it is a column that may be null.
pub trait Field: Sized {
    /// The column's type. A decimal's scale is given by `#[row(scale = …)]`.
    const KIND: ColumnType;
    /// Whether null is allowed.
    const NULLABLE: bool = false;
    /// The type itself, without an `Option` around it.
    type Base: Field;
    /// The same, looked at within a row: `&str` for `String`.
    type Ref<'r>;

    /// As a value of the contract.
    fn into_value(self) -> Value;
    /// From a value of this column's type.
    fn from_value(value: &Value) -> Result<Self>;
    /// Looks at a value of this column's type.
    fn look(value: &Value) -> Result<Self::Ref<'_>>;
}

/// What can be given where a column of type `F` is to be filled: for `String` also `&str`, for `Option<T>` also a
/// plain `T`.
pub trait IntoField<F> {
    /// As a value of the contract.
    fn into_field(self) -> Value;
    /// The same, borrowed, where that needs no other value to borrow from.
    #[inline]
    fn look_field(&self) -> Option<ValueRef<'_>> {
        None
    }
}

/// JSON in a column: anything that serde writes and reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

#[cold]
fn unexpected<T>(kind: &str, value: &Value) -> Result<T> {
    Err(Error::new(format_args!(
        "the row holds {value:?} where a {kind} is due"
    )))
}

macro_rules! field {
    ($type:ty, $kind:expr, $reference:ty, $name:literal, $pattern:pat => $look:expr, $own:expr, $into:expr,
     $borrow:expr; also $($source:ty),*) => {
        impl Field for $type {
            const KIND: ColumnType = $kind;
            type Base = Self;
            type Ref<'r> = $reference;
            #[inline]
            fn into_value(self) -> Value {
                let into: fn(Self) -> Value = $into;
                into(self)
            }
            #[inline]
            fn from_value(value: &Value) -> Result<Self> {
                match value {
                    $pattern => Ok($own),
                    _ => unexpected($name, value),
                }
            }
            #[inline]
            fn look(value: &Value) -> Result<Self::Ref<'_>> {
                match value {
                    $pattern => Ok($look),
                    _ => unexpected($name, value),
                }
            }
        }
        into_field!($type, $borrow; $type $(, $source)*);
    };
}

macro_rules! into_field {
    ($type:ty, $borrow:expr; $($source:ty),*) => {$(
        impl IntoField<$type> for $source {
            #[inline]
            fn into_field(self) -> Value {
                Field::into_value(<$type>::from(self))
            }
            #[inline]
            #[allow(clippy::useless_conversion, clippy::useless_asref)] // One of the sources is the type itself.
            fn look_field(&self) -> Option<ValueRef<'_>> {
                let borrow: fn(&Self) -> ValueRef<'_> = $borrow;
                Some(borrow(self))
            }
        }
        impl IntoField<Option<$type>> for $source {
            #[inline]
            fn into_field(self) -> Value {
                Field::into_value(<$type>::from(self))
            }
        }
        impl IntoField<Option<$type>> for Option<$source> {
            #[inline]
            fn into_field(self) -> Value {
                self.map_or(Value::Null, |value| Field::into_value(<$type>::from(value)))
            }
        }
    )*};
}

field!(bool, ColumnType::Boolean, bool, "boolean", Value::Boolean(value) => *value, *value, Value::Boolean,
    |value| ValueRef::Boolean(*value); also);
field!(i64, ColumnType::Integer, i64, "integer", Value::Integer(value) => *value, *value, Value::Integer,
    |value| ValueRef::Integer(i64::from(*value));
    also i32, u32, i16, u16, i8, u8);
field!(f64, ColumnType::Real, f64, "real", Value::Real(value) => *value, *value, Value::Real,
    |value| ValueRef::Real(f64::from(*value)); also f32);
field!(Decimal, ColumnType::Decimal(0), Decimal, "decimal", Value::Decimal(value) => *value, *value, Value::Decimal,
    |value| ValueRef::Decimal(Decimal::from(*value));
    also i64);
field!(Timestamp, ColumnType::Timestamp, Timestamp, "timestamp",
    Value::Timestamp(value) => Timestamp::from_micros(*value), Timestamp::from_micros(*value),
    |value| Value::Timestamp(value.micros()), |value| ValueRef::Timestamp(value.micros()); also);
field!(String, ColumnType::Text, &'r str, "text", Value::Text(value) => value, String::from(&**value),
    |value| Value::Text(value.into_boxed_str()), |value| ValueRef::Text(value.as_ref()); also &str, &String, Box<str>, std::borrow::Cow<'_, str>);
field!(Vec<u8>, ColumnType::Bytes, &'r [u8], "byte list", Value::Bytes(value) => value, Vec::from(&**value),
    |value| Value::Bytes(value.into_boxed_slice()), |value| ValueRef::Bytes(value.as_ref()); also &[u8]);

impl<T: Serialize + DeserializeOwned> Field for Json<T> {
    const KIND: ColumnType = ColumnType::Json;
    type Base = Self;
    type Ref<'r> = &'r str;
    fn into_value(self) -> Value {
        // What serde cannot write (a map with keys that are no text) is told as a violation when the row is checked.
        Value::Json(
            serde_json::to_string(&self.0)
                .unwrap_or_else(|error| error.to_string())
                .into_boxed_str(),
        )
    }
    fn from_value(value: &Value) -> Result<Self> {
        Ok(Self(serde_json::from_str(Self::look(value)?)?))
    }
    fn look(value: &Value) -> Result<&str> {
        match value {
            Value::Json(text) => Ok(text),
            _ => unexpected("json", value),
        }
    }
}

impl<T: Serialize + DeserializeOwned> IntoField<Json<T>> for Json<T> {
    fn into_field(self) -> Value {
        self.into_value()
    }
}

impl<T: Serialize + DeserializeOwned> IntoField<Option<Json<T>>> for Json<T> {
    fn into_field(self) -> Value {
        self.into_value()
    }
}

impl<T: Serialize + DeserializeOwned> IntoField<Option<Json<T>>> for Option<Json<T>> {
    fn into_field(self) -> Value {
        self.into_value()
    }
}

impl<F: Field> Field for Option<F> {
    const KIND: ColumnType = F::KIND;
    const NULLABLE: bool = true;
    type Base = F;
    type Ref<'r> = Option<F::Ref<'r>>;
    #[inline]
    fn into_value(self) -> Value {
        self.map_or(Value::Null, F::into_value)
    }
    #[inline]
    fn from_value(value: &Value) -> Result<Self> {
        if value.is_null() {
            Ok(None)
        } else {
            F::from_value(value).map(Some)
        }
    }
    #[inline]
    fn look(value: &Value) -> Result<Self::Ref<'_>> {
        if value.is_null() {
            Ok(None)
        } else {
            F::look(value).map(Some)
        }
    }
}

/// A column that can be added to: integers, reals, decimals, nullable or not.
pub trait Number: Field {}
impl Number for i64 {}
impl Number for f64 {}
impl Number for Decimal {}
impl<N: Number> Number for Option<N> {}
