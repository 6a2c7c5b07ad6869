//! `lamphouse dev`: plugin projects are built again when their sources change, and the result goes into the plugin
//! folder, where the host finds it as it finds any file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, unbounded};
use notify::Watcher;

/// How long sources must be quiet before a build.
const QUIET: Duration = Duration::from_millis(150);
/// How often the thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);

/// What happens while sources are watched.
#[derive(Clone, Debug)]
pub enum BuildEvent {
    /// A build began.
    Began(PathBuf),
    /// It succeeded; the plugin file was put in the folder, unless it is the same as before.
    Built {
        /// The project.
        project: PathBuf,
        /// The plugin file.
        file: PathBuf,
        /// Whether it changed.
        changed: bool,
        /// How long it took.
        time: Duration,
    },
    /// It failed; the old plugin runs on. Holds what the compiler said.
    Failed(PathBuf, String),
}

/// Watches the projects until `stop` is set, building each once at the start. Blocks; meant for a thread of its own.
///
/// A project is a folder with a `Cargo.toml` whose library is a `cdylib`.
pub fn watch_sources(
    projects: &[PathBuf],
    plugins: &Path,
    build_folder: &Path,
    stop: &Arc<AtomicBool>,
    mut tell: impl FnMut(BuildEvent),
) {
    let (sender, changes) = unbounded();
    let watchers: Vec<_> = projects
        .iter()
        .enumerate()
        .filter_map(|(number, project)| {
            let sender = sender.clone();
            let own_target = project.join("target");
            let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let concerns = event.is_ok_and(|event| {
                    !event.kind.is_access()
                        && event
                            .paths
                            .iter()
                            .any(|path| !path.starts_with(&own_target) && !is_hidden(path))
                });
                if concerns {
                    // The receiver lives as long as the watchers.
                    let _ = sender.send(number);
                }
            })
            .ok()?;
            watcher.watch(project, notify::RecursiveMode::Recursive).ok()?;
            Some(watcher)
        })
        .collect();
    for project in projects {
        build(project, plugins, build_folder, &mut tell);
    }
    while !stop.load(Ordering::Acquire) {
        let first = match changes.recv_timeout(LOOK) {
            Ok(number) => number,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut changed = std::collections::BTreeSet::from([first]);
        while let Ok(number) = changes.recv_timeout(QUIET) {
            changed.insert(number);
        }
        for number in changed {
            build(&projects[number], plugins, build_folder, &mut tell);
        }
    }
    drop(watchers);
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn build(project: &Path, plugins: &Path, build_folder: &Path, tell: &mut impl FnMut(BuildEvent)) {
    tell(BuildEvent::Began(project.to_owned()));
    let began = Instant::now();
    match build_once(project, plugins, build_folder) {
        Ok((file, changed)) => tell(BuildEvent::Built {
            project: project.to_owned(),
            file,
            changed,
            time: began.elapsed(),
        }),
        Err(why) => tell(BuildEvent::Failed(project.to_owned(), why)),
    }
}

fn build_once(project: &Path, plugins: &Path, build_folder: &Path) -> Result<(PathBuf, bool), String> {
    let output = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-unknown-unknown",
            "--message-format=json-render-diagnostics",
        ])
        .env("CARGO_TARGET_DIR", build_folder)
        .current_dir(project)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            format!("cargo cannot be run: {error}; install Rust, or build the plugin yourself")
        })?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let artifact = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .rfind(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .ok_or("the build made no .wasm file: the library needs `crate-type = [\"cdylib\"]`")?;
    let name = project
        .file_name()
        .map_or("plugin".into(), |name| name.to_string_lossy().into_owned());
    let target = plugins.join(format!("{name}.wasm"));
    let said = |error: std::io::Error| format!("{} cannot be written: {error}", target.display());
    let bytes = std::fs::read(&artifact).map_err(said)?;
    if std::fs::read(&target).is_ok_and(|old| old == bytes) {
        return Ok((target, false));
    }
    // Renamed into place, so that the host never sees half a file.
    let half = plugins.join(format!(".{name}.wasm.new"));
    std::fs::write(&half, &bytes).map_err(said)?;
    std::fs::rename(&half, &target).map_err(said)?;
    Ok((target, true))
}
