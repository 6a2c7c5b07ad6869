//! Rows and checkpoint go in together, once, and come back exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamphouse_contract::semantics::{key_of, ordered_key};
use lamphouse_contract::{Key, Row, TableSchema, Value};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Database, at, build, decimal, flush, notes, stored, text};
use crate::core::Position;
use crate::tables::{Flush, StoreError, TableFlush, TableReader, sample};

pub(in crate::tables) fn a_flush_goes_in_only_where_the_writer_thinks_it_is(database: &Database) {
    let store = (database.open)();
    let generation = build(&*store, &notes("1.0.0"));
    let row = |id: &str| -> Row { Box::new([text(id)]) };
    let mut writer = store.writer(&generation).unwrap();
    writer.flush(&flush(0, 5, &[(0, vec![row("a")])]), false).unwrap();
    assert_eq!(writer.checkpoint().unwrap(), at(5));

    let mut same_place_other_log = flush(5, 6, &[(0, vec![row("c")])]);
    same_place_other_log.from.log = None;
    for wrong in [flush(0, 5, &[(0, vec![row("b")])]), same_place_other_log] {
        match writer.flush(&wrong, true) {
            Err(StoreError::CheckpointMoved {
                generation: named,
                expected,
                actual,
            }) => {
                assert_eq!(
                    (named, expected, actual),
                    (generation.id, wrong.from.position, Position(5))
                );
            }
            other => panic!("expected CheckpointMoved, got {other:?}"),
        }
    }
    let mut reader = store.reader(&generation).unwrap();
    assert_eq!(reader.scan(0, None, 10).unwrap(), vec![row("a")]);
    assert_eq!(stored(&*store, generation.id).checkpoint, at(5));
    // An empty flush moves the checkpoint alone: events that changed nothing.
    writer.flush(&flush(5, 9, &[]), true).unwrap();
    assert_eq!(stored(&*store, generation.id).checkpoint, at(9));
    assert!(
        writer.flush(&flush(9, 8, &[]), true).is_err(),
        "a checkpoint never goes back"
    );
}

