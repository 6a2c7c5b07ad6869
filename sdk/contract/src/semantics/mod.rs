//! What a change makes of a row: the one definition, used by the host's row cache and by the SDK.
//!
//! - [`conform_row`], [`conform_key`], [`is_conformed_key`], [`conform_prefix`]: a guest's values checked and brought to their one form.
//! - [`upsert`], [`patch`]: what cells make of a row.
//! - [`conform_cells`], [`merge_cells`]: changes of a row that is not at hand.
//! - [`ordered_key`], [`ordered_key_ref`], [`ordered_index`]: keys as bytes that sort.
//! - [`check`]: whether what a plugin declares can be kept at all.

mod add;
mod cells;
mod check;
pub mod json;
mod ordered;

use add::add;
pub use cells::{conform_cells, merge_cells, names_all_required};
pub use check::{
    COLUMNS_MAX, INDEX_COLUMNS_MAX, INDEXES_MAX, KEY_COLUMNS_MAX, NAME_BYTES_MAX, TABLES_MAX, check,
    check_upcaster, column_name_error, plugin_name_error, table_name_error,
};
pub use ordered::{ordered_index, ordered_key, ordered_key_ref};

use crate::{
    Cell, CellChange, Column, ColumnType, Decimal, DecimalError, Key, Row, TableSchema, Value, ValueRef,
};

/// Bytes of one key in all: texts and bytes as they are, every other value 8, decimals 16.
pub const KEY_BYTES_MAX: usize = 1_000;

/// Bytes of the columns of one declared index in all, counted as for a key.
pub const INDEX_BYTES_MAX: usize = 2_000;

/// Timestamps of the years 1 to 9999, in microseconds since 1970: what both databases keep and sort alike.
pub const TIMESTAMP_MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// How a value or a change breaks what the table declares; the text names table and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// The values of a row's key columns.
pub fn key_of(table: &TableSchema, row: &Row) -> Key {
    table
        .primary_key
        .iter()
        .map(|&column| row[column as usize].clone())
        .collect()
}

/// Checks and canonicalises a key: types, not null, at most 1,000 bytes.
pub fn conform_key(table: &TableSchema, mut key: Key) -> Result<Key, Violation> {
    if key.len() != table.primary_key.len() {
        return Err(Violation(format!(
            "table '{}': a key has {} {} ({}), but {} came",
            table.name,
            table.primary_key.len(),
            if table.primary_key.len() == 1 {
                "value"
            } else {
                "values"
            },
            names(table, &table.primary_key),
            key.len()
        )));
    }
    let mut bytes = 0;
    for (value, &column) in key.iter_mut().zip(&table.primary_key) {
        conform(table, column as usize, value)?;
        bytes += sort_bytes(value);
    }
    within_key(table, bytes)?;
    Ok(key)
}

/// Whether a key is in the form that [`conform_key`] would bring it to. A key that is not may still conform.
pub fn is_conformed_key(table: &TableSchema, key: &[ValueRef<'_>]) -> bool {
    let mut bytes = 0;
    let values_fit = key.iter().zip(&table.primary_key).all(|(value, &column)| {
        bytes += 16;
        match (table.columns[column as usize].kind, value) {
            (ColumnType::Text, ValueRef::Text(text)) => {
                bytes += text.len();
                !has_zero(text.as_bytes())
            }
            (ColumnType::Bytes, ValueRef::Bytes(value)) => {
                bytes += value.len();
                true
            }
            (ColumnType::Boolean, ValueRef::Boolean(_)) | (ColumnType::Integer, ValueRef::Integer(_)) => true,
            (ColumnType::Timestamp, ValueRef::Timestamp(micros)) => TIMESTAMP_MICROS.contains(micros),
            (ColumnType::Decimal(scale), ValueRef::Decimal(number)) => number.scale() == scale,
            _ => false,
        }
    });
    // More than the rule counts, so that a key near the limit is judged by the rule itself.
    values_fit && key.len() == table.primary_key.len() && bytes <= KEY_BYTES_MAX
}

/// Whether there is a byte 0: by words, for what is searched is short.
#[inline]
fn has_zero(bytes: &[u8]) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks();
    let in_word = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        word.wrapping_sub(LOW) & !word & HIGH != 0
    };
    words.iter().any(in_word) || rest.contains(&0)
}

/// Checks and canonicalises the prefix of a declared index: one value or more, not more than it has columns, no null.
pub fn conform_prefix(
    table: &TableSchema,
    index: u32,
    mut prefix: Vec<Value>,
) -> Result<Vec<Value>, Violation> {
    let Some(columns) = table.indexes.get(index as usize) else {
        return Err(Violation(format!(
            "table '{}' declares {} indexes; there is none with number {index} (they count from 0)",
            table.name,
            table.indexes.len()
        )));
    };
    if prefix.is_empty() || prefix.len() > columns.len() {
        return Err(Violation(format!(
            "table '{}': find by index ({}) takes 1 to {} values, but {} came",
            table.name,
            names(table, columns),
            columns.len(),
            prefix.len()
        )));
    }
    for (value, &column) in prefix.iter_mut().zip(columns) {
        if value.is_null() {
            return Err(Violation(format!(
                "{}: find looks for a value, and null is none",
                at(table, column as usize)
            )));
        }
        conform(table, column as usize, value)?;
    }
    Ok(prefix)
}

