//! Figures gathered over runs, and the table and the file that are made of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::targets::{Better, RATIO, TARGETS, Target};

/// What was measured of each row.
pub(super) struct Report {
    /// Only rows whose group or name contains it.
    only: Option<String>,
    /// Machine, build and date, above the table.
    pub(super) heading: String,
    figures: BTreeMap<&'static str, Vec<f64>>,
}

/// One row over its runs.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    name: &'static str,
    unit: &'static str,
    runs: usize,
    median: f64,
    min: f64,
    max: f64,
    must: Option<f64>,
    aim: Option<f64>,
    /// Whether the median is as the row must be; None where it must be nothing.
    holds: Option<bool>,
    aim_holds: bool,
}

impl Report {
    pub(super) fn new(only: Option<String>) -> Self {
        Self {
            only: only.map(|only| only.to_lowercase()),
            heading: String::new(),
            figures: BTreeMap::new(),
        }
    }

    fn includes(&self, target: &Target) -> bool {
        self.only
            .as_deref()
            .is_none_or(|only| target.group.contains(only) || target.name.to_lowercase().contains(only))
    }

    /// Whether some row of a group is asked for.
    pub(super) fn wants(&self, group: &str) -> bool {
        TARGETS
            .iter()
            .any(|target| target.group == group && self.includes(target))
    }

    /// Adds one run's figure to a row.
    ///
    /// # Panics
    /// When there is no such row.
    pub(super) fn add(&mut self, name: &str, figure: f64) {
        let target = TARGETS.iter().find(|target| target.name == name);
        let target = target.unwrap_or_else(|| panic!("there is no row '{name}'"));
        self.figures.entry(target.name).or_default().push(figure);
    }

    /// The last figure of a row.
    pub(super) fn last(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.last().copied()
    }

    fn rows(&self) -> Vec<Row> {
        TARGETS
            .iter()
            .filter(|target| self.includes(target))
            .filter_map(|target| Row::of(target, self.figures.get(target.name)?))
            .collect()
    }

    /// Whether every ratio is as it must be. Times are not judged: they are the machine's as much as ours.
    pub(super) fn holds(&self) -> bool {
        self.rows()
            .iter()
            .all(|row| row.unit != RATIO || row.holds != Some(false))
    }

    pub(super) fn print(&self) {
        println!("\n{}\n{}", self.heading, self.text());
    }

    fn text(&self) -> String {
        let rows = self.rows();
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let mut text = format!(
            "{:<width$}  {:<10} {:>4} {:>9} {:>9} {:>9} {:>7} {:>7}  holds\n",
            "", "unit", "runs", "median", "min", "max", "must", "aim"
        );
        for row in &rows {
            let target = |value: Option<f64>| value.map_or_else(String::new, short);
            let holds = match row.holds {
                None => "",
                Some(false) => "NO",
                Some(true) if row.aim_holds => "aim",
                Some(true) => "must",
            };
            let line = format!(
                "{:<width$}  {:<10} {:>4} {:>9} {:>9} {:>9} {:>7} {:>7}  {holds}",
                row.name,
                row.unit,
                row.runs,
                short(row.median),
                short(row.min),
                short(row.max),
                target(row.must),
                target(row.aim)
            );
            writeln!(text, "{}", line.trim_end()).expect("invariant: writing to a String does not fail");
        }
        text
    }

    /// An array of `{name, unit, median, min, max, must, aim, holds}`; `must`, `aim` and `holds` are null where the row
    /// is there to be compared with.
    fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|row| {
            json!({
                "name": row.name,
                "unit": row.unit,
                "median": row.median,
                "min": row.min,
                "max": row.max,
                "must": row.must,
                "aim": row.aim,
                "holds": row.holds,
            })
        });
        rows.collect()
    }

    /// Writes [`Self::json`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.json())?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to {}", file.display());
        Ok(())
    }
}

