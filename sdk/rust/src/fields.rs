//! Declared fields: what a projector reads of an event's JSON, handed over as values.

use std::borrow::Cow;

use lamphouse_contract::fields::{Entries, Extracted, Field, FieldKind, Plan};
use lamphouse_contract::packed::Reader;
use lamphouse_contract::{Decimal, ValueRef};
use serde::Deserialize;

use crate::{Error, Event, Json, Plugin, Result, Timestamp};

/// What a projector reads of events of one type, named ahead so that the host takes it out of the JSON in native code:
/// several times quicker than parsing in the sandbox. Derive it, subscribe with [`Plugin::on_fields`], and read it with
/// [`crate::Event::fields`].
///
/// ```
/// use lamphouse_sdk::prelude::*;
///
/// #[derive(EventFields)]
/// struct LineAdded<'a> {
///     // At /data/sku. Texts are borrowed, escapes or not.
///     sku: &'a str,
///     // Null, or not there: None.
///     quantity: Option<i64>,
///     #[field(path = "/data/price/amount")]
///     price: Decimal,
///     #[field(path = "/metadata/user")]
///     user: Option<&'a str>,
/// }
/// # let _ = Plugin::new("lines", "1.0.0").on_fields::<LineAdded>("LineAdded");
/// ```
///
/// Types: `bool`, `i64` and narrower integers, `f64`, [`Decimal`], [`Timestamp`], `&str`, `Cow<str>`, `String`,
/// [`Json<T>`](Json) for whatever serde reads, and an `Option` of each for what may be null or absent. Paths are JSON
/// Pointers (RFC 6901) into the event's `data` and `metadata`; without one, a field is at the top of `data`.
pub trait EventFields<'a>: Sized {
    /// Where they are, and their types, in the order of the values.
    const FIELDS: &'static [Field<'static>];

    /// From the values in that order.
    #[doc(hidden)]
    fn from_values(values: &mut FieldValues<'a>) -> Result<Self>;
}

/// A Rust type that a declared field may have.
pub trait FromField<'a>: Sized {
    /// What the host is asked for.
    const KIND: FieldKind;

    /// From a value of that kind, or null.
    ///
    /// # Errors
    /// Null where something must be, or what the type cannot hold.
    fn from_field(value: ValueRef<'a>) -> Result<Self>;
}

/// The values of one event's fields, read one after the other.
#[doc(hidden)]
pub struct FieldValues<'a> {
    values: Reader<'a>,
    /// Where the one is that was read last.
    path: &'static str,
}

impl<'a> FieldValues<'a> {
    /// The next one, which is at this path.
    #[doc(hidden)]
    #[inline]
    pub fn read<T: FromField<'a>>(&mut self, path: &'static str) -> Result<T> {
        self.path = path;
        let value = self.values.value()?;
        match T::from_field(value) {
            Ok(value) => Ok(value),
            Err(error) if value == ValueRef::Null => Err(error.context(format_args!("missing field {path}"))),
            Err(error) => Err(error.context(path)),
        }
    }
}

#[cold]
fn unexpected<T>(value: &ValueRef<'_>, wanted: &str) -> Result<T> {
    Err(match value {
        ValueRef::Null => Error::new(format_args!("null or not there, where {wanted} is due")),
        value => Error::new(format_args!("{value:?} where {wanted} is due")),
    })
}

macro_rules! from_field {
    ($($type:ty, $kind:ident, $name:literal, $pattern:pat => $value:expr;)*) => {$(
        impl<'a> FromField<'a> for $type {
            const KIND: FieldKind = FieldKind::$kind;
            #[inline]
            fn from_field(value: ValueRef<'a>) -> Result<Self> {
                match value {
                    $pattern => Ok($value),
                    other => unexpected(&other, $name),
                }
            }
        }
    )*};
}

from_field! {
    bool, Boolean, "a boolean", ValueRef::Boolean(value) => value;
    i64, Integer, "an integer", ValueRef::Integer(value) => value;
    f64, Real, "a number", ValueRef::Real(value) => value;
    Decimal, Decimal, "a decimal", ValueRef::Decimal(value) => value;
    Timestamp, Timestamp, "a timestamp", ValueRef::Timestamp(value) => Self::from_micros(value);
    &'a str, Text, "a text", ValueRef::Text(value) => value;
    Cow<'a, str>, Text, "a text", ValueRef::Text(value) => Cow::Borrowed(value);
    String, Text, "a text", ValueRef::Text(value) => value.to_owned();
}

macro_rules! from_narrow_field {
    ($($type:ty),*) => {$(
        impl<'a> FromField<'a> for $type {
            const KIND: FieldKind = FieldKind::Integer;
            #[inline]
            fn from_field(value: ValueRef<'a>) -> Result<Self> {
                let wide = i64::from_field(value)?;
                wide.try_into().map_err(|_| {
                    Error::new(format_args!(concat!("{} does not fit ", stringify!($type)), wide))
                })
            }
        }
    )*};
}

