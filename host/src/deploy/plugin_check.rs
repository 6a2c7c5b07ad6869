//! `lamphouse plugin check`: is this file a plugin that the host would run, and does it give the same however its events
//! are cut into batches, and in another process?

mod rows;
mod second_process;

use std::path::Path;
use std::sync::Arc;

use lamphouse_contract::{Descriptor, Subscription, UpcasterDescriptor, packed};
use serde::{Deserialize, Serialize};

pub use rows::RowDifference;
pub(super) use rows::{first_difference, shown};
pub use second_process::replay_for_another;

use rows::{Rows, RunRow};

use super::host::HostError;
use super::today::{load, upcaster_files};
use crate::config::Config;
use crate::core::clock::Clock;
use crate::core::limits::PluginLimits;
use crate::core::{EventBatch, EventFilter, Position};
use crate::plugin::{AnyPlugin, Lane, Plugin, Sandbox, Upcaster};
use crate::projection::dry_run;
use crate::upcast::{Form, Lifting, Upcasters};

/// Events of the log that are replayed.
const SAMPLE_EVENTS_MAX: usize = 10_000;
/// Batch sizes that must give the same rows.
const BATCHES: [usize; 3] = [1, 7, 1_000];

/// What a check found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of the file.
    pub digest: String,
    /// `projector`, `packed-projector`, `upcaster` or `packed-upcaster`.
    pub lane: String,
    /// What it declares.
    pub descriptor: Declared,
    /// Events of the project's log that were replayed with each batch size, as they reach the plugin; 0 without a log.
    pub events_replayed: u64,
    /// Rows that came out of a projector.
    #[serde(default)]
    pub rows: u64,
    /// Events that came out of an upcaster.
    #[serde(default)]
    pub events_given: u64,
    /// The first row that was not the same in all runs.
    #[serde(default)]
    pub difference: Option<RowDifference>,
    /// What is wrong; empty when the plugin may be deployed.
    pub problems: Vec<String>,
}

/// What a plugin declares.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Declared {
    /// A projector.
    Projector(Descriptor),
    /// An upcaster.
    Upcaster(UpcasterDescriptor),
}

/// Checks a plugin file: contract, imports and limits, and, over the first matching events of the project's log,
/// that batches of 1, 7 and 1,000 give the same, and, of a projector, a second process of this executable too. A projector
/// gets its events as the upcasters of the plugin folder lift them; an upcaster is checked against the others there.
/// `config` is None outside a project: then nothing is replayed. `cache` is a folder of compiled code, for whoever
/// checks or deploys the file next.
pub fn check_plugin(
    file: &Path,
    config: Option<&Config>,
    cache: Option<&Path>,
    runtime: tokio::runtime::Handle,
) -> Result<CheckReport, HostError> {
    let bytes = std::fs::read(file)
        .map_err(|error| HostError::Refused(format!("{} cannot be read: {error}", file.display())))?;
    let limits = config.map(|config| config.limits.clone()).unwrap_or_default();
    let sandbox = Sandbox::with_cache(limits, cache)?;
    let plugin = sandbox
        .load(&bytes)
        .map_err(|error| HostError::Refused(format!("{}: {error}", file.display())))?;
    let mut report = CheckReport {
        name: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        digest: plugin.digest().to_string(),
        lane: match &plugin {
            AnyPlugin::Upcaster(upcaster) => match upcaster.lane() {
                Lane::Typed => "upcaster",
                Lane::Packed => "packed-upcaster",
            },
            AnyPlugin::Projector(plugin) => match plugin.lane() {
                Lane::Typed => "projector",
                Lane::Packed => "packed-projector",
            },
        }
        .to_owned(),
        descriptor: match &plugin {
            AnyPlugin::Upcaster(upcaster) => Declared::Upcaster((**upcaster.descriptor()).clone()),
            AnyPlugin::Projector(plugin) => Declared::Projector((**plugin.descriptor()).clone()),
        },
        events_replayed: 0,
        rows: 0,
        events_given: 0,
        difference: None,
        problems: Vec::new(),
    };
    let others = match config {
        Some(config) if config.plugins.is_dir() => load(&sandbox, upcaster_files(config)?)?,
        _ => Vec::new(),
    };
    match plugin {
        AnyPlugin::Upcaster(upcaster) => check_upcaster(&upcaster, others, config, runtime, &mut report)?,
        AnyPlugin::Projector(plugin) => {
            if let Some(config) = config {
                check_projector(file, &plugin, others, config, cache, runtime, &mut report)?;
            }
        }
    }
    Ok(report)
}

