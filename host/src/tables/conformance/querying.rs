//! Read-only queries on the public names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::{Row, Value};
use serde_json::{Value as Json, json};

use super::{Database, build, cut_over, decimal, flush, switch, text};
use crate::tables::{QueryAnswer, QueryLimits, StoreError, TableStore, sample};

const LIMITS: QueryLimits = QueryLimits {
    rows_max: 1_000,
    time_max: Duration::from_secs(10),
};

fn order(id: &str, total: &str, placed_at: i64) -> Row {
    Box::new([
        text(id),
        Value::Null,
        text("Norway"),
        Value::Integer(i64::MAX),
        decimal(total),
        Value::Timestamp(placed_at),
    ])
}

/// A store whose `orders` and `everything` are public.
fn public(database: &Database) -> Arc<dyn TableStore> {
    let store = (database.open)();
    let tables = vec![sample::orders(), sample::everything()];
    let generation = build(&*store, &sample::descriptor("sales", "1.0.0", tables));
    let orders = vec![
        order("a", "9.50", 0),
        order("b", "10.00", 1_500_000),
        order("c", "-0.25", -1),
        order("d", "123456789012345678901234567890.10", 0),
    ];
    let everything: Row = Box::new([
        Value::Integer(1),
        text("one"),
        Value::Boolean(true),
        Value::Integer(-7),
        Value::Real(0.5),
        decimal("1.2500"),
        text("it's"),
        Value::Bytes(Box::new([0, 255])),
        Value::Timestamp(1_767_225_599_999_999),
        Value::Json(r#"{"z": [1, true], "a": null}"#.into()),
    ]);
    let mut writer = store.writer(&generation).unwrap();
    let rows = flush(0, 1, &[(0, orders), (1, vec![everything])]);
    cut_over(&*store, &mut *writer, &rows, &switch(None, &generation, 1));
    store
}

fn ask(store: &dyn TableStore, sql: &str) -> QueryAnswer {
    store
        .query(sql, LIMITS)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn column(store: &dyn TableStore, sql: &str) -> Vec<Json> {
    ask(store, sql)
        .rows
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

pub(in crate::tables) fn an_answer_is_typed_json(database: &Database) {
    let store = public(database);
    let answer = ask(&*store, "SELECT * FROM everything");
    let names = [
        "part", "name", "flag", "count", "ratio", "price", "note", "data", "at", "doc",
    ];
    assert_eq!(answer.columns, names);
    assert!(!answer.truncated);
    let expected = json!([
        1, "one", true, -7, 0.5, "1.2500", "it's", "AP8=", "2025-12-31T23:59:59.999999Z", {"z": [1, true], "a": null}
    ]);
    assert_eq!(Json::from(answer.rows), json!([expected]));
    let orders = ask(
        &*store,
        "SELECT customer_id, lines, placed_at FROM orders WHERE order_id = 'c'",
    );
    assert_eq!(
        Json::from(orders.rows),
        json!([[null, "9223372036854775807", "1969-12-31T23:59:59.999999Z"]])
    );
    assert_eq!(
        ask(&*store, "SELECT order_id FROM orders WHERE order_id = 'nobody';")
            .rows
            .len(),
        0
    );
}

pub(in crate::tables) fn decimals_compare_sort_and_sum_by_number(database: &Database) {
    let store = public(database);
    let sorted = "SELECT order_id FROM orders ORDER BY total";
    assert_eq!(column(&*store, sorted), ["c", "a", "b", "d"]);
    let above = "SELECT order_id FROM orders WHERE total > 9.5 ORDER BY total DESC";
    assert_eq!(column(&*store, above), ["d", "b"]);
    let between = "SELECT order_id FROM orders WHERE total BETWEEN 0 AND 10 ORDER BY order_id";
    assert_eq!(column(&*store, between), ["a", "b"]);
    assert_eq!(
        column(&*store, "SELECT order_id FROM orders WHERE total = 10"),
        ["b"]
    );
    let sum = "SELECT sum(total) FROM orders";
    assert_eq!(column(&*store, sum), ["123456789012345678901234567909.35"]);
    let extremes = ask(&*store, "SELECT min(total), max(total) FROM orders");
    assert_eq!(
        Json::from(extremes.rows),
        json!([["-0.25", "123456789012345678901234567890.10"]])
    );
    let running =
        "SELECT sum(total) OVER (ORDER BY order_id) FROM orders WHERE order_id < 'd' ORDER BY order_id";
    assert_eq!(column(&*store, running), ["9.50", "19.50", "19.25"]);
    let nested = "SELECT max(t) FROM (SELECT total AS t FROM orders WHERE order_id IN ('a', 'b')) AS s";
    assert_eq!(column(&*store, nested), ["10.00"]);
}

pub(in crate::tables) fn a_query_is_bounded_in_rows_and_time(database: &Database) {
    let store = public(database);
    let two = QueryLimits {
        rows_max: 2,
        ..LIMITS
    };
    let answer = store
        .query("SELECT order_id FROM orders ORDER BY order_id", two)
        .unwrap();
    assert_eq!((answer.rows.len(), answer.truncated), (2, true));
    let four = QueryLimits {
        rows_max: 4,
        ..LIMITS
    };
    let answer = store.query("SELECT order_id FROM orders", four).unwrap();
    assert_eq!((answer.rows.len(), answer.truncated), (4, false));

    let short = QueryLimits {
        time_max: Duration::from_millis(200),
        ..LIMITS
    };
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) \
                   SELECT count(*) FROM n";
    let start = Instant::now();
    let error = store.query(endless, short).unwrap_err();
    assert!(
        matches!(&error, StoreError::Invalid(text) if text.contains("200 ms")),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

pub(in crate::tables) fn a_query_can_only_read_what_is_public(database: &Database) {
    let store = public(database);
    (database.user)().run("CREATE TABLE secrets (word text)").unwrap();
    let generation = store.generations().unwrap()[0].id;
    let refused = [
        "",
        "  -- nothing\n",
        "SELECT",
        "SELECT * FROM nowhere",
        "SELECT nothing FROM orders",
        "SELECT 1; SELECT 2",
        "INSERT INTO orders (order_id) VALUES ('x')",
        "UPDATE orders SET total = 0",
        "DELETE FROM orders",
        "DROP VIEW orders",
        "CREATE TABLE x (id integer)",
        "CREATE TEMP TABLE x (id integer)",
        "SELECT * FROM secrets",
        "SELECT * FROM lamphouse_plugins",
        "SELECT * FROM lamphouse_generations",
        "WITH orders AS (SELECT * FROM secrets) SELECT * FROM orders",
        "WITH orders AS (SELECT * FROM lamphouse_plugins) SELECT * FROM orders",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "PRAGMA journal_mode = DELETE",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM pragma_table_info('secrets')",
        "ATTACH DATABASE ':memory:' AS other",
        "VACUUM INTO '/tmp/lamphouse-query-test'",
        "SELECT load_extension('x')",
        "COPY orders TO '/tmp/lamphouse-query-test'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_sleep(100)",
        "SET ROLE postgres",
        "RESET ROLE",
    ];
    let physical = format!("SELECT * FROM orders__{generation}");
    for sql in refused.iter().copied().chain([physical.as_str()]) {
        // One database's danger may be another's unknown word: refused is refused.
        let time_max = Duration::from_millis(500);
        match store.query(sql, QueryLimits { time_max, ..LIMITS }) {
            Err(StoreError::Invalid(text)) => assert!(text.len() > 10, "{sql}: {text}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert_eq!(column(&*store, "SELECT count(*) FROM orders"), [json!(4)]);
    let hint = store
        .query("SELECT * FROM nowhere", LIMITS)
        .unwrap_err()
        .to_string();
    assert!(
        hint.contains("nowhere") && hint.contains("; the public tables are: ") && hint.contains("orders"),
        "{hint}"
    );
}
