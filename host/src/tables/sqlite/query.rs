//! Read-only queries on the public names: one statement, on a connection that can do nothing else.
//!
//! Decimals compare, sort, sum and average by number here: views of the connection's own stand before the public ones
//! and give each decimal column its collation (see [`super::decimals`]). `+ - * /` go through doubles, as everywhere
//! in SQLite. Through a user's own view the collation is lost; such views are not among the public names anyway.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use lamphouse_contract::{ColumnType, TableSchema};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, Statement};
use serde_json::Value as Json;

use super::connect::{self, Purpose, fault};
use super::{control, decimals};
use crate::core::GenerationId;
use crate::tables::ddl::{self, Relation};
use crate::tables::{QueryAnswer, QueryLimits, StoreError, answer, physical_names};

/// Largest text or value that a query may make: `zeroblob(1000000000)` is not for asking.
const VALUE_BYTES_MAX: i32 = 64 << 20;

/// Bytes of an answer; later rows are left out. Raise it for exports by `query`; `rows_max` alone does not bound memory.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// SQLite's instructions between two looks at the clock: some microseconds' worth.
const INSTRUCTIONS_PER_LOOK: i32 = 10_000;

/// Runs one query.
pub(super) fn run(path: &Path, sql: &str, limits: QueryLimits) -> Result<QueryAnswer, StoreError> {
    let connection = connect::connect(path, Purpose::Read)?;
    let public = prepare(&connection).map_err(|error| fault(path, "make ready to query", &error))?;
    let result = restrict(&connection, &public, limits).and_then(|()| ask(&connection, sql, limits));
    result.map_err(|error| told(path, error, &public, limits))
}

/// What a query may and may not name; all in lower case.
#[derive(Clone, Default)]
struct Public {
    /// The public names.
    names: HashSet<String>,
    /// The physical tables behind them.
    physical: HashSet<String>,
    /// Everything in the file.
    objects: HashSet<String>,
}

enum Refusal {
    Sql(rusqlite::Error),
    Rule(String),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Fixes a moment to look at, and puts our own views before the public ones.
fn prepare(connection: &Connection) -> rusqlite::Result<Public> {
    decimals::register_collation(connection)?;
    decimals::register_aggregates(connection)?;
    connection.execute_batch("BEGIN")?;
    let mut public = Public {
        objects: objects(connection)?,
        ..Public::default()
    };
    let mut generations: Vec<GenerationId> = Vec::new();
    for table in control::public_tables(connection)? {
        public.names.insert(table.name);
        if !generations.contains(&table.generation) {
            generations.push(table.generation);
        }
    }
    for id in generations {
        let Some(generation) = control::generation(connection, id)? else {
            continue;
        };
        let tables = &generation.descriptor.tables;
        let Ok(physical) = physical_names(id, tables) else {
            continue;
        };
        for (table, physical) in tables.iter().zip(physical) {
            if let Some(view) = decimal_view(table, &physical) {
                connection.execute_batch(&view)?;
            }
            public.physical.insert(physical);
        }
    }
    Ok(public)
}

fn objects(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut statement = connection.prepare("SELECT lower(name) FROM sqlite_schema")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// A view whose decimal columns compare by number; None where there are no decimals.
fn decimal_view(table: &TableSchema, physical: &str) -> Option<String> {
    let is_decimal = |kind| matches!(kind, ColumnType::Decimal(_));
    if !table.columns.iter().any(|column| is_decimal(column.kind)) {
        return None;
    }
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let name = ddl::quote(&column.name);
            if is_decimal(column.kind) {
                format!("{name} COLLATE {} AS {name}", decimals::COLLATION)
            } else {
                name
            }
        })
        .collect();
    Some(format!(
        "CREATE TEMP VIEW {} AS SELECT {} FROM {}",
        ddl::quote(&table.name),
        columns.join(", "),
        Relation::within("main", physical)
    ))
}

/// From here on, the connection can only read what is public, and only so long.
fn restrict(connection: &Connection, public: &Public, limits: QueryLimits) -> Result<(), Refusal> {
    connection.execute_batch("PRAGMA query_only = ON")?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let public = public.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| public.allows(&context)))?;
    let start = Instant::now();
    let is_late = move || start.elapsed() > limits.time_max;
    connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(is_late))?;
    Ok(())
}

impl Public {
    /// SELECT, functions, and reading the public views and what is behind them.
    fn allows(&self, context: &AuthContext<'_>) -> Authorization {
        let is_allowed = match context.action {
            AuthAction::Select | AuthAction::Recursive => true,
            AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
            AuthAction::Read {
                table_name,
                column_name,
            } => self.may_read(&table_name.to_ascii_lowercase(), column_name, context.accessor),
            _ => false,
        };
        if is_allowed {
            Authorization::Allow
        } else {
            Authorization::Deny
        }
    }

