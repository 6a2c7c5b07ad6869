//! A folder that somebody puts files into: which are there, and which have settled.
//!
//! A file counts only once it has been quiet for a moment, so that a copy in progress and an editor's rename dance are
//! not taken for a new version. The watcher only wakes; what is there is always read from the folder itself.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, Watcher};

/// How long a file must be unchanged. Higher would deploy later; lower would look at more half-written files.
const SETTLE: Duration = Duration::from_millis(120);
/// After how long a file that is unchanged is probably whole. Lower would look at more half-written files, in vain.
const QUIET: Duration = Duration::from_millis(30);
/// A file that is met at the start, and was last changed longer ago than this, needs no watching. Clocks of file servers
/// may differ by a little; where they differ by more, a half-written file is refused, and taken when it is whole.
const SETTLED_BEFORE_START: Duration = Duration::from_secs(2);

/// What a file looked like: enough to see that it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    bytes: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Fingerprint {
    fn is_older_than(&self, age: Duration) -> bool {
        let (seconds, nanos) = self.modified;
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
            return false;
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        // A time in the future is no age.
        modified.elapsed().is_ok_and(|elapsed| elapsed > age)
    }
}

/// One look at the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Files that have settled, by name.
    pub(crate) settled: BTreeMap<String, Fingerprint>,
    /// Files that are still changing.
    pub(crate) settling: Vec<String>,
    /// Those of them that are probably whole.
    pub(crate) quiet: BTreeMap<String, Fingerprint>,
}

/// What a file was when it was seen last, and since when it has been so.
struct Seen {
    fingerprint: Fingerprint,
    /// None: since before the host started.
    since: Option<Instant>,
}

impl Seen {
    /// Whether it has been so for this time.
    fn is_the_same_for(&self, time: Duration, now: Instant) -> bool {
        self.since.is_none_or(|since| now.duration_since(since) >= time)
    }
}

