//! Staging: a plugin file is read, compiled and described off the hot path, before anything is decided about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use lamphouse_contract::Subscription;

use super::plan::Candidate;
use crate::core::{Class, PluginDigest};
use crate::plugin::{AnyPlugin, Plugin, PluginError, Sandbox, Upcaster};
use crate::watch::Fingerprint;

/// Largest plugin file. Python components are about 20 MB; more than this is a mistake.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A file that was refused is looked at again so often, in case it is still being written slowly.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// A file to stage.
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) fingerprint: Fingerprint,
}

/// What came of it.
pub(crate) struct Staged {
    pub(crate) name: String,
    pub(crate) fingerprint: Fingerprint,
    /// The plugin and its bytes, or why the file is refused.
    pub(crate) result: Result<(AnyPlugin, Arc<[u8]>), String>,
}

/// The thread that stages, one file at a time, so that a folder of large plugins does not take all cores.
pub(crate) struct Stager {
    work: Option<Sender<Work>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stager {
    /// Starts the thread; `done` gets each outcome.
    pub(crate) fn start(
        sandbox: Arc<Sandbox>,
        done: impl Fn(Staged) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, todo): (Sender<Work>, Receiver<Work>) = unbounded();
        let builder = std::thread::Builder::new().name("stage".to_owned());
        let thread = builder.spawn(move || {
            for work in todo {
                let result = stage(&sandbox, &work);
                done(Staged {
                    name: work.name,
                    fingerprint: work.fingerprint,
                    result,
                });
            }
        })?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
        })
    }

    /// Stages a file.
    pub(crate) fn stage(&self, work: Work) {
        if let Some(sender) = &self.work {
            // The thread ends only after this sender is gone.
            let _ = sender.send(work);
        }
    }
}

impl Drop for Stager {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a file's bytes are; the error says why no host runs them.
pub(crate) fn load(sandbox: &Arc<Sandbox>, file: &str, bytes: &[u8]) -> Result<AnyPlugin, (Class, String)> {
    let refused = |error: PluginError| (error.class(), format!("{file}: {error}"));
    sandbox.load(bytes).map_err(refused)
}

fn stage(sandbox: &Arc<Sandbox>, work: &Work) -> Result<(AnyPlugin, Arc<[u8]>), String> {
    if work.name.ends_with(".cwasm") {
        return Err(format!(
            "{}: precompiled code is refused, since loading it is unsafe: put the .wasm file here instead",
            work.name
        ));
    }
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", work.name);
    let length = std::fs::metadata(&work.path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!(
            "{} has {length} bytes; a plugin may have {FILE_BYTES_MAX}",
            work.name
        ));
    }
    let bytes: Arc<[u8]> = std::fs::read(&work.path).map_err(unreadable)?.into();
    let began = Instant::now();
    let plugin = load(sandbox, &work.name, &bytes).map_err(|(_, why)| why)?;
    tracing::info!(
        file = %work.name,
        plugin = %plugin.name(),
        version = %plugin.version(),
        digest = %plugin.digest().short(),
        ms = began.elapsed().as_millis() as u64,
        "A plugin file was staged"
    );
    Ok((plugin, bytes))
}

/// Every file of the folder and what is known of it.
#[derive(Clone, Default)]
pub(crate) struct Files {
    files: BTreeMap<String, File>,
    /// The last look saw a file that was still being written, or that it saw for the first time.
    settling: bool,
}

#[derive(Clone)]
struct File {
    fingerprint: Fingerprint,
    state: FileState,
    since: Instant,
}

/// Where a file is on its way.
#[derive(Clone)]
pub(crate) enum FileState {
    /// With the stager.
    Staging,
    /// Staged.
    Staged(AnyPlugin, Arc<[u8]>),
    /// Not a plugin that can run; says why.
    Refused(String),
}

impl Files {
    /// Takes in a look at the folder; gives what is to be staged.
    pub(crate) fn see(
        &mut self,
        settled: &BTreeMap<String, Fingerprint>,
        settling: &[String],
    ) -> Vec<String> {
        self.settling = !settling.is_empty();
        // A file that is being written again keeps what it was until it has settled.
        self.files
            .retain(|name, _| settled.contains_key(name) || settling.contains(name));
        let mut fresh = Vec::new();
        for (name, fingerprint) in settled {
            let known = self
                .files
                .get(name)
                .is_some_and(|file| file.fingerprint == *fingerprint);
            if !known {
                let state = FileState::Staging;
                self.files.insert(
                    name.clone(),
                    File {
                        fingerprint: *fingerprint,
                        state,
                        since: Instant::now(),
                    },
                );
                fresh.push(name.clone());
            }
        }
        fresh
    }

