//! `lamphouse export`: the log as lines that an import takes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::write::GzEncoder;

use super::events::{Filter, PAGE_EVENTS};
use super::import::ExportLine;
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Progress;
use super::session::Session;
use super::today::Today;
use super::units;
use crate::core::{Position, StoredEvent};
use crate::log::EventLog;

/// zstd's level: its default, which keeps up with reading.
const ZSTD_LEVEL: i32 = 3;

/// Write events as JSON Lines that import takes
///
/// Lines carry the event's id, so an import into another log reproduces the events, and one into the same log adds
/// nothing. Positions and recording times are given anew by the log that takes them. What is appended meanwhile is not
/// in the export. What the host itself recorded (events of the reserved types lamphouse.…: who operated it, and why) is
/// in it too, and import takes such lines with --with-reserved.
///
/// With --upcast, lines are what the upcasters of the plugin folder make of the events: for a log that begins anew in
/// today's form. Of the events that one stored event became, the first keeps its id, and the others get ids that are
/// always the same; what is dropped has no line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse export --output backup.jsonl.zst
  lamphouse export --upcast --output today.jsonl.zst
  lamphouse export --stream-type order --after 500000 | gzip > orders.jsonl.gz")]
pub(super) struct Export {
    /// File to write, compressed if its name ends in .gz or .zst [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Write what the upcasters of the plugin folder make of the events
    #[arg(long)]
    upcast: bool,
}

impl Export {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let log = session.log()?;
        let today = self.upcast.then(|| Today::load(session)).transpose()?;
        let interrupt = Interrupt::listen(session.runtime(), "stopping (Ctrl-C again ends at once)");
        let Some(path) = &self.output else {
            self.copy(log.as_ref(), &interrupt, &mut |page| {
                lines(page, today.as_ref(), &mut |line| out.json_line(line))?;
                out.flush()
            })?;
            return Ok(());
        };
        if path.exists() && !self.force {
            bail!("{} is there already; --force replaces it", path.display());
        }
        let partial = partial(path);
        let cannot = || format!("{} cannot be written", partial.display());
        let mut file = Sink::create(&partial, path).with_context(cannot)?;
        let copied = self.copy(log.as_ref(), &interrupt, &mut |page| {
            lines(page, today.as_ref(), &mut |line| {
                serde_json::to_writer(&mut file, line)?;
                file.write_all(b"\n").with_context(cannot)
            })
        });
        let events = match copied.and_then(|events| file.finish().with_context(cannot).map(|()| events)) {
            Ok(events) => events,
            Err(error) => {
                // A part of an export is of no use, and its name would be in the way.
                let _ = fs::remove_file(&partial);
                return Err(error);
            }
        };
        fs::rename(&partial, path).with_context(|| format!("{} cannot be put in place", path.display()))?;
        if out.json {
            return out.document(&serde_json::json!({ "file": path, "events": events }));
        }
        out.line(format!(
            "{}: {}",
            path.display(),
            units::counted(events, "event", "events")
        ))
    }

    /// Gives every event up to the present head to `take`, a page at a time; gives how many there were.
    fn copy(
        &self,
        log: &dyn EventLog,
        interrupt: &Interrupt,
        take: &mut dyn FnMut(&[StoredEvent]) -> Result<()>,
    ) -> Result<u64> {
        let head = log.head()?.position;
        let mut query = self.filter.clone().query();
        query.after = Some(Position(self.after));
        query.limit = PAGE_EVENTS;
        let mut progress = Progress::new("export", "events");
        let span = head.0.saturating_sub(self.after).max(1) as f64;
        let mut events = 0;
        loop {
            if interrupt.is_set() {
                bail!("interrupted after {}", units::counted(events, "event", "events"));
            }
            let page = log.events(&query)?;
            let known = &page[..page.partition_point(|event| event.position <= head)];
            take(known)?;
            events += known.len() as u64;
            let Some(last) = known.last() else {
                return Ok(events);
            };
            query.after = Some(last.position);
            progress.at(events, Some((last.position.0 - self.after) as f64 / span));
            if (page.len() as u64) < PAGE_EVENTS {
                return Ok(events);
            }
        }
    }
}

/// The lines of some events.
fn lines(
    page: &[StoredEvent],
    today: Option<&Today>,
    write: &mut dyn FnMut(&ExportLine<'_>) -> Result<()>,
) -> Result<()> {
    let Some(today) = today else {
        return page.iter().try_for_each(|event| write(&ExportLine::from(event)));
    };
    for (event, parts) in page.iter().zip(today.of(page)?) {
        parts
            .iter()
            .try_for_each(|part| write(&ExportLine::of_part(event, part)))?;
    }
    Ok(())
}

/// The name while it is written: beside the file, so that it can be renamed.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// A file, compressed as its name says.
enum Sink {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, BufWriter<File>>>),
}

impl Sink {
    fn create(partial: &Path, path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::with_capacity(256 << 10, File::create(partial)?);
        Ok(match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Some("zst") => Self::Zstd(Box::new(zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?)),
            _ => Self::Plain(file),
        })
    }

    /// Ends the compression and brings everything to the disk.
    fn finish(self) -> std::io::Result<()> {
        let buffered = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        buffered
            .into_inner()
            .map_err(|error| error.into_error())?
            .sync_all()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
