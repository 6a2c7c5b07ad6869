//! `lamphouse plugin check`: would the host run this file?

use std::path::PathBuf;

use anyhow::{Result, bail};
use lamphouse_contract::Rule;

use super::args::Globals;
use super::output::Output;
use super::session::outside;
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::{CheckReport, Declared, check_plugin};

/// Check a plugin file as a host would, without deploying it
///
/// Checks what it imports and declares. In a project, also replays the first matching events of the log in batches of
/// 1, 7 and 1000, which must give the same: the same rows of a projector, whose events go through the upcasters of the
/// plugin folder first; the same events of an upcaster.
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
    let mut lines = vec![
        format!(
            "{} {} ({})",
            plain(&report.name),
            plain(&report.version),
            plain(&report.lane)
        ),
        format!("  digest  {}", report.digest),
    ];
    let gave = match &report.descriptor {
        Declared::Projector(descriptor) => {
            let tables: Vec<&str> = descriptor
                .tables
                .iter()
                .map(|table| table.name.as_str())
                .collect();
            lines.push(format!("  tables  {}", plain(&tables.join(", "))));
            units::counted(report.rows, "row", "rows")
        }
        Declared::Upcaster(descriptor) => {
            lines.extend(descriptor.rules.iter().map(rule));
            units::counted(report.events_given, "event", "events")
        }
    };
    lines.push(match report.events_replayed {
        0 => "  replay  no event of a log was there to replay".to_owned(),
        events => format!(
            "  replay  {} in batches of 1, 7 and 1000 gave {gave}",
            units::counted(events, "event", "events"),
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

/// `  rule    LineAdded 1 → LineAdded 2, LinePriced 1`.
fn rule(rule: &Rule) -> String {
    let gives: Vec<String> = rule.gives.iter().map(ToString::to_string).collect();
    let gives = if gives.is_empty() {
        "dropped".to_owned()
    } else {
        gives.join(", ")
    };
    format!("  rule    {} → {}", plain(&rule.takes.to_string()), plain(&gives))
}
