//! `lamphouse explain`: why an event is, or is not, in the tables.

use anyhow::Result;
use serde::Serialize;

use super::dead_letters::find_event;
use super::output::{Output, Style};
use super::session::Session;
use super::table::{Cell, Look, lay_out, plain};
use super::units;
use crate::core::StoredEvent;
use crate::deploy::{Explained, explain};

/// Say why an event is, or is not, in the tables of each projection
///
/// Not subscribed, and what the projector takes; dropped by an upcaster; not reached yet, and how far behind; applied;
/// parked as a dead letter, or behind one; discarded, by whom and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse explain 4711
  lamphouse explain 0195f3a8-7c1e-7d3f-8b5a-000000000001 --json")]
pub(super) struct Explain {
    /// The event's position or id
    #[arg(value_name = "EVENT")]
    event: String,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'e> {
    event: &'e StoredEvent,
    projections: &'e [Explained],
}

impl Explain {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let event = find_event(&*session.log()?, &self.event)?;
        let store = session.tables()?;
        let explained = explain(&session.config, &*store, &event)?;
        if out.json {
            return out.document(&Document {
                event: &event,
                projections: &explained,
            });
        }
        render(&event, &explained, out.width(), out.style)
            .iter()
            .try_for_each(|line| out.line(line))
    }
}

fn render(event: &StoredEvent, explained: &[Explained], width: Option<usize>, style: Style) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} at position {} (event {}, stream {}, version {} of it)",
        style.bold(&plain(&event.event_type)),
        event.schema_version,
        units::count(event.position.0),
        event.id,
        plain(&event.stream_id),
        event.stream_version
    )];
    if explained.is_empty() {
        lines.push("no projection is deployed".to_owned());
        return lines;
    }
    let rows: Vec<Vec<Cell>> = explained
        .iter()
        .map(|one| {
            let look = match one.outcome.as_str() {
                "applied" => Look::Good,
                "parked" | "behind" | "not_lifted" => Look::Bad,
                _ => Look::Busy,
            };
            vec![
                Cell::text(&one.projection).look(Look::Bold),
                Cell::text(format!("g{} {}", one.generation, one.state)),
                Cell::text(&one.version),
                Cell::text(&one.message).look(look),
            ]
        })
        .collect();
    lines.extend(lay_out(
        &["projection", "generation", "version", ""],
        &rows,
        width,
        style,
    ));
    lines
}
