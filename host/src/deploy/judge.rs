//! From the plugin folder to deployments: what is there, what it means, what is begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::concerning;
use super::conductor::Conductor;
use super::fleet::{Generation, Projection};
use super::host::Mode;
use super::operator::FileStatus;
use super::plan::{Candidate, Step, clashes, plan};
use super::stage::FileState;
use crate::core::{GenerationId, PluginDigest, PluginName};
use crate::plugin::{AnyPlugin, Plugin};
use crate::tables::{GenerationState, PluginRecord, ProjectionRecord, StoreError, UpcasterRef};
use crate::upcast::Conflict;

/// The folder is looked at so often even when nobody says that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// While files settle.
pub(super) const LOOK_SOON: Duration = Duration::from_millis(10);

/// What the files of the folder mean together.
pub(super) struct Weighed {
    /// The projectors, with the upcasters that concern them.
    pub(super) candidates: Vec<Candidate>,
    /// Files that are refused, and why.
    pub(super) words: BTreeMap<String, String>,
    /// The upcasters that are wanted.
    pub(super) wanted: Result<Vec<UpcasterRef>, Conflict>,
}

impl Conductor {
    pub(super) fn look(&mut self) {
        if Instant::now() < self.next_look {
            return;
        }
        // Where there is no folder too: until then the conductor sleeps.
        self.next_look = Instant::now() + LOOK_EVERY;
        let Some(folder) = &mut self.folder else {
            self.judged = true;
            return;
        };
        match folder.look() {
            Ok(look) => {
                self.problems.remove("folder");
                if !look.settling.is_empty() {
                    self.next_look = Instant::now() + LOOK_SOON;
                }
                for work in self.files.see(&look, folder) {
                    if let Some(stager) = &self.stager {
                        stager.stage(work);
                    }
                }
                self.judged = false;
                if !look.settling.is_empty() {
                    return;
                }
                let runs = self
                    .projections
                    .values()
                    .any(|projection| !projection.record.removed);
                if look.settled.is_empty() && runs {
                    self.problems.insert(
                        "folder",
                        "the plugin folder is empty, but projections are deployed: that is taken for a mistake and \
                         everything runs on; to retire a projection, remove its file and leave the others"
                            .to_owned(),
                    );
                }
            }
            Err(error) => {
                self.problems
                    .insert("folder", format!("{error}; every projection runs on as it is"));
            }
        }
    }

    /// Decides about every file, once all are staged.
    pub(super) fn judge(&mut self) {
        if self.judged {
            return;
        }
        if self.files.are_staging() {
            self.describe_files(&BTreeMap::new());
            return;
        }
        let Weighed {
            candidates,
            mut words,
            wanted,
        } = self.weigh();
        match wanted {
            Ok(set) => {
                self.problems.remove("upcasters");
                self.wanted_upcasters = Some(set);
                self.candidates.clone_from(&candidates);
                for candidate in &candidates {
                    if !words.contains_key(&candidate.file)
                        && let Err(why) = self.deploy(candidate)
                    {
                        words.insert(candidate.file.clone(), why);
                    }
                }
            }
            Err(conflict) => {
                self.problems.insert(
                    "upcasters",
                    format!("{conflict}; until then nothing is deployed, and everything runs on as it is"),
                );
            }
        }
        self.retire_removed(&candidates);
        self.describe_files(&words);
        self.judged = true;
    }

    /// What the files mean together. Changes nothing.
    pub(super) fn weigh(&mut self) -> Weighed {
        let mut candidates = self.files.candidates();
        let mut deployed: BTreeMap<String, BTreeSet<PluginDigest>> = BTreeMap::new();
        let mut owners = BTreeMap::new();
        for (name, projection) in &self.projections {
            for generation in projection.generations.values() {
                let record = &generation.record;
                if matches!(record.state, GenerationState::Dropped | GenerationState::Failed) {
                    continue;
                }
                if record.state != GenerationState::Retired {
                    deployed.entry(name.clone()).or_default().insert(record.digest);
                    for upcaster in &record.upcasters {
                        let digests = deployed.entry(upcaster.name.to_string()).or_default();
                        digests.insert(upcaster.digest);
                    }
                }
                for table in &record.descriptor.tables {
                    owners.insert(table.name.clone(), name.clone());
                }
            }
        }
        let mut named = candidates.clone();
        named.extend(self.upcaster_candidates());
        let mut words = clashes(&named, &deployed, &owners);
        let wanted = self.choose_upcasters(&words).map(|mut wanted| {
            words.append(&mut wanted.refused);
            for candidate in &mut candidates {
                let subscriptions = self.files.subscriptions(&candidate.file);
                candidate.upcasters = concerning(&wanted, &subscriptions);
            }
            let set = wanted.set.into_iter().map(|choice| choice.upcaster);
            set.collect()
        });
        Weighed {
            candidates,
            words,
            wanted,
        }
    }

    /// A projection whose file is gone stops; its tables stay.
    fn retire_removed(&mut self, candidates: &[Candidate]) {
        if self.problems.contains_key("folder") || self.folder.is_none() {
            return;
        }
        // A file that cannot be staged may be anybody's: nothing is retired while there is one.
        let unknown = self
            .files
            .iter()
            .any(|(_, state)| matches!(state, FileState::Refused(_)));
        for (name, projection) in &mut self.projections {
            let removed = !candidates.iter().any(|candidate| candidate.name == *name);
            if removed == projection.record.removed || (removed && unknown) {
                continue;
            }
            let record = ProjectionRecord {
                removed,
                ..projection.record.clone()
            };
            match self.surroundings.store.save_projection(&record) {
                Ok(()) => {
                    tracing::info!(projection = %name, removed, "The plugin file of a projection was removed or is back");
                    projection.record = record;
                }
                Err(error) => projection.note = format!("its removal cannot be recorded: {error}").into(),
            }
        }
    }

