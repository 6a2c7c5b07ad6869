//! What the writer remembers of the streams that it has appended to or looked up.
//!
//! *Invariant:* it is as the log stood at one position. Every append moves the counter, so that while the counter row
//! stands where this writer left it, nobody has appended since, and no stream is looked up twice. (Whatever else should
//! happen to the log, the trigger on `events` takes no version but a stream's next one.)

use std::collections::HashMap;

use crate::log::plan::{Counter, KnownStream, Write};

/// Streams that are remembered; when they are more, all are forgotten. Some hundred bytes each.
const STREAMS_MAX: usize = 10_000;

/// Streams, as they stood at a position.
#[derive(Debug, Default)]
pub(super) struct Streams {
    at: i64,
    /// None: nothing was ever appended to it.
    by_id: HashMap<String, Option<KnownStream>>,
    /// Whether rows are in it that are not committed.
    is_ahead: bool,
}

impl Streams {
    /// The counter row stands here: it is locked, or a write will find out whether it still does.
    pub(super) fn stand_at(&mut self, counter: Counter) {
        if self.at != counter.position {
            self.forget();
            self.at = counter.position;
        }
    }

    /// What the log has of a stream, if that is remembered.
    pub(super) fn get(&self, stream_id: &str) -> Option<&Option<KnownStream>> {
        self.by_id.get(stream_id)
    }

    /// What the log has of these streams, without those that were never appended to; None unless all are remembered.
    pub(super) fn all(&self, stream_ids: &[&str]) -> Option<HashMap<String, KnownStream>> {
        let mut known = HashMap::with_capacity(stream_ids.len());
        for stream_id in stream_ids {
            if let Some(stream) = self.get(stream_id)? {
                known.insert((*stream_id).to_owned(), stream.clone());
            }
        }
        Some(known)
    }

    /// Remembers what the log has of a stream.
    pub(super) fn learn(&mut self, stream_id: &str, known: Option<KnownStream>) {
        if self.by_id.len() >= STREAMS_MAX {
            self.by_id.clear();
        }
        self.by_id.insert(stream_id.to_owned(), known);
    }

    /// These rows were written; [`Self::committed`] or [`Self::rolled_back`] follows.
    pub(super) fn wrote(&mut self, write: &Write<'_>) {
        for row in &write.rows {
            match self.by_id.get_mut(row.stream_id) {
                Some(Some(known)) => known.version = row.stream_version,
                _ => self.learn(
                    row.stream_id,
                    Some(KnownStream {
                        version: row.stream_version,
                        stream_type: row.stream_type.to_owned(),
                    }),
                ),
            }
        }
        self.at = write.counter.position;
        self.is_ahead = true;
    }

    /// What was written is in the log.
    pub(super) fn committed(&mut self) {
        self.is_ahead = false;
    }

    /// What was written is not in the log, or perhaps it is.
    pub(super) fn rolled_back(&mut self) {
        if self.is_ahead {
            self.forget();
        }
    }

    /// As if nothing had been looked up.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::log::plan::Row;

    fn counter(position: i64) -> Counter {
        Counter {
            position,
            recorded_at: 0,
        }
    }

    fn write(streams: &mut Streams, position: i64, stream_version: i64) {
        let row = Row {
            position,
            id: Uuid::nil(),
            stream_id: "a",
            stream_type: "order",
            stream_version,
            event_type: "A",
            schema_version: 1,
            data: "{}",
            metadata: "{}",
            occurred_at: 0,
            recorded_at: 0,
        };
        streams.wrote(&Write {
            rows: vec![row],
            keys: vec![],
            counter: counter(position),
        });
    }

    fn version(streams: &Streams) -> Option<i64> {
        streams
            .get("a")
            .map(|known| known.as_ref().map_or(0, |known| known.version))
    }

    #[test]
    fn what_was_committed_is_remembered_until_somebody_else_appends() {
        let mut streams = Streams::default();
        streams.stand_at(counter(6));
        streams.learn("a", None);
        assert_eq!(version(&streams), Some(0));
        write(&mut streams, 7, 1);
        streams.committed();
        streams.stand_at(counter(7));
        streams.rolled_back();
        assert_eq!(
            version(&streams),
            Some(1),
            "a transaction that wrote nothing changes nothing"
        );
        write(&mut streams, 8, 2);
        streams.committed();
        streams.stand_at(counter(9));
        assert_eq!(version(&streams), None);
    }

    #[test]
    fn what_may_not_be_in_the_log_is_forgotten() {
        let mut streams = Streams::default();
        streams.stand_at(counter(6));
        write(&mut streams, 7, 1);
        streams.rolled_back();
        streams.stand_at(counter(7));
        assert_eq!(version(&streams), None);
    }

    #[test]
    fn more_than_are_remembered_are_forgotten() {
        let mut streams = Streams::default();
        for number in 0..=STREAMS_MAX {
            streams.learn(&number.to_string(), None);
        }
        assert_eq!(streams.by_id.len(), 1);
    }
}
