//! What is kept of events that a projector could not take. They are written in the transaction of the rows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StoreError;
use crate::core::{EventId, GenerationId, PluginDigest, PluginName, Position};

/// An event that is parked: it failed, or it comes after one of its stream that did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// The generation whose tables lack it.
    pub generation: GenerationId,
    /// Its projection.
    pub projection: PluginName,
    /// Place of the stored event in the log.
    pub position: Position,
    /// Which of the events that upcasters made of it failed, from 0; None where that is not known.
    pub part: Option<u32>,
    /// Id of the stored event.
    pub event_id: EventId,
    /// Its stream.
    pub stream_id: String,
    /// Its type; of what upcasters made of it, where they got so far.
    pub event_type: String,
    /// The position that it waits behind; None: it failed itself.
    pub behind: Option<Position>,
    /// What failed, on what, and why; empty for one that waits behind another.
    pub message: String,
    /// The guest's backtrace.
    pub trace: String,
    /// The guest's log lines of the failing call, as JSON: `[{"level", "message"}]`.
    pub log: serde_json::Value,
    /// The projector that failed.
    pub digest: PluginDigest,
    /// Its version.
    pub version: String,
    /// Tries so far; 0 for one that waits behind another.
    pub attempts: u64,
    /// When it was parked.
    #[serde(with = "crate::core::micros")]
    #[schema(value_type = String, format = DateTime)]
    pub parked_at: i64,
    /// When it was tried last.
    #[serde(with = "crate::core::micros")]
    #[schema(value_type = String, format = DateTime)]
    pub tried_at: i64,
}

/// A person's decision to leave an event out, now and in every later generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discard {
    /// The projection that leaves it out.
    pub projection: PluginName,
    /// The event.
    pub event_id: EventId,
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream_id: String,
    /// Its type.
    pub event_type: String,
    /// Why.
    pub reason: String,
    /// Who decided; empty where nobody knows.
    pub by: String,
    /// When.
    #[serde(with = "crate::core::micros")]
    #[schema(value_type = String, format = DateTime)]
    pub at: i64,
    /// Why the projector could not take it.
    pub message: String,
}

/// What a flush does with dead letters, in the transaction of its rows. It goes in only if nobody has replayed or
/// discarded any since `revision` was read ([`StoreError::LettersMoved`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LetterFlush {
    /// The book's revision as the writer read it.
    pub revision: u64,
    /// Parked now, in the order of the log.
    pub park: Vec<DeadLetter>,
    /// Replayed now: the rows have their effects.
    pub release: Vec<Position>,
    /// Set when events are replayed after others that came later: microseconds since 1970.
    pub reordered_at: Option<i64>,
}

/// What a runner must know before it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterBook {
    /// Counts what was replayed and discarded.
    pub revision: u64,
    /// The streams that have parked events, with the first parked position.
    pub streams: Vec<(String, Position)>,
    /// Parked events.
    pub events: u64,
    /// Whether events were replayed after others that came later.
    pub is_reordered: bool,
}

/// How much of a generation is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// Parked events.
    pub events: u64,
    /// Streams that they belong to.
    pub streams: u64,
    /// Whether events were replayed after others that came later.
    pub is_reordered: bool,
}

/// Which dead letters to give.
#[derive(Clone, Debug, Default)]
pub struct LetterQuery {
    /// Of this projection.
    pub projection: Option<PluginName>,
    /// Of this generation.
    pub generation: Option<GenerationId>,
    /// Of this stream.
    pub stream_id: Option<String>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// Not those of retired generations.
    pub skip_retired: bool,
    /// After this position.
    pub after: Position,
    /// Also those at `after` itself, of generations after this one: how pages go on.
    pub after_generation: Option<GenerationId>,
    /// At most so many.
    pub limit: u64,
}

/// Which decisions to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscardQuery {
    /// Of this projection.
    pub projection: Option<PluginName>,
    /// On events of this stream.
    pub stream_id: Option<String>,
    /// After this one: a projection decides once on an event, so that position and projection name a decision.
    pub after: Option<(Position, String)>,
    /// At most so many.
    pub limit: u64,
}

/// The part of a table store that keeps dead letters.
pub trait DeadLetters {
    /// Parked events by position, then generation.
    fn dead_letters(&self, query: &LetterQuery) -> Result<Vec<DeadLetter>, StoreError>;

    /// What a runner of a generation must know.
    fn letter_book(&self, generation: GenerationId) -> Result<LetterBook, StoreError>;

    /// The generations that have dead letters, or had some replayed out of order.
    fn letter_counts(&self) -> Result<Vec<(GenerationId, LetterCounts)>, StoreError>;

    /// Events of `target` that are parked there and not in `other`: the first of them, by position, and how many.
    fn parked_beyond(
        &self,
        target: GenerationId,
        other: GenerationId,
    ) -> Result<Option<(DeadLetter, u64)>, StoreError>;

    /// Records one more try of a dead letter that failed: why, by which code, how often. Those after it in its stream
    /// wait behind it from now on.
    fn save_try(&self, letter: &DeadLetter) -> Result<(), StoreError>;

    /// Records decisions, and takes the events out of every generation of their projection. A second decision on one
    /// event changes nothing. Gives the number of dead letters that went.
    fn discard(&self, discards: &[Discard]) -> Result<u64, StoreError>;

    /// All decisions, of one projection or of all, by position.
    fn discards(&self, projection: Option<&PluginName>) -> Result<Vec<Discard>, StoreError> {
        self.discard_page(&DiscardQuery {
            projection: projection.cloned(),
            stream_id: None,
            after: None,
            limit: i64::MAX.unsigned_abs(),
        })
    }

    /// Decisions by position, then projection.
    fn discard_page(&self, query: &DiscardQuery) -> Result<Vec<Discard>, StoreError>;
}

/// Why a generation is not switched to by itself.
pub(super) fn parks_more(generation: GenerationId, first: &DeadLetter, events: u64) -> StoreError {
    let letters = what_is_parked(first, events);
    StoreError::SwitchRefused(format!(
        "generation {generation} has parked what the public one has not: {letters}; `lamphouse cutover {}` switches to \
         it all the same",
        first.projection
    ))
}

/// `position 7 (event …, stream s-1)`, and how many more.
pub fn what_is_parked(first: &DeadLetter, events: u64) -> String {
    let more = match events {
        0 | 1 => String::new(),
        events => format!(" and {} more", events - 1),
    };
    format!(
        "position {} (event {}, stream {}){more}",
        first.position, first.event_id, first.stream_id
    )
}

/// Text that both databases hold: PostgreSQL knows no U+0000.
pub(super) fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// The columns of a dead letter, in the order in which both stores read and write them.
pub(super) const COLUMNS: &str = "generation, position, projection, part, event_id, stream_id, event_type, behind, \
     message, trace, log, digest, version, attempts, parked_at, tried_at";

/// The columns of a decision, in the order in which both stores read and write them.
pub(super) const DISCARD_COLUMNS: &str =
    "projection, event_id, position, stream_id, event_type, reason, by, at, message";
