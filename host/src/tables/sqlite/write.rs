//! Writes one generation's rows and checkpoint.
//!
//! The hot path: rows go in key order in statements of many rows that stay compiled, and nothing is allocated for a
//! value. (`rusqlite` has SQLite copy each text; binding in place would need unsafe code.)

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use lamphouse_contract::{Row, TableSchema};
use rusqlite::{Connection, Statement, Transaction, TransactionBehavior};

use super::connect::{self, Purpose, fault};
use super::turn::Turns;
use super::{changes, control, dead_letters, switch, values};
use crate::core::GenerationId;
use crate::tables::changes::{Entry, Refetch, count, entries};
use crate::tables::ddl::{self, Relation};
use crate::tables::{
    Checkpoint, Flush, GenerationRecord, StoreError, Switch, TableFlush, TableWriter, physical_names,
};
use crate::wal::{self, Checkpoints};

/// Values in one statement. More make larger programs for SQLite to run through and gain nothing (measured).
const VALUES_PER_STATEMENT_MAX: usize = 512;

/// Writes one generation, on a connection of its own.
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    turns: Arc<Turns>,
    checkpoints: Checkpoints,
    generation: Arc<GenerationRecord>,
    tables: Vec<TableSql>,
    /// Whether the last flush told of its changes: the next one will too, but for a switch or a retirement.
    tells: bool,
}

/// The statements of one physical table.
struct TableSql {
    columns: usize,
    key: usize,
    insert: Sizes,
    upsert: Sizes,
    delete: Sizes,
}

/// One statement for 1, 2, 4, … rows.
struct Sizes(Vec<String>);

impl Writer {
    pub(super) fn open(
        path: PathBuf,
        turns: Arc<Turns>,
        checkpoints: Checkpoints,
        generation: &GenerationRecord,
    ) -> Result<Self, StoreError> {
        let connection = connect::connect(&path, Purpose::Write)?;
        wal::leave_to_thread(&connection);
        let schemas = &generation.descriptor.tables;
        let names = physical_names(generation.id, schemas)?;
        let tables = schemas
            .iter()
            .zip(&names)
            .map(|(schema, name)| TableSql::new(Relation::named(name), schema))
            .collect();
        Ok(Self {
            path,
            connection,
            turns,
            checkpoints,
            generation: Arc::new(generation.clone()),
            tables,
            tells: false,
        })
    }

    /// Runs one transaction in its turn.
    fn transact(
        &mut self,
        live: bool,
        work: impl FnOnce(&Connection, &[TableSql]) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        let _turn = self.turns.take(live);
        let run = || -> Result<(), Failure> {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            work(&transaction, &self.tables)?;
            transaction.commit()?;
            self.checkpoints.committed(super::checkpoint_pages(live));
            Ok(())
        };
        run().map_err(|failure| failure.told(&self.path, "write rows"))
    }
}

/// What stopped a transaction.
pub(super) enum Failure {
    /// SQLite.
    Database(rusqlite::Error),
    /// What was asked.
    Store(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    pub(super) fn told(self, path: &std::path::Path, doing: &str) -> StoreError {
        match self {
            Self::Database(error) => fault(path, doing, &error),
            Self::Store(error) => error,
        }
    }
}

impl TableWriter for Writer {
    fn flush(&mut self, flush: &Flush, live: bool) -> Result<(), StoreError> {
        let generation = Arc::clone(&self.generation);
        let made = || entries(&generation.descriptor, flush);
        // Before its turn, so that nobody waits for it, where they were wanted the last time too.
        let changed = self.tells.then(made);
        let mut told = self.tells;
        self.transact(live, |connection, tables| {
            write(connection, generation.id, tables, flush)?;
            let count = count(flush);
            if count > 0 {
                told = changes::write(
                    connection,
                    &generation.projection,
                    generation.id,
                    true,
                    flush.to.position,
                    count,
                    || changed.unwrap_or_else(made),
                )?;
            }
            Ok(())
        })?;
        self.tells = told;
        Ok(())
    }

