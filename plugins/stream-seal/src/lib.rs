//! Seals each stream: a chain of SHA-256 over all of its events, so that whoever has noted a seal can tell later
//! whether the history behind it is still the same. JSON is sealed by what it says: spaces, and the order of an object's
//! fields, make no difference.
//!
//! Each row depends on one stream, and its key is the stream's id: the plugin says so (`partition = stream`), and a
//! rebuild deals the streams out to all cores.

use lamphouse_sdk::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One row a stream.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "stream_seals")]
pub struct Seal {
    #[row(key)]
    pub stream_id: String,
    pub stream_type: String,
    pub events: i64,
    /// SHA-256 in hexadecimal, of the seal before (64 zeros at first) and the event.
    pub seal: String,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// The projector.
pub struct StreamSeal;

impl Projector for StreamSeal {
    fn describe() -> Plugin {
        Plugin::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .option("partition", "stream")
            .on_every_event()
            .table::<Seal>()
    }

    fn prefetch(event: &Event<'_>, wanted: &mut Wanted<'_>) {
        wanted.row::<Seal>(event.stream_id);
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        let before = tables.get::<Seal>(event.stream_id)?;
        let last = before.as_ref().map_or(NOTHING, |row| row.seal.as_str());
        let seal = seal(last, event)?;
        let at = event.occurred_at();
        tables.put(match before {
            Some(row) => Seal {
                events: row.events + 1,
                seal,
                last_at: at,
                ..row
            },
            None => Seal {
                stream_id: event.stream_id.into(),
                stream_type: event.stream_type().into(),
                events: 1,
                seal,
                first_at: at,
                last_at: at,
            },
        })
    }
}

/// The seal of a stream without events.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The seal over one more event: each part with its length before it, so that no two histories are the same bytes.
pub fn seal(last: &str, event: &Event<'_>) -> Result<String> {
    let data: Value = event.data()?;
    let metadata: Value = serde_json::from_str(event.metadata)?;
    let mut digest = Sha256::new();
    digest.update(last);
    digest.update(event.stream_version().to_be_bytes());
    digest.update(event.schema_version().to_be_bytes());
    digest.update(event.occurred_at().micros().to_be_bytes());
    // `Value` keeps the fields of an object sorted.
    for part in [
        event.id(),
        event.event_type,
        &data.to_string(),
        &metadata.to_string(),
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut text = String::with_capacity(NOTHING.len());
    for byte in digest.finalize() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    Ok(text)
}

lamphouse_sdk::export!(StreamSeal);
