//! The row cache of one table: rows in memory, changed rows listed for the next flush, bounded by eviction.
//!
//! *Invariants:* a row that was changed since the last committed flush is always here, so a miss may be answered by
//! the database; while the table was empty at first and nothing was evicted, everything in it is here, so a miss is
//! absent; while it is known what was evicted, so is a miss of any other key. A batch can be undone.
//! Pure: misses are the caller's to read.

mod lookups;
mod order;
mod places;
mod slots;

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use lamphouse_contract::{Key, Row, TableSchema, Value};

use self::lookups::Lookups;
use self::order::sort_by_key;
use self::places::Places;
use self::slots::Slots;
use crate::tables::TableFlush;

/// What is known of one key.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// There is a row.
    Present(Arc<Row>),
    /// There is none.
    Absent,
    /// There may be one in the database, which the next flush removes.
    Removed(Key),
}

struct Slot {
    /// [`semantics::ordered_key`] of the row's key: hashes, compares and sorts.
    key: Box<[u8]>,
    content: Content,
    /// Changed since the last flush was taken.
    dirty: bool,
    /// In the list of dirty slots (a batch that was undone may leave a clean slot there).
    listed: bool,
    /// The physical table may have a row of this key, with every flush taken so far.
    stored: bool,
    /// The last flush that carries this row; it must be committed before the slot may be evicted.
    flush: u64,
    /// The last batch that saved this slot for undoing.
    batch: u64,
    /// Second chance of the eviction clock.
    referenced: bool,
    bytes: usize,
}

struct Undo {
    slot: u32,
    before: Before,
    dirty: bool,
}

/// What a slot was before a change.
enum Before {
    /// Nothing was known of the key, so the slot goes.
    Unknown,
    Content(Content),
    /// The same row with other cells: so many, the last of [`TableCache::cells`].
    Cells(usize),
}

/// The rows of one table that are in memory.
pub(crate) struct TableCache {
    table: usize,
    places: Places,
    slots: Slots<Option<Slot>>,
    free: Vec<u32>,
    /// Slots changed since the last flush.
    dirty: Vec<u32>,
    lookups: Lookups,
    undo: Vec<Undo>,
    /// Columns and values that were changed in place.
    cells: Vec<(u32, Value)>,
    batch: u64,
    hand: usize,
    bytes: usize,
    /// Hashes of the keys whose rows were evicted, where the table was empty at first: any other key that is not here is
    /// in no row, and need not be asked for. None where that is not known.
    evicted: Option<HashTable<u64>>,
    hasher: FixedState,
}

/// Memory of the hash of an evicted key.
const EVICTED_BYTES: usize = 16;

/// Memory of a slot beside its key and row: the slot itself, its place, allocator overhead.
const SLOT_OVERHEAD_BYTES: usize = std::mem::size_of::<Option<Slot>>() + 48;

fn row_bytes(row: &Row) -> usize {
    let texts: usize = row
        .iter()
        .map(|value| match value {
            Value::Text(text) | Value::Json(text) => text.len() + 16,
            Value::Bytes(bytes) => bytes.len() + 16,
            _ => 0,
        })
        .sum();
    texts + std::mem::size_of_val::<[Value]>(row) + 48
}

