//! The data plane: one generation's way from the log to its tables.
//!
//! ```text
//! log reader ─▶ upcast ─▶ project (Wasm) ─▶ row cache (coalesces) ─▶ flush: rows + checkpoint, one transaction
//!   thread                  thread                                     thread
//! ```
//!
//! *Invariants:* the checkpoint moves only forward and only in the transaction of its rows; a batch that fails leaves
//! nothing in memory; a call of the plugin and a flush are different sizes; the siblings that upcasters made of one
//! stored event are applied together or not at all. The same code builds a generation and
//! follows the head: what differs is when it flushes. Deliberately not here: which generation is public, and why
//! (`deploy`).

mod backoff;
mod cache;
mod dead_letter;
mod dry_run;
mod fault;
mod meter;
mod pipeline;
mod profile;
mod reading;
mod report;
mod rows;
mod runner;
mod status;
mod tail;
mod upcasting;
mod workers;
mod writing;

#[cfg(test)]
mod tests;

pub use dead_letter::{Replay, Replayed};
pub use dry_run::{DryRunFault, Scratch, dry_run};
pub use meter::{Faults, Meters, ProjectionMeter, Stages, WorkMeter};
pub use profile::Profile;
pub use runner::{Runner, RunnerEvent, RunnerNews, RunnerSpec, Surroundings, SwitchRequest};
pub use status::{Retry, RunnerStatus, Stop, StopReason};
pub use tail::Tail;
