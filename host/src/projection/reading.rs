//! The reader: takes the head, reads up to it, hands batches on.
//!
//! It has a thread of its own, so that events are read while others are projected. At the head that thread would only
//! wake the projecting one for each event; so a live projection's reader goes to the projecting thread there, and comes
//! back when it falls behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use lamphouse_contract::fields::Plan;

use super::backoff::Backoff;
use super::status::{Retry, RunnerStatus, Stop};
use super::tail::Follower;
use super::upcasting::Upcasting;
use crate::core::limits::PipelineLimits;
use crate::core::{Class, EventBatch, EventFilter, EventId, Position};
use crate::log::{EventLog, Head, LogError, LogReader};
use crate::tables::Checkpoint;

/// How long the reader sleeps when nobody wakes it; a lost wake-up costs no more than this.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// Batches that were handed on and may be used again; the queues hold fewer.
const BATCHES_KEPT_MAX: usize = 16;

/// A message from the reader to the projecting thread.
pub(crate) enum Read {
    /// Events, and whether the head was reached with them.
    Batch(Arc<EventBatch>, bool),
    /// There is nothing more for now, and the projection is live: who projects may as well read.
    Level(Box<Reader>),
    /// The log is not the one that was followed; says why.
    Diverged(String),
    /// The log cannot be read for a reason that is ours.
    Broken(String),
    /// The event after those that came cannot be lifted; the ones behind it come all the same.
    Unlifted(Box<Unlifted>),
    /// The events after those that came cannot be lifted, and it is not one event's fault.
    Faulted(Box<Stop>),
}

/// An event that upcasters could not lift.
pub(crate) struct Unlifted {
    pub(crate) position: Position,
    pub(crate) event_id: EventId,
    pub(crate) stream_id: String,
    pub(crate) event_type: String,
    pub(crate) fault: Stop,
}

/// What the reader needs.
pub(crate) struct Reading {
    pub(crate) log: Arc<dyn EventLog>,
    /// The end of the log, which others read too.
    pub(crate) tail: Follower,
    /// What is read from the log.
    pub(crate) filter: EventFilter,
    /// What the projector declares of its events' JSON.
    pub(crate) fields: Option<Arc<Plan>>,
    /// None where no upcaster concerns the projection.
    pub(crate) upcasting: Option<Upcasting>,
    pub(crate) from: Checkpoint,
    pub(crate) limits: PipelineLimits,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) status: Arc<RunnerStatus>,
    pub(crate) to: Sender<Read>,
}

/// Reads on from where it is, in whatever thread has it.
pub(crate) struct Reader {
    reading: Reading,
    checkpoint: Checkpoint,
    source: Source,
    /// Whether the event at the checkpoint was looked up since the connection was made.
    verified: bool,
    announced: bool,
}

