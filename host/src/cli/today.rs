//! Stored events as today's: before, each step, after.

use std::sync::Arc;

use anyhow::{Result, bail};
use lamphouse_contract::packed;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::output::Style;
use super::session::Session;
use super::table::plain;
use super::units;
use crate::core::{EventId, StoredEvent};
use crate::deploy::{folder_upcasters, kept_upcasters};
use crate::tables::{GenerationRecord, TableStore};
use crate::upcast::{Form, Upcasters};

/// The upcasters of the plugin folder.
pub(super) struct Today(Arc<Upcasters>);

/// An event from its stored form to today's.
#[derive(Debug, Serialize)]
pub(super) struct Story<'e> {
    /// As it is stored.
    event: &'e StoredEvent,
    /// What each upcaster did, in order.
    steps: Vec<StepTaken>,
    /// What it is today, the siblings in order: itself where nothing takes it; empty where it is dropped.
    today: Vec<Part>,
    /// Why it could not be lifted.
    fault: Option<String>,
}

#[derive(Debug, Serialize)]
struct StepTaken {
    upcaster: String,
    version: String,
    digest: String,
    takes: Part,
    gives: Vec<Part>,
}

/// An event on its way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    part: u32,
    pub(super) event_type: String,
    pub(super) schema_version: u32,
    pub(super) data: Box<RawValue>,
    pub(super) metadata: Box<RawValue>,
}

impl Today {
    /// Loads the upcasters of the plugin folder.
    pub(super) fn load(session: &Session) -> Result<Self> {
        Ok(Self(folder_upcasters(&session.config)?))
    }

    /// Loads the upcasters that a generation was built with, as they are kept with the tables.
    pub(super) fn of_generation(
        session: &Session,
        store: &dyn TableStore,
        generation: &GenerationRecord,
    ) -> Result<Self> {
        Ok(Self(kept_upcasters(&session.config, store, generation)?))
    }

    /// What one event becomes, step by step.
    pub(super) fn story<'e>(&self, event: &'e StoredEvent) -> Result<Story<'e>> {
        let id = event.id.to_string();
        let stored = event.borrowed(&id);
        let mut steps = Vec::new();
        let mut broken = None;
        let lifted = self.0.show(&[stored], &Arc::default(), &mut |step| {
            let upcaster = &self.0.plugins()[step.upcaster];
            let before = Part::new(
                step.before.part,
                step.before.event_type,
                step.before.schema_version,
                step.before.data,
                step.before.metadata,
            );
            let after: Result<Vec<Part>> = step
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
            Ok(lifted) => (parts(event, lifted.into_iter().next().flatten())?, None),
            Err((_, fault)) => (Vec::new(), Some(fault.message)),
        };
        Ok(Story {
            event,
            steps,
            today,
            fault,
        })
    }

    /// What many events are today: for each, the siblings in order. Fails at the first that cannot be lifted.
    pub(super) fn of(&self, events: &[StoredEvent]) -> Result<Vec<Vec<Part>>> {
        let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
        let stored: Vec<packed::Event<'_>> = events
            .iter()
            .zip(&ids)
            .map(|(event, id)| event.borrowed(id))
            .collect();
        match self.0.show(&stored, &Arc::default(), &mut |_| {}) {
            Ok(lifted) => events
                .iter()
                .zip(lifted)
                .map(|(event, forms)| parts(event, forms))
                .collect(),
            Err((_, fault)) => bail!("{}", fault.message),
        }
    }
}

