//! `lamphouse stream`: the history of one stream.

use anyhow::{Result, bail};

use super::output::{Output, Style};
use super::place::Place;
use super::table::{Cell, Look, lay_out, plain};
use super::units;
use crate::core::{Position, StoredEvent};
use crate::log::EventQuery;

/// Show the history of one stream: what happened, when and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse stream order-536365
  lamphouse stream order-536365 --json | jq .data")]
pub(super) struct Stream {
    /// The stream
    #[arg(value_name = "ID")]
    id: String,
    /// Only events after this position of the log
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// At most so many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Stream {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let query = EventQuery {
            stream_id: Some(self.id.clone()),
            after: self.after.map(Position),
            limit: self.limit.unwrap_or(u64::MAX),
            ..EventQuery::default()
        };
        let mut shown = 0;
        for page in place.pages(query)? {
            let page = page?;
            if out.json {
                page.iter().try_for_each(|event| out.json_line(event))?;
            } else {
                if shown == 0 {
                    out.line(format!("{} ({})", plain(&self.id), plain(&page[0].stream_type)))?;
                }
                let lines = render(&page, out.width(), out.style);
                lines
                    .iter()
                    .skip(usize::from(shown > 0))
                    .try_for_each(|line| out.line(line))?;
            }
            out.flush()?;
            shown += page.len();
        }
        if shown == 0 && self.limit != Some(0) {
            match self.after {
                None => bail!("there is no stream '{}'", plain(&self.id)),
                Some(after) => bail!(
                    "there is no event of stream '{}' after position {after}",
                    plain(&self.id)
                ),
            }
        }
        Ok(())
    }
}

fn render(events: &[StoredEvent], width: Option<usize>, style: Style) -> Vec<String> {
    let rows: Vec<Vec<Cell>> = events
        .iter()
        .map(|event| {
            vec![
                Cell::figure(units::count(event.stream_version.0)),
                Cell::figure(units::count(event.position.0)).look(Look::Dim),
                Cell::text(units::time(event.occurred_at)).look(Look::Dim),
                Cell::text(&event.event_type).look(Look::Bold),
                Cell::text(reason(event)),
                Cell::text(event.data.get()),
            ]
        })
        .collect();
    lay_out(
        &["version", "position", "occurred", "type", "reason", "data"],
        &rows,
        width,
        style,
    )
}

/// Why it happened, as the metadata says.
fn reason(event: &StoredEvent) -> String {
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(default)]
        reason: serde_json::Value,
    }
    match serde_json::from_str(event.metadata.get()) {
        Ok(Metadata {
            reason: serde_json::Value::String(reason),
        }) => reason,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::event;
    use super::*;

    #[test]
    fn a_history_says_why() {
        let lines = render(
            &[event(9, "{}"), event(10, r#"{"sku":"85123A"}"#)],
            None,
            Style::default(),
        );
        insta::assert_snapshot!(lines.join("\n"), @r#"
        version  position  occurred              type       reason            data
              9         9  2010-12-01 08:26:00Z  LineAdded  a line was added  {}
             10        10  2010-12-01 08:26:00Z  LineAdded  a line was added  {"sku":"85123A"}
        "#);
    }
}
