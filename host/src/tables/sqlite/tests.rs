//! The conformance suite on SQLite, and what is SQLite's own.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::Value as Stored;

use crate::config::DatabaseUrl;
use crate::tables::conformance::{self, Database, User};
use crate::tables::{StoreError, TableStore, sample};

conformance::conformance!(fixture);

pub(in crate::tables) fn fixture() -> Option<Database> {
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

fn connect(path: &Path) -> Connection {
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

/// Opens a file as the host would.
fn open(path: &Path) -> Result<Arc<dyn TableStore>, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    crate::tables::open(&DatabaseUrl::Sqlite(path.to_owned()), runtime.handle().clone())
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    drop(open(&path).unwrap());
    drop(open(&path).unwrap());
    connect(&path)
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'of the future', 1, x'00', 0)",
            [],
        )
        .unwrap();
    let error = open(&path).err().unwrap();
    assert!(
        matches!(&error, StoreError::Invalid(text) if text.contains("newer version")),
        "{error}"
    );
}

#[test]
fn what_is_no_database_or_has_no_folder_is_named_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    std::fs::write(
        &path,
        "not a database, but long enough to look like one".repeat(100),
    )
    .unwrap();
    let error = open(&path).err().unwrap().to_string();
    assert!(
        error.contains("tables.db") && error.contains("built again from the log"),
        "{error}"
    );
    let error = open(&folder.path().join("nowhere/tables.db"))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("does the folder exist"), "{error}");
}

#[test]
fn the_address_of_an_owner_that_was_killed_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    let store = open(&path).unwrap();
    // A killed host leaves the file and its text, but not the lock.
    std::fs::write(folder.path().join("tables.db.lock"), "127.0.0.1:7117").unwrap();
    assert_eq!(store.owner_address().unwrap(), None);
    let mut owner = store.try_own().unwrap().unwrap();
    assert_eq!(store.owner_address().unwrap(), None);
    assert!(owner.is_held());
    std::fs::remove_file(folder.path().join("tables.db.lock")).unwrap();
    assert!(!owner.is_held(), "another host could now lock a new file");
}

#[test]
fn a_drop_that_was_cut_short_is_finished_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    let store = open(&path).unwrap();
    let [first, second] =
        ["1.0.0", "1.1.0"].map(|version| conformance::build(&*store, &conformance::notes(version)));
    // As if the host had ended right after its first step.
    let user = connect(&path);
    user.execute(
        "UPDATE lamphouse_generations SET state = 'dropped' WHERE id = ?1",
        [first.id.0],
    )
    .unwrap();
    store.drop_generation(second.id).unwrap();
    let tables: i64 = user
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'notes%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(tables, 0);
}

#[test]
fn a_writer_of_another_process_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    let store = open(&path).unwrap();
    let generation = conformance::build(&*store, &conformance::notes("1.0.0"));
    let mut writer = store.writer(&generation).unwrap();
    let other = connect(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let flush = scope.spawn(move || writer.flush(&conformance::flush(0, 1, &[]), true));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!flush.is_finished());
        other.execute_batch("COMMIT").unwrap();
        flush.join().unwrap().unwrap();
    });
}

#[test]
fn every_look_by_key_goes_through_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    let store = open(&path).unwrap();
    let tables = vec![sample::orders(), sample::everything()];
    let generation = conformance::build(&*store, &sample::descriptor("sales", "1.0.0", tables));
    store.create_indexes(&generation).unwrap();
    let (orders, everything) = (
        format!("orders__{}", generation.id),
        format!("everything__{}", generation.id),
    );
    let user = connect(&path);
    for sql in [
        format!("SELECT * FROM {orders} WHERE (order_id) = (?)"),
        format!("SELECT * FROM {everything} WHERE (part, name) = (?, ?)"),
        format!("SELECT * FROM {everything} WHERE (part, name) > (?, ?) ORDER BY part, name LIMIT ?"),
        format!(
            "SELECT * FROM {orders} WHERE customer_id IS ? AND (order_id) > (?) ORDER BY order_id LIMIT ?"
        ),
        format!("SELECT * FROM {everything} WHERE name IS ? ORDER BY part, name LIMIT ?"),
        format!("DELETE FROM {orders} WHERE (order_id) IN (VALUES (?),(?))"),
        format!("DELETE FROM {everything} WHERE (part, name) IN (VALUES (?,?),(?,?))"),
    ] {
        let mut statement = user.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![Stored::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(
            plan.contains("SEARCH") && !plan.contains("TEMP B-TREE"),
            "{sql}: {plan}"
        );
        assert!(
            !plan.contains(&format!("SCAN {orders}")) && !plan.contains(&format!("SCAN {everything}")),
            "{plan}"
        );
    }
}

#[test]
fn plain_sqlite_reads_every_public_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables.db");
    let store = open(&path).unwrap();
    let tables = vec![sample::customers()];
    let generation = conformance::build(&*store, &sample::descriptor("sales", "1.0.0", tables));
    let row = |id: &str, net: &str| -> lamphouse_contract::Row {
        Box::new([
            conformance::text(id),
            lamphouse_contract::Value::Integer(1),
            conformance::decimal(net),
        ])
    };
    let flush = conformance::flush(0, 1, &[(0, vec![row("a", "10.00"), row("b", "9.50")])]);
    let plan = conformance::switch(None, &generation, 1);
    store.writer(&generation).unwrap().switch(&flush, &plan).unwrap();
    let mut user = Plain(connect(&path));
    // Decimals are text there: exact to read, sorted as text; a cast sorts them.
    for (sql, first) in [
        ("SELECT net FROM customers ORDER BY net", "10.00"),
        ("SELECT net FROM customers ORDER BY CAST(net AS REAL)", "9.50"),
        ("SELECT sum(net) FROM customers", "19.5"),
        (
            "SELECT c.net FROM customers c JOIN customers d USING (net) WHERE net = '9.50'",
            "9.50",
        ),
    ] {
        assert_eq!(user.rows(sql).unwrap()[0][0].as_deref(), Some(first), "{sql}");
    }
}

/// Not a test: figures for the hot paths. `cargo test -p lamphouse --lib -- --ignored --nocapture speed_of`
#[test]
#[ignore = "prints figures"]
fn speed_of_flushing_and_reading() {
    use crate::tables::TableFlush;
    use crate::tables::conformance::{at, build, decimal, text};
    use lamphouse_contract::{Key, Row, Value};
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
    let mut time = |name: &str, rows: Vec<Arc<Row>>, are_new: bool| {
        let n = rows.len();
        let mut flush = crate::tables::Flush {
            from: at(position),
            to: at(position + 1),
            tables: vec![TableFlush {
                table: 0,
                upserts: rows,
                ..TableFlush::default()
            }],
            letters: None,
        };
        if are_new {
            flush.tables[0].make_new();
        }
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
