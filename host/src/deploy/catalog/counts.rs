//! How many events of each type there are, kept up by going on from where it was.

use std::collections::BTreeMap;

use super::{OfStreamType, Seen, TypeName};
use crate::core::Position;
use crate::log::{EventLog, LogError, Tally};

/// Positions that are counted at once. More hold the log's reading connection for longer.
const STRETCH_POSITIONS: u64 = 20_000;
/// Types in versions and stream types that are told apart. A log that has more of them puts data into names.
const KINDS_MAX: usize = 20_000;

/// What was counted, up to a position.
#[derive(Default)]
pub(super) struct Counts {
    position: Position,
    types: BTreeMap<TypeName, BTreeMap<String, OfStreamType>>,
    kinds: usize,
    uncounted: u64,
}

impl Counts {
    /// Counts the next stretch; gives whether that was the last.
    pub(super) fn step(&mut self, log: &dyn EventLog) -> Result<bool, LogError> {
        let head = log.head()?.position;
        if head <= self.position {
            return Ok(true);
        }
        let until = Position(head.0.min(self.position.0 + STRETCH_POSITIONS));
        for tally in log.tally(self.position, until)? {
            self.add(tally);
        }
        self.position = until;
        Ok(until == head)
    }

    fn add(&mut self, tally: Tally) {
        let name = TypeName {
            event_type: tally.event_type,
            schema_version: tally.schema_version,
        };
        let seen = |position, recorded_at| Seen {
            position,
            recorded_at,
        };
        let last = seen(tally.last, tally.last_recorded_at);
        let known = self
            .types
            .get_mut(&name)
            .and_then(|one| one.get_mut(&tally.stream_type));
        if let Some(known) = known {
            known.count += tally.count;
            known.last = last;
            return;
        }
        if self.kinds >= KINDS_MAX {
            self.uncounted += tally.count;
            return;
        }
        self.kinds += 1;
        let one = OfStreamType {
            stream_type: tally.stream_type.clone(),
            count: tally.count,
            first: seen(tally.first, tally.first_recorded_at),
            last,
        };
        self.types.entry(name).or_default().insert(tally.stream_type, one);
    }

    /// Each type in each version, and its events by the type of their streams.
    pub(super) fn types(&self) -> impl Iterator<Item = (&TypeName, &BTreeMap<String, OfStreamType>)> {
        self.types.iter()
    }

    /// Up to where.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Events of kinds that are not told apart.
    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(event_type: &str, stream_type: &str, first: u64, last: u64) -> Tally {
        Tally {
            event_type: event_type.to_owned(),
            schema_version: 1,
            stream_type: stream_type.to_owned(),
            count: last - first + 1,
            first: Position(first),
            last: Position(last),
            first_recorded_at: chrono::DateTime::UNIX_EPOCH,
            last_recorded_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn stretches_add_up_and_more_kinds_than_are_told_apart_are_counted_together() {
        let mut counts = Counts::default();
        counts.add(tally("A", "s", 1, 3));
        counts.add(tally("A", "t", 4, 4));
        counts.add(tally("A", "s", 10, 11));
        let (_, a) = counts.types().next().expect("a type");
        assert_eq!((a["s"].count, a["t"].count), (5, 1));
        assert_eq!(
            (a["s"].first.position, a["s"].last.position),
            (Position(1), Position(11))
        );
        for number in 0..KINDS_MAX as u64 {
            counts.add(tally(&format!("n{number}"), "s", 20, 21));
        }
        assert_eq!(counts.types().count(), KINDS_MAX - 1);
        assert_eq!(counts.uncounted(), 4);
        counts.add(tally("A", "t", 30, 30));
        assert_eq!(counts.uncounted(), 4, "a known kind is counted on");
    }
}