impl Reader {
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            checkpoint: reading.from,
            reading,
            source: Source::default(),
            verified: false,
            announced: false,
        }
    }

    /// Reads until told to stop, or until nobody listens. Whoever gets it by [`Read::Level`] gives it `back` to go on.
    pub(crate) fn run(self, back: &Receiver<Box<Self>>) {
        let mut reader = Box::new(self);
        let mut backoff = Backoff::default();
        while !reader.reading.stopped() {
            let seen = reader.reading.log.signal().seen();
            match reader.step() {
                Ok(Step::More) => {}
                Ok(Step::AtHead) => {
                    reader.source.batches.clear();
                    if reader.reading.is_for_who_projects() {
                        let to = reader.reading.to.clone();
                        // Where nobody listens any more, nobody gives it back either.
                        let _ = to.send(Read::Level(reader));
                        drop(to);
                        reader = match back.recv() {
                            Ok(reader) => reader,
                            Err(_) => return,
                        };
                    } else {
                        reader.reading.log.signal().wait(seen, POLL);
                    }
                }
                Ok(Step::Over) => return,
                Err(error) if error.class() == Class::Retryable => {
                    reader.source.reader = None;
                    reader.verified = false;
                    let wait = backoff.next();
                    reader.reading.status.set_retrying(Some(Retry {
                        message: format!("the event log cannot be read: {error}"),
                        attempts: backoff.tries(),
                        next: Instant::now() + wait,
                    }));
                    reader.reading.sleep(wait);
                    continue;
                }
                Err(error) => {
                    let _ = reader
                        .reading
                        .to
                        .send(Read::Broken(format!("the event log cannot be read: {error}")));
                    return;
                }
            }
            if backoff.tries() > 0 {
                backoff = Backoff::default();
                reader.reading.status.set_retrying(None);
            }
        }
    }

    /// Reads once. What comes is sent: without upcasters one message at most.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn step(&mut self) -> Result<Step, LogError> {
        let Self {
            reading,
            checkpoint,
            source,
            verified,
            announced,
        } = self;
        let seen = reading.log.signal().seen();
        let looked = Instant::now();
        let (head, early) = reading.look(seen, checkpoint, source, *announced && *verified)?;
        reading.status.set_head(head.position, head.recorded_at);
        if !*verified {
            if let Some(why) = diverged(&*reading.log, checkpoint, head)? {
                let _ = reading.to.send(Read::Diverged(why));
                return Ok(Step::Over);
            }
            *verified = true;
        }
        if head.position < checkpoint.position {
            // The log went back while we were connected; the look-up says how.
            *verified = false;
            return Ok(Step::More);
        }
        if head.position == checkpoint.position && *announced {
            return Ok(Step::AtHead);
        }
        let batch = if head.position > checkpoint.position {
            let began = if early.is_some() { looked } else { Instant::now() };
            let batch = match early {
                Some(batch) => source.keep(Arc::new(batch)),
                None => reading.read(checkpoint.position, head, source)?,
            };
            reading
                .status
                .profiler()
                .read(batch.len(), began.elapsed(), batch.extracting());
            if batch.through <= checkpoint.position {
                return Err(LogError::Internal(format!(
                    "a read after position {} up to {} came no further",
                    checkpoint.position, head.position
                )));
            }
            batch
        } else {
            let mut nothing = EventBatch::default();
            nothing.through = checkpoint.position;
            nothing.through_id = checkpoint.event_id;
            Arc::new(nothing)
        };
        checkpoint.position = batch.through;
        checkpoint.event_id = batch.through_id;
        let at_head = batch.through == head.position;
        *announced = at_head;
        if let Some(upcasting) = &reading.upcasting {
            return Ok(upcasting.pass_on(reading, batch, at_head));
        }
        match reading.to.send(Read::Batch(batch, at_head)) {
            Ok(()) => Ok(Step::More),
            Err(_) => Ok(Step::Over),
        }
    }
}

impl Reading {
    /// Whether the projecting thread may read by itself while there is little to read. Upcasters take their time, and
    /// make of one batch as many messages as they like.
    fn is_for_who_projects(&self) -> bool {
        self.upcasting.is_none() && self.status.profiler().is_live()
    }

    /// The head, and where this reader is alone and was level, what came since, by one question.
    fn look(
        &self,
        seen: u64,
        checkpoint: &Checkpoint,
        source: &mut Source,
        was_level: bool,
    ) -> Result<(Head, Option<EventBatch>), LogError> {
        let (events_max, bytes_max) = self.sizes();
        if was_level && !self.tail.is_shared() {
            let mut batch = source.done_with().unwrap_or_else(|| self.new_batch());
            if let Some(reader) = &mut source.reader {
                let (projection, generation) = self.status.names();
                let after = checkpoint.position.0;
                let _span = tracing::debug_span!("read", projection, generation, after).entered();
                let head = reader.read_to_head(checkpoint.position, events_max, bytes_max, &mut batch)?;
                if let Some(head) = head {
                    return Ok((head, Some(batch)));
                }
            }
        }
        let head = self.tail.head(&*self.log, seen, events_max, bytes_max)?;
        Ok((head, None))
    }

