//! Declared fields: what a projector reads of its events' JSON, taken out once, by the host, in native code.
//!
//! A projector of the packed lane may declare, event type by event type, all that it looks at in an event's data and
//! metadata: JSON Pointers (RFC 6901) into `{"data": …, "metadata": …}`, each with a type. The host then hands over the
//! values instead of the text, and the plugin needs no JSON parser on its way. An event whose JSON is not as declared
//! comes whole, and so may any other: [`Plan::extract`] is for both sides the one word on what the values are.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::packed::{self, Event};
use crate::{Decimal, Timestamp, ValueRef};

/// The descriptor's option that declares fields.
pub const OPTION: &str = "fields";
/// Event types of one projector that have declared fields.
const EVENT_TYPES_MAX: usize = 256;
/// Declared fields of one event type.
const FIELDS_MAX: usize = 64;
/// Longest path in bytes.
const PATH_BYTES_MAX: usize = 256;

/// The type of a declared field. Null, and what is not there, is null of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// `true`, `false`.
    Boolean,
    /// A number without point and exponent, of 64 bits with sign.
    Integer,
    /// Any number, as the nearest double.
    Real,
    /// A text `[-]digits[.digits]`, or a number without point and exponent.
    Decimal,
    /// A text.
    Text,
    /// A text in RFC 3339.
    Timestamp,
    /// Anything, as JSON text, to the letter.
    Json,
}

/// One declared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// A JSON Pointer: `/data/customer/id`, `/metadata/user`.
    pub path: &'a str,
    /// Its type.
    pub kind: FieldKind,
}

/// How the option's text spells the fields of one event type.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    event_type: String,
    fields: Vec<SpelledField>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpelledField {
    path: String,
    #[serde(rename = "type")]
    kind: FieldKind,
}

/// The text of option `fields`: JSON,
/// `[{"event_type": "LineAdded", "fields": [{"path": "/data/quantity", "type": "integer"}]}]`.
pub fn spell<'a>(events: impl IntoIterator<Item = (&'a str, &'a [Field<'a>])>) -> String {
    let spelled: Vec<Spelled> = events
        .into_iter()
        .map(|(event_type, fields)| Spelled {
            event_type: event_type.to_owned(),
            fields: fields
                .iter()
                .map(|field| SpelledField {
                    path: field.path.to_owned(),
                    kind: field.kind,
                })
                .collect(),
        })
        .collect();
    serde_json::to_string(&spelled).expect("invariant: texts and lists are JSON")
}

/// What is declared of all event types, ready to be taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    events: Vec<EventPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct EventPlan {
    event_type: Box<str>,
    fields: usize,
    data: Option<Node>,
    metadata: Option<Node>,
}

