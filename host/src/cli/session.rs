//! Opens what a verb needs: configuration, log, tables, and a host to ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::runtime::{Handle, Runtime};

use super::args::Globals;
use super::output::Output;
use crate::api::{RemoteOperator, Token};
use crate::config::Config;
use crate::core::clock::Clock;
use crate::deploy::operator::{HostStatus, Operator};
use crate::log::EventLog;
use crate::tables::TableStore;

/// What one command works with.
pub(super) struct Session {
    pub(super) config: Config,
    runtime: Runtime,
}

/// A host to ask: the running one, or one in this process.
pub(super) struct Reached {
    pub(super) operator: Arc<dyn Operator>,
    /// Whether it runs in another process and goes on when this one ends.
    pub(super) remote: bool,
}

impl Session {
    /// Reads the project's configuration and starts a runtime.
    pub(super) fn open(globals: &Globals) -> Result<Self> {
        let from_env = || {
            std::env::var_os("LAMPHOUSE_PROJECT")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        };
        let root = globals
            .project
            .clone()
            .or_else(from_env)
            .unwrap_or_else(|| PathBuf::from("."));
        let config = Config::load(&root)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("the asynchronous runtime cannot start")?;
        Ok(Self { config, runtime })
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

    /// The running host of these tables, if there is one.
    pub(super) fn running_host(&self) -> Result<Option<RemoteOperator>> {
        let Some(address) = self.tables()?.owner_address()? else {
            return Ok(None);
        };
        let token = Token::load(&self.config.data).with_context(|| {
            format!("a host runs at {address}, but its admin token cannot be read; run this as the user who runs the host")
        })?;
        Ok(Some(RemoteOperator::new(&address, token)))
    }

    /// A host to ask: the running one, else one in this process.
    pub(super) fn reach(&self) -> Result<Reached> {
        match self.running_host()? {
            Some(remote) => Ok(Reached {
                operator: Arc::new(remote),
                remote: true,
            }),
            None => bail!(
                "no host is running for {}; start one with 'lamphouse serve'",
                self.config.tables
            ),
        }
    }
}

/// What a host in this process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostMode {
    Serve,
    Dev,
}

impl Session {
    /// Runs a host until it is told to stop.
    pub(super) fn serve(&self, _mode: HostMode) -> Result<()> {
        bail!("this build has no host")
    }

    /// Brings every projection level; gives the status then.
    pub(super) fn catch_up(&self, _progress: &mut dyn FnMut(&HostStatus)) -> Result<HostStatus> {
        bail!("this build has no host")
    }

    /// Checks a plugin file.
    pub(super) fn check_plugin(&self, _file: &Path, _out: &mut Output) -> Result<()> {
        bail!("this build has no sandbox")
    }
}
