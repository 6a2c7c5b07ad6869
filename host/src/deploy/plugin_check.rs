//! `lamphouse plugin check`: is this file a plugin that the host would run, and does it give the same rows however its
//! events are cut into batches?

use std::path::Path;
use std::sync::Arc;

use lamphouse_contract::{Descriptor, Key, Row, Value};
use serde::{Deserialize, Serialize};

use super::host::HostError;
use crate::config::Config;
use crate::core::clock::Clock;
use crate::core::{EventBatch, EventFilter, Position};
use crate::plugin::{Lane, Plugin, Sandbox};
use crate::projection::dry_run;

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
    /// `projector` or `packed-projector`.
    pub lane: String,
    /// What it declares.
    pub descriptor: Descriptor,
    /// Events of the project's log that were replayed with each batch size; 0 without a log.
    pub events_replayed: u64,
    /// Rows that came out.
    pub rows: u64,
    /// What is wrong; empty when the plugin may be deployed.
    pub problems: Vec<String>,
}

/// Checks a plugin file: contract, imports and limits, and, over the first matching events of the project's log,
/// that batches of 1, 7 and 1,000 give the same rows. `config` is None outside a project: then nothing is replayed.
pub fn check_plugin(
    file: &Path,
    config: Option<&Config>,
    runtime: tokio::runtime::Handle,
) -> Result<CheckReport, HostError> {
    let bytes = std::fs::read(file)
        .map_err(|error| HostError::Refused(format!("{} cannot be read: {error}", file.display())))?;
    let limits = config.map(|config| config.limits.clone()).unwrap_or_default();
    let sandbox = Sandbox::new(limits, None)?;
    let plugin = sandbox
        .load(&bytes)
        .map_err(|error| HostError::Refused(format!("{}: {error}", file.display())))?;
    let descriptor = plugin.descriptor().clone();
    let mut report = CheckReport {
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        digest: plugin.digest().to_string(),
        lane: match plugin.lane() {
            Lane::Typed => "projector",
            Lane::Packed => "packed-projector",
        }
        .to_owned(),
        descriptor: (*descriptor).clone(),
        events_replayed: 0,
        rows: 0,
        problems: Vec::new(),
    };
    if let Some(config) = config {
        let sample = sample(config, &descriptor, runtime)?;
        report.events_replayed = sample.len() as u64;
        replay(&plugin, &Arc::new(sample), &mut report);
    }
    Ok(report)
}

fn sample(
    config: &Config,
    descriptor: &Descriptor,
    runtime: tokio::runtime::Handle,
) -> Result<EventBatch, HostError> {
    let log = crate::log::open(&config.log, &config.append, Clock::system(), runtime)?;
    let head = log.head()?;
    let mut batch = EventBatch::default();
    if head.position > Position::START {
        let filter = EventFilter {
            any_of: descriptor.subscriptions.clone(),
        };
        let mut reader = log.reader(filter)?;
        reader.read(Position::START, head, SAMPLE_EVENTS_MAX, 64 << 20, &mut batch)?;
    }
    Ok(batch)
}

fn replay(plugin: &Arc<Plugin>, sample: &Arc<EventBatch>, report: &mut CheckReport) {
    let descriptor = plugin.descriptor();
    let mut first: Option<Vec<Vec<Arc<Row>>>> = None;
    for size in BATCHES {
        let rows = match dry_run(plugin, sample, size) {
            Ok(rows) => rows,
            Err(why) => {
                report.problems.push(format!("with batches of {size}: {why}"));
                return;
            }
        };
        match &first {
            None => {
                report.rows = rows.iter().map(|rows| rows.len() as u64).sum();
                first = Some(rows);
            }
            Some(first) => {
                if let Some(difference) = difference(descriptor, first, &rows) {
                    report.problems.push(format!(
                        "batches of {} and of {size} give different rows: {difference}; a projector may keep nothing \
                         between events but its rows",
                        BATCHES[0]
                    ));
                    return;
                }
            }
        }
    }
}

/// The first row that differs, in words.
fn difference(descriptor: &Descriptor, a: &[Vec<Arc<Row>>], b: &[Vec<Arc<Row>>]) -> Option<String> {
    for (schema, (a, b)) in descriptor.tables.iter().zip(a.iter().zip(b)) {
        let key = |row: &Row| -> Key { lamphouse_contract::semantics::key_of(schema, row) };
        let shown = |values: &[Value]| format!("{values:?}");
        for place in 0..a.len().max(b.len()) {
            match (a.get(place), b.get(place)) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) if key(a) == key(b) => {
                    return Some(format!(
                        "table '{}', key {}: {} against {}",
                        schema.name,
                        shown(&key(a)),
                        shown(a),
                        shown(b)
                    ));
                }
                (Some(row), _) | (None, Some(row)) => {
                    return Some(format!(
                        "table '{}': the row with key {} is there only once",
                        schema.name,
                        shown(&key(row))
                    ));
                }
                (None, None) => {}
            }
        }
    }
    None
}
