//! Workers that run ahead of each other: a thread and a queue each.
//!
//! *Invariant:* one flush is on its way at most. It is marked in every queue at the same place of the log, and what a
//! worker made after its mark is in the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::super::report::projector_said;
use super::super::rows::Rows;
use super::super::status::RunnerStatus;
use crate::core::EventBatch;
use crate::core::limits::PipelineLimits;
use crate::plugin::{Call, Plugin};
use crate::tables::{GenerationRecord, TableFlush};

/// Bytes of events that may wait in all queues together; the batch that passes it still goes in. Higher would let workers
/// with unlike streams run further apart; lower would save memory.
const AHEAD_BYTES_MAX: usize = 16 << 20;
/// How often who waits for workers looks whether it still may.
const LOOK: Duration = Duration::from_millis(20);

/// What every worker needs beside its rows.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) generation: Arc<GenerationRecord>,
    pub(crate) status: Arc<RunnerStatus>,
    pub(crate) limits: PipelineLimits,
}

/// What a worker has to tell.
pub(crate) struct News {
    worker: usize,
    what: What,
}

enum What {
    /// A share of so many bytes is done.
    Done(usize),
    /// What it changed up to the mark.
    Part(Vec<TableFlush>),
    /// It has evicted what it had too much.
    Evicted,
    /// It ends, as it was told.
    Back(Box<Rows>),
    /// It ends, because it failed; its rows are good for nothing.
    Failed(String),
}

/// What that means.
pub(crate) enum Heard {
    Nothing,
    /// Every worker has passed the mark: its parts, not yet merged.
    Parts(Vec<TableFlush>),
    /// The same, merged.
    Flush(Vec<TableFlush>),
    /// A worker failed, for this reason.
    Failed(String),
}

enum Order {
    Share(Arc<EventBatch>),
    Mark,
    Committed,
    Return,
}

struct Worker {
    orders: Sender<Order>,
    size: Arc<Size>,
    /// Shares that it has not done.
    waiting: usize,
    thread: Option<JoinHandle<()>>,
}

/// What others may know of its rows.
struct Size {
    bytes: AtomicUsize,
    is_whole: AtomicBool,
}

/// The workers, while they are ahead. Dropped, they stop within a call.
pub(super) struct Ahead {
    workers: Vec<Worker>,
    waiting_max: usize,
    waiting_bytes: usize,
    /// Parts of the flush that is on its way, and how many workers have given theirs.
    parts: Option<(Vec<TableFlush>, usize)>,
    /// Workers that have not yet evicted since the last commit.
    evicting: usize,
    stop: Arc<AtomicBool>,
}

