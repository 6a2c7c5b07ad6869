//! Write [Lamphouse](https://github.com/lamphouse/lamphouse) plugins in Rust: projectors (events in, rows out) and
//! upcasters (old events in, today's out: see [`Upcaster`]).
//!
//! A projector is a plugin that keeps SQL tables from the events of a log. It is compiled to WebAssembly
//! (`cargo build --release --target wasm32-unknown-unknown`), and its file is dropped into the host's plugin folder.
//!
//! # A whole plugin
//!
//! ```
//! use std::borrow::Cow;
//!
//! use lamphouse_sdk::prelude::*;
//! use serde::Deserialize;
//!
//! // The table: a column for each field.
//! #[derive(Row, Debug, PartialEq)]
//! #[row(table = "orders")]
//! struct Order {
//!     #[row(key)]
//!     order_id: String,
//!     #[row(index)]
//!     customer_id: Option<String>,
//!     status: String,
//!     #[row(initial = 0)]
//!     lines: i64,
//!     #[row(scale = 2, initial = 0)]
//!     total: Decimal,
//!     placed_at: Timestamp,
//! }
//!
//! // What the events carry. Texts may be borrowed from the event.
//! #[derive(Deserialize)]
//! struct Placed<'a> {
//!     #[serde(borrow)]
//!     customer_id: Option<Cow<'a, str>>,
//! }
//!
//! #[derive(Deserialize)]
//! struct LineAdded {
//!     quantity: i64,
//!     unit_price: Decimal,
//! }
//!
//! struct Orders;
//!
//! impl Projector for Orders {
//!     fn describe() -> Plugin {
//!         Plugin::new("orders", "1.0.0").on("OrderPlaced").on("LineAdded").on("OrderShipped").table::<Order>()
//!     }
//!
//!     fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
//!         match event.event_type {
//!             "OrderPlaced" => {
//!                 let placed: Placed = event.data()?;
//!                 tables.put(Order {
//!                     order_id: event.stream_id.into(),
//!                     customer_id: placed.customer_id.map(Into::into),
//!                     status: "placed".into(),
//!                     lines: 0,
//!                     total: Decimal::ZERO,
//!                     placed_at: event.occurred_at(),
//!                 })
//!             }
//!             "LineAdded" => {
//!                 let line: LineAdded = event.data()?;
//!                 let value = line.unit_price.checked_mul(line.quantity)?;
//!                 tables.patch(event.stream_id, [Order::LINES.add(1), Order::TOTAL.add(value)])
//!             }
//!             _ => tables.patch(event.stream_id, [Order::STATUS.set("shipped")]),
//!         }
//!     }
//! }
//!
//! // The plugin's entry point; on the developer's machine it does nothing.
//! lamphouse_sdk::export!(Orders);
//!
//! // Its test needs neither host nor database.
//! # fn main() {
//! use lamphouse_sdk::testing::Harness;
//! use serde_json::json;
//!
//! let mut harness = Harness::<Orders>::new();
//! harness.given("order-1", "OrderPlaced", json!({"customer_id": "c-7"}));
//! harness.given("order-1", "LineAdded", json!({"quantity": 3, "unit_price": "2.50"}));
//! let order: Order = harness.row("order-1").unwrap();
//! assert_eq!((order.lines, order.total.to_string().as_str()), (1, "7.50"));
//! harness.assert_same_at_any_batch_size();
//! # }
//! ```
//!
//! Its `Cargo.toml`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"] # the first for the host, the second for tests
//!
//! [dependencies]
//! lamphouse-sdk = "0.1"
//! serde = { version = "1.0", features = ["derive"] }
//!
//! [profile.release]
//! opt-level = "s" # as quick as 3 in the sandbox, and smaller
//! lto = true
//! panic = "abort"
//! ```
//!
//! `lamphouse plugin check FILE` says whether the host would take it, and whether its rows depend on how events are
//! cut into batches.
//!
//! # Rows
//!
//! [`Tables`] reads and changes them:
//!
//! | | |
//! |---|---|
//! | [`get`](Tables::get), [`get_many`](Tables::get_many), [`look`](Tables::look) | by key; `look` copies no text |
//! | [`find`](Tables::find), [`find_page`](Tables::find_page) | by a declared index |
//! | [`put`](Tables::put) | inserts or replaces a row |
//! | [`upsert`](Tables::upsert), [`patch`](Tables::patch) | set cells or add to them |
//! | [`remove`](Tables::remove) | |
//!
//! Reads see every change made before. Rows that are read or changed often within a batch cost little: each is read
//! once and written once. Name the rows of a batch in [`Projector::prefetch`], and they are read together.
//!
//! # Fields without a parser
//!
//! [`Event::data`] parses JSON in the sandbox, which is most of what a simple projector costs. Declare instead what it
//! reads of an event type ([`EventFields`], [`Plugin::on_fields`]), and the host hands over the values:
//!
//! ```
//! # use lamphouse_sdk::prelude::*;
//! #[derive(EventFields)]
//! struct LineAdded<'a> {
//!     sku: &'a str,
//!     quantity: i64,
//!     #[field(path = "/data/price/amount")]
//!     price: Decimal,
//! }
//!
//! # fn declared() -> Plugin {
//! Plugin::new("lines", "1.0.0").on_fields::<LineAdded>("LineAdded")
//! # }
//! # fn project(event: &Event<'_>) -> Result<()> {
//! // … and in project():
//! let line: LineAdded = event.fields()?;
//! # Ok(()) }
//! ```
//!
//! The rows are the same, and so are the tests: the harness does as the host does. [`Plugin::entries`] then says which of
//! an event's other entries (id, versions, times) are read at all: what nobody reads stays in the log.
//!
//! # What a projector may not do
//!
//! The same log must give the same rows, on every machine, at any batch size. So there is no `self`, no clock and no
//! randomness but the event's own ([`Event::occurred_at`], [`Event::random`]), and no file or socket: the sandbox has
//! none. Values are exact: decimals have a scale and are never rounded; what does not fit its column fails the call.
//!
//! When a projector returns an [`Error`] or panics, none of the call's changes stay, and the host shows the message,
//! the event and the place in the source.

