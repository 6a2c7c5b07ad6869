//! What the host says while it runs: typed events over `tracing`, and where they go.
//!
//! Whoever has something to say makes one of the structs in [`events`] and emits it, so that every message has one
//! wording and one set of fields. Standard error takes them, as text or as JSON Lines; standard output is the CLI's.

pub mod events;
mod setup;

pub use events::Event;
pub use setup::{LogFormat, setup};
