//! Where a generation's time goes: counted by the threads that spend it, for whoever wants to know why a rebuild takes as
//! long as it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::meter::{ProjectionMeter, WorkMeter};

/// What a runner did since it was started. Times are those of the threads that did the work: they overlap, so that their
/// sum may be more than the time that passed. All times are in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Profile {
    /// Events that were read from the log.
    pub read_events: u64,
    /// Reading them; without the time that the reader waited for the others.
    pub read_ns: u64,
    /// Taking declared fields out of the events' JSON, about: some events are timed.
    pub extract_ns: u64,
    /// Upcasting, where there are upcasters.
    pub upcast_ns: u64,
    /// Events that the plugin was given in calls that succeeded.
    pub events: u64,
    /// Those calls.
    pub calls: u64,
    /// The plugin's own work: all calls, failed ones too, without the host's work on rows.
    pub plugin_ns: u64,
    /// The host's work on rows in these calls: the row cache, and reads of the tables.
    pub rows_ns: u64,
    /// Changes that the plugin made.
    pub changes: u64,
    /// Rows that were wanted and found in memory, or known to be absent.
    pub cache_hits: u64,
    /// Rows that had to be read from the tables.
    pub cache_misses: u64,
    /// Transactions that wrote rows and checkpoint.
    pub flushes: u64,
    /// Their time.
    pub flush_ns: u64,
    /// Rows that they wrote or removed.
    pub rows_written: u64,
    /// Time that a rebuild left to others, as `rebuild_share_percent` has it.
    #[serde(default)]
    pub rest_ns: u64,
}

/// Counts for a [`Profile`], from several threads, and for the projection's meter, which outlives the runner.
#[derive(Debug, Default)]
pub(crate) struct Profiler {
    meter: Arc<ProjectionMeter>,
    live: AtomicBool,
    read_events: AtomicU64,
    read_ns: AtomicU64,
    extract_ns: AtomicU64,
    upcast_ns: AtomicU64,
    events: AtomicU64,
    calls: AtomicU64,
    plugin_ns: AtomicU64,
    rows_ns: AtomicU64,
    changes: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    flushes: AtomicU64,
    flush_ns: AtomicU64,
    rows_written: AtomicU64,
    rest_ns: AtomicU64,
}

/// What the rows of a worker went through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowCounts {
    pub(crate) changes: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

/// What a flush brought into the tables.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flushed {
    pub(crate) rows: u64,
    /// Events whose effects are in these rows.
    pub(crate) events: u64,
    /// Positions that the checkpoint moved over.
    pub(crate) positions: u64,
    /// Events that were parked.
    pub(crate) parked: u64,
}

fn add(counter: &AtomicU64, amount: u64) {
    // Each counter is read by itself.
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Profiler {
    pub(crate) fn of(meter: Arc<ProjectionMeter>) -> Self {
        Self {
            meter,
            ..Self::default()
        }
    }

    pub(crate) fn meter(&self) -> &ProjectionMeter {
        &self.meter
    }

    /// Whether what is done from now on is done for public tables.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn set_live(&self, live: bool) {
        self.live.store(live, Ordering::Relaxed);
    }

    fn work(&self) -> &WorkMeter {
        match self.live.load(Ordering::Relaxed) {
            true => &self.meter.live,
            false => &self.meter.building,
        }
    }

    /// A read, of which some time went into declared fields.
    pub(crate) fn read(&self, events: usize, time: Duration, extracting: Duration) {
        add(&self.read_events, events as u64);
        add(&self.read_ns, nanos(time.saturating_sub(extracting)));
        add(&self.extract_ns, nanos(extracting.min(time)));
        let stages = &self.work().stages;
        stages.read.add_time(time.saturating_sub(extracting));
        stages.extract.add_time(extracting.min(time));
    }

    /// The same of upcasting.
    pub(crate) fn upcast(&self, time: Duration, extracting: Duration) {
        add(&self.upcast_ns, nanos(time.saturating_sub(extracting)));
        add(&self.extract_ns, nanos(extracting.min(time)));
        let stages = &self.work().stages;
        stages.upcast.add_time(time.saturating_sub(extracting));
        stages.extract.add_time(extracting.min(time));
    }

    /// A call, of all workers together; `events` is 0 where it failed.
    pub(crate) fn called(&self, events: usize, all_ns: u64, rows_ns: u64) {
        add(&self.events, events as u64);
        add(&self.calls, u64::from(events > 0));
        add(&self.plugin_ns, all_ns.saturating_sub(rows_ns));
        add(&self.rows_ns, rows_ns);
        let work = self.work();
        work.batches.record(Duration::from_nanos(all_ns));
        work.stages.plugin.add(all_ns.saturating_sub(rows_ns));
        work.stages.rows.add(rows_ns);
    }

    pub(crate) fn rows(&self, counts: RowCounts) {
        add(&self.changes, counts.changes);
        add(&self.cache_hits, counts.hits);
        add(&self.cache_misses, counts.misses);
        let work = self.work();
        work.changes.add(counts.changes);
        work.cache_hits.add(counts.hits);
        work.cache_misses.add(counts.misses);
    }

    pub(crate) fn flushed(&self, flushed: Flushed, time: Duration) {
        add(&self.flushes, 1);
        add(&self.flush_ns, nanos(time));
        add(&self.rows_written, flushed.rows);
        let work = self.work();
        work.flushes.record(time);
        work.stages.flush.add_time(time);
        work.rows.add(flushed.rows);
        work.events.add(flushed.events);
        work.positions.add(flushed.positions);
        self.meter.parked.add(flushed.parked);
    }

    pub(crate) fn rested(&self, time: Duration) {
        add(&self.rest_ns, nanos(time));
        self.work().stages.rest.add_time(time);
    }

    pub(crate) fn profile(&self) -> Profile {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Profile {
            read_events: of(&self.read_events),
            read_ns: of(&self.read_ns),
            extract_ns: of(&self.extract_ns),
            upcast_ns: of(&self.upcast_ns),
            events: of(&self.events),
            calls: of(&self.calls),
            plugin_ns: of(&self.plugin_ns),
            rows_ns: of(&self.rows_ns),
            changes: of(&self.changes),
            cache_hits: of(&self.cache_hits),
            cache_misses: of(&self.cache_misses),
            flushes: of(&self.flushes),
            flush_ns: of(&self.flush_ns),
            rows_written: of(&self.rows_written),
            rest_ns: of(&self.rest_ns),
        }
    }
}
