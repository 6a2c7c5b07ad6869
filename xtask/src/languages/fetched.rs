//! What tests need from package registries beside crates, fetched once into `target/languages`.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Language, install_packages, needs, run};
use crate::{paths, promtool};

/// Begins to fetch what tests will ask for, beside whatever else goes on: a registry that is slow then costs nothing
/// while everything compiles. What cannot be fetched is told by the test that needs it.
pub fn fetch_ahead() {
    std::thread::spawn(|| {
        let _ = asyncapi_schema();
        let _ = install_packages(&Language::TypeScript.sdk());
        let _ = python_tools();
        let _ = Language::C.environment();
        let _ = promtool::find();
    });
}

/// A folder for one thing that is fetched, and the lock on it: tests that need it run side by side, and the first one
/// fetches it for all.
pub(super) fn place(name: &str) -> Result<(PathBuf, File)> {
    let all = paths::root().join("target/languages");
    std::fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
    let lock = File::create(all.join(format!("{name}.lock")))?;
    lock.lock()?;
    Ok((all.join(name), lock))
}

/// The JSON Schema of AsyncAPI 3.0, from npm.
///
/// # Errors
/// When there is no npm, or it fails.
pub fn asyncapi_schema() -> Result<PathBuf> {
    needs("npm", "npm, which comes with Node.js")?;
    let (folder, _lock) = place("asyncapi")?;
    let file = folder.join("node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json");
    if !file.exists() {
        std::fs::create_dir_all(&folder)?;
        run(Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .arg("@asyncapi/specs@6.8.1"))?;
    }
    Ok(file)
}

/// The Python that the SDK's formatter, checks and tests run in.
///
/// # Errors
/// As [`venv`].
pub fn python_tools() -> Result<PathBuf> {
    needs("python3", "Python 3.11 or later, with its venv module")?;
    let wanted = Language::Python.sdk().join("requirements-dev.txt");
    let text =
        std::fs::read_to_string(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let packages: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    venv("python", &packages)
}

/// A Python environment below `target/languages` with these packages; gives its interpreter. Quick where it is there.
///
/// # Errors
/// When it cannot be made, or pip fails.
pub fn venv(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let (folder, _lock) = place(name)?;
    let python = folder.join("bin/python");
    let done = folder.join("packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))?;
    Ok(python)
}
