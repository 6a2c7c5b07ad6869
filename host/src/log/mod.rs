//! The event log: append-only, gapless, in commit order.
//!
//! [`EventLog`] is what the rest of the host knows; [`open`] gives the SQLite or the PostgreSQL one. Both pass the one
//! conformance suite.
//!
//! *Invariant:* positions come from one counter row, so `position > checkpoint` never misses an event. There is no
//! sequence anywhere. Events are never changed or deleted; the database itself refuses.
//!
//! Calls block; async callers use a blocking thread.
//!
//! ```text
//! append ─▶ validate ─▶ group ─▶ plan ─▶ sqlite, postgres      group commit; plan is pure
//! reader ─▶ route ─▶ query ────────────▶ sqlite, postgres      through every position, or by the index on event types
//! ```

mod group;
mod json;
mod meter;
mod migrate;
mod plan;
mod postgres;
mod query;
mod reading;
mod route;
mod settings;
mod sqlite;
mod streams;
mod validate;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::config::DatabaseUrl;
use crate::core::clock::Clock;
use crate::core::limits::AppendLimits;
use crate::core::signal::Signal;
use crate::core::{
    Class, EventBatch, EventFilter, EventId, LogId, NewEvent, Position, StoredEvent, StreamVersion,
};

pub use meter::AppendMeter;
pub use validate::{check_line, check_not_reserved};

/// Opens an event log; makes it where there is none, and brings an older one's schema up to date.
///
/// Several processes may do so at once. `runtime` drives the PostgreSQL connections and must outlive the log; it has to
/// be a multi-threaded one. Blocks: call it from an ordinary thread or a blocking one, as every method of the log.
///
/// Errors: [`LogError::Unavailable`] when the database cannot be reached, [`LogError::Invalid`] when a newer Lamphouse
/// made it.
pub fn open(
    url: &DatabaseUrl,
    limits: &AppendLimits,
    clock: Clock,
    runtime: tokio::runtime::Handle,
) -> Result<Arc<dyn EventLog>, LogError> {
    match url {
        DatabaseUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteLog::open(path, limits, clock, &runtime)?)),
        DatabaseUrl::Postgres(url) => Ok(Arc::new(postgres::PostgresLog::open(
            url, limits, clock, runtime,
        )?)),
    }
}

/// What a stream must be at, for an append to go in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Anything.
    #[default]
    Any,
    /// The stream must not exist.
    NoStream,
    /// The stream's last version must be this one.
    Exact(StreamVersion),
}

impl Serialize for ExpectedVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::NoStream => serializer.serialize_str("no-stream"),
            Self::Exact(version) => version.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ExpectedVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Word(String),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Number(version)) => Ok(Self::Exact(StreamVersion(version))),
            Ok(Form::Word(word)) if word == "any" => Ok(Self::Any),
            Ok(Form::Word(word)) if word == "no-stream" => Ok(Self::NoStream),
            _ => Err(serde::de::Error::custom(
                "expected_version is \"any\", \"no-stream\" or a version number",
            )),
        }
    }
}

/// As the OpenAPI document has [`ExpectedVersion`].
fn expected_version() -> Schema {
    let word = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["any", "no-stream"]));
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let either = OneOfBuilder::new()
        .item(word)
        .item(number)
        .description(Some("What the stream must be at; without it, anything"));
    Schema::OneOf(either.build())
}

/// Events for one stream.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamAppend {
    /// The stream.
    #[schema(example = "order-1", min_length = 1)]
    pub stream_id: String,
    /// Its type; must be that of the stream's first event.
    #[schema(example = "order", min_length = 1)]
    pub stream_type: String,
    /// `"any"`, `"no-stream"` or a number.
    #[schema(schema_with = expected_version)]
    #[serde(default)]
    pub expected_version: ExpectedVersion,
    /// At least one.
    #[schema(min_items = 1)]
    pub events: Vec<NewEvent>,
}

