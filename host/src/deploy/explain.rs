//! Why an event is, or is not, in the tables: read from the databases, with or without a running host.

use std::sync::Arc;

use lamphouse_contract::{Descriptor, Subscription};
use serde::Serialize;

use super::host::HostError;
use super::plan::state_word;
use super::today::kept_upcasters;
use crate::config::Config;
use crate::core::{EventFilter, StoredEvent};
use crate::tables::{Discard, GenerationRecord, GenerationState, LetterQuery, TableStore};
use crate::upcast::Upcasters;

/// What became of an event in one generation of a projection.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The projection.
    pub projection: String,
    /// Its generation: 7 for `g7`.
    pub generation: i64,
    /// Where that stands: `live`, `building`, `ready`, `failed`.
    pub state: String,
    /// The projector's version.
    pub version: String,
    /// `applied`, `parked`, `behind`, `discarded`, `not_subscribed`, `dropped`, `not_lifted` or `not_reached`.
    pub outcome: String,
    /// The same in a sentence.
    pub message: String,
}

/// Says of each projection's generations that are public or on their way to be what became of an event.
///
/// # Errors
/// A database is away, or an upcaster does not run with this host any more.
pub fn explain(
    config: &Config,
    store: &dyn TableStore,
    event: &StoredEvent,
) -> Result<Vec<Explained>, HostError> {
    let discards = store.discards(None)?;
    let mut explained = Vec::new();
    for generation in store.generations()? {
        if generation.state == GenerationState::Retired {
            continue;
        }
        let (outcome, message) = one(config, store, event, &generation, &discards)?;
        explained.push(Explained {
            projection: generation.projection.to_string(),
            generation: generation.id.0,
            state: state_word(generation.state).to_owned(),
            version: generation.version,
            outcome: outcome.to_owned(),
            message,
        });
    }
    explained.sort_by(|one, other| one.projection.cmp(&other.projection));
    Ok(explained)
}

fn one(
    config: &Config,
    store: &dyn TableStore,
    event: &StoredEvent,
    generation: &GenerationRecord,
    discards: &[Discard],
) -> Result<(&'static str, String), HostError> {
    let is_it =
        |discard: &&Discard| discard.projection == generation.projection && discard.event_id == event.id;
    if let Some(discard) = discards.iter().find(is_it) {
        let said = format!("left out by a decision of {}: {}", discard.by, discard.reason);
        return Ok(("discarded", said));
    }
    let letters = store.dead_letters(&LetterQuery {
        generation: Some(generation.id),
        event_id: Some(event.id),
        limit: 1,
        ..LetterQuery::default()
    })?;
    if let Some(letter) = letters.into_iter().next() {
        return Ok(match letter.behind {
            None => (
                "parked",
                format!("parked after {} tries: {}", letter.attempts, letter.message),
            ),
            Some(first) => (
                "behind",
                format!(
                    "parked behind position {first}: an earlier event of stream {} failed, and a stream is applied in \
                     order",
                    event.stream_id
                ),
            ),
        });
    }
    let upcasters = kept_upcasters(config, store, generation)?;
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
    Ok(("applied", "applied: its effects are in the tables".to_owned()))
}

/// Why a projector never sees an event, if it does not.
fn not_wanted(
    event: &StoredEvent,
    descriptor: &Descriptor,
    upcasters: &Arc<Upcasters>,
) -> Option<(&'static str, String)> {
    let wanted = EventFilter {
        any_of: descriptor.subscriptions.clone(),
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
    let takes = shown(&descriptor.subscriptions);
    let Some(forms) = forms else {
        let fits = wanted.matches(&event.event_type, event.schema_version, &event.stream_type);
        return (!fits).then(|| {
            (
                "not_subscribed",
                format!(
                    "not subscribed: it is {} {} in a stream of type {}, and the projector takes {takes}",
                    event.event_type, event.schema_version, event.stream_type
                ),
            )
        });
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
            let schemas: Vec<String> = schemas
                .iter()
                .map(|(event_type, version)| format!("{event_type} {version}"))
                .collect();
            Some((
                "not_subscribed",
                format!(
                    "not subscribed: upcasters make it {}, and the projector takes {takes}",
                    schemas.join(", ")
                ),
            ))
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
