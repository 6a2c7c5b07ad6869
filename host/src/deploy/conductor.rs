//! The one thread that decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::address::{Address, Places};
use super::chores::Done;
use super::fleet::{Generation, Projection};
use super::host::Mode;
use super::judge::LOOK_SOON;
use super::operator::{FileStatus, OperateError, Outcome, Verb};
use super::plan::Candidate;
use super::published::Published;
use super::stage::{Files, Staged, Stager};
use super::view::View;
use crate::config::Config;
use crate::core::clock::Clock;
use crate::core::{GenerationId, PluginDigest};
use crate::plugin::{Plugin, Sandbox, Upcaster};
use crate::projection::{RunnerEvent, Surroundings};
use crate::tables::{GenerationState, Ownership, StoreError, UpcasterRef};
use crate::upcast::Upcasters;
use crate::watch::Folder;

/// Ownership is checked so often.
const OWNERSHIP_EVERY: Duration = Duration::from_secs(1);
/// A standby asks so often.
const STANDBY_EVERY: Duration = Duration::from_millis(300);

/// The answer to a verb.
pub(crate) type Answer = Result<Outcome, OperateError>;

/// Hands an answer to who asked.
pub(crate) type Reply = Box<dyn FnOnce() + Send>;

/// What others tell the conductor.
pub(crate) enum Message {
    Look,
    Staged(Staged),
    Operate {
        projection: String,
        verb: Verb,
        reply: Sender<Answer>,
    },
    /// Work on the conductor's thread; what it gives is called when the view shows what came of it.
    Ask(Box<dyn FnOnce(&mut Conductor) -> Reply + Send>),
    Chore(String, Done),
    Announce(Places),
    Stop,
}

pub(crate) struct Conductor {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) clock: Clock,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) surroundings: Surroundings,
    pub(crate) messages: Receiver<Message>,
    pub(crate) to_self: Sender<Message>,
    pub(crate) runner_events: Receiver<RunnerEvent>,
    pub(crate) ownership: Option<Box<dyn Ownership>>,
    pub(crate) address: Address,
    pub(crate) folder: Option<Folder>,
    pub(crate) files: Files,
    pub(crate) stager: Option<Stager>,
    pub(crate) plugins: HashMap<PluginDigest, Arc<Plugin>>,
    /// Upcasters by digest, as far as they are loaded.
    pub(crate) upcasters: HashMap<PluginDigest, Arc<Upcaster>>,
    /// Sets that some runner holds, by their digests.
    pub(crate) upcaster_sets: HashMap<Vec<PluginDigest>, Weak<Upcasters>>,
    /// What the folder asks for; None until it has been judged.
    pub(crate) wanted_upcasters: Option<Vec<UpcasterRef>>,
    /// The projectors of the folder with the upcasters that concern them, as they were last judged.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) projections: BTreeMap<String, Projection>,
    /// Threads that do long work for a projection.
    pub(crate) chores: Vec<JoinHandle<()>>,
    pub(crate) file_status: Vec<FileStatus>,
    pub(crate) problems: BTreeMap<&'static str, String>,
    /// Answers to be given once the view shows what they are about.
    pub(crate) answers: Vec<(Sender<Answer>, Answer)>,
    /// The same, of [`Message::Ask`].
    pub(crate) replies: Vec<Reply>,
    pub(crate) loaded: bool,
    /// Every file of the folder has been looked at and judged.
    pub(crate) judged: bool,
    pub(crate) next_look: Instant,
    pub(crate) next_ownership: Instant,
    /// Whether what is stored and every file that was in the folder have been taken in, once.
    pub(crate) settled: bool,
    pub(crate) published: Arc<Published>,
}

