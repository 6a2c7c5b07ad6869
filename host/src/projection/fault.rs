//! What is parked: which events of a batch go to the plugin, and which wait or are left out. No I/O.
//!
//! *Invariants:* once an event of a stream is parked, every later one of that stream is, in the order of the log, until
//! those before it are replayed or discarded. What is parked goes into the database with the flush whose checkpoint
//! passes it. A generation that has nothing parked or discarded pays nothing: no event is looked at.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use lamphouse_contract::packed;

use super::runner::bug;
use super::status::Stop;
use crate::core::clock::Clock;
use crate::core::limits::{FaultPolicy, OnFault};
use crate::core::{Class, EventBatch, EventId, Position};
use crate::plugin::{CallError, CallReport};
use crate::tables::{DeadLetter, Discard, GenerationRecord, LetterBook, LetterFlush};

/// An event as far as parking needs it.
#[derive(Clone, Debug)]
pub(crate) struct Parked<'e> {
    pub(crate) position: Position,
    pub(crate) event_id: EventId,
    pub(crate) stream_id: &'e str,
    pub(crate) event_type: &'e str,
}

/// What is to be done with an event that the plugin may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes to the plugin.
    Apply,
    /// Somebody decided to leave it out.
    Skip,
    /// It waits behind this position.
    Behind(Position),
}

/// A batch without what is parked or left out.
pub(crate) struct Sifted {
    /// What goes to the plugin.
    pub(crate) events: Arc<EventBatch>,
    /// The place in the whole batch at which the projection must stop, and why.
    pub(crate) halt: Option<(usize, Stop)>,
}

/// What one generation has parked and discarded, as its runner knows it.
pub(crate) struct Parking {
    policy: FaultPolicy,
    generation: GenerationRecord,
    /// By stream: its first parked position.
    streams: HashMap<Box<str>, Position>,
    events: u64,
    discarded: HashSet<EventId>,
    revision: u64,
    /// Parked since the last flush was sent.
    fresh: Vec<DeadLetter>,
}

impl Parking {
    pub(crate) fn new(
        policy: FaultPolicy,
        generation: &GenerationRecord,
        book: LetterBook,
        discards: &[Discard],
    ) -> Self {
        let streams = book.streams.into_iter();
        Self {
            policy,
            generation: generation.clone(),
            streams: streams
                .map(|(stream, first)| (stream.into_boxed_str(), first))
                .collect(),
            events: book.events,
            discarded: discards.iter().map(|discard| discard.event_id).collect(),
            revision: book.revision,
            fresh: Vec::new(),
        }
    }

