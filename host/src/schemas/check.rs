//! Events held to their schemas.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use utoipa::ToSchema;

use super::counted::{Seen, within};
use super::set::{STACK_BYTES, Schema, Set};
use super::{Schemas, file_name, json};
use crate::core::NewEvent;
use crate::core::limits::UnknownTypes;

/// Violations that are listed; of more, the number is said.
const LISTED_MAX: usize = 100;
/// Characters of a message or a place.
const TEXT_CHARS_MAX: usize = 300;
/// Stack of those who call for a check, of the stack that was made for it.
const CALLERS_BYTES: usize = 8 << 20;
/// Looks at the data of one append's events. More take seconds; only schemas that multiply themselves need as many.
const STEPS_MAX: u64 = 30_000_000;
/// The same, for all violations of one event to be found; after it the first is enough. Each violation takes memory.
const LISTING_STEPS_MAX: u64 = 400_000;

/// One way in which an event is not as its schema wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Violation {
    /// The stream.
    pub stream_id: String,
    /// The event's place among those of its stream in the append, from 0.
    pub event: u64,
    /// Its type.
    pub event_type: String,
    /// Version of its schema.
    pub schema_version: u32,
    /// Where in its data, as a JSON pointer (RFC 6901); empty for the whole of it.
    pub pointer: String,
    /// The schema's keyword; empty where no schema has a say.
    pub keyword: String,
    /// What is wanted.
    pub message: String,
}

/// Why events may not be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violations {
    /// Some are not as their schemas want them.
    Found {
        /// The first hundred, in the order of the events.
        listed: Vec<Violation>,
        /// How many were found.
        total: u64,
        /// In how many events.
        events: u64,
    },
    /// A schema that should be checked cannot be used now.
    Unusable(String),
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (listed, total, events) = match self {
            Self::Unusable(why) => {
                return write!(
                    f,
                    "an event cannot be checked, because {why}: nothing was appended; mend the file, or take it out"
                );
            }
            Self::Found {
                listed,
                total,
                events,
            } => (listed, total, events),
        };
        let are = if *events == 1 {
            "1 event is"
        } else {
            &format!("{events} events are")
        };
        write!(f, "{are} not as the schemas want: nothing was appended")?;
        if let Some(first) = listed.first() {
            write!(f, "; {first}")?;
        }
        match total {
            0 | 1 => Ok(()),
            2 => write!(f, "; and 1 more violation"),
            more => write!(f, "; and {} more violations", more - 1),
        }
    }
}

impl std::error::Error for Violations {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stream '{}', event {} ({} {})",
            self.stream_id, self.event, self.event_type, self.schema_version
        )?;
        if !self.pointer.is_empty() {
            write!(f, " at {}", self.pointer)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Does what checks one append after another, on a stack that is deep enough for each of them. Without it each makes a stack
/// of its own, which takes as long as checking a small event ten times, and is nothing beside the sync of one append.
pub fn with_deep_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(STACK_BYTES + CALLERS_BYTES, work)
}

impl Schemas {
    /// Holds events to the schemas that count now. An event comes with its stream and its place among that stream's events.
    ///
    /// # Errors
    /// Every violation.
    pub fn check<'e>(
        &self,
        events: impl Iterator<Item = (&'e str, u64, &'e NewEvent)>,
    ) -> Result<(), Violations> {
        self.set().check(events)
    }
}

impl Set {
    /// Holds events to these schemas.
    ///
    /// # Errors
    /// Every violation.
    pub fn check<'e>(
        &self,
        events: impl Iterator<Item = (&'e str, u64, &'e NewEvent)>,
    ) -> Result<(), Violations> {
        let mut with_schema = Vec::new();
        let mut found = Found {
            listed: Vec::new(),
            total: 0,
            events: 0,
            steps: STEPS_MAX,
        };
        for (stream_id, place, event) in events {
            let (event_type, version) = (event.event_type.as_str(), event.schema_version);
            if let Some(why) = self.broken(event_type, version) {
                return Err(Violations::Unusable(why.to_owned()));
            }
            match self.schema(event_type, version) {
                Some(schema) => with_schema.push((stream_id, place, event, Some(schema))),
                None if self.unknown == UnknownTypes::Refuse => {
                    with_schema.push((stream_id, place, event, None))
                }
                None => {}
            }
        }
        if with_schema.is_empty() {
            return Ok(());
        }
        // Recursive schemas go as deep as the data.
        let checked = catch_unwind(AssertUnwindSafe(|| {
            stacker::maybe_grow(STACK_BYTES, STACK_BYTES + CALLERS_BYTES, move || {
                for (stream_id, place, event, schema) in with_schema {
                    found.event(stream_id, place, event, schema);
                }
                found
            })
        }));
        let found = checked.map_err(
            |_| "the check itself failed, by a bug or for want of memory; the log of the host has its words",
        );
        match found {
            Err(why) => Err(Violations::Unusable(why.to_owned())),
            Ok(found) if found.total == 0 => Ok(()),
            Ok(found) => Err(Violations::Found {
                listed: found.listed,
                total: found.total,
                events: found.events,
            }),
        }
    }
}

struct Found {
    listed: Vec<Violation>,
    total: u64,
    events: u64,
    /// Left for all events together.
    steps: u64,
}

impl Found {
    fn event(&mut self, stream_id: &str, place: u64, event: &NewEvent, schema: Option<&Schema>) {
        let before = self.total;
        let mut add = |pointer: &str, keyword: &str, message: &dyn fmt::Display| {
            self.total += 1;
            if self.listed.len() < LISTED_MAX {
                self.listed.push(Violation {
                    stream_id: stream_id.to_owned(),
                    event: place,
                    event_type: event.event_type.clone(),
                    schema_version: event.schema_version,
                    pointer: cut(pointer),
                    keyword: keyword.to_owned(),
                    message: cut(&message.to_string()),
                });
            }
        };
        let Some(schema) = schema else {
            let file = file_name(&event.event_type, event.schema_version);
            add(
                "",
                "",
                &format_args!(
                    "there is no schema for this type and version, and [schemas] unknown is \"refuse\": put {file} into the \
                     schema folder first"
                ),
            );
            self.events += 1;
            return;
        };
        let data = match json::read(event.data.get().as_bytes()) {
            Ok(data) => data,
            Err(why) => {
                add("", "", &format_args!("the data cannot be checked: {why}"));
                self.events += 1;
                return;
            }
        };
        let data = Seen(&data);
        match within(&mut self.steps, || schema.validator.is_valid(data)) {
            Some(true) => return,
            Some(false) => {}
            None => {
                let why = "the check did not end within thirty million looks at the data of this append, or went too deep: \
                           append fewer events at once, or simplify the schema";
                add("", "", &why);
                self.events += 1;
                return;
            }
        }
        let listed = within(&mut LISTING_STEPS_MAX.clone(), || {
            for error in schema.validator.iter_errors(data) {
                add(
                    error.instance_path().as_str(),
                    error.kind().keyword(),
                    &error.masked(),
                );
            }
        });
        let first = |add: &mut dyn FnMut(&str, &str, &dyn fmt::Display)| {
            if let Err(error) = schema.validator.validate(data) {
                add(
                    error.instance_path().as_str(),
                    error.kind().keyword(),
                    &error.masked(),
                );
            }
        };
        if listed.is_none() && within(&mut LISTING_STEPS_MAX.clone(), || first(&mut add)).is_none() {
            add(
                "",
                "",
                &"it is not as the schema wants; there are too many ways to say where",
            );
        }
        self.events += u64::from(self.total > before);
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
