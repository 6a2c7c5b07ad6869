//! Deals events out by their streams. Siblings are of one stream.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;
use lamphouse_contract::packed;

use crate::core::EventBatch;
use crate::plugin::Call;

/// A worker's part of some events.
pub(super) struct Share {
    pub(super) worker: usize,
    pub(super) call: Call,
    /// Its events' places among all of them; None: it has them all.
    pub(super) places: Option<Vec<usize>>,
}

/// Deals a call's events out to so many workers; who gets none has no share.
pub(super) fn call(hasher: &FixedState, workers: usize, call: Call) -> Vec<Share> {
    let dealt = places(hasher, workers, &call.batch, call.range.clone());
    let share = |(worker, places): (usize, Vec<usize>)| Share {
        worker,
        call: Call {
            range: 0..places.len(),
            batch: Arc::new(call.batch.pick(places.iter().copied())),
            deadline_factor: call.deadline_factor,
            stop: call.stop.clone(),
        },
        places: Some(places),
    };
    dealt.map(share).collect()
}

/// Deals some events out to so many workers: each one's number and events; who gets none is left out.
pub(super) fn by_stream(
    hasher: &FixedState,
    workers: usize,
    batch: &EventBatch,
    range: Range<usize>,
) -> Vec<(usize, Arc<EventBatch>)> {
    places(hasher, workers, batch, range)
        .map(|(worker, places)| (worker, Arc::new(batch.pick(places.into_iter()))))
        .collect()
}

fn places(
    hasher: &FixedState,
    workers: usize,
    batch: &EventBatch,
    range: Range<usize>,
) -> impl Iterator<Item = (usize, Vec<usize>)> {
    let mut places: Vec<Vec<usize>> = (0..workers).map(|_| Vec::new()).collect();
    let events = packed::events(batch.packed(range.clone()));
    for (place, event) in range.zip(events) {
        // The guest's own reader will say what is wrong with one that cannot be read.
        let stream = event.as_ref().map_or("", |event| event.stream_id);
        let worker = hasher.hash_one(stream) % workers as u64;
        places[worker as usize].push(place);
    }
    places
        .into_iter()
        .enumerate()
        .filter(|(_, places)| !places.is_empty())
}