    /// Physical tables only from within a view. (A common table expression can pass for one, and then reads nothing
    /// but what is public anyway.)
    fn may_read(&self, table: &str, column: &str, within: Option<&str>) -> bool {
        if self.names.contains(table) || matches!(table, "json_each" | "json_tree") {
            return true;
        }
        // `count(*)` reads no column, and SQLite then names neither the view nor, for a common table expression, an
        // object of the file.
        let reads_no_column = column.is_empty();
        if self.physical.contains(table) {
            return reads_no_column || within.is_some_and(|view| self.names.contains(view));
        }
        reads_no_column
            && !self.objects.contains(table)
            && !["sqlite_", "pragma_", "dbstat"]
                .iter()
                .any(|prefix| table.starts_with(prefix))
    }
}

fn ask(connection: &Connection, sql: &str, limits: QueryLimits) -> Result<QueryAnswer, Refusal> {
    let mut batch = Batch::new(connection, sql);
    let Some(mut statement) = batch.next()? else {
        return Err(Refusal::Rule("the query is empty: give one SELECT".to_owned()));
    };
    if !matches!(batch.next(), Ok(None)) {
        return Err(Refusal::Rule(
            "the query has more than one statement: give one SELECT".to_owned(),
        ));
    }
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(Refusal::Rule(
            "the query does not read: give one SELECT".to_owned(),
        ));
    }
    let columns = statement.column_names().into_iter().map(str::to_owned).collect();
    let kinds: Vec<Shown> = statement
        .columns()
        .iter()
        .map(|column| Shown::of(column.decl_type()))
        .collect();
    let (rows, truncated) = rows(&mut statement, &kinds, limits)?;
    Ok(QueryAnswer {
        columns,
        rows,
        truncated,
    })
}

fn rows(
    statement: &mut Statement<'_>,
    kinds: &[Shown],
    limits: QueryLimits,
) -> Result<(Vec<Vec<Json>>, bool), Refusal> {
    let mut found = statement.query([])?;
    let mut rows: Vec<Vec<Json>> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        if rows.len() as u64 >= limits.rows_max || bytes > ANSWER_BYTES_MAX {
            return Ok((rows, true));
        }
        let mut values = Vec::with_capacity(kinds.len());
        for (place, shown) in kinds.iter().enumerate() {
            let stored = row.get_ref(place)?;
            bytes += size_of::<Json>() + stored.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
            values.push(shown.json(stored));
        }
        rows.push(values);
    }
    Ok((rows, false))
}

/// How a column's values are shown, by its declared type; a computed column has none.
#[derive(Clone, Copy)]
enum Shown {
    Boolean,
    Json,
    AsStored,
}

impl Shown {
    fn of(declared: Option<&str>) -> Self {
        let is = |kind| declared == Some(ddl::column_type(ddl::Dialect::Sqlite, kind).as_str());
        if is(ColumnType::Boolean) {
            Self::Boolean
        } else if is(ColumnType::Json) {
            Self::Json
        } else {
            Self::AsStored
        }
    }

    fn json(self, stored: ValueRef<'_>) -> Json {
        match (self, stored) {
            (_, ValueRef::Null) => Json::Null,
            (Self::Boolean, ValueRef::Integer(value)) => Json::Bool(value != 0),
            (_, ValueRef::Integer(value)) => answer::integer(value),
            (_, ValueRef::Real(value)) => answer::real(value),
            (_, ValueRef::Blob(bytes)) => answer::bytes(bytes),
            (shown, ValueRef::Text(bytes)) => {
                let text = String::from_utf8_lossy(bytes);
                if matches!(shown, Self::Json) {
                    answer::json(&text)
                } else {
                    Json::String(text.into_owned())
                }
            }
        }
    }
}

fn told(path: &Path, refusal: Refusal, public: &Public, limits: QueryLimits) -> StoreError {
    let error = match refusal {
        Refusal::Rule(text) => return StoreError::Invalid(text),
        Refusal::Sql(error) => error,
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::Invalid(format!(
            "the query was stopped after {} ms: ask for less, or raise its time under [query]",
            limits.time_max.as_millis()
        )),
        Some(ErrorCode::AuthorizationForStatementDenied) => StoreError::Invalid(format!(
            "the query is not allowed ({error}): it may only read the public tables ({})",
            listed(public)
        )),
        Some(ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::TypeMismatch) | None => {
            let text = error.to_string();
            let hint = if text.contains("no such table") {
                format!("; the public tables are: {}", listed(public))
            } else {
                String::new()
            };
            StoreError::Invalid(format!("the query failed: {text}{hint}"))
        }
        Some(_) => fault(path, "query", &error),
    }
}

fn listed(public: &Public) -> String {
    answer::listed(public.names.iter().map(String::as_str))
}