    /// Parked events and their streams.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.events, self.streams.len() as u64)
    }

    /// Whether a fault is parked, and not stopped at.
    pub(crate) fn parks(&self, stop: &Stop) -> bool {
        self.policy.on_fault == OnFault::DeadLetter && stop.class == Class::Fault && stop.position.is_some()
    }

    /// The part of a batch from a place on that goes to the plugin; parks what waits behind another event.
    pub(crate) fn sift(&mut self, batch: &Arc<EventBatch>, from: usize) -> Sifted {
        let all = |events: EventBatch| Sifted {
            events: Arc::new(events),
            halt: None,
        };
        if self.streams.is_empty() && self.discarded.is_empty() {
            return match from {
                0 => Sifted {
                    events: batch.clone(),
                    halt: None,
                },
                from => all(batch.pick(from..batch.len())),
            };
        }
        let mut keep = Vec::with_capacity(batch.len() - from);
        for (place, event) in (from..).zip(packed::events(batch.packed(from..batch.len()))) {
            let event = match event {
                Ok(event) => event,
                Err(error) => return misread(batch, from, &error),
            };
            let parked = Parked {
                position: batch.position(place),
                event_id: batch.id(place),
                stream_id: event.stream_id,
                event_type: event.event_type,
            };
            match self.fate(&parked) {
                Fate::Apply => keep.push(place),
                Fate::Skip => {}
                // Siblings are parked as the one event that is stored.
                Fate::Behind(_) if place > 0 && batch.position(place - 1) == parked.position => {}
                Fate::Behind(first) => {
                    if let Err(stop) = self.park_behind(&parked, first) {
                        return Sifted {
                            events: Arc::new(batch.pick(keep.into_iter())),
                            halt: Some((place, stop)),
                        };
                    }
                }
            }
        }
        if keep.len() == batch.len() {
            return Sifted {
                events: batch.clone(),
                halt: None,
            };
        }
        all(batch.pick(keep.into_iter()))
    }

    /// Parks an event that failed, unless that is too much.
    pub(crate) fn park(&mut self, event: &Parked<'_>, fault: Stop) -> Result<(), Stop> {
        let streams = self.streams.len() as u64;
        if streams >= self.policy.parked_streams_max {
            let limit = format!("{streams} streams are parked, which is [projection] parked_streams_max");
            return Err(self.full(event, &limit, Some(fault)));
        }
        if let Some(limit) = self.events_limit() {
            return Err(self.full(event, &limit, Some(fault)));
        }
        self.streams.insert(event.stream_id.into(), event.position);
        tracing::warn!(
            projection = %self.generation.projection, generation = %self.generation.id, position = event.position.0,
            stream = event.stream_id, message = %fault.message,
            "An event was parked as a dead letter; later events of its stream wait behind it"
        );
        self.add(event, None, fault);
        Ok(())
    }

    /// An event that did not come as far as the plugin. Ok: it is parked or left out; else why the projection stops.
    pub(crate) fn take_unlifted(&mut self, event: &Parked<'_>, fault: Stop) -> Result<(), Stop> {
        match self.fate(event) {
            Fate::Skip => Ok(()),
            Fate::Behind(first) => self.park_behind(event, first),
            Fate::Apply if self.parks(&fault) => self.park(event, fault),
            Fate::Apply => Err(fault),
        }
    }

    /// Forgets what was parked at or after a position, and is not flushed: the log is read again from there.
    pub(crate) fn forget_from(&mut self, position: Position) {
        let before = self.fresh.len();
        self.fresh.retain(|letter| letter.position < position);
        self.events -= (before - self.fresh.len()) as u64;
    }

    /// What the next flush has to say of dead letters; None while there are none.
    pub(crate) fn take_flush(&mut self) -> Option<Box<LetterFlush>> {
        if self.streams.is_empty() {
            return None;
        }
        Some(Box::new(LetterFlush {
            revision: self.revision,
            park: std::mem::take(&mut self.fresh),
            ..LetterFlush::default()
        }))
    }

    fn fate(&self, event: &Parked<'_>) -> Fate {
        if self.discarded.contains(&event.event_id) {
            return Fate::Skip;
        }
        match self.streams.get(event.stream_id) {
            Some(first) => Fate::Behind(*first),
            None => Fate::Apply,
        }
    }

    fn park_behind(&mut self, event: &Parked<'_>, first: Position) -> Result<(), Stop> {
        if let Some(limit) = self.events_limit() {
            return Err(self.full(event, &limit, None));
        }
        let waits = Stop {
            class: Class::Fault,
            attempts: 0,
            ..bug(String::new())
        };
        self.add(event, Some(first), waits);
        Ok(())
    }

    fn events_limit(&self) -> Option<String> {
        (self.events >= self.policy.parked_events_max).then(|| {
            format!(
                "{} events are parked, which is [projection] parked_events_max",
                self.events
            )
        })
    }

    fn full(&self, event: &Parked<'_>, limit: &str, fault: Option<Stop>) -> Stop {
        let name = &self.generation.projection;
        let what = match &fault {
            Some(fault) => format!("{}; it would be parked", fault.message),
            None => format!(
                "the event at position {} (event {}, stream {}) would be parked behind an earlier one of its stream",
                event.position, event.event_id, event.stream_id
            ),
        };
        let message = format!(
            "{what}, but {limit}: see `lamphouse dead-letters list {name}`, retry or discard some of them and \
             `lamphouse resume {name}`, deploy a mended version, or raise the key and start the host again"
        );
        Stop {
            class: Class::Fault,
            message,
            position: Some(event.position),
            event_id: Some(event.event_id),
            ..fault.unwrap_or_else(|| bug(String::new()))
        }
    }

    fn add(&mut self, event: &Parked<'_>, behind: Option<Position>, fault: Stop) {
        let now = Clock::system().now_micros();
        self.events += 1;
        self.fresh.push(DeadLetter {
            generation: self.generation.id,
            projection: self.generation.projection.clone(),
            position: event.position,
            part: fault.part,
            event_id: event.event_id,
            stream_id: event.stream_id.to_owned(),
            event_type: event.event_type.to_owned(),
            behind,
            message: fault.message,
            trace: fault.trace,
            log: serde_json::to_value(&fault.log).unwrap_or_default(),
            digest: self.generation.digest,
            version: self.generation.version.clone(),
            attempts: u64::from(fault.attempts),
            parked_at: now,
            tried_at: now,
        });
    }
}

/// A log reader or upcaster of ours wrote the batch.
fn misread(batch: &EventBatch, from: usize, error: &packed::PackedError) -> Sifted {
    let why = format!("a batch of events is not what PACKED.md says: {}", error.0);
    Sifted {
        events: Arc::new(batch.pick(from..from)),
        halt: Some((from, bug(why))),
    }
}

/// The report of a call that cannot be got past.
pub(super) fn failed(
    generation: &GenerationRecord,
    batch: &EventBatch,
    range: &Range<usize>,
    error: CallError,
    report: CallReport,
) -> Stop {
    let index = range.start + error.index.map_or(0, |index| index as usize).min(range.len() - 1);
    let (position, id) = (batch.position(index), batch.id(index));
    let part = error
        .index
        .and_then(|_| packed::events(batch.packed(index..index + 1)).next()?.ok())
        .map(|event| event.part);
    let is_one = batch.middle(range).is_none();
    let place = if is_one {
        format!("at position {position} (event {id})")
    } else {
        format!(
            "in positions {} to {}",
            batch.position(range.start),
            batch.position(range.end - 1)
        )
    };
    let message = format!(
        "plugin {} {} ({}) failed {place}: {}",
        generation.projection,
        generation.version,
        generation.digest.short(),
        error.message,
    );
    let attempts = if error.class == Class::TimeLimit { 2 } else { 1 };
    Stop {
        class: error.class,
        message,
        position: Some(position),
        event_id: is_one.then_some(id),
        part,
        trace: error.trace,
        log: report.log,
        attempts,
    }
}