impl Row {
    fn of(target: &Target, figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = median(&sorted)?;
        let reaches = |wanted: f64| match target.better {
            Better::More => median >= wanted,
            Better::Less => median <= wanted,
        };
        Some(Self {
            name: target.name,
            unit: target.unit,
            runs: sorted.len(),
            median,
            min: *sorted.first()?,
            max: *sorted.last()?,
            must: target.must,
            aim: target.aim,
            holds: target.must.map(reaches),
            aim_holds: target.aim.is_some_and(reaches),
        })
    }
}

/// The middle one; of two in the middle, their mean. None of nothing.
pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count.is_multiple_of(2) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(report: &'a [Row], name: &str) -> &'a Row {
        report.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn a_row_is_the_median_of_its_runs_with_the_least_and_the_most() {
        let mut report = Report::new(None);
        for figure in [21.0, 90.0, 5.0] {
            report.add("SQLite rebuild / naive sqlx", figure);
        }
        let rows = report.rows();
        let row = row(&rows, "SQLite rebuild / naive sqlx");
        assert_eq!((row.runs, row.median, row.min, row.max), (3, 21.0, 5.0, 90.0));
        assert_eq!((row.holds, row.aim_holds), (Some(true), false));
        assert!(report.holds());
    }

    #[test]
    fn a_ratio_that_is_missed_does_not_hold_and_a_time_is_not_judged() {
        let mut report = Report::new(None);
        report.add("SQLite rebuild", 1.0);
        assert_eq!(report.rows()[0].holds, Some(false));
        assert!(report.holds(), "a time fails nothing");
        report.add("PostgreSQL rebuild / row trigger", 7.9);
        assert!(!report.holds());
    }

    #[test]
    fn less_is_better_where_the_row_says_so() {
        let target = Target {
            group: "g",
            name: "n",
            unit: "ms",
            better: Better::Less,
            must: Some(2.0),
            aim: Some(1.0),
        };
        let row = |figure| Row::of(&target, &[figure]).unwrap();
        assert_eq!((row(0.9).holds, row(0.9).aim_holds), (Some(true), true));
        assert_eq!((row(1.5).holds, row(1.5).aim_holds), (Some(true), false));
        assert_eq!((row(2.1).holds, row(2.1).aim_holds), (Some(false), false));
    }

    #[test]
    fn medians_of_even_numbers_are_between_the_two_in_the_middle() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_file_has_what_was_measured_and_only_that() {
        let mut report = Report::new(Some("SYNTHETIC".to_owned()));
        report.add("SQLite rebuild / naive sqlx", 19.0);
        report.add("SQLite naive sqlx", 20.0);
        report.add("retail: SQLite naive sqlx", 20.0);
        let file = report.json();
        let expected = json!([
            {"name": "SQLite rebuild / naive sqlx", "unit": "x", "median": 19.0, "min": 19.0, "max": 19.0,
             "must": 20.0, "aim": 35.0, "holds": false},
            {"name": "SQLite naive sqlx", "unit": "k events/s", "median": 20.0, "min": 20.0, "max": 20.0,
             "must": null, "aim": null, "holds": null},
        ]);
        assert_eq!(file, expected);
        assert!(report.wants("synthetic") && !report.wants("retail"));
    }

    #[test]
    fn the_table_is_plain() {
        let mut report = Report::new(Some("naive".to_owned()));
        report.add("SQLite rebuild / naive sqlx", 36.04);
        report.add("SQLite naive sqlx", 1_234.5);
        let text = report.text();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .skip(1)
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(lines[0].first(), Some(&"SQLite rebuild / naive sqlx"));
        assert_eq!(lines[0].last(), Some(&"aim"));
        assert!(text.contains("36.0") && text.contains("1234"), "{text}");
    }

    #[test]
    fn rows_have_names_of_their_own_and_aims_beyond_what_they_must_be() {
        for (place, target) in TARGETS.iter().enumerate() {
            assert!(
                TARGETS[place + 1..].iter().all(|other| other.name != target.name),
                "{} is there twice",
                target.name
            );
            if let (Some(must), Some(aim)) = (target.must, target.aim) {
                let further = match target.better {
                    Better::More => aim >= must,
                    Better::Less => aim <= must,
                };
                assert!(further, "{}", target.name);
            }
        }
    }
}
