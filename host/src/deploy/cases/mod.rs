//! `lamphouse plugin test`: given these events, then these rows, in files that are the same for every language.
//!
//! *Invariants:* a case runs in the real sandbox and through the real row cache, from empty tables; event by event and
//! with everything in one call, which must agree. No digit of a file is lost. Deliberately not here: databases.

mod events;
mod json;
mod node;
mod play;
mod read;
mod rows;
mod value;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::host::HostError;
use crate::core::limits::PluginLimits;
use crate::plugin::{AnyPlugin, LogLine, Sandbox};
use crate::upcast::Upcasters;

use node::Wrong;
use read::Case;

/// What came of all cases.
#[derive(Clone, Debug, Serialize)]
pub struct CasesReport {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Each case, in the order of the files.
    pub cases: Vec<CaseReport>,
    /// How many went well.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
}

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub case: String,
    /// What is wrong; empty when it went well.
    pub problems: Vec<Problem>,
}

/// Something that is not as a case says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// A row has other values.
    Row {
        /// The table.
        table: String,
        /// `order_id = 'order-1'`.
        key: String,
        /// The columns that differ.
        columns: Vec<CellDifference>,
    },
    /// A row is not there.
    RowMissing {
        /// The table.
        table: String,
        /// The row as the file has it.
        row: String,
    },
    /// A row is there that no case knows of.
    RowUnexpected {
        /// The table.
        table: String,
        /// Its values.
        row: String,
    },
    /// An event that comes out of an upcaster is another.
    Event {
        /// Its place, from 1.
        number: usize,
        /// What about it.
        what: String,
    },
    /// The plugin failed.
    Fault {
        /// At which event: `LineAdded of order-1, event 2`.
        event: String,
        /// Its message.
        message: String,
        /// The guest's own trace; empty when there is none.
        trace: String,
        /// What the message should have held, if it should have failed at all.
        should: Option<String>,
        /// What it wrote to its log in the failing call.
        log: Vec<LogLine>,
    },
    /// It should have failed, and did not.
    NoFault {
        /// What the message should hold.
        should: String,
    },
    /// A row is not the same when all events come in one call.
    Batches {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
    },
}

/// One value that is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CellDifference {
    /// The column.
    pub column: String,
    /// What it holds.
    pub is: String,
    /// What it should hold.
    pub should: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { table, key, columns } => {
                write!(formatter, "table {table}, row {key}:")?;
                let width = columns
                    .iter()
                    .map(|cell| cell.column.chars().count())
                    .max()
                    .unwrap_or(0);
                columns.iter().try_for_each(|cell| {
                    write!(
                        formatter,
                        "\n  {:width$}  is {}, should be {}",
                        cell.column, cell.is, cell.should
                    )
                })
            }
            Self::RowMissing { table, row } => write!(formatter, "table {table}: there is no row {row}"),
            Self::RowUnexpected { table, row } => {
                write!(formatter, "table {table}: there is a row too many: {row}")
            }
            Self::Event { number, what } => {
                write!(formatter, "event {number} of those that come out: {what}")
            }
            Self::Fault {
                event,
                message,
                trace,
                should,
                log,
            } => {
                match should {
                    None => write!(formatter, "it failed ({event}): {message}")?,
                    Some(part) => write!(
                        formatter,
                        "it failed ({event}) without \"{part}\" in its message: {message}"
                    )?,
                }
                trace
                    .lines()
                    .try_for_each(|line| write!(formatter, "\n  {line}"))?;
                log.iter()
                    .try_for_each(|line| write!(formatter, "\n  log {}: {}", line.level, line.message))
            }
            Self::NoFault { should } => {
                write!(
                    formatter,
                    "it should fail with \"{should}\" in its message, and does not fail"
                )
            }
            Self::Batches { table, key } => write!(
                formatter,
                "table {table}, row {key} is another when all events come in one call: a row may depend on the events and \
                 on rows alone, not on which events come in one call"
            ),
        }
    }
}

/// Runs all cases of these files on a plugin's file. `cache` is a folder for compiled code.
///
/// # Errors
/// No plugin, a file that cannot be read, or mistakes in the files: all of them at once.
pub fn run_cases(
    plugin: &Path,
    files: &[PathBuf],
    limits: &PluginLimits,
    cache: Option<&Path>,
) -> Result<CasesReport, HostError> {
    let refused = |file: &Path, why: &dyn fmt::Display| {
        HostError::Refused(format!("{} cannot be read: {why}", file.display()))
    };
    let mut cases: Vec<(&PathBuf, Case)> = Vec::new();
    let mut mistakes: Vec<(&PathBuf, Wrong)> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| refused(file, &error))?;
        match read::read(file, &text) {
            Ok(read) => cases.extend(read.into_iter().map(|case| (file, case))),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|wrong| (file, wrong))),
        }
    }
    told(&mistakes)?;
    let bytes = std::fs::read(plugin).map_err(|error| refused(plugin, &error))?;
    let loaded = Sandbox::with_cache(limits.clone(), cache)?
        .load(&bytes)
        .map_err(|error| HostError::Refused(format!("{}: {error}", plugin.display())))?;
    let alone = match &loaded {
        AnyPlugin::Upcaster(upcaster) => Some(
            Upcasters::new(vec![upcaster.clone()])
                .map_err(|conflict| HostError::Refused(format!("{}: {conflict}", plugin.display())))?,
        ),
        AnyPlugin::Projector(_) => None,
    };
    let mut reports = Vec::new();
    for (file, case) in &cases {
        let played = match (&loaded, &alone) {
            (AnyPlugin::Projector(plugin), _) => play::of_projector(plugin, case),
            (AnyPlugin::Upcaster(_), Some(alone)) => play::of_upcaster(alone, case),
            (AnyPlugin::Upcaster(_), None) => unreachable!("invariant: an upcaster is a set of its own"),
        };
        match played {
            Ok(problems) => reports.push(CaseReport {
                file: (*file).clone(),
                line: case.line,
                case: case.name.clone(),
                problems,
            }),
            Err(wrong) => {
                let why = format!("case '{}': {}", case.name, wrong.why);
                mistakes.push((file, Wrong { why, ..wrong }));
            }
        }
    }
    told(&mistakes)?;
    let passed = reports.iter().filter(|report| report.problems.is_empty()).count();
    Ok(CasesReport {
        name: loaded.name().to_owned(),
        version: loaded.version().to_owned(),
        failed: reports.len() - passed,
        passed,
        cases: reports,
    })
}

/// An error of all mistakes, if there is one.
fn told(mistakes: &[(&PathBuf, Wrong)]) -> Result<(), HostError> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = mistakes
        .iter()
        .map(|(file, wrong)| format!("{}, line {}: {}", file.display(), wrong.line, wrong.why))
        .collect();
    Err(HostError::Refused(lines.join("\n")))
}
