//! What a person asks of one projection.

use super::conductor::Conductor;
use super::fleet::{Approval, Generation};
use super::kept::{Kept, load_kept};
use super::letters::DiscardOrder;
use super::operator::{OperateError, Outcome, Verb};
use super::plan::{Candidate, state_word};
use crate::core::GenerationId;
use crate::tables::diff::SchemaDiff;
use crate::tables::{GenerationState, Hold, ProjectionRecord, StoreError};

impl Conductor {
    /// Refuses what only the owner of the tables may do.
    pub(super) fn must_own(&self) -> Result<(), OperateError> {
        if self.ownership.is_some() && self.loaded {
            return Ok(());
        }
        let why = self.problems.values().cloned().collect::<Vec<_>>().join("; ");
        Err(OperateError::Unavailable(format!(
            "this host does not own the tables: {why}"
        )))
    }

    pub(super) fn operate(&mut self, name: &str, verb: Verb) -> Result<Outcome, OperateError> {
        self.must_own()?;
        let Some(projection) = self.projections.get_mut(name) else {
            let names: Vec<&str> = self.projections.keys().map(String::as_str).collect();
            let known = if names.is_empty() {
                "there is none yet".to_owned()
            } else {
                names.join(", ")
            };
            return Err(OperateError::NotFound(format!(
                "there is no projection '{name}' (known: {known})"
            )));
        };
        projection.refused = None;
        let store = self.surroundings.store.clone();
        let unavailable = |error: StoreError| OperateError::Unavailable(error.to_string());
        match verb {
            Verb::Pause { reason } => {
                let record = ProjectionRecord {
                    paused: Some(reason),
                    ..projection.record.clone()
                };
                store.save_projection(&record).map_err(unavailable)?;
                projection.record = record;
                Ok(outcome(
                    format!("{name} is paused; its tables stay readable"),
                    true,
                    None,
                ))
            }
            Verb::Resume => {
                let record = ProjectionRecord {
                    paused: None,
                    ..projection.record.clone()
                };
                store.save_projection(&record).map_err(unavailable)?;
                projection.record = record;
                for generation in projection.generations.values_mut() {
                    if generation.record.state == GenerationState::Failed {
                        store
                            .set_state(generation.record.id, GenerationState::Building, None)
                            .map_err(unavailable)?;
                        generation.record.state = GenerationState::Building;
                    }
                    generation.fault = None;
                    generation.diverged = false;
                }
                projection.note.clear();
                projection.switch_at = None;
                Ok(outcome(format!("{name} goes on"), true, None))
            }
            Verb::Rebuild => self.rebuild(name),
            Verb::Cutover { breaking } => self.order_cutover(name, breaking),
            Verb::Rollback { breaking } => self.order_rollback(name, breaking),
            Verb::DiscardDeadLetters {
                event_id,
                stream_id,
                reason,
                by,
            } => self.discard(
                name,
                &DiscardOrder {
                    event_id,
                    stream_id,
                    reason,
                    by,
                },
            ),
            // Answered when it is over, so that it does not come here.
            Verb::RetryDeadLetters { .. } => Err(OperateError::Refused("a retry takes its time".to_owned())),
        }
    }

    fn rebuild(&mut self, name: &str) -> Result<Outcome, OperateError> {
        let refused = |why: String| Err(OperateError::Refused(why));
        let Some(projection) = self.projections.get(name) else {
            return refused(format!("there is no projection '{name}'"));
        };
        let Some(model) = projection.live().or(projection.candidate()) else {
            return refused(format!("{name} has no generation to build again"));
        };
        if projection.record.paused.is_some() {
            return refused(format!("{name} is paused: `lamphouse resume {name}` first"));
        }
        let digest = model.record.digest;
        let hold = projection.record.held.clone();
        let plugin = match model
            .plugin
            .clone()
            .or_else(|| self.plugins.get(&digest).cloned())
        {
            Some(plugin) => plugin,
            None => load_kept(&self.surroundings, &self.sandbox, &digest)
                .map_err(|(Kept::Later(why) | Kept::Never(why))| OperateError::Unavailable(why))?,
        };
        let owner = projection.record.name.clone();
        let upcasters = model.record.upcasters.clone();
        let unavailable = |error: StoreError| OperateError::Unavailable(error.to_string());
        let id = self
            .new_generation(&owner, &plugin, &upcasters)
            .map_err(unavailable)?;
        if let Some(projection) = self.projections.get_mut(name) {
            projection.active = true;
            if hold.is_some() {
                // Building the same code again changes nothing about what is held back.
                projection.record.held.clone_from(&hold);
                self.surroundings
                    .store
                    .save_projection(&projection.record)
                    .map_err(unavailable)?;
            }
            projection.approval = Some(Approval {
                target: id,
                breaking: false,
                parks_more: false,
                hold,
            });
        }
        Ok(outcome(
            format!("{name} is built anew as generation {id}, and switched to when it is level"),
            false,
            Some(id),
        ))
    }

