//! The end of the log, read once for all who follow it.
//!
//! Ten live projections would read every new event ten times. Here the first that asks reads it, whatever its type, and
//! the others find it in memory; each then takes what it subscribes to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lamphouse_contract::packed;
use parking_lot::Mutex;

use crate::core::{EventBatch, EventFilter, Position};
use crate::log::{EventLog, Head, LogError, LogReader};

/// Who is further behind than so many positions reads by itself, in large batches and only what it subscribes to.
const POSITIONS_MAX: u64 = 2_000;
/// Bytes of events that are kept. Higher would serve followers that are further apart; lower would save memory.
const BYTES_MAX: usize = 4 << 20;
/// Longest that a head which was looked up for one is good for another, beside the signal that it has moved. A lost
/// signal costs no more than this.
const HEAD_AGE_MAX: Duration = Duration::from_millis(20);

/// The end of a log, for the readers of one host.
#[derive(Default)]
pub struct Tail {
    kept: Mutex<Kept>,
    readers: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    /// The head, when it was looked up, and the signal's count before that.
    head: Option<(u64, Instant, Head)>,
    reader: Option<Box<dyn LogReader>>,
    /// Batches of all events, one behind the other: after which position each begins.
    batches: VecDeque<(Position, Arc<EventBatch>)>,
    bytes: usize,
    /// Reads of the log.
    #[cfg(test)]
    reads: usize,
}

/// A reader's place at the tail, until it is dropped.
pub(crate) struct Follower(Arc<Tail>);

impl Tail {
    /// Says that one more reader works on the log.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        self.readers.fetch_add(1, Ordering::AcqRel);
        Follower(self.clone())
    }

    #[cfg(test)]
    pub(crate) fn reads_for_test(&self) -> usize {
        self.kept.lock().reads
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Follower {
    /// Whether somebody else reads the same log: alone, a reader of its own is as good, and reads less.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.readers.load(Ordering::Acquire) > 1
    }

    /// The head. `seen` is the count of the log's signal before this question. The events of a batch at most may be read
    /// with it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn head(
        &self,
        log: &dyn EventLog,
        seen: u64,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Head, LogError> {
        if !self.is_shared() {
            return log.head();
        }
        let mut kept = self.0.kept.lock();
        let through = kept.through();
        if let Some((at, when, head)) = kept.head
            && at == seen
            && when.elapsed() < HEAD_AGE_MAX
            && through <= head.position
        {
            return Ok(head);
        }
        let head = match kept.read_to_head(through, events_max, bytes_max)? {
            Some(head) => head,
            None => log.head()?,
        };
        if head.position < through {
            // The log went back: it is another one.
            kept.forget();
        }
        kept.head = Some((seen, Instant::now(), head));
        Ok(head)
    }

    /// The events after a position up to `head` that a filter wants, if the tail has them or this is the one to read
    /// them. None: read them yourself.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn read(
        &self,
        log: &dyn EventLog,
        after: Position,
        head: Head,
        filter: &EventFilter,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Arc<EventBatch>>, LogError> {
        if !self.is_shared() || head.position.0.saturating_sub(after.0) > POSITIONS_MAX {
            return Ok(None);
        }
        let mut kept = self.0.kept.lock();
        let Some(batch) = kept.batch(log, after, head, events_max, bytes_max)? else {
            return Ok(None);
        };
        drop(kept);
        Ok(Some(wanted(&batch, after, filter)))
    }
}

impl Kept {
    /// A batch in which the events after a position are, or begin.
    fn batch(
        &mut self,
        log: &dyn EventLog,
        after: Position,
        head: Head,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Arc<EventBatch>>, LogError> {
        let has = |(begins, batch): &&(Position, Arc<EventBatch>)| *begins <= after && after < batch.through;
        if let Some((_, batch)) = self.batches.iter().rev().find(has) {
            return Ok(Some(batch.clone()));
        }
        match self.batches.back() {
            Some((_, last)) if last.through > after => return Ok(None),
            // A gap: whoever was between has read by itself.
            Some((_, last)) if last.through < after => self.forget(),
            _ => {}
        }
        let mut batch = EventBatch::default();
        let read = match &mut self.reader {
            Some(reader) => reader.read(after, head, events_max, bytes_max, &mut batch),
            None => log.reader(EventFilter::everything()).and_then(|mut reader| {
                reader.read(after, head, events_max, bytes_max, &mut batch)?;
                self.reader = Some(reader);
                Ok(())
            }),
        };
        if let Err(error) = read {
            // Whatever is wrong, the next one begins anew.
            self.reader = None;
            self.forget();
            return Err(error);
        }
        let batch = Arc::new(batch);
        self.keep(after, batch.clone());
        Ok(Some(batch))
    }

    /// The head and the events up to it by one question, where the log has one; what comes is kept.
    fn read_to_head(
        &mut self,
        through: Position,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Head>, LogError> {
        let Some(reader) = self.reader.as_mut().filter(|_| !self.batches.is_empty()) else {
            return Ok(None);
        };
        let mut batch = EventBatch::default();
        let head = match reader.read_to_head(through, events_max, bytes_max, &mut batch) {
            Ok(head) => head,
            Err(error) => {
                self.reader = None;
                return Err(error);
            }
        };
        if batch.through > through {
            self.keep(through, Arc::new(batch));
        }
        Ok(head)
    }

    fn keep(&mut self, after: Position, batch: Arc<EventBatch>) {
        #[cfg(test)]
        {
            self.reads += 1;
        }
        self.bytes += batch.bytes_len();
        self.batches.push_back((after, batch));
        while self.bytes > BYTES_MAX && self.batches.len() > 1 {
            if let Some((_, oldest)) = self.batches.pop_front() {
                self.bytes -= oldest.bytes_len();
            }
        }
    }

    /// How far what is kept reaches.
    fn through(&self) -> Position {
        self.batches
            .back()
            .map_or(Position::START, |(_, last)| last.through)
    }

    fn forget(&mut self) {
        self.batches.clear();
        self.bytes = 0;
        self.head = None;
    }
}

/// The events after a position that a filter wants; the same batch where these are all.
fn wanted(batch: &Arc<EventBatch>, after: Position, filter: &EventFilter) -> Arc<EventBatch> {
    let from = batch.place_of(Position(after.0 + 1));
    let events = packed::events(batch.packed(from..batch.len()));
    let places: Vec<usize> = (from..)
        .zip(events)
        .filter(|(_, event)| {
            // One that cannot be read is for its projector to complain about.
            event.as_ref().map_or(true, |event| {
                filter.matches(event.event_type, event.schema_version, event.stream_type)
            })
        })
        .map(|(place, _)| place)
        .collect();
    if places.len() == batch.len() {
        return batch.clone();
    }
    Arc::new(batch.pick(places.into_iter()))
}
