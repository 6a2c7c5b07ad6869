//! The HTTP admin surface of a running host, and the client that the CLI reaches it with.
//!
//! *Invariants:* it listens on loopback alone; browsers and other users of the machine reach loopback too, so the
//! `Host` header must be loopback, a request with an `Origin` is refused, bodies must be JSON, and everything but
//! `/healthz` needs the token, which lies in a file of mode 0600. Errors are problem documents (RFC 9457).
//!
//! | request | does |
//! |---|---|
//! | `GET /healthz` | 200 when all is well, else 503; no token needed |
//! | `GET /v1/status` | [`HostStatus`](crate::deploy::operator::HostStatus) |
//! | `POST /v1/projections/{name}/operate` | body [`Verb`](crate::deploy::operator::Verb), answer [`Outcome`](crate::deploy::operator::Outcome) |
//!
//! Deliberately not here: appends, reads and uploads over HTTP.

mod client;
mod guard;
mod problem;
mod server;
#[cfg(test)]
mod tests;
mod token;

pub use client::RemoteOperator;
pub use server::{bind, serve};
pub use token::{Token, TokenError};
