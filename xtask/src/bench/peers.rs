//! What people use instead, on the same log: each peer from its registry, with a small program of ours in
//! `benches/peers`, installed below `target/peers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask::paths;
use xtask::postgres::Server;

use super::project::{On, path};
use super::rebuilds::Rebuilds;
use super::report::Report;
use super::stage::Stage;
use super::workload::{Kind, plain_head_of};
use super::{Options, probe};

/// Events for the peers: they are too slow for more.
const EVENTS: u64 = 10_000;
/// The row that peers are compared with.
const OURS: &str = "retail: PostgreSQL rebuild";

/// One peer, installed.
struct Peer {
    /// Its row.
    row: &'static str,
    /// The row of its ratio.
    ratio: Option<&'static str>,
    run: Run,
}

/// How its program is called.
enum Run {
    /// With the batch size; 0 is Emmett's own.
    Emmett(PathBuf, &'static str),
    Eventsourcing(PathBuf),
    /// With the batch size; 1 is Axon's own.
    Axon(PathBuf, &'static str),
}

/// The retail rebuilds, and in each run every peer that can be installed here.
pub(super) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    let server = stage
        .server()
        .context("peers need PostgreSQL's server binaries; see `cargo xtask test` for how to get them")?;
    let peers = installed();
    let rebuilds = Rebuilds::new(stage, Kind::Retail, options)?;
    let truths = rebuilds.workload.truths(&[EVENTS])?;
    let truth = truths.first().context("invariant: one was asked for")?;
    let events = stage.folder().join("peers.jsonl");
    plain_head_of(&rebuilds.workload.file, EVENTS, &events)?;
    for run in 0..options.runs {
        rebuilds.run(run, report)?;
        for (number, peer) in peers.iter().enumerate() {
            let name = format!("peer_{number}_{run}");
            let url = server.new_database(&name)?;
            let rate = one_run(server, &name, &url, peer, &events)?;
            rebuilds.workload.check(peer.row, &url, &[], truth)?;
            server.drop_database(&name)?;
            println!("   {}: {rate:.2} k/s", peer.row);
            report.add(peer.row, rate);
            if let (Some(ratio), Some(ours)) = (peer.ratio, report.last(OURS)) {
                report.add(ratio, ours / rate);
            }
        }
    }
    Ok(())
}

/// Thousand events a second.
fn one_run(server: &Server, database: &str, url: &str, peer: &Peer, events: &Path) -> Result<f64> {
    let execute = |sql: &str| probe::ask(&["execute", "--database", url, "--sql", sql]);
    // As for all others; whoever connects later has it.
    execute(&format!("ALTER DATABASE {database} SET synchronous_commit = off"))?;
    let tables = paths::root().join("benches/sql/retail-tables.sql");
    execute(&std::fs::read_to_string(&tables).with_context(|| format!("cannot read {}", tables.display()))?)?;
    On::Postgres(server).settle(url)?;
    let mut command = match &peer.run {
        Run::Emmett(folder, batch) => {
            let mut node = Command::new("node");
            node.arg(folder.join("project.mjs"))
                .args([url, path(events)?, batch]);
            node
        }
        Run::Eventsourcing(folder) => {
            let mut python = Command::new(folder.join("venv/bin/python"));
            python.arg(paths::root().join("benches/peers/eventsourcing/project.py"));
            let port = server.port().to_string();
            python.args(["127.0.0.1", &port, "postgres", database, path(events)?]);
            python
        }
        Run::Axon(folder, batch) => {
            let (target, port) = (folder.join("target"), server.port().to_string());
            let (classes, libraries) = (target.join("classes"), target.join("dependency/*"));
            let mut java = Command::new("java");
            java.args(["-cp", &format!("{}:{}", path(&classes)?, path(&libraries)?)])
                .args(["OrderSummary", "127.0.0.1", &port, "postgres", database])
                .args([path(events)?, batch]);
            java
        }
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot run the peer")?;
    ensure!(
        output.status.success(),
        "{} failed:\n{}",
        peer.row,
        String::from_utf8_lossy(&output.stderr)
    );
    // The last line: libraries may have something to say before it.
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    let answer: Value = serde_json::from_str(last).with_context(|| format!("{} said {text}", peer.row))?;
    probe::rate_of(&answer)
}

/// Every peer that can be installed here; says which cannot, and why.
fn installed() -> Vec<Peer> {
    let mut peers = Vec::new();
    match emmett() {
        Ok(folder) => {
            peers.push(Peer {
                row: "peers: Emmett 0.42",
                ratio: None,
                run: Run::Emmett(folder.clone(), "0"),
            });
            peers.push(Peer {
                row: "peers: Emmett 0.42, batches of 1,000",
                ratio: Some("peers: Lamphouse on PostgreSQL / Emmett, batches of 1,000"),
                run: Run::Emmett(folder, "1000"),
            });
        }
        Err(error) => println!("NOTE: Emmett is left out: {error:#}"),
    }
    match eventsourcing() {
        Ok(folder) => peers.push(Peer {
            row: "peers: Python eventsourcing 9.5",
            ratio: Some("peers: Lamphouse on PostgreSQL / Python eventsourcing"),
            run: Run::Eventsourcing(folder),
        }),
        Err(error) => println!("NOTE: Python's eventsourcing is left out: {error:#}"),
    }
    match axon() {
        Ok(folder) => {
            peers.push(Peer {
                row: "peers: Axon Framework 4.11",
                ratio: None,
                run: Run::Axon(folder.clone(), "1"),
            });
            peers.push(Peer {
                row: "peers: Axon Framework 4.11, batches of 1,000",
                ratio: Some("peers: Lamphouse on PostgreSQL / Axon, batches of 1,000"),
                run: Run::Axon(folder, "1000"),
            });
        }
        Err(error) => println!("NOTE: Axon Framework is left out: {error:#}"),
    }
    peers
}

fn emmett() -> Result<PathBuf> {
    let folder = folder("emmett")?;
    let source = paths::root().join("benches/peers/emmett");
    for file in ["package.json", "project.mjs"] {
        std::fs::copy(source.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    // Quick where it is there already.
    run(Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
        .current_dir(&folder))?;
    Ok(folder)
}

fn eventsourcing() -> Result<PathBuf> {
    let folder = folder("eventsourcing")?;
    let python = folder.join("venv/bin/python");
    if !python.exists() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(folder.join("venv")))?;
    }
    let wanted = paths::root().join("benches/peers/eventsourcing/requirements.txt");
    run(Command::new(python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(wanted))?;
    Ok(folder)
}

fn axon() -> Result<PathBuf> {
    let folder = folder("axon")?;
    let source = paths::root().join("benches/peers/axon");
    let made = folder.join("src/main/java");
    std::fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
    for file in ["pom.xml", "src/main/java/OrderSummary.java"] {
        std::fs::copy(source.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    run(Command::new("mvn")
        .args(["--quiet", "--batch-mode", "package"])
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .current_dir(&folder))?;
    Ok(folder)
}

fn folder(name: &str) -> Result<PathBuf> {
    let folder = paths::target_dir().join("peers").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
