//! Reads of one public table that are made of parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lamphouse_contract::{ColumnType, Row, Value};

use super::{Database, at, build, cut_over, decimal, flush, plugin, switch, text};
use crate::core::{EventId, PluginDigest, Position};
use crate::tables::select::{Chosen, Comparison, Filter, OrderBy, Select, SelectError, Selected, Test};
use crate::tables::{DeadLetter, GenerationRecord, LetterFlush, TableStore, sample};

const TIME: Duration = Duration::from_secs(10);

fn of(table: &str) -> Select {
    Select {
        table: table.to_owned(),
        columns: Vec::new(),
        filter: Filter::everything(),
        order: Vec::new(),
        offset: 0,
        limit: 100,
        count: false,
    }
}

fn one(column: &str) -> Vec<Chosen> {
    vec![Chosen::One {
        column: column.to_owned(),
        alias: None,
    }]
}

fn by(column: &str, descending: bool) -> OrderBy {
    OrderBy {
        column: column.to_owned(),
        descending,
        nulls_first: None,
    }
}

/// Texts of the first column.
fn firsts(selected: &Selected) -> Vec<String> {
    let first = |row: &Row| match &row[0] {
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    selected.rows.iter().map(first).collect()
}

fn ask(store: &dyn TableStore, select: &Select) -> Selected {
    store
        .select(select, TIME)
        .unwrap_or_else(|error| panic!("{select:?}: {error}"))
}

fn order(id: &str, customer: Option<&str>, total: &str) -> Row {
    Box::new([
        text(id),
        customer.map_or(Value::Null, text),
        text("Norway"),
        Value::Integer(i64::MAX),
        decimal(total),
        Value::Timestamp(0),
    ])
}

fn public(database: &Database) -> (Arc<dyn TableStore>, GenerationRecord) {
    let store = (database.open)();
    let generation = build(
        &*store,
        &sample::descriptor("sales", "1.0.0", vec![sample::orders()]),
    );
    let rows = vec![
        order("a", Some("x"), "9.50"),
        order("b", None, "10.00"),
        order("c", Some("y"), "-0.25"),
        order("d", None, "123456789012345678901234567890.10"),
    ];
    let mut writer = store.writer(&generation).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 7, &[(0, rows)]),
        &switch(None, &generation, 1),
    );
    (store, generation)
}

pub(in crate::tables) fn a_selection_is_of_one_snapshot_and_says_of_which(database: &Database) {
    let (store, generation) = public(database);
    let mut select = of("orders");
    select.columns = vec![Chosen::One {
        column: "total".to_owned(),
        alias: Some("'; DROP TABLE orders; --".to_owned()),
    }];
    select.filter = Filter::Test {
        column: "total".to_owned(),
        test: Test::Compare(Comparison::Greater, "9.499".to_owned()),
    };
    select.limit = 2;
    select.count = true;
    let selected = ask(&*store, &select);
    assert_eq!(
        selected.columns,
        [("'; DROP TABLE orders; --".to_owned(), ColumnType::Decimal(2))]
    );
    let rows: [Row; 2] = [Box::new([decimal("9.50")]), Box::new([decimal("10.00")])];
    assert_eq!(selected.rows, rows);
    assert_eq!((selected.more, selected.total), (true, Some(3)));
    let shown = &selected.shown;
    assert_eq!(
        (
            shown.name.as_str(),
            shown.generation,
            shown.position,
            shown.revision,
            shown.parked_events
        ),
        ("orders", generation.id, Position(7), 0, 0)
    );
    assert_eq!(store.shown_tables().unwrap(), std::slice::from_ref(shown));

    // What is parked is said, and a replay is seen although the position stays.
    let mut writer = store.writer(&generation).unwrap();
    let letter = DeadLetter {
        generation: generation.id,
        projection: plugin("sales"),
        position: Position(8),
        part: None,
        event_id: EventId(uuid::Uuid::from_u128(8)),
        stream_id: "order-8".to_owned(),
        event_type: "OrderPlaced".to_owned(),
        behind: None,
        message: "no".to_owned(),
        trace: String::new(),
        log: serde_json::json!([]),
        digest: PluginDigest::of(b"x"),
        version: "1.0.0".to_owned(),
        attempts: 1,
        parked_at: 1,
        tried_at: 1,
    };
    let mut parking = flush(7, 8, &[]);
    parking.letters = Some(Box::new(LetterFlush {
        park: vec![letter],
        ..LetterFlush::default()
    }));
    writer.flush(&parking, true).unwrap();
    let parked = ask(&*store, &select).shown;
    assert_eq!(
        (parked.position, parked.parked_events, parked.revision),
        (Position(8), 1, 0)
    );
    let mut replay = flush(8, 8, &[(0, vec![order("e", None, "11.00")])]);
    replay.letters = Some(Box::new(LetterFlush {
        release: vec![Position(8)],
        ..LetterFlush::default()
    }));
    writer.flush(&replay, true).unwrap();
    let replayed = ask(&*store, &select);
    let shown = &replayed.shown;
    assert_eq!(
        (shown.position, shown.parked_events, shown.revision),
        (Position(8), 0, 1)
    );
    assert_eq!(replayed.total, Some(4));

    for name in [
        "ORDERS",
        "order",
        "",
        "orders__g1",
        "lamphouse_public_tables",
        "orders\"; --",
    ] {
        let error = store.select(&of(name), TIME).unwrap_err();
        assert!(
            matches!(&error, SelectError::NoTable(table) if table == name),
            "{name}: {error}"
        );
    }
    select.columns = one("nothing");
    let error = store.select(&select, TIME).unwrap_err();
    assert!(
        matches!(&error, SelectError::Wrong(why) if why.contains("order_id, customer_id")),
        "{error}"
    );
}

