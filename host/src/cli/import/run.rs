//! Imports one input: batches are read and checked on one thread and written on another.

use std::sync::mpsc;

use super::batches::{BadLine, Batch, Batches, Bounds, Trouble};
use super::input::Input;
use super::resume::{self, Start};
use crate::core::Position;
use crate::log::{EventLog, ImportEvent, LogError};
use crate::schemas::with_deep_stack;

/// Batches that wait while one is written: enough to keep both threads busy, few enough to stay small.
const BATCHES_WAITING_MAX: usize = 1;

/// What is told of a running import.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Lines that are in the log.
    pub(super) lines: u64,
    /// Share of the input that was read, 0 to 1.
    pub(super) share: Option<f64>,
    /// Still looking for where an earlier import ended.
    pub(super) searching: bool,
}

/// What an import did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// Lines that were in the log before.
    pub(super) lines_before: u64,
    /// Lines that this run read into the log; blank ones count.
    pub(super) lines: u64,
    /// Events among them.
    pub(super) events: u64,
    /// Head of the log after the last batch; None when there was none.
    pub(super) position: Option<Position>,
    /// It was asked to stop before the end.
    pub(super) interrupted: bool,
}

/// Why an import ended early. What [`Failed::done`] says is in the log, and the next run goes on behind it.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) done: Done,
    pub(super) why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    BadLines { named: Vec<BadLine>, more: u64 },
    Unreadable { line: u64, error: std::io::Error },
    Log(LogError),
}

/// Imports one input. `look` is told how it goes, and asks for a clean stop by giving false.
pub(super) fn run(
    log: &dyn EventLog,
    input: &Input,
    bounds: Bounds,
    check: &(dyn Fn(&ImportEvent) -> Result<(), String> + Sync),
    look: &mut dyn FnMut(Moment) -> bool,
) -> Result<Done, Failed> {
    let mut done = Done {
        lines_before: 0,
        lines: 0,
        events: 0,
        position: None,
        interrupted: false,
    };
    let unreadable = |error| Why::Unreadable { line: 1, error };
    let cursors = match log.import_cursors() {
        Ok(cursors) => cursors,
        Err(error) => {
            return Err(Failed {
                done,
                why: Why::Log(error),
            });
        }
    };
    let mut start = Start::new();
    let mut stopped = false;
    if !cursors.is_empty() && !input.is_stream() {
        let found = input.open().and_then(|mut reading| {
            let (meter, bytes) = (reading.meter.clone(), reading.bytes);
            resume::find(&mut reading.text, &cursors, || {
                let share = bytes.map(|bytes| meter.bytes() as f64 / bytes.max(1) as f64);
                stopped = !look(Moment {
                    lines: 0,
                    share,
                    searching: true,
                });
                !stopped
            })
        });
        match found {
            Ok(found) => start = found,
            Err(error) => {
                return Err(Failed {
                    done,
                    why: unreadable(error),
                });
            }
        }
    }
    done.lines_before = start.lines;
    if stopped {
        done.interrupted = true;
        return Ok(done);
    }
    let mut reading = match input.open().and_then(|mut reading| {
        resume::skip(&mut reading.text, start.bytes)?;
        Ok(reading)
    }) {
        Ok(reading) => reading,
        Err(error) => {
            return Err(Failed {
                done,
                why: unreadable(error),
            });
        }
    };
    let (meter, bytes) = (reading.meter.clone(), reading.bytes);
    let mut batches = Batches::new(&mut reading.text, start, bounds, check);
    std::thread::scope(|scope| {
        let (give, take) = mpsc::sync_channel::<Result<Batch, Trouble>>(BATCHES_WAITING_MAX);
        let read = move || {
            while let Some(next) = batches.next().transpose() {
                let last = next.is_err();
                // The writer has gone when the send fails: it failed, or was asked to stop.
                if give.send(next).is_err() || last {
                    return;
                }
            }
        };
        // `check` may hold each event to schemas.
        scope.spawn(|| with_deep_stack(read));
        // The cursor that a run began from stays, so that the input as it was then is still known.
        let mut previous = None;
        while let Ok(next) = take.recv() {
            let why = match next {
                Ok(Batch { events, cursor }) => {
                    let count = events.len() as u64;
                    match log.import(events, previous.as_ref(), &cursor) {
                        Ok(position) => {
                            done.events += count;
                            done.lines = cursor.lines - done.lines_before;
                            done.position = Some(position);
                            previous = Some(cursor);
                            let share = bytes.map(|bytes| meter.bytes() as f64 / bytes.max(1) as f64);
                            let lines = done.lines_before + done.lines;
                            if !look(Moment {
                                lines,
                                share,
                                searching: false,
                            }) {
                                done.interrupted = true;
                                return Ok(done);
                            }
                            continue;
                        }
                        Err(error) => Why::Log(error),
                    }
                }
                Err(Trouble::BadLines { named, more }) => Why::BadLines { named, more },
                Err(Trouble::Unreadable { line, error }) => Why::Unreadable { line, error },
            };
            return Err(Failed { done, why });
        }
        Ok(done)
    })
}
