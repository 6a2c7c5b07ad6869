//! What the conductor holds of each projection: its record, its generations, their runners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::letters::RetryJob;
use super::note::Note;
use super::operator::FaultReport;
use crate::core::clock::Clock;
use crate::core::{Class, GenerationId};
use crate::plugin::Plugin;
use crate::projection::{Runner, RunnerStatus, Stop};
use crate::tables::{GenerationRecord, GenerationState, Hold, LetterCounts, ProjectionRecord};

/// First wait before a runner that ended for a passing reason is started again; doubles up to [`RESTART_LONGEST`].
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_LONGEST: Duration = Duration::from_secs(5);

/// One generation in this process.
pub(crate) struct Generation {
    pub(crate) record: GenerationRecord,
    /// Its code; None until it is loaded.
    pub(crate) plugin: Option<Arc<Plugin>>,
    pub(crate) runner: Option<Arc<Runner>>,
    /// Of the present runner, or of the last one.
    pub(crate) status: Option<Arc<RunnerStatus>>,
    /// Why it does not run, until somebody resumes it.
    pub(crate) fault: Option<FaultReport>,
    pub(crate) diverged: bool,
    /// Level with the head since its runner started.
    pub(crate) caught_up: bool,
    /// Secondary indexes are there.
    pub(crate) indexed: bool,
    /// What it is built for is no longer wanted; it is dropped.
    pub(crate) given_up: bool,
    /// What is parked as it was last counted in the database.
    pub(crate) letters: LetterCounts,
    told_to_stop: bool,
    restart_at: Option<Instant>,
    restarts: u32,
    pub(crate) last_restart: Option<String>,
}

impl Generation {
    pub(crate) fn new(record: GenerationRecord) -> Self {
        // A generation that was public has had its indexes made before.
        let indexed = matches!(record.state, GenerationState::Live | GenerationState::Retired);
        Self {
            record,
            plugin: None,
            runner: None,
            status: None,
            fault: None,
            diverged: false,
            caught_up: false,
            indexed,
            given_up: false,
            letters: LetterCounts::default(),
            told_to_stop: false,
            restart_at: None,
            restarts: 0,
            last_restart: None,
        }
    }

    pub(crate) fn tell_to_stop(&mut self) {
        if let Some(runner) = &self.runner
            && !self.told_to_stop
        {
            runner.tell_to_stop();
            self.told_to_stop = true;
        }
    }

    pub(crate) fn started(&mut self, runner: Runner) {
        self.status = Some(runner.status().clone());
        self.runner = Some(Arc::new(runner));
        self.told_to_stop = false;
        self.caught_up = false;
        self.restart_at = None;
    }

    pub(crate) fn ended(&mut self) {
        self.letters = self.parked();
        self.runner = None;
        self.told_to_stop = false;
        self.caught_up = false;
    }

    /// How much is parked now.
    pub(crate) fn parked(&self) -> LetterCounts {
        match &self.status {
            Some(status) if self.runner.is_some() => {
                let (events, streams) = status.parked();
                LetterCounts {
                    events,
                    streams,
                    ..self.letters
                }
            }
            _ => self.letters,
        }
    }

    /// Plans a new start for a passing reason.
    pub(crate) fn restart_later(&mut self, why: String) {
        let wait = RESTART_FIRST
            .saturating_mul(1 << self.restarts.min(10))
            .min(RESTART_LONGEST);
        self.restarts += 1;
        self.restart_at = Some(Instant::now() + wait);
        self.last_restart = Some(why);
    }

    /// Whether its runner runs and is not about to end.
    pub(crate) fn goes_on(&self) -> bool {
        self.runner.is_some() && !self.told_to_stop
    }

    pub(crate) fn may_start(&self) -> bool {
        self.restart_at.is_none_or(|at| Instant::now() >= at)
    }

    /// It is well: earlier restarts are forgotten.
    pub(crate) fn is_well(&mut self) {
        self.restarts = 0;
        self.last_restart = None;
    }
}

/// A person's (or a rule's) decision that a generation is to become public.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    pub(crate) target: GenerationId,
    pub(crate) breaking: bool,
    /// Whether it stands although the target has parked what the public one has not.
    pub(crate) parks_more: bool,
    pub(crate) hold: Option<Hold>,
}

