//! `GET /v1/events?follow=true`: events of the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::feed::{CaughtUp, Page, Source};
use super::queue::Line;
use super::sse;
use super::stream::Stream;
use crate::api::access::Caller;
use crate::api::body::blocking;
use crate::api::problem::Problem;
use crate::api::server::Shared;
use crate::core::event::is_reserved;
use crate::core::signal::Signal;
use crate::core::{Position, StoredEvent};
use crate::log::{EventLog, EventQuery, LogError};

/// Events that are read at once.
const PAGE_EVENTS: u64 = 200;

/// Which events somebody follows.
#[derive(Debug)]
pub(in crate::api) struct Followed {
    pub(in crate::api) event_types: Vec<String>,
    pub(in crate::api) stream_type: Option<String>,
    pub(in crate::api) stream_id: Option<String>,
    /// Microseconds since 1970.
    pub(in crate::api) recorded_from: Option<i64>,
    /// Where to go on; without it, from the beginning.
    pub(in crate::api) after: Option<u64>,
}

/// Answers with events from `after` on, without an end.
pub(in crate::api) async fn follow(
    shared: Shared,
    caller: Arc<Caller>,
    followed: Followed,
) -> Result<Response, Problem> {
    let after = followed.after.unwrap_or(0);
    let log = shared.log.clone();
    let head = blocking(move || -> Result<Position, LogError> { Ok(log.head()?.position) }).await?;
    if after > head.0 {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!(
                "position {after} is beyond the end of this log, which is {head}: it was seen in another log; begin without \
                 Last-Event-ID, with the 'after' that you want"
            ),
        ));
    }
    let place = match shared.subscriptions.place() {
        Ok(place) => place,
        Err(refused) => return Ok(*refused),
    };
    let stream = Stream {
        feed: shared.subscriptions.events.clone(),
        who: caller.name.as_str().into(),
        filter: Arc::new(Filter::new(caller, followed)),
        after,
        hello: sse::hello(after, &format!("{{\"position\":{after},\"head\":{head}}}")),
        _place: place,
        meter: shared.watch.http.subscription(),
        catch_ups: shared.subscriptions.catch_ups.clone(),
    };
    Ok(stream.into_response())
}

/// Whose events, and which.
pub(in crate::api) struct Filter {
    caller: Arc<Caller>,
    event_types: BTreeSet<String>,
    stream_type: Option<String>,
    stream_id: Option<String>,
    recorded_from: Option<i64>,
    /// Whether what the host records of itself is wanted: only by who names it.
    names_reserved: bool,
}

impl Filter {
    fn new(caller: Arc<Caller>, followed: Followed) -> Self {
        let named = [&followed.stream_type, &followed.stream_id];
        let names_reserved = named.into_iter().flatten().any(|name| is_reserved(name));
        Self {
            caller,
            event_types: followed.event_types.into_iter().collect(),
            stream_type: followed.stream_type,
            stream_id: followed.stream_id,
            recorded_from: followed.recorded_from,
            names_reserved,
        }
    }

    fn wants(&self, event: &StoredEvent) -> bool {
        let is =
            |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|wanted| wanted == there);
        let type_is_wanted = if self.event_types.is_empty() {
            self.names_reserved || !is_reserved(&event.event_type)
        } else {
            self.event_types.contains(&event.event_type)
        };
        type_is_wanted
            && is(&self.stream_type, &event.stream_type)
            && is(&self.stream_id, &event.stream_id)
            && self
                .recorded_from
                .is_none_or(|from| event.recorded_at.timestamp_micros() >= from)
            && self.caller.may_use_stream_type(&event.stream_type)
    }
}

/// The log.
pub(super) struct EventSource {
    log: Arc<dyn EventLog>,
}

impl EventSource {
    pub(super) fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }
}

/// An event, and how it is told.
pub(super) struct Item {
    event: StoredEvent,
    text: Bytes,
}

/// The event as `/v1/events` has it, in one line: line breaks between its parts are the writer's, and mean nothing.
fn told(event: &StoredEvent, out: &mut String) -> Result<(), String> {
    let mut data = serde_json::to_string(event).map_err(|error| error.to_string())?;
    if data.contains(['\n', '\r']) {
        data = data.replace(['\n', '\r'], " ");
    }
    sse::event("event", Some(event.position.0), &data, out);
    Ok(())
}

impl Source for EventSource {
    type Item = Item;
    type Filter = Filter;
    const NAME: &'static str = "events";

    fn read(&self, after: u64) -> Result<Page<Item>, String> {
        let query = EventQuery {
            after: Some(Position(after)),
            limit: PAGE_EVENTS,
            ..EventQuery::default()
        };
        let events = self.log.events(&query).map_err(|error| error.to_string())?;
        let more = events.len() as u64 == PAGE_EVENTS;
        let through = events.last().map_or(after, |event| event.position.0);
        let item = |event: StoredEvent| {
            let mut text = String::new();
            told(&event, &mut text)?;
            Ok(Item {
                event,
                text: text.into(),
            })
        };
        Ok(Page {
            items: events.into_iter().map(item).collect::<Result<_, String>>()?,
            through,
            more,
        })
    }

    fn place(item: &Item) -> (u64, Option<usize>) {
        // The event is there beside its text.
        (item.event.position.0, Some(2 * item.text.len()))
    }

    fn line(filter: &Filter, item: &Item) -> Option<Line> {
        filter.wants(&item.event).then(|| Line {
            at: item.event.position.0,
            resets: false,
            text: item.text.clone(),
        })
    }

    fn catch_up(&self, filter: &Filter, after: u64) -> Result<CaughtUp, String> {
        let of_log = |error: LogError| error.to_string();
        let head = self.log.head().map_err(of_log)?.position.0;
        let query = EventQuery {
            stream_id: filter.stream_id.clone(),
            stream_type: filter.stream_type.clone(),
            stream_types: filter
                .caller
                .stream_types
                .as_ref()
                .map(|types| types.iter().cloned().collect()),
            event_types: filter.event_types.iter().cloned().collect(),
            after: Some(Position(after)),
            recorded_from: filter.recorded_from,
            limit: PAGE_EVENTS,
            ..EventQuery::default()
        };
        let events = self.log.events(&query).map_err(of_log)?;
        let more = events.len() as u64 == PAGE_EVENTS;
        let last = events.last().map_or(after, |event| event.position.0);
        let (mut text, mut at) = (String::new(), None);
        for event in events.iter().filter(|event| filter.wants(event)) {
            told(event, &mut text)?;
            at = Some(event.position.0);
        }
        Ok(CaughtUp {
            text,
            // Without more, all up to the head that was there before was looked through.
            through: if more { last } else { last.max(head) },
            told: at,
            more,
        })
    }

    fn position(at: u64) -> Bytes {
        sse::one("position", Some(at), &format!("{{\"position\":{at}}}"))
    }

    fn signal(&self) -> Arc<Signal> {
        self.log.signal()
    }
}
