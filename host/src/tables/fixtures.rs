//! Public tables for the tests of other layers, on each database that there is.

use std::sync::Arc;

use lamphouse_contract::{Row, TableSchema};

use super::conformance::{Database, build, flush, switch};
use super::{GenerationRecord, TableStore, TableWriter, postgres, sample, sqlite};

/// A database with one projection, `shop`, whose tables are public.
pub(crate) struct Filled {
    /// For messages.
    pub(crate) name: &'static str,
    /// The store.
    pub(crate) store: Arc<dyn TableStore>,
    /// What is public.
    pub(crate) generation: GenerationRecord,
    /// Its writer; the checkpoint is at 1.
    pub(crate) writer: Box<dyn TableWriter>,
    // Dropped last: the database goes with it.
    _database: Database,
}

impl Filled {
    /// Begins to build another projection of one table; its call makes it public, at position 1.
    pub(crate) fn begin(&self, schema: &TableSchema) -> impl FnOnce() + Send + use<> {
        let store = Arc::clone(&self.store);
        let descriptor = sample::descriptor("later", "1.0.0", vec![schema.clone()]);
        let generation = build(&*store, &descriptor);
        move || {
            let mut writer = store.writer(&generation).unwrap();
            let switch = switch(None, &generation, 1);
            store.prepare_switch(&switch).unwrap();
            writer.switch(&flush(0, 1, &[]), &switch).unwrap();
        }
    }

    /// Moves the checkpoint with no rows.
    pub(crate) fn advance(&mut self, from: u64, to: u64) {
        self.writer.flush(&flush(from, to, &[]), true).unwrap();
    }
}

/// Fills a table on SQLite and, where there is a server, on PostgreSQL.
pub(crate) fn each(schema: &TableSchema, rows: &[Row]) -> Vec<Filled> {
    let databases = [
        ("SQLite", sqlite::tests::fixture()),
        ("PostgreSQL", postgres::tests::database()),
    ];
    let there = databases
        .into_iter()
        .filter_map(|(name, database)| Some((name, database?)));
    there
        .map(|(name, database)| fill(name, database, schema, rows))
        .collect()
}

fn fill(name: &'static str, database: Database, schema: &TableSchema, rows: &[Row]) -> Filled {
    let store = (database.open)();
    let generation = build(
        &*store,
        &sample::descriptor("shop", "1.0.0", vec![schema.clone()]),
    );
    let mut writer = store.writer(&generation).unwrap();
    let switch = switch(None, &generation, 1);
    store.prepare_switch(&switch).unwrap();
    writer
        .switch(&flush(0, 1, &[(0, rows.to_vec())]), &switch)
        .unwrap();
    Filled {
        name,
        store,
        generation,
        writer,
        _database: database,
    }
}
