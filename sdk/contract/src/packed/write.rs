//! Writes the pieces of the packed format in their shortest form.

use crate::{DecimalBuffer, Value, ValueRef};

pub(super) const EXT_DECIMAL: i8 = 1;
pub(super) const EXT_TIMESTAMP: i8 = 2;
pub(super) const EXT_JSON: i8 = 3;

/// Opens an array of so many entries.
#[inline]
pub fn write_array(out: &mut Vec<u8>, entries: usize) {
    match entries {
        0..=15 => out.push(0x90 | entries as u8),
        16..=0xffff => write_head(out, 0xdc, &(entries as u16).to_be_bytes()),
        _ => write_head(out, 0xdd, &(entries as u32).to_be_bytes()),
    }
}

#[inline]
fn write_head<const N: usize>(out: &mut Vec<u8>, tag: u8, number: &[u8; N]) {
    out.push(tag);
    out.extend_from_slice(number);
}

/// Writes an unsigned integer.
#[inline]
pub fn write_uint(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => write_head(out, 0xcc, &[number as u8]),
        0x100..=0xffff => write_head(out, 0xcd, &(number as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => write_head(out, 0xce, &(number as u32).to_be_bytes()),
        _ => write_head(out, 0xcf, &number.to_be_bytes()),
    }
}

/// Writes a signed integer.
#[inline]
pub fn write_int(out: &mut Vec<u8>, number: i64) {
    match number {
        0.. => write_uint(out, number as u64),
        -0x20..=-1 => out.push(number as u8),
        -0x80..=-0x21 => write_head(out, 0xd0, &(number as i8).to_be_bytes()),
        -0x8000..=-0x81 => write_head(out, 0xd1, &(number as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => write_head(out, 0xd2, &(number as i32).to_be_bytes()),
        _ => write_head(out, 0xd3, &number.to_be_bytes()),
    }
}

/// Writes a text.
#[inline]
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=0xff => write_head(out, 0xd9, &[length as u8]),
        length @ 0x100..=0xffff => write_head(out, 0xda, &(length as u16).to_be_bytes()),
        length => write_head(out, 0xdb, &(length as u32).to_be_bytes()),
    }
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        length @ 0..=0xff => write_head(out, 0xc4, &[length as u8]),
        length @ 0x100..=0xffff => write_head(out, 0xc5, &(length as u16).to_be_bytes()),
        length => write_head(out, 0xc6, &(length as u32).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

fn write_ext(out: &mut Vec<u8>, kind: i8, bytes: &[u8]) {
    match bytes.len() {
        1 => out.push(0xd4),
        2 => out.push(0xd5),
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        16 => out.push(0xd8),
        length @ 0..=0xff => write_head(out, 0xc7, &[length as u8]),
        length @ 0x100..=0xffff => write_head(out, 0xc8, &(length as u16).to_be_bytes()),
        length => write_head(out, 0xc9, &(length as u32).to_be_bytes()),
    }
    out.push(kind as u8);
    out.extend_from_slice(bytes);
}

/// Writes a value whose text is borrowed.
#[inline]
pub fn write_value_ref(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.push(0xc0),
        ValueRef::Boolean(value) => out.push(0xc2 | u8::from(value)),
        ValueRef::Integer(value) => write_int(out, value),
        ValueRef::Real(value) => write_head(out, 0xcb, &value.to_bits().to_be_bytes()),
        ValueRef::Decimal(value) => {
            write_ext(
                out,
                EXT_DECIMAL,
                value.encode(&mut DecimalBuffer::default()).as_bytes(),
            );
        }
        ValueRef::Text(value) => write_str(out, value),
        ValueRef::Bytes(value) => write_bin(out, value),
        ValueRef::Timestamp(value) => write_ext(out, EXT_TIMESTAMP, &value.to_be_bytes()),
        ValueRef::Json(value) => write_ext(out, EXT_JSON, value.as_bytes()),
    }
}

/// Writes a value.
#[inline]
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    write_value_ref(out, value.borrow());
}

/// Writes a row or a key.
#[inline]
pub fn write_values(out: &mut Vec<u8>, values: &[Value]) {
    write_array(out, values.len());
    for value in values {
        write_value(out, value);
    }
}
