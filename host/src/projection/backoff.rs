//! Waiting between tries of something that is away.

use std::time::Duration;

/// First wait. Lower would hammer a database that is starting.
const FIRST_MS: u64 = 20;
/// Longest wait. Higher would leave a database that came back unused for longer.
const LONGEST_MS: u64 = 5_000;

/// Exponential, with jitter so that many hosts do not come back at one moment, without end.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// How long to wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = FIRST_MS.saturating_mul(1 << self.tries.min(16)).min(LONGEST_MS);
        self.tries = self.tries.saturating_add(1);
        Duration::from_millis(rand::random_range(ceiling / 2..=ceiling))
    }

    /// Tries so far.
    pub(crate) fn tries(&self) -> u64 {
        u64::from(self.tries)
    }
}
