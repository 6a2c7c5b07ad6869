//! The text of Server-Sent Events.

use std::fmt::Write as _;

use bytes::Bytes;

/// Time after which a client that was cut off comes back.
const RETRY_MS: u64 = 1_000;

/// What keeps proxies from closing a connection on which nothing happens.
pub(super) const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// One event. `data` is JSON in one line.
pub(super) fn event(name: &str, id: Option<u64>, data: &str, out: &mut String) {
    debug_assert!(!data.contains(['\n', '\r']), "data in one line");
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    let _ = write!(out, "event: {name}\ndata: {data}\n\n");
}

/// One event by itself.
pub(super) fn one(name: &str, id: Option<u64>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + name.len() + 48);
    event(name, id, data, &mut text);
    text.into()
}

/// The first of a stream.
pub(super) fn hello(id: u64, data: &str) -> Bytes {
    let mut text = format!("retry: {RETRY_MS}\n");
    event("hello", Some(id), data, &mut text);
    text.into()
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("invariant: a text is JSON")
}
