//! Why an event is, or is not, in the tables, and which rows it is about: read from the databases, with or without a
//! running host.

use std::cell::OnceCell;
use std::sync::Arc;

use lamphouse_contract::{Descriptor, Subscription};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host::HostError;
use super::plan::state_word;
use super::today::upcasters_of;
use crate::core::{EventFilter, StoredEvent};
use crate::log::EventLog;
use crate::plugin::Sandbox;
use crate::tables::{
    DeadLetter, Discard, GenerationRecord, GenerationState, LetterQuery, StoreError, TableStore,
};
use crate::upcast::Upcasters;

mod rows;

pub use rows::{NamedRow, Rows};

/// What became of an event in one generation of a projection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The projection.
    pub projection: String,
    /// Its generation: 7 for `g7`.
    pub generation: i64,
    /// Where that stands: `live`, `building`, `ready`, `failed`, `retired`.
    pub state: String,
    /// The projector's version.
    pub version: String,
    /// `applied`, `parked`, `behind`, `discarded`, `not_subscribed`, `dropped`, `not_lifted` or `not_reached`.
    pub outcome: String,
    /// The same in a sentence.
    pub message: String,
    /// Of an applied event: the rows that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Rows>,
}

/// What became of an event everywhere.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The event.
    pub event: StoredEvent,
    /// Each generation of each projection, the public one first.
    pub projections: Vec<Explained>,
}

/// Says of each generation of each projection what became of an event, the public one first. `sandbox` is asked for once,
/// where some code has to run.
///
/// # Errors
/// A database is away, or an upcaster does not run with this host any more.
pub fn explain(
    sandbox: &dyn Fn() -> Result<Arc<Sandbox>, HostError>,
    store: &Arc<dyn TableStore>,
    log: &Arc<dyn EventLog>,
    event: &StoredEvent,
) -> Result<Vec<Explained>, HostError> {
    let explainer = Explainer {
        make: sandbox,
        store,
        log,
        event,
        discards: store.discards(None)?,
        sandbox: OnceCell::new(),
    };
    let mut generations = store.generations()?;
    generations.sort_by_cached_key(|one| {
        let rank = match one.state {
            GenerationState::Live => 0,
            GenerationState::Retired => 2,
            _ => 1,
        };
        (one.projection.clone(), rank, std::cmp::Reverse(one.id))
    });
    let explained = generations.iter().map(|generation| {
        let (outcome, message) = explainer.one(generation)?;
        Ok(Explained {
            projection: generation.projection.to_string(),
            generation: generation.id.0,
            state: state_word(generation.state).to_owned(),
            version: generation.version.clone(),
            outcome: outcome.to_owned(),
            message,
            changes: (outcome == APPLIED).then(|| explainer.rows(generation)),
        })
    });
    explained.collect()
}

const APPLIED: &str = "applied";

/// One event, and what it is looked for in.
struct Explainer<'e> {
    make: &'e dyn Fn() -> Result<Arc<Sandbox>, HostError>,
    store: &'e Arc<dyn TableStore>,
    log: &'e Arc<dyn EventLog>,
    event: &'e StoredEvent,
    discards: Vec<Discard>,
    sandbox: OnceCell<Arc<Sandbox>>,
}