/// Checks and canonicalises a whole row: number of columns, types (integer widens to decimal, decimals get the
/// declared scale, -0 becomes 0), nulls, key and indexed text within their bytes.
pub fn conform_row(table: &TableSchema, mut row: Row) -> Result<Row, Violation> {
    if row.len() != table.columns.len() {
        return Err(Violation(format!(
            "table '{}' has {} columns, but a row of {} values came",
            table.name,
            table.columns.len(),
            row.len()
        )));
    }
    for (column, value) in row.iter_mut().enumerate() {
        conform(table, column, value)?;
    }
    let key_bytes = table
        .primary_key
        .iter()
        .map(|&column| sort_bytes(&row[column as usize]))
        .sum();
    within_key(table, key_bytes)?;
    within_indexes(table, &row)?;
    Ok(row)
}

/// The row that an upsert makes. `old` is None for an absent row, which starts from each column's `initial`.
/// The key must be conformed.
pub fn upsert(
    table: &TableSchema,
    old: Option<&Row>,
    key: &[Value],
    cells: impl IntoIterator<Item = Cell>,
) -> Result<Row, Violation> {
    if let Some(old) = old {
        let mut row = old.clone();
        patch(table, &mut row, cells)?;
        return Ok(row);
    }
    let mut row: Row = vec![Value::Null; table.columns.len()].into_boxed_slice();
    for (&column, value) in table.primary_key.iter().zip(key) {
        row[column as usize] = value.clone();
    }
    for (column, declared) in table.columns.iter().enumerate() {
        if let Some(initial) = &declared.initial {
            row[column] = initial.clone();
            conform(table, column, &mut row[column])?;
        }
    }
    apply_cells(table, &mut row, cells)?;
    for (column, declared) in table.columns.iter().enumerate() {
        if !declared.nullable && row[column].is_null() {
            return Err(Violation(format!(
                "{}: an upsert of a new row must set it, for it is not nullable and declares no initial value",
                at(table, column)
            )));
        }
    }
    within_indexes(table, &row)?;
    Ok(row)
}

/// Changes a row in place; on a violation the row is left as it was or half changed, and the caller drops it.
pub fn patch(
    table: &TableSchema,
    row: &mut Row,
    cells: impl IntoIterator<Item = Cell>,
) -> Result<(), Violation> {
    apply_cells(table, row, cells)?;
    within_indexes(table, row)
}

fn apply_cells(
    table: &TableSchema,
    row: &mut Row,
    cells: impl IntoIterator<Item = Cell>,
) -> Result<(), Violation> {
    let mut seen = Seen::default();
    for Cell { column, change } in cells {
        let index = seen.column(table, column)?;
        match change {
            CellChange::Set(mut value) => {
                conform(table, index, &mut value)?;
                row[index] = value;
            }
            CellChange::Add(value) => add(table, index, &mut row[index], &value)?,
        }
    }
    Ok(())
}

/// The columns that one change has named so far. One bit a column; [`check`] keeps tables below 256 columns.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// Refuses a column that is not there, is of the key, or was named before.
    #[inline]
    fn column(&mut self, table: &TableSchema, column: u32) -> Result<usize, Violation> {
        let index = column as usize;
        if index >= table.columns.len() {
            return Err(Violation(format!(
                "table '{}' has {} columns; there is none with number {column} (they count from 0)",
                table.name,
                table.columns.len()
            )));
        }
        let is_key = match table.primary_key[..] {
            [key] => key == column,
            ref key => key.contains(&column),
        };
        if is_key {
            return Err(Violation(format!(
                "{}: it is a key column, and a row keeps its key (remove the row and put another)",
                at(table, index)
            )));
        }
        let bit = 1 << (index % 64);
        let word = &mut self.0[(index / 64).min(3)];
        if *word & bit != 0 {
            return Err(Violation(format!(
                "{}: one change names it twice",
                at(table, index)
            )));
        }
        *word |= bit;
        Ok(index)
    }
}

