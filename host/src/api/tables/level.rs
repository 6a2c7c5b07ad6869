//! Waiting until a table reflects a position: read your own writes.
//!
//! All who wait share one look at the database: at each ring of the bell, whenever somebody new waits, and now and then
//! without either, since another host may own the tables. What it finds only grows, across cutovers and rollbacks too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::core::Position;
use crate::core::bell::Bell;
use crate::tables::TableStore;
use crate::tables::select::ShownTable;

/// How long nobody looks where nothing rings.
const POLL: Duration = Duration::from_millis(50);
/// Requests that wait at once; more are sent away. Raise it for many slow readers: each holds a connection and little
/// else.
const WAITING_MAX: usize = 2_000;

/// What was seen, and when the look began.
type Look = Option<(Instant, Arc<Vec<ShownTable>>)>;

/// Where the public tables are, as far as anybody wants to know.
pub(super) struct Levels {
    store: Arc<dyn TableStore>,
    written: Bell,
    seen: watch::Sender<Look>,
    asked: Notify,
    waiting: AtomicUsize,
    /// Whether the look is going on; changed together with who waits.
    is_looking: Mutex<bool>,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The table reflects the position.
    Level,
    /// The time is over.
    Late,
    /// No such table is public.
    Absent,
    /// Too many wait already.
    Crowded,
}

impl Levels {
    pub(super) fn new(store: Arc<dyn TableStore>, written: Bell) -> Arc<Self> {
        Arc::new(Self {
            store,
            written,
            seen: watch::Sender::new(None),
            asked: Notify::new(),
            waiting: AtomicUsize::new(0),
            is_looking: Mutex::new(false),
        })
    }

    /// Whether it is known already that the table reflects the position.
    pub(super) fn is_level(&self, table: &str, least: Position) -> bool {
        is_level(&self.seen.borrow(), table, least)
    }

    /// What was seen holds no more.
    pub(super) fn forget(&self) {
        self.seen.send_replace(None);
    }

    /// Waits until the table reflects the position. `may_come` says that a table that is not public is waited for too.
    pub(super) async fn wait(
        self: &Arc<Self>,
        table: &str,
        least: Position,
        until: Instant,
        may_come: bool,
    ) -> Waited {
        let start = Instant::now();
        let mut seen = self.seen.subscribe();
        let Some(_waiting) = Waiting::new(self) else {
            return Waited::Crowded;
        };
        self.look();
        // Who looked before may not have seen what is there now.
        let is_absent = |look: &Look| {
            !may_come
                && look.as_ref().is_some_and(|(began, _)| *began >= start)
                && find(look, table).is_none()
        };
        let over = seen.wait_for(|look| is_level(look, table, least) || is_absent(look));
        match timeout(until.saturating_duration_since(start), over).await {
            Ok(Ok(look)) if is_absent(&look) => Waited::Absent,
            Ok(Ok(_)) => Waited::Level,
            _ => Waited::Late,
        }
    }

    /// Sees to it that somebody looks, from now on.
    fn look(self: &Arc<Self>) {
        self.asked.notify_one();
        let mut is_looking = self.is_looking.lock();
        if !*is_looking {
            *is_looking = true;
            tokio::spawn(Arc::clone(self).keep_looking());
        }
    }

    async fn keep_looking(self: Arc<Self>) {
        let mut rings = self.written.hear();
        loop {
            let store = Arc::clone(&self.store);
            let began = Instant::now();
            // While the database is away nobody gets on; who waits is told so when the time is over.
            if let Ok(Ok(tables)) = tokio::task::spawn_blocking(move || store.shown_tables()).await {
                self.seen.send_replace(Some((began, Arc::new(tables))));
            }
            {
                let mut is_looking = self.is_looking.lock();
                if self.waiting.load(Ordering::Acquire) == 0 {
                    *is_looking = false;
                    return;
                }
            }
            tokio::select! {
                () = rings.rung() => {}
                () = self.asked.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

fn is_level(look: &Look, table: &str, least: Position) -> bool {
    find(look, table).is_some_and(|shown| shown.position >= least)
}

fn find<'a>(look: &'a Look, table: &str) -> Option<&'a ShownTable> {
    look.as_ref()?.1.iter().find(|shown| shown.name == table)
}

/// One who waits.
struct Waiting<'a>(&'a Levels);

impl<'a> Waiting<'a> {
    fn new(levels: &'a Levels) -> Option<Self> {
        if levels.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING_MAX {
            levels.waiting.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Self(levels))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
