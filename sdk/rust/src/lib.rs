//! The Lamphouse Rust SDK.
