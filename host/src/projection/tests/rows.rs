use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lamphouse_contract::{
    Cell, CellChange, Change, Column, ColumnType, Descriptor, Key, Row, Subscription, TableSchema, Value,
    packed, semantics,
};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::super::rows::Rows;
use crate::plugin::{GuestTables, TablesError};
use crate::tables::{StoreError, TableFlush, TableReader};

type Table = BTreeMap<Vec<u8>, Row>;

/// A database in memory that knows only what was flushed to it.
#[derive(Clone, Default)]
struct Stored {
    table: Arc<Mutex<Table>>,
    /// Round trips of `get_many`.
    reads: Arc<AtomicUsize>,
}

fn ordered(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    semantics::ordered_key(key, &mut bytes);
    bytes
}

impl Stored {
    fn write(&self, flush: &TableFlush) {
        let schema = &descriptor().tables[0];
        let mut table = self.table.lock();
        for row in &flush.inserts {
            let old = table.insert(ordered(&semantics::key_of(schema, row)), Row::clone(row));
            assert_eq!(old, None, "a row is loaded as new only where there is none");
        }
        for row in &flush.upserts {
            table.insert(ordered(&semantics::key_of(schema, row)), Row::clone(row));
        }
        for key in &flush.removes {
            table.remove(&ordered(key));
        }
    }
}

impl TableReader for Stored {
    fn get_many(&mut self, _table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let table = self.table.lock();
        Ok(keys.iter().map(|key| table.get(&ordered(key)).cloned()).collect())
    }

    fn find(
        &mut self,
        _table: usize,
        index: usize,
        prefix: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(matching(&self.table.lock(), index, prefix, after, limit))
    }

    fn scan(&mut self, _table: usize, _after: Option<&Key>, _limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(self.table.lock().values().cloned().collect())
    }
}

fn matching(table: &Table, index: usize, prefix: &[Value], after: Option<&Key>, limit: usize) -> Vec<Row> {
    let columns = &descriptor().tables[0].indexes[index];
    let after = after.map(|key| ordered(key));
    table
        .iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
        .filter(|(_, row)| {
            columns
                .iter()
                .zip(prefix)
                .all(|(column, value)| row[*column as usize] == *value)
        })
        .map(|(_, row)| row.clone())
        .take(limit)
        .collect()
}

fn descriptor() -> Arc<Descriptor> {
    let column = |name: &str, kind, nullable, initial| Column {
        name: name.to_owned(),
        kind,
        nullable,
        initial,
    };
    Arc::new(Descriptor {
        name: "model".to_owned(),
        version: "1".to_owned(),
        subscriptions: vec![Subscription {
            event_type: None,
            stream_type: None,
            schema_versions: vec![],
        }],
        tables: vec![TableSchema {
            name: "things".to_owned(),
            columns: vec![
                column("id", ColumnType::Text, false, None),
                column("owner", ColumnType::Text, true, None),
                column("count", ColumnType::Integer, false, Some(Value::Integer(0))),
            ],
            primary_key: vec![0],
            indexes: vec![vec![1], vec![1, 2]],
        }],
        options: vec![],
    })
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, Option<u8>, i64),
    Upsert(u8, i64),
    Owner(u8, Option<u8>),
    Patch(u8, i64),
    Remove(u8),
    Get(u8),
    Find {
        owner: u8,
        after: Option<u8>,
        limit: u32,
        second: bool,
    },
    Keep,
    Undo,
    Flush,
    Commit,
    Evict(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let owner = || proptest::option::of(0..3u8);
    let find = (0..3u8, proptest::option::of(0..20u8), 1..6u32, any::<bool>());
    prop_oneof![
        (0..20u8, owner(), 0..3i64).prop_map(|(id, owner, count)| Op::Put(id, owner, count)),
        (0..20u8, 0..3i64).prop_map(|(id, count)| Op::Upsert(id, count)),
        (0..20u8, owner()).prop_map(|(id, owner)| Op::Owner(id, owner)),
        (0..20u8, 0..3i64).prop_map(|(id, count)| Op::Patch(id, count)),
        (0..20u8).prop_map(Op::Remove),
        (0..20u8).prop_map(Op::Get),
        find.prop_map(|(owner, after, limit, second)| Op::Find {
            owner,
            after,
            limit,
            second
        }),
        Just(Op::Keep),
        Just(Op::Undo),
        Just(Op::Flush),
        Just(Op::Commit),
        (0..4_000usize).prop_map(Op::Evict),
    ]
}

