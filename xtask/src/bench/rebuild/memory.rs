//! Peak memory of the host on a long log whose tables do not fit the cache budget.

use std::path::Path;

use anyhow::{Result, ensure};
use xtask::{generate, paths};

use super::super::project::{configure, head, lamphouse, path, watched};

const EVENTS: u64 = 5_000_000;
/// A fraction of what the rows of 5,000,000 events need.
const CACHE_BYTES: u64 = 16 << 20;
/// What the host may use.
const TARGET_MIB: u64 = 512;

pub(super) fn measure(folder: &Path) -> Result<()> {
    let project = folder.join("memory");
    let settings = format!("[pipeline]\ncache_bytes_max = {CACHE_BYTES}\n");
    std::fs::create_dir_all(project.join("plugins"))?;
    configure(&project, "sqlite:log.db", "sqlite:tables.db", &settings)?;
    let file = folder.join("five-million.jsonl.zst");
    println!("\ngenerating and importing {EVENTS} events");
    generate::write_file(
        generate::Plan {
            events: EVENTS,
            seed: 7,
        },
        &file,
    )?;
    lamphouse(&project, &["import", path(&file)?])?;
    ensure!(head(&project)? == EVENTS, "the import is not whole");
    std::fs::copy(
        paths::guest("order-summary-1.0.0")?,
        project.join("plugins/order-summary.wasm"),
    )?;
    let (seconds, peak_mib) = watched(&project, &["catch-up"])?;
    println!(
        "SQLite, {EVENTS} events, cache budget {} MiB: peak memory {} MiB (target: under {TARGET_MIB}), {:.0} events a second",
        CACHE_BYTES >> 20,
        peak_mib.round(),
        EVENTS as f64 / seconds
    );
    ensure!(
        peak_mib < TARGET_MIB as f64,
        "the host used more than {TARGET_MIB} MiB"
    );
    Ok(())
}
