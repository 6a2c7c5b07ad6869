//! One client's stream: what it missed, page by page, then what the feed gives it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::feed::{CaughtUp, Feed, Source};
use super::queue::{End, LINES_MAX, Queue};
use super::sse;
use crate::api::Subscription;
use crate::telemetry::Event;
use crate::telemetry::events::SubscriptionEnded;

/// Longest silence on a stream. Proxies close what is silent for a minute.
const KEEP_ALIVE_EVERY: Duration = if cfg!(test) {
    Duration::from_millis(700)
} else {
    Duration::from_secs(15)
};
/// A client of whom nothing was wanted for this long is told how far it was looked, so that it need not be looked again
/// when it comes back.
const POSITION_EVERY: Duration = if cfg!(test) {
    Duration::from_millis(300)
} else {
    Duration::from_secs(5)
};
/// Bytes that go to a socket at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What a stream is made of.
pub(super) struct Stream<S: Source> {
    pub(super) feed: Feed<S>,
    pub(super) filter: Arc<S::Filter>,
    /// The caller, for messages.
    pub(super) who: Arc<str>,
    /// What the client has.
    pub(super) after: u64,
    /// What it is told first.
    pub(super) hello: Bytes,
    /// Given back when the stream is dropped.
    pub(super) _place: OwnedSemaphorePermit,
    /// Counts it while it is open.
    pub(super) meter: Subscription,
    pub(super) catch_ups: Arc<Semaphore>,
}

impl<S: Source> Stream<S> {
    /// The answer that goes on until somebody ends it.
    pub(super) fn into_response(self) -> Response {
        let now = Instant::now();
        let running = Running {
            phase: Phase::Behind { until: None },
            queue: Arc::default(),
            cursor: self.after,
            told: self.after,
            sent_at: now,
            told_at: now,
            of: self,
        };
        let body = futures_util::stream::unfold(running, |mut running| async move {
            let text = running.next().await?;
            Some((Ok::<_, Infallible>(text), running))
        });
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, Body::from_stream(body)).into_response()
    }
}

enum Phase {
    /// Reads pages of its own; up to `until`, where the feed goes on.
    Behind { until: Option<u64> },
    /// Takes what the feed gives.
    Live,
    /// Has said its last word.
    Over,
}

struct Running<S: Source> {
    of: Stream<S>,
    phase: Phase,
    queue: Arc<Queue>,
    /// All up to here was sent, or was not wanted.
    cursor: u64,
    /// The last id that was sent.
    told: u64,
    sent_at: Instant,
    told_at: Instant,
}

impl<S: Source> Running<S> {
    async fn next(&mut self) -> Option<Bytes> {
        let first = std::mem::take(&mut self.of.hello);
        let text = if first.is_empty() {
            self.more().await?
        } else {
            first
        };
        self.sent_at = Instant::now();
        Some(text)
    }

    async fn more(&mut self) -> Option<Bytes> {
        loop {
            match self.phase {
                Phase::Over => return None,
                Phase::Behind { until } => {
                    if self.of.feed.is_closed() {
                        return Some(self.last_word(End::Closing));
                    }
                    if until.is_none() && self.join_at_once() {
                        continue;
                    }
                    match self.page().await {
                        Ok(page) => {
                            self.join(until, &page);
                            if let Some(told) = page.told {
                                self.tell(told);
                            }
                            if !page.text.is_empty() {
                                return Some(page.text.into());
                            }
                        }
                        Err(error) => return Some(self.failed(&error)),
                    }
                }
                Phase::Live => {
                    if let Some(text) = self.live().await {
                        return Some(text);
                    }
                }
            }
        }
    }

    /// Goes over to the feed where that has all that is missing.
    fn join_at_once(&mut self) -> bool {
        let joined = self
            .of
            .feed
            .join_at_once(&self.of.who, &self.of.filter, &self.queue, self.cursor);
        if joined {
            self.phase = Phase::Live;
        }
        joined
    }

