//! `cargo xtask bench languages`: what a plugin costs in each language: an event, a fresh instance, the file, compiling
//! it. All are order-summary on the shop's log, and make the same rows.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::languages::{Language, build_plugins};
use xtask::paths;

use super::Options;
use super::project::{command, configure, lamphouse, path};
use super::report::Report;
use super::stage::Stage;
use super::targets::LANGUAGES;
use super::workload::{Kind, Workload, plain_head_of};

/// Events of the runs in large batches.
const EVENTS: u64 = 100_000;
/// Events of one call there.
const BATCH: u64 = 1_000;
/// Events of the runs in which each has a call of its own.
const SINGLES: u64 = 500;

/// One language's plugin, in a project for each batch size.
struct Contender {
    language: &'static str,
    file: PathBuf,
    large: PathBuf,
    single: PathBuf,
}

pub(super) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    let workload = Workload::new(Kind::Retail, options, stage.folder())?;
    let events = EVENTS.min(workload.events);
    let heads = [("large", events), ("single", SINGLES)].map(|(name, events)| -> Result<PathBuf> {
        let file = stage.folder().join(format!("languages-{name}.jsonl"));
        plain_head_of(&workload.file, events, &file)?;
        Ok(file)
    });
    let [large, single] = heads;
    let (large, single) = (large?, single?);
    let truth = workload.truths(&[events])?.remove(0);
    let mut contenders = Vec::new();
    for (language, file) in plugins() {
        let project = |name: &str, log: &Path, batch: u64| -> Result<PathBuf> {
            let project = stage.project(&format!("languages-{language}-{name}"))?;
            let settings = format!("[pipeline]\nbatch_events_max = {batch}\n");
            configure(&project, "sqlite:log.db", "sqlite:tables.db", &settings)?;
            lamphouse(&project, &["import", path(log)?])?;
            std::fs::copy(&file, project.join("plugins/order-summary.wasm"))?;
            Ok(project)
        };
        contenders.push(Contender {
            language,
            large: project("large", &large, BATCH)?,
            single: project("single", &single, 1)?,
            file,
        });
    }
    for contender in &contenders {
        // Compiles the plugin, once for all runs.
        profile(&contender.large)?;
        profile(&contender.single)?;
        let tables = format!("sqlite:{}", path(&contender.large.join("tables.db"))?);
        workload.check(contender.language, &tables, &[], &truth)?;
    }
    for run in 0..options.runs {
        let mut rust = None;
        for contender in &contenders {
            let cost = one_run(contender, report)?;
            println!(
                "   run {}, {}: {cost:.2} µs an event",
                run + 1,
                contender.language
            );
            match contender.language {
                "Rust" => rust = Some(cost),
                "C" => {
                    if let Some(rust) = rust {
                        report.add("C: an event / Rust", cost / rust);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Every language whose tools are here; says which are not, and why.
fn plugins() -> Vec<(&'static str, PathBuf)> {
    let mut plugins = Vec::new();
    let rust = || paths::guest("order-summary-1.0.0");
    for name in LANGUAGES {
        let file = match Language::ALL.into_iter().find(|language| language.name() == name) {
            None => rust(),
            Some(language) => build_plugins(language).and_then(|files| {
                let wanted = format!("order-summary-{}.wasm", language.word());
                let mut files = files.into_iter();
                files
                    .find(|file| file.ends_with(&wanted))
                    .with_context(|| format!("there is no {wanted}"))
            }),
        };
        match file {
            Ok(file) => plugins.push((name, file)),
            Err(why) => println!("NOTE: {name} is left out: {why:#}"),
        }
    }
    plugins
}

/// Measures all of one language once; gives microseconds an event.
fn one_run(contender: &Contender, report: &mut Report) -> Result<f64> {
    let name = |what: &str| format!("{}: {what}", contender.language);
    let large = profile(&contender.large)?;
    let event = large.plugin_us / large.events;
    report.add(&name("an event, 1,000 a call"), event);
    let single = profile(&contender.single)?;
    report.add(&name("a fresh instance"), single.plugin_us / single.calls - event);
    let bytes = std::fs::metadata(&contender.file)?.len();
    report.add(&name("file"), bytes as f64 / f64::from(1 << 20));
    report.add(&name("compiling it"), compile_seconds(&contender.file)?);
    Ok(event)
}

struct Profile {
    events: f64,
    calls: f64,
    plugin_us: f64,
}

/// Builds the tables anew, and says what the plugin took.
fn profile(project: &Path) -> Result<Profile> {
    for end in ["", "-wal", "-shm"] {
        // Most of them are not there.
        let _ = std::fs::remove_file(project.join(format!("tables.db{end}")));
    }
    let output = command(project, &["catch-up", "--profile", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .context("cannot run lamphouse")?;
    ensure!(
        output.status.success(),
        "`lamphouse catch-up` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Value =
        serde_json::from_slice(&output.stdout).context("`lamphouse catch-up` gave no JSON")?;
    let profile = &answer["projections"][0]["live"]["profile"];
    let number = |name: &str| {
        profile[name]
            .as_f64()
            .with_context(|| format!("the profile has no {name}"))
    };
    Ok(Profile {
        events: number("events")?,
        calls: number("calls")?,
        plugin_us: number("plugin_ns")? / 1_000.0,
    })
}

/// Outside of a project nothing is kept of what was compiled before.
fn compile_seconds(file: &Path) -> Result<f64> {
    let began = Instant::now();
    let status = Command::new(paths::host())
        .args(["plugin", "check"])
        .arg(file)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run lamphouse")?;
    ensure!(
        status.success(),
        "`lamphouse plugin check {}` failed",
        file.display()
    );
    Ok(began.elapsed().as_secs_f64())
}
