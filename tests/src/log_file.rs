//! Import files: the real shop's log where it lies beside the repository, generated ones everywhere.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::generate;

/// The real shop's log; None, with a loud line, where it is absent.
pub fn real() -> Option<PathBuf> {
    let file = xtask::paths::real_data("online_retail.jsonl.zst");
    if file.is_none() {
        println!("SKIPPED (no ../shared/data): this scenario on the real shop's log");
    }
    file
}

/// Writes a generated log of so many events into a folder.
///
/// # Panics
/// When it cannot be written.
pub fn generated(folder: &Path, events: u64, seed: u64) -> PathBuf {
    let file = folder.join(format!("generated-{events}-{seed}.jsonl.zst"));
    generate::write_file(generate::Plan { events, seed }, &file).expect("a generated log");
    file
}

/// The lines of an import file, plain or zstd.
///
/// # Errors
/// When it cannot be read.
pub fn lines(file: &Path) -> Result<Vec<String>> {
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let packed = file.extension().is_some_and(|extension| extension == "zst");
    let collect = |reader: &mut dyn std::io::BufRead| reader.lines().collect::<std::io::Result<Vec<_>>>();
    let lines = if packed {
        collect(&mut BufReader::with_capacity(
            1 << 20,
            zstd::Decoder::new(opened)?,
        ))
    } else {
        collect(&mut BufReader::new(opened))
    };
    lines.with_context(|| format!("cannot read {}", file.display()))
}

/// Writes lines as a plain import file.
///
/// # Panics
/// When it cannot be written.
pub fn write<L: AsRef<str>>(file: &Path, lines: impl IntoIterator<Item = L>) {
    let mut out = BufWriter::new(File::create(file).expect("an import file"));
    for line in lines {
        writeln!(out, "{}", line.as_ref()).expect("an import file");
    }
    out.flush().expect("an import file");
}

/// One event as an import line.
pub fn line(stream_id: &str, event_type: &str, data: &Value) -> String {
    serde_json::json!({
        "stream_id": stream_id, "stream_type": "test", "event_type": event_type, "schema_version": 1, "data": data,
        "occurred_at": "2026-01-31T12:00:00Z", "metadata": {"reason": "Written by an end-to-end scenario"},
    })
    .to_string()
}
