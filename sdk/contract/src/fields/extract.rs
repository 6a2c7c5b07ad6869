//! Takes declared fields out of an event's JSON.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FieldKind, Node, Plan};
use crate::packed::{self, Event};
use crate::{Decimal, Timestamp, ValueRef};

/// Room for the values of one event, kept from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    /// The values in the order of the declaration, packed.
    values: Vec<u8>,
    /// As they were met.
    met: Vec<u8>,
    /// Where each declared field lies in `met`; None where it was not met.
    places: Vec<Option<(usize, usize)>>,
}

impl Extracted {
    /// The values in the order of the declaration, one after the other, packed.
    pub fn values(&self) -> &[u8] {
        &self.values
    }
}

impl Plan {
    /// Takes the declared fields out of an event's JSON; false where none are declared of its type.
    ///
    /// # Errors
    /// The JSON is not as declared: which field, and what is there instead.
    pub fn extract(&self, event: &Event<'_>, into: &mut Extracted) -> Result<bool, String> {
        let Some(plan) = self.of(event.event_type) else {
            return Ok(false);
        };
        into.values.clear();
        into.met.clear();
        into.places.clear();
        into.places.resize(plan.fields, None);
        for (name, node, text) in [
            ("data", &plan.data, event.data),
            ("metadata", &plan.metadata, event.metadata),
        ] {
            let Some(node) = node else { continue };
            let mut json = serde_json::Deserializer::from_str(text);
            Seed { node, into }
                .deserialize(&mut json)
                .and_then(|()| json.end())
                .map_err(|error| format!("{name} of {}: {error}", event.event_type))?;
        }
        for place in &into.places {
            match *place {
                Some((start, end)) => into.values.extend_from_slice(&into.met[start..end]),
                None => packed::write_value_ref(&mut into.values, ValueRef::Null),
            }
        }
        Ok(true)
    }

    /// Writes an event with its declared fields in the place of data and metadata; whole, where none are declared or
    /// its JSON is not as declared.
    pub fn write_event(&self, out: &mut Vec<u8>, event: &Event<'_>, room: &mut Extracted) {
        if event.fields.is_some() || !self.write_declared(out, event, room) {
            packed::write_event(out, event);
        }
    }

    /// Writes an event with its declared fields in the place of data and metadata. False: none are declared, or its JSON
    /// is not as declared, and nothing was written. Of the event, only what this plan reads need be there.
    pub fn write_declared(&self, out: &mut Vec<u8>, event: &Event<'_>, room: &mut Extracted) -> bool {
        let is_declared = matches!(self.extract(event, room), Ok(true));
        if is_declared {
            let event = Event {
                data: "",
                metadata: "",
                fields: Some(&room.values),
                ..*event
            };
            packed::write_event_with(out, &event, self.entries);
        }
        is_declared
    }
}

/// Takes out what a node declares.
struct Seed<'n, 'i> {
    node: &'n Node,
    into: &'i mut Extracted,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match *self.node {
            Node::Field(place, kind) => Leaf {
                place,
                kind,
                into: self.into,
            }
            .deserialize(deserializer),
            Node::Inner(ref children) => deserializer.deserialize_any(Inner {
                children,
                into: self.into,
            }),
        }
    }
}

struct Inner<'n, 'i> {
    children: &'n [(Box<str>, Node)],
    into: &'i mut Extracted,
}

/// Finds the child of a name.
struct Name<'n>(&'n [(Box<str>, Node)]);

impl<'de, 'n> DeserializeSeed<'de> for Name<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self
            .0
            .iter()
            .find(|(child, _)| **child == *name)
            .map(|(_, node)| node))
    }
}

impl<'de> Visitor<'de> for Inner<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "an object with '{}'",
            self.children.first().map_or("", |(name, _)| name)
        )
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(node) = map.next_key_seed(Name(self.children))? {
            match node {
                Some(node) => map.next_value_seed(Seed {
                    node,
                    into: &mut *self.into,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut number = 0_usize;
        loop {
            // Numbers without zeros before them, as RFC 6901 has it.
            let name = number.to_string();
            let more = match self.children.iter().find(|(child, _)| **child == *name) {
                Some((_, node)) => list
                    .next_element_seed(Seed {
                        node,
                        into: &mut *self.into,
                    })?
                    .is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
            number += 1;
        }
    }
}

struct Leaf<'i> {
    place: usize,
    kind: FieldKind,
    into: &'i mut Extracted,
}

impl Leaf<'_> {
    fn take<E: serde::de::Error>(self, value: ValueRef<'_>) -> Result<(), E> {
        if self.into.places[self.place].is_some() {
            return Err(E::custom("a declared field comes twice"));
        }
        let start = self.into.met.len();
        packed::write_value_ref(&mut self.into.met, value);
        self.into.places[self.place] = Some((start, self.into.met.len()));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Leaf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.kind == FieldKind::Json {
            let raw = <&RawValue>::deserialize(deserializer)?;
            return match raw.get() {
                "null" => self.take(ValueRef::Null),
                text => self.take(ValueRef::Json(text)),
            };
        }
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Leaf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.kind {
            FieldKind::Boolean => "a boolean",
            FieldKind::Integer => "an integer of 64 bits",
            FieldKind::Real => "a number",
            FieldKind::Decimal => "a decimal as text, or a whole number",
            FieldKind::Text => "a text",
            FieldKind::Timestamp => "an RFC 3339 timestamp",
            FieldKind::Json => "JSON",
        })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.take(ValueRef::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            FieldKind::Boolean => self.take(ValueRef::Boolean(value)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            FieldKind::Integer => self.take(ValueRef::Integer(value)),
            FieldKind::Real => self.take(ValueRef::Real(value as f64)),
            FieldKind::Decimal => self.take(ValueRef::Decimal(Decimal::from(value))),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        match self.kind {
            FieldKind::Real => self.take(ValueRef::Real(value as f64)),
            FieldKind::Decimal => match Decimal::new(i128::from(value), 0) {
                Ok(value) => self.take(ValueRef::Decimal(value)),
                Err(error) => Err(E::custom(error)),
            },
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            FieldKind::Real => self.take(ValueRef::Real(value)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        match self.kind {
            FieldKind::Text => self.take(ValueRef::Text(value)),
            FieldKind::Decimal => match Decimal::parse(value) {
                Ok(value) => self.take(ValueRef::Decimal(value)),
                Err(error) => Err(E::custom(error)),
            },
            FieldKind::Timestamp => match Timestamp::parse(value) {
                Ok(value) => self.take(ValueRef::Timestamp(value.micros())),
                Err(error) => Err(E::custom(error)),
            },
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(value), &self)),
        }
    }
}
