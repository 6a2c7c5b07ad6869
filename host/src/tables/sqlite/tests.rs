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
