//! Brings the write-ahead log into the file (SQLite's own word for that is a checkpoint; it has nothing to do with a
//! projection's).
//!
//! Left alone, SQLite does it within the commit that made the log too long, and everybody who wants to write waits for
//! some 64 MiB to be copied and synced. Here a thread does it beside the writers, and asks for a turn only for what they
//! wrote meanwhile: with all of it in the file, the log begins anew, and does not grow for ever.

use std::cell::Cell;
use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::connect::{Purpose, connect};
use super::turn::Turns;
use crate::tables::StoreError;

/// Pages in the write-ahead log that are worth it: 64 MiB. More need fewer syncs and a larger file.
const PAGES_MIN: c_int = 16_000;
/// Pages that may be left for the turn: a few milliseconds of work.
const PAGES_IN_TURN_MAX: i64 = 1_000;
/// Times that it is done beside the writers before the turn is asked for all the same: they may write as fast.
const ROUNDS_MAX: usize = 3;

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit.
    static PAGES: Cell<c_int> = const { Cell::new(0) };
}

/// Says when it is due.
#[derive(Clone)]
pub(super) struct Checkpoints {
    wake: Sender<()>,
}

/// The thread; it ends when this is dropped.
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Takes the work from a connection's commits; who commits by it calls [`Checkpoints::committed`].
pub(super) fn leave_to_thread(connection: &Connection) {
    connection.wal_hook(Some(note));
}

fn note(_: &Wal, pages: c_int) -> rusqlite::Result<()> {
    PAGES.set(pages);
    Ok(())
}

impl Checkpoints {
    /// After a commit of this thread.
    pub(super) fn committed(&self) {
        if PAGES.take() >= PAGES_MIN {
            // One word is enough until it is heard. Without the thread the host is going down.
            let _ = self.wake.try_send(());
        }
    }
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(path: &Path, turns: Arc<Turns>) -> Result<(Self, Checkpoints), StoreError> {
        let (wake, woken) = bounded(1);
        let (stop, stopped) = bounded(0);
        let path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("tables-checkpoint".to_owned())
            .spawn(move || run(&path, &turns, &woken, &stopped))
            .map_err(|error| StoreError::Internal(format!("no thread could be started: {error}")))?;
        let checkpointer = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok((checkpointer, Checkpoints { wake }))
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn run(path: &Path, turns: &Turns, woken: &Receiver<()>, stopped: &Receiver<()>) {
    let mut open: Option<Connection> = None;
    loop {
        select! {
            recv(stopped) -> _ => return,
            recv(woken) -> word => if word.is_err() { return },
        }
        let connection = match open.take().map_or_else(|| connect(path, Purpose::Control), Ok) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%error, "The tables' write-ahead log is not brought into the file; the next commit asks again");
                continue;
            }
        };
        if let Err(error) = checkpoint(&connection, turns) {
            tracing::debug!(%error, "The tables' write-ahead log is not brought into the file; the next commit asks again");
            continue;
        }
        open = Some(connection);
    }
}

fn checkpoint(connection: &Connection, turns: &Turns) -> rusqlite::Result<()> {
    let mut done = 0;
    for round in 0..ROUNDS_MAX {
        let before = std::mem::replace(&mut done, pages_done(connection)?);
        if round > 0 && done - before <= PAGES_IN_TURN_MAX {
            break;
        }
    }
    // Nobody writes now: what is left goes in, and the next writer begins the log anew.
    let _turn = turns.take(false);
    pages_done(connection).map(drop)
}

/// Does what can be done without holding anybody up. Gives how many of the log's pages are in the file.
fn pages_done(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_long_log_is_brought_into_the_file_beside_the_writers_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tables.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (data BLOB)")
            .unwrap();
        leave_to_thread(&writer);
        let turns = Arc::new(Turns::default());
        let (checkpointer, checkpoints) = Checkpointer::start(&path, Arc::clone(&turns)).unwrap();
        let log = folder.path().join("tables.db-wal");
        let length = || std::fs::metadata(&log).unwrap().len();
        let write = |bytes: usize| {
            let _turn = turns.take(true);
            writer
                .execute(
                    "INSERT INTO t VALUES (zeroblob(?1))",
                    [i64::try_from(bytes).unwrap()],
                )
                .unwrap();
            checkpoints.committed();
        };

        write(PAGES_MIN as usize * 4096);
        let long = length();
        assert!(long > PAGES_MIN as u64 * 4096);
        // Once all of it is in the file, a writer begins at the start of the log, which then is as long as before.
        let file = || std::fs::metadata(&path).unwrap().len();
        let began = Instant::now();
        while file() < PAGES_MIN as u64 * 4096 {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "nothing came into the file"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        // The thread has had its turn when this is over.
        drop(checkpointer);
        for _ in 0..100 {
            write(40_000);
        }
        assert_eq!(length(), long, "the log goes on growing");
    }
}
