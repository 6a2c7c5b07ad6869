//! A project folder, and `lamphouse` run in it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask::paths;
use xtask::postgres::{self, Server};

use super::machine::wait_until_quiet;
use super::probe;

/// Longest wait for a host to be level with a log of a million events.
const LEVEL_WAIT_MAX: Duration = Duration::from_secs(600);

/// Which database.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    Sqlite,
    Postgres(&'a Server),
}

/// A server of one's own; None where none is installed.
pub(super) fn start_postgres() -> Result<Option<Server>> {
    if postgres::binaries().is_none() {
        return Ok(None);
    }
    Server::start().map(Some)
}

impl On<'_> {
    /// As it is called in rows.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// As it is called in names of files.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The URL of a new database: a file beside `lamphouse.toml`, or one on the server.
    pub(super) fn database(&self, name: &str) -> Result<String> {
        match self {
            Self::Sqlite => Ok(format!("sqlite:{name}.db")),
            Self::Postgres(server) => server.new_database(name),
        }
    }

    /// The same as the probes want it: `sqlite:` with the whole path.
    pub(super) fn url(&self, project: &Path, database: &str) -> Result<String> {
        match database.strip_prefix("sqlite:") {
            Some(file) => Ok(format!("sqlite:{}", path(&project.join(file))?)),
            None => Ok(database.to_owned()),
        }
    }

    /// Has done what others left to be done, so that nobody else pays for it.
    pub(super) fn settle(&self, log: &str) -> Result<()> {
        Command::new("sync").status().context("cannot run sync")?;
        if matches!(self, Self::Postgres(_)) {
            probe::ask(&["execute", "--database", log, "--sql", "CHECKPOINT"])?;
        }
        wait_until_quiet();
        Ok(())
    }

    /// Removes a database that [`Self::database`] made.
    pub(super) fn forget(&self, project: &Path, name: &str) -> Result<()> {
        if let Self::Postgres(server) = self {
            return server.drop_database(name);
        }
        for end in ["", "-wal", "-shm"] {
            // Most of them are not there.
            let _ = std::fs::remove_file(project.join(format!("{name}.db{end}")));
        }
        Ok(())
    }
}

pub(super) fn configure(project: &Path, log: &str, tables: &str, settings: &str) -> Result<()> {
    let text = format!("[log]\nurl = \"{log}\"\n[tables]\nurl = \"{tables}\"\n{settings}");
    std::fs::write(project.join("lamphouse.toml"), text).context("cannot write lamphouse.toml")
}

/// Seconds of these commands, which must leave another public generation at the head than there was.
pub(super) fn timed(project: &Path, events: u64, commands: &[&[&str]]) -> Result<f64> {
    let before = live(project)?;
    let began = Instant::now();
    for arguments in commands {
        lamphouse(project, arguments)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = live(project)?;
    ensure!(
        after != before && after.is_some_and(|(_, checkpoint)| checkpoint == events),
        "nothing was built: {before:?}, then {after:?}"
    );
    Ok(seconds)
}

pub(super) fn command(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(paths::host());
    command
        .arg("--project")
        .arg(project)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

pub(super) fn lamphouse(project: &Path, arguments: &[&str]) -> Result<()> {
    let output = command(project, arguments)
        .stderr(Stdio::piped())
        .output()
        .context("cannot run lamphouse")?;
    if !output.status.success() {
        bail!(
            "`lamphouse {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

pub(super) fn status(project: &Path) -> Result<Value> {
    let output = command(project, &["status", "--json"])
        .stdout(Stdio::piped())
        .output();
    let output = output.context("cannot run lamphouse")?;
    serde_json::from_slice(&output.stdout).context("`lamphouse status` gave no JSON")
}

pub(super) fn head(project: &Path) -> Result<u64> {
    status(project)?["log"]["head"]
        .as_u64()
        .context("the status has no head")
}

/// The public generation and its checkpoint; None before the first.
pub(super) fn live(project: &Path) -> Result<Option<(i64, u64)>> {
    let status = status(project)?;
    let live = &status["projections"][0]["live"];
    Ok(live["generation"].as_i64().zip(live["checkpoint"].as_u64()))
}

pub(super) fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not text", path.display()))
}

/// Puts a guest into the plugin folder, under the name of its projection.
pub(super) fn install(project: &Path, guest: &str, projection: &str) -> Result<()> {
    let target = project.join("plugins").join(format!("{projection}.wasm"));
    std::fs::copy(paths::guest(guest)?, &target)
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(())
}

/// Seconds and peak memory, in MiB, of one command.
pub(super) fn watched(project: &Path, arguments: &[&str]) -> Result<(f64, f64)> {
    let began = Instant::now();
    let mut host = command(project, arguments)
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run lamphouse")?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(high_water_kib(host.id()).unwrap_or(0));
        if let Some(status) = host.try_wait().context("cannot wait for lamphouse")? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let seconds = began.elapsed().as_secs_f64();
    ensure!(
        status.success() && peak_kib > 0,
        "`lamphouse {}` failed; its messages are above",
        arguments.join(" ")
    );
    Ok((seconds, peak_kib as f64 / 1_024.0))
}

/// The kernel's own high-water mark of a process.
fn high_water_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Settings of a host that is served, on a port that was free a moment ago.
pub(super) fn listening() -> Result<String> {
    Ok(format!(
        "[host]\nlisten = \"127.0.0.1:{}\"\n",
        postgres::free_port()?
    ))
}

/// `lamphouse serve`; told to end when dropped.
pub(super) struct Serving(Child);

impl Serving {
    /// Starts it and waits until every projection is live and level with the log.
    pub(super) fn start(project: &Path) -> Result<Self> {
        let log = File::create(project.join("serve.log")).context("cannot make serve.log")?;
        let mut serve = command(project, &["serve"]);
        serve.stdout(log.try_clone()?).stderr(log);
        let mut serving = Self(serve.spawn().context("cannot run lamphouse")?);
        let began = Instant::now();
        loop {
            let status = status(project)?;
            if status["host"]["pid"] == serving.0.id() && is_level(&status) {
                return Ok(serving);
            }
            if let Some(ended) = serving.0.try_wait().context("cannot wait for lamphouse")? {
                bail!(
                    "`lamphouse serve` ended with {ended}; see {}",
                    project.join("serve.log").display()
                );
            }
            ensure!(
                began.elapsed() < LEVEL_WAIT_MAX,
                "the host was not level within {LEVEL_WAIT_MAX:?}: {status:#}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        if !told.is_ok_and(|status| status.success()) {
            // It has ended by itself, or there is no `kill`.
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// Whether there are projections, each with a public generation at the head and none being built.
pub(super) fn is_level(status: &Value) -> bool {
    let level = |one: &Value| {
        let others = one["others"].as_array();
        let building = others.is_some_and(|others| {
            others
                .iter()
                .any(|other| matches!(other["state"].as_str(), Some("building" | "ready")))
        });
        !building && !one["live"].is_null() && one["live"]["checkpoint"] == status["log"]["head"]
    };
    let projections = status["projections"].as_array();
    projections.is_some_and(|all| !all.is_empty() && all.iter().all(level))
}
