//! What the figures were measured on, as far as it explains them.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::paths;

use super::report::median;
use super::stage::Stage;

/// Writes of one block, each synced.
const SYNCS: usize = 200;

/// Share of the cores' time that a quiet machine is idle.
const IDLE_MIN: f64 = 0.95;
/// Time of one look at that.
const LOOK: Duration = Duration::from_millis(250);
/// A machine that is busy for longer has other work of its own.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits until the machine has nothing to do: what a database does after somebody's work (statistics, vacuum, writing back)
/// would be paid for by whoever comes next. Where the system does not tell (`/proc/stat`), it waits for nothing.
pub(super) fn wait_until_quiet() {
    let until = Instant::now() + QUIET_WAIT_MAX;
    while Instant::now() < until {
        let Some((idle, all)) = ticks() else { return };
        std::thread::sleep(LOOK);
        let Some((idle_after, all_after)) = ticks() else {
            return;
        };
        if (idle_after - idle) as f64 >= IDLE_MIN * (all_after - all) as f64 {
            return;
        }
    }
    println!("   (the machine has other work: figures may be low)");
}

/// Time of all cores since the machine was started, idle and as a whole.
fn ticks() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers = text.lines().next()?.split_whitespace().skip(1);
    // User, nice, system, idle, waiting for the disk, interrupts, stolen; then what is in user already.
    let ticks: Vec<u64> = numbers.take(8).map_while(|number| number.parse().ok()).collect();
    Some((*ticks.get(3)?, ticks.iter().sum()))
}

/// Processor, load, the disk's time to sync, the build.
pub(super) fn describe(stage: &Stage) -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let build = if paths::is_release() {
        "release"
    } else {
        "development"
    };
    Ok(format!(
        "{cores} cores ({}), load {load} at the start; the disk syncs 4 KiB in {:.2} ms (median of {SYNCS}); {build} \
         profile",
        processor(),
        sync_ms(stage, Duration::ZERO)?
    ))
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or_else(
        || "unknown".to_owned(),
        |name| name.trim_start_matches([' ', '\t', ':']).to_owned(),
    )
}

/// Median of so many milliseconds that the disk takes to sync a block, with a rest before each: after one, a disk and the
/// cores that wait for it take longer.
pub(super) fn sync_ms(stage: &Stage, rest: Duration) -> Result<f64> {
    let name = stage.folder().join("sync");
    let mut file = File::create(&name).context("cannot make a file to sync")?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        std::thread::sleep(rest);
        let began = Instant::now();
        file.write_all(&[7; 4_096])?;
        file.sync_data().context("cannot sync")?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    std::fs::remove_file(&name).context("cannot remove the synced file")?;
    times.sort_by(f64::total_cmp);
    median(&times).context("invariant: some were measured")
}
