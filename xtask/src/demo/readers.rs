//! Four users' own connections to the read tables, by plain SQL, while the switch happens.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

/// A read is good when it gives the same numbers as ever: the log stands still during the demo.
const READS: [&str; 4] = [
    "SELECT count(*), sum(lines), sum(quantity) FROM orders",
    "SELECT count(*), sum(orders), sum(lines) FROM customers",
    "SELECT count(*), sum(o.lines), max(c.customer_id) FROM orders o JOIN customers c ON c.customer_id = o.customer_id",
    "SELECT count(*), sum(c.orders), max(o.order_id) FROM customers c JOIN orders o ON o.customer_id = c.customer_id",
];

/// What the readers saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Reads while version 1 was public.
    pub(super) before: u64,
    /// Reads while version 2 was public.
    pub(super) after: u64,
    /// Errors, empty or wrong results.
    pub(super) wrong: Vec<String>,
}

pub(super) struct Readers {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(tables: &Path) -> Result<Self> {
        let (stop, seen) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Seen::default())),
        );
        let mut threads = Vec::new();
        for sql in READS {
            let connection = Connection::open_with_flags(tables, OpenFlags::SQLITE_OPEN_READ_ONLY)
                .with_context(|| format!("cannot open {}", tables.display()))?;
            connection.busy_timeout(Duration::from_secs(5))?;
            let wanted = read(&connection, sql).context("the first read")?;
            let (stop, seen) = (stop.clone(), seen.clone());
            threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let now = read(&connection, sql);
                    let new = connection.prepare("SELECT 1 FROM countries LIMIT 1").is_ok();
                    let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match now {
                        Ok(now) if now == wanted && new => seen.after += 1,
                        Ok(now) if now == wanted => seen.before += 1,
                        Ok(now) => seen.wrong.push(format!("{sql}: {now:?} instead of {wanted:?}")),
                        Err(error) => seen.wrong.push(format!("{sql}: {error:#}")),
                    }
                }
            }));
        }
        Ok(Self { stop, seen, threads })
    }

    pub(super) fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                let mut seen = self
                    .seen
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                seen.wrong.push("a reader died".to_owned());
            }
        }
        std::mem::take(
            &mut *self
                .seen
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

fn read(connection: &Connection, sql: &str) -> Result<(i64, i64, String)> {
    let value = |value: rusqlite::types::Value| format!("{value:?}");
    Ok(connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, value(row.get(2)?))))?)
}
