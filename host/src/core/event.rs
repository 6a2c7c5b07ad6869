//! Events: as they are given, as they are stored, and as a batch goes to a plugin.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::fields::{Extracted, Plan};
use lamphouse_contract::{Subscription, packed};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use super::limits::AppendLimits;

use super::{EventId, Position, StreamVersion};

/// An event to append. Its stream is named beside it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Given by the log (version 7) when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// For example `OrderPlaced`.
    #[schema(example = "OrderPlaced", min_length = 1)]
    pub event_type: String,
    /// Version of the event type's schema, from 1.
    #[schema(minimum = 1)]
    #[serde(default = "first_version")]
    pub schema_version: u32,
    /// JSON, kept as the text that was given.
    #[schema(value_type = serde_json::Value)]
    pub data: Box<RawValue>,
    /// A JSON object with `reason`.
    #[schema(schema_with = metadata)]
    pub metadata: Box<RawValue>,
    /// RFC 3339; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// As the OpenAPI document has the metadata of a new event: as it must be by default.
fn metadata() -> Schema {
    let limits = AppendLimits::default();
    let characters = |count| usize::try_from(count).ok();
    let reason = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(characters(limits.reason_chars_min))
        .max_length(characters(limits.reason_chars_max))
        .description(Some("Why it happened"));
    let metadata = ObjectBuilder::new()
        .property("reason", reason)
        .required("reason")
        .examples([serde_json::json!({"reason": "the customer ordered"})]);
    Schema::Object(metadata.build())
}

fn first_version() -> u32 {
    1
}

/// An event of the log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoredEvent {
    /// Place in the log.
    pub position: Position,
    /// Identity.
    pub id: EventId,
    /// The stream.
    pub stream_id: String,
    /// Fixed by the stream's first event.
    pub stream_type: String,
    /// Place in the stream, from 1.
    pub stream_version: StreamVersion,
    /// For example `OrderPlaced`.
    pub event_type: String,
    /// Version of the event type's schema.
    pub schema_version: u32,
    /// JSON text.
    #[schema(value_type = serde_json::Value)]
    pub data: Box<RawValue>,
    /// JSON object text.
    #[schema(value_type = Object)]
    pub metadata: Box<RawValue>,
    /// When it happened.
    pub occurred_at: chrono::DateTime<chrono::Utc>,
    /// When it was stored; never goes back.
    pub recorded_at: chrono::DateTime<chrono::Utc>,
}

impl StoredEvent {
    /// As a plugin sees it. `id` is its id as text, which the caller keeps.
    pub fn borrowed<'e>(&'e self, id: &'e str) -> packed::Event<'e> {
        packed::Event {
            position: self.position.0,
            part: 0,
            id,
            stream_id: &self.stream_id,
            stream_type: &self.stream_type,
            stream_version: self.stream_version.0,
            event_type: &self.event_type,
            schema_version: self.schema_version,
            data: self.data.get(),
            metadata: self.metadata.get(),
            occurred_at: self.occurred_at.timestamp_micros(),
            recorded_at: self.recorded_at.timestamp_micros(),
            fields: None,
        }
    }
}

/// What the names of the host's own event types, stream types and streams begin with. Nobody else appends them.
pub const RESERVED: &str = "lamphouse.";

/// Whether this name of an event type, a stream type or a stream is the host's own.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// Which events to read: any of these subscriptions; none at all means every event.
///
/// Events of reserved types are the host's own record of itself: a subscription sees them only if it names the event
/// type, or a reserved stream type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// One match is enough.
    pub any_of: Vec<Subscription>,
    /// Whether events of reserved types come too where no subscription is given.
    pub with_reserved: bool,
}

impl EventFilter {
    /// Every event, those of reserved types too: for who picks from them later.
    pub fn everything() -> Self {
        Self {
            any_of: Vec::new(),
            with_reserved: true,
        }
    }

    /// Whether an event of this schema, in a stream of this type, is wanted.
    pub fn matches(&self, event_type: &str, schema_version: u32, stream_type: &str) -> bool {
        let wants = |subscription: &Subscription| {
            let stream = subscription.stream_type.as_deref();
            schema_matches(subscription, event_type, schema_version)
                && stream.is_none_or(|wanted| wanted == stream_type)
        };
        if self.any_of.is_empty() {
            return self.with_reserved || !is_reserved(event_type);
        }
        self.any_of.iter().any(wants)
    }
}