impl Conductor {
    pub(crate) fn run(mut self) {
        let mut stopping = false;
        while !stopping {
            let wait = self
                .next_look
                .saturating_duration_since(Instant::now())
                .min(Duration::from_millis(50));
            let (messages, events) = (self.messages.clone(), self.runner_events.clone());
            select! {
                recv(messages) -> message => match message {
                    Ok(Message::Stop) | Err(_) => stopping = true,
                    Ok(message) => self.message(message),
                },
                recv(events) -> event => if let Ok(event) = event { self.runner(event) },
                default(wait) => {}
            }
            if !stopping {
                self.tick();
                self.publish();
                // Who asks for the status after the answer must not see it as it was before.
                for (reply, answer) in self.answers.drain(..) {
                    // Who asked may have given up.
                    let _ = reply.send(answer);
                }
                self.replies.drain(..).for_each(|reply| reply());
            }
        }
        self.stop_everything();
        self.wait_for_chores();
        self.publish();
        self.ownership = None;
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Look => self.next_look = self.next_look.min(Instant::now() + LOOK_SOON),
            Message::Staged(staged) => {
                if self.files.staged(staged) {
                    self.judged = false;
                }
            }
            Message::Operate {
                projection,
                verb,
                reply,
            } => {
                let verb = match verb {
                    Verb::RetryDeadLetters {
                        stream_id,
                        accept_reorder,
                    } => return self.retry(&projection, stream_id, accept_reorder, reply),
                    verb => verb,
                };
                let answer = self.operate(&projection, verb);
                self.answers.push((reply, answer));
            }
            Message::Ask(work) => {
                let reply = work(self);
                self.replies.push(reply);
            }
            Message::Chore(projection, done) => self.chore_done(&projection, done),
            Message::Announce(places) => {
                self.address.set(places);
                self.record_address();
            }
            Message::Stop => {}
        }
    }

    fn tick(&mut self) {
        if !self.owns() {
            return;
        }
        if !self.loaded {
            match self.load() {
                Ok(()) => self.loaded = true,
                Err(error) => {
                    self.problems
                        .insert("tables", format!("the tables database cannot be read: {error}"));
                    return;
                }
            }
            self.problems.remove("tables");
        }
        self.look();
        self.judge();
        let names: Vec<String> = self.projections.keys().cloned().collect();
        for name in names {
            self.advance(&name);
        }
        let live = self
            .projections
            .values()
            .flat_map(|projection| projection.generations.values())
            .filter(|generation| {
                generation.record.state == GenerationState::Live && generation.runner.is_some()
            })
            .count();
        self.surroundings.live.store(live, Ordering::Relaxed);
    }

    /// Whether this host is the owner; becomes it when it can.
    fn owns(&mut self) -> bool {
        if Instant::now() < self.next_ownership {
            return self.ownership.is_some();
        }
        if let Some(ownership) = &mut self.ownership {
            self.next_ownership = Instant::now() + OWNERSHIP_EVERY;
            if ownership.is_held() {
                self.record_address();
                return true;
            }
            tracing::warn!(
                "The ownership of the tables database was lost; every projection is stopped until it is back"
            );
            self.ownership = None;
            self.loaded = false;
            self.stop_everything();
            self.projections.clear();
        }
        self.next_ownership = Instant::now() + STANDBY_EVERY;
        match self.surroundings.store.try_own() {
            Ok(Some(ownership)) => {
                self.ownership = Some(ownership);
                self.problems.remove("owner");
                self.address.forget();
                self.record_address();
                tracing::info!("This host owns the tables database");
            }
            Ok(None) => {
                let owner = self.surroundings.store.owner_address().ok().flatten();
                let who = owner.map_or("another host".to_owned(), |address| {
                    format!("the host at {address}")
                });
                self.problems.insert(
                    "owner",
                    format!("{who} owns the tables database; this one stands by"),
                );
            }
            Err(error) => {
                self.problems
                    .insert("owner", format!("the tables database cannot be owned: {error}"));
            }
        }
        self.ownership.is_some()
    }

    /// Records where this host answers, unless that is done. Whoever finds it there asks for the status at once, which
    /// must not be that of a host which nobody can reach yet.
    fn record_address(&mut self) {
        if self.address.is_to_be_recorded() && self.ownership.is_some() {
            self.publish();
        }
        if let Some(ownership) = &mut self.ownership {
            self.address.record(&mut **ownership, &mut self.problems);
        }
    }

    /// Reads what is stored, and sets everything up to go on from there.
    fn load(&mut self) -> Result<(), StoreError> {
        let store = self.surroundings.store.clone();
        // Before anything is written.
        store.keep_changes(self.config.changes_rows_max)?;
        let active = self.mode != Mode::Command;
        let records = store.projections()?;
        let generations = store.generations()?;
        let letters = store.letter_counts()?;
        self.projections = records
            .into_iter()
            .map(|record| (record.name.to_string(), Projection::new(record, active)))
            .collect();
        for mut record in generations {
            if record.state == GenerationState::Failed {
                // What made it fail may be gone; it fails again, or not.
                store.set_state(record.id, GenerationState::Building, None)?;
                record.state = GenerationState::Building;
                record.error = None;
            }
            if let Some(projection) = self.projections.get_mut(record.projection.as_str()) {
                projection.generations.insert(record.id, Generation::new(record));
            }
        }
        for projection in self.projections.values_mut() {
            projection.set_letters(&letters);
        }
        Ok(())
    }

    /// Reads the records of one projection again, after a step that changed them.
    pub(super) fn reload(&mut self, name: &str) -> Result<(), StoreError> {
        let store = &self.surroundings.store;
        let record = store
            .projections()?
            .into_iter()
            .find(|record| record.name.as_str() == name);
        let generations = store.generations()?;
        let Some(projection) = self.projections.get_mut(name) else {
            return Ok(());
        };
        if let Some(record) = record {
            projection.record = record;
        }
        let mut known: BTreeSet<GenerationId> = projection.generations.keys().copied().collect();
        for record in generations
            .into_iter()
            .filter(|record| record.projection.as_str() == name)
        {
            known.remove(&record.id);
            match projection.generations.get_mut(&record.id) {
                Some(generation) => generation.record = record,
                None => {
                    projection.generations.insert(record.id, Generation::new(record));
                }
            }
        }
        for gone in known {
            if let Some(generation) = projection.generations.get_mut(&gone) {
                generation.record.state = GenerationState::Dropped;
                generation.tell_to_stop();
            }
        }
        projection.generations.retain(|_, generation| {
            generation.record.state != GenerationState::Dropped || generation.runner.is_some()
        });
        Ok(())
    }

    pub(super) fn stop_everything(&mut self) {
        for projection in self.projections.values_mut() {
            for generation in projection.generations.values_mut() {
                generation.tell_to_stop();
            }
        }
        for projection in self.projections.values_mut() {
            for generation in projection.generations.values_mut() {
                // Dropping the last handle waits for the threads.
                generation.ended();
            }
        }
    }

    fn publish(&mut self) {
        self.surroundings.meters.beat();
        let is_settling = self.file_status.iter().any(|file| file.state == "settling");
        let knows_folder = self.folder.is_none() || self.wanted_upcasters.is_some();
        self.settled |= self.loaded && self.judged && knows_folder && !is_settling;
        self.published.set(View::of(self));
    }
}
