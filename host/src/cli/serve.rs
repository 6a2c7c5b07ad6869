//! `lamphouse serve` and `lamphouse dev`: a host until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use super::interrupt::stop_asked;
use super::output::Output;
use super::session::Session;
use super::table::plain_lines;
use super::units;
use crate::api::{self, Entrance};
use crate::config::Config;
use crate::deploy::build::Project;
use crate::deploy::{BuildEvent, Catalog, Host, Mode, States, watch_sources};
use crate::tables::QueryLimits;
use crate::telemetry::Event;
use crate::telemetry::events::{
    HostStarted, HostStopping, PlainHttp, PluginBuilding, PluginBuilt, PluginNotBuilt,
};

/// Run the projections of this project and keep their tables level with the log
///
/// Watches the plugin folder, and answers the other commands and whoever has a token over HTTP, on loopback unless
/// [host] listen says otherwise. Runs until Ctrl-C or SIGTERM, then finishes what is under way. A second host for the
/// same tables stands by until the first is gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse serve
  LAMPHOUSE_LISTEN=127.0.0.1:8000 lamphouse serve --log-format json")]
pub(super) struct Serve {}

/// Run as serve does, for someone who writes a plugin
///
/// A plugin file whose bytes changed is deployed at once as a new generation, also under the same version. The plugin
/// projects that are named, in any language that `plugin build` knows, are built at the start and whenever their sources
/// change; what ran before goes on where they do not build.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse dev
  lamphouse dev ../order-summary ../order-names     two folders with plugins' sources")]
pub(super) struct Dev {
    /// Plugin projects to build into the plugin folder
    #[arg(value_name = "PROJECT")]
    projects: Vec<PathBuf>,
}

impl Serve {
    pub(super) fn run(self, session: &Session, _: &mut Output) -> Result<()> {
        host(session, Mode::Serve)
    }
}

impl Dev {
    pub(super) fn run(self, session: &Session, _: &mut Output) -> Result<()> {
        let projects: Vec<Project> = self
            .projects
            .iter()
            .map(|folder| Project::at(folder))
            .collect::<Result<_, _>>()?;
        if projects.is_empty() {
            return host(session, Mode::Dev);
        }
        let plugins = session.config.plugins.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let builder = std::thread::Builder::new()
            .name("builder".to_owned())
            .spawn(move || watch_sources(&projects, &plugins, &told, tell))
            .context("no thread could be started")?;
        let result = host(session, Mode::Dev);
        stop.store(true, Ordering::Release);
        // A panic there has been printed already.
        let _ = builder.join();
        result
    }
}

/// Runs a host and its admin surface until a signal.
fn host(session: &Session, mode: Mode) -> Result<()> {
    let config = &session.config;
    let entrance = Entrance::open(config)?;
    // First the port: a host that cannot be reached should not begin.
    let mut listening = vec![session.block_on(api::bind(&config.listen))?];
    // The other commands of this project speak plain HTTP on loopback; no certificate names that.
    if entrance.has_tls() || !config.is_loopback() {
        listening.push(session.block_on(api::bind_local())?);
    }
    let addresses: Vec<String> = listening
        .iter()
        .map(|one| one.address().map(|address| address.to_string()))
        .collect::<Result<_, _>>()
        .context("a listening socket has no address")?;
    let address = addresses.first().cloned().unwrap_or_default();
    if !config.is_loopback() && !entrance.has_tls() {
        PlainHttp { address: &address }.emit();
    }
    let host = session.start_host(mode)?;
    let public = match entrance.has_tls() {
        true => format!("https://{address}"),
        false => address.clone(),
    };
    host.announce(&public, addresses.last().unwrap_or(&address));
    HostStarted {
        address: &address,
        log: &config.log.to_string(),
        tables: &config.tables.to_string(),
        plugins: &config.plugins.display().to_string(),
    }
    .emit();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let subscriptions_max = usize::try_from(config.subscriptions_max).unwrap_or(usize::MAX);
    let catalog = Arc::new(Catalog::new(
        host.log().clone(),
        host.store().clone(),
        host.sandbox().clone(),
        host.schemas().clone(),
    ));
    let shared = api::Shared {
        subscriptions: api::Subscriptions::new(host.log(), host.store(), host.written(), subscriptions_max),
        operator: host.clone(),
        log: host.log().clone(),
        store: host.store().clone(),
        written: host.written().clone(),
        schemas: host.schemas().clone(),
        catalog,
        states: Arc::new(States::new(
            host.sandbox().clone(),
            host.log().clone(),
            host.store().clone(),
            config.state.clone(),
        )),
        query: QueryLimits {
            rows_max: config.query_rows_max,
            time_max: config.query_time_max,
        },
        uploads: host.uploads().clone(),
        body_bytes_max: usize::try_from(config.body_bytes_max).unwrap_or(usize::MAX),
        watch: watch(&host, config),
        noted: entrance.noted(),
    };
    let subscriptions = shared.subscriptions.clone();
    let serving = api::serve(listening, shared, entrance, async {
        // A dropped sender asks for the end too.
        let _ = stopped.await;
    });
    let mut serving = session.runtime().spawn(serving);
    let ended = session.block_on(async {
        tokio::select! {
            why = stop_asked() => Ok(why),
            ended = &mut serving => Err(ended),
        }
    });
    let surface = match ended {
        Ok(why) => {
            HostStopping { why }.emit();
            session.runtime().spawn(async {
                stop_asked().await;
                std::process::exit(130);
            });
            drop(stop);
            session.block_on(serving)
        }
        Err(ended) => {
            HostStopping {
                why: "the admin surface ended",
            }
            .emit();
            ended
        }
    };
    subscriptions.end();
    host.stop();
    surface
        .context("the admin surface failed, which is a bug of ours")?
        .context("the admin surface failed")
}

/// What the host is watched by, and when it is ready.
fn watch(host: &Host, config: &Config) -> api::Watch {
    let by_name = config
        .projections
        .iter()
        .map(|(name, settings)| (name.clone(), settings.ready));
    api::Watch {
        projections: host.meters().clone(),
        plugins: host.plugin_meters().clone(),
        ready: api::ReadyPolicy {
            lag_events_max: config.ready_lag_events_max,
            lag_ms_max: config.ready_lag_ms_max,
            waits: config.projection.ready,
            by_name: by_name.collect(),
        },
        metrics_open: config.metrics_open,
        ..api::Watch::default()
    }
}

/// Says how a build goes.
fn tell(event: BuildEvent) {
    let name = |path: &Path| path.display().to_string();
    match event {
        BuildEvent::Began(project) => PluginBuilding {
            project: &name(&project),
        }
        .emit(),
        BuildEvent::Built {
            project,
            file,
            changed,
            time,
            warnings,
        } => {
            PluginBuilt {
                project: &name(&project),
                file: &name(&file),
                changed,
                time: &units::duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            }
            .emit();
            if !warnings.is_empty() {
                super::progress::say(&plain_lines(&warnings));
            }
        }
        BuildEvent::Failed(project, why) => {
            PluginNotBuilt {
                project: &name(&project),
            }
            .emit();
            // The compiler's own words are for reading, line by line.
            super::progress::say(&plain_lines(&why));
        }
    }
}
