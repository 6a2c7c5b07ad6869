//! The plugin folder: which files are there, and which have settled.
//!
//! A file counts only once it has been quiet for a moment, so that a copy in progress and an editor's rename dance are
//! not taken for a new version. The watcher only wakes; what is there is always read from the folder itself.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::Watcher;

/// How long a file must be unchanged. Higher would deploy later; lower would look at more half-written files.
const SETTLE: Duration = Duration::from_millis(120);

/// What a file looked like: enough to see that it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    bytes: u64,
    modified: (i64, i64),
    inode: u64,
}

/// One look at the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Files that have settled, by name.
    pub(crate) settled: BTreeMap<String, Fingerprint>,
    /// Files that are still changing.
    pub(crate) settling: Vec<String>,
}

/// The folder and what was seen of it.
pub(crate) struct Folder {
    path: PathBuf,
    seen: BTreeMap<String, (Fingerprint, Instant)>,
    watcher: Option<notify::RecommendedWatcher>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Folder {
    /// A folder; `wake` is called whenever something may have changed in it.
    pub(crate) fn new(path: &Path, wake: impl Fn() + Send + Sync + Clone + 'static) -> Self {
        let mut folder = Self {
            path: path.to_owned(),
            seen: BTreeMap::new(),
            watcher: None,
            wake: Box::new(wake.clone()),
        };
        folder.watch(wake);
        folder
    }

    fn watch(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        let watcher = notify::recommended_watcher(move |_| wake()).and_then(|mut watcher| {
            watcher
                .watch(&self.path, notify::RecursiveMode::NonRecursive)
                .map(|()| watcher)
        });
        match watcher {
            Ok(watcher) => self.watcher = Some(watcher),
            // The regular look at the folder is enough, only later.
            Err(error) => {
                tracing::debug!(folder = %self.path.display(), %error, "The plugin folder cannot be watched; it is looked at regularly");
            }
        }
    }

    /// Path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Looks at the folder. The error says why it cannot be read.
    pub(crate) fn look(&mut self) -> Result<Look, String> {
        let unreadable = |error: std::io::Error| {
            format!(
                "the plugin folder {} cannot be read: {error}",
                self.path.display()
            )
        };
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') || !(name.ends_with(".wasm") || name.ends_with(".cwasm")) {
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
        self.seen.retain(|name, _| found.contains_key(name));
        let mut look = Look {
            settled: BTreeMap::new(),
            settling: Vec::new(),
        };
        for (name, fingerprint) in found {
            let seen = self.seen.entry(name.clone()).or_insert((fingerprint, now));
            if seen.0 != fingerprint {
                *seen = (fingerprint, now);
            }
            if now.duration_since(seen.1) >= SETTLE {
                look.settled.insert(name, fingerprint);
            } else {
                look.settling.push(name);
            }
        }
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
        let mut folder = Folder::new(dir.path(), || {});
        std::fs::write(dir.path().join("a.wasm"), b"half").unwrap();
        std::fs::write(dir.path().join("notes.txt"), b"no plugin").unwrap();
        assert_eq!(folder.look().unwrap().settling, ["a.wasm"]);
        std::thread::sleep(SETTLE / 2);
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
    fn a_missing_folder_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(&dir.path().join("gone"), || {});
        assert!(folder.look().unwrap_err().contains("gone"));
    }
}
