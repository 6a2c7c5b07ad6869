//! One reader for all who follow the same thing. It reads while somebody does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use super::queue::{End, Line, Queue};
use crate::telemetry::Event;
use crate::telemetry::events::{FeedFailing, SubscriberDropped};

/// Longest time between two looks: another process may write, and its bell is not heard here.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest pause after a full page, for clients to take what they were given. Nobody waits for one that does not: its
/// queue is full after the next pages.
const BREATH_MAX: Duration = Duration::from_millis(50);

/// What is followed.
pub(super) trait Source: Send + Sync + 'static {
    /// Something that was read, for all.
    type Item: Send;
    /// What one client wants of it.
    type Filter: Send + Sync + 'static;
    /// For messages: `changes`.
    const NAME: &'static str;

    /// What comes after `after`, a page of it. Blocks.
    fn read(&self, after: u64) -> Result<Page<Self::Item>, String>;

    /// The line of an item for a client; None: it is not for it.
    fn line(filter: &Self::Filter, item: &Self::Item) -> Option<Line>;

    /// What a client wants of what comes after `after`, a page of it. Blocks.
    fn catch_up(&self, filter: &Self::Filter, after: u64) -> Result<CaughtUp, String>;

    /// Says that all up to here was passed and nothing more was wanted.
    fn position(at: u64) -> bytes::Bytes;

    /// To be taken before a read.
    fn seen(&self) -> u64;

    /// Waits until there may be more than what was read after `seen`.
    fn wait(&self, seen: u64, time: Duration, runtime: &Handle);
}

/// What a source gave.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// All up to here was read.
    pub(super) through: u64,
    /// Whether there is more already.
    pub(super) more: bool,
}

/// What one client caught up with.
pub(super) struct CaughtUp {
    pub(super) text: String,
    /// All up to here was passed.
    pub(super) through: u64,
    /// The last id in the text.
    pub(super) told: Option<u64>,
    /// Whether there is more already.
    pub(super) more: bool,
}

/// Hands out what one source gives.
pub(super) struct Feed<S: Source>(Arc<Inner<S>>);

struct Inner<S: Source> {
    source: S,
    state: Mutex<State<S>>,
    /// Somebody joined, or all is over.
    changed: Condvar,
}

struct State<S: Source> {
    clients: Vec<Client<S>>,
    /// What was handed out; None while nobody follows.
    cursor: Option<u64>,
    runs: bool,
    closed: bool,
}

struct Client<S: Source> {
    who: Arc<str>,
    filter: Arc<S::Filter>,
    queue: Arc<Queue>,
}

impl<S: Source> Clone for Feed<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Source> Feed<S> {
    pub(super) fn new(source: S) -> Self {
        Self(Arc::new(Inner {
            source,
            state: Mutex::new(State {
                clients: Vec::new(),
                cursor: None,
                runs: false,
                closed: false,
            }),
            changed: Condvar::new(),
        }))
    }

    pub(super) fn source(&self) -> &S {
        &self.0.source
    }

    /// Joins somebody who has all up to `after`. From now on the queue gets what comes after the answer; what is between,
    /// if the answer is larger, is for the client to read.
    pub(super) fn join(&self, who: Arc<str>, filter: Arc<S::Filter>, queue: Arc<Queue>, after: u64) -> u64 {
        let mut state = self.0.state.lock();
        if state.closed {
            queue.end(End::Closing);
            return after;
        }
        let cursor = *state.cursor.get_or_insert(after);
        state.clients.push(Client { who, filter, queue });
        if !state.runs {
            let (inner, runtime) = (self.0.clone(), Handle::current());
            let started = std::thread::Builder::new()
                .name(format!("feed-{}", S::NAME))
                .spawn(move || inner.run(&runtime));
            state.runs = started.is_ok();
            if let Err(error) = started {
                FeedFailing {
                    feed: S::NAME,
                    error: &error.to_string(),
                }
                .emit();
                for client in state.clients.drain(..) {
                    client.queue.end(End::Closing);
                }
                state.cursor = None;
            }
        }
        self.0.changed.notify_all();
        cursor
    }

    /// Ends everybody who follows.
    pub(super) fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        for client in state.clients.drain(..) {
            client.queue.end(End::Closing);
        }
        self.0.changed.notify_all();
    }

    /// Whether it takes nobody any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }
}

impl<S: Source> Inner<S> {
    fn run(&self, runtime: &Handle) {
        let mut failing = false;
        while let Some(cursor) = self.next() {
            let seen = self.source.seen();
            match self.source.read(cursor) {
                Ok(page) => {
                    failing = false;
                    let more = page.more;
                    self.hand_out(&page);
                    if more {
                        self.breathe();
                        continue;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        FeedFailing {
                            feed: S::NAME,
                            error: &error,
                        }
                        .emit();
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            }
            self.source.wait(seen, LOOK_EVERY, runtime);
        }
    }

    /// Where to read on, once somebody follows; None: it is over.
    fn next(&self) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                state.runs = false;
                return None;
            }
            state.clients.retain(|client| !client.queue.is_over());
            if !state.clients.is_empty() {
                return state.cursor;
            }
            state.cursor = None;
            self.changed.wait(&mut state);
        }
    }

    fn hand_out(&self, page: &Page<S::Item>) {
        let mut state = self.state.lock();
        for client in &state.clients {
            for item in &page.items {
                if let Some(line) = S::line(&client.filter, item)
                    && !client.queue.push(line)
                {
                    break;
                }
            }
            client.queue.pass(page.through);
            if client.queue.ended() == Some(End::Slow) {
                SubscriberDropped {
                    by: &client.who,
                    feed: S::NAME,
                    why: "its queue is full: it reads more slowly than there is to read",
                }
                .emit();
            }
        }
        state.clients.retain(|client| !client.queue.is_over());
        if state.cursor.is_some() {
            state.cursor = Some(page.through);
        }
    }

    /// Lets clients take what they were given, for a bounded time.
    fn breathe(&self) {
        let begun = Instant::now();
        while begun.elapsed() < BREATH_MAX {
            let state = self.state.lock();
            let is_behind = state.clients.iter().any(|client| client.queue.is_half_full());
            drop(state);
            if !is_behind {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
