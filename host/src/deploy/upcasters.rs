//! The upcasters of the folder and of the generations: which are wanted, and their code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamphouse_contract::UpcasterDescriptor;

use super::choose::{Choice, Known, Wanted, choose};
use super::conductor::Conductor;
use super::host::Mode;
use super::kept::{Kept, kept_bytes};
use super::plan::Candidate;
use super::stage::FileState;
use crate::core::{PluginDigest, PluginName};
use crate::plugin::{PluginError, Upcaster};
use crate::tables::{GenerationState, PluginRecord, StoreError, UpcasterRef};
use crate::upcast::{Conflict, Upcasters};

impl Conductor {
    /// The staged upcasters as candidates for names.
    pub(super) fn upcaster_candidates(&self) -> Vec<Candidate> {
        let files = self.files.upcasters().into_iter();
        files
            .map(|(file, upcaster)| Candidate {
                file,
                digest: upcaster.digest(),
                name: upcaster.descriptor().name.clone(),
                version: upcaster.descriptor().version.clone(),
                tables: Vec::new(),
                upcasters: Vec::new(),
            })
            .collect()
    }

    /// Decides which upcasters are wanted; `words` are the files that are refused already.
    pub(super) fn choose_upcasters(&mut self, words: &BTreeMap<String, String>) -> Result<Wanted, Conflict> {
        let mut claimed = BTreeSet::new();
        let mut candidates = Vec::new();
        for (file, upcaster) in self.files.upcasters() {
            let descriptor = upcaster.descriptor();
            if words.contains_key(&file) {
                claimed.insert(descriptor.name.clone());
                continue;
            }
            // A valid descriptor's name is one.
            let Ok(name) = PluginName::new(&descriptor.name) else {
                continue;
            };
            candidates.push(Choice {
                upcaster: UpcasterRef {
                    name,
                    version: descriptor.version.clone(),
                    digest: upcaster.digest(),
                },
                descriptor: descriptor.clone(),
                file: Some(file),
            });
        }
        let (running, built_with) = self.upcasters_in_use();
        let running: Vec<Choice> = running
            .into_iter()
            .filter_map(|upcaster| {
                let descriptor = self.upcaster_descriptor(&upcaster)?;
                Some(Choice {
                    upcaster,
                    descriptor,
                    file: None,
                })
            })
            .collect();
        let is_unknown = |state: &FileState| matches!(state, FileState::Refused(_));
        let known = Known {
            candidates: &candidates,
            running: &running,
            built_with: &built_with,
            claimed: &claimed,
            folder_is_doubtful: self.problems.contains_key("folder")
                || self.folder.is_none()
                || self.files.iter().any(|(_, state)| is_unknown(state)),
            replace: self.mode == Mode::Dev,
        };
        choose(&known)
    }

    /// The upcasters that run or are being built with, the newest generation's where there are several of a name; and
    /// all that some generation was built with.
    fn upcasters_in_use(&self) -> (Vec<UpcasterRef>, Vec<UpcasterRef>) {
        let mut generations: Vec<_> = self
            .projections
            .values()
            .flat_map(|projection| projection.generations.values())
            .filter(|generation| !generation.given_up && generation.record.state != GenerationState::Dropped)
            .map(|generation| &generation.record)
            .collect();
        generations.sort_by_key(|record| record.id);
        let mut running = BTreeMap::new();
        let mut all = BTreeSet::new();
        for record in generations {
            for upcaster in &record.upcasters {
                if record.state != GenerationState::Failed {
                    all.insert(upcaster.clone());
                }
                if record.state != GenerationState::Retired {
                    running.insert(upcaster.name.clone(), upcaster.clone());
                }
            }
        }
        (running.into_values().collect(), all.into_iter().collect())
    }

    fn upcaster_descriptor(&mut self, upcaster: &UpcasterRef) -> Option<Arc<UpcasterDescriptor>> {
        match self.upcaster(&upcaster.digest) {
            Ok(loaded) => Some(loaded.descriptor().clone()),
            Err(Kept::Later(why) | Kept::Never(why)) => {
                let UpcasterRef { name, version, .. } = upcaster;
                tracing::debug!(%name, %version, %why, "An upcaster that tables were built with cannot be loaded");
                None
            }
        }
    }

    /// An upcaster by its digest: a staged one, else from the bytes that are kept with the tables.
    fn upcaster(&mut self, digest: &PluginDigest) -> Result<Arc<Upcaster>, Kept> {
        if let Some(known) = self.upcasters.get(digest) {
            return Ok(known.clone());
        }
        let staged = self.files.upcasters().into_iter();
        let staged = staged.map(|(_, upcaster)| upcaster);
        let upcaster = match staged.into_iter().find(|upcaster| upcaster.digest() == *digest) {
            Some(staged) => staged,
            None => {
                let record = kept_bytes(&self.surroundings, digest)?;
                let told = |error: PluginError| {
                    Kept::Never(format!(
                        "upcaster {} {} (digest {}) does not run with this host any more: {error}",
                        record.name,
                        record.version,
                        digest.short()
                    ))
                };
                self.sandbox.load_upcaster(&record.bytes).map_err(told)?
            }
        };
        self.upcasters.insert(*digest, upcaster.clone());
        Ok(upcaster)
    }

    /// The code of a generation's set, shared by all generations with the same one; None for the empty set.
    pub(super) fn upcaster_set(&mut self, set: &[UpcasterRef]) -> Result<Option<Arc<Upcasters>>, Kept> {
        if set.is_empty() {
            return Ok(None);
        }
        let digests: Vec<PluginDigest> = set.iter().map(|upcaster| upcaster.digest).collect();
        self.upcaster_sets.retain(|_, set| set.strong_count() > 0);
        if let Some(known) = self
            .upcaster_sets
            .get(&digests)
            .and_then(std::sync::Weak::upgrade)
        {
            return Ok(Some(known));
        }
        let loaded: Result<Vec<_>, _> = digests.iter().map(|digest| self.upcaster(digest)).collect();
        let made = Upcasters::new(loaded?).map_err(|conflict| Kept::Never(conflict.to_string()))?;
        let made = Arc::new(made);
        self.upcaster_sets.insert(digests, Arc::downgrade(&made));
        Ok(Some(made))
    }

    /// Keeps the bytes of a set with the tables, as those of projectors are.
    pub(super) fn save_upcasters(&self, set: &[UpcasterRef]) -> Result<(), StoreError> {
        for upcaster in set {
            // What is not in the folder runs already, so that it is kept.
            if let Some(bytes) = self.files.bytes(&upcaster.digest) {
                self.surroundings.store.save_plugin(&PluginRecord {
                    digest: upcaster.digest,
                    name: upcaster.name.clone(),
                    version: upcaster.version.clone(),
                    bytes: bytes.to_vec(),
                })?;
            }
        }
        Ok(())
    }

    /// Upcasters that one set has and another lacks although nothing else of their name is wanted in its place, as far
    /// as is known: they were removed.
    pub(super) fn removed_upcasters(&self, old: &[UpcasterRef], new: &[UpcasterRef]) -> Vec<String> {
        let is_in = |set: &[UpcasterRef], name: &PluginName| set.iter().any(|other| other.name == *name);
        old.iter()
            .filter(|upcaster| !is_in(new, &upcaster.name))
            .filter(|upcaster| {
                let wanted = self.wanted_upcasters.as_ref();
                !wanted.is_some_and(|wanted| is_in(wanted, &upcaster.name))
            })
            .map(|upcaster| format!("{} {}", upcaster.name, upcaster.version))
            .collect()
    }
}
