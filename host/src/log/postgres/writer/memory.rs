//! What the writer remembers of the log as it left it: where nobody else appends, a group needs no look before it writes.
//!
//! *Invariant:* it is tried and never told. A write by memory goes in only if the counter row stands where this writer left
//! it; else the log is looked at.

use std::time::{Duration, Instant};

use crate::log::plan::{Ask, Counter, Known, Write};
use crate::log::streams::Streams;

/// How many groups look first after another process was found to append. Higher spares busy logs of several hosts more
/// writes in vain; lower finds sooner that the others are quiet.
const GROUPS_BY_LOOK: u32 = 32;

/// How long it is gone by. A connection that was idle for longer may have died, and a look that fails says for sure that
/// nothing was appended.
const FRESH_TIME: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 1 });

/// The counter and the streams, as this writer left them.
#[derive(Default)]
pub(super) struct Memory {
    /// And when; None where it is not known.
    left: Option<(Counter, Instant)>,
    streams: Streams,
    /// Groups that look before the next one that goes by memory.
    looks: u32,
    /// Whether the group under way goes by memory.
    is_tried: bool,
}

impl Memory {
    /// For a group that begins: all that it asks for, if it is there and fresh.
    pub(super) fn recall(&mut self, ask: &Ask<'_>) -> Option<(Counter, Known)> {
        self.is_tried = false;
        let (counter, since) = self.left?;
        // Keys and ids of any time would have to be remembered.
        let can =
            self.looks == 0 && since.elapsed() < FRESH_TIME && ask.keys.is_empty() && ask.ids.is_empty();
        let streams = can.then(|| self.streams.all(&ask.streams))??;
        self.is_tried = true;
        let known = Known {
            streams,
            ..Known::default()
        };
        Some((counter, known))
    }

    /// The group has looked.
    pub(super) fn looked(&mut self, ask: &Ask<'_>, counter: Counter, known: &Known) {
        self.is_tried = false;
        self.looks = match self.left.take() {
            Some((left, _)) if left != counter => GROUPS_BY_LOOK,
            _ => self.looks.saturating_sub(1),
        };
        self.streams.stand_at(counter);
        for stream_id in &ask.streams {
            self.streams
                .learn(stream_id, known.streams.get(*stream_id).cloned());
        }
    }

    /// The group has gone in.
    pub(super) fn wrote(&mut self, write: &Write<'_>) {
        self.streams.wrote(write);
        self.streams.committed();
        self.left = Some((write.counter, Instant::now()));
    }

    /// The counter stood elsewhere. Whether the group went by memory.
    pub(super) fn missed(&mut self) -> bool {
        self.forget();
        if self.is_tried {
            self.looks = GROUPS_BY_LOOK;
        }
        self.is_tried
    }

    /// Somebody may have appended.
    pub(super) fn forget(&mut self) {
        self.left = None;
        self.streams.forget();
    }
}
