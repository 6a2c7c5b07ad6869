//! The golden vectors of `wit/golden`: every SDK reads the same files.
//!
//! To write them anew after a change of the format: `LAMPHOUSE_WRITE_GOLDEN=1 cargo test -p lamphouse-contract --test
//! golden`, and for `random.json` `LAMPHOUSE_WRITE_GOLDEN=1 cargo test -p lamphouse-sdk random`.

#![allow(clippy::unwrap_used)]

mod declarations;
mod format;
mod json;
mod numbers;
mod rules;
