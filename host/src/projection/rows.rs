//! All the rows that one generation's plugin may touch: the caches of its tables, and the database behind them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use lamphouse_contract::semantics::{self, Violation};
use lamphouse_contract::{Change, Descriptor, Key, Row, TableSchema, Value, packed};

use super::cache::{Content, TableCache};
use super::profile::RowCounts;
use crate::core::{Class, EventBatch};
use crate::plugin::{GuestTables, TablesError};
use crate::tables::{StoreError, TableFlush, TableReader};

/// Rows asked of the database at once when `find` merges what is stored with what is in memory.
const FIND_PAGE_ROWS: usize = 1_000;
/// Changes made one by one that may wait for their rows, which are then read together. A read each would cost a round
/// trip a change; more than this gains little.
const WAITING_MAX: usize = 1_000;

/// A key as its ordered bytes and as its values.
type OrderedKey = (Box<[u8]>, Key);

/// Makes the secondary indexes of a generation's tables.
pub(crate) type Indexer = Arc<dyn Fn() + Send + Sync>;

/// The rows of one generation.
pub(crate) struct Rows {
    descriptor: Arc<Descriptor>,
    caches: Vec<TableCache>,
    reader: Box<dyn TableReader>,
    /// Changes of this call, in order, the first of which needs a row that is not in memory.
    waiting: Vec<Change>,
    /// The streams of the call's events, whose rows alone it may touch; None where it may touch any.
    streams: Option<HashSet<Box<str>>>,
    counts: RowCounts,
    /// To be called before the first lookup in the database.
    indexer: Option<Indexer>,
    /// Flushes taken so far; the next one has this number plus one.
    taken: u64,
    committed: u64,
}

impl Rows {
    /// The rows of a generation; `empty` says that nothing was ever written to its tables.
    pub(crate) fn new(descriptor: &Arc<Descriptor>, reader: Box<dyn TableReader>, empty: bool) -> Self {
        let caches = descriptor
            .tables
            .iter()
            .enumerate()
            .map(|(number, schema)| TableCache::new(number, schema, empty))
            .collect();
        Self {
            descriptor: descriptor.clone(),
            caches,
            reader,
            waiting: Vec::new(),
            streams: None,
            counts: RowCounts::default(),
            indexer: None,
            taken: 0,
            committed: 0,
        }
    }

    /// Has the secondary indexes made when they are first needed. They are made after the load otherwise, which is cheaper.
    pub(crate) fn indexed_by(mut self, indexer: Indexer) -> Self {
        self.indexer = Some(indexer);
        self
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.caches.iter().map(TableCache::bytes).sum()
    }

    /// Whether every table is whole in memory.
    pub(crate) fn are_whole(&self) -> bool {
        self.caches.iter().all(TableCache::is_whole)
    }

    /// What they went through since this was last asked.
    pub(crate) fn take_counts(&mut self) -> RowCounts {
        std::mem::take(&mut self.counts)
    }

    /// Before a call with these events: of a projector that declares `partition = stream`, it may touch the rows of
    /// their streams only.
    pub(crate) fn begin(&mut self, batch: &EventBatch, range: Range<usize>) {
        if !self.descriptor.is_partitioned_by_stream() {
            return;
        }
        let streams = self.streams.get_or_insert_default();
        streams.clear();
        for event in packed::events(batch.packed(range)).flatten() {
            if !streams.contains(event.stream_id) {
                streams.insert(event.stream_id.into());
            }
        }
    }

    /// Refuses a key, or a part of one, that is not of a stream of this call.
    fn is_of_this_call(&self, schema: &TableSchema, first: Option<&Value>) -> Result<(), TablesError> {
        let Some(streams) = &self.streams else {
            return Ok(());
        };
        match first {
            Some(Value::Text(stream)) if streams.contains(&**stream) => Ok(()),
            other => Err(TablesError::Violation(format!(
                "the projector declares `partition = stream`, and touches a row of '{}' whose key begins with {}, which is \
                 the stream of none of these events: a row may depend on the events of one stream only, and the \
                 stream's id is the first column of its key",
                schema.name,
                match other {
                    Some(Value::Text(text)) => format!("'{}'", text.chars().take(100).collect::<String>()),
                    Some(_) => "something else than a text".to_owned(),
                    None => "nothing".to_owned(),
                }
            ))),
        }
    }

