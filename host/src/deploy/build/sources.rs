//! Which files of a project are its sources, and whether they are still the same.

use std::ffi::OsStr;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Folders at a project's top that builds fill.
const MADE_AT_TOP: [&str; 3] = ["build", "target", "cases"];
/// Folders anywhere that tools fill.
const MADE: [&str; 2] = ["node_modules", "__pycache__"];
/// Files that builds write beside the sources.
const LOCKS: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];
/// A larger file counts by its size and time.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a project's sources were at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of all sources as they are now. What cannot be read does not count: a build will say so.
    pub fn of(project: &Path) -> Self {
        let mut hasher = Sha256::new();
        add(project, project, &mut hasher);
        Self(HEXLOWER.encode(&hasher.finalize()))
    }

    /// As it was kept by [`Fingerprint::keep`].
    pub fn kept(file: &Path) -> Option<Self> {
        std::fs::read_to_string(file).ok().map(Self)
    }

    /// Keeps it for the next time; where it cannot be kept, the next time builds once more.
    pub fn keep(&self, file: &Path) {
        let _ = std::fs::write(file, &self.0);
    }
}

/// Whether a path in the project may be a source.
pub fn concerns(project: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(project) else {
        return false;
    };
    let mut names = inside.iter().map(OsStr::to_string_lossy).peekable();
    if names.peek().is_some_and(|first| MADE_AT_TOP.contains(&&**first)) {
        return false;
    }
    let is_made = |name: &str| name.starts_with('.') || MADE.contains(&name) || name.ends_with(".egg-info");
    if names.any(|name| is_made(&name)) {
        return false;
    }
    let last = inside.file_name().unwrap_or_default().to_string_lossy();
    !LOCKS.contains(&&*last) && !last.ends_with(".md")
}

fn add(project: &Path, folder: &Path, hasher: &mut Sha256) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| concerns(project, path)) {
        // A link to a folder is not followed: it may lead anywhere, also in circles.
        let Ok(about) = path.symlink_metadata() else {
            continue;
        };
        if about.is_dir() {
            add(project, &path, hasher);
            continue;
        }
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        let content = match about.is_file() && about.len() <= FILE_BYTES_MAX {
            true => std::fs::read(&path).unwrap_or_default(),
            false => format!("{:?} {}", about.modified().ok(), about.len()).into_bytes(),
        };
        hasher.update((content.len() as u64).to_le_bytes());
        hasher.update(&content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_count() {
        let project = Path::new("/p");
        for path in [
            "src/plugin.ts",
            "plugin.py",
            "src/build/x.rs",
            "lamphouse/sdk.go",
            "Cargo.toml",
        ] {
            assert!(concerns(project, &project.join(path)), "{path}");
        }
        for path in [
            "build/p.wasm",
            "target/release/x",
            "node_modules/a/b.js",
            "x/__pycache__/y.pyc",
            ".venv/bin/python",
            ".git/HEAD",
            "src/.lib.rs.swp",
            "Cargo.lock",
            "package-lock.json",
            "README.md",
            "p.egg-info/PKG-INFO",
            "cases/orders.yaml",
        ] {
            assert!(!concerns(project, &project.join(path)), "{path}");
        }
        assert!(!concerns(project, Path::new("/elsewhere/x.rs")));
    }

    #[test]
    fn a_fingerprint_follows_contents() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        };
        let now = || Fingerprint::of(folder.path());
        write("src/lib.rs", "one");
        let first = now();
        write("src/lib.rs", "one");
        write("build/x.wasm", "x");
        write("Cargo.lock", "x");
        assert_eq!(now(), first);
        write("src/lib.rs", "two");
        assert_ne!(now(), first);
        write("src/lib.rs", "one");
        assert_eq!(now(), first);
        write("src/more.rs", "");
        assert_ne!(now(), first);
        let kept = folder.path().join("build/.inputs");
        first.keep(&kept);
        assert_eq!(Fingerprint::kept(&kept), Some(first));
    }
}
