//! Staging: a plugin file is read, compiled and described off the hot path, before anything is decided about it.
//!
//! A file is staged as soon as it is probably whole, and again once it has settled. If it has the same bytes then, the work
//! is done already: a deploy does not wait first for the file and then for the compiler.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use lamphouse_contract::Subscription;

use super::plan::Candidate;
use crate::core::{Class, PluginDigest};
use crate::plugin::{AnyPlugin, Plugin, PluginError, Sandbox, Upcaster};
use crate::watch::{Fingerprint, Folder, Look};

/// Largest plugin file. Python components are about 20 MB; more than this is a mistake.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A file that was refused is looked at again so often, in case it is still being written slowly.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// A file that was staged ahead and has not settled for so long has gone.
const AHEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// A file to stage.
pub(crate) struct Work {
    name: String,
    path: PathBuf,
    fingerprint: Fingerprint,
    /// Else it is staged ahead, and nobody hears of it.
    is_settled: bool,
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
            let mut ahead = Ahead::new();
            for work in &todo {
                if !work.is_settled && !todo.is_empty() {
                    // Somebody waits for something else, or the file has changed.
                    continue;
                }
                if let Some(staged) = stage(&sandbox, work, &mut ahead) {
                    done(staged);
                }
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

/// What was staged ahead, by the file's name: its bytes, what came of them, and when.
type Ahead = HashMap<String, (Arc<[u8]>, Result<AnyPlugin, String>, Instant)>;

fn stage(sandbox: &Arc<Sandbox>, work: Work, ahead: &mut Ahead) -> Option<Staged> {
    ahead.retain(|_, (_, _, when)| when.elapsed() < AHEAD_TIME_MAX);
    let before = ahead.remove(&work.name);
    let bytes = read(&work);
    if !work.is_settled {
        if let Ok(bytes) = bytes {
            let result = load_timed(sandbox, &work.name, &bytes);
            ahead.insert(work.name, (bytes, result, Instant::now()));
        }
        return None;
    }
    let result = bytes.and_then(|bytes| {
        let plugin = match before {
            Some((same, result, _)) if same == bytes => result?,
            _ => load_timed(sandbox, &work.name, &bytes)?,
        };
        Ok((plugin, bytes))
    });
    Some(Staged {
        name: work.name,
        fingerprint: work.fingerprint,
        result,
    })
}

fn load_timed(sandbox: &Arc<Sandbox>, file: &str, bytes: &[u8]) -> Result<AnyPlugin, String> {
    let began = Instant::now();
    let plugin = load(sandbox, file, bytes).map_err(|(_, why)| why)?;
    tracing::info!(
        file,
        plugin = %plugin.name(),
        version = %plugin.version(),
        digest = %plugin.digest().short(),
        ms = began.elapsed().as_millis() as u64,
        "A plugin file was staged"
    );
    Ok(plugin)
}

fn read(work: &Work) -> Result<Arc<[u8]>, String> {
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
    Ok(std::fs::read(&work.path).map_err(unreadable)?.into())
}

/// Every file of the folder and what is known of it.
#[derive(Clone, Default)]
pub(crate) struct Files {
    files: BTreeMap<String, File>,
    /// The last look saw a file that was still being written, or that it saw for the first time.
    settling: bool,
    /// What is staged ahead.
    quiet: BTreeMap<String, Fingerprint>,
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
    pub(crate) fn see(&mut self, look: &Look, folder: &Folder) -> Vec<Work> {
        // A file that is being written again keeps what it was until it has settled.
        self.files
            .retain(|name, _| look.settled.contains_key(name) || look.settling.contains(name));
        let work = |name: &String, fingerprint: &Fingerprint, is_settled| Work {
            name: name.clone(),
            path: folder.file(name),
            fingerprint: *fingerprint,
            is_settled,
        };
        let mut fresh = Vec::new();
        for (name, fingerprint) in &look.quiet {
            if self.quiet.get(name) != Some(fingerprint) {
                fresh.push(work(name, fingerprint, false));
            }
        }
        for (name, fingerprint) in &look.settled {
            let known = self
                .files
                .get(name)
                .is_some_and(|file| file.fingerprint == *fingerprint);
            if !known {
                let file = File {
                    fingerprint: *fingerprint,
                    state: FileState::Staging,
                    since: Instant::now(),
                };
                self.files.insert(name.clone(), file);
                fresh.push(work(name, fingerprint, true));
            }
        }
        self.settling = !look.settling.is_empty();
        self.quiet.clone_from(&look.quiet);
        fresh
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::limits::PluginLimits;
    use crate::deploy::tests::puppet;

    #[test]
    fn what_was_staged_ahead_counts_if_the_file_settles_with_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("puppet.wasm");
        let sandbox = Sandbox::new(PluginLimits::default(), None).unwrap();
        let mut ahead = Ahead::new();
        let mut staged = |bytes: &[u8], is_settled| {
            std::fs::write(&path, bytes).unwrap();
            let work = Work {
                name: "puppet.wasm".to_owned(),
                path: path.clone(),
                fingerprint: Fingerprint::default(),
                is_settled,
            };
            let staged = stage(&sandbox, work, &mut ahead);
            let first = ahead.get("puppet.wasm").map(|(_, result, _)| result.clone());
            (staged.map(|staged| staged.result), first)
        };
        let version = |result: Result<(AnyPlugin, Arc<[u8]>), String>| result.unwrap().0.version().to_owned();
        let one = puppet(&[("version", "1.0.0")]);
        let two = puppet(&[("version", "2.0.0")]);

        let (nothing, ahead) = staged(&one, false);
        assert!(nothing.is_none(), "nobody hears of what may not be whole");
        let Some(Ok(AnyPlugin::Projector(ahead))) = ahead else {
            panic!("it was not staged ahead");
        };
        let Some(Ok((AnyPlugin::Projector(settled), bytes))) = staged(&one, true).0 else {
            panic!("it was not staged");
        };
        assert!(Arc::ptr_eq(&ahead, &settled), "the same bytes were staged twice");
        assert_eq!(bytes[..], one[..]);

        // It was written again meanwhile.
        staged(&one, false);
        assert_eq!(version(staged(&two, true).0.unwrap()), "2.0.0");
        // It was half of it.
        assert!(staged(&two[..two.len() / 2], false).1.unwrap().is_err());
        assert_eq!(version(staged(&two, true).0.unwrap()), "2.0.0");
        // It is half of it for good.
        staged(&two[..two.len() / 2], false);
        assert!(staged(&two[..two.len() / 2], true).0.unwrap().is_err());
    }
}