/// One all-or-nothing append.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// One or more streams, each at most once.
    pub streams: Vec<StreamAppend>,
    /// Makes a repeated append return the first result.
    pub idempotency: Option<IdempotencyKey>,
}

impl AppendRequest {
    /// Its events: the stream, the place among that stream's events, the event.
    pub fn events(&self) -> impl Iterator<Item = (&str, u64, &NewEvent)> {
        self.streams.iter().flat_map(|stream| {
            let events = (0..).zip(&stream.events);
            events.map(|(place, event)| (stream.stream_id.as_str(), place, event))
        })
    }
}

/// A key is known within its scope: who appends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Who appends, for example `cli`.
    pub scope: String,
    /// The key.
    pub key: String,
}

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appended {
    /// Position of the last event.
    pub position: Position,
    /// Each stream and its version now.
    pub streams: Vec<AppendedStream>,
    /// Whether this is the answer of an earlier append under the same idempotency key.
    #[serde(default)]
    pub repeated: bool,
}

/// One stream of an append's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppendedStream {
    /// The stream.
    pub stream_id: String,
    /// Its version now.
    pub version: StreamVersion,
}

/// Why the log could not do something.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Expected versions do not hold: nothing was appended.
    #[error(
        "stream '{stream_id}' is at version {actual}, not at {expected}: nothing was appended; read the stream and decide again"
    )]
    Conflict {
        /// Which stream.
        stream_id: String,
        /// What the caller expected, in words: `no stream` or a number.
        expected: String,
        /// What is there; 0 is no stream.
        actual: StreamVersion,
    },
    /// The same idempotency key came with another request.
    #[error(
        "idempotency key '{key}' was used before for a different append: nothing was appended; use a new key for a new append"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The request breaks a rule; the text says which, and where.
    #[error("{0}")]
    Invalid(String),
    /// The database cannot be reached, is busy or full; try again.
    #[error("{0}")]
    Unavailable(String),
    /// The database holds what it should not, or we have a bug.
    #[error("{0}")]
    Internal(String),
}

impl LogError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable(_) => Class::Retryable,
            Self::Conflict { .. } | Self::KeyReused { .. } | Self::Invalid(_) => Class::Fault,
            Self::Internal(_) => Class::Bug,
        }
    }
}

/// The last event of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 for an empty log.
    pub position: Position,
    /// None for an empty log.
    pub event_id: Option<EventId>,
    /// When it was recorded, in microseconds since 1970; 0 for an empty log.
    pub recorded_at: i64,
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only this stream.
    pub stream_id: Option<String>,
    /// Only this stream type.
    pub stream_type: Option<String>,
    /// Only streams of one of these types, beside what else is asked for; None is all. What a caller is limited to.
    pub stream_types: Option<Vec<String>>,
    /// Only these event types; empty is all.
    pub event_types: Vec<String>,
    /// Only events after this position (before it, when backward).
    pub after: Option<Position>,
    /// Only events recorded at or after this time (microseconds since 1970).
    pub recorded_from: Option<i64>,
    /// Only events recorded before this time (microseconds since 1970).
    pub recorded_before: Option<i64>,
    /// Newest first.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

/// Events of one type and version in streams of one type, in a stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The type.
    pub event_type: String,
    /// Version of its schema.
    pub schema_version: u32,
    /// The streams' type.
    pub stream_type: String,
    /// How many; at least 1.
    pub count: u64,
    /// The first of them.
    pub first: Position,
    /// The last of them.
    pub last: Position,
    /// When the first was recorded.
    pub first_recorded_at: chrono::DateTime<chrono::Utc>,
    /// When the last was recorded.
    pub last_recorded_at: chrono::DateTime<chrono::Utc>,
}

/// Where an import stands: how much of one input is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCursor {
    /// Digest of the input's first `bytes` uncompressed bytes, in hexadecimal.
    pub digest: String,
    /// Uncompressed bytes that are in the log.
    pub bytes: u64,
    /// Lines that are in the log.
    pub lines: u64,
}

