//! Opens what a verb needs: configuration, log, tables, and a host to ask.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::runtime::{Handle, Runtime};

use super::args::Globals;
use crate::api::{RemoteOperator, Token};
use crate::config::{Config, FILE};
use crate::core::PluginName;
use crate::core::clock::Clock;
use crate::deploy::audit::{Action, Record};
use crate::deploy::detail::ProjectionDetail;
use crate::deploy::operator::{HostInfo, HostStatus, OperateError, Operator, Outcome, Verb};
use crate::deploy::plugins::{Condition, Installed, PluginDetail, Removed};
use crate::deploy::story::LetterDetail;
use crate::deploy::uploads::Received;
use crate::deploy::{Explanation, Host, HostError, Mode};
use crate::log::EventLog;
use crate::tables::TableStore;

/// How long a host that owns the tables may take to say where it listens.
const ANNOUNCE_TIME_MAX: Duration = Duration::from_secs(5);
/// Between two looks at that.
const ANNOUNCE_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a host in this process may take to read what is stored.
const LOAD_TIME_MAX: Duration = Duration::from_secs(20);

/// What one command works with.
pub(super) struct Session {
    pub(super) config: Config,
    runtime: Runtime,
}

/// A host to ask: the running one, or one in this process.
pub(super) struct Reached {
    pub(super) operator: Box<dyn Operator>,
    /// Whether it runs in another process and goes on when this one ends.
    pub(super) remote: bool,
}

impl Session {
    /// Reads the project's configuration and starts a runtime.
    pub(super) fn open(globals: &Globals) -> Result<Self> {
        let config = Config::load(&root(globals))?;
        Ok(Self {
            config,
            runtime: runtime()?,
        })
    }

    pub(super) fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    /// The event log; made when it is not there.
    pub(super) fn log(&self) -> Result<Arc<dyn EventLog>> {
        let Config { log, append, .. } = &self.config;
        crate::log::open(log, append, Clock::system(), self.runtime().clone())
            .with_context(|| format!("the event log at {log} cannot be opened"))
    }

    /// The read tables; made when they are not there.
    pub(super) fn tables(&self) -> Result<Arc<dyn TableStore>> {
        crate::tables::open(&self.config.tables, self.runtime().clone())
            .with_context(|| format!("the read tables at {} cannot be opened", self.config.tables))
    }

    /// The running host of these tables, if there is one that says where it listens.
    pub(super) fn running_host(&self) -> Result<Option<RemoteOperator>> {
        let Some(address) = self.tables()?.owner_address()? else {
            return Ok(None);
        };
        let token = Token::load(&self.config.data).with_context(|| {
            format!(
                "a host runs at {address} and its admin token cannot be read here; run this on the same machine, in the \
                 same project, as the user who runs the host"
            )
        })?;
        Ok(Some(RemoteOperator::new(&address, token)))
    }

