//! A host that follows the log: how soon an appended event is seen, at rest and beside a rebuild.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::machine::sync_ms;
use super::project::{On, Serving, configure, install, is_level, lamphouse, listening, path, status};
use super::report::Report;
use super::stage::Stage;
use super::workload::{Kind, Workload};
use super::{Options, probe};

/// Single appends a second: far below what either database can take.
const RATE: u64 = 100;
/// Appends of one run.
const EVENTS: u64 = 2_000;
const EVENTS_QUICK: u64 = 300;
/// A rebuild must leave the live one this much, or this many times its quiet p99, whichever is more.
const BESIDE_MS: f64 = 50.0;
const BESIDE_TIMES: f64 = 5.0;

/// Rows "live": append to visible, a commit an event.
pub(super) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    println!("\nappend to visible: {RATE} single appends a second from another process");
    let mut hosts = Vec::new();
    for on in stage.places() {
        for keeps_changes in [true, false] {
            let name = if keeps_changes { "live" } else { "live_alone" };
            let project = stage.project(&format!("{name}-{}", on.word()))?;
            let mut settings = listening()?;
            if !keeps_changes {
                settings.push_str("[changes]\nrows_max = 0\n");
            }
            set_up(&project, &on, name, &settings)?;
            install(&project, Kind::Synthetic.guest(), "shop-orders")?;
            lamphouse(&project, &["catch-up"])?;
            let serving = Serving::start(&project)?;
            hosts.push((on, keeps_changes, project, serving));
        }
    }
    for _ in 0..options.runs {
        let rest = Duration::from_secs(1) / u32::try_from(RATE)?;
        report.add("a sync of 4 KiB at that rate, p50", sync_ms(stage, rest)?);
        for (on, keeps_changes, project, _) in &hosts {
            let live = probe_live(project, options, Some(RATE))?;
            let name = on.name();
            if !keeps_changes {
                report.add(
                    &format!("{name} append to visible, p50, no changes kept"),
                    number(&live, "p50_ms")?,
                );
                println!("   {name}, no changes kept: {live}");
                continue;
            }
            report.add(
                &format!("{name} append to visible, p50"),
                number(&live, "p50_ms")?,
            );
            report.add(
                &format!("{name} append to visible, p99"),
                number(&live, "p99_ms")?,
            );
            report.add(
                &format!("{name} append alone, p50"),
                number(&live, "append_p50_ms")?,
            );
            println!("   {name}: {live}");
            let live = probe_live(project, options, None)?;
            for (share, key) in [("p50", "p50_ms"), ("p99", "p99_ms")] {
                report.add(
                    &format!("{name} append to visible, one after another, {share}"),
                    number(&live, key)?,
                );
            }
            println!("   {name}, one after another: {live}");
        }
    }
    Ok(())
}

/// Row "beside": the live projection's p99 while another one is rebuilt, again and again.
pub(super) fn measure_beside(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    println!("\nappend to visible while another projection is rebuilt");
    let workload = Workload::new(Kind::Synthetic, options, stage.folder())?;
    for on in stage.places() {
        let project = stage.project(&format!("beside-{}", on.word()))?;
        set_up(&project, &on, "beside", &listening()?)?;
        lamphouse(&project, &["import", path(&workload.file)?])?;
        install(&project, "shop-orders", "shop-orders")?;
        install(&project, "shop-orders-b", "shop-orders-b")?;
        lamphouse(&project, &["catch-up"])?;
        let _serving = Serving::start(&project)?;
        for _ in 0..options.runs {
            let quiet = number(&probe_live(&project, options, Some(RATE))?, "p99_ms")?;
            let (busy, rebuilds) = beside_rebuilds(&project, options)?;
            let busy = number(&busy, "p99_ms")?;
            println!(
                "   {}: quiet p99 {quiet:.2} ms, beside {rebuilds} rebuilds {busy:.2} ms",
                on.name()
            );
            report.add(&format!("{} p99 beside a rebuild", on.name()), busy);
            let allowed = (quiet * BESIDE_TIMES).max(BESIDE_MS);
            report.add(
                &format!("{} p99 beside a rebuild / max(5 quiet p99, 50 ms)", on.name()),
                busy / allowed,
            );
        }
    }
    Ok(())
}

fn set_up(project: &Path, on: &On<'_>, name: &str, settings: &str) -> Result<()> {
    let log = on.database(&format!("{name}_log"))?;
    configure(project, &log, &on.database(&format!("{name}_tables"))?, settings)
}

/// At a rate; without one, each append waits until the one before it was seen.
fn probe_live(project: &Path, options: &Options, rate: Option<u64>) -> Result<Value> {
    let events = if options.quick { EVENTS_QUICK } else { EVENTS };
    let events = events.to_string();
    let mut ask = vec!["live", "--project", path(project)?, "--events", &events];
    let rate = rate.map(|rate| rate.to_string());
    if let Some(rate) = &rate {
        ask.extend(["--rate", rate]);
    }
    probe::ask(&ask)
}

/// Rebuilds `shop-orders-b` over and over while the live one is probed; gives the figures and how many rebuilds began.
fn beside_rebuilds(project: &Path, options: &Options) -> Result<(Value, u64)> {
    let done = AtomicBool::new(false);
    let (live, rebuilds) = std::thread::scope(|scope| {
        let rebuilding = scope.spawn(|| -> Result<u64> {
            let mut rebuilds = 0;
            while !done.load(Ordering::Acquire) {
                lamphouse(project, &["rebuild", "shop-orders-b"])?;
                rebuilds += 1;
                // The next when this one is over: the live one goes on, so only this one counts.
                while !done.load(Ordering::Acquire) && is_building(&status(project)?, "shop-orders-b") {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            Ok(rebuilds)
        });
        let live = probe_live(project, options, Some(RATE));
        done.store(true, Ordering::Release);
        let rebuilds = rebuilding.join().ok().context("the rebuilding thread panicked");
        (live, rebuilds)
    });
    let (live, rebuilds) = (live?, rebuilds??);
    ensure!(rebuilds > 0, "nothing was rebuilt meanwhile");
    // What is still being built must not disturb the next quiet run.
    let began = std::time::Instant::now();
    while !is_level(&status(project)?) {
        ensure!(
            began.elapsed() < Duration::from_secs(300),
            "the last rebuild does not end"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((live, rebuilds))
}

fn is_building(status: &Value, projection: &str) -> bool {
    let all = status["projections"].as_array();
    let one = all.and_then(|all| all.iter().find(|one| one["name"] == projection));
    one.and_then(|one| one["others"].as_array())
        .is_some_and(|others| {
            others
                .iter()
                .any(|other| matches!(other["state"].as_str(), Some("building" | "ready")))
        })
}

fn number(answer: &Value, name: &str) -> Result<f64> {
    answer[name]
        .as_f64()
        .with_context(|| format!("the answer has no {name}: {answer}"))
}
