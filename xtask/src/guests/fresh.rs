//! Whether a guest is as its sources are. Cargo would say so too, but the variants of one project leave one file, so
//! that each build of one makes cargo forget the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

/// Notes what a guest was made of: `how` (compiler, flags, features), and the files in cargo's `.d` file.
pub(super) fn note(notes: &Path, how: &str, dep_info: &Path) -> Result<()> {
    let text =
        std::fs::read_to_string(dep_info).with_context(|| format!("cannot read {}", dep_info.display()))?;
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for file in sources(&text) {
        // Of each crate its manifest too, and those around it: a workspace's, and the lock file.
        for folder in file.ancestors().skip(1) {
            for name in ["Cargo.toml", "Cargo.lock"] {
                files.extend(Some(folder.join(name)).filter(|manifest| manifest.exists()));
            }
        }
        files.insert(file);
    }
    let lines: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    std::fs::write(notes, format!("{how}\n{}\n", lines.join("\n")))
        .with_context(|| format!("cannot write {}", notes.display()))
}

/// Whether `guest` was made in this way, and no file that it was made of has changed since.
pub(super) fn is_fresh(guest: &Path, notes: &Path, how: &str) -> bool {
    let Some(made) = modified(guest) else { return false };
    let Ok(text) = std::fs::read_to_string(notes) else {
        return false;
    };
    let mut lines = text.lines();
    lines.next() == Some(how)
        && lines.all(|file| modified(Path::new(file)).is_some_and(|changed| changed <= made))
}

/// The files behind the colon of a `.d` file; spaces in names are escaped.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let Some((_, files)) = dep_info.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let mut names = vec![String::new()];
    let mut characters = files.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' => names.push(String::new()),
            '\\' => names
                .last_mut()
                .expect("invariant: there is one")
                .extend(characters.next()),
            other => names.last_mut().expect("invariant: there is one").push(other),
        }
    }
    names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect()
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_are_whole() {
        let names = sources("/a/b.wasm: /a/one\\ two.rs /a/three.rs\n");
        assert_eq!(
            names,
            [PathBuf::from("/a/one two.rs"), PathBuf::from("/a/three.rs")]
        );
    }

    #[test]
    fn a_changed_source_or_flag_makes_a_guest_stale() {
        let folder = std::env::temp_dir().join(format!("xtask-fresh-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name);
        std::fs::write(file("lib.rs"), "").unwrap();
        std::fs::write(file("lib.d"), format!("lib.wasm: {}\n", file("lib.rs").display())).unwrap();
        std::fs::write(file("lib.wasm"), "").unwrap();
        note(&file("notes"), "flags", &file("lib.d")).unwrap();
        assert!(is_fresh(&file("lib.wasm"), &file("notes"), "flags"));
        assert!(!is_fresh(&file("lib.wasm"), &file("notes"), "other flags"));
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options()
            .write(true)
            .open(file("lib.rs"))
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(!is_fresh(&file("lib.wasm"), &file("notes"), "flags"));
        std::fs::remove_file(file("lib.rs")).unwrap();
        assert!(!is_fresh(&file("lib.wasm"), &file("notes"), "flags"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
