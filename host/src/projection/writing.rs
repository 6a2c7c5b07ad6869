//! The writer: one flush after the other, tried again while the database is away. It has a thread of its own; small
//! flushes of live work are written where they are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::backoff::Backoff;
use super::profile::Flushed;
use super::status::{Retry, RunnerStatus};
use crate::core::Class;
use crate::core::bell::Bell;
use crate::tables::{Flush, StoreError, Switch, TableFlush, TableWriter};

/// A flush to write; with a switch, the cutover happens in its transaction.
pub(crate) struct Write {
    pub(crate) flush: Flush,
    pub(crate) live: bool,
    pub(crate) switch: Option<Switch>,
    /// Whether it was tried before, with an outcome that is not known.
    pub(crate) tried: bool,
    /// Events whose effects it brings.
    pub(crate) events: u64,
}

/// What came of a flush.
pub(crate) struct Written {
    /// Whether the rows are in the database.
    pub(crate) result: Result<(), StoreError>,
    /// Whether the cutover that was asked for happened with them.
    pub(crate) switched: Option<Result<(), StoreError>>,
    pub(crate) time: Duration,
}

/// What the writer needs. One flush is written at a time.
pub(crate) struct Writing {
    pub(crate) writer: Mutex<Box<dyn TableWriter>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) status: Arc<RunnerStatus>,
    pub(crate) written: Bell,
}

impl Writing {
    /// Writes until nobody sends.
    pub(crate) fn run(&self, from: &Receiver<Write>, to: &Sender<Written>) {
        while let Ok(write) = from.recv() {
            let began = Instant::now();
            let switched = write
                .switch
                .as_ref()
                .map(|switch| self.writer.lock().switch(&write.flush, switch));
            let result = match &switched {
                Some(Ok(())) => Ok(()),
                // The rows must go in all the same. Whether a cutover that failed went in after all is for its owner
                // to look up.
                Some(Err(_)) => self.write(&write, true),
                None => self.write(&write, write.tried),
            };
            if to.send(self.written(&write, result, switched, began)).is_err() {
                return;
            }
        }
    }

    /// Writes a flush without a cutover in the thread of the caller, which is sooner than to wake another. None: the
    /// database is away; the flush is marked as tried, and is for the writing thread.
    pub(crate) fn at_once(&self, write: &mut Write) -> Option<Written> {
        let began = Instant::now();
        let result = self.flush(write);
        if matches!(&result, Err(error) if is_worth_another_try(error)) {
            write.tried = true;
            return None;
        }
        Some(self.written(write, result, None, began))
    }

    fn flush(&self, write: &Write) -> Result<(), StoreError> {
        let (projection, generation) = self.status.names();
        let to = write.flush.to.position.0;
        let _span = tracing::debug_span!("flush", projection, generation, to, live = write.live).entered();
        self.writer.lock().flush(&write.flush, write.live)
    }

    fn written(
        &self,
        write: &Write,
        result: Result<(), StoreError>,
        switched: Option<Result<(), StoreError>>,
        began: Instant,
    ) -> Written {
        let time = began.elapsed();
        if result.is_ok() {
            let written =
                |table: &TableFlush| table.inserts.len() + table.upserts.len() + table.removes.len();
            let (from, to) = (write.flush.from.position, write.flush.to.position);
            let flushed = Flushed {
                rows: write.flush.tables.iter().map(written).sum::<usize>() as u64,
                events: write.events,
                positions: to.0.saturating_sub(from.0),
                parked: write
                    .flush
                    .letters
                    .as_ref()
                    .map_or(0, |letters| letters.park.len() as u64),
            };
            self.status.profiler().flushed(flushed, time);
            self.status.set_checkpoint(write.flush.to.position);
            self.written.ring();
        }
        Written {
            result,
            switched,
            time,
        }
    }

    /// Tries until it is done. A try whose outcome is unknown is safe to repeat: if it went in, the checkpoint has
    /// moved to where this flush wanted it, and that is success. `tried` says that there was a try before.
    fn write(&self, write: &Write, mut tried: bool) -> Result<(), StoreError> {
        let mut backoff = Backoff::default();
        loop {
            let result = self.flush(write);
            match result {
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
                Err(error) if is_worth_another_try(&error) && !self.stop.load(Ordering::Acquire) => {
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

/// Whether the same flush may succeed later. One that finds its checkpoint or its letters moved never will.
fn is_worth_another_try(error: &StoreError) -> bool {
    error.class() == Class::Retryable
        && !matches!(
            error,
            StoreError::CheckpointMoved { .. } | StoreError::LettersMoved { .. }
        )
}
