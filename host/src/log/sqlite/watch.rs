//! Notices what other processes commit.
//!
//! The kernel tells when the write-ahead log is written to, which is before the commit can be seen: it is synced first.
//! So a written log is looked at often until the commit is there; without word from the kernel, now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use notify::Watcher as _;
use rusqlite::Connection;

use super::Files;
use crate::core::signal::Signal;
use crate::log::LogError;

/// Time between two looks while the kernel says nothing. Lower it to notice other processes sooner where it never does;
/// a look costs a few microseconds.
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
    /// Bumps `signal` when the head is beyond `announced`.
    pub(super) fn start(
        files: &Files,
        announced: Arc<AtomicU64>,
        signal: Arc<Signal>,
    ) -> Result<Self, LogError> {
        let mut look = Look {
            connection: files.reading()?,
            seen: None,
            announced,
            signal,
        };
        // The connection has made the write-ahead log, and keeps it.
        let (wake, woken) = bounded::<()>(1);
        let watcher = watcher(files, wake);
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::Builder::new()
            .name("log-watch".to_owned())
            .spawn(move || {
                // Its channel is closed where there is no watcher, which must not be taken for a word.
                let woken = watcher.as_ref().map_or_else(crossbeam_channel::never, |_| woken);
                loop {
                    select! {
                        recv(stopped) -> _ => return,
                        recv(woken) -> _ => look.quickly(&stopped),
                        recv(after(POLL)) -> _ => { look.now(); }
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

/// Tells when the write-ahead log is written to; None where the kernel will not say.
fn watcher(files: &Files, wake: Sender<()>) -> Option<notify::RecommendedWatcher> {
    let watched = notify::recommended_watcher(move |_| {
        // One word is enough until it is heard.
        let _ = wake.try_send(());
    })
    .and_then(|mut watcher| {
        watcher.watch(&files.write_ahead_log(), notify::RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watched {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::debug!(%error, "The kernel does not tell when the log is written to; it is looked at every few milliseconds");
            None
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
    /// Looks once; whether something was committed since the last look.
    fn now(&mut self) -> bool {
        // A database that is busy or away for a moment is looked at again at the next turn.
        let Ok(version) = data_version(&self.connection) else {
            return false;
        };
        if self.seen == Some(version) {
            return false;
        }
        let Ok(position) = position(&self.connection) else {
            return false;
        };
        self.seen = Some(version);
        if self.announced.fetch_max(position, Ordering::Relaxed) < position {
            self.signal.bump();
        }
        true
    }

    /// Looks until what is being committed can be seen.
    fn quickly(&mut self, stopped: &Receiver<()>) {
        let until = Instant::now() + QUICK_TIME;
        let mut pause = QUICK_PAUSE;
        while !self.now() && Instant::now() < until {
            // Whoever stops it drops the channel.
            if stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(QUICK_PAUSE_MAX);
        }
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
