//! The control plane: what should run, and making it so.

pub mod operator;
