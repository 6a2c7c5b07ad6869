//! The rows of one stream as they were at a time: a deployed projector over that stream's events, in memory.
//!
//! *Invariants:* what runs is the very code of a generation, kept with the tables; it sees what a rebuild would show it of
//! this stream, and nothing else; nothing is written. Each run is bounded in events, rows, bytes and time, and so many run
//! at once. Deliberately not here: other streams. A projector whose rows depend on several gives what it makes of this
//! one, and the answer says `partial`.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::host::HostError;
use super::plan::state_word;
use super::rehearse::projector;
use super::today::upcasters_of;
use crate::core::limits::StateLimits;
use crate::core::{Class, EventBatch, EventFilter, EventId, GenerationId, Position, StoredEvent};
use crate::log::{EventLog, EventQuery, LogError};
use crate::plugin::{LogLine, Plugin, Sandbox};
use crate::projection::{DryRunFault, Scratch};
use crate::tables::{GenerationRecord, GenerationState, StoreError, TableStore, answer};
use crate::upcast::{LiftFault, Lifting, Upcasters};

mod at;

pub use at::{At, By};

/// Events that are read and lifted at once.
const PAGE_EVENTS: u64 = 500;
/// Bytes of events that are lifted at once: a page is cut where they are large.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Events of one plugin call.
const CALL_EVENTS: usize = 500;
/// Generations whose code is kept loaded.
const LOADED_MAX: usize = 8;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AskedState {
    /// The stream.
    pub stream_id: String,
    /// The projector's name.
    pub projector: String,
    /// A generation of it; None: the public one.
    pub generation: Option<i64>,
    /// Up to where; None: all of its events.
    pub at: Option<At>,
}

/// The rows that a projector makes of one stream up to a point.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StreamState {
    /// The stream.
    pub stream_id: String,
    /// The projector.
    pub projector: String,
    /// Its version.
    pub version: String,
    /// The generation whose code ran.
    pub generation: i64,
    /// Up to where: a position, a time, or null where all of the stream was asked for.
    #[schema(schema_with = at::schema)]
    pub at: Json,
    /// Which of an event's times counted; null unless `at` is a time.
    pub by: Option<By>,
    /// Position of the last event that was applied; null when there was none.
    pub position: Option<Position>,
    /// How many events of the stream were applied.
    pub events: u64,
    /// Whether the public tables may hold other rows, because a row may depend on other streams too: the projector does
    /// not declare `partition = stream`.
    pub partial: bool,
    /// The rows of each table, in key order; values as `lamphouse query` gives them.
    #[schema(value_type = Object)]
    pub tables: Map<String, Json>,
}

/// An event that the code cannot take.
#[derive(Clone, Debug, Serialize)]
pub struct StateFault {
    /// Its place in the log.
    pub position: Position,
    /// Its id; None where a call of an upcaster had several events.
    pub event_id: Option<EventId>,
    /// What failed, and why.
    pub message: String,
    /// The guest's backtrace.
    pub trace: String,
    /// The guest's log lines of the failing call.
    pub log: Vec<LogLine>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No such stream, projector or generation.
    #[error("{0}")]
    NotFound(String),
    /// The point is none that can be asked for.
    #[error("{0}")]
    BadPoint(String),
    /// It cannot be run as things stand.
    #[error("{0}")]
    Refused(String),
    /// More than a limit allows; names limit and key.
    #[error("{0}")]
    TooLarge(String),
    /// An event that the code cannot take.
    #[error("{}", .0.message)]
    Fault(Box<StateFault>),
    /// Too much is going on, or the time was over: try again.
    #[error("{0}")]
    Busy(String),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] StoreError),
    /// Ours.
    #[error("{0}")]
    Bug(String),
}

