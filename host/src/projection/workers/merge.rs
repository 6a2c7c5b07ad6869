//! What several workers changed, as one flush.

use lamphouse_contract::{Descriptor, Value, semantics};

use crate::tables::TableFlush;

/// One flush a table, in key order.
pub(super) fn merged(descriptor: &Descriptor, mut parts: Vec<TableFlush>) -> Vec<TableFlush> {
    parts.sort_by_key(|part| part.table);
    let mut merged: Vec<TableFlush> = Vec::with_capacity(descriptor.tables.len());
    for mut part in parts {
        match merged.last_mut().filter(|last| last.table == part.table) {
            Some(last) => {
                last.inserts.append(&mut part.inserts);
                last.upserts.append(&mut part.upserts);
                last.removes.append(&mut part.removes);
            }
            None => merged.push(part),
        }
    }
    for flush in &mut merged {
        let schema = &descriptor.tables[flush.table];
        let ordered = |key: &[Value]| {
            let mut bytes = Vec::with_capacity(32);
            semantics::ordered_key(key, &mut bytes);
            bytes
        };
        for rows in [&mut flush.inserts, &mut flush.upserts] {
            rows.sort_by_cached_key(|row| ordered(&semantics::key_of(schema, row)));
        }
        flush.removes.sort_by_cached_key(|key| ordered(key));
    }
    merged
}
