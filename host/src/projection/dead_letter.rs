//! Parked events through the plugin again, while no runner moves their generation.
//!
//! *Invariants:* a stream's events are replayed in the order of the log, and no further than the first that fails. Each
//! leaves the dead letters in the transaction of its rows; the checkpoint stays where it is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use lamphouse_contract::packed;

use super::dry_run::Nothing;
use super::report::{projector_said, upcaster_said};
use super::rows::Rows;
use super::status::Stop;
use crate::core::clock::Clock;
use crate::core::{Class, EventBatch, EventFilter, Position, StoredEvent};
use crate::log::{EventLog, EventQuery, LogError};
use crate::plugin::{Call, Plugin};
use crate::tables::{
    DeadLetter, Flush, GenerationRecord, LetterBook, LetterFlush, LetterQuery, StoreError, TableFlush,
    TableReader, TableStore, TableWriter,
};
use crate::upcast::{Lifting, Said, Upcasters};

/// Dead letters that are read at once, and events of one transaction.
const PAGE_LETTERS: u64 = 500;
/// A deadline that was missed is tried once more with this many times the time.
const SECOND_DEADLINE_FACTOR: u64 = 10;

/// What to replay, and through what.
pub struct Replay {
    /// Where the events are.
    pub log: Arc<dyn EventLog>,
    /// Where the rows and the dead letters are.
    pub store: Arc<dyn TableStore>,
    /// The generation that parked them.
    pub generation: GenerationRecord,
    /// Its code.
    pub plugin: Arc<Plugin>,
    /// What its events go through first.
    pub upcasters: Option<Arc<Upcasters>>,
    /// Only this stream.
    pub stream_id: Option<String>,
    /// Whether the projection has to be marked: its rows depend on the order of events of different streams.
    pub reorders: bool,
    /// Ends it early, between two events.
    pub until: Instant,
}

/// What came of a replay.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Events that are in the tables now.
    pub events: u64,
    /// Per stream that still has parked events: the first of them, which failed, with its new message.
    pub failed: Vec<DeadLetter>,
    /// In a rehearsal: events that were not tried, because an earlier one of their stream failed.
    pub waiting: u64,
    /// Whether the time was over before all were tried.
    pub more: bool,
}

impl Replay {
    /// Replays; blocks.
    ///
    /// # Errors
    /// The databases are away, or somebody else changed the generation: what was replayed before stays, and the rest is
    /// still parked.
    pub fn run(self) -> Result<Replayed, StoreError> {
        let mut writer = self.store.writer(&self.generation)?;
        let book = self.store.letter_book(self.generation.id)?;
        let rows = Rows::new(
            &self.generation.descriptor,
            self.store.reader(&self.generation)?,
            false,
        );
        let (mut work, streams) = Work::new(&self, book, rows);
        work.speaks = true;
        for stream in streams {
            work.stream(&mut *writer, &stream)?;
            if work.outcome.more {
                break;
            }
        }
        Ok(work.outcome)
    }

    /// As [`Self::run`], but writes nothing. With `on_its_rows` the plugin sees the generation's committed rows, and what
    /// it changed itself; else tables that are empty but for what it makes of the earlier events of the same streams.
    ///
    /// # Errors
    /// The databases are away.
    pub fn rehearse(self, on_its_rows: bool) -> Result<Replayed, StoreError> {
        let book = self.store.letter_book(self.generation.id)?;
        let reader: Box<dyn TableReader> = match on_its_rows {
            true => self.store.reader(&self.generation)?,
            false => Box::new(Nothing),
        };
        let rows = Rows::new(&self.generation.descriptor, reader, !on_its_rows);
        let (mut work, streams) = Work::new(&self, book, rows);
        for stream in streams {
            work.rehearse(&stream, on_its_rows)?;
            if work.outcome.more {
                break;
            }
        }
        Ok(work.outcome)
    }

    /// The rows that one event changes when it is applied to the generation's committed rows, of each table; or why it
    /// cannot be. Writes nothing.
    ///
    /// # Errors
    /// The databases are away.
    pub fn try_one(self, event: &StoredEvent) -> Result<Result<Vec<TableFlush>, Box<Stop>>, StoreError> {
        let reader = self.store.reader(&self.generation)?;
        let rows = Rows::new(&self.generation.descriptor, reader, false);
        let (mut work, _) = Work::new(&self, LetterBook::default(), rows);
        let applied = work.apply(event)?;
        Ok(applied.map(|()| work.rows().take_flush()))
    }

