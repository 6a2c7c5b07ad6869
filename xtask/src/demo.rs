//! `cargo xtask demo`: the main job, before your eyes: import, build, readers, a new version dropped in, the switch.

mod readers;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::{generate, guests, paths};

use readers::Readers;
use stage::{Stage, step, thousands};

/// Longest wait for a projection to be level.
const BUILD_WAIT_MAX: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A real log of the same event types (JSON Lines, plain, gzip or zstd) instead of a generated one
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Events to generate
    #[arg(long, default_value_t = 500_000, conflicts_with = "events")]
    count: u64,
    /// Keep the project folder, and say where it is
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let began = Instant::now();
    step("Building the host and the plugins");
    let host = paths::build_host()?;
    guests::run(&guests::Options {
        only: vec!["order-summary".to_owned()],
        quiet: true,
    })?;

    let folder = std::env::temp_dir().join(format!("lamphouse-demo-{}", std::process::id()));
    let stage = Stage::new(host, folder, arguments.keep)?;
    let file = match &arguments.events {
        Some(file) => fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?,
        None => {
            step(&format!(
                "Generating a shop's order log of {} events",
                thousands(arguments.count)
            ));
            let file = stage.path("orders.jsonl.zst");
            generate::write_file(
                generate::Plan {
                    events: arguments.count,
                    seed: 7,
                },
                &file,
            )?;
            file
        }
    };
    let before_import = Instant::now();
    step("Importing it into the event log");
    stage.shown(&["import", text(&file)?])?;
    let events = stage.status()?["log"]["head"]
        .as_u64()
        .context("the status has no head")?;
    said(&format!(
        "{} events, {}",
        thousands(events),
        rate(events, before_import.elapsed())
    ));

    step("Starting the host with order-summary 1.0.0 in the plugin folder");
    let mut stage = stage;
    stage.serve()?;
    stage.deploy("order-summary-1.0.0")?;
    let (time, fastest) = stage.watch_build("1.0.0", BUILD_WAIT_MAX)?;
    said(&format!(
        "orders and customers are live: {} in {:.1} s{fastest}",
        thousands(events),
        time.as_secs_f64()
    ));

    step("Four readers query without pause, and version 2.0.0 is dropped into the folder");
    let readers = Readers::start(&stage.path("tables.db"))?;
    stage.deploy("order-summary-2.0.0")?;
    let (time, fastest) = stage.watch_build("2.0.0", BUILD_WAIT_MAX)?;
    std::thread::sleep(Duration::from_millis(500));
    let seen = readers.finish();
    said(&format!(
        "built beside the live tables and switched in {:.1} s{fastest}",
        time.as_secs_f64()
    ));
    said(&format!(
        "{} reads before the switch, {} after it, {} failed",
        thousands(seen.before),
        thousands(seen.after),
        seen.wrong.len()
    ));
    for wrong in seen.wrong.iter().take(5) {
        said(&format!("BAD READ: {wrong}"));
    }
    if seen.after == 0 {
        bail!("the readers never saw version 2.0.0");
    }

    step("The best customers, and the table that version 2 added");
    let best =
        "SELECT customer_id, orders, lines, net FROM customers ORDER BY CAST(net AS REAL) DESC LIMIT 5";
    stage.shown(&["query", best])?;
    stage.shown(&[
        "query",
        "SELECT country, orders, net FROM countries ORDER BY orders DESC LIMIT 3",
    ])?;

    stage.stop()?;
    println!("\nDone in {:.0} s.", began.elapsed().as_secs_f64());
    stage.say_how_to_look_further();
    Ok(seen.wrong.is_empty())
}

fn said(text: &str) {
    println!("   {text}");
}

fn rate(events: u64, time: Duration) -> String {
    format!(
        "{} a second",
        thousands((events as f64 / time.as_secs_f64().max(0.001)) as u64)
    )
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}
