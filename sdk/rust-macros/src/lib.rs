//! Derive macros of the Lamphouse Rust SDK.