    /// What stored events become for the projector.
    pub(super) fn lift(
        upcasters: Option<&Arc<Upcasters>>,
        generation: &GenerationRecord,
        event: &StoredEvent,
        said: &mut dyn FnMut(Said),
    ) -> Result<Vec<Arc<EventBatch>>, Box<Stop>> {
        let wanted = EventFilter {
            any_of: generation.descriptor.subscriptions.clone(),
            ..EventFilter::default()
        };
        let batch = Arc::new(batch_of(event));
        // What nothing takes passes as it is, so that whoever asks must see whether it is wanted.
        let takes = |set: &&Arc<Upcasters>| set.takes(&event.event_type, event.schema_version);
        let Some(upcasters) = upcasters.filter(takes) else {
            let fits = wanted.matches(&event.event_type, event.schema_version, &event.stream_type);
            return Ok(if fits { vec![batch] } else { Vec::new() });
        };
        let mut lifting = Lifting {
            filter: &wanted,
            fields: None,
            events_max: usize::MAX,
            bytes_max: usize::MAX,
            stop: &Arc::new(AtomicBool::new(false)),
            said,
        };
        match upcasters.lift(&batch, &mut lifting) {
            (_, Some(fault)) => Err(Box::new(super::upcasting::stop(fault))),
            (batches, None) => Ok(batches),
        }
    }
}

struct Work<'r> {
    replay: &'r Replay,
    revision: u64,
    /// Whether the guests' log lines go to the host's log.
    speaks: bool,
    /// None only while a call has them.
    rows: Option<Rows>,
    /// Applied in memory and not written.
    done: Vec<Position>,
    outcome: Replayed,
}

impl<'r> Work<'r> {
    /// The work, and the streams that are wanted, in the order of their first parked events.
    fn new(replay: &'r Replay, book: LetterBook, rows: Rows) -> (Self, Vec<String>) {
        let mut streams = book.streams;
        streams.retain(|(stream, _)| replay.stream_id.as_deref().is_none_or(|wanted| wanted == stream));
        streams.sort_by_key(|(_, first)| *first);
        let work = Self {
            replay,
            revision: book.revision,
            speaks: false,
            rows: Some(rows),
            done: Vec::new(),
            outcome: Replayed::default(),
        };
        (work, streams.into_iter().map(|(stream, _)| stream).collect())
    }

    /// A stream's events in order, up to the first that fails.
    fn stream(&mut self, writer: &mut dyn TableWriter, stream: &str) -> Result<(), StoreError> {
        let mut query = LetterQuery {
            generation: Some(self.replay.generation.id),
            stream_id: Some(stream.to_owned()),
            limit: PAGE_LETTERS,
            ..LetterQuery::default()
        };
        loop {
            let page = self.replay.store.dead_letters(&query)?;
            for letter in &page {
                if Instant::now() >= self.replay.until {
                    self.outcome.more = true;
                    return self.write(writer);
                }
                match self.one(letter)? {
                    Ok(()) => self.done.push(letter.position),
                    Err(stop) => {
                        self.write(writer)?;
                        return self.failed(letter, *stop);
                    }
                }
            }
            self.write(writer)?;
            match page.last() {
                Some(last) if page.len() as u64 == PAGE_LETTERS => query.after = last.position,
                _ => return Ok(()),
            }
        }
    }

