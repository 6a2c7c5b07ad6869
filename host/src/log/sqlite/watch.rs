//! Notices what other processes commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rusqlite::Connection;

use super::Files;
use crate::core::signal::Signal;
use crate::log::LogError;

/// Time between two looks. Lower it to notice other processes sooner; a look costs a few microseconds.
const POLL: Duration = Duration::from_millis(5);

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
        let connection = files.reading()?;
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::Builder::new()
            .name("log-watch".to_owned())
            .spawn(move || {
                let mut seen = None;
                while stopped.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                    // A database that is busy or away for a moment is looked at again at the next turn.
                    let Ok(version) = data_version(&connection) else {
                        continue;
                    };
                    if seen == Some(version) {
                        continue;
                    }
                    let Ok(position) = position(&connection) else {
                        continue;
                    };
                    seen = Some(version);
                    if announced.fetch_max(position, Ordering::Relaxed) < position {
                        signal.bump();
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
