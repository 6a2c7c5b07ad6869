//! JSON Schemas that appended events are held to: one file per event type and schema version, in a folder that is watched.
//!
//! ```text
//! folder ─▶ names, files ─▶ set (compiled once) ─▶ check: every violation of an append
//! ```
//!
//! *Invariants:* a set of files counts whole or not at all: what is wrong with one of them leaves the set that was good
//! before, and is told. At the start there is none before; then the types whose files are wrong are refused, because an
//! event that went in unchecked can never be taken back. Nothing is read but the folder's own files: no network, no other
//! path. Patterns are matched in linear time. Deliberately not here: appends by SQL, which pass no host.

mod check;
mod counted;
mod files;
mod json;
mod name;
mod set;
#[cfg(test)]
mod tests;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

pub use check::{Violation, Violations, with_deep_stack};
pub use name::file_name;
pub use set::{Schema, Set};

use crate::core::limits::UnknownTypes;

/// The folder, and what counts of it.
pub struct Schemas {
    folder: PathBuf,
    unknown: UnknownTypes,
    now: RwLock<Now>,
}

#[derive(Clone)]
struct Now {
    set: Arc<Set>,
    problems: Vec<String>,
}

impl Schemas {
    /// Reads the folder once. One that is not there holds no schemas.
    pub fn load(folder: &Path, unknown: UnknownTypes) -> Self {
        let (set, problems) = read(folder, unknown);
        Self {
            folder: folder.to_owned(),
            unknown,
            now: RwLock::new(Now {
                set: Arc::new(set),
                problems,
            }),
        }
    }

    /// Reads the folder again, from now on whenever something in it has changed and come to rest, on a thread that ends
    /// with the last other holder.
    ///
    /// # Errors
    /// The machine gave no thread.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        watching::start(self)
    }

    /// What counts now.
    pub fn set(&self) -> Arc<Set> {
        self.now.read().set.clone()
    }

    /// What is wrong with the folder, a sentence each: which file, why, and what counts meanwhile.
    pub fn problems(&self) -> Vec<String> {
        self.now.read().problems.clone()
    }

    /// Takes what is in the folder now, if it is all good.
    fn reload(&self) {
        let had_some = !self.set().is_empty();
        if had_some && !self.folder.exists() {
            let folder = self.folder.display();
            self.now.write().problems = vec![format!(
                "the schema folder {folder} is gone; the schemas that it held go on counting: make it again, or start the \
                 host without it"
            )];
            return;
        }
        let (set, mut problems) = read(&self.folder, self.unknown);
        let mut now = self.now.write();
        if problems.is_empty() || !now.set.is_whole() {
            tracing::info!(folder = %self.folder.display(), schemas = set.len(), "The schemas of events were read");
            now.set = Arc::new(set);
        } else {
            for problem in &mut problems {
                problem.push_str("; the schemas that were good before go on counting, all of them");
            }
        }
        for problem in &problems {
            tracing::warn!(%problem, "A schema file cannot be used");
        }
        now.problems = problems;
    }
}

/// What is in the folder, and what is wrong with it.
fn read(folder: &Path, unknown: UnknownTypes) -> (Set, Vec<String>) {
    match files::read(folder) {
        Ok(files) => Set::compile(files, unknown),
        Err(problem) => (Set::unreadable(unknown, problem.clone()), vec![problem]),
    }
}
