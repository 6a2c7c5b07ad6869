//! End-to-end scenarios: the real binary, in a project folder of each scenario's own, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

mod appends;
mod bad_input;
mod crash;
mod customer_names;
mod cutover;
mod dead_letters;
mod deploy;
mod evil;
mod http;
mod http_catalog;
mod http_operate;
mod http_secure;
mod http_subscribe;
mod http_tables;
mod http_watch;
mod known_failures;
mod languages;
mod measuring;
mod other_languages;
mod outages;
mod real_data;
mod replay;
mod sandbox;
mod upcasters;
mod workers;