fn id(number: u8) -> Value {
    Value::Text(format!("thing-{number}").into())
}

fn owner(number: Option<u8>) -> Value {
    number.map_or(Value::Null, |number| {
        Value::Text(format!("owner-{number}").into())
    })
}

fn cells(column: u32, change: CellChange) -> Vec<Cell> {
    vec![Cell { column, change }]
}

/// Runs the operations on the cache and on a plain map; every answer and the final rows must agree.
fn check(ops: Vec<Op>) {
    let descriptor = descriptor();
    let stored = Stored::default();
    let mut rows = Rows::new(&descriptor, Box::new(stored.clone()), true);
    let mut model = Table::new();
    let mut kept = Table::new();
    let mut in_flight: Vec<TableFlush> = Vec::new();
    let mut keys: Vec<Key> = (0..20).map(|number| vec![id(number)].into()).collect();
    keys.sort_by_key(|key| ordered(key));
    for op in ops {
        match op {
            Op::Put(number, who, count) => {
                let row: Row = vec![id(number), owner(who), Value::Integer(count)].into();
                rows.change(Change::Put {
                    table: 0,
                    row: row.clone(),
                })
                .unwrap();
                model.insert(ordered(&[id(number)]), row);
            }
            Op::Upsert(number, count) => {
                let key: Key = vec![id(number)].into();
                let cells = cells(2, CellChange::Add(Value::Integer(count)));
                rows.change(Change::Upsert { table: 0, key, cells }).unwrap();
                let row = model
                    .entry(ordered(&[id(number)]))
                    .or_insert_with(|| vec![id(number), Value::Null, Value::Integer(0)].into());
                let Value::Integer(old) = row[2] else {
                    panic!("not an integer")
                };
                row[2] = Value::Integer(old + count);
            }
            Op::Owner(number, who) => {
                let key: Key = vec![id(number)].into();
                let cells = cells(1, CellChange::Set(owner(who)));
                rows.change(Change::Upsert { table: 0, key, cells }).unwrap();
                let row = model
                    .entry(ordered(&[id(number)]))
                    .or_insert_with(|| vec![id(number), Value::Null, Value::Integer(0)].into());
                row[1] = owner(who);
            }
            Op::Patch(number, count) => {
                let key: Key = vec![id(number)].into();
                let cells = cells(2, CellChange::Set(Value::Integer(count)));
                let patched = rows
                    .change(Change::Patch { table: 0, key, cells })
                    .and_then(|()| rows.settle());
                match model.get_mut(&ordered(&[id(number)])) {
                    Some(row) => {
                        patched.unwrap();
                        row[2] = Value::Integer(count);
                    }
                    None => assert!(patched.is_err(), "a patch of an absent row faults"),
                }
            }
            Op::Remove(number) => {
                let key: Key = vec![id(number)].into();
                rows.change(Change::Remove { table: 0, key }).unwrap();
                model.remove(&ordered(&[id(number)]));
            }
            Op::Get(number) => {
                let got = rows.get_many(0, vec![vec![id(number)].into()]).unwrap();
                assert_eq!(got[0].as_deref(), model.get(&ordered(&[id(number)])));
            }
            Op::Find {
                owner: who,
                after,
                limit,
                second,
            } => {
                let prefix = vec![owner(Some(who))];
                let after: Option<Key> = after.map(|number| vec![id(number)].into());
                let index = u32::from(second);
                let found = rows.find(0, index, prefix.clone(), after.clone(), limit).unwrap();
                let found: Vec<Row> = found.iter().map(|row| Row::clone(row)).collect();
                let expected = matching(&model, index as usize, &prefix, after.as_ref(), limit as usize);
                assert_eq!(found, expected);
            }
            Op::Keep => {
                rows.settle().unwrap();
                rows.keep_batch();
                kept = model.clone();
            }
            Op::Undo => {
                rows.undo_batch();
                model = kept.clone();
            }
            Op::Flush => {
                // A flush is taken only between batches.
                rows.settle().unwrap();
                rows.keep_batch();
                kept = model.clone();
                in_flight.extend(rows.take_flush());
            }
            Op::Commit => {
                in_flight.drain(..).for_each(|flush| stored.write(&flush));
                rows.committed();
            }
            Op::Evict(bytes) => rows.evict(bytes),
        }
    }
    rows.settle().unwrap();
    rows.keep_batch();
    in_flight.extend(rows.take_flush());
    in_flight.iter().for_each(|flush| stored.write(flush));
    assert_eq!(*stored.table.lock(), model);
    rows.committed();
    rows.evict(0);
    assert_eq!(rows.bytes(), 0, "nothing is left, and nothing was counted twice");
    let got = rows.get_many(0, keys.clone()).unwrap();
    let got: Vec<Option<&Row>> = got.iter().map(Option::as_deref).collect();
    let expected: Vec<Option<&Row>> = keys.iter().map(|key| model.get(&ordered(key))).collect();
    assert_eq!(got, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_answers_like_a_plain_map(ops in proptest::collection::vec(op(), 1..120)) {
        check(ops);
    }
}

#[test]
fn an_undone_batch_over_an_unknown_row_leaves_it_to_the_database() {
    check(vec![
        Op::Put(1, Some(1), 1),
        Op::Flush,
        Op::Commit,
        Op::Evict(0),
        Op::Evict(0),
        Op::Keep,
        Op::Put(1, None, 2),
        Op::Undo,
        Op::Get(1),
    ]);
}

#[test]
fn changes_made_one_by_one_read_their_rows_together() {
    let stored = Stored::default();
    let mut rows = Rows::new(&descriptor(), Box::new(stored.clone()), false);
    let count = |number: u8, by| Change::Upsert {
        table: 0,
        key: vec![id(number)].into(),
        cells: cells(2, CellChange::Add(Value::Integer(by))),
    };
    for _ in 0..3 {
        (0..200).for_each(|number| rows.change(count(number, 2)).unwrap());
    }
    let patch = Change::Patch {
        table: 0,
        key: vec![id(250)].into(),
        cells: cells(2, CellChange::Set(Value::Integer(1))),
    };
    rows.change(patch).unwrap();
    let refused = rows.settle().unwrap_err();
    assert!(matches!(refused, TablesError::Violation(_)), "{refused:?}");
    assert_eq!(stored.reads.load(Ordering::Relaxed), 1);
    rows.undo_batch();

    (0..200).for_each(|number| rows.change(count(number, 1)).unwrap());
    rows.change(count(201, 5)).unwrap();
    let got = rows
        .get_many(0, vec![vec![id(201)].into(), vec![id(7)].into()])
        .unwrap();
    let counts: Vec<_> = got.iter().map(|row| row.as_ref().unwrap()[2].clone()).collect();
    assert_eq!(counts, [Value::Integer(5), Value::Integer(1)]);
    assert_eq!(
        stored.reads.load(Ordering::Relaxed),
        2,
        "what was read before stays known"
    );
}

/// A table far larger than the memory for it, whose rows are made in turn: the database is never asked whether a row that
/// was never written is there.
#[test]
fn a_new_row_is_not_looked_for_in_a_table_that_was_built_from_nothing() {
    let stored = Stored::default();
    let mut rows = Rows::new(&descriptor(), Box::new(stored.clone()), true);
    let count = |number: usize| Change::Upsert {
        table: 0,
        key: vec![Value::Text(format!("thing-{number}").into())].into(),
        cells: cells(2, CellChange::Add(Value::Integer(1))),
    };
    let flush = |rows: &mut Rows| {
        rows.take_flush().iter().for_each(|flush| stored.write(flush));
        rows.committed();
        rows.evict(400_000);
    };
    for batch in 0..50 {
        // Each row twice, in batches that follow each other.
        let numbers = (batch * 100..(batch + 2) * 100).map(count);
        change_packed(&mut rows, numbers);
        rows.keep_batch();
        flush(&mut rows);
    }
    assert!(
        rows.bytes() <= 400_000 && !rows.are_whole(),
        "nothing was evicted: {} bytes",
        rows.bytes()
    );
    assert_eq!(stored.reads.load(Ordering::Relaxed), 0);
    // One that was evicted is read, and only once.
    change_packed(&mut rows, [count(0), count(9_999_999)]);
    rows.keep_batch();
    flush(&mut rows);
    assert_eq!(stored.reads.load(Ordering::Relaxed), 1);
    let table = stored.table.lock();
    let written: Vec<_> = table.values().map(|row| row[2].clone()).collect();
    let twice = written
        .iter()
        .filter(|count| **count == Value::Integer(2))
        .count();
    assert_eq!((written.len(), twice), (5_101, 4_901));
}

/// Makes changes as a packed projector's call returns them.
fn change_packed(rows: &mut Rows, changes: impl IntoIterator<Item = Change>) {
    let mut bytes = Vec::new();
    changes
        .into_iter()
        .for_each(|change| packed::write_change(&mut bytes, &change));
    rows.change_packed(&bytes, &mut |_| Ok(())).unwrap();
}
