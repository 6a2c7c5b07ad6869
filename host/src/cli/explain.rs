//! `lamphouse explain`: why an event is, or is not, in the tables.

use anyhow::Result;
use serde_json::Value as Json;

use super::dead_letters::find_event;
use super::output::{Output, Style};
use super::place::Place;
use super::table::{Cell, Look, lay_out, plain, plain_lines};
use super::units;
use crate::core::StoredEvent;
use crate::deploy::operator::Operator;
use crate::deploy::{Explained, Explanation, Rows, explain};
use crate::plugin::Sandbox;

/// Say why an event is, or is not, in the tables of each projection
///
/// Not subscribed, and what it would take; dropped by an upcaster; not reached yet, and how far behind; applied, and to
/// which rows; parked as a dead letter, or behind one; discarded, by whom and why. Retired generations are shown too.
///
/// Which rows an event changed is not kept. They are found by running the generation's own code on it once more, in
/// memory, over the rows of now: where later events have changed what it looks at, these may be others than then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse explain 4711
  lamphouse explain 0195f3a8-7c1e-7d3f-8b5a-000000000001 --json")]
pub(super) struct Explain {
    /// The event's position or id
    #[arg(value_name = "EVENT")]
    event: String,
}

impl Explain {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let Explanation { event, projections } = match place {
            Place::Project(session) => {
                let (log, store) = (session.log()?, session.tables()?);
                let event = find_event(&*log, &self.event)?;
                let config = &session.config;
                let sandbox = || {
                    Ok(Sandbox::new(
                        config.limits.clone(),
                        Some(&config.data.join("code")),
                    )?)
                };
                let projections = explain(&sandbox, &store, &log, &event)?;
                Explanation { event, projections }
            }
            Place::Host(remote) => remote.operator.explain(&self.event)?,
        };
        if out.json {
            return out.document(&Explanation { event, projections });
        }
        render(&event, &projections, out.width(), out.style)
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
    }
    for one in explained {
        lines.push(String::new());
        lines.push(format!(
            "{} {} (g{}, {})",
            style.bold(&plain(&one.projection)),
            plain(&one.version),
            one.generation,
            plain(&one.state)
        ));
        let message = plain_lines(&one.message);
        lines.push(format!(
            "  {}",
            match one.outcome.as_str() {
                "applied" => style.good(&message),
                "parked" | "behind" | "not_lifted" => style.bad(&message),
                _ => style.busy(&message),
            }
        ));
        if let Some(changes) = &one.changes {
            lines.extend(rows_of(changes, width, style));
        }
    }
    lines
}

fn rows_of(changes: &Rows, width: Option<usize>, style: Style) -> Vec<String> {
    if let Some(why) = &changes.unknown {
        return vec![format!("  its rows are not known: {}", plain_lines(why))];
    }
    if changes.total == 0 {
        return vec!["  applied once more to the rows of now, it changes none".to_owned()];
    }
    let rows: Vec<Vec<Cell>> = changes
        .rows
        .iter()
        .map(|row| {
            let key = |(column, value): (&String, &Json)| match value {
                Json::String(text) => format!("{column} {text}"),
                other => format!("{column} {other}"),
            };
            let keys: Vec<String> = row.key.iter().map(key).collect();
            vec![
                Cell::text(&row.table).look(Look::Bold),
                Cell::text(keys.join(", ")),
                Cell::text(if row.exists { "" } else { "not there now" }).look(Look::Busy),
            ]
        })
        .collect();
    let mut lines = vec!["  applied once more to the rows of now, it changes these:".to_owned()];
    let table = lay_out(&["table", "key", ""], &rows, width, style);
    lines.extend(table.iter().map(|line| format!("  {line}")));
    let more = changes.total - changes.rows.len() as u64;
    if more > 0 {
        lines.push(format!("  and {} more", units::counted(more, "row", "rows")));
    }
    lines
}