fn check_projector(
    file: &Path,
    plugin: &Arc<Plugin>,
    upcasters: Vec<Arc<Upcaster>>,
    config: &Config,
    cache: Option<&Path>,
    runtime: tokio::runtime::Handle,
    report: &mut CheckReport,
) -> Result<(), HostError> {
    let set = match Upcasters::new(upcasters) {
        Ok(set) => set,
        Err(conflict) => {
            report
                .problems
                .push(format!("the upcasters of the plugin folder: {conflict}"));
            return Ok(());
        }
    };
    let subscriptions = plugin.descriptor().subscriptions.clone();
    let stored = Arc::new(sample(config, set.graph().reads(&subscriptions), runtime)?);
    let mut lifting = Lifting {
        filter: &EventFilter {
            any_of: subscriptions,
            ..EventFilter::default()
        },
        fields: None,
        events_max: usize::MAX,
        bytes_max: usize::MAX,
        stop: &Arc::default(),
        said: &mut |_| {},
    };
    let (batches, fault) = set.lift(&stored, &mut lifting);
    if let Some(fault) = fault {
        report.problems.push(fault.message);
    }
    // Without a limit on its size there is one.
    if let Some(sample) = batches.into_iter().next() {
        report.events_replayed = sample.len() as u64;
        replay(file, plugin, &config.limits, cache, &sample, report)?;
    }
    Ok(())
}

fn check_upcaster(
    upcaster: &Arc<Upcaster>,
    mut others: Vec<Arc<Upcaster>>,
    config: Option<&Config>,
    runtime: tokio::runtime::Handle,
    report: &mut CheckReport,
) -> Result<(), HostError> {
    others.retain(|other| other.descriptor().name != upcaster.descriptor().name);
    let conflict = |set: Vec<Arc<Upcaster>>| Upcasters::new(set).err().map(|conflict| conflict.to_string());
    let alone = match Upcasters::new(vec![upcaster.clone()]) {
        Ok(alone) => alone,
        Err(conflict) => {
            report.problems.push(conflict.to_string());
            return Ok(());
        }
    };
    others.push(upcaster.clone());
    if let Some(why) = conflict(others) {
        report
            .problems
            .push(format!("with the others of the plugin folder: {why}"));
    }
    let Some(config) = config else { return Ok(()) };
    let rules = upcaster.descriptor().rules.iter();
    let takes = rules.map(|rule| Subscription {
        event_type: Some(rule.takes.event_type.clone()),
        stream_type: None,
        schema_versions: vec![rule.takes.schema_version],
    });
    let sample = sample(config, takes.collect(), runtime)?;
    report.events_replayed = sample.len() as u64;
    replay_upcaster(&alone, &sample, report);
    Ok(())
}

/// Lifts the sample with each batch size; what comes out of an event may depend on that event alone.
fn replay_upcaster(set: &Upcasters, sample: &EventBatch, report: &mut CheckReport) {
    let events: Vec<packed::Event<'_>> = packed::events(sample.packed(0..sample.len()))
        .filter_map(Result::ok)
        .collect();
    let mut first: Option<Vec<Option<Vec<Form<'static>>>>> = None;
    for size in BATCHES {
        let mut lifted = Vec::with_capacity(events.len());
        for chunk in events.chunks(size) {
            match set.show(chunk, &Arc::default(), &mut |_| {}) {
                Ok(forms) => lifted.extend(forms),
                Err((_, fault)) => {
                    report
                        .problems
                        .push(format!("with batches of {size}: {}", fault.message));
                    return;
                }
            }
        }
        match &first {
            None => {
                let given = lifted.iter().flatten().map(|forms| forms.len() as u64);
                report.events_given = given.sum();
                first = Some(lifted);
            }
            Some(first) => {
                if let Some(at) = (0..events.len()).find(|&at| first[at] != lifted[at]) {
                    let (position, id) = (events[at].position, events[at].id);
                    report.problems.push(format!(
                        "batches of {} and of {size} give different events of position {position} (event {id}): {:?} \
                         against {:?}; what comes out of an event may depend on that event alone",
                        BATCHES[0], first[at], lifted[at]
                    ));
                    return;
                }
            }
        }
    }
}

