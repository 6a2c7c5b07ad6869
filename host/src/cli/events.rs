//! `lamphouse events`: a look at the log.

use std::sync::Arc;

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};

use super::UsageError;
use super::output::{Output, Style};
use super::place::Place;
use super::table::{Cell, Look, lay_out};
use super::today::{Today, story_lines};
use super::units;
use crate::core::{Position, StoredEvent};
use crate::log::{EventLog, EventQuery, LogError};

/// Events that are read from the log at once.
pub(super) const PAGE_EVENTS: u64 = 1_000;

/// List events of the log, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse events --backward --limit 5
  lamphouse events --type OrderPlaced --type OrderPaid --after 1000
  lamphouse events --upcast --stream order-1
  lamphouse events --json --all --from 2026-01-01T00:00:00Z | jq .data")]
pub(super) struct Events {
    #[command(flatten)]
    filter: Filter,
    /// Only events after this position (before it, with --backward)
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Newest first
    #[arg(long)]
    backward: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// Without a limit
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Show each event before and after the upcasters of the plugin folder, step by step
    #[arg(long)]
    upcast: bool,
}

/// Which events.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filter {
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", id = "event_type")]
    event_types: Vec<String>,
    /// Only events of streams of this type
    #[arg(long, value_name = "TYPE")]
    stream_type: Option<String>,
    /// Only events of this stream
    #[arg(long, value_name = "ID")]
    stream: Option<String>,
    /// Only events recorded at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<Utc>>,
    /// Only events recorded before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    before: Option<DateTime<Utc>>,
}

impl Filter {
    /// The query for all of them.
    pub(super) fn query(self) -> EventQuery {
        EventQuery {
            stream_id: self.stream,
            stream_type: self.stream_type,
            event_types: self.event_types,
            recorded_from: self.from.map(|at| at.timestamp_micros()),
            recorded_before: self.before.map(|at| at.timestamp_micros()),
            ..EventQuery::default()
        }
    }
}

/// The events of a query, up to its limit, a page at a time.
pub(super) fn pages(
    log: Arc<dyn EventLog>,
    mut query: EventQuery,
) -> impl Iterator<Item = Result<Vec<StoredEvent>, LogError>> {
    let mut left = query.limit;
    std::iter::from_fn(move || {
        query.limit = left.min(PAGE_EVENTS);
        if query.limit == 0 {
            return None;
        }
        let page = match log.events(&query) {
            Ok(page) => page,
            Err(error) => {
                left = 0;
                return Some(Err(error));
            }
        };
        left -= page.len() as u64;
        if (page.len() as u64) < query.limit {
            left = 0;
        }
        query.after = page.last().map(|event| event.position).or(query.after);
        (!page.is_empty()).then_some(Ok(page))
    })
}

impl Events {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let mut query = self.filter.query();
        query.after = self.after.map(Position);
        query.backward = self.backward;
        query.limit = if self.all { u64::MAX } else { self.limit };
        if self.upcast {
            let Place::Project(session) = place else {
                bail!(UsageError(
                    "--upcast works with the upcasters of a project folder; --url is not for it".to_owned()
                ));
            };
            return stories(session.log()?, query, &Today::load(session)?, out);
        }
        let mut shown = 0;
        for page in place.pages(query)? {
            let page = page?;
            if out.json {
                page.iter().try_for_each(|event| out.json_line(event))?;
            } else {
                let lines = render(&page, out.width(), out.style);
                lines
                    .iter()
                    .skip(usize::from(shown > 0))
                    .try_for_each(|line| out.line(line))?;
            }
            out.flush()?;
            shown += page.len();
        }
        if shown == 0 && !out.json {
            super::progress::say("no event matches");
        }
        Ok(())
    }
}

/// Shows what each event becomes; fails at the end if some could not be lifted.
fn stories(log: Arc<dyn EventLog>, query: EventQuery, today: &Today, out: &mut Output) -> Result<()> {
    let (mut shown, mut faulted) = (0_u64, 0_u64);
    for page in pages(log, query) {
        for event in &page? {
            let story = today.story(event)?;
            faulted += u64::from(story.is_faulted());
            if out.json {
                out.json_line(&story)?;
            } else {
                if shown > 0 {
                    out.line("")?;
                }
                story_lines(&story, out.style)
                    .iter()
                    .try_for_each(|line| out.line(line))?;
            }
            shown += 1;
        }
        out.flush()?;
    }
    if shown == 0 && !out.json {
        super::progress::say("no event matches");
    }
    if faulted > 0 {
        bail!(
            "{} could not be lifted",
            units::counted(faulted, "event", "events")
        );
    }
    Ok(())
}

fn render(events: &[StoredEvent], width: Option<usize>, style: Style) -> Vec<String> {
    let rows: Vec<Vec<Cell>> = events
        .iter()
        .map(|event| {
            vec![
                Cell::figure(units::count(event.position.0)),
                Cell::text(units::time(event.recorded_at)).look(Look::Dim),
                Cell::text(&event.stream_id),
                Cell::figure(units::count(event.stream_version.0)),
                Cell::text(&event.event_type).look(Look::Bold),
                Cell::text(event.data.get()),
            ]
        })
        .collect();
    lay_out(
        &["position", "recorded", "stream", "version", "type", "data"],
        &rows,
        width,
        style,
    )
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::core::{EventId, StreamVersion};

    pub(in crate::cli) fn event(position: u64, data: &str) -> StoredEvent {
        let at = DateTime::from_timestamp_micros(1_291_191_960_000_000).expect("a time");
        StoredEvent {
            position: Position(position),
            id: EventId(uuid::Uuid::from_u128(position.into())),
            stream_id: "order-1".to_owned(),
            stream_type: "order".to_owned(),
            stream_version: StreamVersion(position),
            event_type: "LineAdded".to_owned(),
            schema_version: 1,
            data: RawValue::from_string(data.to_owned()).expect("JSON"),
            metadata: RawValue::from_string(r#"{"reason":"a line was added"}"#.to_owned()).expect("JSON"),
            occurred_at: at,
            recorded_at: at,
        }
    }

    #[test]
    fn events_show_in_columns() {
        let lines = render(
            &[event(9, "{}"), event(10, r#"{"sku":"85123A"}"#)],
            None,
            Style::default(),
        );
        insta::assert_snapshot!(lines.join("\n"), @r#"
        position  recorded              stream   version  type       data
               9  2010-12-01 08:26:00Z  order-1        9  LineAdded  {}
              10  2010-12-01 08:26:00Z  order-1       10  LineAdded  {"sku":"85123A"}
        "#);
    }
}
