//! Upcasting on the reader's thread: what was read is lifted before it is handed on.

use std::sync::Arc;
use std::time::Instant;

use super::backoff::Backoff;
use super::reading::{Read, Reading, Step};
use super::report::upcaster_said;
use super::status::{Retry, Stop};
use crate::core::{Class, EventBatch, EventFilter};
use crate::upcast::{LiftFault, Lifting, Said, User};

/// A projection's upcasters, and what it wants of what comes out.
pub(crate) struct Upcasting {
    pub(crate) upcasters: User,
    pub(crate) wanted: EventFilter,
}

impl Upcasting {
    /// Lifts a batch and hands on what came out. A fault is handed on after what came before it, and ends the reading.
    pub(super) fn pass_on(&self, reading: &Reading, batch: Arc<EventBatch>, at_head: bool) -> Step {
        let mut backoff = Backoff::default();
        let (batches, fault) = loop {
            reading.status.set_upcast(Some(Instant::now()));
            let (batches, fault) = self.lift(reading, &batch);
            reading.status.set_upcast(None);
            if reading.stopped() {
                return Step::Over;
            }
            match fault {
                Some(fault) if fault.class == Class::Retryable => {
                    let wait = backoff.next();
                    reading.status.set_retrying(Some(Retry {
                        message: fault.message,
                        attempts: backoff.tries(),
                        next: Instant::now() + wait,
                    }));
                    reading.sleep(wait);
                }
                fault => break (batches, fault),
            }
        };
        if backoff.tries() > 0 {
            reading.status.set_retrying(None);
        }
        let last = batches.len();
        for (nth, batch) in batches.into_iter().enumerate() {
            let at_head = at_head && fault.is_none() && nth + 1 == last;
            if reading.to.send(Read::Batch(batch, at_head)).is_err() {
                return Step::Over;
            }
        }
        match fault {
            None => Step::More,
            Some(fault) => {
                // Nobody listens any more when the projection is being stopped.
                let _ = reading.to.send(Read::Faulted(Box::new(stop(fault))));
                Step::Over
            }
        }
    }

    fn lift(&self, reading: &Reading, batch: &Arc<EventBatch>) -> (Vec<Arc<EventBatch>>, Option<LiftFault>) {
        let most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let mut lifting = Lifting {
            filter: &self.wanted,
            events_max: most(reading.limits.batch_events_max),
            bytes_max: most(reading.limits.batch_bytes_max),
            stop: &reading.stop,
            said: &mut |said: Said| {
                reading.status.add_log(&said.lines);
                upcaster_said(&said);
            },
        };
        self.upcasters.set().lift(batch, &mut lifting)
    }
}

fn stop(fault: LiftFault) -> Stop {
    Stop {
        class: fault.class,
        message: fault.message,
        position: Some(fault.position),
        event_id: Some(fault.event_id),
        trace: fault.trace,
        log: fault.log,
        attempts: fault.attempts,
    }
}