    /// Deploys a candidate; the error says why it is not deployed.
    fn deploy(&mut self, candidate: &Candidate) -> Result<(), String> {
        match self.step(candidate) {
            Step::Nothing => Ok(()),
            Step::Withdraw => {
                self.withdraw(&candidate.name);
                Ok(())
            }
            Step::Held(why) | Step::Refused(why) => Err(why),
            Step::NewGeneration => self.deploy_new(candidate).map_err(|error| {
                self.next_look = Instant::now() + LOOK_EVERY;
                format!(
                    "{} {} cannot be deployed now: {error}",
                    candidate.name, candidate.version
                )
            }),
        }
    }

    /// What is to be done about a candidate.
    pub(super) fn step(&self, candidate: &Candidate) -> Step {
        let replace = self.mode == Mode::Dev;
        match self.projections.get(&candidate.name) {
            Some(projection) => {
                let records: Vec<_> = projection
                    .generations
                    .values()
                    .filter(|generation| !generation.given_up)
                    .map(|generation| &generation.record)
                    .collect();
                plan(candidate, &records, projection.record.held.as_ref(), replace)
            }
            None => Step::NewGeneration,
        }
    }

    /// Gives up what is being built, unless somebody has decided on it.
    fn withdraw(&mut self, name: &str) {
        let Some(projection) = self.projections.get_mut(name) else {
            return;
        };
        let approved = projection.approval.as_ref().map(|approval| approval.target);
        for (id, generation) in &mut projection.generations {
            let on_its_way = matches!(
                generation.record.state,
                GenerationState::Building | GenerationState::Ready | GenerationState::Failed
            );
            if on_its_way && approved != Some(*id) && !generation.given_up {
                generation.given_up = true;
                projection.note.clear();
                tracing::info!(projection = %name, generation = %id, "A generation is given up: what is public is wanted again");
            }
        }
    }

    fn deploy_new(&mut self, candidate: &Candidate) -> Result<(), StoreError> {
        let staged = self.files.iter().find_map(|(name, state)| match state {
            FileState::Staged(AnyPlugin::Projector(plugin), bytes) if *name == candidate.file => {
                Some((plugin.clone(), bytes.clone()))
            }
            _ => None,
        });
        let Some((plugin, bytes)) = staged else {
            return Ok(());
        };
        let name = PluginName::new(&candidate.name).map_err(StoreError::Invalid)?;
        self.surroundings.store.save_plugin(&PluginRecord {
            digest: candidate.digest,
            name: name.clone(),
            version: candidate.version.clone(),
            bytes: bytes.to_vec(),
        })?;
        self.save_upcasters(&candidate.upcasters)?;
        self.new_generation(&name, &plugin, &candidate.upcasters)?;
        Ok(())
    }

    /// Begins a generation by this code; another one on its way is given up.
    pub(super) fn new_generation(
        &mut self,
        name: &PluginName,
        plugin: &Arc<Plugin>,
        upcasters: &[UpcasterRef],
    ) -> Result<GenerationId, StoreError> {
        let store = self.surroundings.store.clone();
        let now = self.clock.now_micros();
        let mut record = match self.projections.get(name.as_str()) {
            Some(projection) => projection.record.clone(),
            None => ProjectionRecord {
                name: name.clone(),
                paused: None,
                held: None,
                removed: false,
            },
        };
        // A rollback's choice ends when something else is deployed.
        record.held = None;
        record.removed = false;
        store.save_projection(&record)?;
        let descriptor = plugin.descriptor();
        let generation = store.create_generation(
            name,
            &plugin.digest(),
            &descriptor.version,
            descriptor,
            upcasters,
            now,
        )?;
        tracing::info!(
            projection = %name, version = %descriptor.version, generation = %generation.id,
            "A new generation is built from the first event"
        );
        let projection = self
            .projections
            .entry(name.to_string())
            .or_insert_with(|| Projection::new(record.clone(), true));
        projection.record = record;
        projection.approval = None;
        projection.note.clear();
        projection.active = true;
        let id = generation.id;
        let mut generation = Generation::new(generation);
        generation.plugin = Some(plugin.clone());
        projection.generations.insert(id, generation);
        self.plugins.insert(plugin.digest(), plugin.clone());
        Ok(id)
    }

    pub(super) fn describe_files(&mut self, words: &BTreeMap<String, String>) {
        let held = |why: &str| why.starts_with("held back");
        self.file_status = self
            .files
            .iter()
            .map(|(name, state)| {
                let mut status = FileStatus {
                    file: name.clone(),
                    kind: None,
                    state: "settling".to_owned(),
                    plugin: None,
                    version: None,
                    digest: None,
                    message: String::new(),
                };
                match state {
                    FileState::Staging => {}
                    FileState::Refused(why) => {
                        status.state = "refused".to_owned();
                        status.message = why.clone();
                    }
                    FileState::Staged(plugin, _) => {
                        status.kind = Some(plugin.kind().to_owned());
                        status.plugin = Some(plugin.name().to_owned());
                        status.version = Some(plugin.version().to_owned());
                        status.digest = Some(plugin.digest().to_string());
                        match words.get(name) {
                            Some(why) => {
                                status.state = if held(why) { "held" } else { "refused" }.to_owned();
                                status.message = why.clone();
                            }
                            None => status.state = "deployed".to_owned(),
                        }
                    }
                }
                status
            })
            .collect();
        for status in &self.file_status {
            if status.state == "refused" {
                tracing::debug!(file = %status.file, why = %status.message, "A plugin file is refused");
            }
        }
    }
}
