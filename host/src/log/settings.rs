//! The limits that the database's own triggers enforce, in their one row.

use crate::core::limits::AppendLimits;

/// The limits of an append, as the database keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatabaseLimits {
    pub(super) reason_required: bool,
    pub(super) reason_chars_min: i64,
    pub(super) reason_chars_max: i64,
    pub(super) event_bytes_max: i64,
    pub(super) json_depth_max: i64,
}

impl DatabaseLimits {
    pub(super) fn of(limits: &AppendLimits) -> Self {
        let signed = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
        Self {
            reason_required: limits.reason_required,
            reason_chars_min: signed(limits.reason_chars_min),
            reason_chars_max: signed(limits.reason_chars_max),
            event_bytes_max: signed(limits.event_bytes_max),
            json_depth_max: signed(limits.json_depth_max),
        }
    }
}
