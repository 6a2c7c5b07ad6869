use lamphouse_contract::fields::Entry;
use lamphouse_contract::packed;
use serde::Deserialize;

use crate::fields::Declared;
use crate::{Error, EventFields, Random, Result, Timestamp};

/// One event, borrowed from the bytes of the call.
///
/// `data` and `metadata` are JSON text, read by [`Event::data`] and [`Event::metadata`]; where the projector declares what
/// it reads of them, they are empty, and [`Event::fields`] reads it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Place in the log.
    pub position: u64,
    /// Among the siblings that upcasters made of one stored event, from 0.
    pub part: u32,
    /// The stream.
    pub stream_id: &'a str,
    /// For example `OrderPlaced`.
    pub event_type: &'a str,
    /// JSON text.
    pub data: &'a str,
    /// JSON object text.
    pub metadata: &'a str,
    rest: Rest<'a>,
    declared: Option<Declared<'a>>,
}

/// What a projector may do without: see [`Plugin::entries`](crate::Plugin::entries).
#[derive(Clone, Copy, Debug)]
struct Rest<'a> {
    id: &'a str,
    stream_type: &'a str,
    stream_version: u64,
    schema_version: u32,
    occurred_at: i64,
    recorded_at: i64,
}

impl<'a> Event<'a> {
    #[inline]
    pub(crate) fn new(stored: packed::Event<'a>, declared: Option<Declared<'a>>) -> Self {
        // What is declared may come with the rest or without, as suits the host: so nobody is to see the rest.
        let (data, metadata) = match declared {
            Some(_) => ("", ""),
            None => (stored.data, stored.metadata),
        };
        Self {
            position: stored.position,
            part: stored.part,
            stream_id: stored.stream_id,
            event_type: stored.event_type,
            data,
            metadata,
            rest: Rest {
                id: stored.id,
                stream_type: stored.stream_type,
                stream_version: stored.stream_version,
                schema_version: stored.schema_version,
                occurred_at: stored.occurred_at,
                recorded_at: stored.recorded_at,
            },
            declared,
        }
    }

    /// The same event with what is declared of it.
    pub(crate) fn with_declared(self, declared: Option<Declared<'a>>) -> Self {
        match declared {
            Some(_) => Self {
                data: "",
                metadata: "",
                declared,
                ..self
            },
            None => self,
        }
    }

    /// Whether what is declared of it is at hand.
    pub(crate) fn is_declared(&self) -> bool {
        self.declared.is_some()
    }

    /// As it is stored, where it came whole.
    pub(crate) fn stored(&self) -> packed::Event<'a> {
        packed::Event {
            position: self.position,
            part: self.part,
            id: self.rest.id,
            stream_id: self.stream_id,
            stream_type: self.rest.stream_type,
            stream_version: self.rest.stream_version,
            event_type: self.event_type,
            schema_version: self.rest.schema_version,
            data: self.data,
            metadata: self.metadata,
            occurred_at: self.rest.occurred_at,
            recorded_at: self.rest.recorded_at,
            fields: None,
        }
    }

    /// An entry that may be left out must have been named, whether it was left out or not.
    #[track_caller]
    #[inline]
    fn entry<T>(&self, entry: Entry, of: impl FnOnce(&Rest<'a>) -> T) -> T {
        if let Some(declared) = &self.declared
            && !declared.entries().has(entry)
        {
            self.unnamed(entry);
        }
        of(&self.rest)
    }

    #[track_caller]
    #[cold]
    fn unnamed(&self, entry: Entry) -> ! {
        panic!(
            "{entry:?} of {} is read, but describe() says by .entries(…) that it is not: add Entry::{entry:?} there",
            self.event_type
        )
    }

    /// Its identity: a UUID as text.
    #[track_caller]
    #[inline]
    pub fn id(&self) -> &'a str {
        self.entry(Entry::Id, |rest| rest.id)
    }

    /// The type of its stream.
    #[track_caller]
    #[inline]
    pub fn stream_type(&self) -> &'a str {
        self.entry(Entry::StreamType, |rest| rest.stream_type)
    }

    /// Its place in the stream, from 1.
    #[track_caller]
    #[inline]
    pub fn stream_version(&self) -> u64 {
        self.entry(Entry::StreamVersion, |rest| rest.stream_version)
    }

    /// The version of its type's schema, from 1.
    #[track_caller]
    #[inline]
    pub fn schema_version(&self) -> u32 {
        self.entry(Entry::SchemaVersion, |rest| rest.schema_version)
    }

    /// When it happened. The only clock that a projector should look at.
    #[track_caller]
    #[inline]
    pub fn occurred_at(&self) -> Timestamp {
        Timestamp::from_micros(self.entry(Entry::OccurredAt, |rest| rest.occurred_at))
    }

    /// When the log stored it.
    #[track_caller]
    #[inline]
    pub fn recorded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.entry(Entry::RecordedAt, |rest| rest.recorded_at))
    }

    /// Random numbers that are the same whenever this event is projected, on every machine. They are made of its id.
    #[track_caller]
    pub fn random(&self) -> Random {
        Random::new(self.id(), self.part)
    }

    /// What the projector declares that it reads of events of this type: see [`EventFields`].
    ///
    /// # Errors
    /// The event's JSON is not as declared; or these are not the fields that
    /// [`Plugin::on_fields`](crate::Plugin::on_fields) declares.
    #[track_caller]
    #[inline]
    pub fn fields<T: EventFields<'a>>(&self) -> Result<T> {
        match &self.declared {
            Some(declared) => declared.read(self.event_type),
            None => Err(Error::new(format_args!(
                "the fields of {0} are read, but describe() does not declare them: subscribe with \
                 .on_fields::<…>(\"{0}\")",
                self.event_type
            ))),
        }
    }

    /// JSON of an event that comes whole.
    #[track_caller]
    fn whole(&self) -> Result<()> {
        match self.declared {
            Some(_) => Err(Error::new(format_args!(
                "describe() declares what is read of {0}: it has fields(), and neither data nor metadata; subscribe \
                 with .on(\"{0}\") to have them",
                self.event_type
            ))),
            None => Ok(()),
        }
    }

    /// The event's data. Texts may be borrowed, which saves a copy of each: `&'a str` where a text has no escapes,
    /// `#[serde(borrow)] Cow<'a, str>` where it may.
    #[track_caller]
    pub fn data<T: Deserialize<'a>>(&self) -> Result<T> {
        self.whole()?;
        match serde_json::from_str(self.data) {
            Ok(data) => Ok(data),
            Err(error) => Err(Error::new(error).context(format_args!("data of {}", self.event_type))),
        }
    }

    /// The event's metadata.
    #[track_caller]
    pub fn metadata<T: Deserialize<'a>>(&self) -> Result<T> {
        self.whole()?;
        match serde_json::from_str(self.metadata) {
            Ok(metadata) => Ok(metadata),
            Err(error) => Err(Error::new(error).context(format_args!("metadata of {}", self.event_type))),
        }
    }
}