    async fn page(&self) -> Result<CaughtUp, String> {
        let turn = self.of.catch_ups.clone().acquire_owned().await;
        let (feed, filter, after) = (self.of.feed.clone(), self.of.filter.clone(), self.cursor);
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            feed.source().catch_up(&filter, after)
        });
        read.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// After a page of its own: goes over to the feed, if there is nothing more.
    fn join(&mut self, until: Option<u64>, page: &CaughtUp) {
        self.cursor = page.through;
        let until = match until {
            Some(until) => until,
            None if page.more => return,
            None => {
                let (who, filter) = (self.of.who.clone(), self.of.filter.clone());
                self.of.feed.join(who, filter, self.queue.clone(), self.cursor)
            }
        };
        self.phase = if self.cursor >= until {
            Phase::Live
        } else {
            Phase::Behind { until: Some(until) }
        };
    }

    /// What is in the queue; None: look again.
    async fn live(&mut self) -> Option<Bytes> {
        let taken = self.queue.take(CHUNK_BYTES);
        let mut text = Vec::new();
        for line in taken.lines {
            // What it caught up with by itself may come from the feed too.
            if line.at > self.cursor || line.resets {
                self.cursor = line.at;
                self.tell(line.at);
                text.extend_from_slice(&line.text);
            }
        }
        if !text.is_empty() {
            return Some(text.into());
        }
        if let Some(end) = taken.end {
            return Some(self.last_word(end));
        }
        if taken.is_empty {
            self.cursor = self.cursor.max(taken.passed);
        }
        let now = Instant::now();
        let is_due = self.cursor > self.told;
        if is_due && now >= self.told_at + POSITION_EVERY {
            self.tell(self.cursor);
            return Some(S::position(self.cursor));
        }
        let alive = self.sent_at + KEEP_ALIVE_EVERY;
        if now >= alive {
            return Some(Bytes::from_static(sse::KEEP_ALIVE.as_bytes()));
        }
        // The feed wakes nobody for what is not wanted.
        let look = (self.told_at + POSITION_EVERY).max(now + POSITION_EVERY / 5);
        tokio::select! {
            () = self.queue.ready() => {}
            () = sleep_until(alive.min(look)) => {}
        }
        None
    }

    fn tell(&mut self, id: u64) {
        self.told = id;
        self.told_at = Instant::now();
    }

    fn last_word(&mut self, end: End) -> Bytes {
        self.phase = Phase::Over;
        match end {
            End::Slow => {
                let reason = format!(
                    "more than {LINES_MAX} events or 8 MiB waited for this client, which reads too slowly; connect \
                     again with Last-Event-ID to go on where this ends"
                );
                sse::one(
                    "dropped",
                    None,
                    &format!("{{\"reason\":{}}}", sse::quoted(&reason)),
                )
            }
            End::Closing => sse::one(
                "closing",
                None,
                "{\"reason\":\"the host is stopping; connect again\"}",
            ),
        }
    }

    fn failed(&mut self, error: &str) -> Bytes {
        self.phase = Phase::Over;
        SubscriptionEnded {
            by: &self.of.who,
            feed: S::NAME,
            why: error,
        }
        .emit();
        sse::one(
            "closing",
            None,
            "{\"reason\":\"the database is away, or the host failed; its log says more; connect again\"}",
        )
    }
}

impl<S: Source> Drop for Running<S> {
    fn drop(&mut self) {
        if self.queue.ended() == Some(End::Slow) {
            self.of.meter.is_too_slow();
        }
        if self.queue.ended() == Some(End::Slow) && !matches!(self.phase, Phase::Over) {
            SubscriptionEnded {
                by: &self.of.who,
                feed: S::NAME,
                why: "its connection was closed before it had read what was left for it",
            }
            .emit();
        }
        self.queue.leave();
    }
}