impl Explainer<'_> {
    fn sandbox(&self) -> Result<Arc<Sandbox>, HostError> {
        if let Some(sandbox) = self.sandbox.get() {
            return Ok(sandbox.clone());
        }
        let sandbox = (self.make)()?;
        Ok(self.sandbox.get_or_init(|| sandbox).clone())
    }

    /// The upcasters that a generation was built with.
    fn upcasters(&self, generation: &GenerationRecord) -> Result<Arc<Upcasters>, HostError> {
        match generation.upcasters.is_empty() {
            true => Ok(Arc::new(Upcasters::empty())),
            false => upcasters_of(&self.sandbox()?, &**self.store, generation),
        }
    }

    fn one(&self, generation: &GenerationRecord) -> Result<(&'static str, String), HostError> {
        let event = self.event;
        let is_it = |one: &&Discard| one.projection == generation.projection && one.event_id == event.id;
        if let Some(discard) = self.discards.iter().find(is_it) {
            let said = match discard.by.as_str() {
                "" => format!("left out by a person's decision: {}", discard.reason),
                by => format!("left out by a decision of {by}: {}", discard.reason),
            };
            return Ok(("discarded", said));
        }
        let letters = self.store.dead_letters(&LetterQuery {
            generation: Some(generation.id),
            event_id: Some(event.id),
            limit: 1,
            ..LetterQuery::default()
        })?;
        if let Some(letter) = letters.into_iter().next() {
            return Ok(self.parked(generation, &letter)?);
        }
        let upcasters = self.upcasters(generation)?;
        if let Some(said) = not_wanted(event, &generation.descriptor, &upcasters) {
            return Ok(said);
        }
        let reached = generation.checkpoint.position;
        if reached < event.position {
            let behind = event.position.0 - reached.0;
            let events = if behind == 1 { "event" } else { "events" };
            return Ok((
                "not_reached",
                format!("not reached yet: the tables are at position {reached}, {behind} {events} before it"),
            ));
        }
        Ok((APPLIED, "applied: its effects are in the tables".to_owned()))
    }

    fn parked(
        &self,
        generation: &GenerationRecord,
        letter: &DeadLetter,
    ) -> Result<(&'static str, String), StoreError> {
        let Some(first) = letter.behind else {
            let tries = match letter.attempts {
                1 => "1 try".to_owned(),
                many => format!("{many} tries"),
            };
            return Ok(("parked", format!("parked after {tries}: {}", letter.message)));
        };
        let name = &generation.projection;
        let stream = &letter.stream_id;
        let of_stream = LetterQuery {
            generation: Some(generation.id),
            stream_id: Some(stream.clone()),
            limit: 1,
            ..LetterQuery::default()
        };
        // What stood before it may have been discarded, or replayed by a retry that was cut short.
        let is_next = self
            .store
            .dead_letters(&of_stream)?
            .first()
            .is_some_and(|next| next.position == letter.position);
        let said = match is_next {
            true => format!(
                "parked behind position {first} of stream {stream}, which is not parked any more: `lamphouse \
                 dead-letters retry {name}` applies it"
            ),
            false => format!(
                "parked behind position {first}: an earlier event of stream {stream} failed, and a stream is applied in \
                 order"
            ),
        };
        Ok(("behind", said))
    }
}

/// Why a projector never sees an event, if it does not.
fn not_wanted(
    event: &StoredEvent,
    descriptor: &Descriptor,
    upcasters: &Arc<Upcasters>,
) -> Option<(&'static str, String)> {
    let wanted = EventFilter {
        any_of: descriptor.subscriptions.clone(),
        ..EventFilter::default()
    };
    let id = event.id.to_string();
    let stored = event.borrowed(&id);
    let mut dropped_by = None;
    let lifted = upcasters.show(&[stored], &Arc::default(), &mut |step| {
        if step.after.is_empty() {
            let by = upcasters.plugins()[step.upcaster].descriptor();
            dropped_by = Some(format!("{} {}", by.name, by.version));
        }
    });
    let forms = match lifted {
        Ok(lifted) => lifted.into_iter().next().flatten(),
        Err((_, fault)) => {
            return Some(("not_lifted", format!("it cannot be lifted: {}", fault.message)));
        }
    };
    let (name, takes) = (&descriptor.name, shown(&descriptor.subscriptions));
    let not_subscribed = |is: &str, wanted: &str| {
        let said = format!(
            "not subscribed: {is}, and the projector takes {takes}; a version of {name} that subscribes to {wanted} would \
             have it"
        );
        Some(("not_subscribed", said))
    };
    let Some(forms) = forms else {
        let fits = wanted.matches(&event.event_type, event.schema_version, &event.stream_type);
        if fits {
            return None;
        }
        let schema = format!("{} {}", event.event_type, event.schema_version);
        let is = format!("it is {schema} in a stream of type {}", event.stream_type);
        return not_subscribed(&is, &schema);
    };
    let fits = |schema: &(String, u32)| wanted.matches(&schema.0, schema.1, &event.stream_type);
    let schemas: Vec<(String, u32)> = forms
        .iter()
        .map(|form| (form.event_type.to_string(), form.schema_version))
        .collect();
    match (schemas.iter().any(fits), schemas.as_slice(), dropped_by) {
        (true, ..) => None,
        (false, [], Some(by)) => Some(("dropped", format!("dropped by upcaster {by}"))),
        (false, schemas, _) => {
            let schema = |(event_type, version): &(String, u32)| format!("{event_type} {version}");
            let all: Vec<String> = schemas.iter().map(schema).collect();
            not_subscribed(
                &format!("upcasters make it {}", all.join(", ")),
                &all.join(" or "),
            )
        }
    }
}

/// `OrderPlaced, LineAdded 2 in streams of type order`.
fn shown(subscriptions: &[Subscription]) -> String {
    let one = |subscription: &Subscription| {
        let event_type = subscription.event_type.as_deref().unwrap_or("every event");
        let versions: Vec<String> = subscription.schema_versions.iter().map(u32::to_string).collect();
        let mut text = event_type.to_owned();
        if !versions.is_empty() {
            text = format!("{text} {}", versions.join(" or "));
        }
        if let Some(stream) = &subscription.stream_type {
            text = format!("{text} in streams of type {stream}");
        }
        text
    };
    subscriptions.iter().map(one).collect::<Vec<_>>().join(", ")
}
