//! Stored events as today's: before, each step, after.

use std::sync::Arc;

use anyhow::{Result, bail};
use lamphouse_contract::packed;

use super::output::Style;
use super::session::Session;
use super::table::plain;
use super::units;
use crate::core::StoredEvent;
use crate::deploy::folder_upcasters;
use crate::deploy::story::{Part, Story};
use crate::upcast::Upcasters;

/// The upcasters of the plugin folder.
pub(super) struct Today(Arc<Upcasters>);

impl Today {
    /// Loads the upcasters of the plugin folder.
    pub(super) fn load(session: &Session) -> Result<Self> {
        Ok(Self(folder_upcasters(&session.config)?))
    }

    /// What one event becomes, step by step.
    pub(super) fn story(&self, event: &StoredEvent) -> Result<Story> {
        Ok(Story::of(&self.0, event)?)
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
                .map(|(event, forms)| Ok(Part::of(event, forms)?))
                .collect(),
            Err((_, fault)) => bail!("{}", fault.message),
        }
    }
}

/// A story for a person.
pub(super) fn story_lines(story: &Story, style: Style) -> Vec<String> {
    let event = &story.event;
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
    for step in &story.steps {
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
    let today: Vec<String> = story
        .today
        .iter()
        .map(|part| format!("{} {}", part.event_type, part.schema_version))
        .collect();
    lines.push(match (&story.fault, today.as_slice()) {
        (Some(fault), _) => format!("  {}", style.bad(&plain(fault))),
        (None, []) => "  today nothing".to_owned(),
        (None, today) if story.steps.is_empty() => {
            format!("  today {}: no upcaster takes it", plain(&today.join(", ")))
        }
        (None, today) => format!("  today {}", plain(&today.join(", "))),
    });
    lines
}

fn shown(style: Style, event_type: &str, schema_version: u32, data: &str) -> String {
    let schema = plain(&format!("{event_type} {schema_version}"));
    format!("    {}  {}", style.bold(&schema), plain(data))
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::event;
    use super::*;
    use crate::core::EventId;
    use crate::deploy::story::StepTaken;

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
            event: stored,
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
        insta::assert_snapshot!(story_lines(&story, Style::default()).join("\n"), @r#"
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
        insta::assert_snapshot!(story_lines(&story, Style::default()).join("\n"), @r#"
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
