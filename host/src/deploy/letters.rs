//! Dead letters as a person orders it: retry and discard, and what they leave of a generation's state.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::chores::Done;
use super::conductor::{Answer, Conductor};
use super::fleet::Projection;
use super::kept::Kept;
use super::note::{Note, NoteKind};
use super::operator::{LetterFailure, LettersOutcome, OperateError, Outcome};
use crate::core::{EventId, GenerationId};
use crate::projection::{Replay, Replayed};
use crate::tables::{Discard, LetterCounts, LetterQuery, StoreError};

/// How long one retry may hold its projection; the rest is retried when it is asked for again.
const RETRY_TIME_MAX: Duration = Duration::from_secs(8);
/// Length of a reason, in characters, as in the log.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 10..=500;
/// Longest name of a person, in characters.
const BY_CHARS_MAX: usize = 100;

/// A retry that somebody asked for.
pub(crate) struct RetryJob {
    pub(crate) generation: GenerationId,
    stream_id: Option<String>,
    reorders: bool,
    reply: Sender<Answer>,
}

/// What a discard is about.
pub(crate) struct DiscardOrder {
    pub(crate) event_id: Option<String>,
    pub(crate) stream_id: Option<String>,
    pub(crate) reason: String,
    pub(crate) by: String,
}

impl Conductor {
    /// Begins a retry; it is answered when it is over.
    pub(super) fn retry(
        &mut self,
        name: &str,
        stream_id: Option<String>,
        accept_reorder: bool,
        reply: Sender<Answer>,
    ) {
        match self.may_retry(name, stream_id, accept_reorder, &reply) {
            Ok(job) => {
                if let Some(projection) = self.projections.get_mut(name) {
                    projection.retry = Some(job);
                }
            }
            Err(answer) => self.answers.push((reply, answer)),
        }
    }

    fn may_retry(
        &mut self,
        name: &str,
        stream_id: Option<String>,
        accept_reorder: bool,
        reply: &Sender<Answer>,
    ) -> Result<RetryJob, Answer> {
        let refused = |why: String| Err(OperateError::Refused(why));
        let projection = self.known(name).map_err(Err)?;
        if projection.record.paused.is_some() {
            return Err(refused(format!(
                "{name} is paused: `lamphouse resume {name}` first"
            )));
        }
        busy(projection, name).map_err(Err)?;
        let Some(generation) = projection.live().or_else(|| projection.candidate()) else {
            return Err(refused(format!("{name} has no generation")));
        };
        let record = generation.record.clone();
        let store = &self.surroundings.store;
        let book = store.letter_book(record.id).map_err(|error| Err(away(&error)))?;
        let parked = book
            .streams
            .iter()
            .filter(|(stream, _)| stream_id.as_ref().is_none_or(|wanted| wanted == stream))
            .count();
        if parked == 0 {
            let of_stream = stream_id.map_or(String::new(), |stream| format!(" of stream {stream}"));
            return Err(Ok(Outcome {
                message: format!("{name} (generation {}) has no dead letters{of_stream}", record.id),
                done: true,
                generation: Some(record.id.0),
                letters: Some(LettersOutcome {
                    left: book.events,
                    ..LettersOutcome::default()
                }),
            }));
        }
        let by_stream = record.descriptor.is_partitioned_by_stream();
        if !by_stream && !accept_reorder {
            return Err(refused(format!(
                "{name} does not declare the option `partition = stream`, so that its rows may depend on the order of \
                 events of different streams, and a retry applies events after others that came later: with \
                 --accept-reorder it does so all the same and marks the projection reordered until it is built anew"
            )));
        }
        Ok(RetryJob {
            generation: record.id,
            stream_id,
            reorders: !by_stream,
            reply: reply.clone(),
        })
    }

