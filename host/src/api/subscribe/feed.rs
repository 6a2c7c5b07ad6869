//! One reader for all who follow the same thing. It reads while somebody does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::queue::{End, Line, Queue};
use crate::core::signal::Signal;
use crate::telemetry::Event;
use crate::telemetry::events::{FeedFailing, SubscriberDropped};

/// Longest time between two looks: another process may write, and its bell is not heard here.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest pause after a full page, for clients to take what they were given. Nobody waits for one that does not: its
/// queue is full after the next pages.
const BREATH_MAX: Duration = Duration::from_millis(50);

/// Items that are kept for clients that were cut off a moment ago: they need no read of their own. Fewer than a queue has
/// places for.
const RECENT_MAX: usize = 1_024;
/// The same in bytes.
const RECENT_BYTES_MAX: usize = 4 << 20;

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

    /// Where an item is, and how many bytes it has; without bytes it says that what is before it is gone.
    fn place(item: &Self::Item) -> (u64, Option<usize>);

    /// The line of an item for a client; None: it is not for it.
    fn line(filter: &Self::Filter, item: &Self::Item) -> Option<Line>;

    /// What a client wants of what comes after `after`, a page of it. Blocks.
    fn catch_up(&self, filter: &Self::Filter, after: u64) -> Result<CaughtUp, String>;

    /// Says that all up to here was passed and nothing more was wanted.
    fn position(at: u64) -> bytes::Bytes;

    /// Bumped when there may be more. Called within a runtime.
    fn signal(&self) -> Arc<Signal>;
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
    /// The last items that were handed out: all that came after `recent_from`.
    recent: VecDeque<S::Item>,
    recent_bytes: usize,
    recent_from: u64,
    /// Reads, and is woken by the signal.
    thread: Option<(std::thread::JoinHandle<()>, Arc<Signal>)>,
    closed: bool,
}

struct Client<S: Source> {
    who: Arc<str>,
    filter: Arc<S::Filter>,
    queue: Arc<Queue>,
}

impl<S: Source> State<S> {
    /// Keeps nothing from before `from`.
    fn forget(&mut self, from: u64) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.recent_from = from;
    }

    fn remember(&mut self, items: Vec<S::Item>) {
        for item in items {
            match S::place(&item) {
                (_, Some(bytes)) => {
                    self.recent_bytes += bytes;
                    self.recent.push_back(item);
                }
                (at, None) => self.forget(at),
            }
        }
        while self.recent.len() > RECENT_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some((at, bytes)) = self.recent.pop_front().as_ref().map(S::place) else {
                return;
            };
            self.recent_bytes -= bytes.unwrap_or_default();
            self.recent_from = at;
        }
    }
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
                recent: VecDeque::new(),
                recent_bytes: 0,
                recent_from: 0,
                thread: None,
                closed: false,
            }),
            changed: Condvar::new(),
        }))
    }

    pub(super) fn source(&self) -> &S {
        &self.0.source
    }

    /// Joins somebody who has all up to `after`, if what came since is at hand. False: it is not.
    pub(super) fn join_at_once(
        &self,
        who: &Arc<str>,
        filter: &Arc<S::Filter>,
        queue: &Arc<Queue>,
        after: u64,
    ) -> bool {
        let mut state = self.0.state.lock();
        let Some(cursor) = state.cursor else { return false };
        if state.closed || after < state.recent_from || after > cursor {
            return false;
        }
        for item in &state.recent {
            if S::place(item).0 > after
                && let Some(line) = S::line(filter, item)
            {
                queue.push(line);
            }
        }
        queue.pass(cursor);
        state.clients.push(Client {
            who: who.clone(),
            filter: filter.clone(),
            queue: queue.clone(),
        });
        true
    }

    /// Joins somebody who has all up to `after`. From now on the queue gets what comes after the answer; what is between,
    /// if the answer is larger, is for the client to read.
    pub(super) fn join(&self, who: Arc<str>, filter: Arc<S::Filter>, queue: Arc<Queue>, after: u64) -> u64 {
        let mut state = self.0.state.lock();
        if state.closed {
            queue.end(End::Closing);
            return after;
        }
        let cursor = match state.cursor {
            Some(cursor) => cursor,
            None => {
                state.cursor = Some(after);
                state.forget(after);
                after
            }
        };
        state.clients.push(Client { who, filter, queue });
        if state.thread.is_none() {
            let (inner, signal) = (self.0.clone(), self.0.source.signal());
            let started = std::thread::Builder::new()
                .name(format!("feed-{}", S::NAME))
                .spawn({
                    let signal = signal.clone();
                    move || inner.run(&signal)
                });
            match started {
                Ok(thread) => state.thread = Some((thread, signal)),
                Err(error) => {
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

    /// As [`Self::close`], and waits until nothing is read any more. Blocks.
    pub(super) fn end(&self) {
        self.close();
        let thread = self.0.state.lock().thread.take();
        if let Some((thread, signal)) = thread {
            signal.bump();
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }

    /// Whether it takes nobody any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }
}

impl<S: Source> Inner<S> {
    fn run(&self, signal: &Signal) {
        let mut failing = false;
        while let Some(cursor) = self.next() {
            let seen = signal.seen();
            match self.source.read(cursor) {
                Ok(page) => {
                    failing = false;
                    let more = page.more;
                    self.hand_out(page);
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
            signal.wait(seen, LOOK_EVERY);
        }
    }

    /// Where to read on, once somebody follows; None: it is over.
    fn next(&self) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            state.clients.retain(|client| !client.queue.is_over());
            if !state.clients.is_empty() {
                return state.cursor;
            }
            state.cursor = None;
            state.forget(0);
            self.changed.wait(&mut state);
        }
    }

    fn hand_out(&self, page: Page<S::Item>) {
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
            state.remember(page.items);
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
