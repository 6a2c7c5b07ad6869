//! The HTTP API of a running host, and the client that the CLI reaches it with.
//!
//! *Invariants:* nobody gets past `guard` without a token, but to `/healthz` and its like; browsers and other users of
//! the machine reach loopback too, so the `Host` header must be the host's, a request of a web page is refused unless its
//! origin was named, and bodies must be JSON. What a handler needs is in its arguments (`access`). Errors are problem
//! documents (RFC 9457). Each connection has a place among a bounded number and loses it when nothing moves
//! (`connections`). What admins do is on record first (`audit`).
//!
//! | request | does |
//! |---|---|
//! | `POST /v1/append` | appends to one stream or several, all or nothing |
//! | `GET /v1/events`, `GET /v1/streams/{id}` | reads the log, a page at a time |
//! | `GET /v1/catalog`, `/v1/catalog/{event_type}/{version}`, `/v1/asyncapi.json` | the event types of the log |
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
//! | `GET /v1/dead-letters/{projection}/{event}`, `GET /v1/explain/{event}` | what became of an event, and why |
//! | `GET /v1/dead-letters`, `POST /v1/dead-letters/{projection}/retry`, `…/discard`, `GET /v1/discards` | parked events |
//! | `GET /v1/openapi.json` | this list for programs, made of the handlers |
//!
//! Deliberately not here yet: uploads.

mod access;
mod append;
mod asyncapi;
mod audit;
mod body;
mod catalog;
mod client;
mod connections;
mod dead_letters;
mod entrance;
mod events;
mod followed;
mod guard;
mod metrics;
mod noted;
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
mod tls;
mod token;
mod tokens;

pub use access::{Caller, Role};
pub use client::{
    DeadLetterPage, DiscardPage, EventPage, HostUrl, PluginPage, Push, RemoteOperator, StreamPage,
};
pub use entrance::{Entrance, EntranceError};
pub use metrics::{HttpMeter, Open, Readiness, ReadyPolicy, Subscription, Watch};
pub use noted::Noted;
pub use server::{Listening, Shared, bind, bind_local, serve};
pub use subscribe::Subscriptions;
pub use token::{Token, TokenError};
