//! A runner: the three threads that move one generation, and the handle to them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::fault::Parking;
use super::meter::Meters;
use super::pipeline::{FellApart, Pipeline};
use super::reading::{Reader, Reading};
use super::rows::{Indexer, Rows};
use super::status::{RunnerStatus, Stop, StopReason};
use super::tail::Tail;
use super::upcasting::Upcasting;
use super::workers::{Hands, Workers};
use super::writing::Writing;
use crate::core::bell::Bell;
use crate::core::limits::{FaultPolicy, PipelineLimits};
use crate::core::{Class, EventFilter, GenerationId, Position};
use crate::log::EventLog;
use crate::plugin::Plugin;
use crate::tables::{GenerationRecord, StoreError, Switch, TableStore};
use crate::upcast::Upcasters;

/// What every runner of a host shares.
#[derive(Clone)]
pub struct Surroundings {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// Its end, which all runners follow.
    pub tail: Arc<Tail>,
    /// The read tables.
    pub store: Arc<dyn TableStore>,
    /// Sizes and budgets.
    pub limits: PipelineLimits,
    /// Live generations of this host; while there is one, a rebuild keeps its transactions short.
    pub live: Arc<AtomicUsize>,
    /// Rings after each flush that is in the database, and so after each cutover.
    pub written: Bell,
    /// What the host's projections did.
    pub meters: Arc<Meters>,
    /// Where runners report.
    pub events: Sender<RunnerEvent>,
}

/// What to run.
pub struct RunnerSpec {
    /// The generation as it is stored; its checkpoint is where the runner begins.
    pub generation: GenerationRecord,
    /// The code that builds it.
    pub plugin: Arc<Plugin>,
    /// What its events go through first; None where no upcaster concerns it.
    pub upcasters: Option<Arc<Upcasters>>,
    /// What happens to an event that its plugin cannot take.
    pub faults: FaultPolicy,
    /// Whether it is public, so that its flushes go first.
    pub live: bool,
}

/// What a runner tells its host.
#[derive(Debug)]
pub struct RunnerEvent {
    /// Which generation it moves.
    pub generation: GenerationId,
    /// Which runner of that generation; an earlier one may still be heard after the next has started.
    pub run: u64,
    /// What happened.
    pub news: RunnerNews,
}

/// What happened to a runner.
#[derive(Debug)]
pub enum RunnerNews {
    /// Its tables are level with the head for the first time.
    CaughtUp,
    /// Its threads have ended.
    Ended(StopReason),
}

/// Speaks for one runner.
#[derive(Clone)]
pub(crate) struct Herald {
    events: Sender<RunnerEvent>,
    generation: GenerationId,
    run: u64,
}

impl Herald {
    pub(crate) fn tell(&self, news: RunnerNews) {
        // Nobody listens any more when the host is going down.
        let _ = self.events.send(RunnerEvent {
            generation: self.generation,
            run: self.run,
            news,
        });
    }
}

/// A cutover to be done by this runner.
pub struct SwitchRequest {
    /// What to do.
    pub switch: Switch,
    /// Not before the checkpoint is here.
    pub at_least: Position,
    /// Gets the outcome.
    pub reply: Sender<Result<(), StoreError>>,
}

/// How long a hold is waited for; a runner in a long plugin call answers later than this.
const HOLD_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

pub(crate) enum Control {
    /// Let no further flush begin; answer with the committed position when none is under way.
    Hold(Sender<Position>),
    /// Flush again.
    Release,
    /// Cut over.
    Switch(SwitchRequest),
    /// Wake up and look at `stop`.
    Wake,
}