/// Checks one value against its column and brings it to its one form.
#[inline]
fn conform(table: &TableSchema, column: usize, value: &mut Value) -> Result<(), Violation> {
    let declared = &table.columns[column];
    match (declared.kind, &mut *value) {
        (_, Value::Null) if declared.nullable => Ok(()),
        (ColumnType::Boolean, Value::Boolean(_))
        | (ColumnType::Integer, Value::Integer(_))
        | (ColumnType::Bytes, Value::Bytes(_)) => Ok(()),
        (ColumnType::Timestamp, Value::Timestamp(micros)) => {
            if TIMESTAMP_MICROS.contains(micros) {
                return Ok(());
            }
            Err(Violation(format!(
                "{}: {micros} microseconds since 1970 lie outside the years 1 to 9999, which both databases can keep",
                at(table, column)
            )))
        }
        (ColumnType::Text, Value::Text(text)) if !has_zero(text.as_bytes()) => Ok(()),
        (ColumnType::Real, Value::Real(number)) if number.is_finite() => {
            // 0.0 is added, so that -0 becomes 0.
            *number += 0.0;
            Ok(())
        }
        (ColumnType::Decimal(scale), Value::Decimal(number)) => {
            if number.scale() != scale {
                *number = number
                    .rescale(scale)
                    .map_err(|error| no_decimal(table, column, number, error))?;
            }
            Ok(())
        }
        (ColumnType::Decimal(scale), Value::Integer(number)) => {
            let number = Decimal::from(*number);
            let number = number
                .rescale(scale)
                .map_err(|error| no_decimal(table, column, &number, error))?;
            *value = Value::Decimal(number);
            Ok(())
        }
        (ColumnType::Json, Value::Json(text)) => json::check(text, json::DEPTH_MAX).map_err(|error| {
            Violation(format!(
                "{}: not JSON that can be kept: {error}",
                at(table, column)
            ))
        }),
        _ => Err(mismatch(table, declared, value)),
    }
}

#[cold]
fn mismatch(table: &TableSchema, declared: &Column, value: &Value) -> Violation {
    let place = format!("{}.{}", named(&table.name), named(&declared.name));
    Violation(match (declared.kind, value) {
        (_, Value::Null) => format!("{place}: null came, but the column is not nullable"),
        (ColumnType::Real, Value::Real(number)) => format!("{place}: {number} is not a finite number"),
        (ColumnType::Text, Value::Text(_)) => format!("{place}: text may not contain U+0000"),
        (kind, value) => format!(
            "{place}: the column is {}, but {} came",
            type_name(kind),
            described(value)
        ),
    })
}

#[cold]
fn no_decimal(table: &TableSchema, column: usize, number: &Decimal, error: DecimalError) -> Violation {
    Violation(format!(
        "{}: {number} does not fit {}: {error}",
        at(table, column),
        type_name(table.columns[column].kind)
    ))
}

/// Bytes that a value counts in a key or an index.
#[inline]
fn sort_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Decimal(_) => 16,
        _ => 8,
    }
}

#[inline]
fn within_key(table: &TableSchema, bytes: usize) -> Result<(), Violation> {
    if bytes > KEY_BYTES_MAX {
        return Err(Violation(format!(
            "table '{}': a key ({}) has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed",
            table.name,
            names(table, &table.primary_key)
        )));
    }
    Ok(())
}

#[inline]
fn within_indexes(table: &TableSchema, row: &Row) -> Result<(), Violation> {
    for index in &table.indexes {
        let bytes: usize = index
            .iter()
            .map(|&column| sort_bytes(&row[column as usize]))
            .sum();
        if bytes > INDEX_BYTES_MAX {
            return Err(Violation(format!(
                "table '{}': the indexed columns ({}) have {bytes} bytes; at most {INDEX_BYTES_MAX} are allowed",
                table.name,
                names(table, index)
            )));
        }
    }
    Ok(())
}

/// `orders.total`.
fn at(table: &TableSchema, column: usize) -> String {
    format!("{}.{}", named(&table.name), named(&table.columns[column].name))
}

fn names(table: &TableSchema, columns: &[u32]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|&column| named(&table.columns[column as usize].name))
        .collect();
    names.join(", ")
}

/// A column type as messages name it: `decimal(2)`.
pub fn type_name(kind: ColumnType) -> String {
    match kind {
        ColumnType::Boolean => "boolean".into(),
        ColumnType::Integer => "integer".into(),
        ColumnType::Real => "real".into(),
        ColumnType::Decimal(scale) => format!("decimal({scale})"),
        ColumnType::Text => "text".into(),
        ColumnType::Bytes => "bytes".into(),
        ColumnType::Timestamp => "timestamp".into(),
        ColumnType::Json => "json".into(),
    }
}

/// A value as messages name it: type and, cut short, what it is.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Boolean(value) => format!("boolean {value}"),
        Value::Integer(value) => format!("integer {value}"),
        Value::Real(value) => format!("real {value}"),
        Value::Decimal(value) => format!("decimal {value}"),
        Value::Text(value) => format!("text '{}'", shown(value)),
        Value::Bytes(value) => format!("{} bytes", value.len()),
        Value::Timestamp(value) => format!("timestamp {value}"),
        Value::Json(value) => format!("json {}", shown(value)),
    }
}

/// A guest's text, cut and without control characters, fit for a message.
pub(crate) fn shown(text: &str) -> String {
    shown_to(text, 40)
}

/// A name, whole where it is one; else fit for a message. Initial values are judged before the names are known to be right.
fn named(name: &str) -> String {
    shown_to(name, NAME_BYTES_MAX)
}

pub(crate) fn shown_to(text: &str, chars_max: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(chars_max)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
