//! `lamphouse plugin check`: would the host run this file?

use std::path::PathBuf;

use anyhow::Result;

use super::output::Output;
use super::session::Session;

/// Check a plugin file as a host would, without deploying it
///
/// Checks what it imports and declares. In a project, also replays the first matching events of the log in batches of
/// 1, 7 and 1000, whose rows must be the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse plugin check target/wasm32-unknown-unknown/release/order_summary.wasm")]
pub(super) struct Check {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        session.check_plugin(&self.file, out)
    }
}