/// Rows that say of which generation they are, and that are as many as the position says.
fn stamped(stamp: i64, first: i64, count: i64) -> Vec<Row> {
    let row = |id: i64| -> Row { Box::new([Value::Integer(id), Value::Integer(stamp)]) };
    (first..first + count).map(row).collect()
}

pub(in crate::tables) fn a_selection_never_mixes_generations_while_they_are_switched_and_dropped(
    database: &Database,
) {
    let store = (database.open)();
    let schema = sample::table(
        "stamped",
        vec![
            sample::column("id", ColumnType::Integer),
            sample::column("stamp", ColumnType::Integer),
        ],
        &[0],
        &[],
    );
    let descriptor = |version: &str| sample::descriptor("stamped", version, vec![schema.clone()]);
    let mut live = build(&*store, &descriptor("1.0.0"));
    let mut writer = store.writer(&live).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 10, &[(0, stamped(live.id.0, 0, 10))]),
        &switch(None, &live, 1),
    );
    let is_over = AtomicBool::new(false);
    let mut select = of("stamped");
    select.count = true;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut looks) = (Position(0), 0);
                    while !is_over.load(Ordering::Acquire) {
                        let selected = ask(&*store, &select);
                        let shown = &selected.shown;
                        let count = selected.rows.len() as u64;
                        assert!(shown.position >= last, "back from {last} to {}", shown.position);
                        assert_eq!((count, selected.total), (shown.position.0, Some(count)));
                        let stamp = Value::Integer(shown.generation.0);
                        assert!(selected.rows.iter().all(|row| row[1] == stamp), "{selected:?}");
                        last = shown.position;
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        for round in 1..=8 {
            let position = 10 + round;
            let next = build(&*store, &descriptor(&format!("1.0.{round}")));
            let mut next_writer = store.writer(&next).unwrap();
            next_writer
                .flush(&flush(0, 5, &[(0, stamped(next.id.0, 0, 5))]), false)
                .unwrap();
            let rest = stamped(next.id.0, 5, i64::try_from(position).unwrap() - 5);
            cut_over(
                &*store,
                &mut *next_writer,
                &flush(5, position, &[(0, rest)]),
                &switch(Some(&live), &next, i64::try_from(round).unwrap()),
            );
            store.drop_generation(live.id).unwrap();
            live = next;
        }
        is_over.store(true, Ordering::Release);
        let looks: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(looks > 20, "{looks} looks");
    });
    assert_eq!(ask(&*store, &select).shown.position, Position(18));
}