impl From<HostError> for StateError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Log(error) => Self::Log(error),
            HostError::Tables(error) => Self::Tables(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// The code of a generation.
struct Code {
    plugin: Arc<Plugin>,
    upcasters: Arc<Upcasters>,
}

/// Makes states of streams.
pub struct States {
    sandbox: Arc<Sandbox>,
    log: Arc<dyn EventLog>,
    store: Arc<dyn TableStore>,
    limits: StateLimits,
    running: AtomicU64,
    /// Most lately used last.
    loaded: Mutex<Vec<(GenerationId, Arc<Code>)>>,
}

impl States {
    /// Over this log, with the code that is kept with these tables.
    pub fn new(
        sandbox: Arc<Sandbox>,
        log: Arc<dyn EventLog>,
        store: Arc<dyn TableStore>,
        limits: StateLimits,
    ) -> Self {
        Self {
            sandbox,
            log,
            store,
            limits,
            running: AtomicU64::new(0),
            loaded: Mutex::default(),
        }
    }

    /// Makes the rows; blocks. Once `stop` is set it ends soon, with [`StateError::Busy`].
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn make(&self, asked: &AskedState, stop: &Arc<AtomicBool>) -> Result<StreamState, StateError> {
        let _place = self.place()?;
        let time_max = Duration::from_millis(self.limits.time_ms_max);
        let until = Instant::now() + time_max;
        std::thread::scope(|scope| {
            let (ended, wait) = bounded::<()>(0);
            scope.spawn(move || {
                if wait.recv_timeout(time_max) == Err(RecvTimeoutError::Timeout) {
                    stop.store(true, Ordering::Release);
                }
            });
            let made = self.run(asked, stop);
            drop(ended);
            match made {
                Err(StateError::Busy(_)) if Instant::now() >= until => Err(StateError::Busy(format!(
                    "the state of stream '{}' was not made within {} ms, which is [state] time_ms_max: ask for an earlier \
                     point, or raise it and start the host again",
                    asked.stream_id, self.limits.time_ms_max
                ))),
                made => made,
            }
        })
    }

    fn place(&self) -> Result<Place<'_>, StateError> {
        let max = self.limits.runs_max;
        let take = |running: u64| (running < max).then_some(running + 1);
        match self
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
        {
            Ok(_) => Ok(Place(&self.running)),
            Err(_) => Err(StateError::Busy(format!(
                "{max} states of streams are being made, which is [state] runs_max: try again soon"
            ))),
        }
    }

    fn run(&self, asked: &AskedState, stop: &Arc<AtomicBool>) -> Result<StreamState, StateError> {
        let generation = self.generation(asked)?;
        if let Some(At::Position(position)) = asked.at {
            let head = self.log.head()?.position;
            if position > head {
                return Err(StateError::BadPoint(format!(
                    "position {position} is not there yet: the log ends at {head}"
                )));
            }
        }
        let code = self.code(&generation)?;
        let discards = self.store.discards(Some(&generation.projection))?;
        let mut run = Run {
            limits: &self.limits,
            code: &code,
            reads: EventFilter {
                any_of: code
                    .upcasters
                    .graph()
                    .reads(&code.plugin.descriptor().subscriptions),
                ..EventFilter::default()
            },
            left_out: discards.into_iter().map(|discard| discard.event_id).collect(),
            scratch: Scratch::new(&code.plugin, stop.clone()),
            stop,
            looked_at: 0,
            applied: 0,
            last: None,
        };
        let mut query = EventQuery {
            stream_id: Some(asked.stream_id.clone()),
            limit: PAGE_EVENTS,
            ..EventQuery::default()
        };
        loop {
            let page = self.log.events(&query)?;
            if page.is_empty() && query.after.is_none() {
                return Err(StateError::NotFound(format!(
                    "there is no stream '{}'",
                    asked.stream_id
                )));
            }
            let is_over = run.page(&page, asked.at.as_ref())?;
            match page.last() {
                Some(last) if page.len() as u64 == PAGE_EVENTS && !is_over => {
                    query.after = Some(last.position);
                }
                _ => break,
            }
        }
        run.answer(asked, &generation)
    }

    fn generation(&self, asked: &AskedState) -> Result<GenerationRecord, StateError> {
        let name = &asked.projector;
        let mut all = self.store.generations()?;
        all.retain(|one| one.projection.as_str() == name);
        let shown: Vec<String> = all
            .iter()
            .map(|one| format!("{} ({})", one.id, state_word(one.state)))
            .collect();
        let shown = match shown.is_empty() {
            true => "none".to_owned(),
            false => shown.join(", "),
        };
        let found = match asked.generation {
            Some(number) => all.into_iter().find(|one| one.id.0 == number),
            None => all.into_iter().find(|one| one.state == GenerationState::Live),
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let mut known = self.store.projections()?.into_iter();
        if !known.any(|one| one.name.as_str() == name) {
            return Err(StateError::NotFound(format!("there is no projector '{name}'")));
        }
        match asked.generation {
            Some(number) => Err(StateError::NotFound(format!(
                "projector '{name}' has no generation {number}; it has {shown}"
            ))),
            None => Err(StateError::Refused(format!(
                "projector '{name}' has no public tables now; name one of its generations, which are: {shown}"
            ))),
        }
    }

    fn code(&self, generation: &GenerationRecord) -> Result<Arc<Code>, StateError> {
        let mut loaded = self.loaded.lock();
        if let Some(place) = loaded.iter().position(|(id, _)| *id == generation.id) {
            let used = loaded.remove(place);
            let code = used.1.clone();
            loaded.push(used);
            return Ok(code);
        }
        // One compiles at a time: the others wait for it, and find what it left.
        let code = Arc::new(Code {
            plugin: projector(&self.sandbox, &*self.store, generation)?,
            upcasters: upcasters_of(&self.sandbox, &*self.store, generation)?,
        });
        if loaded.len() >= LOADED_MAX {
            loaded.remove(0);
        }
        loaded.push((generation.id, code.clone()));
        Ok(code)
    }
}

/// One run's place among those that may run at a time.
struct Place<'s>(&'s AtomicU64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One run.
struct Run<'r> {
    limits: &'r StateLimits,
    code: &'r Code,
    /// What a rebuild would read of the log.
    reads: EventFilter,
    /// Events that a person decided to leave out.
    left_out: HashSet<EventId>,
    scratch: Scratch,
    stop: &'r Arc<AtomicBool>,
    looked_at: u64,
    applied: u64,
    last: Option<Position>,
}

