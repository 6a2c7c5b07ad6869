//! Which metrics there are: names, units, labels, and what they mean. docs/MONITORING.md lists them for a person.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

use super::page::{Labels, Of, Page, Value, only};
use crate::deploy::operator::{GenerationStatus, HostStatus, ProjectionStatus};
use crate::log::AppendMeter;
use crate::plugin::{PluginKind, PluginMeter};
use crate::projection::{ProjectionMeter, WorkMeter};
use crate::telemetry::traces as tracing;

/// In one word, as `status` has it.
const PROJECTION_STATES: [&str; 8] = [
    "live", "building", "waiting", "paused", "retrying", "faulted", "diverged", "removed",
];
/// Those of generations that are shown.
const GENERATION_STATES: [&str; 4] = ["building", "ready", "live", "failed"];
/// Those of plugin files.
const FILE_STATES: [&str; 4] = ["deployed", "refused", "held", "settling"];

pub(super) fn process(page: &mut Page<'_>, silent: Option<Duration>) -> Result<(), Error> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauge(
        "lamphouse_build_info",
        Of::Things,
        "The version that runs; always 1",
        [(version, 1)],
    )?;
    page.gauge(
        "lamphouse_conductor_silence",
        Of::Seconds,
        "How long ago the thread that decides what runs was last heard of",
        silent
            .map(|silent| silent.as_secs_f64())
            .into_iter()
            .flat_map(only),
    )
}

pub(super) fn host(page: &mut Page<'_>, status: Option<&HostStatus>, is_ready: bool) -> Result<(), Error> {
    page.gauge(
        "lamphouse_status_known",
        Of::Things,
        "Whether the host's status could be had in time; without it, all that is looked up is missing here",
        only(status.is_some()),
    )?;
    page.gauge(
        "lamphouse_ready",
        Of::Things,
        "What /readyz says: whether the host owns the tables, and all of them are there and level within their limits",
        only(is_ready),
    )?;
    let Some(status) = status else { return Ok(()) };
    page.gauge(
        "lamphouse_owner",
        Of::Things,
        "Whether this host owns the tables; else it stands by",
        only(status.host.role == "owner"),
    )?;
    page.gauge(
        "lamphouse_problems",
        Of::Things,
        "What is wrong with the host as a whole, counted",
        only(status.problems.len() as u64),
    )?;
    page.gauge(
        "lamphouse_log_head_position",
        Of::Things,
        "Position of the last event of the log, as it was last seen",
        only(status.log.head),
    )?;
    let mut files: BTreeMap<&str, u64> = FILE_STATES.into_iter().map(|state| (state, 0)).collect();
    for file in &status.files {
        if let Some(count) = files.get_mut(file.state.as_str()) {
            *count += 1;
        }
    }
    page.gauge(
        "lamphouse_plugin_files",
        Of::Things,
        "Files in the plugin folder, by state",
        files
            .into_iter()
            .map(|(state, count)| (vec![("state", state.to_owned())], count)),
    )
}

pub(super) fn appends(page: &mut Page<'_>, meter: Option<&AppendMeter>) -> Result<(), Error> {
    let Some(meter) = meter else { return Ok(()) };
    page.counter(
        "lamphouse_appended_events",
        Of::Things,
        "Events that this process appended",
        only(meter.events.get()),
    )?;
    let done = meter.times.taken();
    let outcomes = [
        ("appended", done.count()),
        ("repeated", meter.repeated.get()),
        ("conflict", meter.conflicts.get()),
        ("refused", meter.refused.get()),
        ("failed", meter.failed.get()),
    ];
    page.counter(
        "lamphouse_appends",
        Of::Things,
        "Appends of this process, by what came of them",
        outcomes
            .into_iter()
            .map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
    )?;
    page.times(
        "lamphouse_append_duration",
        "From the call to the commit of appends that went in",
        only(done),
    )
}

