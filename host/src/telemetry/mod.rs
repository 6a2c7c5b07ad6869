//! What the host says while it runs: typed events and spans over `tracing`, and where they go.
//!
//! Whoever has something to say makes one of the structs in [`events`] and emits it, so that every message has one
//! wording and one set of fields. Standard error takes them, as text or as JSON Lines; standard output is the CLI's.
//! Spans go to a collector of OpenTelemetry where one is named: [`traces`].

mod collector;
pub mod events;
mod sampling;
mod setup;
pub mod traces;

pub use collector::Exports;
pub use events::Event;
pub use setup::{LogFormat, setup};
