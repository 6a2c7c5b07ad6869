//! Brings a SQLite write-ahead log into its file (SQLite's own word for that is a checkpoint; it has nothing to do with
//! a projection's).
//!
//! Left alone, SQLite does it within the commit that made the log too long, and everybody who wants to write waits until
//! tens of MiB are copied and synced. Here a thread does it beside the writers. Only what they wrote meanwhile is left
//! for a moment in which nobody writes: with all of it in the file, the log begins anew, and does not grow for ever.
//!
//! Where commits are not synced, the log is synced now and then: tens of MiB at once keep the disk busy for tens of
//! milliseconds, and whoever syncs something else, such as an append, waits for that.
//!
//! The thread also makes room in the log before it is written to ([`room`]).

mod room;

use std::cell::Cell;
use std::ffi::c_int;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use rusqlite::Connection;
use rusqlite::hooks::Wal;

use self::room::Made;

/// Pages that may be left for the moment in which nobody writes: a few milliseconds of work.
const PAGES_LEFT_MAX: i64 = 1_000;
/// Times that it is done beside the writers before that moment is asked for all the same: they may write as fast.
const ROUNDS_MAX: usize = 3;

/// Commits after which room is made, and again if there was not yet a moment for all of it: a command that commits once
/// or twice has no use for it.
const ROOM_COMMITS: u32 = 8;

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit.
    static PAGES: Cell<c_int> = const { Cell::new(0) };
}

/// Says when it is due.
#[derive(Clone)]
pub(crate) struct Checkpoints {
    sync_pages: Option<c_int>,
    /// Pages of the write-ahead log that are synced, or about to be.
    synced: Arc<AtomicI32>,
    /// Commits of this process; no more than there have to be for room to be made.
    commits: Arc<AtomicU32>,
    wake: Sender<Due>,
}

/// What the thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Sync,
    Checkpoint,
    Room,
}

/// The thread; it ends when this is dropped.
pub(crate) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a database leaves to the thread.
pub(crate) struct Work<C, L> {
    /// The thread's name.
    pub(crate) name: &'static str,
    /// The write-ahead log.
    pub(crate) log: PathBuf,
    /// How many pages may be in it unsynced; None where commits sync it.
    pub(crate) unsynced_pages: Option<c_int>,
    /// Pages that there is to be room for in any case.
    pub(crate) room_pages: c_int,
    /// Opens a connection; the error is for the debug log.
    pub(crate) connect: C,
    /// Called when little is left: has it brought in, by [`bring_in`], while nobody writes.
    pub(crate) last: L,
}

/// Takes the work from a connection's commits; who commits by it calls [`Checkpoints::committed`].
pub(crate) fn leave_to_thread(connection: &Connection) {
    connection.wal_hook(Some(note));
}

fn note(_: &Wal, pages: c_int) -> rusqlite::Result<()> {
    PAGES.set(pages);
    Ok(())
}

