//! What both databases' readers share.

use chrono::{DateTime, Utc};

use super::{Head, LogError};
use crate::core::{EventBatch, Position};

/// Says how far the batch goes: a batch that was cut ends at its last event, another one covers everything to `until`.
pub(super) fn finish_batch(batch: &mut EventBatch, until: Head, events_max: usize, bytes_max: usize) {
    match batch.len().checked_sub(1) {
        Some(last) if batch.len() >= events_max || batch.bytes_len() >= bytes_max => {
            batch.through = batch.position(last);
            batch.through_id = Some(batch.id(last));
        }
        _ => {
            batch.through = until.position;
            batch.through_id = until.event_id;
        }
    }
}

/// A reader that is ahead of the log follows another log than it thinks; it must not go on as if nothing were new.
pub(super) fn backwards(after: Position, until: Head) -> LogError {
    LogError::Internal(format!(
        "a reader is at position {after}, but the log ends at {}: the log was replaced or restored",
        until.position
    ))
}

/// A stored time. One that chrono cannot hold was never written by a log, and reads as 1970.
pub(super) fn stored_time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
