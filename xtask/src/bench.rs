//! `cargo xtask bench rebuild`: how fast tables are rebuilt, against a naive native projector, in one table.

mod memory;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use xtask::postgres::{self, Server};
use xtask::{generate, guests, paths};

use report::{Measured, Way};

/// Events that the naive projector is given: it is too slow for more.
const NAIVE_EVENTS: usize = 100_000;

#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Rebuild order-summary on SQLite and PostgreSQL, against a naive native projector
    Rebuild(Rebuild),
}

#[derive(clap::Args)]
pub(crate) struct Rebuild {
    /// Runs of each; the medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// The log, as JSON Lines compressed with zstd [default: the real shop's beside the repository, else a generated one]
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Also the peak memory of the host on a log of 5,000,000 generated events whose tables do not fit the cache
    #[arg(long)]
    memory: bool,
}

/// Where to rebuild.
enum On<'a> {
    Sqlite,
    Postgres(&'a Server),
}

pub(crate) fn run(Bench::Rebuild(arguments): &Bench) -> Result<bool> {
    build()?;
    let folder = std::env::temp_dir().join(format!("lamphouse-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let done = measure(arguments, &folder);
    // The figures are what counts; a folder that cannot be removed is only untidy.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

fn build() -> Result<()> {
    paths::build_host()?;
    guests::run(&guests::Options {
        only: vec!["order-summary".to_owned()],
        quiet: true,
    })?;
    let mut naive = Command::new(paths::cargo());
    naive
        .args(["build", "--quiet", "--bin", "naive-projector"])
        .current_dir(paths::root());
    ensure!(
        naive.status().context("cannot run cargo")?.success(),
        "the naive projector does not build"
    );
    Ok(())
}

fn measure(arguments: &Rebuild, folder: &Path) -> Result<bool> {
    let (file, source) = match (&arguments.events, paths::real_data("online_retail.jsonl.zst")) {
        (Some(file), _) => (file.clone(), file.display().to_string()),
        (None, Some(real)) => (real, "Online Retail".to_owned()),
        (None, None) => {
            let file = folder.join("generated.jsonl.zst");
            generate::write_file(
                generate::Plan {
                    events: 567_806,
                    seed: 7,
                },
                &file,
            )?;
            (file, "a generated log (the real one is absent)".to_owned())
        }
    };
    let server = start_postgres()?;
    let mut measured = Measured::new(source);
    let mut places = vec![("SQLite", On::Sqlite)];
    if let Some(server) = &server {
        places.push(("PostgreSQL", On::Postgres(server)));
    } else {
        println!("NOTE: no PostgreSQL server binaries are installed; its column is left out");
    }
    for (name, place) in &places {
        let project = folder.join(name);
        std::fs::create_dir_all(project.join("plugins"))?;
        let log = place.database("log")?;
        configure(&project, &log, &place.database("first")?, "")?;
        lamphouse(&project, &["import", path(&file)?])?;
        std::fs::copy(
            paths::guest("order-summary-1.0.0")?,
            project.join("plugins/order-summary.wasm"),
        )?;
        let events = head(&project)?;
        // Compiles the plugin, once for all runs.
        lamphouse(&project, &["catch-up"])?;
        for run in 0..arguments.runs {
            // One after the other, so that a noisy minute hits all.
            configure(&project, &log, &place.database(&format!("run_{run}"))?, "")?;
            let seconds = timed(&project, events, &[&["catch-up"]])?;
            measured.add(name, Way::FromEmpty, events as f64 / seconds);
            // Without a host, the first command may do a part of the work or all of it: both are timed.
            let seconds = timed(&project, events, &[&["rebuild", "order-summary"], &["catch-up"]])?;
            measured.add(name, Way::BesideLive, events as f64 / seconds);
            measured.add(name, Way::Naive, naive(place, folder, &file, run)?);
        }
    }
    measured.print();
    if arguments.memory {
        memory::measure(folder)?;
    }
    Ok(measured.good())
}

fn start_postgres() -> Result<Option<Server>> {
    if postgres::binaries().is_none() {
        return Ok(None);
    }
    Server::start().map(Some)
}

impl On<'_> {
    /// The URL of a new database: a file beside `lamphouse.toml`, or one on the server.
    fn database(&self, name: &str) -> Result<String> {
        match self {
            Self::Sqlite => Ok(format!("sqlite:{name}.db")),
            Self::Postgres(server) => server.new_database(name),
        }
    }
}

fn configure(project: &Path, log: &str, tables: &str, settings: &str) -> Result<()> {
    let text = format!("[log]\nurl = \"{log}\"\n[tables]\nurl = \"{tables}\"\n{settings}");
    std::fs::write(project.join("lamphouse.toml"), text).context("cannot write lamphouse.toml")
}

/// Seconds of these commands, which must leave another public generation at the head than there was.
fn timed(project: &Path, events: u64, commands: &[&[&str]]) -> Result<f64> {
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

fn command(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(paths::host());
    command
        .arg("--project")
        .arg(project)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn lamphouse(project: &Path, arguments: &[&str]) -> Result<()> {
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

fn status(project: &Path) -> Result<serde_json::Value> {
    let output = command(project, &["status", "--json"])
        .stdout(Stdio::piped())
        .output();
    let output = output.context("cannot run lamphouse")?;
    serde_json::from_slice(&output.stdout).context("`lamphouse status` gave no JSON")
}

fn head(project: &Path) -> Result<u64> {
    status(project)?["log"]["head"]
        .as_u64()
        .context("the status has no head")
}

/// The public generation and its checkpoint; None before the first.
fn live(project: &Path) -> Result<Option<(i64, u64)>> {
    let status = status(project)?;
    let live = &status["projections"][0]["live"];
    Ok(live["generation"].as_i64().zip(live["checkpoint"].as_u64()))
}

/// Events a second of the naive projector.
fn naive(place: &On<'_>, folder: &Path, events: &Path, run: u64) -> Result<f64> {
    let database = match place {
        On::Sqlite => path(&folder.join(format!("naive-{run}.db")))?.to_owned(),
        On::Postgres(server) => server.new_database(&format!("naive_{run}"))?,
    };
    let output = Command::new(paths::profile_dir().join("naive-projector"))
        .args([
            "--database",
            &database,
            "--events",
            path(events)?,
            "--limit",
            &NAIVE_EVENTS.to_string(),
        ])
        .output()
        .context("cannot run the naive projector")?;
    ensure!(
        output.status.success(),
        "the naive projector failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("the naive projector gave no JSON")?;
    let number = |name: &str| {
        said[name]
            .as_f64()
            .with_context(|| format!("the naive projector gave no {name}"))
    };
    Ok(number("events")? / number("seconds")?)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not text", path.display()))
}
