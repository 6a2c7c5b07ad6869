//! Values and rows: exact, by both ways in.

use std::sync::Arc;
use std::time::Instant;

use lamphouse_contract::{ColumnType, Decimal, Key, Row, Value};

use sqlx::Row as _;

use super::fixture::{Scratch, pair, runtime};
use crate::tables::conformance::{User as _, at, build, decimal, flush, text};
use crate::tables::postgres::session::Database;
use crate::tables::postgres::writer::Writer;
use crate::tables::sample::{column, descriptor, everything, table};
use crate::tables::{Flush, StoreError, TableFlush, TableWriter as _};

fn row(part: i64, name: &str, rest: [Value; 8]) -> Row {
    let mut row = vec![Value::Integer(part), text(name)];
    row.extend(rest);
    row.into_boxed_slice()
}

fn extremes() -> Vec<Row> {
    use Value::{Boolean, Bytes, Integer, Json, Null, Real, Timestamp};
    let price = |mantissa: i128| Value::Decimal(Decimal::new(mantissa, 4).unwrap());
    let largest = 10_i128.pow(38) - 1;
    vec![
        row(i64::MIN, "", [Null, Null, Null, Null, Null, Null, Null, Null]),
        row(
            -1,
            "a",
            [
                Boolean(false),
                Integer(i64::MIN),
                Real(f64::MIN),
                price(-largest),
                text(""),
                Bytes(Box::new([])),
                Timestamp(-62_135_596_800_000_000),
                Json("{\"a\" :  1.50, \"a\":\"\\u0000\"}".into()),
            ],
        ),
        row(
            i64::MAX,
            "\u{10ffff}ß\t\\N",
            [
                Boolean(true),
                Integer(i64::MAX),
                Real(5e-324),
                price(largest),
                text("line\nline \\ \" '"),
                Bytes((0..=255).collect()),
                Timestamp(i64::MAX),
                Json("[]".into()),
            ],
        ),
    ]
}

#[test]
fn extreme_values_come_back_exactly_by_both_ways_in() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let generation = build(&*store, &descriptor("all", "1.0.0", vec![everything()]));
    let mut writer = store.writer(&generation).unwrap();
    let mut reader = store.reader(&generation).unwrap();
    let rows = extremes();
    for (step, are_new) in [(0, true), (1, false), (2, false)] {
        let mut flush = flush(step, step + 1, &[(0, rows.clone())]);
        if are_new {
            flush.tables[0].make_new();
        }
        writer.flush(&flush, false).unwrap();
        assert_eq!(reader.scan(0, None, 10).unwrap(), rows, "step {step}");
        if step == 1 {
            // The third step inserts by unnest what the second one updated.
            let keys: Vec<Key> = rows.iter().map(|row| row[..2].into()).collect();
            let found = reader.get_many(0, &keys).unwrap();
            assert_eq!(found, rows.iter().cloned().map(Some).collect::<Vec<_>>());
            scratch
                .user()
                .run(&format!(
                    "DELETE FROM lamphouse_tables.everything__{}",
                    generation.id
                ))
                .unwrap();
        }
    }
    let mut user = scratch.user();
    let sql = format!(
        "SELECT price, at AT TIME ZONE 'UTC', doc FROM lamphouse_tables.everything__{} ORDER BY part DESC LIMIT 1",
        generation.id
    );
    let [price, at, doc] = user.rows(&sql).unwrap().remove(0).try_into().unwrap();
    assert_eq!(price.unwrap(), "9999999999999999999999999999999999.9999");
    assert_eq!(at.unwrap(), "294247-01-10 04:00:54.775807");
    assert_eq!(doc.unwrap(), "[]");
}

#[test]
fn removes_and_updates_go_by_keys_of_several_columns() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let generation = build(&*store, &descriptor("all", "1.0.0", vec![everything()]));
    let mut writer = store.writer(&generation).unwrap();
    let empty = || {
        [
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    };
    let rows: Vec<Row> = [(1, "a"), (1, "B"), (2, "a"), (2, "ä")]
        .map(|(part, name)| row(part, name, empty()))
        .into();
    writer.flush(&flush(0, 1, &[(0, rows)]), true).unwrap();
    let mut changed = row(2, "a", empty());
    changed[5] = decimal("1.2500");
    let remove: Key = Box::new([Value::Integer(1), text("a")]);
    let absent: Key = Box::new([Value::Integer(7), text("a")]);
    let tables = vec![TableFlush {
        table: 0,
        inserts: Vec::new(),
        upserts: vec![Arc::new(changed.clone())],
        removes: vec![remove.clone(), absent],
    }];
    writer
        .flush(
            &Flush {
                from: at(1),
                to: at(2),
                tables,
                letters: None,
            },
            true,
        )
        .unwrap();
    let mut reader = store.reader(&generation).unwrap();
    // Byte order: B before a, ä last.
    assert_eq!(
        reader.scan(0, None, 10).unwrap(),
        [row(1, "B", empty()), changed.clone(), row(2, "ä", empty())]
    );
    let named_a = reader.find(0, 0, &[text("a")], None, 10).unwrap();
    assert_eq!(named_a, std::slice::from_ref(&changed));
    assert_eq!(
        reader
            .find(0, 0, &[text("a")], Some(&changed[..2].into()), 10)
            .unwrap(),
        Vec::<Row>::new()
    );
    assert_eq!(
        reader.find(0, 1, &[Value::Null], None, 1).unwrap(),
        [row(1, "B", empty())]
    );
    assert_eq!(reader.get_many(0, &[remove]).unwrap(), [None]);
}

