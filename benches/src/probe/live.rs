//! How long until an appended event is seen in the read table of a host in another process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::database::Database;
use crate::project::{Project, append, line, order};

/// Events before the clock starts: caches fill, plans are made.
const WARM_UP_EVENTS: usize = 100;
/// Longest wait for one event.
const WAIT_MAX: Duration = Duration::from_secs(60);
const LINES: &str = "SELECT lines FROM shop_orders WHERE order_id = $1";

/// Times from before the append to the row, in milliseconds.
#[derive(Serialize)]
pub(crate) struct Live {
    events: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Median of the append alone, durable on return.
    append_p50_ms: f64,
    /// Events whose turn had come before the append before them was done; they count from their turn on.
    late: usize,
}

/// When events began to be appended, for the thread that looks for them.
#[derive(Default)]
struct Begun {
    times: Mutex<Vec<Instant>>,
    more: Condvar,
    over: AtomicBool,
}

impl Begun {
    fn begin(&self, time: Instant) {
        self.times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(time);
        self.more.notify_one();
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.more.notify_one();
    }

    /// Waits until more than `seen` have begun; None at the end.
    fn after(&self, seen: usize) -> Option<Instant> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(time) = times.get(seen) {
                return Some(*time);
            }
            if self.over.load(Ordering::Acquire) {
                return None;
            }
            times = self.more.wait(times).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Appends `events` single events to one order, and looks at the order's row in the table `shop_orders` without sleeping as
/// long as something is to come: at a rate, whatever became of those before; without one, one after another.
pub(crate) fn run(folder: &Path, events: usize, rate: Option<f64>) -> Result<Live> {
    let project = Project::open(folder)?;
    let mut watch = Watch::new(project.tables()?);
    let stream = format!("live-{}", std::process::id());
    append(&*project.log, &stream, "OrderPlaced", order())?;
    watch.until_at_least(LINES, &stream, 0)?;
    let all = WARM_UP_EVENTS + events;
    let Times {
        mut appends,
        late,
        mut seen,
    } = match rate {
        Some(rate) => at_rate(&project, &mut watch, &stream, all, rate)?,
        None => one_after_another(&project, &mut watch, &stream, all)?,
    };
    ensure!(seen.len() == all, "{} events were seen, not {all}", seen.len());
    let ms = |times: &mut Vec<Duration>| {
        let mut ms: Vec<f64> = times
            .drain(WARM_UP_EVENTS..)
            .map(|time| time.as_secs_f64() * 1_000.0)
            .collect();
        ms.sort_by(f64::total_cmp);
        ms
    };
    let (seen, appends) = (ms(&mut seen), ms(&mut appends));
    ensure!(!seen.is_empty(), "no event was asked for");
    Ok(Live {
        events,
        p50_ms: at(&seen, 0.50),
        p99_ms: at(&seen, 0.99),
        max_ms: at(&seen, 1.0),
        append_p50_ms: at(&appends, 0.50),
        late,
    })
}

/// What was measured of each event, warm-up and all.
struct Times {
    /// Of the append.
    appends: Vec<Duration>,
    late: usize,
    /// From the event's beginning until the row had it.
    seen: Vec<Duration>,
}

/// One each `1 / rate` seconds; another thread looks at the row.
fn at_rate(project: &Project, watch: &mut Watch, stream: &str, events: usize, rate: f64) -> Result<Times> {
    let begun = Begun::default();
    let (appended, seen) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch_all(watch, stream, &begun));
        let appended = append_all(project, stream, events, rate, &begun);
        begun.end();
        (
            appended,
            watching.join().ok().context("the watching thread panicked"),
        )
    });
    let (appends, late) = appended?;
    let seen = seen??;
    Ok(Times { appends, late, seen })
}

/// Each when the one before it was seen, by the thread that appends.
fn one_after_another(project: &Project, watch: &mut Watch, stream: &str, events: usize) -> Result<Times> {
    let (mut appends, mut seen) = (Vec::with_capacity(events), Vec::with_capacity(events));
    for number in 0..events {
        let began = Instant::now();
        append(&*project.log, stream, "LineAdded", line(number as u64))?;
        appends.push(began.elapsed());
        watch.until_at_least(LINES, stream, i64::try_from(number + 1)?)?;
        seen.push(began.elapsed());
    }
    Ok(Times {
        appends,
        late: 0,
        seen,
    })
}

/// Gives the time of each append, and how many began late.
fn append_all(
    project: &Project,
    stream: &str,
    events: usize,
    rate: f64,
    begun: &Begun,
) -> Result<(Vec<Duration>, usize)> {
    let pause = Duration::from_secs_f64(1.0 / rate);
    let (mut appends, mut late) = (Vec::with_capacity(events), 0);
    let mut turn = Instant::now();
    for number in 0..events {
        turn += pause;
        let now = Instant::now();
        let began = if now < turn {
            std::thread::sleep(turn - now);
            Instant::now()
        } else {
            // Who waits in line waits too.
            late += usize::from(number >= WARM_UP_EVENTS);
            turn
        };
        begun.begin(began);
        let appending = Instant::now();
        append(&*project.log, stream, "LineAdded", line(number as u64))?;
        appends.push(appending.elapsed());
    }
    Ok((appends, late))
}

/// Gives the time from each event's beginning until the row has it.
fn watch_all(watch: &mut Watch, stream: &str, begun: &Begun) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while begun.after(times.len()).is_some() {
        let lines = watch.until_at_least(LINES, stream, i64::try_from(times.len() + 1)?)?;
        let now = Instant::now();
        while i64::try_from(times.len())? < lines {
            let began = begun.after(times.len()).context("a line that nobody appended")?;
            times.push(now.duration_since(began));
        }
    }
    Ok(times)
}

/// The value below which this share of the sorted values lies, the nearest one that was measured.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// Waits for a row on a connection of its own, without sleeping.
pub(crate) struct Watch {
    tables: Database,
    version: Option<i64>,
}

impl Watch {
    pub(crate) fn new(tables: Database) -> Self {
        Self {
            tables,
            version: None,
        }
    }

    /// Waits until a statement gives at least so much; gives what it gave.
    pub(crate) fn until_at_least(&mut self, sql: &'static str, by: &str, least: i64) -> Result<i64> {
        let began = Instant::now();
        loop {
            // On SQLite a look at the version costs a tenth of the query.
            let version = self.tables.version()?;
            if version.is_none() || version != self.version {
                self.version = version;
                // A table that is not there yet is no error: the host is still making it.
                if let Ok(Some(number)) = self.tables.number(sql, by)
                    && number >= least
                {
                    // The next wait begins with a query, whatever the version is.
                    self.version = None;
                    return Ok(number);
                }
            }
            if began.elapsed() > WAIT_MAX {
                bail!("{by} was not seen within {WAIT_MAX:?} ({sql})");
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn shares_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            (at(&values, 0.5), at(&values, 0.99), at(&values, 1.0)),
            (100.0, 198.0, 200.0)
        );
        assert_eq!(at(&[3.0], 0.5), 3.0);
    }
}