    /// Keeps the changes of the last call.
    pub(crate) fn keep_batch(&mut self) {
        debug_assert!(self.waiting.is_empty(), "a call that succeeded was settled");
        self.caches.iter_mut().for_each(TableCache::keep_batch);
    }

    /// Undoes the changes of the last call.
    pub(crate) fn undo_batch(&mut self) {
        self.waiting.clear();
        for (cache, schema) in self.caches.iter_mut().zip(&self.descriptor.tables) {
            cache.undo_batch(schema);
        }
    }

    /// Takes what changed since the last flush.
    pub(crate) fn take_flush(&mut self) -> Vec<TableFlush> {
        self.taken += 1;
        let taken = self.taken;
        self.caches
            .iter_mut()
            .map(|cache| cache.take_flush(taken))
            .filter(|flush| {
                !(flush.inserts.is_empty() && flush.upserts.is_empty() && flush.removes.is_empty())
            })
            .collect()
    }

    /// Every flush taken so far is in the database.
    pub(crate) fn committed(&mut self) {
        self.committed = self.taken;
    }

    /// Evicts until the budget is met or only uncommitted rows are left. The budget is shared by need: the largest
    /// table gives first.
    pub(crate) fn evict(&mut self, bytes_max: usize) {
        let mut order: Vec<usize> = (0..self.caches.len()).collect();
        order.sort_by_key(|&number| std::cmp::Reverse(self.caches[number].bytes()));
        for number in order {
            let bytes = self.bytes();
            if bytes <= bytes_max {
                return;
            }
            let own = self.caches[number].bytes();
            let target = own.saturating_sub(bytes - bytes_max);
            self.caches[number].evict(&self.descriptor.tables[number], target, self.committed);
        }
    }

