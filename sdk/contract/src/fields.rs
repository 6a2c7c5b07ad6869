//! Declared fields: what a projector reads of its events' JSON, taken out once, by the host, in native code.
//!
//! A projector of the packed lane may declare, event type by event type, all that it looks at in an event's data and
//! metadata: JSON Pointers (RFC 6901) into `{"data": …, "metadata": …}`, each with a type. The host then hands over the
//! values instead of the text, and the plugin needs no JSON parser on its way. An event whose JSON is not as declared
//! comes whole, and so may any other: [`Plan::extract`] is for both sides the one word on what the values are.
//! It may also name the [`Entries`] that it reads beside the JSON, so that the others need not be read from the log.

mod entries;
mod extract;
#[cfg(test)]
mod tests;

pub use entries::{ENTRIES_OPTION, Entries, Entry};
pub use extract::Extracted;
use serde::{Deserialize, Serialize};

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

/// What is wrong with what a descriptor's options declare of events, a sentence each.
pub fn check(options: &[(String, String)]) -> Vec<String> {
    let text = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, text)| text);
    let declared = text(OPTION);
    let mut problems = declared
        .and_then(|text| Plan::parse(text).err())
        .unwrap_or_default();
    if let Some(named) = text(ENTRIES_OPTION) {
        problems.extend(Entries::parse(named).err());
        if declared.is_none() {
            problems.push(format!(
                "option '{ENTRIES_OPTION}' is of events whose fields are declared, but there is no option '{OPTION}': an event \
                 that comes whole has all entries"
            ));
        }
    }
    problems
}

/// What is declared of all event types, ready to be taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    events: Vec<EventPlan>,
    entries: Entries,
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

    /// The same, of whose events no other entries are read than these.
    #[must_use]
    pub fn reading(self, entries: Entries) -> Self {
        Self { entries, ..self }
    }

    /// Which entries are read of the events whose fields are declared.
    pub fn entries(&self) -> Entries {
        self.entries
    }

    /// Whether a field within the data of some event is declared.
    pub fn reads_data(&self) -> bool {
        self.events.iter().any(|plan| plan.data.is_some())
    }

    /// Whether a field within the metadata of some event is declared.
    pub fn reads_metadata(&self) -> bool {
        self.events.iter().any(|plan| plan.metadata.is_some())
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
