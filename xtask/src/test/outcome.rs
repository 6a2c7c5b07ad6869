//! Counts what test binaries print: passed, failed, skipped, and why skipped.
//!
//! A test that cannot run prints a line that begins with `SKIPPED`; it counts as skipped, not as passed. A line that
//! begins with `FIGURES` says what a test did how often, and is repeated at the end.

use std::collections::BTreeSet;

/// The sum over all test binaries.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: BTreeSet<String>,
    figures: Vec<String>,
    notes: Vec<String>,
    /// A run that failed without a failed test: it did not compile, or a test binary died.
    broken: bool,
    failed_before_run: u64,
    binary: u64,
    section: Section,
    test: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Tests,
    Successes,
    Failures,
}

impl Outcome {
    /// Something that a person should know at the end.
    pub(crate) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    /// Takes one line of a test binary's output; gives it back if a person should see it.
    pub(crate) fn take<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.binary += 1;
            self.section = Section::Tests;
            return None;
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = counts.split(what).next().unwrap_or_default();
                before
                    .split_whitespace()
                    .next_back()
                    .and_then(|number| number.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            self.passed += count(" passed");
            self.failed += count(" failed");
            self.ignored += count(" ignored");
            self.section = Section::Tests;
            return Some(line);
        }
        match line {
            "successes:" => self.section = Section::Successes,
            "failures:" => self.section = Section::Failures,
            _ => {}
        }
        if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.test = name.to_owned();
        }
        if line.starts_with("SKIPPED") && self.section == Section::Successes {
            self.skipped
                .insert(format!("{} {}: {line}", self.binary, self.test));
            return Some(line);
        }
        if let Some(figures) = line.strip_prefix("FIGURES: ")
            && self.section == Section::Successes
        {
            self.figures.push(figures.to_owned());
        }
        let quiet = line.is_empty() || self.section == Section::Successes;
        (!quiet).then_some(line)
    }

    /// Tests that were counted otherwise.
    pub(crate) fn add(&mut self, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
    }

    /// One run of tests has ended.
    pub(crate) fn end_of_run(&mut self, success: bool) {
        if !success && self.failed == self.failed_before_run {
            self.broken = true;
        }
        self.failed_before_run = self.failed;
    }

    /// Whether everything that ran passed, and something ran.
    pub(crate) fn good(&self) -> bool {
        self.failed == 0 && !self.broken && self.passed > 0
    }

    /// The end of the story; the last line is the counts alone.
    pub(crate) fn print(&self) {
        let tests: BTreeSet<&str> = self
            .skipped
            .iter()
            .map(|entry| entry.split(": ").next().unwrap_or(entry))
            .collect();
        println!();
        for figures in &self.figures {
            println!("{figures}");
        }
        for entry in &self.skipped {
            println!(
                "skipped: {}",
                entry.split_once(' ').map_or(entry.as_str(), |(_, rest)| rest)
            );
        }
        for note in &self.notes {
            println!("NOTE: {note}");
        }
        if self.broken {
            println!(
                "NOTE: a test run failed without a failed test: it did not compile, or a test binary died"
            );
        }
        let skipped = tests.len() as u64;
        let failed = self.failed + u64::from(self.broken);
        let measurements = match self.ignored {
            0 => String::new(),
            ignored => format!("; {ignored} measurements are run by hand"),
        };
        println!(
            "{} passed, {failed} failed, {skipped} skipped{measurements}",
            self.passed.saturating_sub(skipped),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests
test one ... ok
test two ... ok
test three ... FAILED

successes:

---- one stdout ----
SKIPPED (no LAMPHOUSE_TEST_POSTGRES): one
noise
FIGURES: 8 kills

successes:
    one
    two

failures:

---- three stdout ----
boom

failures:
    three

test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    #[test]
    fn skips_are_not_counted_as_passed_and_noise_of_successes_is_left_out() {
        let mut outcome = Outcome::default();
        let shown: Vec<&str> = OUTPUT.lines().filter_map(|line| outcome.take(line)).collect();
        outcome.end_of_run(false);
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (2, 1, 4));
        assert_eq!(outcome.skipped.len(), 1);
        assert_eq!(outcome.figures, ["8 kills"]);
        assert!(!outcome.good() && !outcome.broken);
        assert!(shown.contains(&"boom") && !shown.contains(&"noise"));
        assert!(shown.iter().any(|line| line.starts_with("SKIPPED")));
    }

    #[test]
    fn a_run_that_dies_without_a_failed_test_is_not_good() {
        let mut outcome = Outcome::default();
        outcome.take("test result: ok. 5 passed; 0 failed; 0 ignored");
        outcome.end_of_run(false);
        assert!(outcome.broken && !outcome.good());
    }
}