    /// The running host, else what `start` gives; waits while another process owns the tables and has not yet said
    /// where it listens.
    fn remote_or<T>(&self, start: impl Fn() -> Result<T, HostError>) -> Result<Result<RemoteOperator, T>> {
        let until = Instant::now() + ANNOUNCE_TIME_MAX;
        loop {
            if let Some(remote) = self.running_host()? {
                return Ok(Ok(remote));
            }
            match start() {
                Ok(local) => return Ok(Err(local)),
                Err(HostError::Owned(_)) if Instant::now() < until => std::thread::sleep(ANNOUNCE_LOOK_EVERY),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn start(&self, mode: Mode) -> Result<Arc<Host>, HostError> {
        Host::start(self.config.clone(), mode, self.runtime().clone())
    }

    /// A host to ask: the running one, else one in this process, which ends with the answer's value.
    pub(super) fn reach(&self) -> Result<Reached> {
        let reached = match self.remote_or(|| self.start(Mode::Command))? {
            Ok(remote) => Reached {
                operator: Box::new(remote),
                remote: true,
            },
            Err(host) => {
                if !host.wait_loaded(LOAD_TIME_MAX) {
                    let problems = host.status()?.problems.join("; ");
                    bail!(
                        "the read tables at {} cannot be read: {problems}",
                        self.config.tables
                    );
                }
                Reached {
                    operator: Box::new(InProcess(host)),
                    remote: false,
                }
            }
        };
        Ok(reached)
    }

    /// The running host, else one that brings everything level.
    pub(super) fn reach_to_catch_up(&self) -> Result<Result<RemoteOperator, Arc<Host>>> {
        self.remote_or(|| self.start(Mode::CatchUp))
    }

    /// Starts a host that runs until it is stopped; None of its threads is waited for.
    pub(super) fn start_host(&self, mode: Mode) -> Result<Arc<Host>> {
        Ok(self.start(mode)?)
    }

    /// Waits for a future on this thread.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

/// The project's configuration where there is a project, and a runtime; for commands that work outside one too.
pub(super) fn outside(globals: &Globals) -> Result<(Option<Config>, Runtime)> {
    let root = root(globals);
    let config = match root.join(FILE).exists() || globals.project.is_some() {
        true => Some(Config::load(&root)?),
        false => None,
    };
    Ok((config, runtime()?))
}

/// Where compiled code of a plugin file is kept: with the project, where a host will look for it, else beside the file
/// where that is what a build of ours made.
pub(super) fn code_cache(file: &Path, config: Option<&Config>) -> Option<PathBuf> {
    match config {
        Some(config) => Some(config.data.join("code")),
        None => {
            let folder = file.parent()?;
            (folder.file_name()? == "build").then(|| folder.join(".code"))
        }
    }
}

fn root(globals: &Globals) -> PathBuf {
    let from_env = || {
        std::env::var_os("LAMPHOUSE_PROJECT")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    };
    globals
        .project
        .clone()
        .or_else(from_env)
        .unwrap_or_else(|| PathBuf::from("."))
}

pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")
}

/// Who runs this command, as far as the environment says; else empty.
pub(super) fn user() -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_default()
}

/// The same where no host knows better: by its token, say. Without a name, the system's number for the user.
fn user_or_number() -> String {
    let named = Some(user()).filter(|user| !user.is_empty());
    let numbered = || {
        let own = std::fs::metadata("/proc/self").ok()?;
        Some(format!("uid {}", own.uid()))
    };
    named.or_else(numbered).unwrap_or_else(|| "somebody".to_owned())
}

/// A host in this process that does what one command asks. It is none that others could reach, and says so.
struct InProcess(Arc<Host>);

impl InProcess {
    /// Does what whoever runs this command asks for, on record.
    fn on_record<T>(
        &self,
        action: Action,
        said: impl FnOnce(&T) -> String,
        act: impl FnOnce() -> Result<T, OperateError>,
    ) -> Result<T, OperateError> {
        let log = self.0.log();
        let record = Record::new(user_or_number(), None, action, log.limits());
        record.around(&**log, said, OperateError::to_string, act)
    }
}

impl Operator for InProcess {
    fn status(&self) -> Result<HostStatus, OperateError> {
        let mut status = self.0.status()?;
        status.host = HostInfo {
            version: status.host.version,
            role: "none".to_owned(),
            ..HostInfo::default()
        };
        Ok(status)
    }

    fn operate(&self, projection: &str, verb: Verb) -> Result<Outcome, OperateError> {
        let said = |outcome: &Outcome| outcome.message.clone();
        self.on_record(Action::operate(projection, &verb), said, || {
            self.0.operate(projection, verb)
        })
    }

    fn projection(&self, name: &str) -> Result<ProjectionDetail, OperateError> {
        self.0.projection(name)
    }

    fn dead_letter(&self, projection: &str, event: &str) -> Result<LetterDetail, OperateError> {
        self.0.dead_letter(projection, event)
    }

    fn explain(&self, event: &str) -> Result<Explanation, OperateError> {
        self.0.explain(event)
    }

    fn plugin(&self, name: &str) -> Result<PluginDetail, OperateError> {
        self.0.plugin(name)
    }

    fn install(
        &self,
        name: &PluginName,
        received: Received,
        condition: &Condition,
    ) -> Result<Installed, OperateError> {
        let said = |installed: &Installed| installed.message.clone();
        self.on_record(Action::install(name, &received), said, || {
            self.0.install(name, received, condition)
        })
    }

    fn remove_plugin(&self, name: &str, condition: &Condition) -> Result<Removed, OperateError> {
        let said = |removed: &Removed| removed.message.clone();
        self.on_record(Action::remove_plugin(name), said, || {
            self.0.remove_plugin(name, condition)
        })
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.0.stop();
    }
}
