//! Subscriptions: `GET /v1/changes` and `GET /v1/events?follow=true` as Server-Sent Events.
//!
//! ```text
//! table of changes ─▶ feed (one reader) ─▶ a bounded queue a client ─▶ stream ─▶ socket
//! log ─────────────▶ feed (one reader) ─▶ …
//! ```
//!
//! A client first catches up by pages of its own, then joins the feed, which reads everything once for all and hands out
//! lines that are written already. *Invariants:* nobody waits for a client: one whose queue is full is dropped, with the
//! reason, and comes back by `Last-Event-ID`. The number of subscriptions, of clients that catch up at a time, and what
//! waits for each are bounded. An id is sent only when everything up to it was.

mod changes;
mod events;
mod feed;
mod queue;
mod sse;
mod stream;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::changes::ChangeSource;
use self::events::EventSource;
use self::feed::Feed;
use super::problem::Problem;
use crate::core::Position;
use crate::core::bell::Bell;
use crate::log::EventLog;
use crate::tables::TableStore;

pub(super) use changes::{__path_changes, changes};
pub(super) use events::{Followed, follow};

/// Clients that read a page of their own at a time; others wait for their turn. Raise it where many come back at once and
/// the databases are quick; lower it to spare them.
const CATCH_UPS_AT_ONCE_MAX: usize = 2;

/// Seconds after which a client may try again that found all places taken.
const RETRY_AFTER_SECONDS: &str = "5";

/// Everybody who follows something.
pub struct Subscriptions {
    max: usize,
    places: Arc<Semaphore>,
    catch_ups: Arc<Semaphore>,
    changes: Feed<ChangeSource>,
    events: Feed<EventSource>,
}

impl Subscriptions {
    /// None yet. At most `max` at a time.
    pub fn new(
        log: &Arc<dyn EventLog>,
        store: &Arc<dyn TableStore>,
        written: &Bell,
        max: usize,
    ) -> Arc<Self> {
        let max = max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            max,
            places: Arc::new(Semaphore::new(max)),
            catch_ups: Arc::new(Semaphore::new(CATCH_UPS_AT_ONCE_MAX)),
            changes: Feed::new(ChangeSource::new(store.clone(), written.hear())),
            events: Feed::new(EventSource::new(log.clone())),
        })
    }

    /// Ends every subscription with a last word, and takes no more.
    pub fn close(&self) {
        self.places.close();
        self.changes.close();
        self.events.close();
    }

    /// As [`Self::close`], and waits until nothing is read for them any more. Blocks.
    pub fn end(&self) {
        self.close();
        self.changes.end();
        self.events.end();
    }

    /// A place for one more; else what to answer.
    fn place(&self) -> Result<OwnedSemaphorePermit, Box<Response>> {
        self.places.clone().try_acquire_owned().map_err(|error| {
            let detail = match error {
                tokio::sync::TryAcquireError::Closed => "the host is stopping; try again".to_owned(),
                tokio::sync::TryAcquireError::NoPermits => format!(
                    "{} subscriptions are open, which is the limit ([host] subscriptions_max); try again in some seconds",
                    self.max
                ),
            };
            let mut refused = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
            let headers = refused.headers_mut();
            headers.insert("retry-after", axum::http::HeaderValue::from_static(RETRY_AFTER_SECONDS));
            Box::new(refused)
        })
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.close();
    }
}

/// Where to go on: the header of a client that comes back stands over the parameter.
pub(super) fn resume_point(headers: &HeaderMap, after: Option<u64>) -> Result<Option<u64>, Problem> {
    let (given, what) = match headers.get("last-event-id") {
        Some(value) if !value.is_empty() => {
            let number = value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok());
            let Some(number) = number else {
                return Err(Problem::new(
                    StatusCode::BAD_REQUEST,
                    "the header Last-Event-ID is not an id of these events, which are whole numbers",
                ));
            };
            (Some(number), "Last-Event-ID")
        }
        _ => (after, "after"),
    };
    match given {
        Some(number) if number > Position::MAX.0 => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("{what} is {number}, and ids stay below 2^53"),
        )),
        given => Ok(given),
    }
}
