//! `lamphouse plugin test`: a plugin against its cases.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::UsageError;
use super::args::Globals;
use super::output::{Output, Style};
use super::plugin_build::{shown, up_to_date};
use super::session::{code_cache, outside};
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::build::Project;
use crate::deploy::{CaseReport, CasesReport, run_cases};

/// Of one case, so much of what is wrong is shown; --json has all.
const PROBLEMS_MAX: usize = 20;

/// Run a plugin's cases: given these events, then these rows
///
/// Builds the plugin where its sources have changed, and runs every case of cases/*.yaml, *.yml and *.json in the sandbox
/// that a host runs it in, from empty tables: event by event, and with everything in one call. Exits with 1 where
/// something is not as a case says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse plugin test
  lamphouse plugin test build/orders.wasm --cases cases/orders.yaml

A file is a list of cases; JSON has the same shape:
  - case: an order with one line
    given:
      - {stream_id: order-1, event_type: OrderPlaced, data: {customer_id: c-7}}
      - {stream_id: order-1, event_type: LineAdded, data: {quantity: 3, unit_price: \"2.50\"}}
    then:
      orders:                            # all rows of this table, in any order
        - {order_id: order-1, lines: 1, total: \"7.50\"}
  - case: a line before its order
    given: [{stream_id: order-1, event_type: LineAdded, data: {quantity: 1, unit_price: \"1.00\"}}]
    fails: has no row                    # part of the fault's message

An event may also have stream_type (else what stands before the first '-' of stream_id), schema_version (else 1),
metadata, occurred_at (else one second after the event before, the first at 2024-01-01T00:00:01Z) and id. A table that is
not named, and a column that is not named, is not compared. Of an upcaster, `then` is the list of the events that come
out, in order: {event_type, schema_version (else 1), data, metadata}; data or metadata that is not there is not compared.

Values: decimals and integers as numbers or text, of any size, to the last digit; timestamps as RFC 3339; bytes as
\"hex:00ff\" or base64; JSON columns as what they hold, however it is written.")]
pub(super) struct Test {
    /// The folder of the plugin's sources, or a plugin file
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    plugin: PathBuf,
    /// A file of cases, or a folder of them [default: cases/ in the plugin's folder]
    #[arg(long, value_name = "PATH")]
    cases: Option<PathBuf>,
}

impl Test {
    pub(super) fn run(self, globals: &Globals, out: &mut Output) -> Result<()> {
        let Self { plugin, cases } = self;
        let (config, _runtime) = outside(globals)?;
        let (file, cases) = if plugin.is_file() {
            let Some(cases) = cases else {
                let why = format!(
                    "{} is a plugin file, whose cases are not known; name them: --cases PATH",
                    plugin.display()
                );
                return Err(UsageError(why).into());
            };
            (plugin, case_files(&cases)?)
        } else {
            let project = Project::at(&plugin)?;
            let cases = cases.unwrap_or_else(|| plugin.join("cases"));
            let cases = case_files(&cases)?;
            (up_to_date(&project)?, cases)
        };
        let cache = code_cache(&file, config.as_ref());
        let limits = config.map(|config| config.limits).unwrap_or_default();
        let report = run_cases(&file, &cases, &limits, cache.as_deref())?;
        if out.json {
            out.document(&report)?;
        } else {
            sentences(&report, out.style)
                .iter()
                .try_for_each(|line| out.line(line))?;
        }
        if report.failed > 0 {
            out.flush()?;
            bail!(
                "{} of {} failed",
                report.failed,
                units::counted(report.cases.len() as u64, "case", "cases")
            );
        }
        if report.cases.is_empty() {
            bail!("there is no case in {}", names(&cases));
        }
        Ok(())
    }
}

/// The files that a path names.
fn case_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| {
        format!(
            "there are no cases at {}: write some in {}, as `lamphouse plugin test --help` shows",
            path.display(),
            path.join("NAME.yaml").display()
        )
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry
            .with_context(|| format!("{} cannot be read", path.display()))?
            .path();
        let is_cases = file
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if is_cases && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!(
            "{} holds no file of cases: *.yaml, *.yml or *.json",
            path.display()
        );
    }
    Ok(files)
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    names.join(", ")
}

fn sentences(report: &CasesReport, style: Style) -> Vec<String> {
    let mut lines = vec![style.bold(&plain(&format!("{} {}", report.name, report.version)))];
    for case in &report.cases {
        lines.extend(case_lines(case, style));
    }
    lines.push(format!(
        "{}, {}",
        units::counted(report.cases.len() as u64, "case", "cases"),
        match report.failed {
            0 => style.good("all as they should be"),
            failed => style.bad(&format!("{failed} failed")),
        }
    ));
    lines
}

fn case_lines(case: &CaseReport, style: Style) -> Vec<String> {
    let name = plain(&case.case);
    if case.problems.is_empty() {
        return vec![format!("  {}  {name}", style.good("ok   "))];
    }
    let place = format!("({}, line {})", shown(&case.file), case.line);
    let mut lines = vec![format!("  {}  {name} {}", style.bad("WRONG"), style.dim(&place))];
    for problem in case.problems.iter().take(PROBLEMS_MAX) {
        let text = plain_lines(&problem.to_string());
        lines.extend(text.lines().map(|line| format!("         {line}")));
    }
    if case.problems.len() > PROBLEMS_MAX {
        lines.push(format!(
            "         and {} more",
            case.problems.len() - PROBLEMS_MAX
        ));
    }
    lines
}