/// One projection in this process.
pub(crate) struct Projection {
    pub(crate) record: ProjectionRecord,
    pub(crate) generations: BTreeMap<GenerationId, Generation>,
    pub(crate) approval: Option<Approval>,
    /// A retry of dead letters that was asked for; its generation's runner rests meanwhile.
    pub(crate) retry: Option<RetryJob>,
    /// Long work under way on another thread.
    pub(crate) chore: Option<&'static str>,
    /// A switch whose last step (direct views) is still to be done.
    pub(crate) finishing: bool,
    /// Not before this time is the last step tried again.
    pub(crate) finish_at: Option<Instant>,
    /// Not before this time is a cutover that failed tried again.
    pub(crate) switch_at: Option<Instant>,
    /// Why the cutover does not happen, or what else a person should know.
    pub(crate) note: Note,
    /// Why what somebody asked for was refused for good.
    pub(crate) refused: Option<String>,
    /// Whether its runners run at all in this process.
    pub(crate) active: bool,
}

impl Projection {
    pub(crate) fn new(record: ProjectionRecord, active: bool) -> Self {
        Self {
            record,
            generations: BTreeMap::new(),
            approval: None,
            retry: None,
            chore: None,
            finishing: true,
            finish_at: None,
            switch_at: None,
            note: Note::default(),
            refused: None,
            active,
        }
    }

    /// The public generation.
    pub(crate) fn live(&self) -> Option<&Generation> {
        self.generations
            .values()
            .find(|generation| generation.record.state == GenerationState::Live)
    }

    /// The newest generation on its way to be public.
    pub(crate) fn candidate(&self) -> Option<&Generation> {
        self.generations.values().rev().find(|generation| {
            matches!(
                generation.record.state,
                GenerationState::Building | GenerationState::Ready | GenerationState::Failed
            ) && !generation.given_up
        })
    }

    /// The generation that is to become public next: what somebody decided on, else the candidate.
    pub(crate) fn target(&self) -> Option<GenerationId> {
        match &self.approval {
            Some(approval) => Some(approval.target),
            None => self.candidate().map(|candidate| candidate.record.id),
        }
    }

    /// Retired generations, the last retired first.
    pub(crate) fn retired(&self) -> Vec<&Generation> {
        let mut retired: Vec<&Generation> = self
            .generations
            .values()
            .filter(|generation| generation.record.state == GenerationState::Retired)
            .collect();
        retired.sort_by_key(|generation| std::cmp::Reverse(generation.record.retired_at));
        retired
    }

    /// Takes in how much is parked, as the database says.
    pub(crate) fn set_letters(&mut self, counts: &[(GenerationId, LetterCounts)]) {
        for (id, generation) in &mut self.generations {
            let found = counts.iter().find(|(counted, _)| counted == id);
            generation.letters = found.map_or(LetterCounts::default(), |(_, counts)| *counts);
        }
    }

    /// Whether a generation's runner should run now.
    pub(crate) fn wants(&self, generation: &Generation, follow_retired: bool) -> bool {
        let runs = match generation.record.state {
            GenerationState::Live => true,
            GenerationState::Building | GenerationState::Ready => self.target() == Some(generation.record.id),
            GenerationState::Retired => {
                follow_retired
                    || self
                        .approval
                        .as_ref()
                        .is_some_and(|approval| approval.target == generation.record.id)
            }
            GenerationState::Failed | GenerationState::Dropped => false,
        };
        runs && self.active
            && self.record.paused.is_none()
            && !self.record.removed
            && generation.fault.is_none()
            && self
                .retry
                .as_ref()
                .is_none_or(|retry| retry.generation != generation.record.id)
    }
}

/// A runner's stop as a report for people.
pub(crate) fn report(projection: &str, stop: Stop, clock: &Clock) -> FaultReport {
    let class = match stop.class {
        Class::Retryable => "retryable",
        Class::Fault => "fault",
        Class::TimeLimit => "time_limit",
        Class::Bug => "bug",
    };
    // What can be done now; some messages say it themselves.
    let then = match stop.class {
        _ if stop.message.contains("`lamphouse resume") => String::new(),
        Class::Bug => "; this is a bug of the host: please report it with the host's log".to_owned(),
        _ => format!("; deploy a mended version, or `lamphouse resume {projection}` once the cause is gone"),
    };
    FaultReport {
        class: class.to_owned(),
        message: stop.message + &then,
        position: stop.position.map(|position| position.0),
        event_id: stop.event_id.map(|id| id.to_string()),
        trace: stop.trace,
        log: stop.log,
        at: clock.now_micros(),
        attempts: u64::from(stop.attempts),
    }
}
