//! One rebuild through the host's own pipeline, by a guest or by the same projector as native code in its place.

// A path dependency would make the guest a member of this workspace, which it is not: its folder is within this one's.
#[path = "../../guests/shop-orders/src/lib.rs"]
#[allow(missing_docs, unreachable_pub, dead_code)]
mod shop_orders;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lamphouse::core::bell::Bell;
use lamphouse::core::clock::Clock;
use lamphouse::core::limits::FaultPolicy;
use lamphouse::core::{PluginName, Position};
use lamphouse::plugin::{NativeTables, Plugin, Sandbox};
use lamphouse::projection::{Runner, RunnerNews, RunnerSpec, Surroundings};
use lamphouse::tables::{PluginRecord, ProjectionRecord};
use lamphouse_sdk::native;
use serde::Serialize;

use crate::Workload;
use crate::project::Project;

/// Longest wait for a rebuild.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A rebuild, and behind the names of which tables its rows are: `__g1`.
#[derive(Serialize)]
pub(crate) struct Rebuilt {
    events: u64,
    seconds: f64,
    suffix: String,
}

/// Rebuilds from an empty tables database: from the start of the pipeline's threads until the tables are level with the
/// log and have their indexes.
pub(crate) fn run(folder: &Path, workload: Workload, wasm: &Path, in_native: bool) -> Result<Rebuilt> {
    let project = Project::open(folder)?;
    let config = &project.config;
    let store = lamphouse::tables::open(&config.tables, project.runtime())?;
    let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
    let bytes = std::fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let guest = sandbox.load_projector(&bytes)?;
    let plugin = if in_native {
        Arc::new(by_native_code(&guest, workload))
    } else {
        guest
    };
    let descriptor = plugin.descriptor();
    let name = PluginName::new(&descriptor.name).map_err(|error| anyhow::anyhow!("{error}"))?;
    store.save_plugin(&PluginRecord {
        digest: plugin.digest(),
        name: name.clone(),
        version: descriptor.version.clone(),
        bytes,
    })?;
    store.save_projection(&ProjectionRecord {
        name: name.clone(),
        paused: None,
        held: None,
        removed: false,
    })?;
    let generation = store.create_generation(
        &name,
        &plugin.digest(),
        &descriptor.version,
        descriptor,
        &[],
        Clock::system().now_micros(),
    )?;
    let head = project.log.head()?.position;
    let (events, news) = crossbeam_channel::unbounded();
    let surroundings = Surroundings {
        log: project.log.clone(),
        tail: std::sync::Arc::default(),
        store: store.clone(),
        limits: config.pipeline.clone(),
        live: Arc::new(AtomicUsize::new(0)),
        written: Bell::default(),
        meters: Arc::default(),
        events,
    };
    let spec = RunnerSpec {
        generation: generation.clone(),
        plugin,
        upcasters: None,
        faults: FaultPolicy::default(),
        live: false,
    };
    let began = Instant::now();
    let runner = Runner::start(&surroundings, spec);
    match news
        .recv_timeout(WAIT_MAX)
        .context("the rebuild does not end")?
        .news
    {
        RunnerNews::CaughtUp => {}
        RunnerNews::Ended(reason) => bail!("the rebuild ended: {reason:?}"),
    }
    store.create_indexes(&generation)?;
    let seconds = began.elapsed().as_secs_f64();
    let reached = runner.hold().unwrap_or(Position::START);
    runner.stop();
    anyhow::ensure!(reached >= head, "the tables are at {reached}, the log at {head}");
    Ok(Rebuilt {
        events: head.0,
        seconds,
        suffix: format!("__{}", generation.id),
    })
}

struct Tables<'t>(&'t mut dyn NativeTables);

impl native::Tables for Tables<'_> {
    fn apply(&mut self, changes: &[u8]) -> Result<(), String> {
        self.0.apply(changes)
    }

    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>, String> {
        self.0.read(reads)
    }
}

/// The same source, compiled into this program.
fn by_native_code(guest: &Plugin, workload: Workload) -> Plugin {
    match workload {
        Workload::Retail => guest.with_native(Box::new(|events, tables| {
            native::project::<order_summary::OrderSummary>(events, &mut Tables(tables))
        })),
        Workload::Synthetic => guest.with_native(Box::new(|events, tables| {
            native::project::<shop_orders::ShopOrders>(events, &mut Tables(tables))
        })),
    }
}
