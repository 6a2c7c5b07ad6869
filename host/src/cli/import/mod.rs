//! `lamphouse import`: JSON Lines into the log, in order, each line once.

mod batches;
mod input;
mod line;
mod resume;
mod run;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Progress;
use super::session::Session;
use super::table::plain;
use super::units;
use crate::log::{ImportEvent, check_line, check_not_reserved};
use crate::schemas::Schemas;
use batches::Bounds;
use input::Input;
pub(super) use line::ExportLine;
pub(super) use line::parse as parse_line;
use run::{Done, Failed, Moment, Why};

/// Lines of one transaction. More gains nothing; fewer costs a durable commit each.
const BATCH_LINES_MAX: u64 = 10_000;
/// Bytes of lines of one transaction, which are all in memory.
const BATCH_BYTES_MAX: u64 = 16 << 20;
/// What a line may hold beside twice its event's bytes (escapes), for names and keys.
const LINE_BYTES_BESIDE: u64 = 64 << 10;

/// Read events from JSON Lines into the log, each line once
///
/// Files may be plain, gzip or zstd. Lines are stored in batches, all or nothing, in the order of the file.
///
/// An import can be run again at any time: what is in the log already is recognised by its bytes, whatever the file is
/// called or how it is compressed, and the import goes on behind it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Each line is one event:
  {\"stream_id\":\"order-1\",\"stream_type\":\"order\",\"event_type\":\"OrderPlaced\",\"schema_version\":1,
   \"data\":{…},\"metadata\":{\"reason\":\"…\"},\"occurred_at\":\"2026-01-31T12:00:00Z\"}
It may have an \"id\" (a UUID) and an \"idempotency_key\"; a line whose id or key the log knows is left out.

Examples:
  lamphouse import history.jsonl.zst
  lamphouse import january.jsonl february.jsonl.gz
  lamphouse import --with-reserved backup.jsonl.zst     an export, with what it says of who operated the host
  curl -s https://example.org/events.jsonl | lamphouse import -")]
pub(super) struct Import {
    /// Files to import, in this order; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take events of the host's own reserved types (lamphouse.…) too: for an export of another log of yours
    #[arg(long)]
    with_reserved: bool,
    /// Hold events to the JSON Schemas of [schemas] folder too; without it, history comes in as it was
    #[arg(long)]
    check_schemas: bool,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    /// Lines that earlier imports had brought.
    lines_before: u64,
    /// Lines of this run.
    lines: u64,
    events: u64,
    /// Events of this run that the log had by their id or key: at least so many.
    left_out: u64,
    position: u64,
    interrupted: bool,
}

impl Import {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let log = session.log()?;
        let interrupt = Interrupt::listen(
            session.runtime(),
            "stopping after this batch; run the same command again to go on (Ctrl-C again ends at once)",
        );
        let config = &session.config;
        let schemas = match self.check_schemas {
            true => Some(Schemas::load(&config.schemas, config.unknown_types)),
            false => None,
        };
        if let Some(problem) = schemas
            .as_ref()
            .and_then(|schemas| schemas.problems().into_iter().next())
        {
            bail!("{problem}");
        }
        let limits = &config.append;
        let bounds = Bounds {
            lines_max: BATCH_LINES_MAX,
            bytes_max: BATCH_BYTES_MAX,
            line_bytes_max: limits.event_bytes_max.saturating_mul(2) + LINE_BYTES_BESIDE,
        };
        let mut reports = Vec::new();
        for file in &self.files {
            let knows_some = !log.import_cursors()?.is_empty();
            let input = input(file, knows_some.then_some(session.config.data.as_path()))?;
            let head = log.head()?.position;
            let mut progress = Progress::new(shortened(&input.name), "lines");
            let mut look = |moment: Moment| {
                if moment.searching {
                    progress.at_text(moment.share, "looking for what is in the log already");
                } else {
                    progress.at(moment.lines, moment.share);
                }
                !interrupt.is_set()
            };
            let check = |event: &ImportEvent| {
                check_line(event, limits)?;
                if let Some(schemas) = &schemas {
                    schemas
                        .check(std::iter::once((event.stream_id.as_str(), 0, &event.event)))
                        .map_err(|violations| violations.to_string())?;
                }
                if self.with_reserved {
                    return Ok(());
                }
                check_not_reserved(event).map_err(|wrong| {
                    format!("{wrong}, or give --with-reserved if this is an export of a log of yours")
                })
            };
            let result = run::run(log.as_ref(), &input, bounds, &check, &mut look);
            drop(progress);
            let done = result.map_err(|failed| explain(&input.name, failed))?;
            let position = done.position.unwrap_or(head);
            let report = FileReport {
                file: input.name,
                lines_before: done.lines_before,
                lines: done.lines,
                events: done.events,
                left_out: done.events.saturating_sub(position.0 - head.0),
                position: position.0,
                interrupted: done.interrupted,
            };
            if !out.json {
                out.line(report.sentence())?;
                out.flush()?;
            }
            let interrupted = report.interrupted;
            reports.push(report);
            if interrupted {
                break;
            }
        }
        if out.json {
            out.document(&serde_json::json!({ "files": reports }))?;
        }
        if reports.iter().any(|report| report.interrupted) {
            out.flush()?;
            bail!("interrupted; what was imported stays, and the same command goes on from there");
        }
        Ok(())
    }
}