    fn schema(&self, table: u32) -> Result<&TableSchema, TablesError> {
        self.descriptor.tables.get(table as usize).ok_or_else(|| {
            TablesError::Violation(format!(
                "table number {table} is not declared: the projector declares {} ({})",
                self.descriptor.tables.len(),
                self.descriptor
                    .tables
                    .iter()
                    .map(|table| table.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        })
    }

    /// Reads keys of one table that are not in memory, together.
    fn load(&mut self, table: usize, keys: Vec<OrderedKey>) -> Result<(), TablesError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.counts.misses += keys.len() as u64;
        let (ordered, keys): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let rows = self.reader.get_many(table, &keys).map_err(of_store)?;
        if rows.len() != keys.len() {
            return Err(TablesError::Bug(format!(
                "asked for {} rows, got {}",
                keys.len(),
                rows.len()
            )));
        }
        let schema = &self.descriptor.tables[table];
        for (key, row) in ordered.into_iter().zip(rows) {
            self.caches[table].learn(schema, key, row);
        }
        Ok(())
    }

    /// Makes a change whose key [`Self::conform`] has seen, and whose row is known.
    fn apply(&mut self, change: Change, scratch: &mut Vec<u8>) -> Result<(), TablesError> {
        scratch.clear();
        let descriptor = self.descriptor.clone();
        match change {
            Change::Put { table, row } => {
                let schema = &descriptor.tables[table as usize];
                let row = semantics::conform_row(schema, row).map_err(violation)?;
                semantics::ordered_key(&semantics::key_of(schema, &row), scratch);
                self.caches[table as usize].set(schema, scratch, Content::Present(Arc::new(row)));
            }
            Change::Patch { table, key, cells } => {
                let schema = &descriptor.tables[table as usize];
                semantics::ordered_key(&key, scratch);
                let patched = self.caches[table as usize]
                    .modify(schema, scratch, |row| semantics::patch(schema, row, cells));
                match patched {
                    Some(patched) => patched.map_err(violation)?,
                    None => {
                        return Err(TablesError::Violation(format!(
                            "patch of a row of '{}' that is not there, key {key:?}: put or upsert it first",
                            schema.name
                        )));
                    }
                }
            }
            Change::Upsert { table, key, cells } => {
                let schema = &descriptor.tables[table as usize];
                semantics::ordered_key(&key, scratch);
                let cache = &mut self.caches[table as usize];
                let mut cells = Some(cells);
                let patched = cache.modify(schema, scratch, |row| {
                    semantics::patch(schema, row, cells.take().unwrap_or_default())
                });
                if let Some(patched) = patched {
                    patched.map_err(violation)?;
                } else {
                    let cells = cells.unwrap_or_default();
                    let row = semantics::upsert(schema, None, &key, cells).map_err(violation)?;
                    cache.set(schema, scratch, Content::Present(Arc::new(row)));
                }
            }
            Change::Remove { table, key } => {
                let schema = &descriptor.tables[table as usize];
                semantics::ordered_key(&key, scratch);
                self.caches[table as usize].set(schema, scratch, Content::Removed(key));
            }
        }
        Ok(())
    }

    /// Refuses a change of a row that it may not touch, and brings its key into the form that is stored.
    fn conform(&self, change: Change) -> Result<Change, TablesError> {
        let (Change::Put { table, .. }
        | Change::Patch { table, .. }
        | Change::Upsert { table, .. }
        | Change::Remove { table, .. }) = change;
        let schema = self.schema(table)?;
        let first = match &change {
            Change::Put { row, .. } => schema
                .primary_key
                .first()
                .and_then(|&column| row.get(column as usize)),
            Change::Remove { key, .. } | Change::Patch { key, .. } | Change::Upsert { key, .. } => {
                key.first()
            }
        };
        self.is_of_this_call(schema, first)?;
        let conform = |key| semantics::conform_key(schema, key).map_err(violation);
        Ok(match change {
            Change::Put { .. } => change,
            Change::Patch { key, cells, .. } => Change::Patch {
                table,
                key: conform(key)?,
                cells,
            },
            Change::Upsert { key, cells, .. } => Change::Upsert {
                table,
                key: conform(key)?,
                cells,
            },
            Change::Remove { key, .. } => Change::Remove {
                table,
                key: conform(key)?,
            },
        })
    }

    /// Whether the database must be asked for a row before this change can be made. `scratch` is left with its key.
    fn is_missing(&self, change: &Change, scratch: &mut Vec<u8>) -> bool {
        let (Change::Patch { table, key, .. } | Change::Upsert { table, key, .. }) = change else {
            return false;
        };
        let cache = &self.caches[*table as usize];
        if cache.is_whole() {
            return false;
        }
        scratch.clear();
        semantics::ordered_key(key, scratch);
        !cache.knows(scratch)
    }

    /// Keys of the changes that are not in memory and whose rows matter, by table.
    fn missing(&self, changes: &[Change]) -> Vec<Vec<OrderedKey>> {
        let mut missing: Vec<Vec<OrderedKey>> = self.caches.iter().map(|_| Vec::new()).collect();
        let mut ordered = Vec::with_capacity(64);
        for change in changes {
            if self.is_missing(change, &mut ordered)
                && let Change::Patch { table, key, .. } | Change::Upsert { table, key, .. } = change
            {
                missing[*table as usize].push((ordered.as_slice().into(), key.clone()));
            }
        }
        for keys in &mut missing {
            keys.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            keys.dedup_by(|a, b| a.0 == b.0);
        }
        missing
    }

    /// Makes changes that were conformed, and reads what they need together.
    fn make(&mut self, changes: Vec<Change>) -> Result<(), TablesError> {
        let missing = self.missing(&changes);
        let misses: usize = missing.iter().map(Vec::len).sum();
        self.counts.changes += changes.len() as u64;
        self.counts.hits += changes.len().saturating_sub(misses) as u64;
        for (table, keys) in missing.into_iter().enumerate() {
            self.load(table, keys)?;
        }
        let mut scratch = Vec::with_capacity(64);
        changes
            .into_iter()
            .try_for_each(|change| self.apply(change, &mut scratch))
    }
}

impl GuestTables for Rows {
    fn get_many(&mut self, table: u32, keys: Vec<Key>) -> Result<Vec<Option<Arc<Row>>>, TablesError> {
        self.settle()?;
        let schema = self.schema(table)?;
        let mut wanted = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            let key = semantics::conform_key(schema, key).map_err(violation)?;
            self.is_of_this_call(schema, key.first())?;
            let mut ordered = Vec::with_capacity(32);
            semantics::ordered_key(&key, &mut ordered);
            let ordered = ordered.into_boxed_slice();
            if !self.caches[table as usize].knows(&ordered) {
                missing.push((ordered.clone(), key));
            }
            wanted.push(ordered);
        }
        missing.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        missing.dedup_by(|a, b| a.0 == b.0);
        self.counts.hits += wanted.len().saturating_sub(missing.len()) as u64;
        self.load(table as usize, missing)?;
        let cache = &mut self.caches[table as usize];
        Ok(wanted.iter().map(|key| cache.get(key).flatten()).collect())
    }

    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: Vec<Value>,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Vec<Arc<Row>>, TablesError> {
        self.settle()?;
        let schema = &self.schema(table)?.clone();
        if schema.indexes.get(index as usize).is_none() {
            return Err(TablesError::Violation(format!(
                "index number {index} of '{}' is not declared: it has {}",
                schema.name,
                schema.indexes.len()
            )));
        }
        let prefix = semantics::conform_prefix(schema, index, prefix).map_err(violation)?;
        if self.streams.is_some() {
            // An index that does not begin with the stream would find rows of others.
            let begins_with_stream = schema.indexes[index as usize].first() == schema.primary_key.first();
            self.is_of_this_call(schema, prefix.first().filter(|_| begins_with_stream))?;
        }
        let after = match after {
            Some(key) => Some(semantics::conform_key(schema, key).map_err(violation)?),
            None => None,
        };
        let ordered = |key: &Key| {
            let mut bytes = Vec::new();
            semantics::ordered_key(key, &mut bytes);
            bytes
        };
        let after_bytes = after.as_ref().map(&ordered);
        let limit = limit as usize;
        let cache = &mut self.caches[table as usize];
        let mut here: Vec<(Box<[u8]>, Arc<Row>)> = cache
            .find(schema, index as usize, &prefix, after_bytes.as_deref())
            .into_iter()
            .take(limit)
            .map(|(key, row)| (key.into(), row.clone()))
            .collect();
        if cache.is_whole() {
            return Ok(here.into_iter().map(|(_, row)| row).collect());
        }
        if let Some(indexer) = self.indexer.take() {
            indexer();
        }
        // What is in memory wins over what is stored; a stored row that memory knows is left out. Pages go on until
        // there are `limit` rows or the database has no more.
        let mut stored: Vec<(Box<[u8]>, Arc<Row>)> = Vec::new();
        let mut from = after;
        let mut stored_to_the_end = false;
        while !stored_to_the_end && stored.len() < limit {
            let page_rows = limit.clamp(1, FIND_PAGE_ROWS);
            let page = self
                .reader
                .find(table as usize, index as usize, &prefix, from.as_ref(), page_rows)
                .map_err(of_store)?;
            stored_to_the_end = page.len() < page_rows;
            if let Some(last) = page.last() {
                from = Some(semantics::key_of(schema, last));
            }
            for row in page {
                let key = ordered(&semantics::key_of(schema, &row));
                if !self.caches[table as usize].holds(&key) {
                    stored.push((key.into(), Arc::new(row)));
                }
            }
        }
        if !stored_to_the_end && let Some((last, _)) = stored.last() {
            // Rows beyond the last stored page may be missing between these.
            let last = last.clone();
            here.retain(|(key, _)| *key <= last);
        }
        here.extend(stored);
        here.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        here.truncate(limit);
        Ok(here.into_iter().map(|(_, row)| row).collect())
    }

    fn change(&mut self, change: Change) -> Result<(), TablesError> {
        let change = self.conform(change)?;
        let mut scratch = Vec::with_capacity(64);
        if self.waiting.is_empty() && !self.is_missing(&change, &mut scratch) {
            self.counts.changes += 1;
            return self.apply(change, &mut scratch);
        }
        self.waiting.push(change);
        if self.waiting.len() >= WAITING_MAX {
            self.settle()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), TablesError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.waiting);
        self.make(changes)
    }

    fn change_all(&mut self, changes: Vec<Change>) -> Result<(), TablesError> {
        self.settle()?;
        let changes: Result<Vec<Change>, TablesError> =
            changes.into_iter().map(|change| self.conform(change)).collect();
        self.make(changes?)
    }
}

fn violation(Violation(text): Violation) -> TablesError {
    TablesError::Violation(text)
}

fn of_store(error: StoreError) -> TablesError {
    match error.class() {
        Class::Retryable => TablesError::Unavailable(error.to_string()),
        Class::Fault | Class::TimeLimit | Class::Bug => TablesError::Bug(error.to_string()),
    }
}
