//! What the conductor shows: a copy of what it holds, from which `status` is made without waiting for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conductor::Conductor;
use super::fleet::{Generation, Projection};
use super::note::{Note, NoteKind};
use super::operator::{
    FaultReport, FileStatus, GenerationStatus, HostInfo, HostStatus, LogStatus, ProjectionStatus,
    UpcasterStatus,
};
use super::plan::{set_changes, state_word};
use crate::core::Position;
use crate::log::Head;
use crate::projection::RunnerStatus;
use crate::tables::{GenerationRecord, GenerationState, LetterCounts, ProjectionRecord, UpcasterRef};

/// A plugin call that takes longer is not healthy: it should be over in milliseconds.
const CALL_HEALTHY: Duration = Duration::from_secs(1);

/// Looks up when the event at a position was recorded, in microseconds since 1970.
type RecordedAt<'l> = &'l dyn Fn(Position) -> Option<i64>;

/// A copy of the conductor's state.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) loaded: bool,
    pub(crate) judged: bool,
    settled: bool,
    owns: bool,
    address: Option<String>,
    problems: Vec<String>,
    files: Vec<FileStatus>,
    /// None until the folder has been judged, and where it is not looked at.
    wanted_upcasters: Option<Vec<UpcasterRef>>,
    projections: Vec<ProjectionView>,
}

struct ProjectionView {
    record: ProjectionRecord,
    note: Note,
    refused: Option<String>,
    chore: Option<&'static str>,
    target: Option<i64>,
    approved: bool,
    finishing: bool,
    generations: Vec<GenerationView>,
}

struct GenerationView {
    record: GenerationRecord,
    status: Option<Arc<RunnerStatus>>,
    runs: bool,
    fault: Option<FaultReport>,
    letters: LetterCounts,
    restart: Option<String>,
}

impl View {
    pub(crate) fn of(conductor: &Conductor) -> Self {
        Self {
            loaded: conductor.loaded,
            judged: conductor.judged && conductor.loaded,
            settled: conductor.settled && conductor.loaded,
            owns: conductor.ownership.is_some(),
            address: conductor.address.public().map(str::to_owned),
            problems: conductor.problems.values().cloned().collect(),
            files: conductor.file_status.clone(),
            wanted_upcasters: conductor.wanted_upcasters.clone(),
            projections: conductor.projections.values().map(ProjectionView::of).collect(),
        }
    }

    /// Why some projection cannot come level by itself: one sentence each.
    pub(crate) fn stopped(&self) -> Vec<String> {
        let mut stopped: Vec<String> = self
            .projections
            .iter()
            .filter(|projection| projection.record.paused.is_none() && !projection.record.removed)
            .flat_map(|projection| {
                projection.generations.iter().filter_map(|generation| {
                    let fault = generation.fault.as_ref()?;
                    Some(format!(
                        "{} is stopped: {}",
                        projection.record.name, fault.message
                    ))
                })
            })
            .collect();
        stopped.extend(self.problems.iter().cloned());
        stopped
    }

    /// Whether every projection that runs is level with `head` and has nothing more to do by itself.
    pub(crate) fn is_level(&self, head: Position) -> bool {
        self.projections.iter().all(|projection| {
            if projection.record.paused.is_some() || projection.record.removed {
                return true;
            }
            let waits_for_person = projection.needs_decision();
            let live = projection
                .generations
                .iter()
                .find(|generation| generation.record.state == GenerationState::Live);
            let level = |generation: &GenerationView| {
                generation
                    .status
                    .as_ref()
                    .is_some_and(|status| status.checkpoint() >= head)
            };
            let settled = projection.target.is_none() || waits_for_person;
            settled && projection.chore != Some("cutting over") && live.is_none_or(level)
        })
    }

