//! Durable single-event appends a second, of one appender or many in one process.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Timed;
use crate::project::{Project, append, line};

/// Each appender has a stream of its own and appends without pause for `seconds`.
pub(crate) fn run(folder: &Path, writers: usize, seconds: f64) -> Result<Timed> {
    let project = Project::open(folder)?;
    let log = &*project.log;
    // Connections and statements are made before the clock starts.
    append(log, "warm-up", "LoadAppended", line(0))?;
    let (events, began) = (AtomicU64::new(0), Instant::now());
    let until = began + Duration::from_secs_f64(seconds);
    let done: Result<Vec<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let events = &events;
                scope.spawn(move || -> Result<()> {
                    let stream = format!("load-{}-{writer}", std::process::id());
                    while Instant::now() < until {
                        append(log, &stream, "LoadAppended", line(7))?;
                        events.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().ok().context("an appender panicked")?)
            .collect()
    });
    done?;
    Ok(Timed {
        events: events.into_inner(),
        seconds: began.elapsed().as_secs_f64(),
    })
}