    /// Starts a retry whose generation's runner has ended.
    pub(super) fn start_retry(&mut self, name: &str) {
        let Some(projection) = self.projections.get(name) else {
            return;
        };
        let Some(job) = &projection.retry else { return };
        let Some(generation) = projection.generations.get(&job.generation) else {
            return self.end_retry(
                name,
                Err(OperateError::Refused("the generation is gone".to_owned())),
            );
        };
        if projection.chore.is_some() || generation.runner.is_some() {
            return;
        }
        let record = generation.record.clone();
        let (stream_id, reorders) = (job.stream_id.clone(), job.reorders);
        let code = self
            .code(name, record.id, &record.digest)
            .and_then(|plugin| Ok((plugin, self.upcaster_set(&record.upcasters)?)));
        let (plugin, upcasters) = match code {
            Ok(code) => code,
            Err(Kept::Later(why) | Kept::Never(why)) => {
                return self.end_retry(name, Err(OperateError::Unavailable(why)));
            }
        };
        let id = record.id;
        let replay = Replay {
            log: self.surroundings.log.clone(),
            store: self.surroundings.store.clone(),
            generation: record,
            plugin,
            upcasters,
            stream_id,
            reorders,
            until: Instant::now() + RETRY_TIME_MAX,
        };
        let work = move || Done::Replayed(id, replay.run());
        if let Err(error) = self.work_on(name, "replaying dead letters", work) {
            let why = format!("no thread could be started: {error}");
            self.end_retry(name, Err(OperateError::Unavailable(why)));
        }
    }

    /// Answers a retry that is over.
    pub(super) fn replayed(&mut self, name: &str, id: GenerationId, result: Result<Replayed, StoreError>) {
        let letters_of = |conductor: &Self| {
            let projection = conductor.projections.get(name);
            let generation = projection.and_then(|projection| projection.generations.get(&id));
            generation.map_or(LetterCounts::default(), |generation| generation.letters)
        };
        let before = letters_of(self);
        self.count_letters(name);
        let left = letters_of(self);
        // A retry that was cut short does not say how far it came.
        let replayed = match &result {
            Ok(replayed) => replayed.events,
            Err(_) => before.events.saturating_sub(left.events),
        };
        self.surroundings.meters.of(name).replayed.add(replayed);
        let answer = match result {
            Ok(replayed) => Ok(Outcome {
                message: told(name, &replayed, left),
                done: true,
                generation: Some(id.0),
                letters: Some(LettersOutcome {
                    replayed: replayed.events,
                    left: left.events,
                    more: replayed.more,
                    failed: replayed
                        .failed
                        .into_iter()
                        .map(|letter| LetterFailure {
                            stream_id: letter.stream_id,
                            position: letter.position.0,
                            event_id: letter.event_id.to_string(),
                            message: letter.message,
                            attempts: letter.attempts,
                        })
                        .collect(),
                }),
            }),
            Err(error) => Err(OperateError::Unavailable(format!(
                "the retry was cut short; what it had replayed stays, and {} of {name} are still parked: {error}",
                events(left.events)
            ))),
        };
        self.end_retry(name, answer);
    }

    fn end_retry(&mut self, name: &str, answer: Answer) {
        let projection = self.projections.get_mut(name);
        if let Some(job) = projection.and_then(|projection| projection.retry.take()) {
            self.answers.push((job.reply, answer));
        }
    }

