//! What a runner says of itself while it runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::meter::ProjectionMeter;
use super::profile::{Profile, Profiler};
use crate::core::{EventId, Position};
use crate::plugin::LogLine;
use crate::tables::GenerationRecord;
use crate::telemetry::traces;

/// Log lines of the guest that are kept for `status`.
const LOG_LINES_KEPT: usize = 50;
/// Over how long the rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// Shared by a runner's threads and whoever wants to know.
#[derive(Default)]
pub struct RunnerStatus {
    /// For the host's log: the projection and its generation.
    names: (String, String),
    checkpoint: AtomicU64,
    head: AtomicU64,
    head_recorded_at: AtomicI64,
    cache_bytes: AtomicU64,
    cache_is_whole: AtomicBool,
    parked_events: AtomicU64,
    parked_streams: AtomicU64,
    /// Since when each worker has been in a call.
    calls: Mutex<Vec<Option<Instant>>>,
    upcast: Mutex<Option<Instant>>,
    retrying: Mutex<Option<(Instant, Retry)>>,
    log: Mutex<VecDeque<LogLine>>,
    rate: Mutex<VecDeque<(Instant, u64)>>,
    profiler: Profiler,
}

/// What is being tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Why.
    pub message: String,
    /// Tries so far.
    pub attempts: u64,
    /// When it is tried next.
    pub next: Instant,
}

/// Why a runner ended.
#[derive(Clone, Debug)]
pub enum StopReason {
    /// It was told to.
    Told,
    /// The plugin or an event is wrong, a deadline was missed twice, or we have a bug.
    Fault(Stop),
    /// The log is not the one that the tables were made from.
    Diverged(String),
    /// The tables moved under it: it is to be started again from the committed checkpoint.
    Restart(String),
}

/// A fault as it happened.
#[derive(Clone, Debug)]
pub struct Stop {
    /// What to do about it.
    pub class: crate::core::Class,
    /// What failed, on what, why, and what to do.
    pub message: String,
    /// Position of the event.
    pub position: Option<Position>,
    /// Id of the event.
    pub event_id: Option<EventId>,
    /// Which of the events that upcasters made of it, from 0; None where that is not known.
    pub part: Option<u32>,
    /// The guest's backtrace.
    pub trace: String,
    /// The guest's log lines of the failing call.
    pub log: Vec<LogLine>,
    /// Tries.
    pub attempts: u32,
}

impl RunnerStatus {
    pub(crate) fn of(generation: &GenerationRecord, meter: Arc<ProjectionMeter>) -> Self {
        Self {
            profiler: Profiler::of(meter),
            names: (generation.projection.to_string(), generation.id.to_string()),
            ..Self::default()
        }
    }

    /// The projection and its generation, for spans that are sent to a collector: each is a trace of its own there. In the
    /// host's log, the span around them says it.
    pub(crate) fn names(&self) -> (Option<&str>, Option<&str>) {
        let (projection, generation) = &self.names;
        match traces::are_sent() {
            true => (Some(projection), Some(generation)),
            false => (None, None),
        }
    }

    /// The committed checkpoint.
    pub fn checkpoint(&self) -> Position {
        Position(self.checkpoint.load(Ordering::Acquire))
    }

    /// The head as the reader last saw it, and when its event was recorded (microseconds since 1970).
    pub fn head(&self) -> (Position, i64) {
        (
            Position(self.head.load(Ordering::Acquire)),
            self.head_recorded_at.load(Ordering::Acquire),
        )
    }

    /// Bytes of the row cache, and whether it holds the tables whole.
    pub fn cache(&self) -> (u64, bool) {
        (
            self.cache_bytes.load(Ordering::Relaxed),
            self.cache_is_whole.load(Ordering::Relaxed),
        )
    }

    /// Parked events and the streams that they belong to, as they are committed.
    pub fn parked(&self) -> (u64, u64) {
        (
            self.parked_events.load(Ordering::Acquire),
            self.parked_streams.load(Ordering::Acquire),
        )
    }

