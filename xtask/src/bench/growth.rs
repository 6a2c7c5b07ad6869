//! Ten times the events, with tables that grow with them: the time, and the memory within a budget.

use anyhow::{Context, Result, ensure};
use xtask::synthetic;

use super::Options;
use super::project::{On, configure, head, install, lamphouse, path, watched};
use super::report::Report;
use super::stage::Stage;
use super::workload::Kind;

/// Events of the smaller log, and of the larger.
const EVENTS: [u64; 2] = [1_000_000, 10_000_000];
/// More than this many runs of ten million events would only take long.
const RUNS_MAX: u64 = 3;
/// The budget of the row cache.
const CACHE_BYTES: u64 = 256 << 20;

pub(super) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    let settings = format!("[pipeline]\ncache_bytes_max = {CACHE_BYTES}\n");
    let mut projects = Vec::new();
    for events in EVENTS {
        println!(
            "\n{events} events on SQLite, cache budget {} MiB",
            CACHE_BYTES >> 20
        );
        let project = stage.project(&format!("growth-{events}"))?;
        configure(&project, "sqlite:log.db", "sqlite:first.db", &settings)?;
        let file = stage.folder().join(format!("growth-{events}.jsonl.zst"));
        synthetic::write_file(events, 7, &file)?;
        lamphouse(&project, &["import", path(&file)?])?;
        ensure!(head(&project)? == events, "the import is not whole");
        std::fs::remove_file(&file).context("cannot remove the imported file")?;
        install(&project, Kind::Synthetic.guest(), "shop-orders")?;
        projects.push((project, events));
    }
    // Compiles the plugin.
    for (project, _) in &projects {
        lamphouse(
            project,
            &[
                "plugin",
                "check",
                path(&project.join("plugins/shop-orders.wasm"))?,
            ],
        )?;
    }
    for run in 0..options.runs.min(RUNS_MAX) {
        let mut seconds = Vec::new();
        for (project, events) in &projects {
            let database = format!("run_{run}");
            configure(
                project,
                "sqlite:log.db",
                &On::Sqlite.database(&database)?,
                &settings,
            )?;
            On::Sqlite.settle("")?;
            let (took, peak_mib) = watched(project, &["catch-up"])?;
            println!("   {events} events: {took:.1} s, peak memory {peak_mib:.0} MiB");
            seconds.push(took);
            if *events == EVENTS[1] {
                report.add("peak memory, 10 M events, cache budget 256 MiB", peak_mib);
                report.add("SQLite rebuild of 10 M events", *events as f64 / took / 1_000.0);
            }
            On::Sqlite.forget(project, &database)?;
        }
        report.add("rebuild time, 10 M events / 1 M", seconds[1] / seconds[0]);
    }
    Ok(())
}