    /// Leaves events out, now and in every later generation.
    pub(super) fn discard(&mut self, name: &str, order: &DiscardOrder) -> Answer {
        let refused = |why: String| Err(OperateError::Refused(why));
        let now = self.clock.now_micros();
        let projection = self.known(name)?;
        busy(projection, name)?;
        let reason = order.reason.trim();
        let chars = reason.chars().count();
        if !REASON_CHARS.contains(&chars) {
            return refused(format!(
                "the reason has {chars} characters; it must have from {} to {}",
                REASON_CHARS.start(),
                REASON_CHARS.end()
            ));
        }
        let by: String = order.by.chars().take(BY_CHARS_MAX).collect();
        let discard = |letter: Discard| Discard {
            reason: reason.to_owned(),
            by: by.clone(),
            at: now,
            ..letter
        };
        let discards: Vec<Discard> = self.discardable(name, order)?.into_iter().map(discard).collect();
        let store = self.surroundings.store.clone();
        let gone = store.discard(&discards).map_err(|error| away(&error))?;
        tracing::info!(projection = %name, events = discards.len(), by, reason, "Events were discarded");
        self.surroundings
            .meters
            .of(name)
            .discarded
            .add(discards.len() as u64);
        self.count_letters(name);
        let mut left = 0;
        if let Some(projection) = self.projections.get_mut(name) {
            left = projection
                .live()
                .or_else(|| projection.candidate())
                .map_or(0, |shown| shown.letters.events);
            projection.switch_at = None;
            // They read what is discarded when they start.
            for generation in projection.generations.values_mut() {
                generation.tell_to_stop();
            }
        }
        let first = &discards[0];
        let what = match discards.as_slice() {
            [_] => format!("event {} at position {}", first.event_id, first.position),
            all => format!("{} of stream {}", events(all.len() as u64), first.stream_id),
        };
        let next = match (gone, left) {
            (0, _) => format!("; `lamphouse resume {name}` goes on behind it"),
            (_, 0) => String::new(),
            (_, left) => format!(
                "; {} still parked: `lamphouse dead-letters retry {name}` replays what waited behind it",
                are(left)
            ),
        };
        Ok(Outcome {
            message: format!("{name} leaves out {what}, also when it is built anew{next}"),
            done: true,
            generation: None,
            letters: Some(LettersOutcome {
                left,
                ..LettersOutcome::default()
            }),
        })
    }

    /// What the order names: parked events, or the one at which the projection has stopped.
    fn discardable(&self, name: &str, order: &DiscardOrder) -> Result<Vec<Discard>, OperateError> {
        let Some(projection) = self.projections.get(name) else {
            return Ok(Vec::new());
        };
        let of = projection.record.name.clone();
        let event_id = match &order.event_id {
            Some(text) => {
                Some(EventId(uuid::Uuid::parse_str(text).map_err(|_| {
                    OperateError::Refused(format!("'{text}' is no event id"))
                })?))
            }
            None => None,
        };
        if event_id.is_none() && order.stream_id.is_none() {
            return Err(OperateError::Refused(
                "name the event, or the stream, that is to be discarded".to_owned(),
            ));
        }
        let query = LetterQuery {
            projection: Some(of.clone()),
            stream_id: order.stream_id.clone(),
            event_id,
            limit: i64::MAX.unsigned_abs(),
            ..LetterQuery::default()
        };
        let letters = self
            .surroundings
            .store
            .dead_letters(&query)
            .map_err(|error| away(&error))?;
        let mut discards: Vec<Discard> = Vec::new();
        for letter in letters {
            if discards
                .last()
                .is_none_or(|last| last.event_id != letter.event_id)
            {
                discards.push(Discard {
                    projection: of.clone(),
                    event_id: letter.event_id,
                    position: letter.position,
                    stream_id: letter.stream_id,
                    event_type: letter.event_type,
                    reason: String::new(),
                    by: String::new(),
                    at: 0,
                    message: letter.message,
                });
            }
        }
        if discards.is_empty()
            && let Some(wanted) = event_id
        {
            discards.extend(self.stopped_at(projection, wanted)?);
        }
        if discards.is_empty() {
            return Err(OperateError::NotFound(
                match (&order.event_id, &order.stream_id) {
                    (Some(event), _) => format!(
                        "event {event} is no dead letter of {name}, and {name} has not stopped at it: see `lamphouse \
                     dead-letters list {name}`"
                    ),
                    (None, stream) => format!(
                        "{name} has no dead letters of stream {}",
                        stream.as_deref().unwrap_or_default()
                    ),
                },
            ));
        }
        Ok(discards)
    }

