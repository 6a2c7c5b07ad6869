//! The writer thread: one flush after the other, tried again while the database is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::backoff::Backoff;
use super::status::{Retry, RunnerStatus};
use crate::core::Class;
use crate::tables::{Flush, StoreError, Switch, TableFlush, TableWriter};

/// A flush to write; with a switch, the cutover happens in its transaction.
pub(crate) struct Write {
    pub(crate) flush: Flush,
    pub(crate) live: bool,
    pub(crate) switch: Option<Switch>,
}

/// What came of a flush.
pub(crate) struct Written {
    /// Whether the rows are in the database.
    pub(crate) result: Result<(), StoreError>,
    /// Whether the cutover that was asked for happened with them.
    pub(crate) switched: Option<Result<(), StoreError>>,
    pub(crate) time: Duration,
}

/// What the writer needs.
pub(crate) struct Writing {
    pub(crate) writer: Box<dyn TableWriter>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) status: Arc<RunnerStatus>,
    pub(crate) from: Receiver<Write>,
    pub(crate) to: Sender<Written>,
}

impl Writing {
    /// Writes until nobody sends.
    pub(crate) fn run(mut self) {
        while let Ok(write) = self.from.recv() {
            let began = Instant::now();
            let switched = write
                .switch
                .as_ref()
                .map(|switch| self.writer.switch(&write.flush, switch));
            let result = match &switched {
                Some(Ok(())) => Ok(()),
                // The rows must go in all the same. Whether a cutover that failed went in after all is for its owner
                // to look up.
                Some(Err(_)) => self.write(&write, true),
                None => self.write(&write, false),
            };
            if result.is_ok() {
                let written =
                    |table: &TableFlush| table.inserts.len() + table.upserts.len() + table.removes.len();
                let rows = write.flush.tables.iter().map(written).sum();
                self.status.profiler().flushed(rows, began.elapsed());
                self.status.set_checkpoint(write.flush.to.position);
            }
            if self
                .to
                .send(Written {
                    result,
                    switched,
                    time: began.elapsed(),
                })
                .is_err()
            {
                return;
            }
        }
    }

    /// Tries until it is done. A try whose outcome is unknown is safe to repeat: if it went in, the checkpoint has
    /// moved to where this flush wanted it, and that is success. `tried` says that there was a try before.
    fn write(&mut self, write: &Write, mut tried: bool) -> Result<(), StoreError> {
        let mut backoff = Backoff::default();
        loop {
            match self.writer.flush(&write.flush, write.live) {
                Ok(()) => {
                    if backoff.tries() > 0 {
                        self.status.set_retrying(None);
                    }
                    return Ok(());
                }
                Err(StoreError::CheckpointMoved { actual, .. })
                    if tried && actual == write.flush.to.position =>
                {
                    self.status.set_retrying(None);
                    return Ok(());
                }
                Err(error)
                    if error.class() == Class::Retryable
                        && !matches!(
                            error,
                            StoreError::CheckpointMoved { .. } | StoreError::LettersMoved { .. }
                        )
                        && !self.stop.load(Ordering::Acquire) =>
                {
                    tried = true;
                    let wait = backoff.next();
                    self.status.set_retrying(Some(Retry {
                        message: format!("the read tables cannot be written: {error}"),
                        attempts: backoff.tries(),
                        next: Instant::now() + wait,
                    }));
                    let until = Instant::now() + wait;
                    while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
                        std::thread::sleep(Duration::from_millis(10).min(wait));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
