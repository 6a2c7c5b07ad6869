//! Where things are in the repository and in `target`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The repository's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("invariant: xtask is in the repository's root")
}

/// The target folder: beside the profile folder that holds the running executable.
///
/// Test executables are in `target/PROFILE/deps`, binaries in `target/PROFILE`.
pub fn profile_dir() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    let folder = executable.parent().unwrap_or(Path::new(".")).to_path_buf();
    match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().map(Path::to_path_buf).unwrap_or(folder),
        _ => folder,
    }
}

/// `target`, wherever this build keeps it.
pub fn target_dir() -> PathBuf {
    profile_dir()
        .parent()
        .map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// A guest that `cargo xtask guests` left, for example `order-summary-1.0.0`.
///
/// # Errors
/// When it has not been built; says how to build it.
pub fn guest(name: &str) -> Result<PathBuf> {
    for target in [target_dir(), root().join("target")] {
        let file = target.join("guests").join(format!("{name}.wasm"));
        if file.exists() {
            return Ok(file);
        }
    }
    bail!("there is no target/guests/{name}.wasm; run `cargo xtask guests` first")
}

/// Real data that lies beside the repository on some machines: `../shared/data/NAME`. None where it is absent.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let file = root().join("../shared/data").join(name);
    file.exists().then_some(file)
}

/// The host's binary in the profile of the running executable, built first (quick when it is fresh).
///
/// # Errors
/// When cargo cannot build it.
pub fn build_host() -> Result<PathBuf> {
    build("lamphouse")
}

/// A binary of the workspace in the profile of the running executable, built first (quick when it is fresh).
///
/// # Errors
/// When cargo cannot build it.
pub fn build(binary: &str) -> Result<PathBuf> {
    // No `--package`: one set of features for the whole workspace, so that nothing compiles twice.
    let status = Command::new(cargo())
        .args(["build", "--bin", binary])
        .args(is_release().then_some("--release"))
        .args(quiet_for_machines())
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo build --bin {binary}` failed; its output is above");
    }
    Ok(profile_dir().join(format!("{binary}{}", std::env::consts::EXE_SUFFIX)))
}

/// Whether the running executable was built with `--release`; what it builds is then too.
pub fn is_release() -> bool {
    profile_dir().ends_with("release")
}

/// A person sees cargo's progress, for the first build takes minutes; a log is spared a line for each crate.
fn quiet_for_machines() -> Option<&'static str> {
    (!std::io::stderr().is_terminal()).then_some("--quiet")
}

/// The library that keeps what a loss of power would leave (`tests/power-loss`), built first (quick when it is fresh).
///
/// # Errors
/// When cargo cannot build it.
pub fn build_power_loss() -> Result<PathBuf> {
    let status = Command::new(cargo())
        .args(["build", "--quiet", "--package", "lamphouse-power-loss"])
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo build --package lamphouse-power-loss` failed; its output is above");
    }
    Ok(profile_dir().join("libpower_loss.so"))
}

/// Where the host's binary is; it may not have been built.
pub fn host() -> PathBuf {
    profile_dir().join(format!("lamphouse{}", std::env::consts::EXE_SUFFIX))
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