    fn stopped_at(&self, projection: &Projection, event: EventId) -> Result<Option<Discard>, OperateError> {
        let text = event.to_string();
        let fault = projection.generations.values().find_map(|generation| {
            let fault = generation.fault.as_ref()?;
            (fault.event_id.as_deref() == Some(&text)).then(|| fault.message.clone())
        });
        let Some(message) = fault else { return Ok(None) };
        let stored = self
            .surroundings
            .log
            .event_by_id(event)
            .map_err(|error| OperateError::Unavailable(error.to_string()))?;
        Ok(stored.map(|stored| Discard {
            projection: projection.record.name.clone(),
            event_id: event,
            position: stored.position,
            stream_id: stored.stream_id,
            event_type: stored.event_type,
            reason: String::new(),
            by: String::new(),
            at: 0,
            message,
        }))
    }

    /// Reads again how much is parked.
    pub(super) fn count_letters(&mut self, name: &str) {
        let counts = match self.surroundings.store.letter_counts() {
            Ok(counts) => counts,
            Err(error) => {
                tracing::debug!(projection = %name, %error, "Dead letters cannot be counted now");
                return;
            }
        };
        if let Some(projection) = self.projections.get_mut(name) {
            projection.set_letters(&counts);
        }
    }

    /// Why a generation that is level is not switched to by itself: it has parked what the public one has not.
    pub(super) fn parks_more(&self, name: &str, target: GenerationId) -> Option<Note> {
        let projection = self.projections.get(name)?;
        let candidate = projection.generations.get(&target)?;
        let live = projection.live()?;
        if candidate.parked().events == 0 {
            return None;
        }
        let version = &candidate.record.version;
        match self.surroundings.store.parked_beyond(target, live.record.id) {
            Ok(None) => None,
            Ok(Some((first, events))) => {
                let text = format!(
                    "{version} (generation {target}) is ready, but it has parked what the public one has not: {}; \
                     `lamphouse dead-letters list {name}` says why, and `lamphouse cutover {name}` switches to it all \
                     the same",
                    crate::tables::what_is_parked(&first, events)
                );
                Some(Note::new(NoteKind::Decision, text))
            }
            Err(error) => {
                let text = format!(
                    "{version} (generation {target}) is ready; what it has parked cannot be read now: {error}"
                );
                Some(text.into())
            }
        }
    }

    fn known(&mut self, name: &str) -> Result<&mut Projection, OperateError> {
        self.must_own()?;
        let names: Vec<&str> = self.projections.keys().map(String::as_str).collect();
        let known = if names.is_empty() {
            "there is none yet".to_owned()
        } else {
            names.join(", ")
        };
        self.projections.get_mut(name).ok_or_else(|| {
            OperateError::NotFound(format!("there is no projection '{name}' (known: {known})"))
        })
    }
}

fn busy(projection: &Projection, name: &str) -> Result<(), OperateError> {
    if projection.retry.is_some() || projection.chore == Some("replaying dead letters") {
        return Err(OperateError::Refused(format!(
            "a retry of {name} is under way; ask again when it is over"
        )));
    }
    if projection.chore == Some("cutting over") {
        return Err(OperateError::Refused(format!(
            "{name} is being switched to another generation; ask again when that is over"
        )));
    }
    Ok(())
}

fn away(error: &StoreError) -> OperateError {
    OperateError::Unavailable(error.to_string())
}

fn told(name: &str, replayed: &Replayed, left: LetterCounts) -> String {
    let done = format!("{} of {name} replayed", events(replayed.events));
    match (replayed.failed.len(), left.events) {
        (_, 0) => format!("{done}; nothing is parked any more"),
        (0, left) => format!("{done}; {} still parked", are(left)),
        (failed, left) => format!(
            "{done}; {} still parked: {} at an event that still fails",
            are(left),
            if failed == 1 {
                "1 stream stands".to_owned()
            } else {
                format!("{failed} streams stand")
            }
        ),
    }
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    }
}

fn are(count: u64) -> String {
    match count {
        1 => "1 event is".to_owned(),
        count => format!("{count} events are"),
    }
}
