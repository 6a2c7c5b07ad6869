use std::ops::Deref;

use lamphouse_contract::packed;
use serde::Deserialize;

use crate::fields::Declared;
use crate::{Error, EventFields, Random, Result, Timestamp};

/// One event, borrowed from the bytes of the call.
///
/// Its fields are those of [`packed::Event`]: `position, part, id, stream_id, stream_type, stream_version,
/// event_type, schema_version, data, metadata`; the last two are JSON text, read by [`Event::data`] and
/// [`Event::metadata`], or by [`Event::fields`] alone where the projector declares what it reads of them.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    stored: packed::Event<'a>,
    declared: Option<Declared<'a>>,
}

impl<'a> Deref for Event<'a> {
    type Target = packed::Event<'a>;
    #[inline]
    fn deref(&self) -> &packed::Event<'a> {
        &self.stored
    }
}

impl<'a> Event<'a> {
    #[inline]
    pub(crate) fn new(stored: packed::Event<'a>, declared: Option<Declared<'a>>) -> Self {
        // What is declared may come with the rest or without, as suits the host: so nobody is to see the rest.
        let stored = match declared {
            Some(_) => packed::Event {
                data: "",
                metadata: "",
                ..stored
            },
            None => stored,
        };
        Self { stored, declared }
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
            Some(declared) => declared.read(self.stored.event_type),
            None => Err(Error::new(format_args!(
                "the fields of {0} are read, but describe() does not declare them: subscribe with \
                 .on_fields::<…>(\"{0}\")",
                self.stored.event_type
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
                self.stored.event_type
            ))),
            None => Ok(()),
        }
    }

    /// The event's data. Texts may be borrowed, which saves a copy of each: `&'a str` where a text has no escapes,
    /// `#[serde(borrow)] Cow<'a, str>` where it may.
    #[track_caller]
    pub fn data<T: Deserialize<'a>>(&self) -> Result<T> {
        self.whole()?;
        match serde_json::from_str(self.stored.data) {
            Ok(data) => Ok(data),
            Err(error) => Err(Error::new(error).context(format_args!("data of {}", self.stored.event_type))),
        }
    }

    /// The event's metadata.
    #[track_caller]
    pub fn metadata<T: Deserialize<'a>>(&self) -> Result<T> {
        self.whole()?;
        match serde_json::from_str(self.stored.metadata) {
            Ok(metadata) => Ok(metadata),
            Err(error) => {
                Err(Error::new(error).context(format_args!("metadata of {}", self.stored.event_type)))
            }
        }
    }

    /// When it happened. The only clock that a projector should look at.
    pub fn occurred_at(&self) -> Timestamp {
        Timestamp::from_micros(self.stored.occurred_at)
    }

    /// When the log stored it.
    pub fn recorded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.stored.recorded_at)
    }

    /// Random numbers that are the same whenever this event is projected, on every machine.
    pub fn random(&self) -> Random {
        Random::new(self.stored.id, self.stored.part)
    }
}