    /// A stream's events in order, in memory alone, up to the first that fails; from its beginning on where there are no
    /// rows of it.
    fn rehearse(&mut self, stream: &str, on_its_rows: bool) -> Result<(), StoreError> {
        let query = LetterQuery {
            generation: Some(self.replay.generation.id),
            stream_id: Some(stream.to_owned()),
            limit: i64::MAX.unsigned_abs(),
            ..LetterQuery::default()
        };
        let letters = self.replay.store.dead_letters(&query)?;
        if !on_its_rows
            && let Some(first) = letters.first()
            && !self.begin(first)?
        {
            self.outcome.waiting += letters.len() as u64;
            return Ok(());
        }
        for (place, letter) in letters.iter().enumerate() {
            if Instant::now() >= self.replay.until {
                self.outcome.more = true;
                return Ok(());
            }
            match self.one(letter)? {
                Ok(()) => self.outcome.events += 1,
                Err(stop) => {
                    self.outcome.waiting += (letters.len() - place - 1) as u64;
                    let failed = self.tried(letter, *stop);
                    self.outcome.failed.push(failed);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A stream's events before the first that is parked, in memory. False: one of them fails, or the time is over.
    fn begin(&mut self, first: &DeadLetter) -> Result<bool, StoreError> {
        let discards = self.replay.store.discards(Some(&first.projection))?;
        let mut query = EventQuery {
            stream_id: Some(first.stream_id.clone()),
            limit: PAGE_LETTERS,
            ..EventQuery::default()
        };
        loop {
            let page = self.replay.log.events(&query).map_err(of_log)?;
            for event in &page {
                if event.position >= first.position {
                    return Ok(true);
                }
                if discards.iter().any(|discard| discard.event_id == event.id) {
                    continue;
                }
                if Instant::now() >= self.replay.until {
                    self.outcome.more = true;
                    return Ok(false);
                }
                if let Err(stop) = self.apply(event)? {
                    let before = DeadLetter {
                        position: event.position,
                        event_id: event.id,
                        event_type: event.event_type.clone(),
                        attempts: 0,
                        ..first.clone()
                    };
                    let failed = self.tried(&before, *stop);
                    self.outcome.failed.push(failed);
                    return Ok(false);
                }
            }
            match page.last() {
                Some(last) if page.len() as u64 == PAGE_LETTERS => query.after = Some(last.position),
                _ => return Ok(true),
            }
        }
    }

    /// One event, in memory.
    fn one(&mut self, letter: &DeadLetter) -> Result<Result<(), Box<Stop>>, StoreError> {
        let event = self.replay.log.event(letter.position).map_err(of_log)?;
        let Some(event) = event.filter(|event| event.id == letter.event_id) else {
            return Err(StoreError::Invalid(format!(
                "the log has no event {} at position {}: it is not the log that the tables were made from",
                letter.event_id, letter.position
            )));
        };
        self.apply(&event)
    }

    fn rows(&mut self) -> &mut Rows {
        self.rows
            .as_mut()
            .expect("invariant: the rows are away only within a call")
    }

    /// A stored event through the upcasters and the projector, in memory.
    fn apply(&mut self, event: &StoredEvent) -> Result<Result<(), Box<Stop>>, StoreError> {
        let (replay, speaks) = (self.replay, self.speaks);
        let mut said = |said: Said| {
            if speaks {
                upcaster_said(&said);
            }
        };
        let batches = match Replay::lift(replay.upcasters.as_ref(), &replay.generation, event, &mut said) {
            Ok(batches) => batches,
            Err(stop) => return Ok(Err(stop)),
        };
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            if let Err(stop) = self.call(batch)? {
                return Ok(Err(stop));
            }
        }
        Ok(Ok(()))
    }

    fn call(&mut self, batch: &Arc<EventBatch>) -> Result<Result<(), Box<Stop>>, StoreError> {
        let mut deadline_factor = 1;
        loop {
            let call = Call {
                batch: batch.clone(),
                range: 0..batch.len(),
                deadline_factor,
                stop: Arc::default(),
            };
            let mut rows = self
                .rows
                .take()
                .expect("invariant: the rows are away only within a call");
            rows.begin(batch, 0..batch.len());
            let (mut rows, report, result) = self.replay.plugin.project(&call, rows);
            if self.speaks {
                projector_said(&self.replay.generation, batch, &(0..batch.len()), &report);
            }
            let error = match result {
                Ok(()) => {
                    rows.keep_batch();
                    self.rows = Some(rows);
                    return Ok(Ok(()));
                }
                Err(error) => error,
            };
            rows.undo_batch();
            self.rows = Some(rows);
            match error.class {
                Class::Retryable => return Err(StoreError::Unavailable(error.message)),
                Class::Bug => return Err(StoreError::Internal(error.message)),
                Class::TimeLimit if deadline_factor == 1 => deadline_factor = SECOND_DEADLINE_FACTOR,
                Class::Fault | Class::TimeLimit => {
                    let stop = super::fault::failed(
                        &self.replay.generation,
                        batch,
                        &(0..batch.len()),
                        error,
                        report,
                    );
                    return Ok(Err(Box::new(stop)));
                }
            }
        }
    }

    /// Writes what is done: the rows, and that their events are no dead letters any more.
    fn write(&mut self, writer: &mut dyn TableWriter) -> Result<(), StoreError> {
        if self.done.is_empty() {
            return Ok(());
        }
        let at = writer.checkpoint()?;
        let flush = Flush {
            from: at,
            to: at,
            tables: self.rows().take_flush(),
            letters: Some(Box::new(LetterFlush {
                revision: self.revision,
                park: Vec::new(),
                release: std::mem::take(&mut self.done),
                reordered_at: self.replay.reorders.then(|| Clock::system().now_micros()),
            })),
        };
        // A try whose outcome is unknown is not repeated here: the revision says to whoever asks again what went in.
        writer.flush(&flush, true)?;
        self.rows().committed();
        self.revision += 1;
        let released = flush.letters.map_or(0, |letters| letters.release.len());
        self.outcome.events += released as u64;
        Ok(())
    }

    fn failed(&mut self, letter: &DeadLetter, stop: Stop) -> Result<(), StoreError> {
        let tried = self.tried(letter, stop);
        self.replay.store.save_try(&tried)?;
        self.outcome.failed.push(tried);
        Ok(())
    }

    fn tried(&self, letter: &DeadLetter, stop: Stop) -> DeadLetter {
        DeadLetter {
            part: stop.part,
            behind: None,
            message: stop.message,
            trace: stop.trace,
            log: serde_json::to_value(&stop.log).unwrap_or_default(),
            digest: self.replay.generation.digest,
            version: self.replay.generation.version.clone(),
            attempts: letter.attempts + 1,
            tried_at: Clock::system().now_micros(),
            ..letter.clone()
        }
    }
}

/// A batch of one stored event.
fn batch_of(event: &StoredEvent) -> EventBatch {
    let id = event.id.to_string();
    let mut batch = EventBatch::default();
    batch.push(event.position, event.id, |bytes| {
        packed::write_event(bytes, &event.borrowed(&id));
    });
    batch.through = event.position;
    batch.through_id = Some(event.id);
    batch
}

fn of_log(error: LogError) -> StoreError {
    match error.class() {
        Class::Retryable => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Internal(error.to_string()),
    }
}
