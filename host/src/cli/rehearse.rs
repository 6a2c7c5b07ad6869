//! `lamphouse rehearse`: would this plugin take what is parked?

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::output::{Output, Style};
use super::session::Session;
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::{Rehearsal, rehearse};

/// Run a plugin file against the parked events that it concerns, without touching a table
///
/// A projector is run against the dead letters of its projection, an upcaster against all of them, in the place of the
/// one of its name. Each stream's events go through in order, up to the first that fails, over the rows of now. A
/// projector that declares other tables has no such rows: it gets the earlier events of the same streams first, and sees
/// nothing of other streams.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse rehearse target/wasm32-unknown-unknown/release/order_summary.wasm")]
pub(super) struct Rehearse {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Rehearse {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let bytes =
            std::fs::read(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
        let (store, log) = (session.tables()?, session.log()?);
        let rehearsals = rehearse(&session.config, &store, &log, &bytes)
            .with_context(|| format!("{} cannot be rehearsed", self.file.display()))?;
        if out.json {
            out.document(&rehearsals)?;
        } else if rehearsals.is_empty() {
            out.line("no dead letters that this plugin concerns")?;
        } else {
            let lines = rehearsals.iter().flat_map(|one| lines(one, out.style));
            lines
                .collect::<Vec<_>>()
                .iter()
                .try_for_each(|line| out.line(line))?;
        }
        let failed: u64 = rehearsals.iter().map(|one| one.failed.len() as u64).sum();
        if failed > 0 {
            out.flush()?;
            bail!("{} would still fail", units::counted(failed, "event", "events"));
        }
        Ok(())
    }
}

fn lines(rehearsal: &Rehearsal, style: Style) -> Vec<String> {
    let events = |count| units::counted(count, "event", "events");
    let passed = format!("{} would pass", events(rehearsal.passed));
    let mut lines = vec![format!(
        "{} (g{}): {}, {} would fail, {} would wait behind them",
        style.bold(&plain(&rehearsal.projection)),
        rehearsal.generation,
        if rehearsal.failed.is_empty() {
            style.good(&passed)
        } else {
            passed
        },
        rehearsal.failed.len(),
        rehearsal.waiting
    )];
    if !rehearsal.on_its_rows {
        let how = "  it declares other tables: it was run on empty ones, from the first event of each of these streams on";
        lines.push(how.to_owned());
    }
    if rehearsal.more {
        lines.push("  the time was over before all were tried".to_owned());
    }
    for letter in &rehearsal.failed {
        lines.push(format!(
            "  {} at position {}: {}",
            plain(&letter.stream_id),
            units::count(letter.position.0),
            style.bad(&plain_lines(&letter.message))
        ));
    }
    lines
}