    /// `recorded_at` looks up when the event at a position was recorded.
    pub(crate) fn document(
        &self,
        log_kind: &str,
        log_id: &str,
        head: Option<Head>,
        recorded_at: RecordedAt<'_>,
    ) -> HostStatus {
        let mut problems = self.problems.clone();
        if head.is_none() {
            problems.push("the event log cannot be read".to_owned());
        }
        let known = self
            .projections
            .iter()
            .flat_map(|projection| &projection.generations)
            .filter_map(|generation| generation.status.as_ref())
            .map(|status| status.head())
            .max();
        // With the log away nothing can be looked up in it; no event has waited for less than the last one that was seen.
        let last = known.map(|(_, at)| at).filter(|at| *at > 0);
        let of_last = |_| last;
        let (head_position, recorded_at) = match (head, known) {
            (Some(head), _) => (head.position, recorded_at),
            (None, Some((known, _))) => (known, &of_last as RecordedAt<'_>),
            (None, None) => (Position::START, &of_last as RecordedAt<'_>),
        };
        HostStatus {
            host: HostInfo {
                running: true,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: Some(std::process::id()),
                address: self.address.clone(),
                settled: self.settled,
                role: if self.owns { "owner" } else { "standby" }.to_owned(),
            },
            log: LogStatus {
                database: log_kind.to_owned(),
                id: log_id.to_owned(),
                head: head_position.0,
            },
            projections: self
                .projections
                .iter()
                .map(|projection| projection.document(head_position, recorded_at))
                .collect(),
            upcasters: self.upcasters(),
            files: self.files.clone(),
            problems,
        }
    }

    /// Those that are wanted, and those that some generation still runs with.
    fn upcasters(&self) -> Vec<UpcasterStatus> {
        let mut all: BTreeMap<UpcasterRef, BTreeSet<String>> = BTreeMap::new();
        for wanted in self.wanted_upcasters.iter().flatten() {
            all.entry(wanted.clone()).or_default();
        }
        for projection in &self.projections {
            let concerned = projection.generations.iter().filter(|generation| {
                !matches!(
                    generation.record.state,
                    GenerationState::Retired | GenerationState::Dropped
                )
            });
            for upcaster in concerned.flat_map(|generation| &generation.record.upcasters) {
                let names = all.entry(upcaster.clone()).or_default();
                names.insert(projection.record.name.to_string());
            }
        }
        all.into_iter()
            .map(|(upcaster, projections)| UpcasterStatus {
                deployed: self
                    .wanted_upcasters
                    .as_ref()
                    .is_none_or(|wanted| wanted.contains(&upcaster)),
                name: upcaster.name.to_string(),
                version: upcaster.version,
                digest: upcaster.digest.to_string(),
                projections: projections.into_iter().collect(),
            })
            .collect()
    }
}

impl ProjectionView {
    fn of(projection: &Projection) -> Self {
        Self {
            record: projection.record.clone(),
            note: projection.note.clone(),
            refused: projection.refused.clone(),
            chore: projection.chore,
            target: projection
                .target()
                .filter(|target| {
                    projection.generations.get(target).is_some_and(|target| {
                        !matches!(
                            target.record.state,
                            GenerationState::Live | GenerationState::Failed
                        )
                    })
                })
                .map(|target| target.0),
            approved: projection.approval.is_some(),
            finishing: projection.finishing,
            generations: projection.generations.values().map(GenerationView::of).collect(),
        }
    }

    /// Whether nothing goes on before a person has decided.
    fn needs_decision(&self) -> bool {
        !self.approved && self.note.kind == NoteKind::Decision
    }

    fn document(&self, head: Position, recorded_at: RecordedAt<'_>) -> ProjectionStatus {
        let public = self
            .generations
            .iter()
            .find(|generation| generation.record.state == GenerationState::Live);
        let public_set = public.map(|public| public.record.upcasters.as_slice());
        let mut generations: Vec<(GenerationStatus, &GenerationView)> = self
            .generations
            .iter()
            .rev()
            .map(|generation| (generation.document(head, recorded_at, public_set), generation))
            .collect();
        let live_at = generations
            .iter()
            .position(|(_, generation)| generation.record.state == GenerationState::Live);
        let live = live_at.map(|place| generations.remove(place));
        let others: Vec<(GenerationStatus, &GenerationView)> = generations;
        let shown = |generation: &&(GenerationStatus, &GenerationView)| {
            generation.1.record.state != GenerationState::Retired
                || Some(generation.0.generation) == self.target
        };
        let on_the_way = others.iter().find(shown);
        let concerned: Vec<&(GenerationStatus, &GenerationView)> = live.iter().chain(on_the_way).collect();
        let fault = |class: &[&str]| {
            concerned.iter().find_map(|(status, _)| {
                status
                    .fault
                    .clone()
                    .filter(|fault| class.is_empty() || class.contains(&fault.class.as_str()))
            })
        };
        let retrying = concerned.iter().find_map(|(_, view)| view.retrying());
        let long_call = concerned.iter().find_map(|(_, view)| {
            view.status
                .as_ref()?
                .call_time()
                .filter(|time| *time > CALL_HEALTHY)
        });
        let (state, message, healthy) = if self.record.removed {
            (
                "removed",
                "its plugin file was removed; the tables stay as they are".to_owned(),
                true,
            )
        } else if let Some(reason) = &self.record.paused {
            let why = if reason.is_empty() {
                String::new()
            } else {
                format!(": {reason}")
            };
            (
                "paused",
                format!("paused{why}; `lamphouse resume {}` goes on", self.record.name),
                true,
            )
        } else if let Some(fault) = fault(&["diverged"]) {
            ("diverged", fault.message, false)
        } else if let Some(fault) = fault(&[]) {
            let word = if live.as_ref().is_some_and(|(live, _)| live.fault.is_none()) {
                format!(
                    "the live generation goes on; the new one stopped: {}",
                    fault.message
                )
            } else {
                fault.message
            };
            ("faulted", word, false)
        } else if let Some(why) = retrying {
            ("retrying", why, false)
        } else if let Some(time) = long_call {
            (
                "live",
                format!("in a plugin call for {:.1} s", time.as_secs_f64()),
                false,
            )
        } else if let Some((building, view)) = on_the_way {
            let word = match (view.record.state, self.note.is_empty()) {
                (_, false) => self.note.text.clone(),
                (GenerationState::Ready, true) if view.status.is_none() && self.chore.is_none() => format!(
                    "generation g{} is level; the next `lamphouse serve` or `catch-up` switches to it, or says what it \
                     waits for",
                    building.generation
                ),
                (GenerationState::Ready, true) => {
                    format!(
                        "generation g{} is level; {}",
                        building.generation,
                        self.chore.unwrap_or("cutting over")
                    )
                }
                _ if building.because.is_empty() => {
                    format!("generation g{} is being built", building.generation)
                }
                _ => format!(
                    "generation g{} is being built, because {}",
                    building.generation,
                    building.because.join(" and ")
                ),
            };
            let state = if live.is_none() || self.note.is_empty() {
                "building"
            } else {
                "waiting"
            };
            (state, word, true)
        } else if live.is_some() {
            let word = if self.note.is_empty() {
                "follows the log".to_owned()
            } else {
                self.note.text.clone()
            };
            ("live", word, true)
        } else {
            ("waiting", self.note.text.clone(), true)
        };
        // Whatever else is to be said of it, tables that lack events are not well.
        let incomplete = public.and_then(|public| incomplete(public.letters));
        let (message, healthy) = match &incomplete {
            Some(lacks) if state == "live" && self.note.is_empty() => (
                format!(
                    "incomplete: {lacks}; `lamphouse dead-letters list {}` says why",
                    self.record.name
                ),
                false,
            ),
            Some(_) => (message, healthy && self.record.removed),
            None => (message, healthy),
        };
        let held = self.record.held.as_ref().map(|hold| {
            let version = self
                .generations
                .iter()
                .find(|generation| generation.record.id == hold.generation)
                .map_or("", |generation| generation.record.version.as_str());
            let left = self
                .generations
                .iter()
                .find(|generation| generation.record.code() == hold.against)
                .filter(|generation| !generation.record.upcasters.is_empty());
            let against = match left {
                Some(left) => format!("generation {} and its upcasters", left.record.id),
                None => format!("digest {}", hold.against.short()),
            };
            format!(
                "held at {version} (generation {}), against {against}; `lamphouse cutover {}` goes forward again",
                hold.generation, self.record.name
            )
        });
        ProjectionStatus {
            name: self.record.name.to_string(),
            state: state.to_owned(),
            healthy,
            message: if self.finishing && message.is_empty() {
                "ending a cutover".to_owned()
            } else {
                message
            },
            needs_decision: self.needs_decision(),
            hindered: self.note.kind == NoteKind::Hindered,
            paused: self.record.paused.clone(),
            held,
            refused: self.refused.clone(),
            incomplete,
            reordered: public.is_some_and(|public| public.letters.is_reordered),
            live: live.map(|(status, _)| status),
            others: others.into_iter().map(|(status, _)| status).collect(),
        }
    }
}

/// What tables lack: `3 events of 1 stream are parked`.
fn incomplete(letters: LetterCounts) -> Option<String> {
    let counted = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    (letters.events > 0).then(|| {
        format!(
            "{} of {} {} parked",
            counted(letters.events, "event", "events"),
            counted(letters.streams, "stream", "streams"),
            if letters.events == 1 { "is" } else { "are" }
        )
    })
}

impl GenerationView {
    fn of(generation: &Generation) -> Self {
        Self {
            record: generation.record.clone(),
            status: generation.status.clone(),
            runs: generation.runner.is_some(),
            fault: generation.fault.clone(),
            letters: generation.parked(),
            restart: generation.last_restart.clone(),
        }
    }

    fn retrying(&self) -> Option<String> {
        let status = self.status.as_ref()?;
        if let Some(retry) = status.retrying().filter(|_| self.runs) {
            let wait = retry.next.saturating_duration_since(Instant::now());
            return Some(format!(
                "{} (try {}, again in {:.1} s)",
                retry.message,
                retry.attempts,
                wait.as_secs_f64()
            ));
        }
        self.restart.clone().filter(|_| !self.runs)
    }

    /// `public_set`: the upcasters of the public generation, if there is one.
    fn document(
        &self,
        head: Position,
        recorded_at: RecordedAt<'_>,
        public_set: Option<&[UpcasterRef]>,
    ) -> GenerationStatus {
        let record = &self.record;
        let status = self.status.as_ref();
        let checkpoint = status.map_or(record.checkpoint.position, |status| {
            status.checkpoint().max(record.checkpoint.position)
        });
        let lag = head.0.saturating_sub(checkpoint.0);
        let rate = status
            .and_then(|status| status.events_per_second())
            .filter(|_| self.runs);
        let now = crate::core::clock::Clock::system().now_micros();
        // The event that has waited longest is the one behind the checkpoint, not the last one.
        let waiting_since = match lag {
            0 => None,
            _ => recorded_at(Position(checkpoint.0 + 1)),
        };
        let activity = if self.fault.is_some() || !self.runs {
            self.retrying()
                .map_or("stopped".to_owned(), |why| format!("retrying: {why}"))
        } else if let Some(why) = self.retrying() {
            format!("retrying: {why}")
        } else if let Some(time) = status
            .and_then(|status| status.call_time())
            .filter(|time| *time > CALL_HEALTHY)
        {
            format!("in a plugin call for {:.1} s", time.as_secs_f64())
        } else if record.state == GenerationState::Live || lag == 0 {
            "following".to_owned()
        } else {
            "rebuilding".to_owned()
        };
        let (cache_bytes, cache_is_whole) = status.map_or((0, false), |status| status.cache());
        GenerationStatus {
            generation: record.id.0,
            version: record.version.clone(),
            digest: record.digest.to_string(),
            upcasters: record.upcasters.clone(),
            because: match (record.state, public_set) {
                (GenerationState::Live | GenerationState::Retired, _) | (_, None) => Vec::new(),
                (_, Some(public)) => set_changes(public, &record.upcasters),
            },
            state: state_word(record.state).to_owned(),
            checkpoint: checkpoint.0,
            lag_events: lag,
            lag_ms: waiting_since.map_or(0, |since| u64::try_from((now - since) / 1000).unwrap_or(0)),
            events_per_second: rate,
            time_left_ms: rate
                .filter(|_| lag > 0)
                .map(|rate| (lag as f64 / rate * 1000.0) as u64),
            activity,
            cache_is_whole,
            cache_bytes,
            parked_events: self.letters.events,
            parked_streams: self.letters.streams,
            reordered: self.letters.is_reordered,
            tables: record
                .descriptor
                .tables
                .iter()
                .map(|table| table.name.clone())
                .collect(),
            fault: self.fault.clone(),
            log: status.map(|status| status.log()).unwrap_or_default(),
            profile: status.map(|status| status.profile()),
        }
    }
}
