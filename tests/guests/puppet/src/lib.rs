//! A projector that does what its events tell it: the event's type is the order, its stream is the row's key, its
//! data is the text. Written against the WIT alone, without an SDK.
//!
//! What it says of itself is read from a block of text inside the file ([`script`]), which tests patch, so that any
//! number of versions come out of one compilation.

// The packed puppet knows fewer tricks.
#![cfg_attr(feature = "packed", allow(dead_code))]

#[cfg(not(feature = "packed"))]
mod typed;

#[cfg(feature = "packed")]
mod packed;

#[cfg(feature = "wasi")]
mod wasi;

mod misbehave;
mod script;

/// Says a panic's message and place on the host's log: what every SDK does.
fn report_panics(write: fn(&str)) {
    std::panic::set_hook(Box::new(move |panic| write(&panic.to_string())));
}
