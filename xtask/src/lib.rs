//! The project's own commands, and what they share with the tests: a PostgreSQL server of one's own, the generator of
//! order logs, and the places of what is built.
//!
//! `cargo xtask --help` lists the commands.

pub mod generate;
pub mod guests;
pub mod languages;
pub mod paths;
pub mod postgres;
pub mod promtool;
pub mod seeded;
pub mod synthetic;
