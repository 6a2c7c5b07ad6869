//! What the data plane says in the host's log.

use crate::core::Position;
use crate::plugin::LogLine;
use crate::tables::GenerationRecord;

/// A line of the guest's, with the events that it was working on.
pub(crate) fn guest_said(generation: &GenerationRecord, first: Position, last: Position, line: &LogLine) {
    let (plugin, version) = (generation.projection.as_str(), generation.version.as_str());
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

/// Lines of the guest's over the cap.
pub(crate) fn guest_lines_dropped(generation: &GenerationRecord, dropped: u64) {
    let (plugin, version) = (generation.projection.as_str(), generation.version.as_str());
    tracing::warn!(
        target: "lamphouse::guest", plugin, version, dropped,
        "The plugin wrote more log lines in one call than are kept"
    );
}
