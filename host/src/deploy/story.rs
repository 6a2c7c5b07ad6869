//! What a stored event is today: before, each step of the upcasters, after. And dead letters with their event's story.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::host::HostError;
use super::operator::OperateError;
use crate::core::{EventId, PluginName, Position, StoredEvent};
use crate::log::EventLog;
use crate::tables::{DeadLetter, GenerationRecord, GenerationState, LetterQuery, TableStore};
use crate::upcast::{Form, Upcasters};

/// Generations that may have parked one event.
const GENERATIONS_MAX: u64 = 1_000;

/// An event from its stored form to today's.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Story {
    /// As it is stored.
    pub event: StoredEvent,
    /// What each upcaster did, in order.
    pub steps: Vec<StepTaken>,
    /// What it is today, the siblings in order: itself where nothing takes it; empty where it is dropped.
    pub today: Vec<Part>,
    /// Why it could not be lifted.
    pub fault: Option<String>,
}

/// What one upcaster did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StepTaken {
    /// Its name.
    pub upcaster: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// What it took.
    pub takes: Part,
    /// What it gave; empty: it dropped the event.
    pub gives: Vec<Part>,
}

/// An event on its way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// Which of the siblings, from 0.
    pub part: u32,
    /// Its type.
    pub event_type: String,
    /// Version of its schema.
    pub schema_version: u32,
    /// JSON.
    #[schema(value_type = serde_json::Value)]
    pub data: Box<RawValue>,
    /// A JSON object.
    #[schema(value_type = Object)]
    pub metadata: Box<RawValue>,
}

/// A dead letter, and its event before and after the generation's upcasters.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LetterDetail {
    /// What is known of it.
    pub dead_letter: DeadLetter,
    /// Its event.
    pub story: Story,
}

impl Story {
    /// What one event becomes, step by step.
    ///
    /// # Errors
    /// An upcaster gave what is no JSON, which is checked before.
    pub fn of(upcasters: &Upcasters, event: &StoredEvent) -> serde_json::Result<Self> {
        let id = event.id.to_string();
        let stored = event.borrowed(&id);
        let mut steps = Vec::new();
        let mut broken = None;
        let lifted = upcasters.show(&[stored], &Arc::default(), &mut |step| {
            let upcaster = &upcasters.plugins()[step.upcaster];
            let before = Part::new(
                step.before.part,
                step.before.event_type,
                step.before.schema_version,
                step.before.data,
                step.before.metadata,
            );
            let after: serde_json::Result<Vec<Part>> = step
                .after
                .iter()
                .zip(0..)
                .map(|(lifted, part)| {
                    let schema = &lifted.schema;
                    Part::new(
                        part,
                        &schema.event_type,
                        schema.schema_version,
                        &lifted.data,
                        &lifted.metadata,
                    )
                })
                .collect();
            match before.and_then(|before| Ok((before, after?))) {
                Ok((takes, gives)) => steps.push(StepTaken {
                    upcaster: upcaster.descriptor().name.clone(),
                    version: upcaster.descriptor().version.clone(),
                    digest: upcaster.digest().to_string(),
                    takes,
                    gives,
                }),
                Err(error) => broken = Some(error),
            }
        });
        if let Some(error) = broken {
            return Err(error);
        }
        let (today, fault) = match lifted {
            Ok(lifted) => (Part::of(event, lifted.into_iter().next().flatten())?, None),
            Err((_, fault)) => (Vec::new(), Some(fault.message)),
        };
        Ok(Self {
            event: event.clone(),
            steps,
            today,
            fault,
        })
    }

    /// Whether it could not be lifted.
    pub fn is_faulted(&self) -> bool {
        self.fault.is_some()
    }
}

impl Part {
    /// The siblings that an event is today; itself where nothing takes it.
    ///
    /// # Errors
    /// What is no JSON.
    pub fn of(event: &StoredEvent, forms: Option<Vec<Form<'_>>>) -> serde_json::Result<Vec<Self>> {
        let Some(forms) = forms else {
            let (data, metadata) = (event.data.get(), event.metadata.get());
            return Ok(vec![Self::new(
                0,
                &event.event_type,
                event.schema_version,
                data,
                metadata,
            )?]);
        };
        forms
            .iter()
            .zip(0..)
            .map(|(form, part)| {
                Self::new(
                    part,
                    &form.event_type,
                    form.schema_version,
                    &form.data,
                    &form.metadata,
                )
            })
            .collect()
    }