/// An append-only event log.
pub trait EventLog: Send + Sync + 'static {
    /// Identity of this log.
    fn id(&self) -> LogId;

    /// The last event.
    fn head(&self) -> Result<Head, LogError>;

    /// Appends, all or nothing. Concurrent calls are gathered into one transaction. Durable on return. Names that begin
    /// with [`RESERVED`](crate::core::event::RESERVED) are refused.
    fn append(&self, request: AppendRequest) -> Result<Appended, LogError>;

    /// As [`Self::append`], also for names that begin with [`RESERVED`](crate::core::event::RESERVED): for what the host
    /// itself has to say. Never for what somebody else sent.
    fn append_own(&self, request: AppendRequest) -> Result<Appended, LogError>;

    /// What an append may be.
    fn limits(&self) -> &AppendLimits;

    /// Appends the events of an import, in order, to any streams, and saves the cursor in the same transaction.
    /// `previous` is the cursor that this one continues; it is replaced. Reserved names are taken: an export of a log
    /// holds them; whether they may come is for the caller to say, by [`check_not_reserved`].
    fn import(
        &self,
        events: Vec<ImportEvent>,
        previous: Option<&ImportCursor>,
        cursor: &ImportCursor,
    ) -> Result<Position, LogError>;

    /// The cursors saved by imports, longest first.
    fn import_cursors(&self) -> Result<Vec<ImportCursor>, LogError>;

    /// The event at a position.
    fn event(&self, position: Position) -> Result<Option<StoredEvent>, LogError>;

    /// The event with an id.
    fn event_by_id(&self, id: EventId) -> Result<Option<StoredEvent>, LogError>;

    /// Events for a person or an export, a page at a time.
    fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, LogError>;

    /// Counts the events after `after`, up to `until` inclusive. Goes through all of them, so keep the stretch short.
    fn tally(&self, after: Position, until: Position) -> Result<Vec<Tally>, LogError>;

    /// A reader for a projection, on a connection of its own.
    fn reader(&self, filter: EventFilter) -> Result<Box<dyn LogReader>, LogError>;

    /// Bumped whenever the head may have moved: by this process right after the commit, by others once this is watched.
    fn signal(&self) -> Arc<Signal>;

    /// From now on the signal tells of what other processes append, too. For who follows the log: a command that ends
    /// soon need not start what notices them, and wait for its end. Called again, it does nothing.
    ///
    /// Errors: [`LogError::Unavailable`] when the database cannot be reached, [`LogError::Internal`] when no thread can be
    /// started.
    fn watch(&self) -> Result<(), LogError>;

    /// How the appends through this handle go; None where nobody counts them.
    fn meter(&self) -> Option<&AppendMeter> {
        None
    }
}

/// Reads a log in order for one consumer.
pub trait LogReader: Send {
    /// Adds matching events after `after`, up to `until` inclusive, to the (cleared) batch: at most `events_max`
    /// events, and no further event once `bytes_max` bytes are there. Sets `through` and `through_id`: `until` when
    /// nothing more matches up to it, else the last event added.
    fn read(
        &mut self,
        after: Position,
        until: Head,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<(), LogError>;

    /// Looks up the head, and reads up to it as [`Self::read`] does, in one answer of the database: for who is nearly
    /// level. A head before `after` comes with nothing. None, and nothing in the batch: there is too much for that, or
    /// nothing can match.
    fn read_to_head(
        &mut self,
        after: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<Option<Head>, LogError>;
}

/// One line of an import.
#[derive(Clone, Debug)]
pub struct ImportEvent {
    /// Line number in the input, from 1, for messages.
    pub line: u64,
    /// The stream.
    pub stream_id: String,
    /// Its type.
    pub stream_type: String,
    /// Optional: the line is left out when this key was used before in the scope `import`.
    pub idempotency_key: Option<String>,
    /// The event.
    pub event: NewEvent,
}
