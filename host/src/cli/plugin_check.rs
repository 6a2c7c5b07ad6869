//! `lamphouse plugin check`: would the host run this file?

use std::path::PathBuf;

use anyhow::{Result, bail};
use lamphouse_contract::Rule;

use super::args::Globals;
use super::output::Output;
use super::session::{code_cache, outside};
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::{CheckReport, Declared, RowDifference, check_plugin, replay_for_another};

/// Check a plugin file as a host would, without deploying it
///
/// Checks what it imports and declares. In a project, also replays the first 10,000 matching events of the log in batches
/// of 1, 7 and 1000, which must give the same: the same rows of a projector, whose events go through the upcasters of the
/// plugin folder first, and the same once more in a second process; the same events of an upcaster. Exits with 1 where
/// the plugin may not be deployed, and shows the first row that differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse plugin check target/wasm32-unknown-unknown/release/order_summary.wasm")]
pub(super) struct Check {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Be the second process: the events come on standard input, the rows go to standard output.
    #[arg(long, hide = true)]
    replay: bool,
}

impl Check {
    pub(super) fn run(self, globals: &Globals, out: &mut Output) -> Result<()> {
        if self.replay {
            let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
            return Ok(replay_for_another(&self.file, input, output)?);
        }
        let (config, runtime) = outside(globals)?;
        let cache = code_cache(&self.file, config.as_ref());
        let report = check_plugin(
            &self.file,
            config.as_ref(),
            cache.as_deref(),
            runtime.handle().clone(),
        )?;
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
            "  replay  {} in batches of 1, 7 and 1000{} gave {}",
            units::counted(events, "event", "events"),
            match &report.descriptor {
                Declared::Projector(_) => ", and in a second process,",
                Declared::Upcaster(_) => "",
            },
            if report.problems.is_empty() {
                &gave
            } else {
                "what is wrong"
            }
        ),
    });
    lines.extend(
        report
            .problems
            .iter()
            .map(|problem| format!("  wrong   {}", plain_lines(problem))),
    );
    lines.extend(report.difference.iter().flat_map(row_difference));
    if report.problems.is_empty() {
        lines.push("  it may be deployed".to_owned());
    }
    lines
}

/// A line for each value of each column that differs, with the runs that gave it.
fn row_difference(difference: &RowDifference) -> Vec<String> {
    let mut lines = vec![format!(
        "          in table {}, key {}:",
        plain(&difference.table),
        plain(&difference.key)
    )];
    let width = difference
        .columns
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut show = |name: &str, of_runs: Vec<(&str, &str)>| {
        let mut values: Vec<(&str, Vec<&str>)> = Vec::new();
        for (run, value) in of_runs {
            match values.iter_mut().find(|(other, _)| *other == value) {
                Some((_, runs)) => runs.push(run),
                None => values.push((value, vec![run])),
            }
        }
        for (place, (value, runs)) in values.iter().enumerate() {
            let name = if place == 0 { plain(name) } else { String::new() };
            lines.push(format!(
                "            {name:width$}  {}  in {}",
                plain(value),
                runs.join(", ")
            ));
        }
    };
    if difference.runs.iter().any(|run| run.values.is_none()) {
        let there = difference.runs.iter().map(|run| {
            let there = if run.values.is_some() {
                "the row is there"
            } else {
                "no such row"
            };
            (run.run.as_str(), there)
        });
        show("", there.collect());
    }
    for (place, name) in difference.columns.iter().enumerate() {
        let values = difference.runs.iter().filter_map(|run| {
            let values = run.values.as_ref()?;
            Some((run.run.as_str(), values[place].as_str()))
        });
        show(name, values.collect());
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
