//! Keys as bytes whose `memcmp` order is the order of the values.

use crate::{Value, ValueRef};

/// The key as bytes whose `memcmp` order is the order of the key's values, column by column: false before true,
/// integers, timestamps and decimals by number, text and bytes by their bytes. Appends to `out`.
///
/// The key must be conformed (decimals at their column's scale). Keys of one table never are each other's prefix, and
/// the bytes of a key's first columns are a prefix of the whole key's bytes.
pub fn ordered_key(key: &[Value], out: &mut Vec<u8>) {
    for value in key {
        ordered_value(value.borrow(), out);
    }
}

/// The same for a key whose values are borrowed.
pub fn ordered_key_ref(key: &[ValueRef<'_>], out: &mut Vec<u8>) {
    for &value in key {
        ordered_value(value, out);
    }
}

/// The same for the columns of an index, which may be null: null before every value.
pub fn ordered_index<'v>(values: impl IntoIterator<Item = &'v Value>, out: &mut Vec<u8>) {
    for value in values {
        out.push(u8::from(!value.is_null()));
        ordered_value(value.borrow(), out);
    }
}

#[inline]
fn ordered_value(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => {}
        ValueRef::Boolean(value) => out.push(u8::from(value)),
        // With the sign bit turned, negative numbers come before positive ones.
        ValueRef::Integer(value) | ValueRef::Timestamp(value) => {
            out.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
        }
        ValueRef::Decimal(value) => {
            out.extend_from_slice(&((value.mantissa() as u128) ^ (1 << 127)).to_be_bytes());
        }
        ValueRef::Real(value) => {
            let bits = value.to_bits();
            let mask = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
            out.extend_from_slice(&(bits ^ mask).to_be_bytes());
        }
        // Text has no U+0000, so one byte 0 ends it.
        ValueRef::Text(text) | ValueRef::Json(text) => {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        // A 0 within becomes 0 255; 0 0 ends.
        ValueRef::Bytes(bytes) => {
            for &byte in bytes {
                out.push(byte);
                if byte == 0 {
                    out.push(0xff);
                }
            }
            out.extend_from_slice(&[0, 0]);
        }
    }
}
