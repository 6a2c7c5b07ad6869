//! The HTTP API of a running host, and the client that the CLI reaches it with.
//!
//! *Invariants:* it listens on loopback alone; browsers and other users of the machine reach loopback too, so the
//! `Host` header must be loopback, a request with an `Origin` is refused, bodies must be JSON, and everything but
//! what watches it needs the token, which lies in a file of mode 0600. Errors are problem documents (RFC 9457).
//!
//! | request | does |
//! |---|---|
//! | `POST /v1/append` | appends to one stream or several, all or nothing |
//! | `GET /v1/events`, `GET /v1/streams/{id}` | reads the log, a page at a time |
//! | `GET /v1/streams/{id}/state` | the rows that a projector makes of one stream up to a point |
//! | `GET /v1/tables`, `GET /v1/tables/{table}` | reads the public tables, with PostgREST's conventions; waits for a position |
//! | `GET /v1/events?follow=true` | the same without an end, as Server-Sent Events |
//! | `GET /v1/changes` | row changes of tables, as Server-Sent Events |
//! | `GET /healthz` | 200 while the process lives; no token needed |
//! | `GET /readyz` | 200 while what is read here is fresh, else 503 and why; no token needed |
//! | `GET /metrics` | OpenMetrics; any token, or none with `[host] metrics_open` |
//! | `GET /v1/status` | [`HostStatus`](crate::deploy::operator::HostStatus) |
//! | `GET /v1/projections`, `GET /v1/projections/{name}` | how projections stand |
//! | `POST /v1/projections/{name}/{verb}` | rebuild, pause, resume, cutover, rollback |
//! | `GET /v1/projections/{name}/diff` | what two generations differ in |
//! | `GET /v1/plugins`, `GET`, `PUT`, `DELETE /v1/plugins/{name}` | the files of the plugin folder |
//! | `GET /v1/dead-letters`, `POST /v1/dead-letters/{projection}/retry`, `…/discard`, `GET /v1/discards` | parked events |
//! | `GET /v1/openapi.json` | this list for programs, made of the handlers |
//!
//! Deliberately not here yet: uploads, tokens of several roles.

mod access;
mod append;
mod audit;
mod body;
mod client;
mod dead_letters;
mod events;
mod guard;
mod metrics;
mod openapi;
mod operate;
mod plugins;
mod problem;
mod projections;
mod ready;
mod server;
mod state;
mod subscribe;
mod tables;
#[cfg(test)]
mod tests;
mod token;

pub use access::{Caller, Role};
pub use client::{
    DeadLetterPage, DiscardPage, EventPage, HostUrl, PluginPage, Push, RemoteOperator, StreamPage,
};
pub use metrics::{HttpMeter, Open, Readiness, ReadyPolicy, Subscription, Watch};
pub use server::{Shared, bind, serve};
pub use subscribe::Subscriptions;
pub use token::{Token, TokenError};
