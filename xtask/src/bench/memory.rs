//! Peak memory of the host on a long log whose tables do not fit the cache budget.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use xtask::{generate, paths};

use super::{command, configure, head, lamphouse, path};

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
    let began = Instant::now();
    let mut host = command(&project, &["catch-up"])
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run lamphouse")?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(high_water_kib(host.id()).unwrap_or(0));
        if let Some(status) = host.try_wait().context("cannot wait for lamphouse")? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(
        status.success() && peak_kib > 0,
        "`lamphouse catch-up` failed; its messages are above"
    );
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "SQLite, {EVENTS} events, cache budget {} MiB: peak memory {} MiB (target: under {TARGET_MIB}), {:.0} events a second",
        CACHE_BYTES >> 20,
        peak_kib >> 10,
        EVENTS as f64 / seconds
    );
    ensure!(
        peak_kib >> 10 < TARGET_MIB,
        "the host used more than {TARGET_MIB} MiB"
    );
    Ok(())
}

/// The kernel's own high-water mark of a process.
fn high_water_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
