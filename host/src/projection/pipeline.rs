//! The projecting thread: takes batches, decides when to flush, follows the switch.

mod ahead;
mod applying;
mod level;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select, tick};

pub(crate) use self::ahead::FellApart;
use self::level::Level;
use super::fault::Parking;
use super::reading::{Read, Reader};
use super::runner::{Control, Herald, RunnerNews, RunnerSpec, Surroundings, SwitchRequest, bug};
use super::status::{RunnerStatus, StopReason};
use super::workers::Workers;
use super::writing::{Write, Writing, Written};
use crate::core::{Class, EventBatch, LogId, Position};
use crate::tables::{Checkpoint, Flush, TableFlush};

/// Longest that applied events wait for a flush while the head is out of reach. Higher would flush less often in a
/// rebuild; lower would show progress sooner.
const FLUSH_WAIT: Duration = Duration::from_secs(2);
/// Fewest events of a flush when rebuilds must keep their transactions short.
const FLUSH_EVENTS_MIN: u64 = 500;
/// What was applied in memory and is not flushed.
struct Pending {
    to: Checkpoint,
    events: u64,
    since: Instant,
    at_head: bool,
}

pub(crate) struct Pipeline<'a> {
    surroundings: &'a Surroundings,
    herald: &'a Herald,
    spec: &'a RunnerSpec,
    status: Arc<RunnerStatus>,
    stop: Arc<AtomicBool>,
    log: LogId,
    workers: Workers,
    parking: Parking,
    controls: Receiver<Control>,
    batches: Receiver<Read>,
    /// What reads while this thread does it.
    level: Level,
    writing: &'a Writing,
    to_write: Sender<Write>,
    written: Receiver<Written>,
    committed: Checkpoint,
    pending: Option<Pending>,
    /// Where the flush under way leads, and whether the head was reached with it.
    in_flight: Option<(Checkpoint, u64, bool, Option<SwitchRequest>)>,
    /// That flush, while it is on its way through the queues of workers that are ahead.
    marked: Option<Write>,
    /// Why a worker that was ahead failed.
    fell_apart: Option<String>,
    /// Since when it is told to stop.
    told: Option<Instant>,
    /// What is parked once the flush under way is in.
    parked_in_flight: Option<(u64, u64)>,
    held: bool,
    hold_replies: Vec<Sender<Position>>,
    switch: Option<SwitchRequest>,
    live: bool,
    /// Events of one flush while behind the head; shrinks when live projections must not wait.
    flush_events: u64,
    announced: bool,
    /// Whether the indexes were made during this run.
    indexed: bool,
    /// Set when something must end the run after what is applied has been flushed.
    ending: Option<StopReason>,
    /// Events that are applied in memory, or dealt to workers, since the last flush was made.
    applied: u64,
}

