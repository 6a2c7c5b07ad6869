//! The two logs, what they are projected by, and what their tables must hold.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::{generate, paths, synthetic};

use super::project::path;
use super::{Options, probe};

/// Which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// 183 bytes of JSON an event, few reads.
    Synthetic,
    /// A real shop's log, of whose events 94 % read a row first.
    Retail,
}

/// A log and its projector.
pub(super) struct Workload {
    pub(super) kind: Kind,
    /// The log as JSON Lines, compressed with zstd.
    pub(super) file: PathBuf,
    pub(super) events: u64,
    /// Where the log came from, in words.
    pub(super) source: String,
}

impl Kind {
    /// As the probes call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Synthetic => "synthetic",
            Self::Retail => "retail",
        }
    }

    /// What stands before the names of its rows.
    pub(super) fn before_names(self) -> &'static str {
        match self {
            Self::Synthetic => "",
            Self::Retail => "retail: ",
        }
    }

    /// Its projector, among the guests.
    pub(super) fn guest(self) -> &'static str {
        match self {
            Self::Synthetic => "shop-orders",
            Self::Retail => "order-summary-1.0.0",
        }
    }
}

impl Workload {
    /// Finds or makes the log.
    pub(super) fn new(kind: Kind, options: &Options, folder: &Path) -> Result<Self> {
        let made = folder.join(format!("{}.jsonl.zst", kind.word()));
        let (file, source) = match (kind, paths::real_data("online_retail.jsonl.zst")) {
            (Kind::Synthetic, _) => {
                if !made.exists() {
                    synthetic::write_file(options.events, 7, &made)?;
                }
                (made, "synthetic orders".to_owned())
            }
            (Kind::Retail, Some(real)) if options.quick => {
                head_of(&real, options.events, &made)?;
                (made, "the first events of Online Retail".to_owned())
            }
            (Kind::Retail, Some(real)) => (real, "Online Retail".to_owned()),
            (Kind::Retail, None) => {
                let events = if options.quick { options.events } else { 567_806 };
                generate::write_file(generate::Plan { events, seed: 7 }, &made)?;
                (
                    made,
                    "a generated shop's log (Online Retail is absent)".to_owned(),
                )
            }
        };
        let events = count(&file)?;
        Ok(Self {
            kind,
            file,
            events,
            source,
        })
    }

    /// What the tables must hold after each of these many events, ascending.
    pub(super) fn truths(&self, limits: &[u64]) -> Result<Vec<Value>> {
        let limits: Vec<String> = limits.iter().map(u64::to_string).collect();
        let answer = probe::ask(&[
            "truth",
            "--workload",
            self.kind.word(),
            "--events",
            path(&self.file)?,
            "--limits",
            &limits.join(","),
        ])?;
        let truths = answer.as_array().context("the truth is no array")?;
        ensure!(truths.len() == limits.len(), "the truth has another length");
        Ok(truths.clone())
    }

    /// Fails if the tables do not hold what they must. `more` goes to the probe.
    pub(super) fn check(&self, who: &str, database: &str, more: &[&str], truth: &Value) -> Result<()> {
        let mut arguments = vec!["rows", "--workload", self.kind.word(), "--database", database];
        arguments.extend_from_slice(more);
        let held = probe::ask(&arguments)?;
        ensure!(
            held == *truth,
            "{who} made other tables than the log says:\n{held}\nwhere there should be\n{truth}"
        );
        Ok(())
    }
}

fn lines(file: &Path) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    Ok(BufReader::with_capacity(1 << 20, zstd::Decoder::new(opened)?).lines())
}

fn count(file: &Path) -> Result<u64> {
    let mut events = 0;
    for line in lines(file)? {
        line?;
        events += 1;
    }
    Ok(events)
}

/// Writes the first events of a log, as plain JSON Lines.
pub(super) fn plain_head_of(file: &Path, events: u64, target: &Path) -> Result<()> {
    let made = File::create(target).with_context(|| format!("cannot make {}", target.display()))?;
    let mut plain = BufWriter::new(made);
    for line in lines(file)?.take(usize::try_from(events)?) {
        writeln!(plain, "{}", line?)?;
    }
    plain.flush()?;
    Ok(())
}

fn head_of(file: &Path, events: u64, target: &Path) -> Result<()> {
    let made = File::create(target).with_context(|| format!("cannot make {}", target.display()))?;
    let mut packed = zstd::Encoder::new(BufWriter::new(made), 1)?;
    for line in lines(file)?.take(usize::try_from(events)?) {
        writeln!(packed, "{}", line?)?;
    }
    packed.finish()?.flush()?;
    Ok(())
}