/// One step of the declared paths.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// The declared field of this place.
    Field(usize, FieldKind),
    /// Names, or numbers of an array, and what is below.
    Inner(Vec<(Box<str>, Node)>),
}

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
    /// Reads the text of option `fields`.
    ///
    /// # Errors
    /// All that is wrong with it, a sentence each.
    pub fn parse(option: &str) -> Result<Self, Vec<String>> {
        let spelled: Vec<Spelled> = serde_json::from_str(option).map_err(|error| {
            vec![format!(
                "option 'fields' is not of the form [{{\"event_type\": \"LineAdded\", \"fields\": [{{\"path\": \
                 \"/data/quantity\", \"type\": \"integer\"}}]}}]: {}",
                crate::semantics::shown_to(&error.to_string(), 200)
            )]
        })?;
        if spelled.len() > EVENT_TYPES_MAX {
            return Err(vec![format!(
                "option 'fields' names {} event types; at most {EVENT_TYPES_MAX} are allowed",
                spelled.len()
            )]);
        }
        let (mut plan, mut problems) = (Self::default(), Vec::new());
        for Spelled { event_type, fields } in &spelled {
            let shown = crate::semantics::shown(event_type);
            if plan.of(event_type).is_some() {
                problems.push(format!("option 'fields' names event type '{shown}' twice"));
                continue;
            }
            if fields.len() > FIELDS_MAX {
                problems.push(format!(
                    "option 'fields' names {} fields of '{shown}'; at most {FIELDS_MAX} are allowed",
                    fields.len()
                ));
                continue;
            }
            let fields = fields.iter().map(|field| Field {
                path: &field.path,
                kind: field.kind,
            });
            if let Err(problem) = plan.add(event_type, fields) {
                problems.push(format!("option 'fields', event type '{shown}': {problem}"));
            }
        }
        if problems.is_empty() {
            Ok(plan)
        } else {
            Err(problems)
        }
    }

    /// Declares the fields of one more event type.
    ///
    /// # Errors
    /// A path that is none, or that lies within another.
    pub fn add<'a>(
        &mut self,
        event_type: &str,
        fields: impl IntoIterator<Item = Field<'a>>,
    ) -> Result<(), String> {
        let mut plan = EventPlan {
            event_type: event_type.into(),
            fields: 0,
            data: None,
            metadata: None,
        };
        for field in fields {
            let path = crate::semantics::shown(field.path);
            if field.path.len() > PATH_BYTES_MAX {
                return Err(format!("path '{path}' is longer than {PATH_BYTES_MAX} bytes"));
            }
            let mut steps = field.path.split('/');
            let root = match (steps.next(), steps.next()) {
                (Some(""), Some("data")) => &mut plan.data,
                (Some(""), Some("metadata")) => &mut plan.metadata,
                _ => {
                    return Err(format!(
                        "path '{path}' begins neither with /data nor with /metadata"
                    ));
                }
            };
            let mut names = Vec::new();
            for step in steps {
                names.push(unescaped(step).ok_or_else(|| {
                    format!("path '{path}' is no JSON Pointer: '~' is written ~0, and '/' ~1")
                })?);
            }
            if !grow(root, &names, Node::Field(plan.fields, field.kind)) {
                return Err(format!(
                    "path '{path}' lies within another one, or is named twice"
                ));
            }
            plan.fields += 1;
        }
        self.events.push(plan);
        Ok(())
    }

    /// Whether fields of this event type are declared.
    pub fn declares(&self, event_type: &str) -> bool {
        self.of(event_type).is_some()
    }

    /// The event types whose fields are declared.
    pub fn event_types(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(|plan| &*plan.event_type)
    }

    fn of(&self, event_type: &str) -> Option<&EventPlan> {
        self.events.iter().find(|plan| *plan.event_type == *event_type)
    }

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
        if event.fields.is_none() && matches!(self.extract(event, room), Ok(true)) {
            let event = Event {
                data: "",
                metadata: "",
                fields: Some(&room.values),
                ..*event
            };
            packed::write_event(out, &event);
        } else {
            packed::write_event(out, event);
        }
    }
}

/// `~1` and `~0` as they are meant.
fn unescaped(step: &str) -> Option<Box<str>> {
    let mut text = String::with_capacity(step.len());
    let mut letters = step.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '~' => match letters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            letter => letter,
        });
    }
    Some(text.into())
}

