//! A connection of the probe's own to either database; blocking.

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::runtime::Runtime;

/// One connection.
pub(crate) enum Database {
    Sqlite(rusqlite::Connection),
    Postgres(Runtime, PgConnection),
}

impl Database {
    /// `postgres://…`, or `sqlite:PATH` of a file that is there.
    pub(crate) fn open(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let connection =
                rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)
                    .with_context(|| format!("cannot open {path}"))?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            return Ok(Self::Sqlite(connection));
        }
        if !url.starts_with("postgres") {
            bail!("{url} is neither sqlite:PATH nor postgres://…");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let connection = runtime
            .block_on(PgConnection::connect(url))
            .with_context(|| format!("cannot connect to {url}"))?;
        Ok(Self::Postgres(runtime, connection))
    }

    /// Runs any number of statements.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql)?,
            Self::Postgres(runtime, connection) => {
                let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
                runtime.block_on(connection.execute(statements))?;
            }
        }
        Ok(())
    }

    /// Every row of a query whose columns are all text.
    pub(crate) fn rows(&mut self, sql: &str, mut take: impl FnMut(&[Option<String>])) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(sql)?;
                let columns = statement.column_count();
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let texts: rusqlite::Result<Vec<Option<String>>> =
                        (0..columns).map(|column| row.get(column)).collect();
                    take(&texts?);
                }
                Ok(())
            }
            Self::Postgres(runtime, connection) => runtime.block_on(async {
                let mut rows = connection.fetch(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)));
                while let Some(row) = rows.try_next().await? {
                    let texts: Result<Vec<Option<String>>, sqlx::Error> =
                        (0..row.len()).map(|column| row.try_get(column)).collect();
                    take(&texts?);
                }
                Ok(())
            }),
        }
    }

    /// One number by one text, from a statement that stays prepared; None where there is no row.
    pub(crate) fn number(&mut self, sql: &'static str, by: &str) -> Result<Option<i64>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query([by])?;
                Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
            }
            Self::Postgres(runtime, connection) => {
                let asked = sqlx::query_scalar(sql).bind(by).fetch_optional(connection);
                Ok(runtime.block_on(asked)?)
            }
        }
    }

    /// Another number after another connection has committed; None where the database does not tell.
    pub(crate) fn version(&mut self) -> Result<Option<i64>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached("PRAGMA data_version")?;
                Ok(Some(statement.query_row([], |row| row.get(0))?))
            }
            Self::Postgres(..) => Ok(None),
        }
    }
}