#[test]
fn a_timestamp_before_postgres_begins_fails_the_flush_whole() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let times = table("times", vec![column("at", ColumnType::Timestamp)], &[0], &[]);
    let generation = build(&*store, &descriptor("times", "1.0.0", vec![times]));
    let mut writer = store.writer(&generation).unwrap();
    for are_new in [true, false] {
        let rows: Vec<Row> = vec![
            Box::new([Value::Timestamp(1)]),
            Box::new([Value::Timestamp(i64::MIN)]),
        ];
        let mut flush = flush(0, 1, &[(0, rows)]);
        if are_new {
            flush.tables[0].make_new();
        }
        let error = writer.flush(&flush, false).unwrap_err();
        assert!(
            matches!(&error, StoreError::Invalid(text) if text.contains("4714 BC")),
            "{error}"
        );
        assert_eq!(writer.checkpoint().unwrap(), at(0));
        assert!(
            store
                .reader(&generation)
                .unwrap()
                .scan(0, None, 9)
                .unwrap()
                .is_empty()
        );
    }
}

/// Rates are printed; the floor only catches a statement a row.
#[test]
fn a_small_flush_is_planned_once_and_a_large_one_each_time() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let generation = build(&*store, &pair(1));
    let database = Database::new(&scratch.url, runtime()).unwrap();
    let mut writer = Writer::new(database, &generation).unwrap();
    let row = |id: i64| [Value::Integer(id), Value::Integer(1)].into();
    for step in 0..10 {
        // One row is small here, two are large.
        writer
            .flush(&flush(2 * step, 2 * step + 1, &[(0, vec![row(0)])]), true)
            .unwrap();
        let two = vec![row(1), row(2)];
        writer
            .flush(&flush(2 * step + 1, 2 * step + 2, &[(0, two)]), true)
            .unwrap();
    }
    let (session, _) = writer.parts();
    let sql = "SELECT coalesce(sum(generic_plans), 0)::bigint, coalesce(sum(custom_plans), 0)::bigint \
               FROM pg_prepared_statements WHERE starts_with(statement, $1)";
    let mut plans = |begins: &'static str| {
        let row = session.run("counting plans", async |connection| {
            Ok(sqlx::query(sql).bind(begins).fetch_one(connection).await?)
        });
        let row = row.map_err(|error| error.to_string()).unwrap();
        (row.get::<i64, _>(0), row.get::<i64, _>(1))
    };
    assert_eq!(plans("WITH moved"), (10, 0));
    assert_eq!(plans("INSERT INTO"), (0, 10));
}

#[test]
fn bulk_writes_are_quick() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let orders = crate::tables::sample::orders();
    let generation = build(&*store, &descriptor("orders", "1.0.0", vec![orders]));
    let mut writer = store.writer(&generation).unwrap();
    let rows: Vec<Row> = (0..100_000_i64)
        .map(|id| -> Row {
            Box::new([
                text(&format!("order-{id:08}")),
                text("customer-17"),
                text("United Kingdom"),
                Value::Integer(id),
                Value::Decimal(Decimal::new(i128::from(id) * 7, 2).unwrap()),
                Value::Timestamp(id * 1_000_000),
            ])
        })
        .collect();
    let mut all = flush(0, 1, &[(0, rows.clone())]);
    all.tables[0].make_new();
    for (what, all) in [
        ("COPY", all),
        ("unnest over old rows", flush(1, 2, &[(0, rows.clone())])),
    ] {
        let started = Instant::now();
        writer.flush(&all, false).unwrap();
        let rate = 100_000.0 / started.elapsed().as_secs_f64();
        eprintln!("{what}: {rate:.0} rows a second");
        assert!(rate > 3_000.0, "{what}: {rate:.0} rows a second");
    }
    let mut reader = store.reader(&generation).unwrap();
    let keys: Vec<Key> = rows.iter().step_by(100).map(|row| row[..1].into()).collect();
    let started = Instant::now();
    let found = reader.get_many(0, &keys).unwrap();
    eprintln!("get_many of {} keys: {:?}", keys.len(), started.elapsed());
    assert!(found.iter().all(Option::is_some));
}