pub(in crate::tables) fn two_writers_of_one_generation_apply_each_event_once(database: &Database) {
    let store = (database.open)();
    let count = sample::table(
        "counts",
        vec![
            sample::column("id", lamphouse_contract::ColumnType::Text),
            sample::column("n", lamphouse_contract::ColumnType::Integer),
        ],
        &[0],
        &[],
    );
    let generation = build(&*store, &sample::descriptor("counts", "1.0.0", vec![count]));
    const EVENTS: u64 = 60;
    let work = || {
        let store = (database.open)();
        let mut writer = store.writer(&generation).unwrap();
        let mut reader = store.reader(&generation).unwrap();
        let mut applied = 0u64;
        loop {
            let checkpoint = writer.checkpoint().unwrap();
            if checkpoint.position.0 == EVENTS {
                return applied;
            }
            let there = reader.scan(0, None, 1).unwrap();
            let n = there.first().map_or(0, |row| match row[1] {
                Value::Integer(n) => n,
                _ => panic!("{row:?}"),
            });
            let next = checkpoint.position.0 + 1;
            let mut flush = flush(
                0,
                next,
                &[(0, vec![Box::new([text("all"), Value::Integer(n + 1)])])],
            );
            flush.from = checkpoint;
            match writer.flush(&flush, true) {
                Ok(()) => applied += 1,
                Err(StoreError::CheckpointMoved { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let applied: u64 = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(applied, EVENTS);
    let rows = store.reader(&generation).unwrap().scan(0, None, 2).unwrap();
    let all: Row = Box::new([text("all"), Value::Integer(EVENTS as i64)]);
    assert_eq!(rows, [all]);
}

pub(in crate::tables) fn every_value_comes_back_exactly(database: &Database) {
    let store = (database.open)();
    let generation = build(
        &*store,
        &sample::descriptor("everything", "1.0.0", vec![sample::everything()]),
    );
    let empty = |part: i64| -> Vec<Value> {
        let mut row = vec![Value::Null; 10];
        row[0] = Value::Integer(part);
        row[1] = text("");
        row
    };
    let nines = "9".repeat(34);
    let cells: Vec<(usize, Value)> = vec![
        (2, Value::Boolean(true)),
        (2, Value::Boolean(false)),
        (3, Value::Integer(i64::MIN)),
        (3, Value::Integer(i64::MAX)),
        (3, Value::Integer(0)),
        (4, Value::Real(0.0)),
        (4, Value::Real(-0.1)),
        (4, Value::Real(3.0)),
        (4, Value::Real(f64::MAX)),
        (4, Value::Real(f64::MIN)),
        (4, Value::Real(5e-324)),
        (5, decimal("0.0000")),
        (5, decimal("-0.0001")),
        (5, decimal("12.5000")),
        (5, decimal(&format!("{nines}.9999"))),
        (5, decimal(&format!("-{nines}.9999"))),
        (6, text("")),
        (6, text("quote ' \" \\ \n\t% _ ; -- 🏮 é \u{1}\u{7f}\u{10ffff}")),
        (6, text("\\N")),
        (6, text("123")),
        (6, text(&"long ".repeat(20_000))),
        (7, Value::Bytes(Box::new([]))),
        (7, Value::Bytes((0..=255).collect())),
        (8, Value::Timestamp(0)),
        (8, Value::Timestamp(-1)),
        (8, Value::Timestamp(1_767_225_599_999_999)),
        // The first and the last moment of the years 1 to 9999.
        (8, Value::Timestamp(-62_135_596_800_000_000)),
        (8, Value::Timestamp(253_402_300_799_999_999)),
        (
            9,
            Value::Json(r#"{"b": 1,  "a":[1.50, 1e400, "\u00e9\u0001"], "b": null}"#.into()),
        ),
        (9, Value::Json("123".into())),
        (9, Value::Json("\"\"".into())),
    ];
    let mut rows: Vec<Row> = vec![empty(i64::MIN).into()];
    for (part, (column, value)) in (0..).zip(cells) {
        let mut row = empty(part);
        row[column] = value;
        rows.push(row.into());
    }
    let mut writer = store.writer(&generation).unwrap();
    let mut first = flush(0, 1, &[(0, rows.clone())]);
    first.tables[0].make_new();
    writer.flush(&first, false).unwrap();
    let mut reader = store.reader(&generation).unwrap();
    assert_eq!(reader.scan(0, None, 1_000).unwrap(), rows);
    // The same by the other way in, and by key.
    writer.flush(&flush(1, 2, &[(0, rows.clone())]), true).unwrap();
    let schema = sample::everything();
    let keys: Vec<Key> = rows.iter().map(|row| key_of(&schema, row)).collect();
    let found: Vec<Row> = reader.get_many(0, &keys).unwrap().into_iter().flatten().collect();
    assert_eq!(found, rows);
}

/// The rows as they should be, in the contract's order of keys.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, Row>);

impl Model {
    fn place(key: &[Value]) -> Vec<u8> {
        let mut place = Vec::new();
        ordered_key(key, &mut place);
        place
    }

    fn rows(&self) -> Vec<Row> {
        self.0.values().cloned().collect()
    }
}

pub(in crate::tables) fn any_sequence_of_flushes_equals_a_map(database: &Database) {
    let store = (database.open)();
    let schema = sample::everything();
    for seed in 0..6 {
        let mut random = SmallRng::seed_from_u64(seed);
        let version = format!("1.0.{seed}");
        let descriptor =
            sample::descriptor("everything", &version, vec![schema.clone(), sample::customers()]);
        let generation = build(&*store, &descriptor);
        let mut writer = store.writer(&generation).unwrap();
        let mut reader = store.reader(&generation).unwrap();
        let mut model = Model::default();
        let flushes = random.random_range(1..8);
        for position in 0..flushes {
            if position == 1 {
                store.create_indexes(&generation).unwrap();
                store.create_indexes(&generation).unwrap();
            }
            let rows_max = [3, 40, 1_500][random.random_range(0..3)];
            let rows = random.random_range(0..rows_max);
            let flush = random_flush(&mut random, &schema, &mut model, position, rows);
            writer.flush(&flush, random.random()).unwrap();
        }
        assert_eq!(
            reader.scan(0, None, usize::MAX).unwrap(),
            model.rows(),
            "seed {seed}"
        );
        check_reads(&mut *reader, &schema, &model, &mut random);
    }
}

fn random_flush(
    random: &mut SmallRng,
    schema: &TableSchema,
    model: &mut Model,
    position: u64,
    rows: usize,
) -> Flush {
    let mut upserts = BTreeMap::new();
    let mut removes = BTreeMap::new();
    for _ in 0..rows {
        let row = random_row(random);
        let key = key_of(schema, &row);
        let place = Model::place(&key);
        if random.random_bool(0.3) {
            upserts.remove(&place);
            removes.insert(place, key);
        } else {
            removes.remove(&place);
            upserts.insert(place, Arc::new(row));
        }
    }
    for place in removes.keys() {
        model.0.remove(place);
    }
    // Some of those that are new are said to be, as a cache that is not whole would.
    let (mut inserts, mut maybe_there) = (Vec::new(), Vec::new());
    for (place, row) in upserts {
        let is_new = model.0.insert(place, (*row).clone()).is_none();
        if is_new && random.random_bool(0.7) {
            inserts.push(row);
        } else {
            maybe_there.push(row);
        }
    }
    Flush {
        from: at(position),
        to: at(position + 1),
        tables: vec![TableFlush {
            table: 0,
            inserts,
            upserts: maybe_there,
            removes: removes.into_values().collect(),
        }],
        letters: None,
    }
}

const NAMES: [&str; 6] = ["", "a", "B", "é", "aa", "a b"];

fn random_row(random: &mut SmallRng) -> Row {
    let mut row = vec![
        Value::Integer(random.random_range(-300..300)),
        text(NAMES[random.random_range(0..NAMES.len())]),
        Value::Boolean(random.random()),
        Value::Integer(random.random()),
        Value::Real([0.5, -2.0, 1e300][random.random_range(0..3)]),
        decimal(&format!(
            "{}.{:04}",
            random.random::<i32>(),
            random.random_range(0..10_000)
        )),
        text(&"n".repeat(random.random_range(0..300))),
        Value::Bytes((0..random.random_range(0..40u8)).collect()),
        Value::Timestamp(random.random_range(-62_135_596_800_000_000..253_402_300_799_999_999)),
        Value::Json(format!("[{}]", random.random::<u32>()).into()),
    ];
    for value in &mut row[2..] {
        if random.random_bool(0.2) {
            *value = Value::Null;
        }
    }
    row.into()
}

/// Keys that are there and not, in any order, twice; all pages; each index with each prefix.
fn check_reads(reader: &mut dyn TableReader, schema: &TableSchema, model: &Model, random: &mut SmallRng) {
    let keys: Vec<Key> = (0..700).map(|_| key_of(schema, &random_row(random))).collect();
    let expected: Vec<Option<Row>> = keys
        .iter()
        .map(|key| model.0.get(&Model::place(key)).cloned())
        .collect();
    assert_eq!(reader.get_many(0, &keys).unwrap(), expected);
    assert_eq!(reader.get_many(0, &[]).unwrap(), Vec::<Option<Row>>::new());
    assert_eq!(reader.get_many(1, &[super::key("nobody")]).unwrap(), [None]);

    let mut pages: Vec<Row> = Vec::new();
    loop {
        let after = pages.last().map(|row| key_of(schema, row));
        let page = reader.scan(0, after.as_ref(), 97).unwrap();
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages, model.rows());

    let reals = [Value::Null, Value::Real(0.5), Value::Real(7.0)];
    let names = NAMES.iter().map(|name| text(name));
    let prefixes = names
        .map(|name| (0, 1, name))
        .chain(reals.map(|real| (1, 4, real)));
    for (index, column, value) in prefixes {
        let expected: Vec<Row> = model
            .rows()
            .into_iter()
            .filter(|row| row[column] == value)
            .collect();
        let prefix = std::slice::from_ref(&value);
        assert_eq!(reader.find(0, index, prefix, None, usize::MAX).unwrap(), expected);
        let mut pages: Vec<Row> = Vec::new();
        while let page = reader
            .find(
                0,
                index,
                prefix,
                pages.last().map(|row| key_of(schema, row)).as_ref(),
                13,
            )
            .unwrap()
            && !page.is_empty()
        {
            pages.extend(page);
        }
        assert_eq!(pages, expected);
    }
}

pub(in crate::tables) fn keys_of_every_type_are_in_the_contracts_order(database: &Database) {
    use lamphouse_contract::ColumnType::{Boolean, Bytes, Decimal, Integer, Text, Timestamp};
    let store = (database.open)();
    let kinds: Vec<(_, Vec<Value>)> = vec![
        (Boolean, vec![Value::Boolean(true), Value::Boolean(false)]),
        (Integer, [10, 9, -9, -10, 0].map(Value::Integer).to_vec()),
        (
            Decimal(2),
            ["10.00", "9.00", "-9.50", "-10.00", "0.00", "0.01"]
                .map(decimal)
                .to_vec(),
        ),
        (
            Text,
            ["b", "a", "B", "é", "ab", "a b", "\u{10000}", "\u{ffff}"]
                .map(text)
                .to_vec(),
        ),
        (
            Bytes,
            [&[1, 0][..], &[1], &[255], &[0, 0]]
                .map(|bytes| Value::Bytes(bytes.into()))
                .to_vec(),
        ),
        (
            Timestamp,
            [0, -1, 1_700_000_000_000_000, -62_135_596_800_000_000]
                .map(Value::Timestamp)
                .to_vec(),
        ),
    ];
    let tables: Vec<TableSchema> = kinds
        .iter()
        .enumerate()
        .map(|(place, (kind, _))| {
            let columns = vec![sample::column("k", *kind), sample::column("part", Integer)];
            sample::table(&format!("keys_{place}"), columns, &[0, 1], &[&[1]])
        })
        .collect();
    let generation = build(&*store, &sample::descriptor("keys", "1.0.0", tables));
    let mut model: Vec<Model> = Vec::new();
    let mut all = flush(0, 1, &[]);
    for (table, (_, values)) in kinds.into_iter().enumerate() {
        let mut rows = Model::default();
        for value in values {
            for part in 0..2 {
                let row: Row = Box::new([value.clone(), Value::Integer(part)]);
                rows.0.insert(Model::place(&row), row);
            }
        }
        all.tables.push(TableFlush {
            table,
            upserts: rows.rows().into_iter().map(Arc::new).collect(),
            ..TableFlush::default()
        });
        model.push(rows);
    }
    store.writer(&generation).unwrap().flush(&all, true).unwrap();
    store.create_indexes(&generation).unwrap();
    let mut reader = store.reader(&generation).unwrap();
    for (table, model) in model.iter().enumerate() {
        let rows = model.rows();
        assert_eq!(reader.scan(table, None, 100).unwrap(), rows);
        for (place, row) in rows.iter().enumerate() {
            let rest = reader.scan(table, Some(row), 100).unwrap();
            assert_eq!(rest, rows[place + 1..], "after {row:?}");
        }
        let ones: Vec<Row> = rows
            .into_iter()
            .filter(|row| row[1] == Value::Integer(1))
            .collect();
        let found = reader
            .find(table, 0, &[Value::Integer(1)], Some(&ones[0]), 2)
            .unwrap();
        assert_eq!(found, ones[1..ones.len().min(3)]);
    }
}
