//! `promtool`, which holds the alert rules to Prometheus' own grammar: this machine's, else taken out of Debian's package
//! without installing it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::languages::run;
use crate::paths;

/// The tool.
///
/// # Errors
/// When there is none, and none can be fetched.
pub fn find() -> Result<PathBuf> {
    let works = |tool: &PathBuf| {
        let output = Command::new(tool).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let installed = PathBuf::from("promtool");
    if works(&installed) {
        return Ok(installed);
    }
    let folder = paths::root().join("target/promtool");
    let unpacked = folder.join("usr/bin/promtool");
    if works(&unpacked) {
        return Ok(unpacked);
    }
    std::fs::create_dir_all(&folder)?;
    // Tests that need it run side by side; the first one fetches it for all.
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    if works(&unpacked) {
        return Ok(unpacked);
    }
    let download = || {
        run(Command::new("apt-get")
            .args(["download", "-q", "prometheus"])
            .current_dir(&folder))
    };
    // A machine that was just made knows no packages.
    if download().is_err() {
        run(Command::new("apt-get").args(["update", "-q"]))?;
        download()?;
    }
    let package = std::fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    ensure!(package.is_some(), "apt-get downloaded no package");
    run(Command::new("dpkg-deb").arg("-x").args(package).arg(&folder))?;
    ensure!(
        works(&unpacked),
        "Debian's package has no promtool that runs here"
    );
    Ok(unpacked)
}
