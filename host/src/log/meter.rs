//! How the appends of this process go.

use std::time::Instant;

use super::{Appended, LogError};
use crate::core::measure::{Counter, Times};

/// Appends since the log was opened; imports are none of them.
#[derive(Debug, Default)]
pub struct AppendMeter {
    /// Those that are in the log: from the call to the commit.
    pub times: Times,
    /// Their events.
    pub events: Counter,
    /// Those that were in the log already, under their idempotency key.
    pub repeated: Counter,
    /// Those whose expected versions did not hold.
    pub conflicts: Counter,
    /// Those that broke a rule.
    pub refused: Counter,
    /// Those that the database did not take.
    pub failed: Counter,
}

impl AppendMeter {
    /// Does an append of so many events, and counts what came of it.
    pub(super) fn measure(
        &self,
        events: usize,
        append: impl FnOnce() -> Result<Appended, LogError>,
    ) -> Result<Appended, LogError> {
        let began = Instant::now();
        let result = tracing::debug_span!("append", events).in_scope(append);
        match &result {
            Ok(appended) if appended.repeated => self.repeated.add(1),
            Ok(_) => {
                self.times.record(began.elapsed());
                self.events.add(events as u64);
            }
            Err(LogError::Conflict { .. }) => self.conflicts.add(1),
            Err(LogError::Invalid(_) | LogError::KeyReused { .. }) => self.refused.add(1),
            Err(LogError::Unavailable(_) | LogError::Internal(_)) => self.failed.add(1),
        }
        result
    }
}