    fn order_cutover(&mut self, name: &str, breaking: bool) -> Result<Outcome, OperateError> {
        let refused = |why: String| Err(OperateError::Refused(why));
        let Some(projection) = self.projections.get_mut(name) else {
            return refused(format!("there is no projection '{name}'"));
        };
        if projection.record.paused.is_some() {
            return refused(format!("{name} is paused: `lamphouse resume {name}` first"));
        }
        let held = projection.record.held.clone();
        let waiting = projection
            .candidate()
            .filter(|candidate| candidate.record.state != GenerationState::Failed)
            .map(|candidate| candidate.record.id);
        // After a rollback, forward is the generation that was left.
        let forward = held.and_then(|hold| {
            projection
                .retired()
                .into_iter()
                .find(|generation| generation.record.code() == hold.against)
                .map(|generation| generation.record.id)
        });
        if let Some(failed) = projection
            .candidate()
            .filter(|candidate| candidate.record.state == GenerationState::Failed && forward.is_none())
        {
            let why = failed.fault.as_ref().map_or("", |fault| fault.message.as_str());
            return refused(format!("generation {} failed: {why}", failed.record.id));
        }
        let Some(target) = waiting.or(forward) else {
            return refused(format!(
                "{name} has no other generation to switch to: put a new version of the plugin in the folder, or `lamphouse \
                 rebuild {name}`"
            ));
        };
        let tables = |generation: &Generation| generation.record.descriptor.tables.clone();
        // Going forward after a rollback shows what was public before; anything else that breaks needs to be said.
        if let (false, None, Some(live)) = (breaking, forward, projection.live())
            && let SchemaDiff::Breaking(changes) =
                SchemaDiff::between(&tables(live), &tables(&projection.generations[&target]))
        {
            return refused(format!(
                "{name} {} (generation {target}) breaks what readers rely on: {}; `lamphouse cutover {name} --breaking` \
                 switches to it all the same",
                projection.generations[&target].record.version,
                changes.join("; ")
            ));
        }
        projection.approval = Some(Approval {
            target,
            breaking,
            parks_more: true,
            hold: None,
        });
        projection.switch_at = None;
        projection.active = true;
        projection.note.clear();
        Ok(outcome(
            format!("{name} switches to generation {target} as soon as it is level"),
            false,
            Some(target),
        ))
    }

    fn order_rollback(&mut self, name: &str, breaking: bool) -> Result<Outcome, OperateError> {
        let refused = |why: String| Err(OperateError::Refused(why));
        let now = self.clock.now_micros();
        let wanted = self
            .candidates
            .iter()
            .find(|candidate| candidate.name == name)
            .map(Candidate::code);
        let Some(projection) = self.projections.get_mut(name) else {
            return refused(format!("there is no projection '{name}'"));
        };
        if projection.record.paused.is_some() {
            return refused(format!("{name} is paused: `lamphouse resume {name}` first"));
        }
        let Some(live) = projection.live() else {
            return refused(format!("{name} has no public generation yet"));
        };
        let Some(target) = projection
            .retired()
            .first()
            .map(|generation| generation.record.id)
        else {
            return refused(format!(
                "{name} has no earlier generation: none was kept (see keep_generations), or there was none"
            ));
        };
        let against = match &wanted {
            Some(wanted) if projection.generations[&target].record.code() != *wanted => *wanted,
            _ => live.record.code(),
        };
        let hold = Hold {
            generation: target,
            against,
            since: now,
        };
        projection.approval = Some(Approval {
            target,
            breaking,
            parks_more: true,
            hold: Some(hold),
        });
        projection.switch_at = None;
        projection.active = true;
        projection.note.clear();
        let state = state_word(projection.generations[&target].record.state);
        Ok(outcome(
            format!("{name} goes back to the {state} generation {target} as soon as it is level"),
            false,
            Some(target),
        ))
    }
}

fn outcome(message: String, done: bool, generation: Option<GenerationId>) -> Outcome {
    Outcome {
        message,
        done,
        generation: generation.map(|id| id.0),
        letters: None,
    }
}
