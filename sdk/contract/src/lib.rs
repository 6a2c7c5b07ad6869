//! The Lamphouse plugin contract in Rust: what the host and the Rust SDK both have to agree on.
//!
//! - [`Value`] and [`Decimal`]: exact values.
//! - [`Descriptor`], [`TableSchema`], [`Column`]: what a plugin declares.
//! - [`Change`], [`Cell`]: what a projector does to its rows, and the one place ([`semantics`]) that says what each
//!   change makes of a row.
//! - [`packed`]: the byte format of `wit/PACKED.md`.
//! - [`fields`]: what a projector may declare of its events' JSON, and how it is taken out.
//! - [`Timestamp`]: moments as text and as microseconds.
//!
//! No I/O, no Wasm, no database.

mod change;
mod decimal;
pub mod fields;
pub mod packed;
mod schema;
pub mod semantics;
mod timestamp;
mod value;

pub use change::{Cell, CellChange, CellRef, Change, ChangeRef, Operation};
pub use decimal::{DECIMAL_DIGITS_MAX, Decimal, DecimalBuffer, DecimalError};
pub use schema::{
    Column, ColumnType, Descriptor, EventSchema, Rule, Subscription, TableSchema, UpcasterDescriptor,
};
pub use timestamp::{Date, Timestamp, TimestampError};
pub use value::{Key, Row, Value, ValueRef};
