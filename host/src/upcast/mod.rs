//! Old events lifted to today's, between the log and the projectors.
//!
//! ```text
//! stored event ─▶ upcaster that takes its schema ─▶ 0, 1 or many events ─▶ … until nothing takes the result
//! ```
//!
//! *Invariants:* one upcaster of a set takes a schema, and the graph of what they take and give has no cycle
//! ([`Graph`], pure, checked at deploy), so that every chain ends. What comes out of an event depends on that event
//! alone, not on those beside it. Every event made from a stored one carries its position, stream, times and id, with
//! `part` as its place among the siblings. Deliberately not here: which set a generation has (`deploy`), and when a
//! batch is read (`projection`).

mod chain;
mod graph;
mod lift;
mod memo;
#[cfg(test)]
mod tests;

pub use chain::{Form, LiftError, Step, lift as lift_events};
pub use graph::{Conflict, Graph};
pub use lift::{LiftFault, Lifting, Said, Upcasters, User};