/// Whether a subscription wants events of this schema, of some stream type.
pub fn schema_matches(subscription: &Subscription, event_type: &str, schema_version: u32) -> bool {
    let versions = &subscription.schema_versions;
    let wants_type = match &subscription.event_type {
        Some(wanted) => wanted == event_type,
        None => !is_reserved(event_type) || names_reserved(subscription),
    };
    wants_type && (versions.is_empty() || versions.contains(&schema_version))
}

/// Whether a subscription names what is reserved, and so sees it.
pub fn names_reserved(subscription: &Subscription) -> bool {
    let named = [&subscription.event_type, &subscription.stream_type];
    named.into_iter().flatten().any(|name| is_reserved(name))
}

/// Events on their way to a plugin, in the packed form of `wit/PACKED.md`, in order.
///
/// A log reader writes them here straight from the database; any sub-range is itself a packed sequence, so that a
/// batch is cut without copying.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    bytes: Vec<u8>,
    /// Per event: its position, its id and where its bytes end.
    events: Vec<(Position, EventId, usize)>,
    /// Everything in the log up to here that matches the filter is in this batch or in an earlier one.
    pub through: Position,
    /// Id of the event at `through`, whether it matched or not.
    pub through_id: Option<EventId>,
    /// What is taken out of the events' JSON; None where they are wanted whole.
    fields: Option<Arc<Plan>>,
    /// Whether that is said of all events that are wanted.
    is_lean: bool,
    room: Extracted,
    extracting: Duration,
}

/// One event in so many is timed while its fields are taken out: a clock costs a tenth of what it would measure.
const EXTRACTING_SAMPLE: u32 = 32;

impl EventBatch {
    /// An empty batch for a projector that declares these fields of its events.
    pub fn with_fields(fields: Option<Arc<Plan>>) -> Self {
        Self {
            fields,
            ..Self::default()
        }
    }

    /// The same batch for a reader that reads these events from the log, and need not read what nobody looks at.
    pub fn lean(mut self, filter: &EventFilter) -> Self {
        let is_declared = |subscription: &Subscription| {
            let declares = |plan: &Plan| {
                subscription
                    .event_type
                    .as_deref()
                    .is_some_and(|name| plan.declares(name))
            };
            self.fields.as_deref().is_some_and(declares)
        };
        self.is_lean = !filter.any_of.is_empty() && filter.any_of.iter().all(is_declared);
        self
    }

    /// All that need be read of the events, where [`Self::push_lean`] takes them; None: they are to be read whole.
    pub fn reads(&self) -> Option<&Plan> {
        self.fields.as_deref().filter(|_| self.is_lean)
    }

    /// Adds one event: with the fields that the projector declares of it in the place of its JSON, or whole.
    pub fn push_event(&mut self, position: Position, id: EventId, event: &packed::Event<'_>) {
        if self.fields.is_none() || !self.push_lean(position, id, event) {
            packed::write_event(&mut self.bytes, event);
            self.events.push((position, id, self.bytes.len()));
        }
    }

    /// Adds one event of which no more is there than [`Self::reads`] says. False: it is not as declared, was not added,
    /// and is to be read whole.
    #[must_use]
    pub fn push_lean(&mut self, position: Position, id: EventId, event: &packed::Event<'_>) -> bool {
        let Some(plan) = &self.fields else { return false };
        let is_sample = self.events.len().is_multiple_of(EXTRACTING_SAMPLE as usize);
        let began = is_sample.then(Instant::now);
        let is_written = plan.write_declared(&mut self.bytes, event, &mut self.room);
        if let Some(began) = began {
            self.extracting += began.elapsed() * EXTRACTING_SAMPLE;
        }
        if is_written {
            self.events.push((position, id, self.bytes.len()));
        }
        is_written
    }

    /// Adds one event; `encode` writes its packed form.
    pub fn push(&mut self, position: Position, id: EventId, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.events.push((position, id, self.bytes.len()));
    }

