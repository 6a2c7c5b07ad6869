use std::ops::Deref;

use lamphouse_contract::packed;
use serde::Deserialize;

use crate::{Error, Random, Result, Timestamp};

/// One event, borrowed from the bytes of the call.
///
/// Its fields are those of [`packed::Event`]: `position, part, id, stream_id, stream_type, stream_version,
/// event_type, schema_version, data, metadata`; the last two are JSON text, read by [`Event::data`] and
/// [`Event::metadata`].
#[derive(Clone, Copy, Debug)]
pub struct Event<'a>(pub(crate) packed::Event<'a>);

impl<'a> Deref for Event<'a> {
    type Target = packed::Event<'a>;
    fn deref(&self) -> &packed::Event<'a> {
        &self.0
    }
}

impl<'a> Event<'a> {
    /// The event's data. Texts may be borrowed, which saves a copy of each: `&'a str` where a text has no escapes,
    /// `#[serde(borrow)] Cow<'a, str>` where it may.
    #[track_caller]
    pub fn data<T: Deserialize<'a>>(&self) -> Result<T> {
        match serde_json::from_str(self.0.data) {
            Ok(data) => Ok(data),
            Err(error) => Err(Error::new(error).context(format_args!("data of {}", self.0.event_type))),
        }
    }

    /// The event's metadata.
    #[track_caller]
    pub fn metadata<T: Deserialize<'a>>(&self) -> Result<T> {
        match serde_json::from_str(self.0.metadata) {
            Ok(metadata) => Ok(metadata),
            Err(error) => Err(Error::new(error).context(format_args!("metadata of {}", self.0.event_type))),
        }
    }

    /// When it happened. The only clock that a projector should look at.
    pub fn occurred_at(&self) -> Timestamp {
        Timestamp::from_micros(self.0.occurred_at)
    }

    /// When the log stored it.
    pub fn recorded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.0.recorded_at)
    }

    /// Random numbers that are the same whenever this event is projected, on every machine.
    pub fn random(&self) -> Random {
        Random::new(self.0.id, self.0.part)
    }
}
