//! The harness of the end-to-end scenarios: the real binary, in a project folder of its own, on SQLite and on
//! PostgreSQL.
//!
//! A scenario is one function over a [`Database`], called for each of them by [`on_each_database!`]. Every wait has a
//! deadline, and says at its end what the host said last.

pub mod client;
pub mod database;
pub mod host;
pub mod http;
pub mod languages;
pub mod log_check;
pub mod log_file;
#[cfg(target_os = "linux")]
pub mod power;
pub mod project;
pub mod puppet;
pub mod readers;
pub mod truth;
pub mod wait;

pub use client::Client;
pub use database::Database;
pub use host::Host;
pub use http::Http;
pub use project::Project;

/// Whether the full kill, switch and fuzz counts are wanted: `cargo xtask test --long`.
pub fn long() -> bool {
    std::env::var_os("LAMPHOUSE_TEST_LONG").is_some()
}

/// Whether nothing may be skipped.
pub fn strict() -> bool {
    std::env::var_os("LAMPHOUSE_TEST_STRICT").is_some()
}

/// Makes two tests of one scenario, a function over a [`Database`] in the same module: `NAME::on_sqlite` and
/// `NAME::on_postgres`.
#[macro_export]
macro_rules! on_each_database {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn on_sqlite() {
                super::$scenario($crate::Database::sqlite());
            }

            #[test]
            fn on_postgres() {
                if let Some(database) = $crate::Database::postgres() {
                    super::$scenario(database);
                }
            }
        }
    )+};
}

/// As [`on_each_database`], for a scenario about something that SQLite has not: `NAME::on_postgres` alone.
#[macro_export]
macro_rules! on_postgres_only {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn on_postgres() {
                if let Some(database) = $crate::Database::postgres() {
                    super::$scenario(database);
                }
            }
        }
    )+};
}
