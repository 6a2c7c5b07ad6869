//! `lamphouse serve` and `lamphouse dev`: a host until it is told to stop.

use anyhow::Result;

use super::output::Output;
use super::session::{HostMode, Session};

/// Run the projections of this project and keep their tables level with the log
///
/// Watches the plugin folder, and answers the other commands on loopback. Runs until Ctrl-C or SIGTERM, then finishes
/// what is under way. A second host for the same tables stands by until the first is gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse serve
  LAMPHOUSE_LISTEN=127.0.0.1:8000 lamphouse serve --log-format json")]
pub(super) struct Serve {}

/// Run as serve does, for someone who writes a plugin
///
/// A plugin file whose bytes changed is deployed at once as a new generation, also under the same version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse dev --verbose")]
pub(super) struct Dev {}

impl Serve {
    pub(super) fn run(self, session: &Session, _: &mut Output) -> Result<()> {
        session.serve(HostMode::Serve)
    }
}

impl Dev {
    pub(super) fn run(self, session: &Session, _: &mut Output) -> Result<()> {
        session.serve(HostMode::Dev)
    }
}
