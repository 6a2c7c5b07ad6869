//! A user's own connection to the read tables or the log: plain SQL, every value as text.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::types::ValueRef;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::runtime::Runtime;

/// A row: each value as text, None for NULL.
pub type TextRow = Vec<Option<String>>;

/// A connection.
pub enum Client {
    /// rusqlite on one of the project's files.
    Sqlite(rusqlite::Connection),
    /// sqlx on the project's database.
    Postgres(Box<PgConnection>),
}

/// One runtime for all PostgreSQL clients of a test binary.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("invariant: a runtime can be made")
    })
}

impl Client {
    /// Opens a file of a project, to read and write.
    ///
    /// # Errors
    /// When SQLite cannot open it.
    pub fn sqlite(file: &Path) -> Result<Self> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = rusqlite::Connection::open_with_flags(file, flags)
            .with_context(|| format!("cannot open {}", file.display()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self::Sqlite(connection))
    }

    /// Connects.
    ///
    /// # Errors
    /// When the server does not let us in.
    pub fn postgres(url: &str) -> Result<Self> {
        let connection = runtime()
            .block_on(PgConnection::connect(url))
            .context("cannot connect to PostgreSQL")?;
        Ok(Self::Postgres(Box::new(connection)))
    }

    /// All rows of one statement.
    ///
    /// # Errors
    /// The database's own.
    pub fn query(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql).with_context(|| sql.to_owned())?;
                let width = statement.column_count();
                let mut rows = statement.query([])?;
                let mut all = Vec::new();
                while let Some(row) = rows.next().with_context(|| sql.to_owned())? {
                    all.push(
                        (0..width)
                            .map(|index| Ok(text(row.get_ref(index)?)))
                            .collect::<Result<_>>()?,
                    );
                }
                Ok(all)
            }
            Self::Postgres(connection) => {
                let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
                // The simple protocol sends every value as text, whatever its type.
                let rows = runtime()
                    .block_on(connection.fetch_all(statement))
                    .with_context(|| sql.to_owned())?;
                let value = |row: &sqlx::postgres::PgRow, index| {
                    row.try_get_unchecked::<Option<String>, _>(index)
                        .context("a value is not text")
                };
                rows.iter()
                    .map(|row| (0..row.len()).map(|index| value(row, index)).collect())
                    .collect()
            }
        }
    }

    /// Runs one or more statements without rows.
    ///
    /// # Errors
    /// The database's own.
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql).with_context(|| sql.to_owned()),
            Self::Postgres(connection) => {
                let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
                runtime()
                    .block_on(connection.execute(statement))
                    .map(|_| ())
                    .with_context(|| sql.to_owned())
            }
        }
    }

    /// All rows of a statement that stays prepared on this connection, with values as they are asked for (cast to
    /// text yourself).
    ///
    /// # Errors
    /// The database's own.
    pub fn query_prepared(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        match self {
            Self::Sqlite(_) => self.query(sql),
            Self::Postgres(connection) => {
                let statement = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
                let rows = runtime()
                    .block_on(connection.fetch_all(statement))
                    .with_context(|| sql.to_owned())?;
                let value = |row: &sqlx::postgres::PgRow, index| Ok(row.try_get::<Option<String>, _>(index)?);
                rows.iter()
                    .map(|row| (0..row.len()).map(|index| value(row, index)).collect())
                    .collect()
            }
        }
    }

    /// The only value of the only row, as a number.
    ///
    /// # Errors
    /// The database's own, or when it is no number.
    pub fn number(&mut self, sql: &str) -> Result<i64> {
        let rows = self.query(sql)?;
        let value = rows.first().and_then(|row| row.first()).and_then(Clone::clone);
        value
            .with_context(|| format!("no value from: {sql}"))?
            .parse()
            .with_context(|| format!("no number from: {sql}"))
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}
