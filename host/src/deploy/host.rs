//! A host in this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::address::{Address, Places};
use super::conductor::{Conductor, Message, Reply};
use super::detail::{self, ProjectionDetail};
use super::explain::{Explanation, explain};
use super::operator::{HostStatus, OperateError, Operator, Outcome, Verb};
use super::plugins::{self, Condition, Contents, Installed, PluginDetail, Removed};
use super::published::Published;
use super::stage::{self, Files, Stager};
use super::story::{self, LetterDetail};
use super::today::upcasters_of;
use super::trim::Trimmer;
use super::uploads::{Received, Uploads};
use super::view::View;
use crate::config::Config;
use crate::core::bell::Bell;
use crate::core::clock::Clock;
use crate::core::{Class, PluginName};
use crate::log::{EventLog, LogError};
use crate::plugin::{PluginError, PluginMeters, Sandbox};
use crate::projection::{Meters, Surroundings};
use crate::schemas::Schemas;
use crate::tables::ddl::Dialect;
use crate::tables::{StoreError, TableStore};
use crate::watch::Folder;

/// Time between two words of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Run everything, until told to stop; stand by while another host owns the tables.
    Serve,
    /// The same, and new bytes under an old version are taken at once.
    Dev,
    /// Bring everything level, then end.
    CatchUp,
    /// Do what one command asks; the folder is not looked at.
    Command,
}

