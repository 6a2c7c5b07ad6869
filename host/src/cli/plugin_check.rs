//! `lamphouse plugin check`: would the host run this file?

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::args::Globals;
use super::output::Output;
use super::session::outside;
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::{CheckReport, check_plugin};

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
    pub(super) fn run(self, globals: &Globals, out: &mut Output) -> Result<()> {
        let (config, runtime) = outside(globals)?;
        let report = check_plugin(&self.file, config.as_ref(), runtime.handle().clone())?;
        if out.json {
            out.document(&report)?;
        } else {
            sentences(&report).iter().try_for_each(|line| out.line(line))?;
        }
        if !report.problems.is_empty() {
            out.flush()?;
            bail!(
                "{} may not be deployed: {}",
                self.file.display(),
                report.problems.join("; ")
            );
        }
        Ok(())
    }
}

fn sentences(report: &CheckReport) -> Vec<String> {
    let tables: Vec<&str> = report
        .descriptor
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    let mut lines = vec![
        format!(
            "{} {} ({})",
            plain(&report.name),
            plain(&report.version),
            plain(&report.lane)
        ),
        format!("  digest  {}", report.digest),
        format!("  tables  {}", plain(&tables.join(", "))),
    ];
    lines.push(match report.events_replayed {
        0 => "  replay  no event of a log was there to replay".to_owned(),
        events => format!(
            "  replay  {} in batches of 1, 7 and 1000 gave {}",
            units::counted(events, "event", "events"),
            units::counted(report.rows, "row", "rows")
        ),
    });
    lines.extend(
        report
            .problems
            .iter()
            .map(|problem| format!("  wrong   {}", plain_lines(problem))),
    );
    if report.problems.is_empty() {
        lines.push("  it may be deployed".to_owned());
    }
    lines
}