impl Ahead {
    pub(super) fn start(hands: Hands, rows: Vec<Rows>) -> std::io::Result<(Self, Receiver<News>)> {
        let (tell, news) = unbounded();
        let mut ahead = Self {
            workers: Vec::with_capacity(rows.len()),
            waiting_max: usize::try_from(hands.limits.queue_batches_max)
                .unwrap_or(usize::MAX)
                .max(1),
            waiting_bytes: 0,
            parts: None,
            evicting: 0,
            stop: Arc::default(),
        };
        let cache_bytes_max = usize::try_from(hands.limits.cache_bytes_max).unwrap_or(usize::MAX);
        let cache_bytes_max = cache_bytes_max / rows.len();
        for (number, rows) in rows.into_iter().enumerate() {
            // Bounded by `has_room`: nothing is dealt to a worker that has enough.
            let (orders, inbox) = unbounded();
            let size = Arc::new(Size {
                bytes: AtomicUsize::new(rows.bytes()),
                is_whole: AtomicBool::new(rows.are_whole()),
            });
            let working = Working {
                number,
                rows: Some(rows),
                hands: hands.clone(),
                cache_bytes_max,
                size: size.clone(),
                stop: ahead.stop.clone(),
                tell: tell.clone(),
            };
            let name = format!("project-{}-{number}", hands.generation.id);
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || working.run(&inbox))?;
            ahead.workers.push(Worker {
                orders,
                size,
                waiting: 0,
                thread: Some(thread),
            });
        }
        Ok((ahead, news))
    }

    pub(super) fn bytes(&self) -> usize {
        let of = |worker: &Worker| worker.size.bytes.load(Ordering::Relaxed);
        self.workers.iter().map(of).sum()
    }

    pub(super) fn is_whole(&self) -> bool {
        let of = |worker: &Worker| worker.size.is_whole.load(Ordering::Relaxed);
        self.workers.iter().all(of)
    }

    pub(super) fn is_evicting(&self) -> bool {
        self.evicting > 0
    }

    pub(super) fn has_room(&self) -> bool {
        let has_enough = |worker: &Worker| worker.waiting >= self.waiting_max;
        self.waiting_bytes < AHEAD_BYTES_MAX && !self.workers.iter().any(has_enough)
    }

    pub(super) fn deal(&mut self, shares: Vec<(usize, Arc<EventBatch>)>) {
        for (number, share) in shares {
            let worker = &mut self.workers[number];
            worker.waiting += 1;
            self.waiting_bytes += share.bytes_len();
            // One that has ended has told why.
            let _ = worker.orders.send(Order::Share(share));
        }
    }

    /// Begins a flush of all that was dealt so far.
    pub(super) fn mark(&mut self) {
        debug_assert!(self.parts.is_none(), "one flush is on its way at most");
        self.parts = Some((Vec::new(), 0));
        self.tell_all(|| Order::Mark);
    }

    pub(super) fn committed(&mut self) {
        self.evicting = self.workers.len();
        self.tell_all(|| Order::Committed);
    }

    fn tell_all(&self, order: impl Fn() -> Order) {
        for worker in &self.workers {
            // One that has ended has told why.
            let _ = worker.orders.send(order());
        }
    }

    pub(super) fn heard(&mut self, news: News) -> Heard {
        let worker = &mut self.workers[news.worker];
        match news.what {
            What::Done(bytes) => {
                worker.waiting -= 1;
                self.waiting_bytes -= bytes;
            }
            What::Evicted => self.evicting -= 1,
            What::Part(part) => {
                if let Some((parts, given)) = &mut self.parts {
                    parts.extend(part);
                    *given += 1;
                    if *given == self.workers.len() {
                        return self
                            .parts
                            .take()
                            .map_or(Heard::Nothing, |(parts, _)| Heard::Parts(parts));
                    }
                }
            }
            // It is only told so in `gather`, which hears it itself.
            What::Back(_) => {}
            What::Failed(why) => return Heard::Failed(why),
        }
        Heard::Nothing
    }

    /// Their rows, once all is done; and the parts of the flush that was on its way.
    pub(super) fn gather(
        mut self,
        news: &Receiver<News>,
        mut patience: impl FnMut() -> bool,
    ) -> Result<(Vec<Rows>, Option<Vec<TableFlush>>), String> {
        self.tell_all(|| Order::Return);
        let mut back: Vec<Option<Rows>> = self.workers.iter().map(|_| None).collect();
        let mut flush = None;
        while back.iter().any(Option::is_none) {
            let told = match news.recv_timeout(LOOK) {
                Ok(told) => told,
                Err(_) if patience() => continue,
                Err(_) => return Err("they were told to stop".to_owned()),
            };
            if let What::Back(rows) = told.what {
                back[told.worker] = Some(*rows);
                continue;
            }
            match self.heard(told) {
                Heard::Parts(parts) => flush = Some(parts),
                Heard::Failed(why) => return Err(why),
                Heard::Nothing | Heard::Flush(_) => {}
            }
        }
        Ok((back.into_iter().flatten().collect(), flush))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in &mut self.workers {
            // Nobody sends to it any more: it ends.
            worker.orders = unbounded().0;
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A panic was told as a failure.
                let _ = thread.join();
            }
        }
    }
}

