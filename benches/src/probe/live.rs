//! How long until an appended event is seen in the read table of a host in another process.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use crate::database::Database;
use crate::project::{Project, append, line, order};

/// Orders that the events are spread over.
const ORDERS: u64 = 50;
/// Events before the clock starts: caches fill, plans are made.
const WARM_UP_EVENTS: u64 = 100;
/// Longest wait for one event.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Times from before the append to the row, in milliseconds.
#[derive(Serialize)]
pub(crate) struct Live {
    events: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Median of the append alone, durable on return.
    append_p50_ms: f64,
    /// Events whose turn had come before the one before them was seen; they count from their turn on.
    late: u64,
}

/// Appends `events` single events, one each `1 / rate` seconds, and waits for each in the table `shop_orders`.
pub(crate) fn run(folder: &Path, events: u64, rate: f64) -> Result<Live> {
    let project = Project::open(folder)?;
    let mut watch = Watch::new(project.tables()?);
    // Orders of this run alone: the process id tells it from earlier ones.
    let stream = |number: u64| format!("live-{}-{}", std::process::id(), number % ORDERS);
    for number in 0..ORDERS {
        append(&*project.log, &stream(number), "OrderPlaced", order())?;
    }
    watch.until(&stream(ORDERS - 1), 0)?;
    let pause = Duration::from_secs_f64(1.0 / rate);
    let (mut times, mut appends, mut late) = (Vec::new(), Vec::new(), 0);
    let mut turn = Instant::now();
    for number in 0..WARM_UP_EVENTS + events {
        turn += pause;
        let now = Instant::now();
        let began = if now < turn {
            std::thread::sleep(turn - now);
            Instant::now()
        } else {
            // Who waits in line waits too.
            late += u64::from(number >= WARM_UP_EVENTS);
            turn
        };
        let appending = Instant::now();
        append(&*project.log, &stream(number), "LineAdded", line(number))?;
        let appended = appending.elapsed();
        let lines = i64::try_from(number / ORDERS + 1)?;
        watch.until(&stream(number), lines)?;
        if number >= WARM_UP_EVENTS {
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
            appends.push(appended.as_secs_f64() * 1_000.0);
        }
    }
    ensure!(!times.is_empty(), "no event was asked for");
    times.sort_by(f64::total_cmp);
    appends.sort_by(f64::total_cmp);
    Ok(Live {
        events,
        p50_ms: at(&times, 0.50),
        p99_ms: at(&times, 0.99),
        max_ms: at(&times, 1.0),
        append_p50_ms: at(&appends, 0.50),
        late,
    })
}

/// The value below which this share of the sorted values lies, the nearest one that was measured.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// Waits for a row on a connection of its own, without sleeping.
pub(crate) struct Watch {
    tables: Database,
    version: i64,
}

impl Watch {
    pub(crate) fn new(tables: Database) -> Self {
        Self { tables, version: -1 }
    }

    /// Until the order has so many lines.
    pub(crate) fn until(&mut self, order: &str, lines: i64) -> Result<()> {
        self.until_at_least("SELECT lines FROM shop_orders WHERE order_id = $1", order, lines)
    }

    /// Until a statement gives at least so much.
    pub(crate) fn until_at_least(&mut self, sql: &'static str, by: &str, least: i64) -> Result<()> {
        let began = Instant::now();
        loop {
            // On SQLite a look at the version costs a tenth of the query.
            let version = self.tables.version()?;
            if version.is_none_or(|version| version != self.version) {
                // A table that is not there yet is no error: the host is still making it.
                if matches!(self.tables.number(sql, by), Ok(Some(number)) if number >= least) {
                    // The next look must read, whatever the version is.
                    self.version = -1;
                    return Ok(());
                }
                self.version = version.unwrap_or(-1);
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
