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

type Look = Option<Arc<Vec<ShownTable>>>;

/// Where the public tables are, as far as anybody wants to know.
pub(in crate::api) struct Levels {
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
    /// The time is over. What was seen last, if the table is public at all.
    Late(Option<ShownTable>),
    /// Too many wait already.
    Crowded,
}

impl Levels {
    pub(in crate::api) fn new(store: Arc<dyn TableStore>, written: Bell) -> Arc<Self> {
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

    /// Waits until the table reflects the position.
    pub(super) async fn wait(self: &Arc<Self>, table: &str, least: Position, until: Instant) -> Waited {
        let mut seen = self.seen.subscribe();
        let Some(_waiting) = Waiting::new(self) else {
            return Waited::Crowded;
        };
        self.look();
        let left = until.saturating_duration_since(Instant::now());
        let level = timeout(left, seen.wait_for(|look| is_level(look, table, least))).await;
        match level {
            Ok(Ok(_)) => Waited::Level,
            _ => Waited::Late(find(&self.seen.borrow(), table).cloned()),
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
            // While the database is away nobody gets on; who waits is told so when the time is over.
            if let Ok(Ok(tables)) = tokio::task::spawn_blocking(move || store.shown_tables()).await {
                self.seen.send_replace(Some(Arc::new(tables)));
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
    look.as_ref()?.iter().find(|shown| shown.name == table)
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
