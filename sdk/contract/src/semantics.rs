//! What a change makes of a row: the one definition, used by the host's row cache and by the SDK.

use crate::{Cell, Descriptor, Key, Row, TableSchema, Value};

/// How a value or a change breaks what the table declares; the text names table and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// Everything that is wrong with a descriptor's tables; empty when all is right. Names are checked too.
pub fn check(descriptor: &Descriptor) -> Vec<String> {
    let _ = descriptor;
    todo!()
}

/// The values of a row's key columns.
pub fn key_of(table: &TableSchema, row: &Row) -> Key {
    let _ = (table, row);
    todo!()
}

/// The key as bytes whose `memcmp` order is the order of the key's values, column by column: false before true,
/// integers, timestamps and decimals by number, text and bytes by their bytes.
pub fn ordered_key(key: &[Value], out: &mut Vec<u8>) {
    let _ = (key, out);
    todo!()
}

/// Checks and canonicalises a key: types, not null, at most 1,000 bytes.
pub fn conform_key(table: &TableSchema, key: Key) -> Result<Key, Violation> {
    let _ = (table, key);
    todo!()
}

/// Checks and canonicalises the prefix of a declared index.
pub fn conform_prefix(table: &TableSchema, index: u32, prefix: Vec<Value>) -> Result<Vec<Value>, Violation> {
    let _ = (table, index, prefix);
    todo!()
}

/// Checks and canonicalises a whole row: number of columns, types (integer widens to decimal, decimals get the
/// declared scale, -0 becomes 0), nulls, key and indexed text within their bytes.
pub fn conform_row(table: &TableSchema, row: Row) -> Result<Row, Violation> {
    let _ = (table, row);
    todo!()
}

/// The row that an upsert makes. `old` is None for an absent row, which starts from each column's `initial`.
pub fn upsert(table: &TableSchema, old: Option<&Row>, key: &Key, cells: Vec<Cell>) -> Result<Row, Violation> {
    let _ = (table, old, key, cells);
    todo!()
}

/// Changes a row in place; on a violation the row is left as it was or half changed, and the caller drops it.
pub fn patch(table: &TableSchema, row: &mut Row, cells: Vec<Cell>) -> Result<(), Violation> {
    let _ = (table, row, cells);
    todo!()
}
