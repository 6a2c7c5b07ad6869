//! `lamphouse catalog`: the event types of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::operate::LOOK_EVERY;
use super::output::{Output, Style};
use super::place::Place;
use super::session::Session;
use super::table::{Cell, Look, lay_out, plain};
use super::units;
use crate::api::RemoteOperator;
use crate::deploy::{Catalog as Counted, CatalogDocument, CatalogType, Sees};
use crate::plugin::Sandbox;
use crate::schemas::Schemas;

/// A log of hundreds of millions of events is counted in less.
const COUNT_TIME_MAX: Duration = Duration::from_secs(3_600);

/// List the event types of the log: how many, in which streams, and who takes them
///
/// Every event type and schema version, with its JSON Schema, the deployed projectors that get it, and the upcasters that
/// lift it. Types that nobody takes are told, and subscriptions that no event ever met.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse catalog
  lamphouse catalog --url https://lamp.example:7117 --token-file token
  lamphouse catalog --json | jq '.types[] | select(.schema == null) | .event_type'")]
pub(super) struct Catalog {}

impl Catalog {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let (document, problems) = match place {
            Place::Project(session) => counted_here(session)?,
            // What is wrong with its schema files is in its status.
            Place::Host(remote) => (counted_there(&remote.operator)?, Vec::new()),
        };
        if out.json {
            return out.document(&document);
        }
        render(&document, out.width(), out.style)
            .iter()
            .try_for_each(|line| out.line(line))?;
        problems
            .iter()
            .try_for_each(|problem| out.line(out.style.bad(&plain(problem))))
    }
}

/// The catalog of a project, and what is wrong with its schema files.
fn counted_here(session: &Session) -> Result<(CatalogDocument, Vec<String>)> {
    let config = &session.config;
    let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
    let schemas = Arc::new(Schemas::load(&config.schemas, config.unknown_types));
    let catalog = Counted::new(session.log()?, session.tables()?, sandbox, schemas.clone());
    let document = catalog.document(COUNT_TIME_MAX, &Sees(None))?;
    Ok((document, schemas.problems()))
}

/// The catalog of a host elsewhere, which may have to go through its log first.
fn counted_there(operator: &RemoteOperator) -> Result<CatalogDocument> {
    let until = Instant::now() + COUNT_TIME_MAX;
    loop {
        let document = operator.catalog()?;
        if document.position >= document.head || Instant::now() >= until {
            return Ok(document);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn render(document: &CatalogDocument, width: Option<usize>, style: Style) -> Vec<String> {
    let mut lines = vec![format!(
        "{} up to position {}",
        units::counted(document.types.len() as u64, "event type", "event types"),
        units::count(document.position.0)
    )];
    let rows: Vec<Vec<Cell>> = document.types.iter().map(row).collect();
    if !rows.is_empty() {
        let headings = [
            "type",
            "events",
            "last",
            "streams",
            "schema",
            "taken by",
            "lifted by",
        ];
        lines.extend(lay_out(&headings, &rows, width, style));
    }
    if !document.unconsumed.is_empty() {
        let names: Vec<String> = document
            .unconsumed
            .iter()
            .map(|one| format!("{} {}", plain(&one.event_type), one.schema_version))
            .collect();
        lines.push(String::new());
        lines.push(style.busy(&format!("no deployed projector takes {}", names.join(", "))));
    }
    for one in &document.unseen {
        let mut what = plain(one.event_type.as_deref().unwrap_or("every event"));
        let versions: Vec<String> = one.schema_versions.iter().map(u32::to_string).collect();
        if !versions.is_empty() {
            what = format!("{what} {}", versions.join(" or "));
        }
        if let Some(stream_type) = &one.stream_type {
            what = format!("{what} in streams of type {}", plain(stream_type));
        }
        lines.push(style.busy(&format!(
            "{} subscribes to {what}, and no event of the log is that",
            plain(&one.projector)
        )));
    }
    lines
}

fn row(one: &CatalogType) -> Vec<Cell> {
    let streams: Vec<&str> = one
        .stream_types
        .iter()
        .map(|of| of.stream_type.as_str())
        .collect();
    let takers: Vec<&str> = one
        .consumers
        .iter()
        .map(|consumer| consumer.projector.as_str())
        .collect();
    let lifters: Vec<&str> = one.lifted_by.iter().map(|by| by.upcaster.as_str()).collect();
    let last = one
        .last
        .map(|last| units::time(last.recorded_at))
        .unwrap_or_default();
    vec![
        Cell::text(format!("{} {}", one.event_type, one.schema_version)).look(Look::Bold),
        Cell::figure(units::count(one.count)),
        Cell::text(last).look(Look::Dim),
        Cell::text(streams.join(", ")),
        Cell::text(
            one.schema
                .as_ref()
                .map(|schema| schema.file.clone())
                .unwrap_or_default(),
        ),
        Cell::text(takers.join(", ")),
        Cell::text(lifters.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::Position;
    use crate::deploy::{Consumer, LiftedBy, OfStreamType, Seen, TypeName, UnseenSubscription};

    #[test]
    fn types_show_with_who_takes_them_and_who_does_not() {
        let name = |event_type: &str, schema_version| TypeName {
            event_type: event_type.to_owned(),
            schema_version,
        };
        let seen = |position| Seen {
            position: Position(position),
            recorded_at: serde_json::from_value(json!("2026-03-15T12:00:00Z")).expect("a time"),
        };
        let placed = CatalogType {
            event_type: "OrderPlaced".to_owned(),
            schema_version: 1,
            count: 22_061,
            first: Some(seen(1)),
            last: Some(seen(567_000)),
            stream_types: vec![OfStreamType {
                stream_type: "order".to_owned(),
                count: 22_061,
                first: seen(1),
                last: seen(567_000),
            }],
            schema: None,
            schema_file: "OrderPlaced.1.json".to_owned(),
            consumers: vec![Consumer {
                projector: "order-summary".to_owned(),
                version: "1.0.0".to_owned(),
                generation: 3,
                gets: vec![name("OrderPlaced", 2)],
            }],
            lifted_by: vec![LiftedBy {
                upcaster: "order-upcasters".to_owned(),
                version: "1.0.0".to_owned(),
                gives: vec![name("OrderPlaced", 2)],
            }],
        };
        let document = CatalogDocument {
            position: Position(567_806),
            head: Position(567_806),
            types: vec![placed],
            unconsumed: vec![name("Noted", 2)],
            unseen: vec![UnseenSubscription {
                projector: "order-summary".to_owned(),
                event_type: Some("OrderShipped".to_owned()),
                schema_versions: vec![1, 2],
                stream_type: None,
            }],
            uncounted: 0,
        };
        insta::assert_snapshot!(render(&document, None, Style::default()).join("\n"), @r"
        1 event type up to position 567,806
        type           events  last                  streams  schema  taken by       lifted by
        OrderPlaced 1  22,061  2026-03-15 12:00:00Z  order            order-summary  order-upcasters

        no deployed projector takes Noted 2
        order-summary subscribes to OrderShipped 1 or 2, and no event of the log is that
        ");
    }
}