/// One generation being moved.
pub struct Runner {
    generation: GenerationId,
    run: u64,
    status: Arc<RunnerStatus>,
    stop: Arc<AtomicBool>,
    control: Sender<Control>,
    log: Arc<dyn EventLog>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the threads. They end by themselves after [`RunnerNews::Ended`].
    pub fn start(surroundings: &Surroundings, spec: RunnerSpec) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let generation = spec.generation.id;
        let herald = Herald {
            events: surroundings.events.clone(),
            generation,
            run: RUNS.fetch_add(1, Ordering::Relaxed),
        };
        let meter = surroundings.meters.of(spec.generation.projection.as_str());
        let status = Arc::new(RunnerStatus::of(&spec.generation, meter));
        status.profiler().set_live(spec.live);
        status.set_checkpoint(spec.generation.checkpoint.position);
        let stop = Arc::new(AtomicBool::new(false));
        let (control, controls) = unbounded();
        let thread = {
            let (surroundings, herald) = (surroundings.clone(), herald.clone());
            let (status, stop) = (status.clone(), stop.clone());
            let builder = std::thread::Builder::new().name(format!("project-{generation}"));
            builder.spawn(move || {
                let reason = run(&surroundings, &spec, &status, &stop, &controls, &herald);
                herald.tell(RunnerNews::Ended(reason));
            })
        };
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                let why = format!("no thread could be started: {error}");
                herald.tell(RunnerNews::Ended(StopReason::Restart(why)));
                None
            }
        };
        Self {
            generation,
            run: herald.run,
            status,
            stop,
            control,
            log: surroundings.log.clone(),
            thread,
        }
    }

    /// Which generation it moves.
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// Which runner of the generation it is: [`RunnerEvent::run`].
    pub fn run(&self) -> u64 {
        self.run
    }

    /// What it says of itself.
    pub fn status(&self) -> &Arc<RunnerStatus> {
        &self.status
    }

    /// Lets no further flush begin; gives the committed position, or None when the runner has ended.
    pub fn hold(&self) -> Option<Position> {
        let (reply, answer) = bounded(1);
        self.control.send(Control::Hold(reply)).ok()?;
        answer.recv_timeout(HOLD_WAIT).ok()
    }

    /// Ends a hold.
    pub fn release(&self) {
        // A runner that has ended holds nothing.
        let _ = self.control.send(Control::Release);
    }

    /// Asks for a cutover in the next flush at or after a position. The reply channel is dropped when the runner ends
    /// before.
    pub fn switch(&self, request: SwitchRequest) {
        // If the runner has ended, the reply channel is dropped with the message.
        let _ = self.control.send(Control::Switch(request));
    }

    /// Tells it to end, without waiting. What was applied but not flushed is flushed first.
    pub fn tell_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.control.send(Control::Wake);
        self.log.signal().bump();
    }

    /// Ends it and waits for its threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its end already.
            let _ = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs until it is over: workers ahead of each other where there are several, and together after one of them failed.
fn run(
    surroundings: &Surroundings,
    spec: &RunnerSpec,
    status: &Arc<RunnerStatus>,
    stop: &Arc<AtomicBool>,
    controls: &Receiver<Control>,
    herald: &Herald,
) -> StopReason {
    let mut orders = Vec::new();
    let mut ahead = true;
    loop {
        let attempt = Attempt {
            surroundings,
            spec,
            status,
            stop,
            controls,
            herald,
        };
        match attempt.run(ahead, orders) {
            Ok(reason) => return reason,
            Err(fell_apart) => {
                let (projection, generation) = (&spec.generation.projection, spec.generation.id);
                tracing::debug!(
                    %projection, %generation, why = fell_apart.why,
                    "A worker failed; what is not committed is done again, by all workers together"
                );
                ahead = false;
                orders = fell_apart.orders;
            }
        }
    }
}

/// One run from the committed checkpoint on.
struct Attempt<'a> {
    surroundings: &'a Surroundings,
    spec: &'a RunnerSpec,
    status: &'a Arc<RunnerStatus>,
    stop: &'a Arc<AtomicBool>,
    controls: &'a Receiver<Control>,
    herald: &'a Herald,
}

