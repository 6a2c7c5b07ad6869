//! Notices what other processes commit.
//!
//! A process of ours rings ([`super::bell`]) once its commit can be seen. Of other programs the kernel tells only that
//! they have written to the write-ahead log, which is before: the commit is synced first. So while somebody writes who
//! does not ring, a written log is looked at often until the commit is there. While all ring, the kernel is not asked of
//! writes, which are many a commit and cost the writer too. Without any word, the log is looked at now and then.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use rusqlite::Connection;

use super::Files;
use super::bell::Bell;
use crate::core::signal::Signal;
use crate::log::LogError;

/// Time between two looks while nobody says anything. Lower it to notice other processes sooner where the kernel never
/// does; a look costs a few microseconds.
const POLL: Duration = Duration::from_millis(5);
/// First pause between two looks at a log that was written to, and the longest; each next one is half as long again.
const QUICK_PAUSE: Duration = Duration::from_micros(50);
const QUICK_PAUSE_MAX: Duration = Duration::from_micros(200);
/// How long a log that was written to is looked at often: longer than most disks take to sync.
const QUICK_TIME: Duration = Duration::from_millis(20);

/// The watching thread; it ends when this is dropped.
pub(super) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Bumps `signal` when the head is beyond `announced`, or somebody else rings. `is_ours` is set before this process
    /// rings.
    pub(super) fn start(
        files: &Files,
        announced: Arc<AtomicU64>,
        signal: Arc<Signal>,
        is_ours: Arc<AtomicBool>,
    ) -> Result<Self, LogError> {
        // The connection has made the write-ahead log, and keeps it.
        let connection = files.reading()?;
        let watched = Arc::new(Watched::new(connection, announced, signal, is_ours));
        let (wake, woken) = bounded::<()>(1);
        let mut kernel = Kernel::new(files, Arc::clone(&watched), wake);
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::Builder::new()
            .name("log-watch".to_owned())
            .spawn(move || {
                // Its channel is closed where there is no watcher, which must not be taken for a word.
                let woken = kernel.as_ref().map_or_else(crossbeam_channel::never, |_| woken);
                loop {
                    if let Some(kernel) = &mut kernel {
                        kernel.tell_of_writes(!watched.rings.load(Ordering::Relaxed));
                    }
                    select! {
                        recv(stopped) -> _ => return,
                        recv(woken) -> _ => watched.quickly(&stopped),
                        recv(after(POLL)) -> _ => { watched.now(); }
                    }
                }
            })
            .map_err(|error| {
                LogError::Internal(format!("the log's watching thread cannot start: {error}"))
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// What the kernel tells of the log's files.
struct Kernel {
    watcher: notify::RecommendedWatcher,
    write_ahead_log: PathBuf,
    tells_of_writes: bool,
}

impl Kernel {
    /// Looks when somebody rings, and passes on that the write-ahead log was written to; None where the kernel will not
    /// say.
    fn new(files: &Files, watched: Arc<Watched>, wake: Sender<()>) -> Option<Self> {
        let told = move |event: notify::Result<Event>| match event {
            Ok(event) if matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) => watched.rung(),
            // It was only opened or closed.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            _ if watched.rings.load(Ordering::Relaxed) => {}
            _ => {
                // One word is enough until it is heard.
                let _ = wake.try_send(());
            }
        };
        let (bell, write_ahead_log) = (files.bell(), files.write_ahead_log());
        // So that it is there.
        drop(Bell::new(&bell));
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(&bell, RecursiveMode::NonRecursive)?;
            watcher.watch(&write_ahead_log, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => Some(Self {
                watcher,
                write_ahead_log,
                tells_of_writes: true,
            }),
            Err(error) => {
                tracing::debug!(%error, "The kernel does not tell when the log is written to; it is looked at every few milliseconds");
                None
            }
        }
    }

    /// Whether the kernel is to tell of writes.
    fn tell_of_writes(&mut self, wanted: bool) {
        if wanted == self.tells_of_writes {
            return;
        }
        let done = match wanted {
            true => self
                .watcher
                .watch(&self.write_ahead_log, RecursiveMode::NonRecursive),
            false => self.watcher.unwatch(&self.write_ahead_log),
        };
        if let Err(error) = done {
            tracing::debug!(%error, wanted, "the kernel was not told what to tell of the write-ahead log");
        }
        // Asking again would help nobody: the log is looked at in any case.
        self.tells_of_writes = wanted;
    }
}

/// A log that is watched, by the watching thread and by that of the kernel's words.
struct Watched {
    look: Mutex<Look>,
    signal: Arc<Signal>,
    /// Whether this process has rung since the bell was last heard: who made the commit has told of it already.
    is_ours: Arc<AtomicBool>,
    /// Whether somebody has rung since events were last found without: then what is under way will be rung for too.
    rings: AtomicBool,
}

/// What a look found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A commit, whatever it was.
    Commit,
    /// Events that nobody had told of.
    Events,
}

impl Watched {
    fn new(
        connection: Connection,
        announced: Arc<AtomicU64>,
        signal: Arc<Signal>,
        is_ours: Arc<AtomicBool>,
    ) -> Self {
        let look = Look {
            connection,
            seen: None,
            announced,
            signal: Arc::clone(&signal),
        };
        Self {
            look: Mutex::new(look),
            signal,
            is_ours,
            rings: AtomicBool::new(false),
        }
    }

    /// Somebody rang. A look takes as long as reading the event, so that whoever waits for it is woken before.
    fn rung(&self) {
        if self.is_ours.swap(false, Ordering::Relaxed) {
            // Others may have rung with it.
            self.look.lock().at_head();
        } else {
            self.signal.bump();
            self.look.lock().note_head();
        }
        self.rings.store(true, Ordering::Relaxed);
    }

    /// Looks unasked.
    fn now(&self) -> Found {
        let found = self.look.lock().now();
        if found == Found::Events {
            self.rings.store(false, Ordering::Relaxed);
        }
        found
    }

    /// Looks until what is being committed can be seen.
    fn quickly(&self, stopped: &Receiver<()>) {
        let until = Instant::now() + QUICK_TIME;
        let mut pause = QUICK_PAUSE;
        while self.now() == Found::Nothing && Instant::now() < until {
            // Whoever stops it drops the channel. Who rings has looked.
            if stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
                || self.rings.load(Ordering::Relaxed)
            {
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(QUICK_PAUSE_MAX);
        }
    }
}

/// What has been seen of the log.
struct Look {
    connection: Connection,
    seen: Option<i64>,
    announced: Arc<AtomicU64>,
    signal: Arc<Signal>,
}

impl Look {
    /// Looks whether something was committed since the last such look.
    fn now(&mut self) -> Found {
        // A database that is busy or away for a moment is looked at again at the next turn.
        let Ok(version) = data_version(&self.connection) else {
            return Found::Nothing;
        };
        if self.seen == Some(version) {
            return Found::Nothing;
        }
        let Some(found) = self.at_head() else {
            return Found::Nothing;
        };
        self.seen = Some(version);
        found
    }

    /// Looks where the head is, of which everybody has been told.
    fn note_head(&self) {
        // What cannot be seen now is told of once more.
        if let Ok(position) = position(&self.connection) {
            self.announced.fetch_max(position, Ordering::Relaxed);
        }
    }

    /// Looks where the head is; None when it cannot be seen.
    fn at_head(&self) -> Option<Found> {
        let position = position(&self.connection).ok()?;
        if self.announced.fetch_max(position, Ordering::Relaxed) < position {
            self.signal.bump();
            return Some(Found::Events);
        }
        Some(Found::Commit)
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

fn position(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT position FROM log")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::migrate;

    #[test]
    fn who_rings_is_heard_and_who_does_not_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files {
            path: folder.path().join("log.db"),
            busy_timeout: Duration::from_secs(5),
        };
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(migrate::sqlite(&files.path, files.busy_timeout))
            .unwrap();
        let writing = files.writing().unwrap();
        let commit = |position: u64| {
            let sql = format!("UPDATE log SET position = {position}");
            writing.execute_batch(&sql).unwrap();
        };
        commit(1);
        let announced = Arc::new(AtomicU64::new(1));
        let (signal, is_ours) = (Arc::<Signal>::default(), Arc::<AtomicBool>::default());
        let watched = Arc::new(Watched::new(
            files.reading().unwrap(),
            Arc::clone(&announced),
            Arc::clone(&signal),
            Arc::clone(&is_ours),
        ));
        watched.now();
        let (wake, woken) = bounded(1);
        let Some(mut kernel) = Kernel::new(&files, Arc::clone(&watched), wake) else {
            eprintln!("skipped: the kernel does not tell of files here");
            return;
        };
        let patience = Duration::from_secs(20);

        // Without ringing: the kernel's word is passed on, and what is found then says that nobody rang.
        commit(2);
        woken.recv_timeout(patience).unwrap();
        assert!(watched.now() == Found::Events && !watched.rings.load(Ordering::Relaxed));

        // With: nobody else needs to look.
        let ring_for = |position: u64| {
            watched.rings.store(false, Ordering::Relaxed);
            commit(position);
            Bell::new(&files.bell()).ring();
            let began = Instant::now();
            while announced.load(Ordering::Relaxed) < position || !watched.rings.load(Ordering::Relaxed) {
                assert!(began.elapsed() < patience, "the bell was not heard");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let told = signal.seen();
        ring_for(3);
        assert!(signal.seen() > told, "whoever waits was not woken");
        // What this process has appended it has told of by itself.
        is_ours.store(true, Ordering::Relaxed);
        announced.store(4, Ordering::Relaxed);
        let told = signal.seen();
        ring_for(4);
        assert_eq!(signal.seen(), told, "whoever waits was woken twice");
        kernel.tell_of_writes(false);

        // Somebody else again: found without a word, and from then on with one.
        commit(5);
        assert!(watched.now() == Found::Events && !watched.rings.load(Ordering::Relaxed));
        assert_eq!(announced.load(Ordering::Relaxed), 5);
        let _ = woken.try_recv();
        kernel.tell_of_writes(true);
        commit(6);
        woken.recv_timeout(patience).unwrap();
    }
}
