//! How long work goes: a bar on a terminal, else a line every few seconds. Always on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::units;

/// Between two lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The rate is that of the last while, so that it follows what happens now.
const RATE_OVER: Duration = Duration::from_secs(10);

/// One piece of long work.
pub(super) struct Progress {
    what: String,
    /// What is counted, for people: `lines`, `events`.
    unit: &'static str,
    pace: Pace,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    pub(super) fn new(what: impl Into<String>, unit: &'static str) -> Self {
        let what = what.into();
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(1_000);
            let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}");
            bar.set_style(
                style
                    .expect("invariant: the template is right")
                    .progress_chars("━╸─"),
            );
            bar.set_prefix(what.clone());
            Shown::Bar(bar)
        } else {
            Shown::Lines { last: Instant::now() }
        };
        Self {
            what,
            unit,
            pace: Pace::new(Instant::now()),
            shown,
        }
    }

    /// `done` units are done; `share` of the whole work (0 to 1) where it is known.
    pub(super) fn at(&mut self, done: u64, share: Option<f64>) {
        let now = Instant::now();
        self.pace.at(now, done, share);
        let text = self.pace.text(self.unit);
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(share.map_or(0, |share| (share.clamp(0.0, 1.0) * 1_000.0) as u64));
                bar.set_message(text);
            }
            Shown::Lines { last } => {
                if now.duration_since(*last) >= LINE_EVERY {
                    *last = now;
                    say(&format!("{}: {text}", self.what));
                }
            }
        }
    }

    /// The same with figures that somebody else measured.
    pub(super) fn at_text(&mut self, share: Option<f64>, text: &str) {
        let now = Instant::now();
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(share.map_or(0, |share| (share.clamp(0.0, 1.0) * 1_000.0) as u64));
                bar.set_message(text.to_owned());
            }
            Shown::Lines { last } => {
                if now.duration_since(*last) >= LINE_EVERY {
                    *last = now;
                    say(&format!("{}: {text}", self.what));
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Work of several steps whose length nobody knows: what is done now and for how long, on a terminal; else a line a step.
pub(super) struct Spinner {
    what: String,
    bar: Option<ProgressBar>,
    step: String,
}

impl Spinner {
    pub(super) fn new(what: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}");
            bar.set_style(style.expect("invariant: the template is right"));
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            what: what.to_owned(),
            bar,
            step: String::new(),
        }
    }

    /// The next step began.
    pub(super) fn step(&mut self, step: &str) {
        step.clone_into(&mut self.step);
        match &self.bar {
            Some(bar) => bar.set_message(self.step.clone()),
            None => say(&format!("{}: {step}", self.what)),
        }
    }

    /// A tool wrote a line; on a terminal, the last one is shown.
    pub(super) fn line(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {}", self.step, super::table::plain(line.trim())));
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error; when nobody reads it, it is lost.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Rate and time left, from what was done when.
struct Pace {
    start: Instant,
    samples: std::collections::VecDeque<(Instant, u64, Option<f64>)>,
}

impl Pace {
    fn new(start: Instant) -> Self {
        Self {
            start,
            samples: std::collections::VecDeque::from([(start, 0, None)]),
        }
    }

    fn at(&mut self, now: Instant, done: u64, share: Option<f64>) {
        if self.samples.back().is_some_and(|(_, last, _)| *last > done) {
            self.samples.clear();
        }
        // The first report is where the work begins: what was done before it is not of this run.
        if self.samples.len() == 1 && self.samples[0].2.is_none() && share.is_some() {
            self.samples.clear();
            self.start = now;
        }
        self.samples.push_back((now, done, share));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= RATE_OVER {
            self.samples.pop_front();
        }
    }

    fn per_second(&self) -> Option<f64> {
        let ((from, before, _), (to, after, _)) = (self.samples.front()?, self.samples.back()?);
        let seconds = to.duration_since(*from).as_secs_f64();
        (seconds > 0.0).then(|| (after - before) as f64 / seconds)
    }

    fn left_ms(&self) -> Option<u64> {
        let ((from, _, before), (to, _, after)) = (self.samples.front()?, self.samples.back()?);
        let (before, after) = ((*before)?, (*after)?);
        let gained = after - before;
        let ms = to.duration_since(*from).as_millis() as f64;
        (gained > 0.0 && ms > 0.0).then(|| ((1.0 - after).max(0.0) / gained * ms) as u64)
    }

    /// `34 % · 195,000 lines · 48,211/s · 7.2 s left`.
    fn text(&self, unit: &str) -> String {
        let Some((_, done, share)) = self.samples.back() else {
            return String::new();
        };
        let mut parts = Vec::new();
        if let Some(share) = share {
            parts.push(format!("{:.0} %", (share * 100.0).clamp(0.0, 100.0)));
        }
        parts.push(format!("{} {unit}", units::count(*done)));
        parts.extend(self.per_second().map(units::rate));
        parts.extend(self.left_ms().map(|ms| format!("{} left", units::duration(ms))));
        parts.join(" · ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_follow_the_last_while() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let after = |s| start + Duration::from_secs(s);
        pace.at(after(0), 0, Some(0.0));
        pace.at(after(1), 1_000, Some(0.1));
        assert_eq!(pace.text("lines"), "10 % · 1,000 lines · 1,000/s · 9.0 s left");
        for s in 2..=30 {
            pace.at(after(s), 1_000 + (s - 1) * 100, Some(0.1 + (s - 1) as f64 * 0.01));
        }
        assert_eq!(pace.text("lines"), "39 % · 3,900 lines · 100/s · 1 min 1 s left");
    }

    #[test]
    fn work_without_a_known_end_has_a_rate_alone() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.at(start + Duration::from_secs(2), 50, None);
        assert_eq!(pace.text("events"), "50 events · 25/s");
    }

    #[test]
    fn work_that_goes_on_from_before_counts_from_there() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.at(start + Duration::from_secs(1), 900_000, Some(0.9));
        pace.at(start + Duration::from_secs(2), 910_000, Some(0.91));
        assert_eq!(pace.text("lines"), "91 % · 910,000 lines · 10,000/s · 9.0 s left");
    }
}