fn sample(
    config: &Config,
    subscriptions: Vec<Subscription>,
    runtime: tokio::runtime::Handle,
) -> Result<EventBatch, HostError> {
    let log = crate::log::open(&config.log, &config.append, Clock::system(), runtime)?;
    let head = log.head()?;
    let mut batch = EventBatch::default();
    if head.position > Position::START {
        let filter = EventFilter {
            any_of: subscriptions,
            ..EventFilter::default()
        };
        let mut reader = log.reader(filter)?;
        reader.read(Position::START, head, SAMPLE_EVENTS_MAX, 64 << 20, &mut batch)?;
    }
    Ok(batch)
}

/// How the run in another process is called.
const SECOND_PROCESS: &str = "a second process";

/// Runs the sample in each way, and compares the rows.
fn replay(
    file: &Path,
    plugin: &Arc<Plugin>,
    limits: &PluginLimits,
    cache: Option<&Path>,
    sample: &Arc<EventBatch>,
    report: &mut CheckReport,
) -> Result<(), HostError> {
    let mut runs: Vec<(String, Rows)> = Vec::new();
    for size in BATCHES {
        let run = format!("batches of {size}");
        match dry_run(plugin, sample, size) {
            Ok(rows) => runs.push((run, rows)),
            Err(why) => {
                report.problems.push(format!("in {run}: {why}"));
                return Ok(());
            }
        }
    }
    // Of the largest batches: whether they matter is told by the runs before.
    let largest = BATCHES[BATCHES.len() - 1];
    if let Some(plan) = plugin.descriptor().field_plan() {
        let run = "declared fields taken out by the host".to_owned();
        match dry_run(plugin, &Arc::new(sample.extracted(plan)), largest) {
            Ok(rows) => runs.push((run, rows)),
            Err(why) => {
                let problem = format!("with {run}, and not with whole events: {why}");
                report.problems.push(problem);
                return Ok(());
            }
        }
    }
    let run = SECOND_PROCESS.to_owned();
    match second_process::replay(file, plugin, limits, cache, sample, largest)? {
        Ok(rows) => runs.push((run, rows)),
        Err(why) => {
            report
                .problems
                .push(format!("in {run}, and not in this one: {why}"));
            return Ok(());
        }
    }
    report.rows = runs[0].1.iter().map(|rows| rows.len() as u64).sum();
    if let Some(difference) = rows::first_difference(plugin.descriptor(), &runs) {
        report.problems.push(in_words(&difference));
        report.difference = Some(difference);
    }
    Ok(())
}

/// Which runs disagree about which row, and what is mostly behind it.
fn in_words(difference: &RowDifference) -> String {
    let first = &difference.runs[0];
    let (agree, differ): (Vec<&RunRow>, Vec<&RunRow>) =
        difference.runs.iter().partition(|run| run.values == first.values);
    let names = |runs: &[&RunRow]| -> String {
        let names: Vec<&str> = runs.iter().map(|run| run.run.as_str()).collect();
        names.join(" and ")
    };
    let advice = if differ.len() == 1 && differ[0].run == SECOND_PROCESS {
        "what differs between processes must not reach a row"
    } else {
        "a row may depend on the events and on rows alone, and not on which events come in one call: mind state that is \
         kept between events, the number and place of events in a call, and the order of a hash map"
    };
    format!(
        "the same events give different rows in {} than in {}: the first is in table '{}', key {}; {advice}",
        names(&differ),
        names(&agree),
        difference.table,
        difference.key
    )
}
