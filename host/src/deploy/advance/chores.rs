//! What is done to a projection's tables apart from its runners: indexes, cutovers, drops.

use std::time::{Duration, Instant};

use super::super::chores::{self, Chore, Cutover, Done};
use super::super::conductor::{Conductor, Message};
use super::super::note::{Note, NoteKind};
use super::{FINISH_EVERY, SWITCH_EVERY};
use crate::config::CutoverMode;
use crate::core::{Class, GenerationId};
use crate::tables::diff::SchemaDiff;
use crate::tables::{Finish, GenerationState, StoreError, Switch};

/// How long the end of a host waits for chores. Higher would wait for the drop of large tables, which goes on at the next
/// start as well.
const CHORES_WAIT_MAX: Duration = Duration::from_secs(5);

impl Conductor {
    pub(super) fn next_chore(&mut self, name: &str, mode: CutoverMode, keep: u64) -> Option<Chore> {
        let projection = self.projections.get_mut(name)?;
        let public = projection.live().map(|live| live.record.id);
        if let Some(target) = projection.target().filter(|target| Some(*target) != public) {
            let generation = projection.generations.get(&target)?;
            let levelled = generation.caught_up && generation.goes_on();
            if levelled && !generation.indexed {
                return Some(Chore::Index(generation.record.clone()));
            }
            if levelled && let Some(cutover) = self.cutover(name, target, mode) {
                return Some(Chore::Switch(cutover));
            }
        }
        let projection = self.projections.get_mut(name)?;
        if projection.finishing && projection.finish_at.is_none_or(|at| Instant::now() >= at) {
            return Some(Chore::Finish(projection.record.name.clone()));
        }
        if projection.finishing || projection.record.removed {
            return None;
        }
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let target = projection.target();
        let old = projection
            .retired()
            .into_iter()
            .skip(keep)
            .map(|generation| generation.record.id);
        let given_up = projection
            .generations
            .values()
            .filter(|generation| {
                matches!(
                    generation.record.state,
                    GenerationState::Building | GenerationState::Ready | GenerationState::Failed
                ) && (generation.given_up
                    || projection
                        .candidate()
                        .is_some_and(|newest| newest.record.id > generation.record.id))
            })
            .map(|generation| generation.record.id);
        let drop = old.chain(given_up).find(|id| {
            Some(*id) != target
                && projection
                    .generations
                    .get(id)
                    .is_some_and(|generation| generation.runner.is_none())
        })?;
        Some(Chore::Drop(drop))
    }

    /// The cutover to a generation that is level, if it may happen now; else the note says why not.
    fn cutover(&mut self, name: &str, target: GenerationId, mode: CutoverMode) -> Option<Cutover> {
        let projection = self.projections.get(name)?;
        let removed = match (projection.live(), projection.generations.get(&target)) {
            (Some(live), Some(target)) => {
                self.removed_upcasters(&live.record.upcasters, &target.record.upcasters)
            }
            _ => Vec::new(),
        };
        let is_due = projection.switch_at.is_none_or(|at| Instant::now() >= at);
        let is_decided = projection
            .approval
            .as_ref()
            .is_some_and(|approval| approval.parks_more);
        let parks_more = match is_due && !is_decided {
            true => self.parks_more(name, target),
            false => None,
        };
        // Until the folder has been judged, what was being built may be what nobody wants any more.
        let is_unjudged = self.folder.is_some() && self.wanted_upcasters.is_none();
        let projection = self.projections.get_mut(name)?;
        if projection.switch_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        if let Some(note) = parks_more {
            projection.note = note;
            // Who asked for it did not know of this.
            projection.approval = None;
            // The public one may come to park it too, or somebody may decide on the events.
            projection.switch_at = Some(Instant::now() + SWITCH_EVERY);
            return None;
        }
        let candidate = projection.generations.get(&target)?;
        let live = projection.live();
        let approval = projection.approval.clone();
        if let (Some(live), None) = (live, &approval) {
            if is_unjudged {
                return None;
            }
            let (old, new) = (
                &live.record.descriptor.tables,
                &candidate.record.descriptor.tables,
            );
            let version = &candidate.record.version;
            if let SchemaDiff::Breaking(changes) = SchemaDiff::between(old, new) {
                let text = format!(
                    "{version} (generation {target}) is ready, but breaking: {}; `lamphouse cutover {name} --breaking` \
                     switches to it",
                    changes.join("; ")
                );
                projection.note = Note::new(NoteKind::Decision, text);
                return None;
            }
            if !removed.is_empty() {
                let text = format!(
                    "{version} (generation {target}) is ready, but without upcaster {}, which was removed: events that it \
                     lifted come as they were stored; `lamphouse cutover {name}` switches to it, and putting the file \
                     back leaves everything as it is",
                    removed.join(" and ")
                );
                projection.note = Note::new(NoteKind::Decision, text);
                return None;
            }
            if mode == CutoverMode::Manual {
                let text = format!(
                    "{version} (generation {target}) is ready; `lamphouse cutover {name}` switches to it"
                );
                projection.note = Note::new(NoteKind::Decision, text);
                return None;
            }
        }
        let switch = Switch {
            projection: projection.record.name.clone(),
            from: live.map(|live| live.record.id),
            to: target,
            breaking: approval.as_ref().is_some_and(|approval| approval.breaking),
            parks_no_more: !is_decided,
            from_diverged: live.is_some_and(|live| live.diverged),
            hold: approval.and_then(|approval| approval.hold),
            now: self.clock.now_micros(),
        };
        let runner = candidate.runner.clone()?;
        Some(Cutover {
            live_diverged: live.is_some_and(|live| live.diverged),
            live: live.and_then(|live| live.runner.clone()),
            candidate: runner,
            switch,
        })
    }