/// Whether something was read, and nothing written.
fn is_only_a_look(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// The folder and what was seen of it.
pub(crate) struct Folder {
    path: PathBuf,
    /// What it is called in messages.
    what: &'static str,
    /// How the names of the files that count end.
    endings: &'static [&'static str],
    /// None before the first look.
    seen: Option<BTreeMap<String, Seen>>,
    watcher: Option<notify::RecommendedWatcher>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Folder {
    /// A folder of files whose names have these endings; `wake` is called where it is to be looked at again soon.
    pub(crate) fn new(
        path: &Path,
        what: &'static str,
        endings: &'static [&'static str],
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            path: path.to_owned(),
            what,
            endings,
            seen: None,
            watcher: None,
            wake: Arc::new(wake),
        }
    }

    /// The same folder, which also wakes whenever something may have changed in it.
    pub(crate) fn watched(mut self) -> Self {
        let wake = self.wake.clone();
        let told = move |event: notify::Result<Event>| match event {
            // A look at the folder is such an event: each would lead to the next.
            Ok(event) if is_only_a_look(event.kind) => {}
            _ => wake(),
        };
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher
                .watch(&self.path, notify::RecursiveMode::NonRecursive)
                .map(|()| watcher)
        });
        match watcher {
            Ok(watcher) => self.watcher = Some(watcher),
            // The regular look at the folder is enough, only later.
            Err(error) => {
                tracing::debug!(folder = %self.path.display(), %error, "The {} cannot be watched; it is looked at regularly", self.what);
            }
        }
        self
    }

    /// Path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Looks at the folder. The error says why it cannot be read.
    pub(crate) fn look(&mut self) -> Result<Look, String> {
        let unreadable = |error: std::io::Error| {
            format!(
                "the {} {} cannot be read: {error}",
                self.what,
                self.path.display()
            )
        };
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') || !self.endings.iter().any(|ending| name.ends_with(ending)) {
                continue;
            }
            // A file that vanished between the two calls is simply not there.
            let Ok(metadata) = std::fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_file() {
                let fingerprint = Fingerprint {
                    bytes: metadata.len(),
                    modified: (metadata.mtime(), metadata.mtime_nsec()),
                    inode: metadata.ino(),
                };
                found.insert(name, fingerprint);
            }
        }
        let now = Instant::now();
        let mut look = Look {
            settled: BTreeMap::new(),
            settling: Vec::new(),
            quiet: BTreeMap::new(),
        };
        let before = self.seen.take();
        let mut seen = BTreeMap::new();
        for (name, fingerprint) in found {
            let same = before
                .as_ref()
                .and_then(|before| before.get(&name))
                .filter(|file| file.fingerprint == fingerprint);
            let since = match same {
                Some(file) => file.since,
                None if before.is_none() && fingerprint.is_older_than(SETTLED_BEFORE_START) => None,
                None => Some(now),
            };
            let file = Seen { fingerprint, since };
            if file.is_the_same_for(SETTLE, now) {
                look.settled.insert(name.clone(), fingerprint);
            } else {
                look.settling.push(name.clone());
                if file.is_the_same_for(QUIET, now) {
                    look.quiet.insert(name.clone(), fingerprint);
                }
            }
            seen.insert(name, file);
        }
        self.seen = Some(seen);
        if !look.settling.is_empty() {
            (self.wake)();
        }
        Ok(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_it_has_been_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(dir.path(), "plugin folder", &[".wasm"], || {});
        std::fs::write(dir.path().join("a.wasm"), b"half").unwrap();
        std::fs::write(dir.path().join("notes.txt"), b"no plugin").unwrap();
        let look = folder.look().unwrap();
        assert_eq!((look.settling, look.quiet.len()), (vec!["a.wasm".to_owned()], 0));
        std::thread::sleep(SETTLE / 2);
        let look = folder.look().unwrap();
        assert_eq!((look.settling.len(), look.quiet.len()), (1, 1));
        std::fs::write(dir.path().join("a.wasm"), b"half and more").unwrap();
        assert_eq!(folder.look().unwrap().settling, ["a.wasm"]);
        std::thread::sleep(SETTLE / 2 + Duration::from_millis(20));
        assert_eq!(
            folder.look().unwrap().settling,
            ["a.wasm"],
            "the second write began the wait anew"
        );
        std::thread::sleep(SETTLE);
        let look = folder.look().unwrap();
        assert_eq!(look.settled.keys().collect::<Vec<_>>(), ["a.wasm"]);
    }

    #[test]
    fn a_look_wakes_nobody_and_a_written_file_does() {
        let dir = tempfile::tempdir().unwrap();
        let (wake, woken) = crossbeam_channel::unbounded();
        let mut folder = Folder::new(dir.path(), "plugin folder", &[".wasm"], move || {
            let _ = wake.send(());
        })
        .watched();
        for _ in 0..3 {
            folder.look().unwrap();
        }
        assert!(
            woken.recv_timeout(Duration::from_millis(200)).is_err(),
            "looking leads to looking"
        );
        std::fs::write(dir.path().join("a.wasm"), b"new").unwrap();
        assert!(woken.recv_timeout(Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn an_old_file_needs_no_watching_at_the_start_and_does_later() {
        let dir = tempfile::tempdir().unwrap();
        let write_old = |name: &str| {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - 2 * SETTLED_BEFORE_START)
                .unwrap();
        };
        write_old("old.wasm");
        std::fs::write(dir.path().join("new.wasm"), b"half").unwrap();
        let mut folder = Folder::new(dir.path(), "plugin folder", &[".wasm"], || {});
        let look = folder.look().unwrap();
        assert_eq!(look.settled.keys().collect::<Vec<_>>(), ["old.wasm"]);
        assert_eq!(look.settling, ["new.wasm"]);
        // A tool may give a file an old time before it is whole.
        write_old("late.wasm");
        assert!(folder.look().unwrap().settling.contains(&"late.wasm".to_owned()));
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(&dir.path().join("gone"), "plugin folder", &[".wasm"], || {});
        assert!(folder.look().unwrap_err().contains("gone"));
    }
}