/// Why a host did not start or did not come level.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] StoreError),
    /// The sandbox, or a plugin that it does not take.
    #[error(transparent)]
    Sandbox(#[from] PluginError),
    /// Another host has the tables.
    #[error("{0} owns the tables database; stop it, or ask it by `--project` in its folder")]
    Owned(String),
    /// The plugin folder cannot be read.
    #[error("{0}; make it, or set `[plugins] folder` in lamphouse.toml")]
    Folder(String),
    /// A projection cannot come level, or a plugin file is not what it should be; says which and why.
    #[error("{0}")]
    Refused(String),
    /// The machine gave no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A running host.
pub struct Host {
    log: Arc<dyn EventLog>,
    log_kind: &'static str,
    store: Arc<dyn TableStore>,
    dialect: Dialect,
    sandbox: Arc<Sandbox>,
    uploads: Arc<Uploads>,
    schemas: Arc<Schemas>,
    written: Bell,
    meters: Arc<Meters>,
    plugin_meters: Arc<PluginMeters>,
    to_conductor: Sender<Message>,
    published: Arc<Published>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    // Ends its thread when dropped.
    _trimmer: Trimmer,
}

impl Host {
    /// Opens the log and the tables, and starts the conductor. In the modes `CatchUp` and `Command` another owner is an
    /// error; in the others this host stands by until it is gone.
    pub fn start(
        config: Config,
        mode: Mode,
        runtime: tokio::runtime::Handle,
    ) -> Result<Arc<Self>, HostError> {
        if mode != Mode::Command && !config.plugins.is_dir() {
            return Err(HostError::Folder(format!(
                "the plugin folder {} does not exist",
                config.plugins.display()
            )));
        }
        let clock = Clock::system();
        // What follows nobody need not start what notices others, and wait for its end.
        let follows = matches!(mode, Mode::Serve | Mode::Dev);
        let open_log = || {
            let log = crate::log::open(&config.log, &config.append, clock.clone(), runtime.clone())?;
            if follows {
                log.watch()?;
            }
            Ok::<_, LogError>(log)
        };
        let open_tables = || {
            let store = crate::tables::open(&config.tables, runtime.clone())?;
            let ownership = store.try_own()?;
            Ok::<_, HostError>((store, ownership))
        };
        // Side by side: each of them waits for several connections.
        let (log, (store, ownership)) = std::thread::scope(|scope| {
            let log = scope.spawn(open_log);
            let tables = open_tables();
            let log = log
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, HostError>((log?, tables?))
        })?;
        if ownership.is_none() && matches!(mode, Mode::CatchUp | Mode::Command) {
            let address = store.owner_address()?;
            return Err(HostError::Owned(
                address.map_or("another host".to_owned(), |address| {
                    format!("the host at {address}")
                }),
            ));
        }
        let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
        let schemas = Arc::new(Schemas::load(&config.schemas, config.unknown_types));
        if follows {
            schemas.watch()?;
        }
        let (to_conductor, messages) = unbounded();
        let (events, runner_events) = unbounded();
        let written = Bell::default();
        let meters = Arc::<Meters>::default();
        let surroundings = Surroundings {
            log: log.clone(),
            tail: Arc::default(),
            store: store.clone(),
            limits: config.pipeline.clone(),
            live: Arc::new(AtomicUsize::new(0)),
            written: written.clone(),
            meters: meters.clone(),
            events,
        };
        let (folder, stager) = if mode == Mode::Command {
            (None, None)
        } else {
            let (wake, staged) = (to_conductor.clone(), to_conductor.clone());
            let folder = Folder::new(
                &config.plugins,
                "plugin folder",
                &[".wasm", ".cwasm"],
                move || {
                    // The conductor may be gone.
                    let _ = wake.send(Message::Look);
                },
            );
            let folder = if follows { folder.watched() } else { folder };
            let stager = Stager::start(sandbox.clone(), move |done| {
                let _ = staged.send(Message::Staged(done));
            })?;
            (Some(folder), Some(stager))
        };
        let plugin_meters = sandbox.meters().clone();
        let log_kind = match config.log {
            crate::config::DatabaseUrl::Sqlite(_) => "sqlite",
            crate::config::DatabaseUrl::Postgres(_) => "postgres",
        };
        let dialect = match config.tables {
            crate::config::DatabaseUrl::Sqlite(_) => Dialect::Sqlite,
            crate::config::DatabaseUrl::Postgres(_) => Dialect::Postgres,
        };
        let uploads = Uploads::new(&config.plugins, config.limits.plugin_bytes_max);
        if folder.is_some() {
            uploads.clear_abandoned();
        }
        let published = Arc::<Published>::default();
        let now = Instant::now();
        let conductor = Conductor {
            config,
            mode,
            clock,
            sandbox: sandbox.clone(),
            surroundings,
            messages,
            to_self: to_conductor.clone(),
            runner_events,
            ownership,
            address: Address::default(),
            folder,
            files: Files::default(),
            stager,
            plugins: HashMap::new(),
            upcasters: HashMap::new(),
            upcaster_sets: HashMap::new(),
            wanted_upcasters: None,
            candidates: Vec::new(),
            projections: BTreeMap::new(),
            chores: Vec::new(),
            file_status: Vec::new(),
            problems: BTreeMap::new(),
            answers: Vec::new(),
            replies: Vec::new(),
            loaded: false,
            judged: false,
            next_look: now,
            next_ownership: now,
            settled: false,
            published: published.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("conductor".to_owned())
            .spawn(move || conductor.run())?;
        let trimmer = Trimmer::start(store.clone())?;
        Ok(Arc::new(Self {
            log,
            log_kind,
            store,
            dialect,
            sandbox,
            uploads: Arc::new(uploads),
            schemas,
            written,
            meters,
            plugin_meters,
            to_conductor,
            published,
            thread: Mutex::new(Some(thread)),
            _trimmer: trimmer,
        }))
    }

    /// Says where this host listens: `public` for those who use it, which the status shows; `local` for the commands of
    /// its own project, who find it recorded with the tables.
    pub fn announce(&self, public: &str, local: &str) {
        let places = Places {
            public: public.to_owned(),
            local: local.to_owned(),
        };
        let _ = self.to_conductor.send(Message::Announce(places));
    }

    /// Waits until what is stored has been read, so that a status shows it; false when that took longer than `time_max`.
    pub fn wait_loaded(&self, time_max: Duration) -> bool {
        self.published.wait_for(time_max, |view| view.loaded).loaded
    }

    /// The event log.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// The read tables.
    pub fn store(&self) -> &Arc<dyn TableStore> {
        &self.store
    }

    /// What appended events are held to.
    pub fn schemas(&self) -> &Arc<Schemas> {
        &self.schemas
    }

    /// What runs this host's plugins.
    pub fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// Where plugin files that come over a network are received.
    pub fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    /// Rings whenever rows of this host are in the tables. Another host that owns them rings its own.
    pub fn written(&self) -> &Bell {
        &self.written
    }

    /// What the projections did since this host was started.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// What its plugins cost.
    pub fn plugin_meters(&self) -> &Arc<PluginMeters> {
        &self.plugin_meters
    }

    /// Waits until every projection is level with the head that the log had at the start of the call, and every cutover
    /// that needs nobody's decision is done; calls `progress` about five times a second. A projection that stopped, and
    /// a plugin file that is refused, are errors.
    pub fn run_until_caught_up(
        &self,
        mut progress: impl FnMut(&HostStatus),
    ) -> Result<HostStatus, HostError> {
        let head = self.log.head()?.position;
        loop {
            let is_over = |view: &View| view.judged && (!view.stopped().is_empty() || view.is_level(head));
            let view = self.published.wait_for(PROGRESS_EVERY, is_over);
            let status = self.document(&view);
            progress(&status);
            if !is_over(&view) {
                continue;
            }
            let stopped = view.stopped();
            if !stopped.is_empty() {
                return Err(HostError::Refused(stopped.join("\n")));
            }
            let refused: Vec<String> = status
                .files
                .iter()
                .filter(|file| file.state == "refused")
                .map(|file| file.message.clone())
                .collect();
            return match refused.is_empty() {
                true => Ok(status),
                false => Err(HostError::Refused(refused.join("\n"))),
            };
        }
    }

    /// Ends every projection (what is applied is flushed), gives up the ownership.
    pub fn stop(&self) {
        let _ = self.to_conductor.send(Message::Stop);
        if let Some(thread) = self.thread.lock().take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }

    fn document(&self, view: &View) -> HostStatus {
        let head = self.log.head().ok();
        // The next event after a checkpoint, which is there where the head is further.
        let recorded_at = |position| {
            let event = self.log.event(position).ok().flatten();
            event.map(|event| event.recorded_at.timestamp_micros())
        };
        let mut document = view.document(self.log_kind, &self.log.id().to_string(), head, &recorded_at);
        document.problems.extend(self.schemas.problems());
        document
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How long a person's request may wait for the conductor.
const OPERATE_WAIT: Duration = Duration::from_secs(20);

impl Host {
    /// Does something on the conductor's thread, and waits for what it gives.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Conductor) -> Result<T, OperateError> + Send + 'static,
    ) -> Result<T, OperateError> {
        // The first answer needs what is stored to be read.
        self.wait_loaded(OPERATE_WAIT);
        let (reply, answer) = bounded(1);
        let work = move |conductor: &mut Conductor| -> Reply {
            let given = work(conductor);
            Box::new(move || {
                // Who asked may have given up.
                let _ = reply.send(given);
            })
        };
        self.to_conductor
            .send(Message::Ask(Box::new(work)))
            .map_err(|_| gone())?;
        answer.recv_timeout(OPERATE_WAIT).map_err(|_| late())?
    }
}

fn gone() -> OperateError {
    OperateError::Unavailable("the host is stopping".to_owned())
}

fn late() -> OperateError {
    OperateError::Unavailable(
        "the host did not answer in time; its database may be away: see `lamphouse status`".to_owned(),
    )
}

impl Operator for Host {
    fn status(&self) -> Result<HostStatus, OperateError> {
        Ok(self.document(&self.published.get()))
    }

    fn operate(&self, projection: &str, verb: Verb) -> Result<Outcome, OperateError> {
        // The first answer needs what is stored to be read.
        self.wait_loaded(OPERATE_WAIT);
        let (reply, answer) = bounded(1);
        self.to_conductor
            .send(Message::Operate {
                projection: projection.to_owned(),
                verb,
                reply,
            })
            .map_err(|_| gone())?;
        answer.recv_timeout(OPERATE_WAIT).map_err(|_| late())?
    }

    fn projection(&self, name: &str) -> Result<ProjectionDetail, OperateError> {
        let generations = self.store.generations();
        let generations = generations.map_err(|error| OperateError::Unavailable(error.to_string()))?;
        detail::detail(self.status()?, &generations, self.dialect, name)
    }

    fn dead_letter(&self, projection: &str, event: &str) -> Result<LetterDetail, OperateError> {
        let unknown = || OperateError::NotFound(format!("there is no projection '{projection}'"));
        let name = PluginName::new(projection).map_err(|_| unknown())?;
        let all = self.store.projections();
        let all = all.map_err(|error| OperateError::Unavailable(error.to_string()))?;
        if !all.iter().any(|record| record.name == name) {
            return Err(unknown());
        }
        let upcasters = |generation: &_| upcasters_of(&self.sandbox, &*self.store, generation);
        story::dead_letter(&*self.log, &*self.store, upcasters, &name, event)
    }

    fn explain(&self, event: &str) -> Result<Explanation, OperateError> {
        let event = story::find_event(&*self.log, event)?;
        let sandbox = || Ok(self.sandbox.clone());
        match explain(&sandbox, &self.store, &self.log, &event) {
            Ok(projections) => Ok(Explanation { event, projections }),
            Err(HostError::Log(error)) => Err(OperateError::Unavailable(error.to_string())),
            Err(HostError::Tables(error)) => Err(OperateError::Unavailable(error.to_string())),
            Err(error) => Err(OperateError::Refused(error.to_string())),
        }
    }

    fn plugin(&self, name: &str) -> Result<PluginDetail, OperateError> {
        let all = plugins::list(&self.status()?);
        let Some(status) = all.into_iter().find(|plugin| plugin.name == name) else {
            return Err(OperateError::NotFound(format!(
                "there is no {name}.wasm in the plugin folder, and no plugin '{name}' is deployed"
            )));
        };
        let staged = match status.file.clone() {
            Some(file) => self.ask(move |conductor| Ok(conductor.staged(&file)))?,
            None => None,
        };
        let contents = staged.map(|(plugin, bytes)| Contents::of(&plugin, &bytes, self.dialect));
        Ok(PluginDetail { status, contents })
    }

    fn install(
        &self,
        name: &PluginName,
        received: Received,
        condition: &Condition,
    ) -> Result<Installed, OperateError> {
        self.ask(|conductor| conductor.may_install())?;
        let file = format!("{name}.wasm");
        let bytes: Arc<[u8]> = match received.read() {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                let why = format!("the upload cannot be read back: {error}");
                return Err(OperateError::Unavailable(why));
            }
        };
        let plugin = stage::load(&self.sandbox, &file, &bytes).map_err(|(class, why)| match class {
            Class::Fault | Class::TimeLimit => OperateError::Invalid(why),
            Class::Retryable | Class::Bug => OperateError::Unavailable(why),
        })?;
        let condition = condition.clone();
        self.ask(move |conductor| conductor.install(&file, &plugin, &bytes, &received, &condition))
    }

    fn remove_plugin(&self, name: &str, condition: &Condition) -> Result<Removed, OperateError> {
        let (name, condition) = (name.to_owned(), condition.clone());
        self.ask(move |conductor| {
            // Whatever is in the folder may be taken out, also what has no valid name.
            let named = [format!("{name}.wasm"), name];
            let is_there = |file: &&String| conductor.has_file(file);
            let file = named.iter().find(is_there).unwrap_or(&named[0]);
            conductor.remove_plugin(&file.clone(), &condition)
        })
    }
}
