//! Applying batches in memory: calls of the plugin, tried again or halved where they fail, and what is parked of them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lamphouse_contract::packed;

use super::Pipeline;
use crate::core::{Class, EventBatch};
use crate::plugin::{Call, CallError, CallReport};
use crate::projection::backoff::Backoff;
use crate::projection::fault::{Parked, failed};
use crate::projection::reading::Unlifted;
use crate::projection::report::projector_said;
use crate::projection::runner::bug;
use crate::projection::status::{Retry, Stop, StopReason};
use crate::tables::Checkpoint;

/// A deadline that was missed is tried once more with this many times the time.
const SECOND_DEADLINE_FACTOR: u64 = 10;

/// Why a batch stopped, and how many of its events are applied.
pub(super) type Halt = (Box<StopReason>, usize);

enum Failed {
    Told,
    Call(CallError, CallReport),
}

impl Pipeline<'_> {
    /// Applies a batch, but for what is parked or left out. On a stop, gives how many events of the batch are dealt with.
    pub(super) fn apply_or_park(&mut self, batch: &Arc<EventBatch>) -> Result<(), Halt> {
        let mut from = 0;
        loop {
            let sifted = self.parking.sift(batch, from);
            let applied = match sifted.events.len() {
                0 => Ok(()),
                events if self.workers.are_ahead() => {
                    self.workers.deal_ahead(&sifted.events);
                    self.applied += events as u64;
                    Ok(())
                }
                events => {
                    let applied = self.apply(&sifted.events, 0..events, true);
                    self.applied += applied.as_ref().map_or_else(|(_, done)| *done, |()| events) as u64;
                    applied
                }
            };
            let (stop, done) = match (applied, sifted.halt) {
                (Ok(()), None) => return Ok(()),
                (Ok(()), Some((place, stop))) => {
                    return Err((Box::new(StopReason::Fault(stop)), place));
                }
                (Err(failed), _) => failed,
            };
            let place = batch.place_of(sifted.events.position(done));
            self.parking.forget_from(batch.position(place));
            match *stop {
                StopReason::Fault(fault) if self.parking.parks(&fault) => self
                    .park(batch, place, fault)
                    .map_err(|full| (Box::new(StopReason::Fault(full)), place))?,
                other => return Err((Box::new(other), place)),
            }
            from = batch.next_stored(place);
        }
    }

    /// Parks the event at a place of a batch.
    fn park(&mut self, batch: &EventBatch, place: usize, fault: Stop) -> Result<(), Stop> {
        let failed = fault.part.and_then(|part| {
            let siblings = place..batch.next_stored(place);
            let mut events = packed::events(batch.packed(siblings)).flatten();
            events.find(|event| event.part == part)
        });
        let first = packed::events(batch.packed(place..place + 1)).next();
        let Some(Ok(first)) = first else {
            return Err(bug("a batch of events is not what PACKED.md says".to_owned()));
        };
        let event = Parked {
            position: batch.position(place),
            event_id: batch.id(place),
            stream_id: first.stream_id,
            event_type: failed.as_ref().unwrap_or(&first).event_type,
        };
        self.parking.park(&event, fault)
    }

    /// An event that upcasters could not lift.
    pub(super) fn take_unlifted(&mut self, unlifted: Unlifted) {
        let position = unlifted.position;
        let event = Parked {
            position,
            event_id: unlifted.event_id,
            stream_id: &unlifted.stream_id,
            event_type: &unlifted.event_type,
        };
        match self.parking.take_unlifted(&event, unlifted.fault) {
            Ok(()) => self.reach(
                Checkpoint {
                    position,
                    event_id: Some(unlifted.event_id),
                    log: Some(self.log),
                },
                1,
                false,
            ),
            Err(stop) => self.ending = Some(StopReason::Fault(stop)),
        }
    }

    /// Applies some events; a batch that fails is halved down to the event that fails. On a stop, gives how many
    /// events of the batch are applied. A deadline that was missed is tried again with a longer one, if `patient` or
    /// where one event is left: halves of a batch that has had its second chance need none, and would take hours.
    fn apply(&mut self, batch: &Arc<EventBatch>, range: Range<usize>, patient: bool) -> Result<(), Halt> {
        let middle = batch.middle(&range);
        let (error, report) = match self.call(batch, range.clone(), patient || middle.is_none()) {
            Ok(()) => return Ok(()),
            Err(Failed::Told) => return Err((Box::new(StopReason::Told), range.start)),
            Err(Failed::Call(error, report)) => (error, report),
        };
        if matches!(error.class, Class::Fault | Class::TimeLimit)
            && let Some(middle) = middle
        {
            let patient = patient && error.class == Class::Fault;
            self.apply(batch, range.start..middle, patient)?;
            return self.apply(batch, middle..range.end, patient);
        }
        Err((
            Box::new(StopReason::Fault(failed(
                &self.spec.generation,
                batch,
                &range,
                error,
                report,
            ))),
            range.start,
        ))
    }

    /// One call, tried again while the database is away, and once more with a longer deadline if `patient`.
    fn call(&mut self, batch: &Arc<EventBatch>, range: Range<usize>, patient: bool) -> Result<(), Failed> {
        let mut backoff = Backoff::default();
        let mut deadline_factor = 1;
        loop {
            let call = Call {
                batch: batch.clone(),
                range: range.clone(),
                deadline_factor,
                stop: self.stop.clone(),
            };
            let first = batch.position(range.start).0;
            let (projection, generation) = self.status.names();
            let events = range.len();
            let span = tracing::debug_span!("project", projection, generation, first, events).entered();
            self.status.set_call(0, Some(Instant::now()));
            let (report, result) = self.workers.project(&self.spec.plugin, call);
            self.status.set_call(0, None);
            drop(span);
            let projected = if result.is_ok() { range.len() } else { 0 };
            let profiler = self.status.profiler();
            profiler.called(projected, report.nanos, report.rows_nanos);
            profiler.rows(self.workers.take_counts());
            self.note(batch, &range, &report);
            let error = match result {
                Ok(()) => {
                    if backoff.tries() > 0 {
                        self.status.set_retrying(None);
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if self.stop.load(Ordering::Acquire) {
                return Err(Failed::Told);
            }
            match error.class {
                Class::Retryable => {
                    let wait = backoff.next();
                    self.status.set_retrying(Some(Retry {
                        message: format!("the read tables cannot be read: {}", error.message),
                        attempts: backoff.tries(),
                        next: Instant::now() + wait,
                    }));
                    let until = Instant::now() + wait;
                    while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
                        std::thread::sleep(Duration::from_millis(10).min(wait));
                    }
                }
                Class::TimeLimit if patient && deadline_factor == 1 => {
                    deadline_factor = SECOND_DEADLINE_FACTOR;
                }
                _ => return Err(Failed::Call(error, report)),
            }
        }
    }

    /// Passes the guest's log lines on.
    fn note(&self, batch: &EventBatch, range: &Range<usize>, report: &CallReport) {
        if !report.log.is_empty() {
            self.status.add_log(&report.log);
        }
        projector_said(&self.spec.generation, batch, range, report);
    }
}