/// What only grows, of each projection.
pub(super) fn work(page: &mut Page<'_>, projections: &[(String, Arc<ProjectionMeter>)]) -> Result<(), Error> {
    let of_work = |pick: fn(&WorkMeter) -> u64| by_work(projections, pick);
    page.counter(
        "lamphouse_projection_positions",
        Of::Things,
        "Positions of the log that checkpoints moved over, wanted or not",
        of_work(|work| work.positions.get()),
    )?;
    page.counter(
        "lamphouse_projection_events_applied",
        Of::Things,
        "Events whose effects were written with their checkpoint, after upcasting; parked and replayed ones are none",
        of_work(|work| work.events.get()),
    )?;
    page.counter(
        "lamphouse_projection_rows_written",
        Of::Things,
        "Rows that flushes wrote or removed",
        of_work(|work| work.rows.get()),
    )?;
    page.counter(
        "lamphouse_projection_changes",
        Of::Things,
        "Changes of rows that projectors made, before the row cache coalesced them",
        of_work(|work| work.changes.get()),
    )?;
    page.counter(
        "lamphouse_projection_cache_hits",
        Of::Things,
        "Rows that were wanted and found in memory, or known to be absent",
        of_work(|work| work.cache_hits.get()),
    )?;
    page.counter(
        "lamphouse_projection_cache_misses",
        Of::Things,
        "Rows that had to be read from the tables",
        of_work(|work| work.cache_misses.get()),
    )?;
    page.times(
        "lamphouse_batch_duration",
        "Calls of projectors, with the host's work on their rows",
        by_work(projections, |work| work.batches.taken()),
    )?;
    page.times(
        "lamphouse_flush_duration",
        "Transactions that wrote rows and checkpoint",
        by_work(projections, |work| work.flushes.taken()),
    )?;
    let stages = both(projections).flat_map(|(labels, work)| {
        work.stages.all().map(|(stage, time)| {
            let mut labels = labels.clone();
            labels.push(("stage", stage.to_owned()));
            (labels, time.seconds())
        })
    });
    page.counter(
        "lamphouse_projection_stage",
        Of::Seconds,
        "Where the time went, of all threads together; they overlap",
        stages.collect::<Vec<_>>(),
    )?;
    outcomes(page, projections)
}

/// What happened to each projection.
fn outcomes(page: &mut Page<'_>, projections: &[(String, Arc<ProjectionMeter>)]) -> Result<(), Error> {
    page.counter(
        "lamphouse_projection_faults",
        Of::Things,
        "Stops, by the class of their fault",
        each(projections, "class", |meter| {
            meter.faults.all().map(|(class, count)| (class, count.get()))
        }),
    )?;
    page.counter(
        "lamphouse_projection_restarts",
        Of::Things,
        "Starts from the checkpoint after a passing failure",
        projections
            .iter()
            .map(|(name, meter)| (projection(name), meter.restarts.get())),
    )?;
    page.counter(
        "lamphouse_projection_retries",
        Of::Things,
        "Tries that failed because a database was away",
        projections
            .iter()
            .map(|(name, meter)| (projection(name), meter.retries.get())),
    )?;
    page.counter(
        "lamphouse_projection_cutovers",
        Of::Things,
        "Switches of public tables to another generation, rollbacks too",
        each(projections, "outcome", |meter| {
            [
                ("done", meter.cutovers.get()),
                ("failed", meter.cutovers_failed.get()),
            ]
        }),
    )?;
    page.counter(
        "lamphouse_dead_letters",
        Of::Things,
        "Events that were parked, replayed and discarded",
        each(projections, "outcome", |meter| {
            [
                ("parked", meter.parked.get()),
                ("replayed", meter.replayed.get()),
                ("discarded", meter.discarded.get()),
            ]
        }),
    )
}

