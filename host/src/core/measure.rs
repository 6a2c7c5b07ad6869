//! Counts and times that somebody may want to see: written by whoever does the work, at the cost of an atomic or two, and
//! read by whoever asks.
//!
//! *Invariant:* what is counted here never goes back while the process lives. What may fall is no count, and is looked up
//! where it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often something happened, or how much of it there was.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, amount: u64) {
        // Each count is read by itself.
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Adds a time, in nanoseconds.
    pub fn add_time(&self, time: Duration) {
        self.add(nanos(time));
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The sum of times so far, in seconds.
    pub fn seconds(&self) -> f64 {
        seconds(self.get())
    }
}

/// The most that something ever was.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// It was this much just now.
    pub fn reach(&self, amount: u64) {
        self.0.fetch_max(amount, Ordering::Relaxed);
    }

    /// The most so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of [`Times`], in seconds: from a live flush on a quick disk to a call that nears its deadline.
pub const BOUNDS_SECONDS: [f64; 15] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How long something took, each time: a histogram.
#[derive(Debug, Default)]
pub struct Times {
    /// By bound; the last takes what is above all bounds.
    buckets: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    sum_ns: AtomicU64,
}

/// What [`Times`] were at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TimesTaken {
    /// All of them together, in seconds.
    pub seconds: f64,
    /// How many were up to each bound and above the one before; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Times {
    /// It took this long.
    pub fn record(&self, time: Duration) {
        let took = time.as_secs_f64();
        let place = BOUNDS_SECONDS.partition_point(|bound| *bound < took);
        // The buckets are what is counted, so that a look in between never shows more in them than in all.
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// As they are now.
    pub fn taken(&self) -> TimesTaken {
        let bounds = BOUNDS_SECONDS.iter().copied().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        TimesTaken {
            seconds: seconds(self.sum_ns.load(Ordering::Relaxed)),
            buckets: bounds.zip(counts).collect(),
        }
    }
}

impl TimesTaken {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let times = Times::default();
        for micros in [250, 251, 1_000, 10_000_000, 60_000_000] {
            times.record(Duration::from_micros(micros));
        }
        let taken = times.taken();
        assert_eq!(taken.count(), 5);
        assert!((taken.seconds - 70.001_501).abs() < 1e-9, "{}", taken.seconds);
        let full: Vec<(f64, u64)> = taken
            .buckets
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(
            full,
            [
                (0.000_25, 1),
                (0.000_5, 1),
                (0.001, 1),
                (10.0, 1),
                (f64::INFINITY, 1)
            ]
        );
    }

    #[test]
    fn a_peak_only_rises() {
        let peak = Peak::default();
        for amount in [3, 7, 5] {
            peak.reach(amount);
        }
        assert_eq!(peak.get(), 7);
    }
}