impl TableCache {
    /// The cache of table number `table`. `empty` says that the physical table has no row, so that the cache is whole.
    pub(crate) fn new(table: usize, schema: &TableSchema, empty: bool) -> Self {
        Self {
            table,
            places: Places::default(),
            slots: Slots::default(),
            free: Vec::new(),
            dirty: Vec::new(),
            lookups: Lookups::new(schema),
            undo: Vec::new(),
            cells: Vec::new(),
            batch: 1,
            hand: 0,
            bytes: 0,
            evicted: empty.then(HashTable::new),
            hasher: FixedState::default(),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether every row of the table is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.evicted.as_ref().is_some_and(HashTable::is_empty)
    }

    /// Whether a key that is not here is surely in no row of the table.
    fn is_absent(&self, key: &[u8]) -> bool {
        self.evicted.as_ref().is_some_and(|evicted| {
            let hash = self.hasher.hash_one(key);
            evicted.find(hash, |other| *other == hash).is_none()
        })
    }

    fn slot(&self, index: u32) -> &Slot {
        self.slots[index as usize]
            .as_ref()
            .expect("invariant: a listed slot is filled")
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot {
        self.slots[index as usize]
            .as_mut()
            .expect("invariant: a listed slot is filled")
    }

    fn lookup(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.places.find(hash, |index| *self.slot(index).key == *key)
    }

    /// What is known of a key: `Some(row or none)`, or `None` when the database must be asked.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Option<Arc<Row>>> {
        match self.lookup(key) {
            Some(index) => {
                let slot = self.slot_mut(index);
                slot.referenced = true;
                Some(match &slot.content {
                    Content::Present(row) => Some(row.clone()),
                    Content::Absent | Content::Removed(_) => None,
                })
            }
            None => self.is_absent(key).then_some(None),
        }
    }

    /// Whether the database need not be asked for the key.
    pub(crate) fn knows(&self, key: &[u8]) -> bool {
        self.holds(key) || self.is_absent(key)
    }

    /// Whether the key is here.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.lookup(key).is_some()
    }

    /// Takes in what the database said of a key; what is here already wins.
    pub(crate) fn learn(&mut self, schema: &TableSchema, key: Box<[u8]>, row: Option<Row>) {
        if self.lookup(&key).is_none() {
            let stored = row.is_some();
            let content = row.map_or(Content::Absent, |row| Content::Present(Arc::new(row)));
            let index = self.insert(key);
            self.slot_mut(index).stored = stored;
            self.replace(schema, index, content);
        }
    }

    /// Changes a key, undoably.
    pub(crate) fn set(&mut self, schema: &TableSchema, key: &[u8], content: Content) {
        match self.lookup(key) {
            Some(index) => self.set_at(schema, index, true, content),
            None => {
                let known = self.is_absent(key);
                let index = self.insert(key.into());
                self.set_at(schema, index, known, content);
            }
        }
    }

    /// Changes a slot, undoably; `known` says whether anything was known of its key before.
    fn set_at(&mut self, schema: &TableSchema, index: u32, known: bool, content: Content) {
        let batch = self.batch;
        let slot = self.slot_mut(index);
        slot.referenced = true;
        if slot.batch != batch {
            slot.batch = batch;
            let before = match known {
                true => Before::Content(slot.content.clone()),
                false => Before::Unknown,
            };
            let dirty = slot.dirty;
            self.undo.push(Undo {
                slot: index,
                before,
                dirty,
            });
        }
        let slot = self.slot_mut(index);
        slot.dirty = true;
        if !slot.listed {
            slot.listed = true;
            self.dirty.push(index);
        }
        self.replace(schema, index, content);
    }

    /// Applies `change`, which touches no other than these columns, to the row in place when nobody else holds it, else to
    /// a copy; undoable like [`Self::set`]. None where no row is here. After an error, the batch is to be undone.
    pub(crate) fn modify<E>(
        &mut self,
        schema: &TableSchema,
        key: &[u8],
        columns: impl Iterator<Item = u32> + Clone,
        change: impl FnOnce(&mut Row) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let index = self.lookup(key)?;
        let is_indexed = |column: u32| schema.indexes.iter().any(|index| index.contains(&column));
        let moves = !self.lookups.are_unused() && columns.clone().any(is_indexed);
        let batch = self.batch;
        let slot = self.slots[index as usize]
            .as_mut()
            .expect("invariant: a placed slot is filled");
        let Content::Present(shared) = &mut slot.content else {
            return None;
        };
        let Some(row) = Arc::get_mut(shared).filter(|_| !moves) else {
            let mut row = Row::clone(shared);
            if let Err(error) = change(&mut row) {
                return Some(Err(error));
            }
            self.set_at(schema, index, true, Content::Present(Arc::new(row)));
            return Some(Ok(()));
        };
        if slot.batch != batch {
            let before = self.cells.len();
            let cells = columns.filter_map(|column| Some((column, row.get(column as usize)?.clone())));
            self.cells.extend(cells);
            self.undo.push(Undo {
                slot: index,
                before: Before::Cells(self.cells.len() - before),
                dirty: slot.dirty,
            });
        }
        if let Err(error) = change(row) {
            return Some(Err(error));
        }
        let after = SLOT_OVERHEAD_BYTES + slot.key.len() + row_bytes(row);
        slot.referenced = true;
        slot.dirty = true;
        let listed = std::mem::replace(&mut slot.listed, true);
        let before = std::mem::replace(&mut slot.bytes, after);
        self.bytes = self.bytes + after - before;
        if !listed {
            self.dirty.push(index);
        }
        Some(Ok(()))
    }

