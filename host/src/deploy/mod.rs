//! The control plane: what should run, and making it so.
//!
//! ```text
//! folder ─▶ watch ─▶ stage ─▶ plan (pure) ─▶ conductor ─▶ runners, cutovers, rollbacks
//! person ─▶ operator ────────────────────────────┘
//! ```
//!
//! *Invariants:* one thread decides (the conductor); long work (staging, indexes, cutovers, drops) happens on other
//! threads and reports back; whatever fails, the old version runs on and the status says why. What is stored is the
//! truth: after each step that changes it, it is read again. Deliberately not here: rows.

mod address;
mod advance;
mod as_of;
pub mod audit;
pub mod build;
mod cases;
mod catalog;
mod choose;
mod chores;
mod conductor;
pub mod detail;
mod dev;
pub mod difference;
mod explain;
mod fleet;
mod host;
mod judge;
mod kept;
mod letters;
mod note;
pub mod operator;
mod plan;
mod plugin_check;
pub mod plugins;
mod published;
mod rehearse;
mod stage;
pub mod story;
mod today;
mod trim;
mod upcasters;
pub mod uploads;
mod verbs;
mod view;

#[cfg(test)]
mod tests;

pub use as_of::{AskedState, At, By, StateError, StateFault, States, StreamState};
pub use cases::{CaseReport, CasesReport, CellDifference, Problem, run_cases};
pub use catalog::{
    Catalog, CatalogDocument, CatalogType, Consumer, LiftedBy, OfStreamType, SchemaPlace, Seen, Sees,
    TypeName, UnseenSubscription,
};
pub use dev::{BuildEvent, watch_sources};
pub use explain::{Explained, Explanation, NamedRow, Rows, explain};
pub use host::{Host, HostError, Mode};
pub use plugin_check::{CheckReport, Declared, RowDifference, check_plugin, replay_for_another};
pub use rehearse::{Rehearsal, rehearse};
pub use today::{folder_upcasters, kept_upcasters};