pub(super) fn plugins(
    page: &mut Page<'_>,
    plugins: &[(String, PluginKind, Arc<PluginMeter>)],
) -> Result<(), Error> {
    let labels = |name: &String, kind: &PluginKind| {
        let kind = match kind {
            PluginKind::Projector => "projector",
            PluginKind::Upcaster => "upcaster",
        };
        vec![("plugin", name.clone()), ("kind", kind.to_owned())]
    };
    page.counter(
        "lamphouse_plugin_calls",
        Of::Things,
        "Calls of plugins, failed ones too",
        plugins
            .iter()
            .map(|(name, kind, meter)| (labels(name, kind), meter.calls.get())),
    )?;
    page.counter(
        "lamphouse_plugin_failed_calls",
        Of::Things,
        "Calls of plugins that failed; a batch is halved down to the event at fault, and each try counts",
        plugins
            .iter()
            .map(|(name, kind, meter)| (labels(name, kind), meter.failures.get())),
    )?;
    page.counter(
        "lamphouse_plugin_run",
        Of::Seconds,
        "Time in plugins, without the host's work on rows",
        plugins
            .iter()
            .map(|(name, kind, meter)| (labels(name, kind), meter.time.seconds())),
    )?;
    page.gauge(
        "lamphouse_plugin_memory_peak",
        Of::Bytes,
        "The most memory that one call of a plugin had since the process began",
        plugins
            .iter()
            .map(|(name, kind, meter)| (labels(name, kind), meter.memory.get())),
    )
}

/// What becomes of traces.
pub(super) fn traces(page: &mut Page<'_>) -> Result<(), Error> {
    let Some(exports) = tracing::exports() else {
        return Ok(());
    };
    page.counter(
        "lamphouse_otlp_exports",
        Of::Things,
        "Batches of spans that were sent to the collector; of those that failed, the spans are lost",
        [("done", exports.done.get()), ("failed", exports.failed.get())]
            .map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
    )
}

/// How public tables stand.
pub(super) fn projections(page: &mut Page<'_>, status: &HostStatus) -> Result<(), Error> {
    let all = &status.projections;
    let states = all.iter().flat_map(|one| {
        PROJECTION_STATES.map(|state| {
            let mut labels = projection(&one.name);
            labels.push(("state", state.to_owned()));
            (labels, one.state == state)
        })
    });
    page.gauge(
        "lamphouse_projection_state",
        Of::Things,
        "1 for the state that a projection is in, 0 for the others",
        states.collect::<Vec<_>>(),
    )?;
    page.gauge(
        "lamphouse_projection_healthy",
        Of::Things,
        "Whether nothing is wrong with a projection, and its tables lack nothing",
        all.iter().map(|one| (projection(&one.name), one.healthy)),
    )?;
    let mut public = |name, of, help, pick: fn(&GenerationStatus) -> Value| {
        let live = |one: &ProjectionStatus| Some((projection(&one.name), pick(one.live.as_ref()?)));
        page.gauge(name, of, help, all.iter().filter_map(live))
    };
    public(
        "lamphouse_projection_generation",
        Of::Things,
        "Number of the generation that is public",
        |live| live.generation.unsigned_abs().into(),
    )?;
    public(
        "lamphouse_projection_checkpoint_position",
        Of::Things,
        "Position of the last event whose effects are in the public tables",
        |live| live.checkpoint.into(),
    )?;
    public(
        "lamphouse_projection_lag_events",
        Of::Things,
        "Events that the public tables are behind",
        |live| live.lag_events.into(),
    )?;
    public(
        "lamphouse_projection_lag",
        Of::Seconds,
        "How long the oldest event that is not in the public tables has been waiting",
        |live| seconds(live.lag_ms),
    )?;
    public(
        "lamphouse_projection_parked_events",
        Of::Things,
        "Dead letters: events that the public tables lack the effects of",
        |live| live.parked_events.into(),
    )?;
    public(
        "lamphouse_projection_parked_streams",
        Of::Things,
        "Streams that they belong to",
        |live| live.parked_streams.into(),
    )
}

