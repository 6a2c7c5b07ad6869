//! What the data plane says in the host's log.

use std::ops::Range;

use crate::core::{EventBatch, Position};
use crate::plugin::{CallReport, LogLine};
use crate::tables::GenerationRecord;
use crate::upcast::Said;

/// What the projector wrote in one call, with the events that it was working on.
pub(crate) fn projector_said(
    generation: &GenerationRecord,
    batch: &EventBatch,
    range: &Range<usize>,
    report: &CallReport,
) {
    let (name, version) = (generation.projection.as_str(), &generation.version);
    let (first, last) = (batch.position(range.start), batch.position(range.end - 1));
    for line in &report.log {
        said(name, version, first, last, line);
    }
    if report.log_dropped > 0 {
        lines_dropped(name, version, report.log_dropped);
    }
}

/// What an upcaster wrote in one call.
pub(crate) fn upcaster_said(said_by: &Said) {
    for line in &said_by.lines {
        said(&said_by.name, &said_by.version, said_by.first, said_by.last, line);
    }
    if said_by.dropped > 0 {
        lines_dropped(&said_by.name, &said_by.version, said_by.dropped);
    }
}

fn said(plugin: &str, version: &str, first: Position, last: Position, line: &LogLine) {
    let (first, last) = (first.0, last.0);
    let text = line.message.as_str();
    match line.level.as_str() {
        "error" => tracing::error!(target: "lamphouse::guest", plugin, version, first, last, "{text}"),
        "warn" => tracing::warn!(target: "lamphouse::guest", plugin, version, first, last, "{text}"),
        "info" => tracing::info!(target: "lamphouse::guest", plugin, version, first, last, "{text}"),
        "debug" => tracing::debug!(target: "lamphouse::guest", plugin, version, first, last, "{text}"),
        _ => tracing::trace!(target: "lamphouse::guest", plugin, version, first, last, "{text}"),
    }
}

fn lines_dropped(plugin: &str, version: &str, dropped: u64) {
    tracing::warn!(
        target: "lamphouse::guest", plugin, version, dropped,
        "The plugin wrote more log lines in one call than are kept"
    );
}