    fn sizes(&self) -> (usize, usize) {
        (
            usize::try_from(self.limits.batch_events_max).unwrap_or(usize::MAX),
            usize::try_from(self.limits.batch_bytes_max).unwrap_or(usize::MAX),
        )
    }

    fn new_batch(&self) -> EventBatch {
        // Upcasters take whole events; what comes out of them has its fields taken out then.
        EventBatch::with_fields(self.fields.clone().filter(|_| self.upcasting.is_none())).lean(&self.filter)
    }

    /// The next events that are wanted.
    fn read(&self, after: Position, head: Head, source: &mut Source) -> Result<Arc<EventBatch>, LogError> {
        let (events_max, bytes_max) = self.sizes();
        let (projection, generation) = self.status.names();
        let _span = tracing::debug_span!("read", projection, generation, after = after.0).entered();
        let shared = self
            .tail
            .read(&*self.log, after, head, &self.filter, events_max, bytes_max)?;
        if let Some(batch) = shared {
            return Ok(batch);
        }
        let mut batch = source.done_with().unwrap_or_else(|| self.new_batch());
        let reader = match &mut source.reader {
            Some(reader) => reader,
            none => none.insert(self.log.reader(self.filter.clone())?),
        };
        reader.read(after, head, events_max, bytes_max, &mut batch)?;
        Ok(source.keep(Arc::new(batch)))
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopped() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10).min(time));
        }
    }
}

/// Where events come from that no other projection is at, and the memory that they come in.
#[derive(Default)]
struct Source {
    reader: Option<Box<dyn LogReader>>,
    /// Batches that were handed on, the oldest first: memory that is used again costs no page faults, which were a
    /// tenth of the reader's time.
    batches: VecDeque<Arc<EventBatch>>,
}

impl Source {
    fn keep(&mut self, batch: Arc<EventBatch>) -> Arc<EventBatch> {
        // More are not under way at once, unless one of them is held for long.
        if self.batches.len() == BATCHES_KEPT_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(batch.clone());
        batch
    }

    /// The oldest batch, if all others are done with it.
    fn done_with(&mut self) -> Option<EventBatch> {
        let oldest = self.batches.pop_front()?;
        Arc::try_unwrap(oldest)
            .map_err(|busy| self.batches.push_front(busy))
            .ok()
    }
}

/// What a step came to.
pub(crate) enum Step {
    /// It was one forward.
    More,
    /// There is nothing to read.
    AtHead,
    /// There is nobody to read for.
    Over,
}

/// Says why this log is not the one that the checkpoint was made from, if it is not.
pub(crate) fn diverged(
    log: &dyn EventLog,
    checkpoint: &Checkpoint,
    head: Head,
) -> Result<Option<String>, LogError> {
    if checkpoint.position == Position::START {
        return Ok(None);
    }
    let advice = "the tables are left as they are; put the right log back, or build them anew from this log with \
                  `lamphouse rebuild`";
    if let Some(followed) = checkpoint.log
        && followed != log.id()
    {
        return Ok(Some(format!(
            "the tables follow log {followed}, but this log is {}: {advice}",
            log.id()
        )));
    }
    if head.position < checkpoint.position {
        return Ok(Some(format!(
            "the log ends at position {}, but the tables are at position {}: the log was restored or cut; {advice}",
            head.position, checkpoint.position
        )));
    }
    let there = log.event(checkpoint.position)?.map(|event| event.id);
    if checkpoint.event_id.is_some() && there != checkpoint.event_id {
        let (Some(expected), there) = (
            checkpoint.event_id,
            there.map_or("no event".to_owned(), |id| id.to_string()),
        ) else {
            return Ok(None);
        };
        return Ok(Some(format!(
            "the event at position {} is {there}, but the tables followed {expected}: the log was replaced; {advice}",
            checkpoint.position
        )));
    }
    Ok(None)
}