    /// What it took about to take declared fields out of the events' JSON.
    pub fn extracting(&self) -> Duration {
        self.extracting
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The packed sequence of some of them.
    pub fn packed(&self, range: Range<usize>) -> &[u8] {
        let end_of = |index: usize| if index == 0 { 0 } else { self.events[index - 1].2 };
        &self.bytes[end_of(range.start)..end_of(range.end)]
    }

    /// Where to cut a range in two, near its middle and between stored events: siblings stay together, because a
    /// checkpoint cannot stand between them. None if the range is of one stored event.
    pub fn middle(&self, range: &Range<usize>) -> Option<usize> {
        let middle = range.start + range.len() / 2;
        let is_cut = |at: &usize| self.position(at - 1) != self.position(*at);
        let after = (middle.max(range.start + 1)..range.end).find(is_cut);
        after.or_else(|| (range.start + 1..middle).rev().find(is_cut))
    }

    /// The place of the first event at or after a position.
    pub fn place_of(&self, position: Position) -> usize {
        self.events.partition_point(|(before, _, _)| *before < position)
    }

    /// Behind the event at this place and its siblings.
    pub fn next_stored(&self, index: usize) -> usize {
        let position = self.position(index);
        self.events.partition_point(|(other, _, _)| *other <= position)
    }

    /// Some of them, by their places in ascending order, in a batch that reaches as far.
    pub fn pick(&self, places: impl Iterator<Item = usize>) -> Self {
        let mut picked = Self {
            through: self.through,
            through_id: self.through_id,
            ..Self::default()
        };
        for place in places {
            picked.push(self.position(place), self.id(place), |bytes| {
                bytes.extend_from_slice(self.packed(place..place + 1));
            });
        }
        picked
    }

    /// The same events with the fields of this plan taken out.
    pub fn extracted(&self, plan: Plan) -> Self {
        let mut extracted = Self::with_fields(Some(Arc::new(plan)));
        extracted.through = self.through;
        extracted.through_id = self.through_id;
        let events = packed::events(self.packed(0..self.len())).flatten();
        for (&(position, id, _), event) in self.events.iter().zip(events) {
            extracted.push_event(position, id, &event);
        }
        extracted
    }

    /// Position of one of them.
    pub fn position(&self, index: usize) -> Position {
        self.events[index].0
    }

    /// Id of one of them.
    pub fn id(&self, index: usize) -> EventId {
        self.events[index].1
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.events.clear();
        self.through = Position::START;
        self.through_id = None;
        self.extracting = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_types_are_seen_by_who_names_them() {
        let subscription = |event_type: Option<&str>, stream_type: Option<&str>| Subscription {
            event_type: event_type.map(str::to_owned),
            stream_type: stream_type.map(str::to_owned),
            schema_versions: vec![],
        };
        let sees = |any_of: Vec<Subscription>| {
            let filter = EventFilter {
                any_of,
                ..EventFilter::default()
            };
            filter.matches("lamphouse.PluginDeleted", 1, "lamphouse.audit")
        };
        assert!(!sees(vec![]));
        assert!(!sees(vec![
            subscription(None, None),
            subscription(Some("Paid"), None)
        ]));
        assert!(!sees(vec![subscription(None, Some("order"))]));
        assert!(sees(vec![subscription(None, Some("lamphouse.audit"))]));
        assert!(sees(vec![
            subscription(None, None),
            subscription(Some("lamphouse.PluginDeleted"), None)
        ]));
        assert!(EventFilter::everything().matches("lamphouse.PluginDeleted", 1, "lamphouse.audit"));
        assert!(EventFilter::default().matches("lamphouseKeeperHired", 1, "person"));
    }

    #[test]
    fn events_are_found_by_position_and_picked() {
        let mut batch = EventBatch::default();
        for (position, byte) in [(2, b'a'), (5, b'b'), (5, b'c'), (9, b'd')] {
            batch.push(Position(position), EventId(uuid::Uuid::nil()), |bytes| {
                bytes.push(byte);
            });
        }
        batch.through = Position(12);
        let places = [1, 2, 3, 5, 9, 10].map(|position| batch.place_of(Position(position)));
        assert_eq!(places, [0, 0, 1, 1, 3, 4]);
        assert_eq!((batch.next_stored(0), batch.next_stored(1)), (1, 3));
        let picked = batch.pick([0, 2, 3].into_iter());
        assert_eq!(picked.packed(0..3), b"acd");
        assert_eq!((picked.position(1), picked.through), (Position(5), Position(12)));
    }

    #[test]
    fn a_range_is_cut_between_stored_events() {
        let mut batch = EventBatch::default();
        for position in [1, 2, 3, 3, 3, 3, 4] {
            batch.push(Position(position), EventId(uuid::Uuid::nil()), |_| {});
        }
        assert_eq!(batch.middle(&(0..2)), Some(1));
        assert_eq!(batch.middle(&(0..7)), Some(6), "behind the siblings");
        assert_eq!(
            batch.middle(&(0..6)),
            Some(2),
            "before them, where nothing is behind"
        );
        assert_eq!(batch.middle(&(2..6)), None, "one stored event");
        assert_eq!(batch.middle(&(5..7)), Some(6));
        assert_eq!(batch.middle(&(0..1)), None);
    }
}
