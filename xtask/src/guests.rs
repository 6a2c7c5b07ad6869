//! `cargo xtask guests`: builds every plugin of the repository into `target/guests/NAME.wasm`.
//!
//! A guest is a cargo project of its own in `plugins/`, `tests/guests/` or `benches/guests/`. Its `Cargo.toml` may say which files are
//! made of it, and with which features:
//!
//! ```toml
//! [[package.metadata.guest]]
//! file = "order-summary-2.0.0"
//! features = ["countries"]
//! ```
//!
//! Without that, it is one file: `NAME-VERSION.wasm`.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::paths;

mod fresh;
mod toolchain;

pub use toolchain::TARGET;
use toolchain::Toolchain;

/// What is to be built and said.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only guests whose file name begins with one of these; empty is all.
    pub only: Vec<String>,
    /// Say nothing of what is fresh.
    pub quiet: bool,
}

/// One file to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guest {
    /// Its file name without `.wasm`.
    file: String,
    manifest: PathBuf,
    features: Vec<String>,
}

/// Builds the guests. Quick where nothing changed.
///
/// # Errors
/// When a guest does not build, or when there is no way to a Wasm standard library here: says what was tried.
pub fn run(options: &Options) -> Result<()> {
    let output = paths::root().join("target/guests");
    let build = paths::root().join("target/guests-build");
    std::fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    std::fs::create_dir_all(&build).with_context(|| format!("cannot make {}", build.display()))?;
    // Guests of one project leave the same file for cargo, so two of us must not be at it at the same time.
    let lock =
        File::create(build.join(".lock")).context("cannot make the lock file of target/guests-build")?;
    lock.lock().context("cannot lock target/guests-build")?;

    let toolchain = Toolchain::find()?;
    let mut built = 0;
    for guest in guests()? {
        if !options.only.is_empty() && !options.only.iter().any(|only| guest.file.starts_with(only)) {
            continue;
        }
        built += 1;
        let target = output.join(format!("{}.wasm", guest.file));
        let notes = build.join(format!("{}.inputs", guest.file));
        let how = format!("{} {}", toolchain.identity()?, guest.features.join(","));
        let (started, began) = (Instant::now(), SystemTime::now());
        let done = if fresh::is_fresh(&target, &notes, &how) {
            if options.quiet {
                continue;
            }
            "fresh".to_owned()
        } else {
            let artifact = compile(&guest, &toolchain, &build)?;
            copy(&artifact, &target, began)?;
            fresh::note(&notes, &how, &artifact.with_extension("d"))?;
            format!("built in {:.1} s", started.elapsed().as_secs_f64())
        };
        let bytes = std::fs::metadata(&target)
            .with_context(|| format!("cannot read {}", target.display()))?
            .len();
        eprintln!("guest {:<24} {:>5} KiB  {done}", guest.file, bytes.div_ceil(1024));
    }
    if built == 0 {
        bail!("no guest's name begins with {}", options.only.join(" or "));
    }
    Ok(())
}

/// What `lamphouse plugin build` has to find in its environment to build a plugin in Rust here; nothing where rustup has
/// the target.
///
/// # Errors
/// When there is no way to a Wasm standard library here: says what was tried.
pub fn environment() -> Result<Vec<(&'static str, OsString)>> {
    Ok(Toolchain::find()?.environment())
}

/// Every file that the projects in `plugins`, `tests/guests` and `benches/guests` make, by name.
fn guests() -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for folder in ["plugins", "tests/guests", "benches/guests"] {
        let folder = paths::root().join(folder);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let manifest = entry
                .with_context(|| format!("cannot read {}", folder.display()))?
                .path()
                .join("Cargo.toml");
            if manifest.exists() {
                guests.extend(guests_of(&manifest)?);
            }
        }
    }
    guests.sort_by(|left, right| left.file.cmp(&right.file));
    if let Some(pair) = guests.windows(2).find(|pair| pair[0].file == pair[1].file) {
        bail!(
            "{} and {} both make {}.wasm; name one of them in its [[package.metadata.guest]]",
            pair[0].manifest.display(),
            pair[1].manifest.display(),
            pair[0].file
        );
    }
    Ok(guests)
}

fn guests_of(manifest: &Path) -> Result<Vec<Guest>> {
    let answer = Command::new(paths::cargo())
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !answer.status.success() {
        bail!("cargo cannot read {}; see above", manifest.display());
    }
    let metadata: Value = serde_json::from_slice(&answer.stdout).context("cargo metadata gave no JSON")?;
    let package = &metadata["packages"][0];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let wrong = || {
        format!(
            "{}: [[package.metadata.guest]] wants file = \"…\"",
            manifest.display()
        )
    };
    match package["metadata"]["guest"].as_array() {
        None => Ok(vec![Guest {
            file: format!(
                "{}-{}",
                package["name"].as_str().unwrap_or_default(),
                package["version"].as_str().unwrap_or_default()
            ),
            manifest: manifest.to_owned(),
            features: Vec::new(),
        }]),
        Some(files) => files
            .iter()
            .map(|guest| {
                let features = guest["features"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(text);
                Ok(Guest {
                    file: text(&guest["file"]).with_context(wrong)?,
                    manifest: manifest.to_owned(),
                    features: features.collect(),
                })
            })
            .collect(),
    }
}

/// Has cargo build one guest; gives its file.
fn compile(guest: &Guest, toolchain: &Toolchain, build: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(paths::cargo());
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--lib",
            "--target",
            TARGET,
        ])
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&guest.manifest)
        .arg("--features")
        .arg(guest.features.join(","))
        .current_dir(paths::root())
        .env("CARGO_TARGET_DIR", build)
        .stderr(Stdio::inherit());
    toolchain.prepare(&mut cargo);
    let answer = cargo.output().context("cannot run cargo")?;
    if !answer.status.success() {
        bail!(
            "guest {} does not build ({}); see above",
            guest.file,
            guest.manifest.display()
        );
    }
    // One JSON document a line, one for each artifact; the guest is the last, after all that it depends on.
    let mut files = answer.stdout.split(|&byte| byte == b'\n').filter_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let files = message["filenames"].as_array()?;
        files
            .iter()
            .filter_map(Value::as_str)
            .find(|file| file.ends_with(".wasm"))
            .map(PathBuf::from)
    });
    files.next_back().with_context(|| {
        format!(
            "guest {} made no .wasm file; its [lib] needs crate-type = [\"cdylib\"]",
            guest.file
        )
    })
}

/// Whole or not at all: a host may watch the folder. Dated to when the build began, so that a source that changed
/// meanwhile is newer.
fn copy(artifact: &Path, target: &Path, began: SystemTime) -> Result<()> {
    let unfinished = target.with_extension("unfinished");
    let bytes = std::fs::read(artifact).with_context(|| format!("cannot read {}", artifact.display()))?;
    std::fs::write(&unfinished, bytes)
        .and_then(|()| File::options().write(true).open(&unfinished)?.set_modified(began))
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    std::fs::rename(&unfinished, target).with_context(|| format!("cannot write {}", target.display()))
}