/// What can be read once only is kept in the folder `spool` while it is compared with what the log knows.
fn input(file: &Path, spool: Option<&Path>) -> Result<Input> {
    let input = if file == Path::new("-") {
        Input::stdin()
    } else {
        Input::path(file)
    };
    let name = input.name.clone();
    match spool {
        Some(folder) if input.is_stream() => input.spooled(folder).with_context(|| {
            format!(
                "{name} cannot be kept in {} while it is compared with earlier imports",
                folder.display()
            )
        }),
        _ => Ok(input),
    }
}

impl FileReport {
    fn sentence(&self) -> String {
        let file = plain(&self.file);
        let lines = |number| units::counted(number, "line", "lines");
        if self.lines == 0 && !self.interrupted {
            return match self.lines_before {
                0 => format!("{file}: is empty; nothing was added"),
                before => format!(
                    "{file}: all {} are in the log already; nothing was added",
                    lines(before)
                ),
            };
        }
        let mut text = format!("{file}: imported {}", lines(self.lines));
        if self.lines_before > 0 {
            text += &format!(
                " (the first {} were in the log already)",
                units::count(self.lines_before)
            );
        }
        if self.left_out > 0 {
            let left_out = units::counted(self.left_out, "event", "events");
            text += &format!("; {left_out} among them, known by id or key, were left out");
        }
        text + &format!("; the log is at position {}", units::count(self.position))
    }
}

/// What went wrong, where, and what is in the log all the same.
fn explain(file: &str, Failed { done, why }: Failed) -> anyhow::Error {
    let Done {
        lines_before, lines, ..
    } = done;
    let kept = match lines_before + lines {
        0 => "nothing was imported".to_owned(),
        kept => format!(
            "the first {} are in the log, and the next import of this file goes on behind them",
            units::counted(kept, "line", "lines")
        ),
    };
    match why {
        Why::BadLines { named, more } => {
            let count = named.len() as u64 + more;
            let lines: Vec<String> = named
                .iter()
                .map(|bad| format!("  {file}, line {}: {}", bad.line, plain(&bad.why)))
                .collect();
            let rest = match more {
                0 => String::new(),
                more => format!("\n  and {} more in the same batch", units::count(more)),
            };
            anyhow!(
                "{file}: {}; {kept}:\n{}{rest}",
                units::counted(count, "bad line", "bad lines"),
                lines.join("\n")
            )
        }
        Why::Unreadable { line: 1, error } if lines_before + lines == 0 => anyhow!("{file}: {error}; {kept}"),
        Why::Unreadable { line, error } => {
            anyhow!("{file}: cannot be read beyond line {line}: {error}; {kept}")
        }
        Why::Log(error) => anyhow!("{file}: {error}; {kept}"),
    }
}

/// The end of a long name, for the bar.
fn shortened(name: &str) -> String {
    const CHARS_MAX: usize = 32;
    let chars: Vec<char> = name.chars().collect();
    match chars.len() {
        0..=CHARS_MAX => name.to_owned(),
        many => format!("…{}", chars[many - CHARS_MAX + 1..].iter().collect::<String>()),
    }
}
