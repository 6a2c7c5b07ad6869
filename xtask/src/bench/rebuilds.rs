//! Rebuilds of one workload, on both databases, against the others, one after the other in each run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::paths;

use super::project::{On, configure, head, lamphouse, path, status, timed};
use super::report::Report;
use super::stage::Stage;
use super::workload::{Kind, Workload};
use super::{Options, probe};

/// Events for those that are too slow for more; their rate only falls as tables grow.
const NAIVE_EVENTS: u64 = 100_000;
const TRIGGER_EVENTS: u64 = 200_000;

/// The group of a workload's rows.
pub(super) fn group(kind: Kind) -> &'static str {
    kind.word()
}

/// What the tables must hold, after as many events as each competitor is given.
struct Truths {
    naive: Value,
    trigger: Value,
    all: Value,
}

/// One database with its project, ready to be rebuilt from.
struct Ready<'a> {
    on: On<'a>,
    name: &'static str,
    project: PathBuf,
    /// The log's URL, for `lamphouse.toml` and for the probes.
    log: String,
}

/// One workload on each database, ready to be rebuilt again and again.
pub(super) struct Rebuilds<'a> {
    pub(super) workload: Workload,
    truths: Truths,
    ready: Vec<Ready<'a>>,
}

pub(super) fn measure(stage: &Stage, kind: Kind, options: &Options, report: &mut Report) -> Result<()> {
    let rebuilds = Rebuilds::new(stage, kind, options)?;
    (0..options.runs).try_for_each(|run| rebuilds.run(run, report))
}

impl<'a> Rebuilds<'a> {
    /// Imports the log into each database.
    pub(super) fn new(stage: &'a Stage, kind: Kind, options: &Options) -> Result<Self> {
        let workload = Workload::new(kind, options, stage.folder())?;
        println!("\n{}: {} events", workload.source, workload.events);
        let limits = [
            NAIVE_EVENTS.min(workload.events),
            TRIGGER_EVENTS.min(workload.events),
            workload.events,
        ];
        let mut truths = workload.truths(&limits)?.into_iter();
        let mut truth = || truths.next().context("invariant: three were asked for");
        let truths = Truths {
            naive: truth()?,
            trigger: truth()?,
            all: truth()?,
        };
        let mut ready = Vec::new();
        for on in stage.places() {
            ready.push(prepare(stage, on, &workload)?);
        }
        Ok(Self {
            workload,
            truths,
            ready,
        })
    }

    /// Everybody once.
    pub(super) fn run(&self, run: u64, report: &mut Report) -> Result<()> {
        self.ready
            .iter()
            .try_for_each(|place| one_run(place, &self.workload, &self.truths, run, report))
    }
}

fn prepare<'a>(stage: &Stage, on: On<'a>, workload: &Workload) -> Result<Ready<'a>> {
    let (word, name) = (on.word(), on.name());
    let project = stage.project(&format!("{}-{word}", workload.kind.word()))?;
    let log = on.database(&format!("{}_log", workload.kind.word()))?;
    let first = format!("{}_first", workload.kind.word());
    configure(&project, &log, &on.database(&first)?, "")?;
    let began = Instant::now();
    lamphouse(&project, &["import", path(&workload.file)?])?;
    println!("   {name}: imported in {:.1} s", began.elapsed().as_secs_f64());
    ensure!(head(&project)? == workload.events, "the import is not whole");
    let plugin = format!("{}.wasm", workload.kind.guest());
    std::fs::copy(
        paths::guest(workload.kind.guest())?,
        project.join("plugins").join(plugin),
    )?;
    // Compiles the plugin, once for all runs.
    lamphouse(&project, &["catch-up"])?;
    let log = on.url(&project, &log)?;
    if matches!(on, On::Postgres(_)) {
        probe::ask(&["sql-prepare", "--log", &log])?;
    }
    Ok(Ready {
        on,
        name,
        project,
        log,
    })
}

/// Everybody once, and the ratios of this run.
fn one_run(
    place: &Ready<'_>,
    workload: &Workload,
    truths: &Truths,
    run: u64,
    report: &mut Report,
) -> Result<()> {
    let before = workload.kind.before_names();
    let name = |what: &str| format!("{before}{} {what}", place.name);
    let rebuild = ours(place, workload, truths, run)?;
    report.add(&name("rebuild"), rebuild);
    let mut said = format!("   run {}, {}: rebuild {rebuild:.0} k/s", run + 1, place.name);
    let mut compare = |who: &str, against: &str, rate: f64, report: &mut Report| {
        report.add(&name(&format!("rebuild / {against}")), rebuild / rate);
        report.add(&name(who), rate);
        said.push_str(&format!(", {against} {rate:.1}"));
    };
    for (form, who, against) in [
        ("whole", "read + parse, one thread", "read + parse"),
        ("borrowed", "read + parse, borrowed", "read + parse, borrowed"),
        (
            "least",
            "read + parse, five columns",
            "read + parse, five columns",
        ),
    ] {
        let floor = probe::rate(&["floor", "--log", &place.log, "--form", form])?;
        compare(who, against, floor, report);
    }
    let naive = naive(place, workload, truths, run)?;
    compare("naive sqlx", "naive sqlx", naive, report);
    if matches!(place.on, On::Postgres(_)) {
        let trigger = in_sql(place, workload, "trigger", &truths.trigger)?;
        compare("row trigger", "row trigger", trigger, report);
        let trigger = in_sql(place, workload, "trigger-tuned", &truths.trigger)?;
        compare("row trigger, tuned", "row trigger, tuned", trigger, report);
        let set = in_sql(place, workload, "set", &truths.all)?;
        compare("set-based SQL", "set-based SQL", set, report);
        let tuned = in_sql(place, workload, "tuned", &truths.all)?;
        compare("set-based SQL, tuned", "set-based SQL, tuned", tuned, report);
    }
    let (native, wasm) = sandbox(place, workload, truths, run)?;
    report.add(&name("sandbox cost: native / Wasm"), native / wasm);
    println!("{said}; pipeline: native {native:.0}, Wasm {wasm:.0}");
    Ok(())
}