impl<'a> Pipeline<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, which has just made them all"
    )]
    pub(crate) fn new(
        surroundings: &'a Surroundings,
        herald: &'a Herald,
        spec: &'a RunnerSpec,
        status: Arc<RunnerStatus>,
        stop: Arc<AtomicBool>,
        committed: Checkpoint,
        workers: Workers,
        parking: Parking,
        controls: Receiver<Control>,
        batches: Receiver<Read>,
        give_back: Sender<Box<Reader>>,
        writing: &'a Writing,
        to_write: Sender<Write>,
        written: Receiver<Written>,
    ) -> Self {
        Self {
            surroundings,
            herald,
            spec,
            status,
            stop,
            log: surroundings.log.id(),
            workers,
            parking,
            controls,
            batches,
            level: Level::new(&*surroundings.log, give_back),
            writing,
            to_write,
            written,
            committed,
            pending: None,
            in_flight: None,
            marked: None,
            fell_apart: None,
            told: None,
            parked_in_flight: None,
            held: false,
            hold_replies: Vec::new(),
            switch: None,
            live: spec.live,
            flush_events: first_flush_events(surroundings, spec.live),
            announced: false,
            indexed: false,
            ending: None,
            applied: 0,
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// Why a worker that was ahead failed: what is not committed is lost, and is to be done again together.
    pub(crate) fn run(mut self) -> Result<StopReason, FellApart> {
        let (nothing, silence) = (never(), never());
        let ticks = tick(Duration::from_millis(100));
        loop {
            if self.stop.load(Ordering::Acquire) && self.ending.is_none() {
                self.ending = Some(StopReason::Told);
            }
            if let Some(why) = self.fell_apart.take() {
                return if self.stop.load(Ordering::Acquire) {
                    Ok(StopReason::Told)
                } else {
                    Err(self.fall_apart(why))
                };
            }
            if !self.may_wait_for_workers() {
                return Ok(StopReason::Told);
            }
            if self.in_flight.is_none() {
                if let Err(reason) = self.flush_if_due() {
                    return Ok(reason);
                }
                self.answer_holds();
            }
            if self.in_flight.is_none()
                && (self.pending.is_none() || self.held)
                && let Some(reason) = self.ending.take()
            {
                return Ok(reason);
            }
            self.make_ready();
            let takes = self.takes_batches();
            let batches = if takes { &self.batches } else { &nothing };
            // What was read before goes first: a step may need the room.
            let reads = takes && self.batches.is_empty();
            let appended = if reads { self.level.appended() } else { None };
            let appended = appended.unwrap_or(&silence);
            select! {
                recv(self.controls) -> control => match control {
                    Ok(control) => self.control(control),
                    Err(_) => self.stop.store(true, Ordering::Release),
                },
                recv(self.written) -> written => match written {
                    Ok(written) => {
                        if let Some(reason) = self.acknowledge(written) {
                            return Ok(reason);
                        }
                    }
                    Err(_) => return Ok(StopReason::Restart("the writer thread ended".to_owned())),
                },
                recv(self.workers.news()) -> news => if let Ok(news) = news {
                    self.heard(news);
                },
                recv(batches) -> read => match read {
                    Ok(Read::Batch(batch, at_head)) => {
                        self.take(&batch, at_head);
                        if !at_head {
                            self.level.give_back();
                        }
                    }
                    Ok(Read::Level(reader)) => self.level.take(reader),
                    Ok(Read::Diverged(why)) => self.ending = Some(StopReason::Diverged(why)),
                    Ok(Read::Broken(why)) => self.ending = Some(StopReason::Fault(bug(why))),
                    Ok(Read::Unlifted(unlifted)) => self.take_unlifted(*unlifted),
                    Ok(Read::Faulted(stop)) => self.ending = Some(StopReason::Fault(*stop)),
                    Err(_) => return Ok(StopReason::Restart("the reader thread ended".to_owned())),
                },
                recv(appended) -> _ => self.level.read(),
                recv(ticks) -> _ => if reads { self.level.read_in_time() },
            }
        }
    }

    /// While there is nothing to do, does what the next event would have to wait for.
    fn make_ready(&self) {
        if self.live && self.in_flight.is_none() && self.pending.is_none() && self.batches.is_empty() {
            self.spec.plugin.make_ready();
        }
    }

    fn cache_bytes_max(&self) -> usize {
        usize::try_from(self.surroundings.limits.cache_bytes_max).unwrap_or(usize::MAX)
    }

    /// While a flush is under way, work goes on until the next one is as large or memory is full.
    fn takes_batches(&mut self) -> bool {
        if self.ending.is_some() || !self.workers.have_room() {
            return false;
        }
        let full = self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.events >= self.flush_events);
        let waits = self.in_flight.is_some() || self.held;
        !(waits && (full || self.workers.are_over(self.cache_bytes_max())))
    }

    pub(crate) fn control(&mut self, control: Control) {
        match control {
            Control::Hold(reply) => {
                self.held = true;
                self.hold_replies.push(reply);
            }
            Control::Release => self.held = false,
            Control::Switch(request) => self.switch = Some(request),
            Control::Wake => {}
        }
    }

    fn answer_holds(&mut self) {
        for reply in self.hold_replies.drain(..) {
            // Who asked may have given up.
            let _ = reply.send(self.committed.position);
        }
    }

    /// Sends a flush to the writer if there is a reason to; the writer is idle.
    fn flush_if_due(&mut self) -> Result<(), StopReason> {
        if self.held && self.switch.is_none() {
            return Ok(());
        }
        let reached = self
            .pending
            .as_ref()
            .map_or(self.committed.position, |pending| pending.to.position);
        let switch_is_due = self
            .switch
            .as_ref()
            .is_some_and(|switch| reached >= switch.at_least);
        let cache_is_full = self.workers.are_over(self.cache_bytes_max());
        let due = match &self.pending {
            Some(pending) => {
                self.ending.is_some()
                    || pending.at_head
                    || pending.events >= self.flush_events
                    || pending.since.elapsed() > FLUSH_WAIT
                    || cache_is_full
            }
            None => false,
        };
        if !due && !switch_is_due {
            return Ok(());
        }
        let (to, events, at_head) = match self.pending.take() {
            Some(pending) => (pending.to, pending.events, pending.at_head),
            None => (self.committed, 0, true),
        };
        let flush = Flush {
            from: self.committed,
            to,
            tables: Vec::new(),
            letters: self.parking.take_flush(),
        };
        debug_assert!(
            flush.from.position <= flush.to.position,
            "the checkpoint moves only forward"
        );
        let request = if switch_is_due { self.switch.take() } else { None };
        self.parked_in_flight = flush.letters.is_some().then(|| self.parking.counts());
        let write = Write {
            flush,
            live: self.live,
            switch: request.as_ref().map(|request| request.switch.clone()),
            tried: false,
            events: std::mem::take(&mut self.applied),
        };
        // With more events at hand, writing goes on beside projecting.
        let at_once = self.live && at_head && request.is_none() && self.batches.is_empty();
        self.in_flight = Some((to, events, at_head, request));
        self.marked = Some(write);
        let Some(tables) = self.workers.take_flush() else {
            return Ok(());
        };
        match at_once {
            true => self.write_at_once(tables),
            false => {
                self.send(tables);
                Ok(())
            }
        }
    }

    /// Writes the flush that was waiting for its rows in this thread, unless the database is away.
    fn write_at_once(&mut self, tables: Vec<TableFlush>) -> Result<(), StopReason> {
        let Some(mut write) = self.marked.take() else {
            return Ok(());
        };
        write.flush.tables = tables;
        if let Some(written) = self.writing.at_once(&mut write) {
            return self.acknowledge(written).map_or(Ok(()), Err);
        }
        self.to_write
            .send(write)
            .map_err(|_| StopReason::Restart("the writer thread ended".to_owned()))
    }

    fn acknowledge(&mut self, written: Written) -> Option<StopReason> {
        let (to, events, at_head, request) = self.in_flight.take()?;
        if let (Some(request), Some(switched)) = (request, written.switched) {
            self.live |= switched.is_ok();
            self.status.profiler().set_live(self.live);
            // Who asked may have given up; the store knows the outcome.
            let _ = request.reply.send(switched);
        }
        if let Err(error) = written.result {
            return Some(match error.class() {
                _ if self.stop.load(Ordering::Acquire) => StopReason::Told,
                Class::Retryable => StopReason::Restart(error.to_string()),
                _ => StopReason::Fault(bug(format!("the read tables cannot be written: {error}"))),
            });
        }
        self.committed = to;
        if let Some((events, streams)) = self.parked_in_flight.take() {
            self.status.set_parked(events, streams);
        }
        self.workers.committed();
        let bytes_max = self.cache_bytes_max();
        self.workers.evict(bytes_max);
        let (bytes, whole) = (self.workers.bytes(), self.workers.are_whole());
        self.status.set_cache(bytes, whole);
        self.adapt(events, written.time);
        if at_head && !self.announced {
            self.announced = true;
            self.herald.tell(RunnerNews::CaughtUp);
        }
        None
    }

    /// Keeps a rebuild's transactions short while live projections want their turn.
    fn adapt(&mut self, events: u64, time: Duration) {
        let limits = &self.surroundings.limits;
        let most = limits.flush_events_max.max(1);
        if !is_beside_live(self.surroundings, self.live) {
            self.flush_events = most;
            return;
        }
        if events == 0 {
            return;
        }
        let target_ms = limits.rebuild_transaction_ms_max.max(1) as f64;
        let factor = (target_ms / (time.as_secs_f64() * 1000.0).max(0.1)).clamp(0.25, 2.0);
        let wanted = (events.max(FLUSH_EVENTS_MIN) as f64 * factor) as u64;
        self.flush_events = wanted.clamp(FLUSH_EVENTS_MIN.min(most), most);
    }

    /// Applies a batch in memory.
    fn take(&mut self, batch: &Arc<EventBatch>, at_head: bool) {
        let began = Instant::now();
        self.index_in_time();
        if !batch.is_empty()
            && let Err((stop, done)) = self.apply_or_park(batch)
        {
            // What came before the event is right and is kept; the event itself is not skipped.
            if done > 0 {
                self.reach(
                    Checkpoint {
                        position: batch.position(done - 1),
                        event_id: Some(batch.id(done - 1)),
                        log: Some(self.log),
                    },
                    done as u64,
                    false,
                );
            }
            self.parking.forget_from(batch.position(done));
            self.ending = Some(*stop);
            return;
        }
        let to = Checkpoint {
            position: batch.through,
            event_id: batch.through_id,
            log: Some(self.log),
        };
        if to.position > self.committed.position || self.pending.is_some() {
            self.reach(to, batch.len() as u64, at_head);
        } else if at_head && !self.announced {
            self.announced = true;
            self.herald.tell(RunnerNews::CaughtUp);
        }
        if at_head && self.workers.are_ahead() {
            self.gather();
        }
        let bytes_max = self.cache_bytes_max();
        self.workers.evict(bytes_max);
        self.throttle(began.elapsed());
    }

    /// Indexes are made after the load, but where that would stop live projections they are made before the table is
    /// large.
    fn index_in_time(&mut self) {
        let generation = &self.spec.generation;
        let store = &self.surroundings.store;
        if self.indexed
            || !is_beside_live(self.surroundings, self.live)
            || !store.making_indexes_stops_writers()
        {
            return;
        }
        // Without them everything is right, only slow; the control plane makes them too, and tells of errors.
        self.indexed = true;
        if let Err(error) = store.create_indexes(generation) {
            tracing::warn!(projection = %generation.projection, generation = %generation.id, %error, "Indexes cannot be made early in the build; they are made at its end");
        }
    }

    fn reach(&mut self, to: Checkpoint, events: u64, at_head: bool) {
        let pending = self.pending.get_or_insert_with(|| Pending {
            to,
            events: 0,
            since: Instant::now(),
            at_head,
        });
        pending.to = to;
        pending.events += events;
        pending.at_head = at_head;
    }

    /// Leaves the machine to others for a share of the time, while rebuilding; workers that are ahead do it themselves.
    fn throttle(&self, worked: Duration) {
        if !self.live && !self.workers.are_ahead() {
            let wait = self.surroundings.limits.rebuild_wait(worked);
            if wait > Duration::ZERO {
                let began = Instant::now();
                std::thread::sleep(wait);
                self.status.profiler().rested(began.elapsed());
            }
        }
    }
}

/// Whether live projections want their turn beside one that is being built.
fn is_beside_live(surroundings: &Surroundings, live: bool) -> bool {
    !live && surroundings.live.load(Ordering::Relaxed) > 0
}

/// Events of the first flush: how long one takes is not known yet.
fn first_flush_events(surroundings: &Surroundings, live: bool) -> u64 {
    let most = surroundings.limits.flush_events_max.max(1);
    match is_beside_live(surroundings, live) {
        true => most.min(FLUSH_EVENTS_MIN),
        false => most,
    }
}