from_narrow_field!(i32, i16, i8, u64, u32, u16, u8);

impl<'a, T: Deserialize<'a>> FromField<'a> for Json<T> {
    const KIND: FieldKind = FieldKind::Json;
    fn from_field(value: ValueRef<'a>) -> Result<Self> {
        match value {
            ValueRef::Json(text) => Ok(Self(serde_json::from_str(text)?)),
            ValueRef::Null => Ok(Self(serde_json::from_str("null")?)),
            other => unexpected(&other, "JSON"),
        }
    }
}

impl<'a, T: FromField<'a>> FromField<'a> for Option<T> {
    const KIND: FieldKind = T::KIND;
    #[inline]
    fn from_field(value: ValueRef<'a>) -> Result<Self> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::from_field(value).map(Some),
        }
    }
}

/// What is declared of an event, and what it has of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared<'a> {
    fields: &'static [Field<'static>],
    /// The values, or why there are none.
    values: Result<&'a [u8], &'a str>,
    entries: Entries,
}

impl<'a> Declared<'a> {
    /// The entries that the projector reads.
    #[inline]
    pub(crate) fn entries(&self) -> Entries {
        self.entries
    }

    #[track_caller]
    #[inline]
    pub(crate) fn read<T: EventFields<'a>>(&self, event_type: &str) -> Result<T> {
        // Nearly always the same list in memory.
        let same = std::ptr::eq(self.fields, T::FIELDS) || self.fields == T::FIELDS;
        if !same {
            return Err(Error::new(format_args!(
                "other fields of {event_type} are read than .on_fields(\"{event_type}\") declares"
            )));
        }
        match self.values {
            Ok(values) => {
                let mut values = FieldValues {
                    values: Reader::new(values),
                    path: "",
                };
                match T::from_values(&mut values) {
                    Ok(fields) => Ok(fields),
                    Err(error) => {
                        let part = match values.path.starts_with("/metadata") {
                            true => "metadata",
                            false => "data",
                        };
                        Err(error.context(format_args!("{part} of {event_type}")).made_here())
                    }
                }
            }
            Err(why) => Err(Error::new(why)),
        }
    }
}

/// The declared fields of those events of a call that came whole: from the log's end, where they are few and many
/// projectors share them, and where an event's JSON is not as declared.
#[derive(Default)]
pub(crate) struct OwnFields {
    /// Places of these events in the call.
    places: Vec<usize>,
    values: Vec<Result<Vec<u8>, String>>,
}

impl OwnFields {
    /// Takes them out of each event that came whole, and that the projector declares fields of.
    pub(crate) fn of(plugin: &Plugin, events: &[Event<'_>]) -> Result<Self> {
        let mut own = Self::default();
        let mut plan = None;
        let mut room = Extracted::default();
        for (place, event) in events.iter().enumerate() {
            if event.is_declared() || plugin.declared(event.event_type).is_none() {
                continue;
            }
            let plan = match &plan {
                Some(plan) => plan,
                None => plan.insert(plugin.field_plan()?),
            };
            own.places.push(place);
            own.values.push(
                plan.extract(&event.stored(), &mut room)
                    .map(|_| room.values().to_vec()),
            );
        }
        Ok(own)
    }

    /// Gives them to their events.
    pub(crate) fn give<'a>(&'a self, plugin: &Plugin, events: &mut [Event<'a>]) {
        for (&place, values) in self.places.iter().zip(&self.values) {
            let event = &mut events[place];
            let values = values.as_deref().map_err(String::as_str);
            *event = event.with_declared(plugin.declared_as(event.event_type, values));
        }
    }
}

impl Plugin {
    /// What is declared of an event that has these values, if anything is.
    #[inline]
    pub(crate) fn declared_as<'a>(
        &self,
        event_type: &str,
        values: Result<&'a [u8], &'a str>,
    ) -> Option<Declared<'a>> {
        let fields = self.declared(event_type)?;
        Some(Declared {
            fields,
            values,
            entries: self.entries,
        })
    }

    fn declared(&self, event_type: &str) -> Option<&'static [Field<'static>]> {
        let declared = self.fields.iter().find(|(declared, _)| declared == event_type);
        declared.map(|(_, fields)| *fields)
    }

    /// Whether fields of some event type are declared.
    pub(crate) fn declares_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    fn field_plan(&self) -> Result<Plan> {
        let mut plan = Plan::default();
        for (event_type, fields) in &self.fields {
            plan.add(event_type, fields.iter().copied()).map_err(Error::new)?;
        }
        Ok(plan)
    }
}