fn parts(event: &StoredEvent, forms: Option<Vec<Form<'_>>>) -> Result<Vec<Part>> {
    let Some(forms) = forms else {
        let (data, metadata) = (event.data.get(), event.metadata.get());
        return Ok(vec![Part::new(
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
            Part::new(
                part,
                &form.event_type,
                form.schema_version,
                &form.data,
                &form.metadata,
            )
        })
        .collect()
}

impl Part {
    fn new(part: u32, event_type: &str, schema_version: u32, data: &str, metadata: &str) -> Result<Self> {
        Ok(Self {
            part,
            event_type: event_type.to_owned(),
            schema_version,
            data: RawValue::from_string(data.to_owned())?,
            metadata: RawValue::from_string(metadata.to_owned())?,
        })
    }

    /// The id that it has as an event of its own: the stored event's for the first sibling, for each other one that is
    /// always the same.
    pub(super) fn own_id(&self, stored: EventId) -> EventId {
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
}

impl Story<'_> {
    /// Whether it could not be lifted.
    pub(super) fn is_faulted(&self) -> bool {
        self.fault.is_some()
    }

    /// The story for a person.
    pub(super) fn lines(&self, style: Style) -> Vec<String> {
        let event = self.event;
        let mut lines = vec![format!(
            "{}  {}  {} {}  {}",
            units::count(event.position.0),
            style.dim(&units::time(event.recorded_at)),
            plain(&event.stream_id),
            event.stream_version,
            style.dim(&event.id.to_string())
        )];
        lines.push(shown(
            style,
            &event.event_type,
            event.schema_version,
            event.data.get(),
        ));
        for step in &self.steps {
            let takes = &step.takes;
            let by = format!("{} {}", plain(&step.upcaster), plain(&step.version));
            let what = plain(&format!("{} {}", takes.event_type, takes.schema_version));
            let drops = if step.gives.is_empty() {
                " and drops it"
            } else {
                ""
            };
            lines.push(format!("  {} takes {what}{drops}", style.bold(&by)));
            for given in &step.gives {
                lines.push(shown(
                    style,
                    &given.event_type,
                    given.schema_version,
                    given.data.get(),
                ));
                if given.metadata.get() != takes.metadata.get() {
                    lines.push(format!("      metadata {}", plain(given.metadata.get())));
                }
            }
        }
        let today: Vec<String> = self
            .today
            .iter()
            .map(|part| format!("{} {}", part.event_type, part.schema_version))
            .collect();
        lines.push(match (&self.fault, today.as_slice()) {
            (Some(fault), _) => format!("  {}", style.bad(&plain(fault))),
            (None, []) => "  today nothing".to_owned(),
            (None, today) if self.steps.is_empty() => {
                format!("  today {}: no upcaster takes it", plain(&today.join(", ")))
            }
            (None, today) => format!("  today {}", plain(&today.join(", "))),
        });
        lines
    }
}

fn shown(style: Style, event_type: &str, schema_version: u32, data: &str) -> String {
    let schema = plain(&format!("{event_type} {schema_version}"));
    format!("    {}  {}", style.bold(&schema), plain(data))
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::event;
    use super::*;

    #[test]
    fn a_story_shows_each_step_and_the_end() {
        let part = |part, event_type: &str, data: &str| {
            Part::new(part, event_type, 1, data, r#"{"reason":"a line was added"}"#).expect("JSON")
        };
        let stored = event(12, r#"{"price":"£2.50"}"#);
        let step = |takes: Part, gives: Vec<Part>| StepTaken {
            upcaster: "lift".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "ab".repeat(32),
            takes,
            gives,
        };
        let first = part(0, "LinePriced", r#"{"minor":250}"#);
        let other = Part::new(1, "LineNoted", 1, "{}", r#"{"reason":"split off"}"#).expect("JSON");
        let mut story = Story {
            event: &stored,
            steps: vec![
                step(
                    part(0, "LineAdded", r#"{"price":"£2.50"}"#),
                    vec![first.clone(), other.clone()],
                ),
                step(other, vec![]),
            ],
            today: vec![first],
            fault: None,
        };
        insta::assert_snapshot!(story.lines(Style::default()).join("\n"), @r#"
        12  2010-12-01 08:26:00Z  order-1 12  00000000-0000-0000-0000-00000000000c
            LineAdded 1  {"price":"£2.50"}
          lift 1.0.0 takes LineAdded 1
            LinePriced 1  {"minor":250}
            LineNoted 1  {}
              metadata {"reason":"split off"}
          lift 1.0.0 takes LineNoted 1 and drops it
          today LinePriced 1
        "#);
        story.steps.clear();
        story.today.clear();
        story.fault = Some("upcaster lift 1.0.0 failed".to_owned());
        insta::assert_snapshot!(story.lines(Style::default()).join("\n"), @r#"
        12  2010-12-01 08:26:00Z  order-1 12  00000000-0000-0000-0000-00000000000c
            LineAdded 1  {"price":"£2.50"}
          upcaster lift 1.0.0 failed
        "#);
    }

    #[test]
    fn siblings_get_ids_of_their_own_that_stay() {
        let stored = EventId(uuid::Uuid::from_u128(7));
        let part = |part| Part::new(part, "A", 1, "{}", "{}").expect("JSON");
        assert_eq!(part(0).own_id(stored), stored);
        assert_eq!(part(1).own_id(stored), part(1).own_id(stored));
        assert_ne!(part(1).own_id(stored), part(2).own_id(stored));
        assert_eq!(part(1).own_id(stored).0.get_version_num(), 8);
    }
}