    /// How long the present call of the projector, or the upcasting of the present batch, has been going on; the longest
    /// one.
    pub fn call_time(&self) -> Option<Duration> {
        let upcast = *self.upcast.lock();
        let calls = self.calls.lock();
        let all = calls.iter().flatten().chain(&upcast);
        all.map(Instant::elapsed).max()
    }

    /// What is being tried again.
    pub fn retrying(&self) -> Option<Retry> {
        self.retrying.lock().as_ref().map(|(_, retry)| retry.clone())
    }

    /// The guest's last log lines.
    pub fn log(&self) -> Vec<LogLine> {
        self.log.lock().iter().cloned().collect()
    }

    /// Where the time went since the runner was started.
    pub fn profile(&self) -> Profile {
        self.profiler.profile()
    }

    pub(crate) fn profiler(&self) -> &Profiler {
        &self.profiler
    }

    /// Positions a second over the last seconds; None while nothing moves.
    pub fn events_per_second(&self) -> Option<f64> {
        let rate = self.rate.lock();
        let (first_at, first) = rate.front()?;
        let (last_at, last) = rate.back()?;
        let seconds = last_at.duration_since(*first_at).as_secs_f64();
        let moved = last.saturating_sub(*first);
        (moved > 0 && seconds > 0.0 && last_at.elapsed() < RATE_WINDOW).then(|| moved as f64 / seconds)
    }

    pub(crate) fn set_checkpoint(&self, position: Position) {
        self.checkpoint.store(position.0, Ordering::Release);
        let now = Instant::now();
        let mut rate = self.rate.lock();
        rate.push_back((now, position.0));
        while rate.len() > 2
            && rate
                .front()
                .is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW)
        {
            rate.pop_front();
        }
    }

    pub(crate) fn set_head(&self, position: Position, recorded_at: i64) {
        self.head.store(position.0, Ordering::Release);
        self.head_recorded_at.store(recorded_at, Ordering::Release);
    }

    pub(crate) fn set_cache(&self, bytes: usize, whole: bool) {
        self.cache_bytes.store(bytes as u64, Ordering::Relaxed);
        self.cache_is_whole.store(whole, Ordering::Relaxed);
    }

    pub(crate) fn set_parked(&self, events: u64, streams: u64) {
        self.parked_events.store(events, Ordering::Release);
        self.parked_streams.store(streams, Ordering::Release);
    }

    pub(crate) fn set_call(&self, worker: usize, since: Option<Instant>) {
        let mut calls = self.calls.lock();
        if calls.len() <= worker {
            calls.resize(worker + 1, None);
        }
        calls[worker] = since;
    }

    pub(crate) fn set_upcast(&self, since: Option<Instant>) {
        *self.upcast.lock() = since;
    }

    /// Also tells the host's log: of an outage its begin, now and then that it lasts, and its end.
    pub(crate) fn set_retrying(&self, retry: Option<Retry>) {
        let (projection, generation) = &self.names;
        let mut retrying = self.retrying.lock();
        self.profiler.meter().retries.add(u64::from(retry.is_some()));
        let since = retrying.as_ref().map(|(since, _)| *since);
        match (&retry, since) {
            (Some(retry), _) if retry.attempts.is_power_of_two() => tracing::warn!(
                projection,
                generation,
                attempts = retry.attempts,
                error = retry.message,
                "A projection waits and tries again; nothing is lost"
            ),
            (None, Some(since)) => tracing::info!(
                projection,
                generation,
                after_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
                "A projection goes on"
            ),
            _ => {}
        }
        *retrying = retry.map(|retry| (since.unwrap_or_else(Instant::now), retry));
    }

    pub(crate) fn add_log(&self, lines: &[LogLine]) {
        let mut log = self.log.lock();
        log.extend(lines.iter().cloned());
        while log.len() > LOG_LINES_KEPT {
            log.pop_front();
        }
    }
}
