//! Long work for one projection, on a thread of its own, one at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::core::{Class, GenerationId, PluginName, Position};
use crate::projection::{Replayed, Runner, SwitchRequest};
use crate::tables::{Finish, GenerationRecord, StoreError, Switch, TableStore};

/// How long one cutover is tried before it is put off.
const SWITCH_TRY: Duration = Duration::from_secs(20);
/// Between two tries.
const SWITCH_WAIT: Duration = Duration::from_millis(50);

/// What is to be done.
pub(crate) enum Chore {
    /// Make the secondary indexes.
    Index(GenerationRecord),
    /// Make a generation public.
    Switch(Cutover),
    /// Make the views direct.
    Finish(PluginName),
    /// Drop a generation's tables.
    Drop(GenerationId),
}

/// Everything that a cutover needs.
pub(crate) struct Cutover {
    pub(crate) switch: Switch,
    pub(crate) candidate: Arc<Runner>,
    pub(crate) live: Option<Arc<Runner>>,
    /// The public generation follows another log, so that its checkpoint says nothing.
    pub(crate) live_diverged: bool,
}

/// What came of it.
pub(crate) enum Done {
    Indexed(GenerationId, Result<(), StoreError>),
    Switched(GenerationId, Result<Duration, StoreError>),
    /// With the time that it took.
    Finished(Result<Finish, StoreError>, Duration),
    Dropped(GenerationId, Result<(), StoreError>),
    Replayed(GenerationId, Result<Replayed, StoreError>),
}

/// Does a chore; blocks.
pub(crate) fn run(store: &Arc<dyn TableStore>, chore: Chore) -> Done {
    match chore {
        Chore::Index(generation) => Done::Indexed(generation.id, store.create_indexes(&generation)),
        Chore::Switch(cutover) => Done::Switched(cutover.switch.to, cut_over(store, &cutover)),
        Chore::Finish(projection) => {
            let began = Instant::now();
            Done::Finished(store.finish_switch(&projection), began.elapsed())
        }
        Chore::Drop(generation) => Done::Dropped(generation, store.drop_generation(generation)),
    }
}

/// Prepares, holds the live runner still, lets the candidate come level and switch in one transaction. Gives how long
/// the live runner was held.
fn cut_over(store: &Arc<dyn TableStore>, cutover: &Cutover) -> Result<Duration, StoreError> {
    let until = Instant::now() + SWITCH_TRY;
    loop {
        let tried = store
            .prepare_switch(&cutover.switch)
            .and_then(|()| switch_once(store, cutover));
        match tried {
            Err(error) if error.class() == Class::Retryable && Instant::now() < until => {
                std::thread::sleep(SWITCH_WAIT);
            }
            tried => return tried,
        }
    }
}

fn switch_once(store: &Arc<dyn TableStore>, cutover: &Cutover) -> Result<Duration, StoreError> {
    let began = Instant::now();
    let held = cutover.live.as_ref().and_then(|live| live.hold());
    let at_least = match (cutover.switch.from, held) {
        (None, _) => Position::START,
        _ if cutover.live_diverged => Position::START,
        (Some(_), Some(position)) => position,
        (Some(from), None) => store
            .generations()?
            .iter()
            .find(|generation| generation.id == from)
            .map_or(Position::START, |generation| generation.checkpoint.position),
    };
    let (reply, answer) = bounded(1);
    cutover.candidate.switch(SwitchRequest {
        switch: cutover.switch.clone(),
        at_least,
        reply,
    });
    let outcome = answer.recv().unwrap_or_else(|_| {
        Err(StoreError::SwitchRefused(
            "the generation that was to become public stopped before the cutover; its status says why"
                .to_owned(),
        ))
    });
    if outcome.is_err()
        && let Some(live) = &cutover.live
    {
        live.release();
    }
    outcome.map(|()| began.elapsed())
}
