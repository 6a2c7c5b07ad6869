//! `lamphouse state`: what a stream looked like at a time.

use std::sync::Arc;

use anyhow::Result;
use serde_json::{Map, Value as Json};

use super::UsageError;
use super::output::{Output, Style};
use super::place::Place;
use super::query;
use super::session::Session;
use super::table::plain;
use super::units;
use crate::deploy::{AskedState, At, By, StateError, States, StreamState};
use crate::plugin::Sandbox;
use crate::tables::QueryAnswer;

/// Show the rows that a projector makes of one stream, as they were at a position or a time
///
/// The deployed projector is run over this one stream's events, in memory: by the code and the upcasters of its public
/// generation, which are kept with the tables. Nothing is written, and no host need run. Where a row may depend on more
/// than one stream (the projector does not declare partition = stream), the public tables may hold other rows, and the
/// answer says that it is partial.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse state order-536365 --projector order-summary
  lamphouse state order-536365 --projector order-summary --at 4711
  lamphouse state order-536365 --projector order-summary --at 2026-03-15 --by occurred
  lamphouse state order-536365 --projector order-summary --at 2026-03-15T12:00:00+01:00 --by recorded --json
  lamphouse state order-536365 --projector order-summary --url https://lamp.example:7117")]
pub(super) struct State {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: String,
    /// The projector that makes the rows
    #[arg(long, value_name = "NAME")]
    projector: String,
    /// Up to where: a position of the log, a time as RFC 3339, or a day, to its end in UTC [default: all events]
    #[arg(long, value_name = "POSITION|TIME")]
    at: Option<String>,
    /// Which of an event's times counts, with a time: when it happened (occurred) or when it was stored (recorded)
    #[arg(long, value_name = "WHICH", value_parser = by, requires = "at")]
    by: Option<By>,
    /// A generation of the projector: 7 for g7 [default: the public one]
    #[arg(long, value_name = "N")]
    generation: Option<i64>,
}

fn by(text: &str) -> Result<By, String> {
    match text {
        "occurred" => Ok(By::Occurred),
        "recorded" => Ok(By::Recorded),
        _ => Err("give occurred or recorded".to_owned()),
    }
}

impl State {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let at = match &self.at {
            Some(text) => Some(At::parse(text, self.by).map_err(UsageError)?),
            None => None,
        };
        let state = match place {
            Place::Project(session) => self.made_here(session, at)?,
            Place::Host(remote) => remote.operator.state(
                &self.stream,
                &self.projector,
                self.at.as_deref(),
                self.by,
                self.generation,
            )?,
        };
        if out.json {
            return out.document(&state);
        }
        render(&state, out.width(), out.style)
            .iter()
            .try_for_each(|line| out.line(line))
    }

    fn made_here(self, session: &Session, at: Option<At>) -> Result<StreamState> {
        let config = &session.config;
        let (log, store) = (session.log()?, session.tables()?);
        let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
        let states = States::new(sandbox, log, store, config.state.clone());
        let asked = AskedState {
            stream_id: self.stream,
            projector: self.projector,
            generation: self.generation,
            at,
        };
        match states.make(&asked, &Arc::default()) {
            Err(StateError::Fault(fault)) if !fault.trace.is_empty() => {
                anyhow::bail!("{}\n{}", fault.message, fault.trace.trim_end())
            }
            made => Ok(made?),
        }
    }
}

fn render(state: &StreamState, width: Option<usize>, style: Style) -> Vec<String> {
    let up_to = match (&state.at, state.by) {
        (Json::Null, _) => "all events".to_owned(),
        (Json::String(time), Some(by)) => format!("events {by} up to {time}"),
        (at, _) => format!("events up to position {at}"),
    };
    let applied = match state.position {
        Some(position) => format!(
            "{} applied, the last at position {}",
            units::counted(state.events, "event", "events"),
            units::count(position.0)
        ),
        None => "none of its events was applied".to_owned(),
    };
    let mut lines = vec![format!(
        "{} by {} {} (g{}), {up_to}: {applied}",
        style.bold(&plain(&state.stream_id)),
        plain(&state.projector),
        plain(&state.version),
        state.generation
    )];
    if state.partial {
        lines.push(style.busy(
            "partial: by this stream alone; a row of the public tables may depend on other streams too",
        ));
    }
    for (table, rows) in &state.tables {
        lines.push(String::new());
        lines.push(style.bold(&plain(table)));
        let rows: Vec<&Map<String, Json>> = rows
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_object)
            .collect();
        let Some(first) = rows.first() else {
            lines.push("  no rows".to_owned());
            continue;
        };
        let answer = QueryAnswer {
            columns: first.keys().cloned().collect(),
            rows: rows.iter().map(|row| row.values().cloned().collect()).collect(),
            truncated: false,
        };
        lines.extend(
            query::render(&answer, width, style)
                .iter()
                .map(|line| format!("  {line}")),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::Position;

    fn state(partial: bool) -> StreamState {
        let Json::Object(tables) = json!({
            "orders": [{"order_id": "order-1", "net": "12.50"}],
            "countries": [],
        }) else {
            unreachable!()
        };
        StreamState {
            stream_id: "order-1".to_owned(),
            projector: "order-summary".to_owned(),
            version: "1.0.0".to_owned(),
            generation: 3,
            at: json!("2026-03-15T23:59:59.999999Z"),
            by: Some(By::Recorded),
            position: Some(Position(4_711)),
            events: 2,
            partial,
            tables,
        }
    }

    #[test]
    fn the_rows_show_by_table() {
        insta::assert_snapshot!(render(&state(true), None, Style::default()).join("\n"), @r"
        order-1 by order-summary 1.0.0 (g3), events recorded up to 2026-03-15T23:59:59.999999Z: 2 events applied, the last at position 4,711
        partial: by this stream alone; a row of the public tables may depend on other streams too

        orders
          order_id    net
          order-1   12.50

        countries
          no rows
        ");
        let empty = StreamState {
            at: json!(5),
            by: None,
            position: None,
            events: 0,
            ..state(false)
        };
        insta::assert_snapshot!(render(&empty, None, Style::default())[0], @"order-1 by order-summary 1.0.0 (g3), events up to position 5: none of its events was applied");
    }
}
