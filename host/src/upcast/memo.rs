//! What stored events became, for projections that read the same log with the same set: each event is lifted once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::chain::Form;
use crate::core::EventId;

/// Bytes that are kept of what events became. Higher would serve projections that are further apart; lower would save
/// memory. Those that follow the head are a batch or two apart.
const BYTES_MAX: usize = 16 << 20;
/// How often a waiter looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The siblings that an event became, in order.
pub(super) type Siblings = Arc<[Form<'static>]>;

/// By position and id: another log's event at the same place is another event.
type Key = (u64, EventId);

#[derive(Default)]
pub(super) struct Memo {
    slots: Mutex<Slots>,
    settled: Condvar,
}

#[derive(Default)]
struct Slots {
    known: HashMap<Key, Slot>,
    /// Ready ones, oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

enum Slot {
    /// Somebody is at it.
    Pending,
    Ready(Siblings),
}

/// What the memo says of some events.
pub(super) struct Claims<'m> {
    memo: &'m Memo,
    /// Those that the caller is to lift.
    mine: Vec<Key>,
}

impl Memo {
    /// Claims the events that nobody knows or works on. Those that are known, and those that somebody else works on,
    /// are to be asked for by [`Self::wait`] when the claimed ones are done: never before, so that no two wait for each
    /// other.
    pub(super) fn claim(&self, keys: impl Iterator<Item = Key>) -> Claims<'_> {
        let mut slots = self.slots.lock();
        let mine = keys
            .filter(|key| !slots.known.contains_key(key))
            .collect::<Vec<_>>();
        slots.known.extend(mine.iter().map(|key| (*key, Slot::Pending)));
        Claims { memo: self, mine }
    }

    /// What an event became, once whoever works on it is done. None if that one gave up, or forgot it, or `stop` is
    /// set.
    pub(super) fn wait(&self, key: Key, stop: &AtomicBool) -> Option<Siblings> {
        let mut slots = self.slots.lock();
        loop {
            match slots.known.get(&key) {
                None => return None,
                Some(Slot::Ready(siblings)) => return Some(siblings.clone()),
                Some(Slot::Pending) if stop.load(Ordering::Acquire) => return None,
                Some(Slot::Pending) => {
                    self.settled.wait_for(&mut slots, LOOK_EVERY);
                }
            }
        }
    }
}

impl Claims<'_> {
    pub(super) fn is_mine(&self, key: Key) -> bool {
        // In the order of the log.
        self.mine.binary_search_by_key(&key.0, |mine| mine.0).is_ok()
    }

    /// Tells what claimed events became; those that are not among them are given up.
    pub(super) fn settle(mut self, lifted: impl Iterator<Item = (Key, Siblings)>) {
        let mut slots = self.memo.slots.lock();
        for (key, siblings) in lifted {
            slots.bytes += weight(&siblings);
            slots.known.insert(key, Slot::Ready(siblings));
            slots.order.push_back(key);
        }
        while slots.bytes > BYTES_MAX
            && let Some(oldest) = slots.order.pop_front()
        {
            if let Some(Slot::Ready(siblings)) = slots.known.remove(&oldest) {
                slots.bytes = slots.bytes.saturating_sub(weight(&siblings));
            }
        }
        give_up(&mut slots, &std::mem::take(&mut self.mine));
        drop(slots);
        self.memo.settled.notify_all();
    }
}

/// Whoever unwinds must not leave others waiting.
impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if !self.mine.is_empty() {
            give_up(&mut self.memo.slots.lock(), &self.mine);
            self.memo.settled.notify_all();
        }
    }
}

fn give_up(slots: &mut Slots, keys: &[Key]) {
    for key in keys {
        if matches!(slots.known.get(key), Some(Slot::Pending)) {
            slots.known.remove(key);
        }
    }
}

fn weight(siblings: &[Form<'static>]) -> usize {
    let of_form = |form: &Form<'_>| 150 + form.event_type.len() + form.data.len() + form.metadata.len();
    100 + siblings.iter().map(of_form).sum::<usize>()
}