/// Adds a path to the tree; false where it meets another one.
fn grow(root: &mut Option<Node>, names: &[Box<str>], field: Node) -> bool {
    let Some((first, rest)) = names.split_first() else {
        if root.is_some() {
            return false;
        }
        *root = Some(field);
        return true;
    };
    match root.get_or_insert_with(|| Node::Inner(Vec::new())) {
        Node::Field(..) => false,
        Node::Inner(children) => match children.iter().position(|(name, _)| name == first) {
            Some(at) => {
                let mut child = Some(children.remove(at).1);
                let grown = grow(&mut child, rest, field);
                let child = child.expect("invariant: growing takes nothing away");
                children.insert(at, (first.clone(), child));
                grown
            }
            None => {
                let mut child = None;
                let grown = grow(&mut child, rest, field);
                children.extend(child.map(|child| (first.clone(), child)));
                grown
            }
        },
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Value;

    fn event<'a>(event_type: &'a str, data: &'a str) -> Event<'a> {
        Event {
            position: 1,
            part: 0,
            id: "",
            stream_id: "s-1",
            stream_type: "s",
            stream_version: 1,
            event_type,
            schema_version: 1,
            data,
            metadata: r#"{"by":{"user":"ann"},"reason":"x"}"#,
            occurred_at: 0,
            recorded_at: 0,
            fields: None,
        }
    }

    fn plan(fields: &[(&str, FieldKind)]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let fields = fields.iter().map(|&(path, kind)| Field { path, kind });
        plan.add("E", fields).map(|()| plan)
    }

    /// The values that the fields have, or why they have none.
    fn taken(fields: &[(&str, FieldKind)], data: &str) -> Result<Vec<Value>, String> {
        let mut room = Extracted::default();
        assert!(plan(fields).unwrap().extract(&event("E", data), &mut room)?);
        let mut reader = packed::Reader::new(room.values());
        let mut values = Vec::new();
        while !reader.is_at_end() {
            values.push(reader.value().unwrap().to_value());
        }
        Ok(values)
    }

    #[test]
    fn values_come_in_the_order_of_the_declaration() {
        let fields = [
            ("/data/price/amount", FieldKind::Decimal),
            ("/data/quantity", FieldKind::Integer),
            ("/metadata/by/user", FieldKind::Text),
            ("/data/price/currency", FieldKind::Text),
            ("/data/gone", FieldKind::Timestamp),
            ("/data/lines/1/sku", FieldKind::Text),
            ("/data/a~1b", FieldKind::Boolean),
            ("/data/rest", FieldKind::Json),
            ("/data/rate", FieldKind::Real),
        ];
        let data = r#"{"rest": {"x": [1, 2]}, "quantity":3,"other":{"quantity":"no"},"a/b":true,"rate":2,
            "price":{"currency":"\u20ac","amount":"12.50"},"lines":[{"sku":"A"},{"sku":"B"}],"gone":null}"#;
        let texts = |text: &str| Value::Text(text.into());
        assert_eq!(
            taken(&fields, data).unwrap(),
            [
                Value::Decimal(Decimal::parse("12.50").unwrap()),
                Value::Integer(3),
                texts("ann"),
                texts("\u{20ac}"),
                Value::Null,
                texts("B"),
                Value::Boolean(true),
                Value::Json(r#"{"x": [1, 2]}"#.into()),
                Value::Real(2.0),
            ]
        );
        assert_eq!(
            taken(&[("/data", FieldKind::Json)], "[1]").unwrap(),
            [Value::Json("[1]".into())]
        );
        assert_eq!(
            taken(&[], "not even JSON").unwrap(),
            [],
            "what is not declared is not looked at"
        );
    }

    #[test]
    fn what_is_not_as_declared_is_said() {
        for (kind, json) in [
            (FieldKind::Integer, "1.0"),
            (FieldKind::Integer, "9223372036854775808"),
            (FieldKind::Integer, "\"1\""),
            (FieldKind::Decimal, "1.5"),
            (FieldKind::Decimal, "\"1e3\""),
            (FieldKind::Text, "7"),
            (FieldKind::Boolean, "{}"),
            (FieldKind::Timestamp, "\"yesterday\""),
            (FieldKind::Real, "[]"),
        ] {
            let error = taken(&[("/data/f", kind)], &format!("{{\"f\":{json}}}")).unwrap_err();
            assert!(error.starts_with("data of E: "), "{error}");
        }
        let twice = taken(&[("/data/f", FieldKind::Integer)], r#"{"f":1,"f":2}"#).unwrap_err();
        assert!(twice.contains("comes twice"), "{twice}");
        let not_there = taken(&[("/data/f/g", FieldKind::Integer)], r#"{"f":1}"#).unwrap_err();
        assert!(not_there.contains("an object with 'g'"), "{not_there}");
    }

    #[test]
    fn an_event_is_written_with_its_fields_or_whole() {
        let plan = plan(&[("/data/n", FieldKind::Integer)]).unwrap();
        let (mut out, mut room) = (Vec::new(), Extracted::default());
        let events = [
            event("E", r#"{"n":5}"#),
            event("E", r#"{"n":"five"}"#),
            event("Other", r#"{"n":5}"#),
        ];
        events
            .iter()
            .for_each(|event| plan.write_event(&mut out, event, &mut room));
        let back: Vec<Event<'_>> = packed::events(&out).map(Result::unwrap).collect();
        let slim = Event {
            data: "",
            metadata: "",
            fields: Some(&[5]),
            ..events[0]
        };
        assert_eq!(back, [slim, events[1], events[2]]);
    }

    #[test]
    fn the_option_is_spelled_and_read() {
        let fields = [Field {
            path: "/data/n",
            kind: FieldKind::Integer,
        }];
        let text = spell([("E", &fields[..]), ("Bare", &[])]);
        let mut due = plan(&[("/data/n", FieldKind::Integer)]).unwrap();
        due.add("Bare", []).unwrap();
        assert_eq!(Plan::parse(&text).unwrap(), due);
        for (text, problem) in [
            ("{}", "is not of the form"),
            (
                r#"[{"event_type":"E","fields":[],"more":1}]"#,
                "is not of the form",
            ),
            (
                r#"[{"event_type":"E","fields":[]},{"event_type":"E","fields":[]}]"#,
                "'E' twice",
            ),
            (
                r#"[{"event_type":"E","fields":[{"path":"/n","type":"text"}]}]"#,
                "begins neither with /data",
            ),
            (
                r#"[{"event_type":"E","fields":[{"path":"/data/~2","type":"text"}]}]"#,
                "no JSON Pointer",
            ),
            (
                r#"[{"event_type":"E","fields":[{"path":"/data/n","type":"json"},{"path":"/data/n/m","type":"text"}]}]"#,
                "lies within another",
            ),
            (
                r#"[{"event_type":"E","fields":[{"path":"/data/n/m","type":"json"},{"path":"/data/n","type":"json"}]}]"#,
                "lies within another",
            ),
        ] {
            let problems = Plan::parse(text).unwrap_err();
            assert!(problems[0].contains(problem), "{problems:?}");
        }
    }
}