impl Run<'_> {
    /// Applies what counts of a page; gives whether nothing after it can count.
    fn page(&mut self, page: &[StoredEvent], at: Option<&At>) -> Result<bool, StateError> {
        let mut batch = EventBatch::default();
        for event in page {
            if at.is_some_and(|at| at.is_before(event)) {
                self.apply(batch)?;
                return Ok(true);
            }
            self.looked_at += 1;
            if self.looked_at > self.limits.events_max {
                return Err(StateError::TooLarge(format!(
                    "the stream has more than {} events up to there, which is [state] events_max: ask for an earlier \
                     point, or raise it and start the host again",
                    self.limits.events_max
                )));
            }
            let is_wanted = at.is_none_or(|at| at.counts(event))
                && !self.left_out.contains(&event.id)
                && self
                    .reads
                    .matches(&event.event_type, event.schema_version, &event.stream_type);
            if !is_wanted {
                continue;
            }
            let id = event.id.to_string();
            batch.push_event(event.position, event.id, &event.borrowed(&id));
            self.applied += 1;
            self.last = Some(event.position);
            if batch.bytes_len() >= PAGE_BYTES_MAX {
                self.apply(std::mem::take(&mut batch))?;
            }
        }
        self.apply(batch)?;
        Ok(false)
    }

    fn apply(&mut self, batch: EventBatch) -> Result<(), StateError> {
        if self.stop.load(Ordering::Acquire) {
            return Err(stopped());
        }
        let wanted = EventFilter {
            any_of: self.code.plugin.descriptor().subscriptions.clone(),
            ..EventFilter::default()
        };
        let mut lifting = Lifting {
            filter: &wanted,
            fields: None,
            events_max: usize::MAX,
            bytes_max: PAGE_BYTES_MAX,
            stop: self.stop,
            said: &mut |_| {},
        };
        let (batches, fault) = self.code.upcasters.lift(&Arc::new(batch), &mut lifting);
        let bytes_max = usize::try_from(self.limits.bytes_max).unwrap_or(usize::MAX);
        for batch in batches {
            let mut is_stopped = false;
            let mut is_full = false;
            let mut goes_on = |bytes: usize| {
                is_stopped = self.stop.load(Ordering::Acquire);
                is_full = bytes > bytes_max;
                !is_stopped && !is_full
            };
            self.scratch
                .apply_to_the_fault(&batch, CALL_EVENTS, &mut goes_on)
                .map_err(|fault| of_call(&self.code.plugin, fault))?;
            // What the last call made is to be weighed too.
            goes_on(self.scratch.bytes());
            if is_full {
                return Err(StateError::TooLarge(format!(
                    "the rows of the stream take more than {bytes_max} bytes, which is [state] bytes_max: ask for an \
                     earlier point, or raise it and start the host again"
                )));
            }
            if is_stopped {
                return Err(stopped());
            }
        }
        match fault {
            Some(fault) => Err(of_lift(fault)),
            None => Ok(()),
        }
    }

    fn answer(self, asked: &AskedState, generation: &GenerationRecord) -> Result<StreamState, StateError> {
        let descriptor = self.code.plugin.descriptor();
        let tables = self.scratch.into_rows();
        let rows: usize = tables.iter().map(Vec::len).sum();
        if rows as u64 > self.limits.rows_max {
            return Err(StateError::TooLarge(format!(
                "the stream has {rows} rows, and {} may be given, which is [state] rows_max: ask for an earlier point, or \
                 raise it and start the host again",
                self.limits.rows_max
            )));
        }
        let tables = descriptor.tables.iter().zip(tables).map(|(schema, rows)| {
            let rows = rows.iter().map(|row| {
                let columns = schema.columns.iter().zip(row.iter());
                let cells = columns.map(|(column, value)| (column.name.clone(), answer::cell(value)));
                Json::Object(cells.collect())
            });
            (schema.name.clone(), rows.collect())
        });
        Ok(StreamState {
            stream_id: asked.stream_id.clone(),
            projector: generation.projection.to_string(),
            version: generation.version.clone(),
            generation: generation.id.0,
            at: asked.at.as_ref().map_or(Json::Null, At::shown),
            by: asked.at.as_ref().and_then(At::by),
            position: self.last,
            events: self.applied,
            partial: !descriptor.is_partitioned_by_stream(),
            tables: tables.collect(),
        })
    }
}

fn stopped() -> StateError {
    StateError::Busy("the run was ended before it was done: nobody waits for it any more".to_owned())
}

fn of_call(plugin: &Plugin, fault: DryRunFault) -> StateError {
    let descriptor = plugin.descriptor();
    let message = format!(
        "plugin {} {} ({}) failed at position {} (event {}): {}",
        descriptor.name,
        descriptor.version,
        plugin.digest().short(),
        fault.position,
        fault.event_id,
        fault.error.message
    );
    let state = StateFault {
        position: fault.position,
        event_id: Some(fault.event_id),
        message,
        trace: fault.error.trace,
        log: fault.log,
    };
    failed(fault.error.class, state)
}

fn of_lift(fault: LiftFault) -> StateError {
    let state = StateFault {
        position: fault.position,
        event_id: fault.event_id,
        message: fault.message,
        trace: fault.trace,
        log: fault.log,
    };
    failed(fault.class, state)
}

fn failed(class: Class, fault: StateFault) -> StateError {
    match class {
        Class::Fault => StateError::Fault(Box::new(fault)),
        // How long a call takes depends on load.
        Class::TimeLimit | Class::Retryable => StateError::Busy(fault.message),
        Class::Bug => StateError::Bug(fault.message),
    }
}
