//! The conformance suite on SQLite, and what is SQLite's own.

use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::Value as Stored;

use crate::config::DatabaseUrl;
use crate::tables::conformance::{Database, User, conformance};

conformance!(fixture);

fn fixture() -> Option<Database> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let url = DatabaseUrl::Sqlite(path.clone());
    Some(Database {
        open: Box::new(move || crate::tables::open(&url, handle.clone()).unwrap()),
        user: Box::new(move || Box::new(Plain(connect(&path)))),
        is_postgres: false,
        _guard: Box::new((folder, runtime)),
    })
}

fn connect(path: &PathBuf) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    connection
}

/// A user's connection, with nothing of ours on it.
struct Plain(Connection);

impl User for Plain {
    fn run(&mut self, sql: &str) -> Result<(), String> {
        self.0.execute_batch(sql).map_err(|error| error.to_string())
    }

    fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let read = || -> rusqlite::Result<Vec<Vec<Option<String>>>> {
            let mut statement = self.0.prepare_cached(sql)?;
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                (0..columns).map(|place| shown(row.get(place)?)).collect()
            })?;
            rows.collect()
        };
        read().map_err(|error| error.to_string())
    }
}

fn shown(value: Stored) -> rusqlite::Result<Option<String>> {
    Ok(match value {
        Stored::Null => None,
        Stored::Integer(value) => Some(value.to_string()),
        Stored::Real(value) => Some(value.to_string()),
        Stored::Text(text) => Some(text),
        Stored::Blob(bytes) => Some(format!("{bytes:?}")),
    })
}

/// Not a test: figures for the hot paths. `cargo test -p lamphouse --lib -- --ignored --nocapture speed_of`
#[test]
#[ignore = "prints figures"]
fn speed_of_flushing_and_reading() {
    use crate::tables::TableFlush;
    use crate::tables::conformance::{at, build, decimal, text};
    use crate::tables::sample;
    use lamphouse_contract::{Key, Row, Value};
    use std::sync::Arc;
    use std::time::Instant;

    let database = fixture().unwrap();
    let store = (database.open)();
    let descriptor = sample::descriptor("sales", "1.0.0", vec![sample::orders(), sample::customers()]);
    let generation = build(&*store, &descriptor);
    let row = |id: usize, lines: i64| -> Arc<Row> {
        Arc::new(Box::new([
            text(&format!("order-{id:08}")),
            text(&format!("c{:05}", id % 5000)),
            text("United Kingdom"),
            Value::Integer(lines),
            decimal("123.45"),
            Value::Timestamp(1_700_000_000_000_000 + id as i64),
        ]))
    };
    let mut writer = store.writer(&generation).unwrap();
    let mut position = 0;
    let mut time = |name: &str, rows: Vec<Arc<Row>>, table_is_empty: bool| {
        let n = rows.len();
        let flush = crate::tables::Flush {
            from: at(position),
            to: at(position + 1),
            tables: vec![TableFlush {
                table: 0,
                upserts: rows,
                removes: vec![],
                table_is_empty,
            }],
        };
        position += 1;
        let start = Instant::now();
        writer.flush(&flush, false).unwrap();
        let took = start.elapsed();
        eprintln!(
            "{name}: {n} rows in {took:?}: {:.0} rows/s",
            n as f64 / took.as_secs_f64()
        );
    };
    let all = |lines| -> Vec<Arc<Row>> { (0..200_000).map(|id| row(id, lines)).collect() };
    time("insert into empty", all(1), true);
    time("replace all", all(2), false);
    time("replace all", all(3), false);
    time(
        "replace every 10th",
        all(4).into_iter().step_by(10).collect(),
        false,
    );
    time(
        "replace 1000 spread",
        all(5).into_iter().step_by(200).collect(),
        false,
    );
    let start = Instant::now();
    store.create_indexes(&generation).unwrap();
    eprintln!("indexes: {:?}", start.elapsed());
    time("replace all, indexed", all(6), false);
    time(
        "replace every 10th, indexed",
        all(7).into_iter().step_by(10).collect(),
        false,
    );
    for id in 0..3 {
        time("one row", vec![row(id * 1000, 9)], false);
    }
    let mut reader = store.reader(&generation).unwrap();
    for _ in 0..2 {
        let keys: Vec<Key> = (0..20_000)
            .map(|id| -> Key { Box::new([text(&format!("order-{:08}", id * 10))]) })
            .collect();
        let start = Instant::now();
        let found = reader.get_many(0, &keys).unwrap();
        let took = start.elapsed();
        assert!(found.iter().all(Option::is_some));
        eprintln!("get_many: {:.0} keys/s", keys.len() as f64 / took.as_secs_f64());
    }
    let start = Instant::now();
    let rows = reader.scan(0, None, usize::MAX).unwrap().len();
    eprintln!("scan: {:.0} rows/s", rows as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    store.drop_generation(generation.id).unwrap();
    eprintln!("drop: {:?}", start.elapsed());
}
