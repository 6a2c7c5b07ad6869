//! Connections to the tables' file, and what their errors mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::tables::StoreError;

/// How long a statement waits for a writer of another process. Longer than any transaction of ours, and short enough
/// that a host that cannot write says so.
const BUSY_MS_MAX: u64 = 10_000;

/// Pages in memory of a writing connection. A rebuild touches most of its tables between two commits.
const WRITER_CACHE_KIB: u64 = 64 << 10;

/// Pages in memory of a connection for anything else. An index is sorted in runs of this size.
const OTHER_CACHE_KIB: u64 = 16 << 10;

/// Pages in the write-ahead log that start a checkpoint (of SQLite's), where it is not left to [`crate::wal`].
const WAL_CHECKPOINT_PAGES: u64 = 16_000;

/// Statements kept compiled: a writer has up to a dozen a table.
const STATEMENTS_KEPT: usize = 512;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rows and checkpoints of a generation.
    Write,
    /// Control records, making and dropping tables.
    Control,
    /// Rows of a generation; queries.
    Read,
}

/// Opens the tables' file, which exists.
pub(super) fn connect(path: &Path, purpose: Purpose) -> Result<Connection, StoreError> {
    let access = match purpose {
        Purpose::Write | Purpose::Control => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Purpose::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // Else SQLite compiles a statement anew whenever a value in its WHERE or LIMIT is bound.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let cache_kib = match purpose {
            Purpose::Write => WRITER_CACHE_KIB,
            Purpose::Control | Purpose::Read => OTHER_CACHE_KIB,
        };
        connection.execute_batch(&format!("PRAGMA cache_size = -{cache_kib};"))?;
        if purpose != Purpose::Read {
            connection.execute_batch(&format!(
                "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES};"
            ))?;
        }
        if purpose == Purpose::Write {
            // What an upsert of many rows would undo alone; else it goes through a file, a few pages a statement.
            connection.execute_batch("PRAGMA temp_store = MEMORY;")?;
        }
        Ok(connection)
    };
    open().map_err(|error| fault(path, "open the tables", &error))
}

/// What an error of SQLite's means: `doing` says what failed.
pub(super) fn fault(path: &Path, doing: &str, error: &rusqlite::Error) -> StoreError {
    let path = path.display();
    let text = format!("cannot {doing} in '{path}': {error}");
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Internal(text);
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Unavailable(format!(
            "{text}; another process has been writing to the file for {} s: end it, or wait",
            BUSY_MS_MAX / 1000
        )),
        ErrorCode::DiskFull => {
            StoreError::Unavailable(format!("{text}; the disk is full: make room, nothing is lost"))
        }
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::FileLockingProtocolFailed => {
            StoreError::Unavailable(format!("{text}; check the disk, the folder and its permissions"))
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::Unavailable(format!(
            "{text}; the file or its folder cannot be written: check its permissions"
        )),
        ErrorCode::OutOfMemory => StoreError::Unavailable(format!("{text}; the machine is out of memory")),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Internal(format!(
            "{text}; stop the host, delete the file and start again: the tables are built again from the log"
        )),
        _ => StoreError::Internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Class;
    use rusqlite::ffi;

    #[test]
    fn an_error_has_its_class_and_says_what_to_do() {
        for (code, class, advice) in [
            (ffi::SQLITE_BUSY, Class::Retryable, "another process"),
            (ffi::SQLITE_LOCKED, Class::Retryable, "another process"),
            (ffi::SQLITE_FULL, Class::Retryable, "the disk is full"),
            (ffi::SQLITE_IOERR_FSYNC, Class::Retryable, "check the disk"),
            (ffi::SQLITE_CANTOPEN, Class::Retryable, "check the disk"),
            (ffi::SQLITE_READONLY, Class::Retryable, "permissions"),
            (ffi::SQLITE_NOTADB, Class::Bug, "built again from the log"),
            (ffi::SQLITE_CORRUPT, Class::Bug, "built again from the log"),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Class::Bug, "cannot write rows"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let told = fault(Path::new("tables.db"), "write rows", &error);
            assert_eq!(told.class(), class, "{told}");
            assert!(told.to_string().contains(advice), "{told}");
        }
    }

    #[test]
    fn the_bundled_sqlite_is_compiled_as_the_workspace_says() {
        let connection = Connection::open_in_memory().unwrap();
        let mut options = connection.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> = options
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        // See LIBSQLITE3_FLAGS in .cargo/config.toml.
        assert!(options.contains(&"DEFAULT_MEMSTATUS=0".to_owned()), "{options:?}");
        assert!(
            !options.contains(&"ENABLE_MEMORY_MANAGEMENT".to_owned()),
            "{options:?}"
        );
    }
}