    fn insert(&mut self, key: Box<[u8]>) -> u32 {
        let bytes = SLOT_OVERHEAD_BYTES + key.len();
        let hash = self.hasher.hash_one(&*key);
        let stored = !self.is_absent(&key);
        let slot = Slot {
            key,
            content: Content::Absent,
            dirty: false,
            listed: false,
            stored,
            flush: 0,
            batch: 0,
            referenced: true,
            bytes,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(slot);
                index
            }
            None => {
                self.slots.push(Some(slot));
                u32::try_from(self.slots.len() - 1)
                    .expect("invariant: the byte budget ends long before 2^32 rows")
            }
        };
        self.bytes += bytes;
        self.places.insert(hash, index);
        index
    }

    /// Sets the content and keeps bytes and indexes right.
    fn replace(&mut self, schema: &TableSchema, index: u32, content: Content) {
        let slot = self.slots[index as usize]
            .as_mut()
            .expect("invariant: a listed slot is filled");
        let row = match &content {
            Content::Present(row) => row_bytes(row),
            Content::Absent => 0,
            Content::Removed(key) => std::mem::size_of_val::<[Value]>(key),
        };
        let bytes = SLOT_OVERHEAD_BYTES + slot.key.len() + row;
        self.bytes = self.bytes + bytes - slot.bytes;
        slot.bytes = bytes;
        let old = std::mem::replace(&mut slot.content, content);
        if !self.lookups.are_unused() {
            let row = |content: &Content| match content {
                Content::Present(row) => Some(row.clone()),
                Content::Absent | Content::Removed(_) => None,
            };
            let (before, after) = (row(&old), row(&slot.content));
            let (more, less) =
                self.lookups
                    .replace(schema, index, &slot.key, before.as_deref(), after.as_deref());
            self.bytes = self.bytes + more - less;
        }
    }

    /// Keeps the changes of the batch.
    pub(crate) fn keep_batch(&mut self) {
        self.batch += 1;
        self.undo.clear();
        self.cells.clear();
    }

    /// Undoes the changes of the batch.
    pub(crate) fn undo_batch(&mut self, schema: &TableSchema) {
        self.batch += 1;
        let mut gone = Vec::new();
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            match undo.before {
                Before::Content(content) => self.replace(schema, undo.slot, content),
                Before::Cells(count) => {
                    let cells = self.cells.split_off(self.cells.len() - count);
                    if let Content::Present(row) = &self.slot(undo.slot).content {
                        let mut row = Row::clone(row);
                        for (column, value) in cells {
                            row[column as usize] = value;
                        }
                        self.replace(schema, undo.slot, Content::Present(Arc::new(row)));
                    }
                }
                Before::Unknown => {
                    self.remove(schema, undo.slot);
                    gone.push(undo.slot);
                    continue;
                }
            }
            self.slot_mut(undo.slot).dirty = undo.dirty;
        }
        if !gone.is_empty() {
            self.dirty.retain(|slot| !gone.contains(slot));
        }
    }

    /// Forgets a slot.
    fn remove(&mut self, schema: &TableSchema, index: u32) {
        self.replace(schema, index, Content::Absent);
        let slot = self.slots[index as usize]
            .take()
            .expect("invariant: a listed slot is filled");
        let hash = self.hasher.hash_one(&*slot.key);
        self.places.remove(hash, index);
        self.bytes -= slot.bytes;
        self.free.push(index);
    }

    /// Takes what changed since the last flush, as flush number `flush`.
    pub(crate) fn take_flush(&mut self, flush: u64) -> TableFlush {
        let mut inserts: Vec<u32> = Vec::new();
        let mut upserts: Vec<u32> = Vec::new();
        let mut removes: Vec<u32> = Vec::new();
        for index in std::mem::take(&mut self.dirty) {
            let slot = self.slot_mut(index);
            slot.listed = false;
            if !std::mem::replace(&mut slot.dirty, false) {
                continue;
            }
            slot.flush = flush;
            let present = matches!(slot.content, Content::Present(_));
            match (present, std::mem::replace(&mut slot.stored, present)) {
                (true, false) => inserts.push(index),
                (true, true) => upserts.push(index),
                (false, true) => removes.push(index),
                (false, false) => {}
            }
        }
        for indexes in [&mut inserts, &mut upserts, &mut removes] {
            sort_by_key(indexes, |index| &self.slot(index).key);
        }
        let rows = |indexes: Vec<u32>| {
            let row = |index| match &self.slot(index).content {
                Content::Present(row) => Some(row.clone()),
                Content::Absent | Content::Removed(_) => None,
            };
            indexes.into_iter().filter_map(row).collect()
        };
        let key = |index| match &self.slot(index).content {
            Content::Removed(key) => Some(key.clone()),
            Content::Absent | Content::Present(_) => None,
        };
        TableFlush {
            table: self.table,
            inserts: rows(inserts),
            upserts: rows(upserts),
            removes: removes.into_iter().filter_map(key).collect(),
        }
    }

    /// Evicts rows that are committed and not lately used, until `bytes_max` is met or nothing more can go.
    /// `committed` is the last flush that is in the database.
    pub(crate) fn evict(&mut self, schema: &TableSchema, bytes_max: usize, committed: u64) {
        let mut looked = 0;
        while self.bytes > bytes_max && looked < 2 * self.slots.len() {
            looked += 1;
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[self.hand] else {
                continue;
            };
            if slot.dirty || slot.listed || slot.flush > committed || std::mem::take(&mut slot.referenced) {
                continue;
            }
            let (stored, hash) = (slot.stored, self.hasher.hash_one(&*slot.key));
            if stored {
                self.note_evicted(hash);
            }
            let index = u32::try_from(self.hand).expect("invariant: slots are numbered by u32");
            self.remove(schema, index);
        }
        // Knowing what was evicted must not leave too little room for rows.
        let evicted = self.evicted.as_ref().map_or(0, HashTable::len) * EVICTED_BYTES;
        if evicted > bytes_max / 2 {
            self.evicted = None;
            self.bytes -= evicted;
        }
    }

    /// Keeps the hash of an evicted key.
    fn note_evicted(&mut self, hash: u64) {
        if let Some(evicted) = &mut self.evicted
            && evicted.find(hash, |other| *other == hash).is_none()
        {
            evicted.insert_unique(hash, hash, |hash| *hash);
            self.bytes += EVICTED_BYTES;
        }
    }

    /// Present rows in memory whose first columns of the index equal the prefix, with keys after `after`, in key
    /// order: key bytes and row.
    pub(crate) fn find(
        &mut self,
        schema: &TableSchema,
        index: usize,
        prefix: &[Value],
        after: Option<&[u8]>,
    ) -> Vec<(&[u8], &Arc<Row>)> {
        let rows = (0u32..).zip(self.slots.iter()).filter_map(|(place, slot)| {
            let slot = slot.as_ref()?;
            match &slot.content {
                Content::Present(row) => Some((place, &*slot.key, &**row)),
                Content::Absent | Content::Removed(_) => None,
            }
        });
        self.bytes += self.lookups.prepare(schema, index, rows);
        let mut found: Vec<(&[u8], &Arc<Row>)> = self
            .lookups
            .find(schema, index, prefix, after)
            .filter_map(|place| {
                let slot = self.slot(place);
                match &slot.content {
                    Content::Present(row) if after.is_none_or(|after| *slot.key > *after) => {
                        Some((&*slot.key, row))
                    }
                    _ => None,
                }
            })
            .collect();
        if prefix.len() != schema.indexes[index].len() {
            found.sort_unstable_by_key(|(key, _)| *key);
        }
        found
    }
}
