//! All the rows that one generation's plugin may touch: the caches of its tables, and the database behind them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use lamphouse_contract::semantics::{self, Violation};
use lamphouse_contract::{
    Change, ChangeRef, Descriptor, Key, Operation, Row, TableSchema, Value, ValueRef, packed,
};

use super::cache::{Content, TableCache};
use super::profile::RowCounts;
use crate::core::{Class, EventBatch};
use crate::plugin::{Count, GuestTables, TablesError, unpack};
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
    fn is_of_this_call(&self, schema: &TableSchema, first: Option<ValueRef<'_>>) -> Result<(), TablesError> {
        let Some(streams) = &self.streams else {
            return Ok(());
        };
        match first {
            Some(ValueRef::Text(stream)) if streams.contains(stream) => Ok(()),
            other => Err(TablesError::Violation(format!(
                "the projector declares `partition = stream`, and touches a row of '{}' whose key begins with {}, which is \
                 the stream of none of these events: a row may depend on the events of one stream only, and the \
                 stream's id is the first column of its key",
                schema.name,
                match other {
                    Some(ValueRef::Text(text)) => format!("'{}'", text.chars().take(100).collect::<String>()),
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

    /// The ordered bytes of a change's key, or why it is none. The key itself, conformed, where that is another.
    fn key(
        schema: &TableSchema,
        values: &[ValueRef<'_>],
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Key>, TablesError> {
        scratch.clear();
        if semantics::is_conformed_key(schema, values) {
            semantics::ordered_key_ref(values, scratch);
            return Ok(None);
        }
        let key = values.iter().map(|value| value.to_value()).collect();
        let key = semantics::conform_key(schema, key).map_err(violation)?;
        semantics::ordered_key(&key, scratch);
        Ok(Some(key))
    }

    /// Makes a change whose row is in memory, if it needs it.
    fn apply(
        &mut self,
        descriptor: &Descriptor,
        change: &ChangeRef<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), TablesError> {
        let schema = &descriptor.tables[change.table as usize];
        let cache = &mut self.caches[change.table as usize];
        if change.operation == Operation::Put {
            let row = semantics::conform_row(schema, change.to_values()).map_err(violation)?;
            scratch.clear();
            semantics::ordered_key(&semantics::key_of(schema, &row), scratch);
            cache.set(schema, scratch, Content::Present(Arc::new(row)));
            return Ok(());
        }
        let key = Self::key(schema, &change.values, scratch)?;
        let key = || key.unwrap_or_else(|| change.to_values());
        if change.operation == Operation::Remove {
            cache.set(schema, scratch, Content::Removed(key()));
            return Ok(());
        }
        let columns = change.cells.iter().map(|cell| cell.column);
        let patched = cache.modify(schema, scratch, columns, |row| {
            semantics::patch(schema, row, change.to_cells())
        });
        match patched {
            Some(patched) => patched.map_err(violation),
            None if change.operation == Operation::Patch => Err(TablesError::Violation(format!(
                "table '{}' has no row with key {:?}: a patch of a row that is not there; put or upsert it first",
                schema.name,
                key()
            ))),
            None => {
                let row = semantics::upsert(schema, None, &key(), change.to_cells()).map_err(violation)?;
                cache.set(schema, scratch, Content::Present(Arc::new(row)));
                Ok(())
            }
        }
    }

    /// Whether a change's row matters and is not in memory: then its key, ordered and conformed.
    fn missing(
        &self,
        change: &ChangeRef<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<OrderedKey>, TablesError> {
        let schema = self.schema(change.table)?;
        if self.streams.is_some() {
            let first = match change.operation {
                Operation::Put => schema
                    .primary_key
                    .first()
                    .and_then(|&column| change.values.get(column as usize)),
                Operation::Remove | Operation::Patch | Operation::Upsert => change.values.first(),
            };
            self.is_of_this_call(schema, first.copied())?;
        }
        let needs_row = matches!(change.operation, Operation::Patch | Operation::Upsert);
        let cache = &self.caches[change.table as usize];
        if !needs_row || cache.is_whole() {
            return Ok(None);
        }
        let key = Self::key(schema, &change.values, scratch)?;
        if cache.knows(scratch) {
            return Ok(None);
        }
        let key = key.unwrap_or_else(|| change.to_values());
        Ok(Some((scratch.as_slice().into(), key)))
    }

    /// Reads the rows that changes need and memory has not, together, table by table.
    fn load_missing(&mut self, missing: Vec<(u32, OrderedKey)>) -> Result<(), TablesError> {
        let mut by_table: Vec<Vec<OrderedKey>> = self.caches.iter().map(|_| Vec::new()).collect();
        for (table, key) in missing {
            by_table[table as usize].push(key);
        }
        for (table, mut keys) in by_table.into_iter().enumerate() {
            keys.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            keys.dedup_by(|a, b| a.0 == b.0);
            self.load(table, keys)?;
        }
        Ok(())
    }

    /// Makes changes in order, having read all missing rows together.
    fn change_all(&mut self, changes: &[Change]) -> Result<(), TablesError> {
        let mut scratch = Vec::with_capacity(64);
        let mut missing = Vec::new();
        for change in changes {
            let change = ChangeRef::of(change);
            let key = self.missing(&change, &mut scratch)?;
            missing.extend(key.map(|key| (change.table, key)));
        }
        self.counts.changes += changes.len() as u64;
        self.counts.hits += changes.len().saturating_sub(missing.len()) as u64;
        self.load_missing(missing)?;
        let descriptor = self.descriptor.clone();
        changes
            .iter()
            .try_for_each(|change| self.apply(&descriptor, &ChangeRef::of(change), &mut scratch))
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
            self.is_of_this_call(schema, key.first().map(Value::borrow))?;
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
            let first = prefix.first().filter(|_| begins_with_stream);
            self.is_of_this_call(schema, first.map(Value::borrow))?;
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
        let mut scratch = Vec::with_capacity(64);
        let borrowed = ChangeRef::of(&change);
        if self.waiting.is_empty() && self.missing(&borrowed, &mut scratch)?.is_none() {
            self.counts.changes += 1;
            let descriptor = self.descriptor.clone();
            return self.apply(&descriptor, &borrowed, &mut scratch);
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
        self.change_all(&changes)
    }

    fn change_packed(&mut self, changes: &[u8], count: Count<'_>) -> Result<(), TablesError> {
        self.settle()?;
        let mut scratch = Vec::with_capacity(64);
        let mut missing = Vec::new();
        if !self.are_whole() || self.streams.is_some() {
            unpack(changes, &mut |_| Ok(()), |change| {
                let key = self.missing(change, &mut scratch)?;
                missing.extend(key.map(|key| (change.table, key)));
                Ok(())
            })?;
        }
        let misses = missing.len() as u64;
        self.load_missing(missing)?;
        let descriptor = self.descriptor.clone();
        let mut done = 0;
        let made = unpack(changes, count, |change| {
            done += 1;
            self.schema(change.table)?;
            self.apply(&descriptor, change, &mut scratch)
        });
        self.counts.changes += done;
        self.counts.hits += done.saturating_sub(misses);
        made
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
