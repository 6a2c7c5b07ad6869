//! Medians and ratios, as one table.

use std::collections::BTreeMap;

/// Where the naive projector is to be beaten, by how much.
const TARGETS: [(&str, f64); 2] = [("SQLite", 10.0), ("PostgreSQL", 15.0)];

/// How tables are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Into an empty tables database, as the naive projector does: what the targets are about.
    FromEmpty,
    /// A new generation beside the live one, whose readers and writer come first.
    BesideLive,
    /// Native code, a statement a change.
    Naive,
}

/// Rates in events a second, by database and way.
#[derive(Default)]
pub(super) struct Measured {
    source: String,
    rates: BTreeMap<(String, Way), Vec<f64>>,
}

impl Measured {
    pub(super) fn new(source: String) -> Self {
        Self {
            source,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, database: &str, way: Way, rate: f64) {
        self.rates
            .entry((database.to_owned(), way))
            .or_default()
            .push(rate);
    }

    fn median(&self, database: &str, way: Way) -> Option<f64> {
        self.rates
            .get(&(database.to_owned(), way))
            .map(|rates| median(rates))
    }

    fn ratio(&self, database: &str, way: Way) -> Option<f64> {
        Some(self.median(database, way)? / self.median(database, Way::Naive)?)
    }

    /// Whether every target is met.
    pub(super) fn good(&self) -> bool {
        let met = |(name, target): &(&str, f64)| {
            self.ratio(name, Way::FromEmpty)
                .is_none_or(|ratio| ratio >= *target)
        };
        TARGETS.iter().all(met)
    }

    pub(super) fn print(&self) {
        println!(
            "\norder-summary on {}: thousand events a second, medians",
            self.source
        );
        println!("Lamphouse: the whole command, its start and its end included, all events");
        println!(
            "naive: native code, one sqlx statement a change, 1,000 events a transaction, first 100,000 events\n"
        );
        println!(
            "{:<32} {:>5} {:>10} {:>8} {:>8}",
            "", "runs", "k events/s", "ratio", "target"
        );
        for (name, target) in TARGETS {
            for (way, words) in [
                (Way::FromEmpty, "from empty"),
                (Way::BesideLive, "beside live tables"),
                (Way::Naive, "naive"),
            ] {
                let Some(rate) = self.median(name, way) else {
                    continue;
                };
                let runs = self.rates[&(name.to_owned(), way)].len();
                let ratio = self.ratio(name, way).unwrap_or(1.0);
                let target = if way == Way::FromEmpty {
                    format!("{target}x")
                } else {
                    String::new()
                };
                let title = format!("{name}, {words}");
                println!(
                    "{title:<32} {runs:>5} {:>10.1} {ratio:>7.1}x {target:>8}",
                    rate / 1_000.0
                );
            }
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
            measured.add("SQLite", Way::FromEmpty, rate);
        }
        measured.add("SQLite", Way::Naive, 10.0);
        assert_eq!(measured.ratio("SQLite", Way::FromEmpty), Some(10.0));
        assert!(measured.good());
        measured.add("SQLite", Way::Naive, 50.0);
        measured.add("SQLite", Way::Naive, 50.0);
        assert!(!measured.good());
    }
}
