//! Room in a write-ahead log, made before it is needed.
//!
//! A commit that makes the file longer also has the file system write where the file now ends, and waits for that about
//! as long as for its own pages. So the file is filled with zeros as far as it is used between two times that it is
//! brought in; from then on SQLite writes to the same places again and again. PostgreSQL makes its segments so, for the
//! same reason (`wal_init_zero`, `wal_recycle`).
//!
//! SQLite takes for its own what follows the last commit only where it bears the salt of the log's head, which zeros do
//! not: <https://sqlite.org/fileformat2.html#walformat>.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

/// Bytes that are filled at a time: nobody can commit meanwhile, for a fraction of a millisecond.
const STEP_BYTES: usize = 1 << 20;
/// The head of the log, and that of each page.
const LOG_HEAD_BYTES: u64 = 32;
const PAGE_HEAD_BYTES: u64 = 24;

/// Why it was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRoom {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    File(#[from] io::Error),
}

/// How far it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    All,
    /// Somebody was writing, who makes the file longer too.
    Some,
}

/// Lengthens the write-ahead log at this path until that many pages have room, as long as nobody else writes and
/// `goes_on` says yes. From then on the connection waits for no lock.
pub(super) fn make(
    connection: &Connection,
    log: &Path,
    pages: c_int,
    goes_on: impl Fn() -> bool,
) -> Result<Made, NoRoom> {
    connection.busy_timeout(Duration::ZERO)?;
    let page_bytes: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = u64::from(pages.unsigned_abs());
    let bytes = LOG_HEAD_BYTES + pages * (PAGE_HEAD_BYTES + u64::from(page_bytes));
    // Readable too, for whoever looks at what is synced, as our tests do.
    let mut log = OpenOptions::new().read(true).write(true).open(log)?;
    while goes_on() {
        if log.metadata()?.len() >= bytes {
            return Ok(Made::All);
        }
        // Who has the lock is the only one to write to the log.
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => break,
            begun => begun?,
        }
        let made = step(&mut log, bytes);
        connection.execute_batch("ROLLBACK")?;
        made?;
        // The next commit need not wait for more than one step.
        log.sync_data()?;
    }
    Ok(Made::Some)
}

/// Lengthens the file by one step, or as much as is missing. A step is made whole or not at all.
fn step(log: &mut File, bytes: u64) -> io::Result<()> {
    static ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];
    let length = log.metadata()?.len();
    let missing = usize::try_from(bytes.saturating_sub(length)).unwrap_or(STEP_BYTES);
    log.seek(SeekFrom::Start(length))?;
    log.write_all(&ZEROS[..missing.min(STEP_BYTES)]).or_else(|error| {
        // A full disk has better uses for it.
        log.set_len(length)?;
        Err(error)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const PAGES: c_int = 2_000;

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 10000; \
                 CREATE TABLE IF NOT EXISTS t (number INTEGER PRIMARY KEY, data BLOB)",
            )
            .unwrap();
        connection
    }

    fn insert(connection: &Connection, number: i64) {
        connection
            .execute("INSERT INTO t VALUES (?1, zeroblob(10000))", [number])
            .unwrap();
    }

    fn count(connection: &Connection) -> i64 {
        connection
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap()
    }

    fn log_of(path: &Path) -> PathBuf {
        path.with_extension("db-wal")
    }

    fn length(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().len()
    }

    #[test]
    fn room_is_made_beside_who_writes_and_is_no_part_of_the_log() {
        const ROWS: i64 = 400;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let log = log_of(&path);
        let maker = open(&path);
        let is_done = AtomicBool::new(false);
        let rows = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let writer = open(&path);
                let mut numbers = 0..;
                while !is_done.load(Ordering::Acquire) || numbers.start < ROWS {
                    insert(&writer, numbers.next().unwrap());
                }
                numbers.start
            });
            while make(&maker, &log, PAGES, || true).unwrap() == Made::Some {}
            is_done.store(true, Ordering::Release);
            writing.join().unwrap()
        });
        assert!(length(&log) >= 32 + 2_000 * 4_120);
        assert_eq!(count(&maker), rows);

        // What a machine finds that comes up again: files as they are, and no shared memory.
        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(&log, log_of(&copy)).unwrap();
        let copied = open(&copy);
        assert_eq!(count(&copied), rows);
        let sound: String = copied
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
    }

    #[test]
    fn what_has_room_is_left_alone_and_commits_go_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let log = log_of(&path);
        let connection = open(&path);
        assert_eq!(make(&connection, &log, PAGES, || true).unwrap(), Made::All);
        let made = length(&log);
        assert_eq!(make(&connection, &log, PAGES, || true).unwrap(), Made::All);
        assert_eq!(make(&connection, &log, 10, || true).unwrap(), Made::All);
        assert_eq!(length(&log), made);
        for number in 0..400 {
            insert(&connection, number);
        }
        assert_eq!(length(&log), made);
    }

    #[test]
    fn it_ends_early_and_leaves_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let connection = open(&path);
        let before = length(&log_of(&path));
        assert_eq!(
            make(&connection, &log_of(&path), PAGES, || false).unwrap(),
            Made::Some
        );
        let writing = open(&path);
        writing.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(
            make(&connection, &log_of(&path), PAGES, || true).unwrap(),
            Made::Some
        );
        writing.execute_batch("ROLLBACK").unwrap();
        assert_eq!(length(&log_of(&path)), before);
        make(&connection, &folder.path().join("none"), PAGES, || true).unwrap_err();
        // One that cannot be written to.
        let mut read_only = File::open(log_of(&path)).unwrap();
        step(&mut read_only, u64::MAX).unwrap_err();
        assert_eq!(length(&log_of(&path)), before);
        insert(&open(&path), 1);
    }
}