    fn switch(&mut self, flush: &Flush, switch: &Switch) -> Result<(), StoreError> {
        let generation = self.generation.id;
        if switch.to != generation {
            return Err(StoreError::Internal(format!(
                "the writer of generation {generation} was asked to switch to generation {}",
                switch.to
            )));
        }
        self.transact(true, |connection, tables| {
            switch::check(connection, switch, flush)?;
            write(connection, generation, tables, flush)?;
            dead_letters::check_switch(connection, switch)?;
            let names = switch::make_public(connection, switch)?;
            let marks: Vec<Entry<'_>> = names
                .iter()
                .map(|name| Entry::mark(name, Refetch::Cutover))
                .collect();
            changes::write(
                connection,
                &switch.projection,
                switch.to,
                false,
                flush.to.position,
                marks.len(),
                || marks,
            )?;
            Ok(())
        })
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        let read = control::checkpoint(&self.connection, self.generation.id);
        let found = read.map_err(|error| fault(&self.path, "read a checkpoint", &error))?;
        found.ok_or_else(|| {
            StoreError::Internal(format!("generation {} has no checkpoint", self.generation.id))
        })
    }
}

/// Writes rows and checkpoint, within a transaction.
fn write(
    connection: &Connection,
    generation: GenerationId,
    tables: &[TableSql],
    flush: &Flush,
) -> Result<(), Failure> {
    move_checkpoint(connection, generation, flush)?;
    for table in &flush.tables {
        let sql = tables.get(table.table).ok_or_else(|| {
            StoreError::Internal(format!("generation {generation} has no table {}", table.table))
        })?;
        sql.write(connection, table)?;
    }
    match &flush.letters {
        Some(letters) => dead_letters::write(connection, generation, letters),
        None => Ok(()),
    }
}

fn move_checkpoint(connection: &Connection, generation: GenerationId, flush: &Flush) -> Result<(), Failure> {
    if flush.to.position < flush.from.position {
        let backwards = format!(
            "a flush of generation {generation} would move its checkpoint back from {} to {}",
            flush.from.position, flush.to.position
        );
        return Err(StoreError::Internal(backwards).into());
    }
    if control::move_checkpoint(connection, generation, &flush.from, &flush.to)? {
        return Ok(());
    }
    match control::checkpoint(connection, generation)? {
        Some(actual) => Err(StoreError::CheckpointMoved {
            generation,
            expected: flush.from.position,
            actual: actual.position,
        }
        .into()),
        None => Err(StoreError::Internal(format!("generation {generation} has no checkpoint")).into()),
    }
}

impl TableSql {
    fn new(relation: Relation<'_>, schema: &TableSchema) -> Self {
        let columns = schema.columns.len();
        let key = schema.primary_key.len();
        let insert = format!("INSERT INTO {relation} ({}) VALUES ", ddl::all_columns(schema));
        let delete = format!(
            "DELETE FROM {relation} WHERE ({}) IN (VALUES ",
            ddl::key_columns(schema)
        );
        Self {
            columns,
            key,
            upsert: Sizes::new(&insert, columns, &on_conflict(schema)),
            insert: Sizes::new(&insert, columns, ""),
            delete: Sizes::new(&delete, key, ")"),
        }
    }

    fn write(&self, connection: &Connection, flush: &TableFlush) -> rusqlite::Result<()> {
        let mut text = String::new();
        self.delete
            .run(connection, self.key, &flush.removes, |key| key, &mut text)?;
        self.insert
            .run(connection, self.columns, &flush.inserts, Arc::as_ref, &mut text)?;
        self.upsert
            .run(connection, self.columns, &flush.upserts, Arc::as_ref, &mut text)
    }
}

/// What an upsert does with a row that is there: all other columns are replaced.
fn on_conflict(schema: &TableSchema) -> String {
    let mut sql = format!(" ON CONFLICT ({}) DO ", ddl::key_columns(schema));
    let mut separator = "UPDATE SET ";
    for (place, column) in (0u32..).zip(&schema.columns) {
        if !schema.primary_key.contains(&place) {
            let name = ddl::quote(&column.name);
            let _ = write!(sql, "{separator}{name} = excluded.{name}");
            separator = ", ";
        }
    }
    if separator == "UPDATE SET " {
        sql.push_str("NOTHING");
    }
    sql
}

impl Sizes {
    /// `width` values a row.
    fn new(before: &str, width: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; width].join(","));
        let statement = |rows: usize| format!("{before}{}{after}", vec![row.as_str(); rows].join(","));
        let mut all = vec![statement(1)];
        while width << all.len() <= VALUES_PER_STATEMENT_MAX {
            all.push(statement(1 << all.len()));
        }
        Self(all)
    }

    /// Runs the statements for all of `rows`, with the largest ones that fit.
    fn run<T>(
        &self,
        connection: &Connection,
        width: usize,
        rows: &[T],
        values: impl Fn(&T) -> &Row,
        text: &mut String,
    ) -> rusqlite::Result<()> {
        let mut rest = rows;
        for (power, sql) in self.0.iter().enumerate().rev() {
            let size = 1 << power;
            if rest.len() < size {
                continue;
            }
            let mut statement = connection.prepare_cached(sql)?;
            while rest.len() >= size {
                let (now, later) = rest.split_at(size);
                bind_rows(&mut statement, width, now.iter().map(&values), text)?;
                statement.raw_execute()?;
                rest = later;
            }
        }
        Ok(())
    }
}

fn bind_rows<'r>(
    statement: &mut Statement<'_>,
    width: usize,
    rows: impl Iterator<Item = &'r Row>,
    text: &mut String,
) -> rusqlite::Result<()> {
    let mut place = 1;
    for row in rows {
        if row.len() != width {
            let message = format!("a row of {} values for {width} columns", row.len());
            return Err(rusqlite::Error::ToSqlConversionFailure(message.into()));
        }
        for value in row.iter() {
            values::bind(statement, place, value, text)?;
            place += 1;
        }
    }
    Ok(())
}

/// Deletes up to `rows` rows; gives how many went.
pub(super) fn delete_some(
    connection: &Connection,
    relation: Relation<'_>,
    schema: &TableSchema,
    rows: usize,
) -> rusqlite::Result<usize> {
    let key = ddl::key_columns(schema);
    let sql = format!("DELETE FROM {relation} WHERE ({key}) IN (SELECT {key} FROM {relation} LIMIT ?1)");
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    connection.prepare_cached(&sql)?.execute([rows])
}