/// How each generation stands that is public or on its way there; retired ones are not shown.
pub(super) fn generations(page: &mut Page<'_>, status: &HostStatus) -> Result<(), Error> {
    let shown: Vec<(&ProjectionStatus, &GenerationStatus)> = status
        .projections
        .iter()
        .flat_map(|one| one.live.iter().chain(&one.others).map(move |other| (one, other)))
        .filter(|(_, generation)| GENERATION_STATES.contains(&generation.state.as_str()))
        .collect();
    let labels = |one: &ProjectionStatus, generation: &GenerationStatus| {
        let mut labels = projection(&one.name);
        labels.push(("generation", format!("g{}", generation.generation)));
        labels
    };
    let states = shown.iter().flat_map(|(one, generation)| {
        GENERATION_STATES.map(|state| {
            let mut labels = labels(one, generation);
            labels.push(("state", state.to_owned()));
            (labels, generation.state == state)
        })
    });
    page.gauge(
        "lamphouse_generation_state",
        Of::Things,
        "1 for the state that a generation is in, 0 for the others",
        states.collect::<Vec<_>>(),
    )?;
    let mut each = |name, of, help, pick: &dyn Fn(&GenerationStatus) -> Option<Value>| {
        let samples = shown
            .iter()
            .filter_map(|(one, generation)| Some((labels(one, generation), pick(generation)?)));
        page.gauge(name, of, help, samples)
    };
    each(
        "lamphouse_generation_checkpoint_position",
        Of::Things,
        "Position of the last event whose effects are in the generation's tables",
        &|generation| Some(generation.checkpoint.into()),
    )?;
    each(
        "lamphouse_generation_lag_events",
        Of::Things,
        "Events that the generation is behind",
        &|generation| Some(generation.lag_events.into()),
    )?;
    each(
        "lamphouse_generation_events_per_second",
        Of::Things,
        "Positions of the log that its checkpoint moves over, a second, over the last seconds",
        &|generation| Some(generation.events_per_second.unwrap_or(0.0).into()),
    )?;
    each(
        "lamphouse_generation_cache",
        Of::Bytes,
        "Rows in memory",
        &|generation| Some(generation.cache_bytes.into()),
    )?;
    each(
        "lamphouse_generation_cache_whole",
        Of::Things,
        "Whether the tables are whole in memory",
        &|generation| Some(generation.cache_is_whole.into()),
    )?;
    let head = status.log.head;
    each(
        "lamphouse_rebuild_progress_ratio",
        Of::Things,
        "How far a generation is that is being built, from 0 to 1",
        &|generation| {
            let is_built = matches!(generation.state.as_str(), "building" | "ready" | "failed");
            is_built.then(|| progress(generation.checkpoint, head).into())
        },
    )?;
    each(
        "lamphouse_rebuild_remaining",
        Of::Seconds,
        "Estimated time to the head of a generation that is being built; missing while nothing moves",
        &|generation| {
            let is_built = matches!(generation.state.as_str(), "building" | "ready");
            match (is_built, generation.lag_events) {
                (false, _) => None,
                (true, 0) => Some(0.0.into()),
                (true, _) => generation.time_left_ms.map(seconds),
            }
        },
    )
}

/// From 0 to 1; an empty log is done with.
fn progress(checkpoint: u64, head: u64) -> f64 {
    match head {
        0 => 1.0,
        head => (checkpoint as f64 / head as f64).min(1.0),
    }
}

fn seconds(ms: u64) -> Value {
    Value::Real(ms as f64 / 1000.0)
}

fn projection(name: &str) -> Labels {
    vec![("projection", name.to_owned())]
}

/// Each projection twice: what was done for its public tables, and what for others.
fn both(projections: &[(String, Arc<ProjectionMeter>)]) -> impl Iterator<Item = (Labels, &WorkMeter)> {
    projections.iter().flat_map(|(name, meter)| {
        [("live", &meter.live), ("building", &meter.building)].map(|(work, meter)| {
            let mut labels = projection(name);
            labels.push(("work", work.to_owned()));
            (labels, meter)
        })
    })
}

fn by_work<V>(
    projections: &[(String, Arc<ProjectionMeter>)],
    pick: impl Fn(&WorkMeter) -> V,
) -> Vec<(Labels, V)> {
    both(projections)
        .map(|(labels, work)| (labels, pick(work)))
        .collect()
}

/// Several counts of each projection, told apart by a label.
fn each<const N: usize>(
    projections: &[(String, Arc<ProjectionMeter>)],
    label: &'static str,
    pick: impl Fn(&ProjectionMeter) -> [(&'static str, u64); N],
) -> Vec<(Labels, u64)> {
    let of_one = |(name, meter): &(String, Arc<ProjectionMeter>)| {
        let counts = pick(meter).map(|(word, count)| {
            let mut labels = projection(name);
            labels.push((label, word.to_owned()));
            (labels, count)
        });
        counts.to_vec()
    };
    projections.iter().flat_map(of_one).collect()
}