mod error;
mod event;
mod field;
mod fields;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
mod host;
pub mod log;
mod memo;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod native;
mod plugin;
mod random;
mod row;
mod run;
mod tables;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod upcaster;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod upcaster_guest;
#[cfg(not(target_family = "wasm"))]
mod upcaster_testing;

pub use error::{Context, Error, Result};
pub use event::Event;
pub use field::{Field, IntoField, Json, Number};
pub use fields::{EventFields, FieldValues, FromField};
/// The contract that the host and this SDK share.
pub use lamphouse_contract as contract;
pub use lamphouse_contract::fields::Entry;
pub use lamphouse_contract::{Date, Decimal, DecimalError, Timestamp, TimestampError};
pub use lamphouse_sdk_macros::{EventFields, Row};
pub use plugin::Plugin;
pub use random::Random;
pub use row::{Cell, Column, Index, IntoKey, IntoPrefix, Row, View};
pub use run::{Failure, Projector};
pub use tables::{Tables, Wanted};
pub use upcaster::{Rules, Today, Upcaster};

/// What a plugin's source usually needs.
pub mod prelude {
    pub use crate::{
        Context as _, Decimal, Entry, Error, Event, EventFields, Json, Plugin, Projector, Result, Row, Rules,
        Tables, Timestamp, Today, Upcaster, Wanted, fault,
    };
}

/// Makes a projector the plugin's entry point. Once in a crate.
#[macro_export]
macro_rules! export {
    ($projector:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::guest::Guest for Component {
                fn describe() -> $crate::guest::Descriptor {
                    $crate::guest::describe::<$projector>()
                }

                fn project(
                    events: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::guest::Failure> {
                    $crate::guest::project::<$projector>(&events)
                }
            }

    $crate::guest::bindings::export!(Component with_types_in $crate::guest::bindings);
        };
    };
}

/// Makes an upcaster the plugin's entry point. Once in a crate.
#[macro_export]
macro_rules! export_upcaster {
    ($upcaster:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::upcaster_guest::Guest for Component {
                fn describe() -> $crate::upcaster_guest::UpcasterDescriptor {
                    $crate::upcaster_guest::describe::<$upcaster>()
                }

                fn upcast(
                    events: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::upcaster_guest::Failure> {
                    $crate::upcaster_guest::upcast::<$upcaster>(&events)
                }
            }

            $crate::upcaster_guest::bindings::export!(Component with_types_in $crate::upcaster_guest::bindings);
        };
    };
}
