//! A candidate plugin over what is parked, without touching a table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::host::HostError;
use super::today::kept_upcasters;
use crate::config::Config;
use crate::log::EventLog;
use crate::plugin::{AnyPlugin, Plugin, Sandbox};
use crate::projection::Replay;
use crate::tables::{DeadLetter, GenerationRecord, GenerationState, TableStore};
use crate::upcast::Upcasters;

/// How long a rehearsal may take; what is not tried by then is said.
const REHEARSAL_TIME_MAX: Duration = Duration::from_secs(600);

/// What a candidate would do with the dead letters of one projection.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsal {
    /// The projection.
    pub projection: String,
    /// The generation whose dead letters they are: 7 for `g7`.
    pub generation: i64,
    /// Whether the candidate saw that generation's rows; else its tables are others, and it saw only what it made itself
    /// of the earlier events of these streams.
    pub on_its_rows: bool,
    /// Events that would pass.
    pub passed: u64,
    /// Events that were not tried, because an earlier one of their stream fails.
    pub waiting: u64,
    /// Per stream, the event that would fail, with the candidate's message; one that was not parked, where the candidate
    /// with other tables does not come as far.
    pub failed: Vec<DeadLetter>,
    /// Whether the time was over before all were tried.
    pub more: bool,
}

/// Runs a plugin file against the dead letters that it concerns: a projector against those of its projection, an
/// upcaster against all, in the place of the one of its name.
///
/// # Errors
/// The file is no plugin that this host takes, or a database is away.
pub fn rehearse(
    config: &Config,
    store: &Arc<dyn TableStore>,
    log: &Arc<dyn EventLog>,
    bytes: &[u8],
) -> Result<Vec<Rehearsal>, HostError> {
    let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
    let candidate = sandbox.load(bytes)?;
    let mut rehearsals = Vec::new();
    for generation in parked(&**store)? {
        let kept = kept_upcasters(config, &**store, &generation)?;
        let (plugin, upcasters) = match &candidate {
            AnyPlugin::Projector(plugin) if plugin.descriptor().name == generation.projection.as_str() => {
                (plugin.clone(), kept)
            }
            AnyPlugin::Projector(_) => continue,
            AnyPlugin::Upcaster(upcaster) => {
                let name = &upcaster.descriptor().name;
                let others = kept.plugins().iter();
                let mut set: Vec<_> = others
                    .filter(|other| other.descriptor().name != *name)
                    .cloned()
                    .collect();
                set.push(upcaster.clone());
                let set = Upcasters::new(set).map_err(|conflict| HostError::Refused(conflict.to_string()))?;
                (projector(&sandbox, &**store, &generation)?, Arc::new(set))
            }
        };
        let on_its_rows = plugin.descriptor().tables == generation.descriptor.tables;
        let tried = GenerationRecord {
            digest: plugin.digest(),
            version: plugin.descriptor().version.clone(),
            descriptor: plugin.descriptor().clone(),
            ..generation.clone()
        };
        let replay = Replay {
            log: log.clone(),
            store: store.clone(),
            generation: tried,
            plugin,
            upcasters: Some(upcasters),
            stream_id: None,
            reorders: false,
            until: Instant::now() + REHEARSAL_TIME_MAX,
        };
        let rehearsed = replay.rehearse(on_its_rows)?;
        rehearsals.push(Rehearsal {
            projection: generation.projection.to_string(),
            generation: generation.id.0,
            on_its_rows,
            passed: rehearsed.events,
            waiting: rehearsed.waiting,
            failed: rehearsed.failed,
            more: rehearsed.more,
        });
    }
    Ok(rehearsals)
}

/// Per projection, the public generation if it has dead letters, else the newest one that has.
fn parked(store: &dyn TableStore) -> Result<Vec<GenerationRecord>, HostError> {
    let counts = store.letter_counts()?;
    let has_some = |generation: &GenerationRecord| {
        counts
            .iter()
            .any(|(id, counts)| *id == generation.id && counts.events > 0)
    };
    let mut found: Vec<GenerationRecord> = Vec::new();
    for generation in store.generations()?.into_iter().filter(has_some) {
        let rank = |one: &GenerationRecord| (one.state == GenerationState::Live, one.id);
        match found
            .iter_mut()
            .find(|one| one.projection == generation.projection)
        {
            Some(other) if rank(other) < rank(&generation) => *other = generation,
            Some(_) => {}
            None => found.push(generation),
        }
    }
    Ok(found)
}

/// The projector that a generation was built with, from the bytes that are kept with the tables.
pub(super) fn projector(
    sandbox: &Arc<Sandbox>,
    store: &dyn TableStore,
    generation: &GenerationRecord,
) -> Result<Arc<Plugin>, HostError> {
    match store.plugin(&generation.digest)? {
        Some(kept) => Ok(sandbox.load_projector(&kept.bytes)?),
        None => Err(HostError::Refused(format!(
            "the code of {} {} (digest {}) is not kept in the tables database",
            generation.projection,
            generation.version,
            generation.digest.short()
        ))),
    }
}