    pub(super) fn start_chore(&mut self, name: &str, chore: Chore) {
        let word = match &chore {
            Chore::Index(_) => "making indexes",
            Chore::Switch(_) => "cutting over",
            Chore::Finish(_) => "ending the cutover",
            Chore::Drop(_) => "dropping old tables",
        };
        let store = self.surroundings.store.clone();
        if let Err(error) = self.work_on(name, word, move || chores::run(&store, chore))
            && let Some(projection) = self.projections.get_mut(name)
        {
            projection.note = format!("no thread could be started: {error}").into();
        }
    }

    /// Does long work for a projection on a thread of its own; `word` is what the projection is shown to do meanwhile.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub(in crate::deploy) fn work_on(
        &mut self,
        name: &str,
        word: &'static str,
        work: impl FnOnce() -> Done + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(projection) = self.projections.get_mut(name) else {
            return Ok(());
        };
        let (to_self, owner) = (self.to_self.clone(), name.to_owned());
        let thread = std::thread::Builder::new()
            .name(format!("chore-{name}"))
            .spawn(move || {
                let done = work();
                // The conductor may be gone.
                let _ = to_self.send(Message::Chore(owner, done));
            })?;
        projection.chore = Some(word);
        self.chores.retain(|chore| !chore.is_finished());
        self.chores.push(thread);
        Ok(())
    }

    /// Lets what is under way come to its end, for a while: the connections go away behind the conductor.
    pub(in crate::deploy) fn wait_for_chores(&mut self) {
        let until = Instant::now() + CHORES_WAIT_MAX;
        while Instant::now() < until && self.chores.iter().any(|chore| !chore.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(in crate::deploy) fn chore_done(&mut self, name: &str, done: Done) {
        let Some(projection) = self.projections.get_mut(name) else {
            return;
        };
        projection.chore = None;
        match done {
            Done::Indexed(id, result) => match result {
                Ok(()) => {
                    if let Some(generation) = projection.generations.get_mut(&id) {
                        generation.indexed = true;
                        if generation.record.state == GenerationState::Building {
                            generation.record.state = GenerationState::Ready;
                            if let Err(error) =
                                self.surroundings
                                    .store
                                    .set_state(id, GenerationState::Ready, None)
                            {
                                projection.note = format!("the state cannot be recorded: {error}").into();
                            }
                        }
                    }
                }
                Err(error) => projection.note = format!("the indexes of {id} cannot be made: {error}").into(),
            },
            Done::Replayed(id, result) => self.replayed(name, id, result),
            Done::Switched(id, result) => self.switched(name, id, result),
            Done::Finished(result, took) => {
                let waits = match result {
                    Ok(Finish::Done) => None,
                    Ok(Finish::Waiting(who)) => Some(format!(
                        "the cutover is done; its last step, after which old tables may go, waits: {who}"
                    )),
                    Err(error) => Some(format!("the last step of the cutover is put off: {error}")),
                };
                projection.finishing = waits.is_some();
                // Readers may have queued behind the try: they get as much time without one.
                projection.finish_at = Some(Instant::now() + took.max(FINISH_EVERY));
                let own = projection.note.kind == NoteKind::Finishing;
                match waits {
                    Some(waits) if own || projection.note.is_empty() => {
                        projection.note = Note::new(NoteKind::Finishing, waits);
                    }
                    None if own => projection.note.clear(),
                    _ => {}
                }
            }
            Done::Dropped(id, result) => match result {
                Ok(()) => {
                    projection.generations.remove(&id);
                    tracing::info!(projection = %name, generation = %id, "The tables of an old generation were dropped");
                }
                Err(error) => {
                    projection.note =
                        format!("the tables of generation {id} cannot be dropped yet: {error}").into();
                    projection.finishing = true;
                    projection.finish_at = Some(Instant::now() + SWITCH_EVERY);
                }
            },
        }
    }

    fn switched(&mut self, name: &str, id: GenerationId, result: Result<Duration, StoreError>) {
        // A commit whose answer was lost may have gone in: what is stored decides.
        let reloaded = self.reload(name);
        let Some(projection) = self.projections.get_mut(name) else {
            return;
        };
        let is_live = projection.live().is_some_and(|live| live.record.id == id);
        let meter = self.surroundings.meters.of(name);
        match is_live {
            true => meter.cutovers.add(1),
            false => meter.cutovers_failed.add(1),
        }
        match (is_live, result, reloaded) {
            (true, result, _) => {
                let held_ms = result.map_or(0, |held| held.as_millis() as u64);
                tracing::info!(projection = %name, generation = %id, held_ms, "A generation became public");
                projection.approval = None;
                projection.refused = None;
                projection.note.clear();
                projection.finishing = true;
                projection.finish_at = None;
                projection.switch_at = None;
                for generation in projection.generations.values() {
                    if generation.record.state == GenerationState::Retired
                        && let Some(runner) = &generation.runner
                    {
                        runner.release();
                    }
                }
            }
            (false, Err(error), _) => {
                tracing::warn!(projection = %name, generation = %id, %error, "The cutover did not happen");
                let text = format!("the cutover to generation {id} did not happen: {error}");
                projection.note = Note::new(NoteKind::Hindered, text);
                projection.switch_at = Some(Instant::now() + SWITCH_EVERY);
                if error.class() != Class::Retryable && projection.approval.take().is_some() {
                    projection.switch_at = None;
                    projection.refused = Some(projection.note.text.clone());
                }
            }
            (false, Ok(_), Err(error)) => {
                projection.note = format!("the outcome of the cutover cannot be read: {error}").into();
            }
            (false, Ok(_), Ok(())) => {
                projection.note =
                    format!("the cutover to generation {id} was undone by somebody else").into();
            }
        }
    }
}