/// A worker's own side.
struct Working {
    number: usize,
    /// None only while a call has them.
    rows: Option<Rows>,
    hands: Hands,
    /// Its share of the row cache's budget.
    cache_bytes_max: usize,
    size: Arc<Size>,
    stop: Arc<AtomicBool>,
    tell: Sender<News>,
}

/// Tells that its worker has panicked.
struct Alarm(usize, Sender<News>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = What::Failed("it panicked".to_owned());
            // Nobody hears it when the run is over.
            let _ = self.1.send(News { worker: self.0, what });
        }
    }
}

impl Working {
    fn run(mut self, orders: &Receiver<Order>) {
        let _alarm = Alarm(self.number, self.tell.clone());
        for order in orders {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let what = match order {
                Order::Share(share) => {
                    let (bytes, began) = (share.bytes_len(), Instant::now());
                    if let Err(why) = self.project(share) {
                        self.say(What::Failed(why));
                        return;
                    }
                    self.evict();
                    self.throttle(began.elapsed());
                    What::Done(bytes)
                }
                Order::Mark => What::Part(self.rows().take_flush()),
                Order::Committed => {
                    self.rows().committed();
                    self.evict();
                    What::Evicted
                }
                Order::Return => match self.rows.take() {
                    Some(rows) => return self.say(What::Back(Box::new(rows))),
                    None => return,
                },
            };
            self.say(what);
        }
    }

    fn rows(&mut self) -> &mut Rows {
        self.rows
            .as_mut()
            .expect("invariant: the rows are away only within a call")
    }

    fn say(&self, what: What) {
        let worker = self.number;
        // Nobody hears it when the run is over.
        let _ = self.tell.send(News { worker, what });
    }

    /// One call, kept. After an error the rows are as the call left them.
    fn project(&mut self, share: Arc<EventBatch>) -> Result<(), String> {
        let range = 0..share.len();
        let call = Call {
            batch: share.clone(),
            range: range.clone(),
            deadline_factor: 1,
            stop: self.stop.clone(),
        };
        let Some(mut rows) = self.rows.take() else {
            return Err("its rows are gone".to_owned());
        };
        rows.begin(&share, range.clone());
        let status = &self.hands.status;
        let (projection, generation) = (&self.hands.generation.projection, self.hands.generation.id);
        let (worker, events) = (self.number, share.len());
        let span = tracing::debug_span!("project", %projection, %generation, worker, events).entered();
        status.set_call(self.number, Some(Instant::now()));
        let (mut rows, report, result) = self.hands.plugin.project(&call, rows);
        status.set_call(self.number, None);
        drop(span);
        let profiler = status.profiler();
        let projected = if result.is_ok() { range.len() } else { 0 };
        profiler.called(projected, report.nanos, report.rows_nanos);
        profiler.rows(rows.take_counts());
        // What it wrote in its log, it will write again when the same is done together.
        result.map_err(|error| error.message)?;
        rows.keep_batch();
        self.rows = Some(rows);
        if !report.log.is_empty() {
            status.add_log(&report.log);
        }
        projector_said(&self.hands.generation, &share, &range, &report);
        Ok(())
    }

    fn evict(&mut self) {
        let most = self.cache_bytes_max;
        let rows = self.rows();
        if rows.bytes() > most {
            rows.evict(most);
        }
        let (bytes, is_whole) = (rows.bytes(), rows.are_whole());
        self.size.bytes.store(bytes, Ordering::Relaxed);
        self.size.is_whole.store(is_whole, Ordering::Relaxed);
    }

    /// Leaves the machine to others for a share of the time.
    fn throttle(&self, worked: Duration) {
        let wait = self.hands.limits.rebuild_wait(worked);
        if wait.is_zero() {
            return;
        }
        let began = Instant::now();
        while began.elapsed() < wait && !self.stop.load(Ordering::Acquire) {
            std::thread::sleep(LOOK.min(wait));
        }
        self.hands.status.profiler().rested(began.elapsed());
    }
}
