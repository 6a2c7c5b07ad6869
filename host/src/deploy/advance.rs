//! Moving projections on: which runners run, and what their ends mean. What is done to the tables meanwhile: `chores`.

mod chores;

use std::sync::Arc;
use std::time::Duration;

use super::conductor::Conductor;
use super::fleet::report;
use super::kept::{Kept, load_kept};
use super::operator::FaultReport;
use crate::core::{GenerationId, PluginDigest};
use crate::plugin::Plugin;
use crate::projection::{Runner, RunnerEvent, RunnerNews, RunnerSpec, StopReason};
use crate::tables::GenerationState;
use crate::telemetry::Event;
use crate::telemetry::events::ProjectionFaulted;

/// The last step of a switch is tried so often.
const FINISH_EVERY: Duration = Duration::from_millis(250);
/// A cutover that was refused is tried again so often.
const SWITCH_EVERY: Duration = Duration::from_secs(5);

impl Conductor {
    pub(super) fn runner(&mut self, event: RunnerEvent) {
        let id = event.generation;
        let Some((name, generation)) = self.projections.iter_mut().find_map(|(name, projection)| {
            projection
                .generations
                .get_mut(&id)
                .map(|generation| (name.clone(), generation))
        }) else {
            return;
        };
        // News of an earlier runner says nothing of the present one.
        if generation
            .runner
            .as_ref()
            .is_none_or(|runner| runner.run() != event.run)
        {
            return;
        }
        match event.news {
            RunnerNews::CaughtUp => {
                generation.caught_up = true;
                generation.is_well();
                tracing::info!(projection = %name, generation = %id, "A generation is level with the log");
            }
            RunnerNews::Ended(reason) => {
                generation.ended();
                let meter = self.surroundings.meters.of(&name);
                match reason {
                    StopReason::Told => {}
                    StopReason::Restart(why) => {
                        tracing::warn!(projection = %name, generation = %id, %why, "A generation starts again from its checkpoint");
                        meter.restarts.add(1);
                        generation.restart_later(why);
                    }
                    StopReason::Diverged(why) => {
                        tracing::error!(projection = %name, generation = %id, %why, "The tables do not follow this log");
                        generation.diverged = true;
                        meter.faults.of("diverged").add(1);
                        generation.fault = Some(FaultReport {
                            class: "diverged".to_owned(),
                            message: why,
                            position: None,
                            event_id: None,
                            trace: String::new(),
                            log: Vec::new(),
                            at: self.clock.now_micros(),
                            attempts: 1,
                        });
                    }
                    StopReason::Fault(stop) => {
                        let fault = report(&name, stop, &self.clock);
                        ProjectionFaulted {
                            projection: &name,
                            generation: &id.to_string(),
                            position: fault.position.unwrap_or(0),
                            fault: &fault.message,
                            trace: &fault.trace,
                        }
                        .emit();
                        self.fault(&name, id, fault);
                    }
                }
            }
        }
    }

    fn fault(&mut self, name: &str, id: GenerationId, fault: FaultReport) {
        self.surroundings.meters.of(name).faults.of(&fault.class).add(1);
        let Some(projection) = self.projections.get_mut(name) else {
            return;
        };
        if projection
            .approval
            .as_ref()
            .is_some_and(|approval| approval.target == id)
        {
            projection.approval = None;
            projection.note =
                format!("generation {id} stopped on its way to be public; the live one goes on").into();
        }
        let Some(generation) = projection.generations.get_mut(&id) else {
            return;
        };
        let on_the_way = matches!(
            generation.record.state,
            GenerationState::Building | GenerationState::Ready
        );
        let document = serde_json::to_value(&fault).ok();
        generation.fault = Some(fault);
        if on_the_way {
            generation.record.state = GenerationState::Failed;
            generation.record.error = document.clone();
            if let Err(error) =
                self.surroundings
                    .store
                    .set_state(id, GenerationState::Failed, document.as_ref())
            {
                projection.note = format!("the failure cannot be recorded: {error}").into();
            }
        }
    }

    /// Moves one projection on by whatever can be done now.
    pub(super) fn advance(&mut self, name: &str) {
        let settings = self.config.projection(name).clone();
        self.run_what_should_run(name, settings.follow_retired);
        self.start_retry(name);
        let Some(projection) = self.projections.get(name) else {
            return;
        };
        if projection.chore.is_some() || !projection.active {
            return;
        }
        if let Some(chore) = self.next_chore(name, settings.cutover, settings.keep_generations) {
            self.start_chore(name, chore);
        }
    }

    fn run_what_should_run(&mut self, name: &str, follow_retired: bool) {
        let Some(projection) = self.projections.get_mut(name) else {
            return;
        };
        let wanted: Vec<GenerationId> = projection
            .generations
            .values()
            .filter(|generation| projection.wants(generation, follow_retired))
            .map(|generation| generation.record.id)
            .collect();
        for (id, generation) in &mut projection.generations {
            if !wanted.contains(id) {
                generation.tell_to_stop();
            }
        }
        for id in wanted {
            self.start(name, id);
        }
    }

    fn start(&mut self, name: &str, id: GenerationId) {
        let Some(generation) = self
            .projections
            .get_mut(name)
            .and_then(|projection| projection.generations.get_mut(&id))
            .filter(|generation| generation.runner.is_none() && generation.may_start())
        else {
            return;
        };
        let (digest, set) = (generation.record.digest, generation.record.upcasters.clone());
        let plugin = match self.code(name, id, &digest) {
            Ok(plugin) => plugin,
            Err(why) => return self.cannot_start(name, id, why),
        };
        let upcasters = match self.upcaster_set(&set) {
            Ok(upcasters) => upcasters,
            Err(why) => return self.cannot_start(name, id, why),
        };
        let Some(generation) = self
            .projections
            .get_mut(name)
            .and_then(|projection| projection.generations.get_mut(&id))
        else {
            return;
        };
        generation.plugin = Some(plugin.clone());
        let live = generation.record.state == GenerationState::Live;
        let faults = self.config.projection(name).faults.clone();
        let spec = RunnerSpec {
            generation: generation.record.clone(),
            plugin,
            upcasters,
            faults,
            live,
        };
        generation.started(Runner::start(&self.surroundings, spec));
    }

    /// The projector of a generation: as it runs, as it is staged, or from its kept bytes.
    pub(super) fn code(
        &mut self,
        name: &str,
        id: GenerationId,
        digest: &PluginDigest,
    ) -> Result<Arc<Plugin>, Kept> {
        let generation = self
            .projections
            .get(name)
            .and_then(|found| found.generations.get(&id));
        let running = generation.and_then(|generation| generation.plugin.as_ref());
        if let Some(plugin) = running.or_else(|| self.plugins.get(digest)) {
            return Ok(plugin.clone());
        }
        let plugin = load_kept(&self.surroundings, &self.sandbox, digest)?;
        self.plugins.insert(*digest, plugin.clone());
        Ok(plugin)
    }

    /// The code of a generation could not be had.
    fn cannot_start(&mut self, name: &str, id: GenerationId, why: Kept) {
        match why {
            Kept::Later(why) => {
                let projection = self.projections.get_mut(name);
                if let Some(generation) = projection.and_then(|found| found.generations.get_mut(&id)) {
                    generation.restart_later(why);
                }
            }
            Kept::Never(message) => {
                let fault = FaultReport {
                    class: "fault".to_owned(),
                    message,
                    position: None,
                    event_id: None,
                    trace: String::new(),
                    log: Vec::new(),
                    at: self.clock.now_micros(),
                    attempts: 1,
                };
                self.fault(name, id, fault);
            }
        }
    }
}
