//! `lamphouse dev`: plugin projects are built again when their sources change, and the result goes into the plugin
//! folder, where the host finds it as it finds any file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, unbounded};
use notify::Watcher;

use super::build::{BuildError, Fingerprint, Project, concerns, put};

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
        /// What the compiler warns of; mostly empty.
        warnings: String,
    },
    /// It failed; the old plugin runs on. Holds what the compiler said.
    Failed(PathBuf, String),
}

/// Watches the projects until `stop` is set, building each once at the start. Blocks; meant for a thread of its own.
///
/// What a build itself writes starts none: one is due when the sources are not what they were when the last one began.
pub fn watch_sources(
    projects: &[Project],
    plugins: &Path,
    stop: &Arc<AtomicBool>,
    mut tell: impl FnMut(BuildEvent),
) {
    let (sender, changes) = unbounded();
    let watchers: Vec<_> = projects
        .iter()
        .enumerate()
        .filter_map(|(number, project)| {
            let (sender, folder) = (sender.clone(), project.folder.clone());
            let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let is_source = event.is_ok_and(|event| {
                    !event.kind.is_access() && event.paths.iter().any(|path| concerns(&folder, path))
                });
                if is_source {
                    // The receiver lives as long as the watchers.
                    let _ = sender.send(number);
                }
            })
            .ok()?;
            watcher
                .watch(&project.folder, notify::RecursiveMode::Recursive)
                .ok()?;
            Some(watcher)
        })
        .collect();
    let mut built: Vec<Option<Fingerprint>> = vec![None; projects.len()];
    let mut changed: BTreeSet<usize> = (0..projects.len()).collect();
    while !stop.load(Ordering::Acquire) {
        for number in std::mem::take(&mut changed) {
            let project = &projects[number];
            let now = Some(Fingerprint::of(&project.folder));
            if built[number] != now {
                built[number] = now;
                build(project, plugins, &mut tell);
            }
        }
        match changes.recv_timeout(LOOK) {
            Ok(number) => changed.insert(number),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        while let Ok(number) = changes.recv_timeout(QUIET) {
            changed.insert(number);
        }
    }
    drop(watchers);
}

fn build(project: &Project, plugins: &Path, tell: &mut impl FnMut(BuildEvent)) {
    tell(BuildEvent::Began(project.folder.clone()));
    let began = Instant::now();
    match build_once(project, plugins) {
        Ok((file, changed, warnings)) => tell(BuildEvent::Built {
            project: project.folder.clone(),
            file,
            changed,
            time: began.elapsed(),
            warnings,
        }),
        Err(why) => tell(BuildEvent::Failed(project.folder.clone(), why.to_string())),
    }
}

fn build_once(project: &Project, plugins: &Path) -> Result<(PathBuf, bool, String), BuildError> {
    let built = project.build(None, &mut |_| {})?;
    let bytes = std::fs::read(&built.file)
        .map_err(|error| BuildError::File(format!("{} cannot be read: {error}", built.file.display())))?;
    let file = plugins.join(format!("{}.wasm", project.name));
    let changed = put(&bytes, &file)?;
    Ok((file, changed, built.warnings))
}
