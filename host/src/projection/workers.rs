//! Who projects a batch: one worker, or several of which each has its share of the streams.
//!
//! A projector that declares `partition = stream` keeps each row for one stream, whose id opens the row's key. So the
//! streams can be dealt out: each worker has its own rows and its own calls, and no row is another's. What they made is
//! written together, by one flush with one checkpoint.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;
use lamphouse_contract::{Descriptor, packed, semantics};

use super::profile::RowCounts;
use super::rows::Rows;
use crate::core::Class;
use crate::plugin::{Call, CallError, CallReport, Plugin};
use crate::tables::TableFlush;

/// Fewest events that are worth a thread of their own; starting one costs as much as projecting a few dozen.
const EVENTS_PER_THREAD_MIN: usize = 100;

/// The workers of one generation; at least one.
pub(crate) struct Workers {
    descriptor: Arc<Descriptor>,
    /// Each worker's rows; None only while a call has them.
    rows: Vec<Option<Rows>>,
    hasher: FixedState,
}

/// A worker's part of some events.
struct Share {
    worker: usize,
    call: Call,
    /// Its events' places among all of them; None: it has them all.
    places: Option<Vec<usize>>,
}

/// What came of a share.
type Done = (Rows, CallReport, Result<(), CallError>);

impl Workers {
    /// One for each of these rows. More than one only for a projector that declares `partition = stream`.
    pub(crate) fn new(descriptor: &Arc<Descriptor>, rows: Vec<Rows>) -> Self {
        debug_assert!(!rows.is_empty(), "somebody must do it");
        debug_assert!(
            rows.len() == 1 || descriptor.is_partitioned_by_stream(),
            "rows are only dealt out by streams"
        );
        Self {
            descriptor: descriptor.clone(),
            rows: rows.into_iter().map(Some).collect(),
            hasher: FixedState::default(),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Rows> {
        self.rows.iter().flatten()
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut Rows> {
        self.rows.iter_mut().flatten()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.rows().map(Rows::bytes).sum()
    }

    /// Whether every table is whole in memory.
    pub(crate) fn are_whole(&self) -> bool {
        self.rows().all(Rows::are_whole)
    }

    /// Every flush taken so far is in the database.
    pub(crate) fn committed(&mut self) {
        self.rows_mut().for_each(Rows::committed);
    }

    /// What the rows went through since this was last asked.
    pub(crate) fn take_counts(&mut self) -> RowCounts {
        let mut all = RowCounts::default();
        for counts in self.rows_mut().map(Rows::take_counts) {
            all.changes += counts.changes;
            all.hits += counts.hits;
            all.misses += counts.misses;
        }
        all
    }

    /// Evicts until the budget is met or only uncommitted rows are left. Each worker gives what it has over its share.
    pub(crate) fn evict(&mut self, bytes_max: usize) {
        if self.bytes() > bytes_max {
            let each = bytes_max / self.rows.len();
            self.rows_mut().for_each(|rows| rows.evict(each));
        }
    }

    /// Takes what changed since the last flush.
    pub(crate) fn take_flush(&mut self) -> Vec<TableFlush> {
        let mut flushes: Vec<TableFlush> = self.rows_mut().flat_map(Rows::take_flush).collect();
        if self.rows.len() == 1 {
            return flushes;
        }
        flushes.sort_by_key(|flush| flush.table);
        let mut merged: Vec<TableFlush> = Vec::with_capacity(self.descriptor.tables.len());
        for mut flush in flushes {
            match merged.last_mut().filter(|last| last.table == flush.table) {
                Some(last) => {
                    last.inserts.append(&mut flush.inserts);
                    last.upserts.append(&mut flush.upserts);
                    last.removes.append(&mut flush.removes);
                }
                None => merged.push(flush),
            }
        }
        for flush in &mut merged {
            let schema = &self.descriptor.tables[flush.table];
            let ordered = |key: &[lamphouse_contract::Value]| {
                let mut bytes = Vec::with_capacity(32);
                semantics::ordered_key(key, &mut bytes);
                bytes
            };
            for rows in [&mut flush.inserts, &mut flush.upserts] {
                rows.sort_by_cached_key(|row| ordered(&semantics::key_of(schema, row)));
            }
            flush.removes.sort_by_cached_key(|key| ordered(key));
        }
        merged
    }

    /// Projects the events of a call, all or nothing: after an error, every worker's changes are undone. Gives what the
    /// guests left behind, with the times of all workers together, and of several errors the one that is to be heeded first.
    pub(crate) fn project(&mut self, plugin: &Plugin, call: Call) -> (CallReport, Result<(), CallError>) {
        let range = call.range.clone();
        let shares = match self.rows.len() {
            1 => vec![Share {
                worker: 0,
                call,
                places: None,
            }],
            _ => self.deal(call),
        };
        let taken: Vec<(Share, Rows)> = shares
            .into_iter()
            .map(|share| {
                let rows = self.rows[share.worker].take();
                (
                    share,
                    rows.expect("invariant: the rows are away only within a call"),
                )
            })
            .collect();
        let mut report = CallReport::default();
        let mut failed: Option<CallError> = None;
        let mut workers = Vec::with_capacity(taken.len());
        for (share, (rows, said, result)) in project_all(plugin, taken, range.len()) {
            workers.push(share.worker);
            self.rows[share.worker] = Some(rows);
            report.nanos += said.nanos;
            report.rows_nanos += said.rows_nanos;
            report.log_dropped += said.log_dropped;
            if let Err(error) = result {
                let error = of_all(error, share.places.as_deref(), &range);
                // The log of a failure is that of the call that failed.
                if failed.as_ref().is_none_or(|other| comes_first(&error, other)) {
                    report.log = said.log;
                    failed = Some(error);
                }
            } else if failed.is_none() {
                report.log.extend(said.log);
            }
        }
        for worker in workers {
            let rows = self.rows[worker].as_mut();
            let rows = rows.expect("invariant: the rows are back after a call");
            match failed {
                None => rows.keep_batch(),
                Some(_) => rows.undo_batch(),
            }
        }
        (report, failed.map_or(Ok(()), Err))
    }

    /// Deals a call's events out by their streams. Siblings are of one stream.
    fn deal(&self, call: Call) -> Vec<Share> {
        let Call {
            batch,
            range,
            deadline_factor,
            stop,
        } = call;
        let mut places: Vec<Vec<usize>> = self.rows.iter().map(|_| Vec::new()).collect();
        let events = packed::events(batch.packed(range.clone()));
        for (place, event) in range.zip(events) {
            // The guest's own reader will say what is wrong with one that cannot be read.
            let stream = event.as_ref().map_or("", |event| event.stream_id);
            let worker = self.hasher.hash_one(stream) % self.rows.len() as u64;
            places[worker as usize].push(place);
        }
        let shares = places.into_iter().enumerate();
        shares
            .filter(|(_, places)| !places.is_empty())
            .map(|(worker, places)| Share {
                worker,
                call: Call {
                    range: 0..places.len(),
                    batch: Arc::new(batch.pick(places.iter().copied())),
                    deadline_factor,
                    stop: stop.clone(),
                },
                places: Some(places),
            })
            .collect()
    }
}

/// Each share by its own worker; at the same time where there is enough to do.
fn project_all(plugin: &Plugin, taken: Vec<(Share, Rows)>, events: usize) -> Vec<(Share, Done)> {
    let project = |(share, mut rows): (Share, Rows)| {
        rows.begin(&share.call.batch, share.call.range.clone());
        let done = plugin.project(&share.call, rows);
        (share, done)
    };
    if taken.len() < 2 || events < EVENTS_PER_THREAD_MIN * taken.len() {
        return taken.into_iter().map(project).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = taken
            .into_iter()
            .map(|taken| scope.spawn(|| project(taken)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// The same error, with its event's place among all events of the call.
fn of_all(mut error: CallError, places: Option<&[usize]>, range: &Range<usize>) -> CallError {
    if let (Some(places), Some(index)) = (places, error.index) {
        let place = places.get(index as usize);
        error.index = place.and_then(|place| u32::try_from(place - range.start).ok());
    }
    error
}

/// What is over by itself comes before what is an event's fault; of two faults, the earlier event's.
fn comes_first(error: &CallError, other: &CallError) -> bool {
    let rank = |error: &CallError| match error.class {
        Class::Retryable => 0,
        Class::Bug => 1,
        Class::TimeLimit => 2,
        Class::Fault => 3,
    };
    (rank(error), error.index.unwrap_or(u32::MAX)) < (rank(other), other.index.unwrap_or(u32::MAX))
}
