//! Brings a log's schema up to date, by the plain SQL under `migrations/`.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::LogError;

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite/log");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres/log");

/// Several processes may make one SQLite log at once: SQLite has no lock that spans sqlx's migration, so whoever comes
/// second fails, and finds everything done when it looks again.
const SQLITE_TRIES: u32 = 40;
const SQLITE_TRY_EVERY: Duration = Duration::from_millis(50);
/// From so many events on, a person waits long enough for an index to wonder.
const SAID_FROM_EVENTS: i64 = 500_000;

/// Makes or migrates the log in this file.
pub(super) async fn sqlite(path: &Path, busy_timeout: Duration) -> Result<(), LogError> {
    let place = format!("the log {}", path.display());
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(LogError::Unavailable(format!(
            "cannot open {place}: the folder {} does not exist; make it, or correct [log] url",
            folder.display()
        )));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(busy_timeout)
        .disable_statement_logging();
    let mut tries = 1;
    loop {
        let result = async {
            let mut connection = options.connect().await?;
            if tries == 1 {
                say_what_takes_long(&place, unindexed_in_sqlite(&mut connection).await?);
            }
            SQLITE.run(&mut connection).await?;
            connection.close().await?;
            Ok(())
        };
        match result.await {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(sqlx::Error::Database(_)) | MigrateError::ExecuteMigration(..))
                if tries < SQLITE_TRIES =>
            {
                tries += 1;
                tokio::time::sleep(SQLITE_TRY_EVERY).await;
            }
            Err(error) => return Err(explain(&error, &place, &SQLITE)),
        }
    }
}

/// Makes or migrates the log in schema `lamphouse` of this database.
pub(super) async fn postgres(options: &PgConnectOptions, place: &str) -> Result<(), LogError> {
    let mut migrator = Migrator::with_migrations(POSTGRES.iter().cloned().collect());
    migrator.dangerous_set_table_name("lamphouse.log_migrations");
    let result = async {
        let mut connection = options.connect().await?;
        make_schema(&mut connection).await?;
        say_what_takes_long(place, unindexed_in_postgres(&mut connection).await?);
        migrator.run(&mut connection).await?;
        connection.close().await?;
        Ok(())
    };
    result.await.map_err(|error| explain(&error, place, &migrator))
}

/// Says that a large log's index is about to be made, so that nobody takes the wait for a hang.
fn say_what_takes_long(place: &str, events: Option<i64>) {
    if let Some(events) = events.filter(|events| *events >= SAID_FROM_EVENTS) {
        tracing::warn!(
            events,
            "Bringing {place} up to date: an index on event types is made, once; that takes some seconds for each \
             million events, and appends wait"
        );
    }
}

/// How many events there are without the index on their types; None where nothing is to be indexed.
async fn unindexed_in_sqlite(connection: &mut sqlx::SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    let unindexed: bool = sqlx::query_scalar(
        "SELECT count(*) FILTER (WHERE name IN ('log', 'events')) = 2 AND count(*) FILTER (WHERE name = 'events_by_type') = 0 \
         FROM sqlite_schema",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !unindexed {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT position FROM log")
        .fetch_optional(connection)
        .await
}

/// As [`unindexed_in_sqlite`].
async fn unindexed_in_postgres(connection: &mut sqlx::PgConnection) -> Result<Option<i64>, sqlx::Error> {
    let unindexed: bool = sqlx::query_scalar(
        "SELECT to_regclass('lamphouse.log') IS NOT NULL AND to_regclass('lamphouse.events_by_type') IS NULL",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !unindexed {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT position FROM lamphouse.log")
        .fetch_optional(connection)
        .await
}

async fn make_schema(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    // Asked first, because IF NOT EXISTS wants the right to create schemas even where there is nothing to do.
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace('lamphouse') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if there {
        return Ok(());
    }
    match connection.execute("CREATE SCHEMA IF NOT EXISTS lamphouse").await {
        // Another process was quicker.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(()),
        other => other.map(drop),
    }
}

fn explain(error: &MigrateError, place: &str, migrator: &Migrator) -> LogError {
    match error {
        MigrateError::VersionMissing(version) => LogError::Invalid(format!(
            "{place} was made by a newer version of Lamphouse: its schema has version {version}, this program knows up to \
             {}; use that newer version, or another database",
            migrator
                .iter()
                .map(|migration| migration.version)
                .max()
                .unwrap_or(0)
        )),
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => LogError::Internal(format!(
            "{place} has a schema version {version} that is not the one this program knows; was it made by a development \
             build, or changed by hand? Use the program that made it, or restore a backup"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            unreachable_or_refused(error, place)
        }
        other => LogError::Internal(format!("cannot bring {place} up to date: {other}")),
    }
}

/// Nothing is written before the schema is there, so that trying again is always right.
fn unreachable_or_refused(error: &sqlx::Error, place: &str) -> LogError {
    let advice = match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // SQLite: not a database, corrupt.
            Some("26" | "11") => {
                return LogError::Invalid(format!("{place} is not an event log: {}", error.message()));
            }
            Some("42501") => "; grant the user CREATE on the database, or make the schema lamphouse for it",
            Some("3D000") => "; create the database first",
            Some("28P01" | "28000") => "; check user and password in [log] url",
            _ => "",
        },
        sqlx::Error::Io(_) => "; is the server running, and is [log] url right?",
        _ => "",
    };
    LogError::Unavailable(format!("cannot open {place}: {error}{advice}"))
}
