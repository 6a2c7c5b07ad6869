//! Words that every layer shares: identifiers, events, the class of an error, limits, the clock.
//!
//! Holds no I/O and knows no other module. Values, rows, changes and descriptors are those of
//! [`lamphouse_contract`], which the Rust SDK shares.

pub mod address;
pub mod bell;
pub mod clock;
pub mod event;
pub mod fault;
pub mod ids;
pub mod limits;
pub mod measure;
pub mod micros;
pub mod signal;
pub mod waiting;

pub use event::{EventBatch, EventFilter, NewEvent, StoredEvent};
pub use fault::Class;
pub use ids::{EventId, GenerationId, LogId, PluginDigest, PluginName, Position, StreamVersion, TableName};
