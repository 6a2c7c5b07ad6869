//! The class of an error, decided where it is raised.

use serde::{Deserialize, Serialize};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The world is away (database, lock, disk): back off and try again, without end, visibly.
    Retryable,
    /// The plugin or its input is wrong: narrow it to one event, then pause.
    Fault,
    /// A call outran its deadline, which depends on load: tried again with ten times the deadline, then paused.
    TimeLimit,
    /// Ours: stop and report.
    Bug,
}