    /// The fingerprint of a known file.
    pub(crate) fn fingerprint(&self, name: &str) -> Option<Fingerprint> {
        self.files.get(name).map(|file| file.fingerprint)
    }

    /// Takes in what the stager found, unless the file has changed since. Gives whether it was taken.
    pub(crate) fn staged(&mut self, staged: Staged) -> bool {
        match self.files.get_mut(&staged.name) {
            Some(file) if file.fingerprint == staged.fingerprint => {
                file.state = match staged.result {
                    Ok((plugin, bytes)) => FileState::Staged(plugin, bytes),
                    Err(why) => FileState::Refused(why),
                };
                file.since = Instant::now();
                true
            }
            _ => false,
        }
    }

    /// Whether some file is not judged yet.
    pub(crate) fn are_staging(&self) -> bool {
        // At the start every file is still settling: to judge then would take them all for removed.
        self.settling
            || self.files.values().any(|file| match file.state {
                FileState::Staging => true,
                FileState::Staged(..) => false,
                FileState::Refused(_) => file.since.elapsed() < SECOND_LOOK,
            })
    }

    /// How it would be with this plugin in this file.
    pub(crate) fn with(&self, name: &str, plugin: AnyPlugin, bytes: Arc<[u8]>) -> Self {
        let mut files = self.clone();
        let file = File {
            fingerprint: Fingerprint::default(),
            state: FileState::Staged(plugin, bytes),
            since: Instant::now(),
        };
        files.files.insert(name.to_owned(), file);
        files
    }

    /// A file was put in place and will be seen: until then, nothing is decided.
    pub(crate) fn expect(&mut self, name: &str) {
        let file = File {
            fingerprint: Fingerprint::default(),
            state: FileState::Staging,
            since: Instant::now(),
        };
        self.files.insert(name.to_owned(), file);
    }

    /// A file was removed.
    pub(crate) fn forget(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// Where a file is on its way; None where there is none.
    pub(crate) fn state(&self, name: &str) -> Option<&FileState> {
        self.files.get(name).map(|file| &file.state)
    }

    /// All files in order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &FileState)> {
        self.files.iter().map(|(name, file)| (name, &file.state))
    }

    /// The staged projectors, as candidates, without the upcasters that concern them.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        self.iter()
            .filter_map(|(name, state)| match state {
                FileState::Staged(AnyPlugin::Projector(plugin), _) => Some(candidate(name, plugin)),
                _ => None,
            })
            .collect()
    }

    /// The staged upcasters, each with its file.
    pub(crate) fn upcasters(&self) -> Vec<(String, Arc<Upcaster>)> {
        self.iter()
            .filter_map(|(name, state)| match state {
                FileState::Staged(AnyPlugin::Upcaster(upcaster), _) => Some((name.clone(), upcaster.clone())),
                _ => None,
            })
            .collect()
    }

    /// What a staged projector subscribes to.
    pub(crate) fn subscriptions(&self, file: &str) -> Vec<Subscription> {
        match self.files.get(file).map(|file| &file.state) {
            Some(FileState::Staged(AnyPlugin::Projector(plugin), _)) => {
                plugin.descriptor().subscriptions.clone()
            }
            _ => Vec::new(),
        }
    }

    /// The bytes of a staged file.
    pub(crate) fn bytes(&self, digest: &PluginDigest) -> Option<Arc<[u8]>> {
        self.iter().find_map(|(_, state)| match state {
            FileState::Staged(plugin, bytes) if plugin.digest() == *digest => Some(bytes.clone()),
            _ => None,
        })
    }
}

fn candidate(file: &str, plugin: &Plugin) -> Candidate {
    let descriptor = plugin.descriptor();
    Candidate {
        file: file.to_owned(),
        digest: plugin.digest(),
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        tables: descriptor.tables.iter().map(|table| table.name.clone()).collect(),
        upcasters: Vec::new(),
    }
}
