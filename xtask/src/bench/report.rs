//! Medians and ratios, as one table.

use std::collections::BTreeMap;

/// Where the naive projector is to be beaten, by how much.
const TARGETS: [(&str, f64); 2] = [("SQLite", 10.0), ("PostgreSQL", 15.0)];

/// Rates in events a second, by database.
#[derive(Default)]
pub(super) struct Measured {
    source: String,
    lamphouse: BTreeMap<String, Vec<f64>>,
    naive: BTreeMap<String, Vec<f64>>,
}

impl Measured {
    pub(super) fn new(source: String) -> Self {
        Self {
            source,
            ..Self::default()
        }
    }

    pub(super) fn lamphouse(&mut self, database: &str, rate: f64) {
        self.lamphouse.entry(database.to_owned()).or_default().push(rate);
    }

    pub(super) fn naive(&mut self, database: &str, rate: f64) {
        self.naive.entry(database.to_owned()).or_default().push(rate);
    }

    fn ratio(&self, database: &str) -> f64 {
        median(&self.lamphouse[database]) / median(&self.naive[database])
    }

    /// Whether every target is met.
    pub(super) fn good(&self) -> bool {
        TARGETS
            .iter()
            .all(|(name, target)| !self.lamphouse.contains_key(*name) || self.ratio(name) >= *target)
    }

    pub(super) fn print(&self) {
        println!(
            "\norder-summary on {}, events a second; medians, whole process, start included",
            self.source
        );
        println!(
            "naive: native code, one sqlx statement a change, 1,000 events a transaction, first 100,000 events\n"
        );
        println!(
            "{:<12} {:>22} {:>22} {:>8} {:>8}",
            "", "Lamphouse (runs)", "naive (runs)", "ratio", "target"
        );
        for (name, target) in TARGETS {
            let (Some(ours), Some(naive)) = (self.lamphouse.get(name), self.naive.get(name)) else {
                continue;
            };
            println!(
                "{name:<12} {:>22} {:>22} {:>7.1}x {:>7}x",
                format!("{:.0} ({})", median(ours), ours.len()),
                format!("{:.0} ({})", median(naive), naive.len()),
                self.ratio(name),
                target
            );
        }
    }
}

/// The middle one; of two, the lower.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_a_missed_target_is_not_good() {
        let mut measured = Measured::new("a test".to_owned());
        for rate in [100.0, 5.0, 120.0] {
            measured.lamphouse("SQLite", rate);
        }
        measured.naive("SQLite", 10.0);
        assert!((measured.ratio("SQLite") - 10.0).abs() < 1e-9);
        assert!(measured.good());
        measured.naive("SQLite", 50.0);
        measured.naive("SQLite", 50.0);
        assert!(!measured.good());
    }
}
