//! Reads of one public table, made of parts: see [`crate::tables::select`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::{ColumnType, Row as TableRow, TableSchema};
use parking_lot::Mutex;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::connect::{self, Purpose, fault};
use super::{control, decimals, values};
use crate::core::{GenerationId, PluginName, Position};
use crate::tables::ddl::{Dialect, Relation};
use crate::tables::select::{
    self, Bound, Checked, Descriptors, Pattern, Rows, Select, SelectError, Selected, ShownTable, Statement,
};
use crate::tables::{StoreError, physical_names};

/// Connections that wait for the next read. More are opened while more read at once.
const IDLE_MAX: usize = 8;

/// Statements kept compiled by each; every shape of a request is one.
const STATEMENTS_KEPT: usize = 64;

/// SQLite's instructions between two looks at the clock: some microseconds' worth.
const INSTRUCTIONS_PER_LOOK: i32 = 10_000;

const SHOWN: &str = "SELECT p.name, p.projection, p.generation, c.position, \
     coalesce((SELECT b.revision FROM lamphouse_dead_letter_books b WHERE b.generation = p.generation), 0), \
     (SELECT count(*) FROM lamphouse_dead_letters d WHERE d.generation = p.generation) \
     FROM lamphouse_public_tables p JOIN lamphouse_checkpoints c ON c.generation = p.generation";

/// Pages in memory of each; the file's pages are in the system's memory too.
const CACHE_KIB: u64 = 4 << 10;

/// Connections for reads: opening one and reading the schema costs several times what a small read does.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<Vec<Lent>>,
    descriptors: Descriptors,
}

/// A connection, and until when what it does may take; None is as long as it likes.
struct Lent {
    connection: Connection,
    until: Until,
}

type Until = Arc<Mutex<Option<Instant>>>;

fn is_late(until: &Until) -> bool {
    until.lock().is_some_and(|until| Instant::now() > until)
}

/// What a read failed by.
enum Failure {
    Sql(rusqlite::Error),
    Told(SelectError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Readers {
    /// What every public table shows.
    pub(super) fn shown(&self, path: &Path) -> Result<Vec<ShownTable>, StoreError> {
        let lent = self.take(path, None)?;
        let read = || -> rusqlite::Result<Vec<ShownTable>> {
            let mut statement = lent
                .connection
                .prepare_cached(&format!("{SHOWN} ORDER BY p.name"))?;
            let found = statement.query_map([], shown)?;
            found.collect()
        };
        let tables = read().map_err(|error| fault(path, "read the public tables", &error))?;
        self.give_back(lent);
        Ok(tables)
    }

    /// Rows of one table.
    pub(super) fn select(
        &self,
        path: &Path,
        select: &Select,
        time_max: Duration,
    ) -> Result<Selected, SelectError> {
        let lent = self.take(path, Some(Instant::now() + time_max))?;
        let read = || {
            let snapshot = lent.connection.unchecked_transaction()?;
            let selected = self.read(&snapshot, select)?;
            // Nothing was written; this ends the snapshot.
            snapshot.commit()?;
            Ok(selected)
        };
        let selected: Result<Selected, Failure> = read();
        let was_late = is_late(&lent.until);
        // A connection with an error of SQLite's is not used again.
        if !matches!(selected, Err(Failure::Sql(_))) {
            self.give_back(lent);
        }
        selected.map_err(|failure| match failure {
            Failure::Told(error) => error,
            // Interrupted, or by our own function, which has no error code for it.
            Failure::Sql(_) if was_late => select::late(time_max.as_millis()),
            Failure::Sql(error) => fault(path, &format!("read table '{}'", select.table), &error).into(),
        })
    }

    fn read(&self, connection: &Connection, select: &Select) -> Result<Selected, Failure> {
        // Public names compare as SQLite compares names there; a table has one spelling here, as on PostgreSQL.
        let shown = connection
            .prepare_cached(&format!(
                "{SHOWN} WHERE p.name = ?1 AND p.name = ?1 COLLATE BINARY"
            ))?
            .query_row([&select.table], shown)
            .optional()?;
        let no_table = || Failure::Told(SelectError::NoTable(select.table.clone()));
        let shown = shown.ok_or_else(no_table)?;
        let descriptor = match self.descriptors.known(shown.generation) {
            Some(descriptor) => descriptor,
            None => {
                let generation = control::generation(connection, shown.generation)?.ok_or_else(no_table)?;
                self.descriptors
                    .keep(shown.generation, generation.descriptor.clone());
                generation.descriptor
            }
        };
        let names = physical_names(shown.generation, &descriptor.tables).map_err(told)?;
        let mut tables = descriptor.tables.iter().zip(&names);
        let (schema, physical) = tables
            .find(|(table, _)| table.name == select.table)
            .ok_or_else(no_table)?;
        let checked = Checked::new(select, schema).map_err(|why| Failure::Told(SelectError::Wrong(why)))?;
        let relation = Relation::within("main", physical);
        let total = match select.count {
            true => Some(count(
                connection,
                &select::count(Dialect::Sqlite, relation, &checked),
            )?),
            false => None,
        };
        let statement = select::rows_of(Dialect::Sqlite, relation, &checked);
        let (rows, more) = rows(connection, &statement, &checked.shape(), select.limit)?;
        Ok(Selected {
            shown,
            columns: checked.names(),
            rows,
            more,
            total,
        })
    }

    fn take(&self, path: &Path, until: Option<Instant>) -> Result<Lent, StoreError> {
        let idle = self.idle.lock().pop();
        let lent = match idle {
            Some(lent) => lent,
            None => {
                let connection = connect::connect(path, Purpose::Read)?;
                let until = Until::default();
                make_ready(&connection, &until).map_err(|error| fault(path, "make ready to read", &error))?;
                Lent { connection, until }
            }
        };
        *lent.until.lock() = until;
        Ok(lent)
    }

    fn give_back(&self, lent: Lent) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(lent);
        }
    }
}

