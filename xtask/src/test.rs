//! `cargo xtask test`: every test of the workspace and of the plugins, with a PostgreSQL of its own.

mod languages;
mod outcome;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use xtask::postgres::{self, Server};
use xtask::{guests, paths};

use outcome::Outcome;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The full kill, switch and fuzz counts
    #[arg(long)]
    long: bool,
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Runs everything; false when a test failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.filter.is_none() {
        xtask::languages::fetch_ahead();
    }
    guests::run(&guests::Options::default())?;
    paths::build_host()?;
    let (server, why_not) = server()?;
    let mut outcome = Outcome::default();
    if let Some(why) = why_not {
        outcome.note(&format!(
            "PostgreSQL is not there, so no test runs on it: {why:#}"
        ));
    }
    let mut settings: Vec<(&str, String)> = Vec::new();
    if let Some(server) = &server {
        settings.push(("LAMPHOUSE_TEST_POSTGRES", server.url()));
    }
    if arguments.long {
        settings.push(("LAMPHOUSE_TEST_LONG", "1".to_owned()));
    }
    if in_ci() {
        settings.push(("LAMPHOUSE_TEST_STRICT", "1".to_owned()));
    }
    if paths::real_data("online_retail.jsonl.zst").is_none() {
        outcome.note("../shared/data is absent, so nothing is checked against the real shop's log");
    }
    let mut runs = vec![vec!["--workspace".to_owned()]];
    for plugin in plugins()? {
        let manifest = plugin.join("Cargo.toml").display().to_string();
        let target = paths::target_dir().join("plugins").display().to_string();
        runs.push(vec![
            "--manifest-path".to_owned(),
            manifest,
            "--target-dir".to_owned(),
            target,
        ]);
    }
    for what in runs {
        cargo_test(&what, arguments.filter.as_deref(), &settings, &mut outcome)?;
    }
    drop(server);
    if arguments.filter.is_none() {
        languages::run(in_ci(), &mut outcome)?;
    }
    outcome.print();
    Ok(outcome.good())
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// A server of our own, unless the caller names one; or why there is none (which is an error in CI).
fn server() -> Result<(Option<Server>, Option<anyhow::Error>)> {
    if std::env::var_os("LAMPHOUSE_TEST_POSTGRES").is_some() {
        return Ok((None, None));
    }
    let started = if postgres::binaries().is_some() {
        Server::start()
    } else {
        eprintln!("PostgreSQL's server binaries are missing; installing them with apt");
        postgres::install().and_then(|()| Server::start())
    };
    match started {
        Ok(server) => Ok((Some(server), None)),
        Err(why) if in_ci() => Err(why.context("in CI nothing is skipped")),
        Err(why) => Ok((None, Some(why))),
    }
}

/// The plugins with tests of their own: projects outside the workspace.
fn plugins() -> Result<Vec<PathBuf>> {
    let folder = paths::root().join("plugins");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path: &PathBuf| path.join("Cargo.toml").exists())
        .collect();
    found.sort();
    Ok(found)
}

fn cargo_test(
    what: &[String],
    filter: Option<&str>,
    settings: &[(&str, String)],
    outcome: &mut Outcome,
) -> Result<()> {
    let mut command = Command::new(paths::cargo());
    command
        .arg("test")
        .args(what)
        .args(["--no-fail-fast", "--"])
        .args(filter)
        .arg("--show-output");
    command.envs(settings.iter().map(|(name, value)| (*name, value.as_str())));
    command.current_dir(working_folder(what)).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot run cargo")?;
    let out = child.stdout.take().context("cargo's output cannot be read")?;
    for line in BufReader::new(out).split(b'\n') {
        let line = line.context("cargo's output cannot be read")?;
        if let Some(shown) = outcome.take(&String::from_utf8_lossy(&line)) {
            println!("{shown}");
        }
    }
    let status = child.wait().context("cargo cannot be waited for")?;
    outcome.end_of_run(status.success());
    Ok(())
}

/// A plugin's tests run in its own folder, so that its own cargo settings hold.
fn working_folder(what: &[String]) -> &Path {
    match what {
        [flag, manifest, ..] if flag == "--manifest-path" => {
            Path::new(manifest).parent().unwrap_or(paths::root())
        }
        _ => paths::root(),
    }
}
