//! What projections have done since the process started, by name: kept here and not in their runners, which come and go,
//! so that no count ever goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::core::measure::{Counter, Times};

/// All projections of a host.
#[derive(Debug, Default)]
pub struct Meters {
    projections: RwLock<BTreeMap<String, Arc<ProjectionMeter>>>,
    pulse: Mutex<Option<Instant>>,
}

/// One projection, over all its generations.
#[derive(Debug, Default)]
pub struct ProjectionMeter {
    /// What public generations did.
    pub live: WorkMeter,
    /// What generations did that are being built, or kept level without being public.
    pub building: WorkMeter,
    /// Stops, by the class of their fault.
    pub faults: Faults,
    /// Starts of a runner after one that ended for a passing reason.
    pub restarts: Counter,
    /// Tries that failed because a database was away, and were tried again.
    pub retries: Counter,
    /// Switches of the public tables to another generation.
    pub cutovers: Counter,
    /// Switches that did not happen.
    pub cutovers_failed: Counter,
    /// Events that were parked as dead letters.
    pub parked: Counter,
    /// Dead letters that were replayed.
    pub replayed: Counter,
    /// Events that were discarded.
    pub discarded: Counter,
}

/// What generations of one projection did, public ones or others.
#[derive(Debug, Default)]
pub struct WorkMeter {
    /// Positions of the log that checkpoints moved over.
    pub positions: Counter,
    /// Events whose effects are in the tables; after upcasting.
    pub events: Counter,
    /// Calls of the projector, with the host's work on their rows.
    pub batches: Times,
    /// Transactions that wrote rows and checkpoint.
    pub flushes: Times,
    /// Rows that they wrote or removed.
    pub rows: Counter,
    /// Changes that the projector made.
    pub changes: Counter,
    /// Rows that were wanted and found in memory, or known to be absent.
    pub cache_hits: Counter,
    /// Rows that had to be read from the tables.
    pub cache_misses: Counter,
    /// Nanoseconds in each stage, of all threads together.
    pub stages: Stages,
}

/// Nanoseconds by stage.
#[derive(Debug, Default)]
pub struct Stages {
    /// Reading the log.
    pub read: Counter,
    /// Taking declared fields out of the events' JSON.
    pub extract: Counter,
    /// Upcasting.
    pub upcast: Counter,
    /// In the projector.
    pub plugin: Counter,
    /// The host's work on rows.
    pub rows: Counter,
    /// Writing rows and checkpoint.
    pub flush: Counter,
    /// Left to others, as `rebuild_share_percent` has it.
    pub rest: Counter,
}

impl Stages {
    /// Each with its name.
    pub fn all(&self) -> [(&'static str, &Counter); 7] {
        [
            ("read", &self.read),
            ("extract", &self.extract),
            ("upcast", &self.upcast),
            ("plugin", &self.plugin),
            ("rows", &self.rows),
            ("flush", &self.flush),
            ("rest", &self.rest),
        ]
    }
}

/// Stops by class.
#[derive(Debug, Default)]
pub struct Faults {
    fault: Counter,
    time_limit: Counter,
    bug: Counter,
    retryable: Counter,
    diverged: Counter,
}

impl Faults {
    /// The one of a class, as `status` names it; what has no class is a bug.
    pub fn of(&self, class: &str) -> &Counter {
        match class {
            "fault" => &self.fault,
            "time_limit" => &self.time_limit,
            "retryable" => &self.retryable,
            "diverged" => &self.diverged,
            _ => &self.bug,
        }
    }

    /// Each with its name.
    pub fn all(&self) -> [(&'static str, &Counter); 5] {
        ["fault", "time_limit", "bug", "retryable", "diverged"].map(|class| (class, self.of(class)))
    }
}

impl Meters {
    /// A projection's; made where it is not there.
    pub fn of(&self, projection: &str) -> Arc<ProjectionMeter> {
        if let Some(meter) = self.projections.read().get(projection) {
            return meter.clone();
        }
        let mut all = self.projections.write();
        all.entry(projection.to_owned()).or_default().clone()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<(String, Arc<ProjectionMeter>)> {
        let all = self.projections.read();
        all.iter()
            .map(|(name, meter)| (name.clone(), meter.clone()))
            .collect()
    }

    /// The thread that decides says that it is there.
    pub fn beat(&self) {
        *self.pulse.lock() = Some(Instant::now());
    }

    /// How long ago it last did; None before the first time.
    pub fn since_beat(&self) -> Option<Duration> {
        self.pulse.lock().map(|beat| beat.elapsed())
    }
}
