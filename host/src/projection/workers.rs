//! Who projects a batch: one worker, or several of which each has its share of the streams.
//!
//! A projector that declares `partition = stream` keeps each row for one stream, whose id opens the row's key. So the
//! streams can be dealt out: each worker has its own rows and its own calls, and no row is another's. What they made is
//! written together, by one flush with one checkpoint.
//!
//! They work in one of two ways. *Together*: a call is dealt out, and all wait for all at its end; so a failure can be
//! undone, halved and parked. *Ahead*: each worker has a queue of its own and waits for nobody; a flush goes through the
//! queues as a mark, so that what it writes is all that was dealt before it and nothing after. *Invariants:* who is
//! ahead never undoes: after any failure what was not flushed is thrown away, and done again together.

mod ahead;
mod deal;
mod merge;

use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use foldhash::fast::FixedState;
use lamphouse_contract::Descriptor;

use self::ahead::Ahead;
pub(crate) use self::ahead::{Hands, Heard, News};
use self::deal::Share;
use super::profile::RowCounts;
use super::rows::Rows;
use crate::core::{Class, EventBatch};
use crate::plugin::{Call, CallError, CallReport, Plugin};
use crate::tables::TableFlush;

/// Fewest events that are worth a thread of their own; starting one costs as much as projecting a few dozen.
const EVENTS_PER_THREAD_MIN: usize = 100;

/// The workers of one generation; at least one.
pub(crate) struct Workers {
    descriptor: Arc<Descriptor>,
    /// Each worker's rows; None only while a call has them, or all of them while the workers are ahead.
    rows: Vec<Option<Rows>>,
    hasher: FixedState,
    ahead: Option<Ahead>,
    /// What workers that are ahead have to tell; nothing ever while they work together.
    news: Receiver<News>,
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
            ahead: None,
            news: crossbeam_channel::never(),
        }
    }

    /// Has them work ahead, each on a thread of its own, until [`Self::gather`]. One alone stays as it is.
    ///
    /// # Errors
    /// When a thread cannot be started; the rows are gone then.
    pub(crate) fn go_ahead(&mut self, hands: Hands) -> std::io::Result<()> {
        if self.rows.len() < 2 {
            return Ok(());
        }
        let rows = self.rows.iter_mut().map(|rows| {
            rows.take()
                .expect("invariant: the rows are away only within a call")
        });
        let (ahead, news) = Ahead::start(hands, rows.collect())?;
        self.ahead = Some(ahead);
        self.news = news;
        Ok(())
    }

    /// Whether they work ahead.
    pub(crate) fn are_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// To be given to [`Self::heard`].
    pub(crate) fn news(&self) -> &Receiver<News> {
        &self.news
    }

    /// Takes in what a worker has to tell.
    pub(crate) fn heard(&mut self, news: News) -> Heard {
        match &mut self.ahead {
            Some(ahead) => match ahead.heard(news) {
                Heard::Parts(parts) => Heard::Flush(merge::merged(&self.descriptor, parts)),
                heard => heard,
            },
            None => Heard::Nothing,
        }
    }

    /// Whether more can be dealt to workers that are ahead.
    pub(crate) fn have_room(&self) -> bool {
        self.ahead.as_ref().is_none_or(Ahead::has_room)
    }

    /// Deals events to workers that are ahead, and does not wait for what comes of them.
    pub(crate) fn deal_ahead(&mut self, batch: &Arc<EventBatch>) {
        let shares = deal::by_stream(&self.hasher, self.rows.len(), batch, 0..batch.len());
        if let Some(ahead) = &mut self.ahead {
            ahead.deal(shares);
        }
    }

    /// Has workers that are ahead come together: waits until each has done all that was dealt to it. Gives the flush
    /// that was on its way through their queues, if any.
    ///
    /// # Errors
    /// Why a worker failed, or that `patience` was over; their rows are gone then.
    pub(crate) fn gather(
        &mut self,
        patience: impl FnMut() -> bool,
    ) -> Result<Option<Vec<TableFlush>>, String> {
        let Some(ahead) = self.ahead.take() else {
            return Ok(None);
        };
        let (rows, parts) = ahead.gather(&self.news, patience)?;
        self.rows = rows.into_iter().map(Some).collect();
        self.news = crossbeam_channel::never();
        Ok(parts.map(|parts| merge::merged(&self.descriptor, parts)))
    }

    fn rows(&self) -> impl Iterator<Item = &Rows> {
        self.rows.iter().flatten()
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut Rows> {
        self.rows.iter_mut().flatten()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.ahead {
            Some(ahead) => ahead.bytes(),
            None => self.rows().map(Rows::bytes).sum(),
        }
    }

    /// Whether there is more in memory than that, and it is not being evicted just now.
    pub(crate) fn are_over(&self, bytes_max: usize) -> bool {
        !self.ahead.as_ref().is_some_and(Ahead::is_evicting) && self.bytes() > bytes_max
    }

    /// Whether every table is whole in memory.
    pub(crate) fn are_whole(&self) -> bool {
        match &self.ahead {
            Some(ahead) => ahead.is_whole(),
            None => self.rows().all(Rows::are_whole),
        }
    }

    /// Every flush taken so far is in the database. Workers that are ahead evict what they have over their share.
    pub(crate) fn committed(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.committed();
        }
        self.rows_mut().for_each(Rows::committed);
    }

    /// What the rows went through since this was last asked; workers that are ahead say it themselves.
    pub(crate) fn take_counts(&mut self) -> RowCounts {
        let mut all = RowCounts::default();
        for counts in self.rows_mut().map(Rows::take_counts) {
            all.changes += counts.changes;
            all.hits += counts.hits;
            all.misses += counts.misses;
        }
        all
    }

    /// Evicts until the budget is met or only uncommitted rows are left. Each worker gives what it has over its share;
    /// those that are ahead do so by themselves.
    pub(crate) fn evict(&mut self, bytes_max: usize) {
        if !self.are_ahead() && self.bytes() > bytes_max {
            let each = bytes_max / self.rows.len();
            self.rows_mut().for_each(|rows| rows.evict(each));
        }
    }

    /// Takes what changed since the last flush. None: the workers are ahead, and it comes as [`Heard::Flush`].
    pub(crate) fn take_flush(&mut self) -> Option<Vec<TableFlush>> {
        if let Some(ahead) = &mut self.ahead {
            ahead.mark();
            return None;
        }
        let parts: Vec<TableFlush> = self.rows_mut().flat_map(Rows::take_flush).collect();
        Some(match self.rows.len() {
            1 => parts,
            _ => merge::merged(&self.descriptor, parts),
        })
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
            count => deal::call(&self.hasher, count, call),
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