/// Thousand events a second of the host's pipeline with the projector as native code, and as a guest.
fn sandbox(place: &Ready<'_>, workload: &Workload, truths: &Truths, run: u64) -> Result<(f64, f64)> {
    let pipeline = |native: bool| -> Result<f64> {
        let who = if native { "native" } else { "wasm" };
        let database = format!("{}_{who}_{run}", workload.kind.word());
        let tables = place.on.database(&database)?;
        configure(&place.project, &place.log, &tables, "")?;
        // Makes the tables database, as for the others.
        status(&place.project)?;
        place.on.settle(&place.log)?;
        let guest = paths::guest(workload.kind.guest())?;
        let mut arguments = vec![
            "pipeline",
            "--workload",
            workload.kind.word(),
            "--project",
            path(&place.project)?,
            "--plugin",
            path(&guest)?,
        ];
        arguments.extend(native.then_some("--native"));
        let answer = probe::ask(&arguments)?;
        let suffix = answer["suffix"].as_str().context("no suffix")?;
        let mut more = vec!["--suffix", suffix];
        if matches!(place.on, On::Postgres(_)) {
            more.extend(["--schema", "lamphouse_tables"]);
        }
        let url = place.on.url(&place.project, &tables)?;
        workload.check(who, &url, &more, &truths.all)?;
        place.on.forget(&place.project, &database)?;
        probe::rate_of(&answer)
    };
    // Who is first takes turns, for the first one warms the disk's cache.
    if run.is_multiple_of(2) {
        let native = pipeline(true)?;
        Ok((native, pipeline(false)?))
    } else {
        let wasm = pipeline(false)?;
        Ok((pipeline(true)?, wasm))
    }
}

/// Thousand events a second of `lamphouse catch-up` into an empty tables database, from its start to its end.
fn ours(place: &Ready<'_>, workload: &Workload, truths: &Truths, run: u64) -> Result<f64> {
    let database = format!("{}_run_{run}", workload.kind.word());
    let tables = place.on.database(&database)?;
    configure(&place.project, &place.log, &tables, "")?;
    place.on.settle(&place.log)?;
    let seconds = timed(&place.project, workload.events, &[&["catch-up"]])?;
    let url = place.on.url(&place.project, &tables)?;
    workload.check("Lamphouse", &url, &[], &truths.all)?;
    place.on.forget(&place.project, &database)?;
    Ok(workload.events as f64 / seconds / 1_000.0)
}

fn naive(place: &Ready<'_>, workload: &Workload, truths: &Truths, run: u64) -> Result<f64> {
    let events = NAIVE_EVENTS.min(workload.events);
    let name = format!("{}_naive_{run}", workload.kind.word());
    let project: &Path = &place.project;
    let url = place.on.url(project, &place.on.database(&name)?)?;
    place.on.settle(&place.log)?;
    let answer = probe::answer(
        "naive-projector",
        &[
            "--workload",
            workload.kind.word(),
            "--database",
            url.strip_prefix("sqlite:").unwrap_or(&url),
            "--events",
            path(&workload.file)?,
            "--limit",
            &events.to_string(),
        ],
    )?;
    workload.check("the naive projector", &url, &["--thousandths"], &truths.naive)?;
    place.on.forget(project, &name)?;
    probe::rate_of(&answer)
}

fn in_sql(place: &Ready<'_>, workload: &Workload, way: &str, truth: &Value) -> Result<f64> {
    let limit = TRIGGER_EVENTS.min(workload.events).to_string();
    let mut arguments = vec![
        "sql",
        "--workload",
        workload.kind.word(),
        "--way",
        way,
        "--log",
        &place.log,
    ];
    if way.starts_with("trigger") {
        arguments.extend(["--limit", &limit]);
    }
    let rate = probe::rate(&arguments)?;
    workload.check(way, &place.log, &["--schema", "bench_run"], truth)?;
    let drop = [
        "execute",
        "--database",
        &place.log,
        "--sql",
        "DROP SCHEMA bench_run CASCADE",
    ];
    probe::ask(&drop)?;
    Ok(rate)
}