fn told(error: StoreError) -> Failure {
    Failure::Told(error.into())
}

fn make_ready(connection: &Connection, until: &Until) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB};"))?;
    let late = Until::clone(until);
    connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(move || is_late(&late)))?;
    decimals::register_collation(connection)?;
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    let late = Until::clone(until);
    connection.create_scalar_function("lamphouse_like", 3, flags, move |context| {
        let any_case = context.get::<bool>(2)?;
        let pattern = context.get_or_create_aux(0, |pattern: ValueRef<'_>| {
            Pattern::read(pattern.as_str()?, any_case)
                .map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        })?;
        let Some(text) = context.get_raw(1).as_str_or_null()? else {
            return Ok(None);
        };
        match pattern.matches(text, || is_late(&late)) {
            Some(is_like) => Ok(Some(is_like)),
            None => Err(rusqlite::Error::UserFunctionError("it took too long".into())),
        }
    })
}

fn shown(row: &Row<'_>) -> rusqlite::Result<ShownTable> {
    let projection: String = row.get(1)?;
    let projection = PluginName::new(&projection).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(ShownTable {
        name: row.get(0)?,
        projection,
        generation: GenerationId(row.get(2)?),
        position: Position::from_i64(row.get(3)?),
        revision: row.get::<_, i64>(4)?.unsigned_abs(),
        parked_events: row.get::<_, i64>(5)?.unsigned_abs(),
    })
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Bound]) -> Result<(), Failure> {
    let mut text = String::new();
    for (place, bound) in (1..).zip(values) {
        match bound {
            Bound::One(_, value) => values::bind(statement, place, value, &mut text)?,
            Bound::Many(..) => {
                let error = StoreError::Internal("SQLite was given a list as one value".to_owned());
                return Err(told(error));
            }
        }
    }
    Ok(())
}

fn count(connection: &Connection, statement: &Statement) -> Result<u64, Failure> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    bind(&mut prepared, &statement.values)?;
    let mut rows = prepared.raw_query();
    let count = match rows.next()? {
        Some(row) => row.get::<_, i64>(0)?,
        None => 0,
    };
    Ok(count.unsigned_abs())
}

fn rows(
    connection: &Connection,
    statement: &Statement,
    shape: &TableSchema,
    limit: u64,
) -> Result<(Vec<TableRow>, bool), Failure> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    bind(&mut prepared, &statement.values)?;
    let kinds: Vec<ColumnType> = shape.columns.iter().map(|column| column.kind).collect();
    let mut rows = Rows::new(limit);
    let mut found = prepared.raw_query();
    while let Some(row) = found.next()? {
        let decode = |(place, kind): (usize, &ColumnType)| {
            values::decode(*kind, row.get_ref(place)?).map_err(|found| {
                let (table, column) = (&shape.name, &shape.columns[place].name);
                told(StoreError::Internal(format!(
                    "'{table}.{column}' holds {found}; somebody changed it by hand: rebuild the projection"
                )))
            })
        };
        let row: Result<TableRow, Failure> = kinds.iter().enumerate().map(decode).collect();
        if !rows.take(row?) {
            break;
        }
    }
    Ok(rows.end())
}
