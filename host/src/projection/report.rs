//! What the data plane says in the host's log.

use crate::core::Position;
use crate::plugin::LogLine;
use crate::tables::GenerationRecord;
use crate::upcast::Said;

/// A line of the projector's, with the events that it was working on.
pub(crate) fn guest_said(generation: &GenerationRecord, first: Position, last: Position, line: &LogLine) {
    said(
        generation.projection.as_str(),
        &generation.version,
        first,
        last,
        line,
    );
}

/// Lines of the projector's over the cap.
pub(crate) fn guest_lines_dropped(generation: &GenerationRecord, dropped: u64) {
    lines_dropped(generation.projection.as_str(), &generation.version, dropped);
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
