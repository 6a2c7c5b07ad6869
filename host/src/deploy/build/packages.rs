//! Packages that a project installs for itself, below its own folder.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::BuildError;

/// A folder of packages, and the files that say what belongs into it.
pub(super) struct Packages<'a> {
    /// `node_modules`, `.venv`.
    pub(super) folder: PathBuf,
    /// Names of files in the project.
    pub(super) lists: &'a [&'static str],
    pub(super) root: &'a Path,
}

impl Packages<'_> {
    /// Whether they are not there, were not all installed, or the lists have changed since we installed them. A folder
    /// that somebody else filled is theirs to keep right.
    pub(super) fn are_due(&self) -> bool {
        match std::fs::read_to_string(self.mark()) {
            Ok(mark) => mark != self.wanted(),
            Err(_) => !self.folder.is_dir(),
        }
    }

    /// Has them installed, and remembers that it went well.
    pub(super) fn install<T>(
        &self,
        install: impl FnOnce() -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        self.note("under way")?;
        let installed = install()?;
        self.note(&self.wanted())?;
        Ok(installed)
    }

    fn note(&self, what: &str) -> Result<(), BuildError> {
        super::make_folder(&self.folder)?;
        let mark = self.mark();
        std::fs::write(&mark, what)
            .map_err(|error| BuildError::File(format!("{} cannot be written: {error}", mark.display())))
    }

    fn mark(&self) -> PathBuf {
        self.folder.join(".lamphouse")
    }

    fn wanted(&self) -> String {
        let mut hasher = Sha256::new();
        for list in self.lists {
            // One that is not there counts as empty.
            let text = std::fs::read(self.root.join(list)).unwrap_or_default();
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(&text);
        }
        HEXLOWER.encode(&hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_when_they_have_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let packages = Packages {
            folder: folder.path().join("node_modules"),
            lists: &["package.json"],
            root: folder.path(),
        };
        let list = |text: &str| std::fs::write(folder.path().join("package.json"), text).expect("written");
        list("{}");
        assert!(packages.are_due());
        let failed = packages.install(|| Err::<(), _>(BuildError::Tool("no net".into())));
        assert!(
            failed.is_err() && packages.are_due(),
            "what failed is tried again"
        );
        packages.install(|| Ok(())).expect("installed");
        assert!(!packages.are_due());
        list(r#"{"dependencies":{}}"#);
        assert!(packages.are_due());
        std::fs::remove_file(packages.mark()).expect("removed");
        assert!(!packages.are_due(), "somebody else's");
    }
}