impl Attempt<'_> {
    fn run(self, ahead: bool, orders: Vec<Control>) -> Result<StopReason, FellApart> {
        let Self {
            surroundings,
            spec,
            status,
            stop,
            controls,
            herald,
        } = self;
        let generation = &spec.generation;
        let count = workers_of(&surroundings.limits, spec);
        let opened = surroundings.store.writer(generation).and_then(|mut writer| {
            // The record may be older than the last flush; the database knows.
            let checkpoint = writer.checkpoint()?;
            let readers: Result<Vec<_>, _> = (0..count)
                .map(|_| surroundings.store.reader(generation))
                .collect();
            let readers = readers?;
            let book = surroundings.store.letter_book(generation.id)?;
            let discards = surroundings.store.discards(Some(&generation.projection))?;
            let parking = Parking::new(spec.faults.clone(), generation, book, &discards);
            Ok((writer, checkpoint, readers, parking))
        });
        let (writer, checkpoint, readers, parking) = match opened {
            Ok(opened) => opened,
            Err(error) if error.class() == Class::Retryable => {
                return Ok(StopReason::Restart(format!(
                    "the read tables cannot be opened: {error}"
                )));
            }
            Err(error) => {
                return Ok(StopReason::Fault(bug(format!(
                    "the read tables cannot be opened: {error}"
                ))));
            }
        };
        status.set_checkpoint(checkpoint.position);
        let (parked_events, parked_streams) = parking.counts();
        status.set_parked(parked_events, parked_streams);
        let is_empty = checkpoint.position == Position::START;
        let descriptor = &generation.descriptor;
        let indexer = indexer(surroundings, generation);
        let rows = readers
            .into_iter()
            .map(|reader| Rows::new(descriptor, reader, is_empty).indexed_by(indexer.clone()));
        let mut workers = Workers::new(descriptor, rows.collect());
        if ahead {
            let hands = Hands {
                plugin: spec.plugin.clone(),
                generation: Arc::new(generation.clone()),
                status: status.clone(),
                limits: surroundings.limits.clone(),
            };
            if let Err(error) = workers.go_ahead(hands) {
                return Ok(StopReason::Restart(format!(
                    "no thread could be started: {error}"
                )));
            }
        }
        let queue = usize::try_from(surroundings.limits.queue_batches_max)
            .unwrap_or(1)
            .max(1);
        let (to_project, batches) = bounded(queue);
        let (to_write, writes) = bounded(1);
        let (to_acknowledge, written) = bounded(1);
        let (give_back, given_back) = bounded(1);
        let end_threads = Arc::new(AtomicBool::new(false));
        let wanted = EventFilter {
            any_of: generation.descriptor.subscriptions.clone(),
            ..EventFilter::default()
        };
        let (filter, upcasting) = match &spec.upcasters {
            None => (wanted, None),
            Some(upcasters) => {
                let filter = EventFilter {
                    any_of: upcasters.graph().reads(&wanted.any_of),
                    ..EventFilter::default()
                };
                let upcasters = upcasters.join();
                (filter, Some(Upcasting { upcasters, wanted }))
            }
        };
        let reading = Reading {
            log: surroundings.log.clone(),
            tail: surroundings.tail.follow(),
            filter,
            fields: spec.plugin.descriptor().field_plan().map(Arc::new),
            upcasting,
            from: checkpoint,
            limits: surroundings.limits.clone(),
            stop: end_threads.clone(),
            status: status.clone(),
            to: to_project,
        };
        let writing = Writing {
            writer: Mutex::new(writer),
            stop: stop.clone(),
            status: status.clone(),
            written: surroundings.written.clone(),
        };
        let writing = &writing;
        let id = generation.id;
        // What the threads of a run do is told within it, stage by stage.
        let span = tracing::debug_span!("projection", projection = %generation.projection, generation = %id);
        let (of_reader, of_writer) = (span.clone(), span.clone());
        let _entered = span.enter();
        std::thread::scope(|scope| {
            let started = std::thread::Builder::new()
                .name(format!("read-{id}"))
                .spawn_scoped(scope, move || {
                    of_reader.in_scope(|| Reader::new(reading).run(&given_back));
                })
                .and_then(|_| {
                    std::thread::Builder::new()
                        .name(format!("write-{id}"))
                        .spawn_scoped(scope, move || {
                            of_writer.in_scope(|| writing.run(&writes, &to_acknowledge));
                        })
                });
            let reason = match started {
                Ok(_) => {
                    let mut pipeline = Pipeline::new(
                        surroundings,
                        herald,
                        spec,
                        status.clone(),
                        stop.clone(),
                        checkpoint,
                        workers,
                        parking,
                        controls.clone(),
                        batches,
                        give_back,
                        writing,
                        to_write,
                        written,
                    );
                    for order in orders {
                        pipeline.control(order);
                    }
                    pipeline.run()
                }
                Err(error) => Ok(StopReason::Restart(format!(
                    "no thread could be started: {error}"
                ))),
            };
            end_threads.store(true, Ordering::Release);
            surroundings.log.signal().bump();
            reason
        })
    }
}

/// Makes the secondary indexes, once, whichever worker asks first.
fn indexer(surroundings: &Surroundings, generation: &GenerationRecord) -> Indexer {
    let (store, generation) = (surroundings.store.clone(), generation.clone());
    let once = Once::new();
    Arc::new(move || {
        once.call_once(|| {
            // Without them everything is right, only slow; the control plane makes them too, and tells of errors.
            if let Err(error) = store.create_indexes(&generation) {
                let (projection, generation) = (&generation.projection, generation.id);
                tracing::warn!(
                    %projection, %generation, %error,
                    "Indexes cannot be made during the build; lookups are slow until they are"
                );
            }
        });
    })
}

/// How many project at the same time: more than one only while a generation of a projector that allows it is built.
fn workers_of(limits: &PipelineLimits, spec: &RunnerSpec) -> usize {
    if spec.live || !spec.generation.descriptor.is_partitioned_by_stream() {
        return 1;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = usize::try_from(limits.rebuild_workers_max).unwrap_or(usize::MAX);
    cores.min(most).max(1)
}

pub(crate) fn bug(message: String) -> Stop {
    Stop {
        class: Class::Bug,
        message,
        position: None,
        event_id: None,
        part: None,
        trace: String::new(),
        log: Vec::new(),
        attempts: 1,
    }
}