    /// The id that it has as an event of its own: the stored event's for the first sibling, for each other one that is
    /// always the same.
    pub fn own_id(&self, stored: EventId) -> EventId {
        if self.part == 0 {
            return stored;
        }
        let mut hash = Sha256::new();
        hash.update(stored.0.as_bytes());
        hash.update(self.part.to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// From its texts.
    ///
    /// # Errors
    /// What is no JSON.
    pub fn new(
        part: u32,
        event_type: &str,
        schema_version: u32,
        data: &str,
        metadata: &str,
    ) -> serde_json::Result<Self> {
        Ok(Self {
            part,
            event_type: event_type.to_owned(),
            schema_version,
            data: RawValue::from_string(data.to_owned())?,
            metadata: RawValue::from_string(metadata.to_owned())?,
        })
    }
}

/// The event of a position or an id.
///
/// # Errors
/// [`OperateError::Invalid`] of what is neither, [`OperateError::NotFound`] of what is not in the log.
pub fn find_event(log: &dyn EventLog, text: &str) -> Result<StoredEvent, OperateError> {
    let shown: String = text.chars().take(100).collect();
    let away = |error: crate::log::LogError| OperateError::Unavailable(error.to_string());
    let found = if let Ok(position) = text.replace([',', '_'], "").parse::<u64>() {
        // No log is longer than what a signed number holds.
        match i64::try_from(position) {
            Ok(_) => log.event(Position(position)).map_err(away)?,
            Err(_) => None,
        }
    } else if let Ok(id) = uuid::Uuid::parse_str(text) {
        log.event_by_id(EventId(id)).map_err(away)?
    } else {
        return Err(OperateError::Invalid(format!(
            "'{shown}' is neither a position nor an event id"
        )));
    };
    match found {
        Some(event) => Ok(event),
        None => Err(OperateError::NotFound(format!(
            "the log has no event {shown}; its last one is at position {}",
            log.head().map_err(away)?.position
        ))),
    }
}

/// A dead letter of a projection: the public generation's, else the newest one's.
///
/// # Errors
/// As [`find_event`]; [`OperateError::NotFound`] where it is no dead letter.
pub fn dead_letter(
    log: &dyn EventLog,
    store: &dyn TableStore,
    upcasters: impl FnOnce(&GenerationRecord) -> Result<Arc<Upcasters>, HostError>,
    projection: &PluginName,
    event: &str,
) -> Result<LetterDetail, OperateError> {
    let away = |error: crate::tables::StoreError| OperateError::Unavailable(error.to_string());
    let event = find_event(log, event)?;
    let letters = store
        .dead_letters(&LetterQuery {
            projection: Some(projection.clone()),
            event_id: Some(event.id),
            limit: GENERATIONS_MAX,
            ..LetterQuery::default()
        })
        .map_err(away)?;
    let generations = store.generations().map_err(away)?;
    let Some((dead_letter, generation)) = most_interesting(letters, &generations) else {
        return Err(OperateError::NotFound(format!(
            "event {} at position {} is no dead letter of {projection}; 'lamphouse explain {}' says what became of it",
            event.id, event.position, event.position
        )));
    };
    let upcasters = upcasters(generation).map_err(|error| OperateError::Refused(error.to_string()))?;
    let story = Story::of(&upcasters, &event).map_err(|error| OperateError::Refused(error.to_string()))?;
    Ok(LetterDetail { dead_letter, story })
}

/// The public generation's, else the newest one's.
fn most_interesting(
    letters: Vec<DeadLetter>,
    generations: &[GenerationRecord],
) -> Option<(DeadLetter, &GenerationRecord)> {
    letters
        .into_iter()
        .filter_map(|letter| {
            let generation = generations.iter().find(|one| one.id == letter.generation)?;
            Some((letter, generation))
        })
        .max_by_key(|(_, generation)| (generation.state == GenerationState::Live, generation.id))
}
