//! The declared indexes of a table, over its rows in memory.
//!
//! *Invariant:* an index that nobody has looked in is not kept: most projectors declare theirs for readers of the table.

use std::collections::BTreeMap;
use std::ops::Bound;

use lamphouse_contract::{Row, TableSchema, Value, semantics};

/// Memory of an entry beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 48;

/// Ordered index columns and key of every present row in memory, and its place.
type Entries = BTreeMap<Box<[u8]>, u32>;

/// Per declared index its entries, from the first lookup on.
pub(super) struct Lookups(Vec<Option<Entries>>);

impl Lookups {
    pub(super) fn new(schema: &TableSchema) -> Self {
        Self(schema.indexes.iter().map(|_| None).collect())
    }

    /// Whether nobody has looked in any.
    pub(super) fn are_unused(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Before a lookup: enters all present rows (place, ordered key, row) if it is the first. Gives the bytes that this
    /// takes.
    pub(super) fn prepare<'r>(
        &mut self,
        schema: &TableSchema,
        index: usize,
        rows: impl Iterator<Item = (u32, &'r [u8], &'r Row)>,
    ) -> usize {
        if self.0[index].is_some() {
            return 0;
        }
        let columns = &schema.indexes[index];
        let entries: Entries = rows
            .map(|(place, key, row)| (entry(columns, row, key), place))
            .collect();
        let bytes = entries.keys().map(|entry| entry_bytes(entry)).sum();
        self.0[index] = Some(entries);
        bytes
    }

    /// The row at a place is another one, or none. Gives the bytes that came and those that went.
    pub(super) fn replace(
        &mut self,
        schema: &TableSchema,
        place: u32,
        key: &[u8],
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> (usize, usize) {
        let (mut more, mut less) = (0, 0);
        for (entries, columns) in self.0.iter_mut().zip(&schema.indexes) {
            let Some(entries) = entries else { continue };
            let before = before.map(|row| entry(columns, row, key));
            let after = after.map(|row| entry(columns, row, key));
            if before == after {
                continue;
            }
            if let Some(before) = before {
                less += entry_bytes(&before);
                entries.remove(&before);
            }
            if let Some(after) = after {
                more += entry_bytes(&after);
                entries.insert(after, place);
            }
        }
        (more, less)
    }

    /// Places of the rows whose first columns of the index equal the prefix, in its order; with a whole prefix only those
    /// with keys from `after` on.
    pub(super) fn find(
        &self,
        schema: &TableSchema,
        index: usize,
        prefix: &[Value],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = u32> {
        let mut from = Vec::new();
        semantics::ordered_key(prefix, &mut from);
        let begins = from.clone();
        if prefix.len() == schema.indexes[index].len() {
            // The rest of the entry is the key itself, so the page can begin right there.
            from.extend_from_slice(after.unwrap_or_default());
        }
        let entries = self.0[index].iter();
        entries
            .flat_map(move |entries| {
                entries.range::<[u8], _>((Bound::Included(from.as_slice()), Bound::Unbounded))
            })
            .take_while(move |(entry, _)| entry.starts_with(&begins))
            .map(|(_, &place)| place)
    }
}

fn entry_bytes(entry: &[u8]) -> usize {
    entry.len() + ENTRY_OVERHEAD_BYTES
}

fn entry(columns: &[u32], row: &Row, key: &[u8]) -> Box<[u8]> {
    let mut entry = Vec::with_capacity(key.len() + 32);
    for &column in columns {
        semantics::ordered_key(std::slice::from_ref(&row[column as usize]), &mut entry);
    }
    entry.extend_from_slice(key);
    entry.into_boxed_slice()
}
