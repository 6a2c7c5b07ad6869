//! PostgreSQL's own promises, beyond the suite that both stores pass.

mod access;
mod fixture;
mod rows;
mod switches;

pub(in crate::tables) use fixture::database;

use crate::tables::conformance::conformance;

conformance!(database);
