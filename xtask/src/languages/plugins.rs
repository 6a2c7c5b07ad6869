//! The example plugins in other languages, built as a user builds them: by `lamphouse plugin build`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};

use super::fetched::place;
use super::{Language, run};
use crate::paths;

/// Builds the repository's plugins in this language into `target/guests/NAME.wasm`, where their sources are newer; gives
/// the files.
///
/// # Errors
/// When the language's tools are missing, or a plugin does not build.
pub fn build_plugins(language: Language) -> Result<Vec<PathBuf>> {
    let environment = language.environment()?;
    let folder = paths::root().join("target/guests");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if language == Language::TypeScript && !language.sdk().join("node_modules").is_dir() {
        // The plugins link to it, and a link brings no packages of its own.
        install_packages(&language.sdk())?;
    }
    let mut built = Vec::new();
    for project in language.plugins()? {
        let name = project
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = folder.join(format!("{name}.wasm"));
        let sources = [
            newest(&project),
            newest(&language.sdk()),
            newest(&paths::root().join("wit")),
        ];
        let made = modified(&file);
        if made.is_none() || sources.iter().any(|source| *source >= made) {
            let began = Instant::now();
            run(Command::new(paths::host())
                .args(["plugin", "build"])
                .arg(&project)
                .arg("--output")
                .arg(&file)
                .envs(environment.iter().map(|(name, value)| (name, value))))?;
            eprintln!(
                "plugin {name:<26} built in {:.1} s",
                began.elapsed().as_secs_f64()
            );
        }
        built.push(file);
    }
    Ok(built)
}

/// Installs a Node project's packages.
///
/// # Errors
/// When npm fails.
pub fn install_packages(project: &Path) -> Result<()> {
    let (_, _lock) = place("npm")?;
    run(Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
        .current_dir(project))
}

/// When the newest of a project's own files was changed; not those that a build makes.
fn newest(folder: &Path) -> Option<SystemTime> {
    const MADE: [&str; 5] = ["build", "node_modules", ".venv", "__pycache__", "target"];
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if MADE.contains(&&*name) || name.starts_with('.') || name.ends_with(".egg-info") {
                return None;
            }
            match entry.file_type().ok()?.is_dir() {
                true => newest(&entry.path()),
                false => modified(&entry.path()),
            }
        })
        .max()
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}
