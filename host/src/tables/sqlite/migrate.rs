//! Makes the control tables, or brings them up to date.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::tables::StoreError;

static MIGRATOR: Migrator = sqlx::migrate!("../migrations/sqlite/tables");

/// Tries where the database is busy, or cannot be opened.
const TRIES: usize = 3;

/// Runs what has not been run.
///
/// SQLite has no lock that spans sqlx's migrations, so processes that start at once get into each other's way: one finds
/// made what it is about to make. Each time that happens somebody else came a migration further, so it happens no more
/// often than there are migrations.
pub(super) fn run(path: &Path, runtime: &tokio::runtime::Handle) -> Result<(), StoreError> {
    let mut tried = 0;
    loop {
        tried += 1;
        let error = match runtime.block_on(migrate(path)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let tries = match &error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if is_made(error) => {
                TRIES + MIGRATOR.iter().count()
            }
            MigrateError::Execute(_) | MigrateError::ExecuteMigration(..) => TRIES,
            _ => 1,
        };
        if tried >= tries {
            return Err(told(path, &error));
        }
    }
}

/// Whether it may be that another process has made it: SQLITE_ERROR, as for a table that exists, and the constraints of the
/// list of what was run.
fn is_made(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("1" | "1555" | "2067"))
}

async fn migrate(path: &Path) -> Result<(), MigrateError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging()
        .connect()
        .await?;
    MIGRATOR.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn told(path: &Path, error: &MigrateError) -> StoreError {
    let shown = path.display();
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => StoreError::Invalid(format!(
            "'{shown}' was made by a newer version of Lamphouse: use that version, or delete the file, and the tables \
             are built again from the log"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Invalid(format!(
            "'{shown}' was made by another build of Lamphouse, whose migration {version} differs: use that build, or \
             delete the file, and the tables are built again from the log"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            told_by_database(path, error)
        }
        other => StoreError::Internal(format!("'{shown}' cannot be brought up to date: {other}")),
    }
}

fn told_by_database(path: &Path, error: &sqlx::Error) -> StoreError {
    let shown = path.display();
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        // SQLITE_NOTADB, SQLITE_CORRUPT.
        Some("26" | "11") => StoreError::Invalid(format!(
            "'{shown}' is not a SQLite database, or is damaged ({error}): if it is the tables' file, stop the host and \
             delete it, and the tables are built again from the log"
        )),
        // SQLITE_CANTOPEN.
        Some("14") => StoreError::Unavailable(format!(
            "'{shown}' cannot be opened ({error}): does the folder exist, and may this user write there?"
        )),
        _ => StoreError::Unavailable(format!("'{shown}' cannot be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_start_at_once_all_find_their_tables() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tables.db");
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| run(&path, runtime.handle()).unwrap());
                }
            });
        }
    }
}
