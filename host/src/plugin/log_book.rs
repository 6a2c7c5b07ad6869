//! The lines that a guest wrote in one call, capped.

use std::sync::Arc;

use parking_lot::Mutex;

use super::LogLine;
use super::cut::cut;
use crate::core::limits::PluginLimits;

/// Shared by `log.write` and the guest's standard output and error.
#[derive(Clone)]
pub(super) struct LogBook(Arc<Mutex<Lines>>);

struct Lines {
    kept: Vec<LogLine>,
    /// The newest line over the cap: last words are the ones that matter, and they come last.
    last: Option<LogLine>,
    dropped: u64,
    lines_max: usize,
    line_bytes_max: usize,
}

impl LogBook {
    pub(super) fn new(limits: &PluginLimits) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            kept: Vec::new(),
            last: None,
            dropped: 0,
            lines_max: usize::try_from(limits.log_lines_per_call_max).unwrap_or(usize::MAX),
            line_bytes_max: usize::try_from(limits.log_line_bytes_max).unwrap_or(usize::MAX),
        })))
    }

    /// Adds a line, cut at `log_line_bytes_max`.
    pub(super) fn write(&self, level: &str, text: &str) {
        let mut lines = self.0.lock();
        if lines.lines_max == 0 {
            lines.dropped += 1;
            return;
        }
        let message = cut(text.trim_end(), lines.line_bytes_max);
        let line = LogLine {
            level: level.to_owned(),
            message,
        };
        // One place of the cap is left for the newest line.
        if lines.kept.len() + 1 < lines.lines_max {
            lines.kept.push(line);
        } else if lines.last.replace(line).is_some() {
            lines.dropped += 1;
        }
    }

    /// The newest line of level `warn` or `error`: what a panic hook wrote.
    pub(super) fn last_words(&self) -> Option<String> {
        let lines = self.0.lock();
        let newest_first = lines.last.iter().chain(lines.kept.iter().rev());
        newest_first
            .into_iter()
            .find(|line| matches!(line.level.as_str(), "warn" | "error"))
            .map(|line| line.message.clone())
    }

    /// All lines, and how many more there were.
    pub(super) fn take(&self) -> (Vec<LogLine>, u64) {
        let mut lines = self.0.lock();
        let mut kept = std::mem::take(&mut lines.kept);
        kept.extend(lines.last.take());
        (kept, std::mem::take(&mut lines.dropped))
    }
}
