//! Upcasting on the reader's thread: what was read is lifted before it is handed on.

use std::sync::Arc;
use std::time::Instant;

use lamphouse_contract::packed;

use super::backoff::Backoff;
use super::reading::{Read, Reading, Step, Unlifted};
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
    /// Lifts a batch and hands on what came out. An event that cannot be lifted is
    /// handed on as such, after what came before it; a fault that is not one event's ends the reading.
    pub(super) fn pass_on(&self, reading: &Reading, batch: Arc<EventBatch>, at_head: bool) -> Step {
        let mut batch = batch;
        loop {
            let Some((batches, fault)) = self.lift_in_the_end(reading, &batch) else {
                return Step::Over;
            };
            let last = batches.len();
            for (nth, batch) in batches.into_iter().enumerate() {
                let at_head = at_head && fault.is_none() && nth + 1 == last;
                if reading.to.send(Read::Batch(batch, at_head)).is_err() {
                    return Step::Over;
                }
            }
            let Some(fault) = fault else {
                return Step::More;
            };
            let place = batch.place_of(fault.position);
            let stored = packed::events(batch.packed(place..place + 1)).next();
            let read = match stored {
                // Whether it is parked, left out or stopped at is for the projecting thread to say.
                Some(Ok(stored)) if fault.class == Class::Fault => {
                    let unlifted = Unlifted {
                        position: batch.position(place),
                        event_id: batch.id(place),
                        stream_id: stored.stream_id.to_owned(),
                        event_type: stored.event_type.to_owned(),
                        fault: stop(fault),
                    };
                    Read::Unlifted(Box::new(unlifted))
                }
                _ => Read::Faulted(Box::new(stop(fault))),
            };
            let is_over = matches!(read, Read::Faulted(_));
            // Nobody listens any more when the projection is being stopped.
            if reading.to.send(read).is_err() || is_over {
                return Step::Over;
            }
            batch = Arc::new(batch.pick(place + 1..batch.len()));
        }
    }

    /// Lifts a batch, as often as it takes while something is away; None when told to stop.
    fn lift_in_the_end(&self, reading: &Reading, batch: &Arc<EventBatch>) -> Option<Lifted> {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            reading.status.set_upcast(Some(began));
            let (batches, fault) = self.lift(reading, batch);
            let extracting = batches.iter().map(|batch| batch.extracting()).sum();
            reading.status.profiler().upcast(began.elapsed(), extracting);
            reading.status.set_upcast(None);
            if reading.stopped() {
                return None;
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
                fault => {
                    if backoff.tries() > 0 {
                        reading.status.set_retrying(None);
                    }
                    return Some((batches, fault));
                }
            }
        }
    }

    fn lift(&self, reading: &Reading, batch: &Arc<EventBatch>) -> Lifted {
        let (projection, generation) = reading.status.names();
        let events = batch.len();
        let _span = tracing::debug_span!("upcast", projection, generation, events).entered();
        let most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let mut lifting = Lifting {
            filter: &self.wanted,
            fields: reading.fields.as_ref(),
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

/// What came out, and why it ends before the event that could not be lifted.
type Lifted = (Vec<Arc<EventBatch>>, Option<LiftFault>);

pub(super) fn stop(fault: LiftFault) -> Stop {
    Stop {
        class: fault.class,
        message: fault.message,
        position: Some(fault.position),
        event_id: fault.event_id,
        part: None,
        trace: fault.trace,
        log: fault.log,
        attempts: u32::try_from(fault.attempts).unwrap_or(u32::MAX),
    }
}