/// Does what can be done without holding anybody up. Gives how many of the log's pages are in the file.
pub(crate) fn bring_in(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

impl Checkpoints {
    /// After a commit of this thread. So many pages in the write-ahead log are worth bringing in: more need fewer syncs
    /// and less writing, and keep the disk busy for longer.
    pub(crate) fn committed(&self, pages_min: c_int) {
        let pages = PAGES.take();
        let due = if pages >= pages_min {
            Due::Checkpoint
        } else if self.sync_is_due(pages) {
            Due::Sync
        } else if self.room_is_due() {
            Due::Room
        } else {
            return;
        };
        // One word is enough until it is heard. Without the thread the host is going down.
        if self.wake.try_send(due).is_err() && due == Due::Room {
            self.commits.store(0, Ordering::Relaxed);
        }
    }

    fn room_is_due(&self) -> bool {
        let count = |commits| (commits < ROOM_COMMITS).then_some(commits + 1);
        let counted = self
            .commits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        counted == Ok(ROOM_COMMITS - 1)
    }

    fn sync_is_due(&self, pages: c_int) -> bool {
        let Some(sync_pages) = self.sync_pages else {
            return false;
        };
        let synced = self.synced.load(Ordering::Relaxed);
        // Fewer pages than before: the log has begun anew.
        let is_due = pages >= synced + sync_pages || pages < synced;
        if is_due {
            self.synced.store(pages, Ordering::Relaxed);
        }
        is_due && pages >= sync_pages
    }
}

impl Checkpointer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub(crate) fn start<C, L, E>(work: Work<C, L>) -> std::io::Result<(Self, Checkpoints)>
    where
        C: Fn() -> Result<Connection, E> + Send + 'static,
        L: Fn(&Connection) -> rusqlite::Result<()> + Send + 'static,
        E: std::fmt::Display,
    {
        let sync_pages = work.unsynced_pages;
        let (wake, woken) = bounded(1);
        let (stop, stopped) = bounded(0);
        let commits = Arc::<AtomicU32>::default();
        let counted = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name(work.name.to_owned())
            .spawn(move || work.run(&woken, &stopped, &counted))?;
        let checkpointer = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        let checkpoints = Checkpoints {
            sync_pages,
            synced: Arc::default(),
            commits,
            wake,
        };
        Ok((checkpointer, checkpoints))
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

impl<C, L, E> Work<C, L>
where
    C: Fn() -> Result<Connection, E>,
    L: Fn(&Connection) -> rusqlite::Result<()>,
    E: std::fmt::Display,
{
    fn run(&self, woken: &Receiver<Due>, stopped: &Receiver<()>, commits: &AtomicU32) {
        let mut open: Option<Connection> = None;
        loop {
            let due = select! {
                recv(stopped) -> _ => return,
                recv(woken) -> due => due,
            };
            let Ok(due) = due else { return };
            if due == Due::Sync {
                self.sync();
                continue;
            }
            let connection = match open.take().map_or_else(|| (self.connect)(), Ok) {
                Ok(connection) => connection,
                Err(error) => {
                    self.not_done(due, &error);
                    continue;
                }
            };
            let done = if due == Due::Room {
                let goes_on = || stopped.try_recv() == Err(TryRecvError::Empty);
                let made = room::make(&connection, &self.log, self.room_pages, goes_on);
                if matches!(made, Ok(Made::Some)) {
                    commits.store(0, Ordering::Relaxed);
                }
                made.map(drop).map_err(|error| error.to_string())
            } else {
                self.checkpoint(&connection).map_err(|error| error.to_string())
            };
            match done {
                Ok(()) => open = Some(connection),
                Err(error) => self.not_done(due, &error),
            }
        }
    }

    /// Nothing depends on it: what is brought into the file is synced in any case.
    fn sync(&self) {
        if let Err(error) = File::open(&self.log).and_then(|log| log.sync_data()) {
            let path = self.log.display();
            tracing::debug!(%error, %path, "The write-ahead log is not synced ahead of time");
        }
    }

    fn not_done(&self, due: Due, error: &dyn std::fmt::Display) {
        let thread = self.name;
        tracing::debug!(%error, thread, ?due, "The write-ahead log is not seen to; commits do it, or ask again");
    }

    fn checkpoint(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut done = 0;
        for round in 0..ROUNDS_MAX {
            let before = std::mem::replace(&mut done, bring_in(connection)?);
            if round > 0 && done - before <= PAGES_LEFT_MAX {
                break;
            }
        }
        (self.last)(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;

    use super::*;

    const PAGES_MIN: c_int = 4_000;

    #[test]
    fn a_sync_is_due_after_so_many_pages_and_from_anew_in_a_new_log() {
        let checkpoints = Checkpoints {
            sync_pages: Some(100),
            synced: Arc::default(),
            commits: Arc::default(),
            wake: bounded(1).0,
        };
        let due: Vec<c_int> = [40, 99, 100, 130, 199, 205, 304, 305, 20, 119, 130]
            .into_iter()
            .filter(|pages| checkpoints.sync_is_due(*pages))
            .collect();
        assert_eq!(due, [100, 205, 305, 130]);
        let synced_by_commits = Checkpoints {
            sync_pages: None,
            ..checkpoints
        };
        assert!(!synced_by_commits.sync_is_due(10_000));
    }

    #[test]
    fn who_commits_again_and_again_is_made_room_for_once() {
        let (wake, woken) = bounded(1);
        let checkpoints = Checkpoints {
            sync_pages: None,
            synced: Arc::default(),
            commits: Arc::default(),
            wake,
        };
        let commits_until_told = || {
            (1..=100).find(|_| {
                checkpoints.committed(PAGES_MIN);
                woken.try_recv() == Ok(Due::Room)
            })
        };
        // Nobody hears it: then the next ones are counted.
        checkpoints.wake.send(Due::Checkpoint).unwrap();
        (0..ROOM_COMMITS).for_each(|_| checkpoints.committed(PAGES_MIN));
        assert_eq!(woken.recv(), Ok(Due::Checkpoint));
        assert_eq!(commits_until_told(), Some(8));
        assert_eq!(commits_until_told(), None);
    }

    #[test]
    fn a_long_log_is_brought_into_the_file_beside_the_writers_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (data BLOB)")
            .unwrap();
        leave_to_thread(&writer);
        let turn = Arc::new(Mutex::new(()));
        let (opened, turns) = (path.clone(), Arc::clone(&turn));
        let (checkpointer, checkpoints) = Checkpointer::start(Work {
            name: "checkpoint",
            log: folder.path().join("file.db-wal"),
            unsynced_pages: Some(100),
            room_pages: 0,
            connect: move || Connection::open(&opened),
            last: move |connection: &Connection| {
                let _turn = turns.lock();
                bring_in(connection).map(drop)
            },
        })
        .unwrap();
        let log = folder.path().join("file.db-wal");
        let length = || std::fs::metadata(&log).unwrap().len();
        let write = |bytes: usize| {
            let _turn = turn.lock();
            writer
                .execute(
                    "INSERT INTO t VALUES (zeroblob(?1))",
                    [i64::try_from(bytes).unwrap()],
                )
                .unwrap();
            checkpoints.committed(PAGES_MIN);
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