pub(in crate::tables) fn pages_of_a_selection_neither_repeat_nor_miss_a_row(database: &Database) {
    let store = (database.open)();
    let generation = build(
        &*store,
        &sample::descriptor("all", "1.0.0", vec![sample::everything()]),
    );
    let row = |number: i64| -> Row {
        let mut row = vec![Value::Null; 10];
        row[0] = Value::Integer(number % 3);
        row[1] = text(&format!("n{:02}", number));
        // Many ties, and nulls among them.
        row[3] = match number % 4 {
            0 => Value::Null,
            rest => Value::Integer(rest),
        };
        row.into()
    };
    let mut rows: Vec<Row> = (0..37).map(row).collect();
    rows.sort_by_key(|row| match (&row[0], &row[1]) {
        (Value::Integer(part), Value::Text(name)) => (*part, name.clone()),
        _ => unreachable!(),
    });
    let mut writer = store.writer(&generation).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 1, &[(0, rows)]),
        &switch(None, &generation, 1),
    );
    for order in [
        vec![],
        vec![by("count", false)],
        vec![by("count", true), by("flag", false)],
    ] {
        let mut select = of("everything");
        select.columns = one("name");
        select.order = order;
        let whole = firsts(&ask(&*store, &select));
        let mut distinct = whole.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((whole.len(), distinct.len()), (37, 37));
        let mut paged = Vec::new();
        select.limit = 5;
        loop {
            let page = ask(&*store, &select);
            paged.extend(firsts(&page));
            select.offset += 5;
            assert_eq!(page.more, select.offset < 37);
            if !page.more {
                break;
            }
        }
        assert_eq!(paged, whole);
        select.offset = u64::MAX;
        select.limit = u64::MAX;
        let beyond = ask(&*store, &select);
        assert_eq!((beyond.rows.len(), beyond.more), (0, false));
    }
}

pub(in crate::tables) fn decimals_and_nulls_are_ordered_alike(database: &Database) {
    let (store, _) = public(database);
    let sorted = |order: Vec<OrderBy>| {
        let mut select = of("orders");
        select.order = order;
        firsts(&ask(&*store, &select)).concat()
    };
    assert_eq!(sorted(vec![]), "abcd");
    assert_eq!(sorted(vec![by("total", false)]), "cabd");
    assert_eq!(sorted(vec![by("total", true)]), "dbac");
    // Nulls are last, or first where all is turned round; the key breaks their tie.
    assert_eq!(sorted(vec![by("customer_id", false)]), "acbd");
    assert_eq!(sorted(vec![by("customer_id", true)]), "bdca");
    let first = |nulls_first| OrderBy {
        nulls_first: Some(nulls_first),
        ..by("customer_id", false)
    };
    assert_eq!(sorted(vec![first(true)]), "bdac");
    assert_eq!(sorted(vec![first(false)]), "acbd");
}

pub(in crate::tables) fn a_selection_is_stopped_when_its_time_is_over(database: &Database) {
    let (store, generation) = public(database);
    let mut writer = store.writer(&generation).unwrap();
    let mut rows: Vec<Row> = (0..40_000)
        .map(|number| order(&format!("many-{number:06}"), Some(&"x".repeat(200)), "1.00"))
        .collect();
    rows.insert(0, order("long", Some(&"x".repeat(1 << 20)), "1.00"));
    writer.flush(&flush(7, 9, &[(0, rows)]), true).unwrap();
    let mut select = of("orders");
    let slow = |pattern: &str| Filter::Test {
        column: "customer_id".to_owned(),
        test: Test::Like {
            pattern: pattern.to_owned(),
            any_case: true,
        },
    };
    let many = Filter::All(vec![slow("*x*x*x*x*x*x*x*x*x*x*y"); 50]);
    // One row, but a long way to go in it.
    let long = Filter::All(vec![
        Filter::Test {
            column: "order_id".to_owned(),
            test: Test::Compare(Comparison::Equal, "long".to_owned()),
        },
        slow(&format!("*{}y", "x".repeat(900))),
    ]);
    for filter in [Filter::Any(vec![many.clone(), many]), long] {
        select.filter = filter;
        let start = Instant::now();
        let time_max = Duration::from_millis(5);
        match store.select(&select, time_max) {
            Err(SelectError::Late(why)) => assert!(why.contains("5 ms"), "{why}"),
            other => panic!("{other:?}"),
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    // The connection is as good as before.
    select.filter = Filter::everything();
    assert_eq!(ask(&*store, &select).rows.len(), 100);
    assert_eq!(at(9).position, ask(&*store, &select).shown.position);
    assert!(matches!(
        store.select(&of("nowhere"), TIME),
        Err(SelectError::NoTable(_))
    ));
}
