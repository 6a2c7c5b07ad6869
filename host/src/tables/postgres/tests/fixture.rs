//! A database for each test, on the server of `LAMPHOUSE_TEST_POSTGRES`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use lamphouse_contract::{ColumnType, Value};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, ValueRef as _};
use tokio::runtime::{Handle, Runtime};

use crate::tables::conformance::{self, Database, User, build, flush, switch, text};
use crate::tables::sample::{column, descriptor, table};
use crate::tables::{Finish, GenerationRecord, TableStore};

/// Rows of each table of [`pair`].
pub(super) const ROWS: usize = 300;

pub(super) fn runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap()
        })
        .handle()
        .clone()
}

/// An empty database; None, said loudly, where there is no server.
pub(in crate::tables) fn database() -> Option<Database> {
    let scratch = Arc::new(Scratch::new()?);
    let (open, user) = (scratch.clone(), scratch.clone());
    Some(Database {
        open: Box::new(move || crate::tables::postgres::open(&open.url, runtime()).unwrap()),
        user: Box::new(move || Box::new(Connection::new(&user.url))),
        is_postgres: true,
        _guard: Box::new(scratch),
    })
}

/// The address of a database of its own; dropped with it.
pub(super) struct Scratch {
    admin: String,
    name: String,
    pub(super) url: String,
}

impl Scratch {
    pub(super) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(admin) = std::env::var("LAMPHOUSE_TEST_POSTGRES") else {
            assert!(
                std::env::var("LAMPHOUSE_TEST_STRICT").as_deref() != Ok("1"),
                "LAMPHOUSE_TEST_STRICT=1 and no LAMPHOUSE_TEST_POSTGRES"
            );
            eprintln!("SKIPPED (no LAMPHOUSE_TEST_POSTGRES): a test of the tables on PostgreSQL");
            return None;
        };
        let name = format!(
            "lamphouse_tables_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Connection::new(&admin)
            .run(&format!("CREATE DATABASE {name}"))
            .unwrap();
        let (server, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        Some(Self { admin, name, url })
    }

    /// The store, opened once more.
    pub(super) fn open(&self) -> Arc<dyn TableStore> {
        crate::tables::postgres::open(&self.url, runtime()).unwrap()
    }

    pub(super) fn user(&self) -> Connection {
        Connection::new(&self.url)
    }

    /// The URL for another role.
    pub(super) fn url_of(&self, role: &str) -> String {
        let (_, rest) = self.url.split_once("://").unwrap();
        let (_, place) = rest.rsplit_once('@').unwrap();
        format!("postgres://{role}@{place}")
    }

    /// A role name of this test's own.
    pub(super) fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut admin = Connection::new(&self.admin);
        let oid = admin.rows(&format!(
            "SELECT oid FROM pg_database WHERE datname = '{}'",
            self.name
        ));
        let _ = admin.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        if let Ok(rows) = oid
            && let Some(oid) = rows.first().and_then(|row| row[0].clone())
        {
            let _ = admin.run(&format!("DROP ROLE IF EXISTS lamphouse_reader_{oid}"));
        }
        let roles = format!(
            "SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{}_')",
            self.name
        );
        for row in admin.rows(&roles).unwrap_or_default() {
            let _ = admin.run(&format!("DROP ROLE {}", row[0].clone().unwrap_or_default()));
        }
    }
}

/// A user's plain connection.
pub(super) struct Connection(pub(super) PgConnection);

impl Connection {
    pub(super) fn new(url: &str) -> Self {
        Self(runtime().block_on(PgConnection::connect(url)).unwrap())
    }

    /// By a prepared statement, which stays prepared.
    pub(super) fn prepared(&mut self, sql: &'static str) -> Result<Vec<PgRow>, sqlx::Error> {
        runtime().block_on(sqlx::query(sql).fetch_all(&mut self.0))
    }

    /// The first value of the first row.
    pub(super) fn one(&mut self, sql: &str) -> String {
        self.rows(sql).unwrap()[0][0].clone().unwrap_or_default()
    }
}

impl User for Connection {
    fn run(&mut self, sql: &str) -> Result<(), String> {
        let done = runtime().block_on(self.0.execute(AssertSqlSafe(sql)));
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let rows = runtime().block_on(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.0));
        let value = |row: &PgRow, place| {
            let raw = row.try_get_raw(place).unwrap();
            (!raw.is_null()).then(|| raw.as_str().unwrap().to_owned())
        };
        let rows = rows.map_err(|error| error.to_string())?;
        Ok(rows
            .iter()
            .map(|row| (0..row.len()).map(|place| value(row, place)).collect())
            .collect())
    }
}

/// Tables `orders` and `customers`, each row of which says its generation; a version 2 also has `countries`, and a
/// column `note` in `orders`.
pub(super) fn pair(version: u32) -> Arc<lamphouse_contract::Descriptor> {
    let columns = || {
        vec![
            column("id", ColumnType::Integer),
            column("made_by", ColumnType::Integer),
        ]
    };
    let mut orders = columns();
    if version > 1 {
        orders.push(crate::tables::sample::nullable("note", ColumnType::Text));
    }
    let mut tables = vec![
        table("orders", orders, &[0], &[]),
        table("customers", columns(), &[0], &[]),
    ];
    if version > 1 {
        tables.push(table("countries", columns(), &[0], &[]));
    }
    descriptor("pair", &format!("{version}.0.0"), tables)
}

/// A generation of [`pair`] with all its rows, at position 10.
pub(super) fn built(store: &dyn TableStore, version: u32) -> GenerationRecord {
    let generation = build(store, &pair(version));
    let rows = |table: usize| {
        let notes = table == 0 && version > 1;
        let count = i64::try_from(ROWS).unwrap();
        (0..count)
            .map(|id| {
                let mut row = vec![Value::Integer(id), Value::Integer(generation.id.0)];
                row.extend(notes.then(|| text("new")));
                row.into_boxed_slice()
            })
            .collect::<Vec<_>>()
    };
    let tables: Vec<_> = (0..generation.descriptor.tables.len())
        .map(|table| (table, rows(table)))
        .collect();
    let mut all = flush(0, 10, &tables);
    for table in &mut all.tables {
        table.make_new();
    }
    store.writer(&generation).unwrap().flush(&all, false).unwrap();
    conformance::stored(store, generation.id)
}

/// Makes a generation that is at position 10 public, without new rows.
pub(super) fn go_live(
    store: &dyn TableStore,
    from: Option<&GenerationRecord>,
    to: &GenerationRecord,
) -> Result<(), crate::tables::StoreError> {
    let switch = switch(from, to, 5_000);
    store.prepare_switch(&switch)?;
    store.writer(to).unwrap().switch(&flush(10, 10, &[]), &switch)
}

/// Waits for the end of the last switch.
pub(super) fn finished(store: &dyn TableStore) {
    let name = conformance::plugin("pair");
    for _ in 0..500 {
        if store.finish_switch(&name).unwrap() == Finish::Done {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the switch is not finished: {:?}", store.finish_switch(&name));
}
