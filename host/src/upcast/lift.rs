//! A batch of the log through a set of upcasters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lamphouse_contract::fields::Plan;
use lamphouse_contract::packed;
use uuid::Uuid;

use super::chain::{Form, LiftError, Step, lift};
use super::graph::{Conflict, Graph};
use super::memo::{Memo, Siblings};
use crate::core::{Class, EventBatch, EventFilter, EventId, Position};
use crate::plugin::{CallError, LogLine, Upcaster};

/// A deadline that was missed is tried once more with this many times the time.
const SECOND_DEADLINE_FACTOR: u64 = 10;

/// Upcasters that work together: their code and their graph.
pub struct Upcasters {
    graph: Graph,
    plugins: Vec<Arc<Upcaster>>,
    memo: Memo,
    users: AtomicUsize,
    #[cfg(test)]
    calls: AtomicUsize,
}

/// What events became, each by its place in the batch; and the place of the one that ends it with a fault, if one does.
type Prefix = (Vec<(usize, Siblings)>, Option<(usize, LiftFault)>);

/// Where one of several projections stands that share a set; the set remembers what it lifted while there are two.
pub struct User(Arc<Upcasters>);

/// Why a batch could not be lifted whole.
#[derive(Clone, Debug)]
pub struct LiftFault {
    /// What to do about it.
    pub class: Class,
    /// Names the upcaster, the rule, the position and the event.
    pub message: String,
    /// Position of the stored event, the first of the call that failed.
    pub position: Position,
    /// Id of the stored event; None where the call had more events, so that it need not be this one's failure.
    pub event_id: Option<EventId>,
    /// The guest's backtrace, or its own trace.
    pub trace: String,
    /// The guest's log lines of the failing call.
    pub log: Vec<LogLine>,
    /// Tries.
    pub attempts: u64,
}

/// What an upcaster wrote to its log in one call.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// First position of the call.
    pub first: Position,
    /// Last position of the call.
    pub last: Position,
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Lines over the cap.
    pub dropped: u64,
}

/// What a lifted batch is to be.
pub struct Lifting<'l> {
    /// What is kept of what came out: the projection's subscriptions, met after upcasting.
    pub filter: &'l EventFilter,
    /// What the projector declares of its events' JSON; None where it takes them whole.
    pub fields: Option<&'l Arc<Plan>>,
    /// Events of one batch that comes out. A stored event's siblings stay together, over this number if need be.
    pub events_max: usize,
    /// Bytes of one batch that comes out.
    pub bytes_max: usize,
    /// Once set, calls are ended soon ([`Class::Retryable`]).
    pub stop: &'l Arc<AtomicBool>,
    /// Gets the guests' log lines.
    pub said: &'l mut dyn FnMut(Said),
}

impl std::fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.plugins).finish()
    }
}

impl Upcasters {
    /// Makes a set.
    ///
    /// # Errors
    /// [`Conflict`]: two rules for one schema, or a cycle.
    pub fn new(plugins: Vec<Arc<Upcaster>>) -> Result<Self, Conflict> {
        let descriptors: Vec<_> = plugins.iter().map(|plugin| plugin.descriptor().clone()).collect();
        Ok(Self {
            graph: Graph::new(&descriptors)?,
            plugins,
            memo: Memo::default(),
            users: AtomicUsize::new(0),
            #[cfg(test)]
            calls: AtomicUsize::new(0),
        })
    }

    /// The set of none.
    pub fn empty() -> Self {
        Self {
            graph: Graph::default(),
            plugins: Vec::new(),
            memo: Memo::default(),
            users: AtomicUsize::new(0),
            #[cfg(test)]
            calls: AtomicUsize::new(0),
        }
    }

    /// What turns into what.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether some upcaster takes this schema.
    pub fn takes(&self, event_type: &str, schema_version: u32) -> bool {
        self.graph.edge(event_type, schema_version).is_some()
    }

    /// The upcasters; a place in the set is a place here.
    pub fn plugins(&self) -> &[Arc<Upcaster>] {
        &self.plugins
    }

    #[cfg(test)]
    pub(super) fn calls_for_test(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Says that one more projection uses the set, until the answer is dropped.
    pub fn join(self: &Arc<Self>) -> User {
        self.users.fetch_add(1, Ordering::AcqRel);
        User(self.clone())
    }

    /// Lifts a batch. Gives what comes out in batches, the same one where nothing takes anything of it, and why it
    /// ends before the event that could not be lifted, if one could not. [`Class::Retryable`] means: the same again
    /// later.
    pub fn lift(
        &self,
        batch: &Arc<EventBatch>,
        lifting: &mut Lifting<'_>,
    ) -> (Vec<Arc<EventBatch>>, Option<LiftFault>) {
        let mut events = Vec::with_capacity(batch.len());
        for event in packed::events(batch.packed(0..batch.len())) {
            match event {
                Ok(event) => events.push(event),
                Err(error) => return (Vec::new(), Some(misread(batch, events.len(), &error))),
            }
        }
        let taken: Vec<usize> = (0..events.len())
            .filter(|&at| {
                self.graph
                    .edge(events[at].event_type, events[at].schema_version)
                    .is_some()
            })
            .collect();
        if taken.is_empty() && lifting.fields.is_none() {
            return (vec![batch.clone()], None);
        }
        let (lifted, fault) = self.lift_taken(batch, &events, &taken, lifting);
        let end = match &fault {
            Some((at, _)) => *at,
            None => events.len(),
        };
        let mut out = Pieces::new(lifting);
        let mut siblings = lifted.into_iter().peekable();
        for (at, event) in events[..end].iter().enumerate() {
            out.begin(batch, at);
            match siblings.next_if(|(taken, _)| *taken == at) {
                None => out.pass(batch, at, event),
                Some((_, siblings)) => out.write(batch, at, event, &siblings, lifting.filter),
            }
        }
        (out.finish(batch, end), fault.map(|(_, fault)| fault))
    }

    /// What each taken event became, up to the first that could not be lifted, and why that one could not.
    fn lift_taken(
        &self,
        batch: &EventBatch,
        events: &[packed::Event<'_>],
        taken: &[usize],
        lifting: &mut Lifting<'_>,
    ) -> Prefix {
        let key = |at: usize| (batch.position(at).0, batch.id(at));
        let shared = self.users.load(Ordering::Acquire) > 1;
        if !shared {
            return self.lift_these(events, taken, lifting);
        }
        let claims = self.memo.claim(taken.iter().map(|&at| key(at)));
        let mine: Vec<usize> = taken
            .iter()
            .copied()
            .filter(|&at| claims.is_mine(key(at)))
            .collect();
        let (done, mut fault) = self.lift_these(events, &mine, lifting);
        claims.settle(done.iter().map(|(at, siblings)| (key(*at), siblings.clone())));
        let mut done = done.into_iter().peekable();
        let mut all = Vec::with_capacity(taken.len());
        for &at in taken {
            if fault.as_ref().is_some_and(|(end, _)| at >= *end) {
                break;
            }
            let siblings = match done.next_if(|(mine, _)| *mine == at) {
                Some((_, siblings)) => Some(siblings),
                None => self.memo.wait(key(at), lifting.stop),
            };
            match siblings {
                Some(siblings) => all.push((at, siblings)),
                // Whoever was at it gave up, or it was forgotten.
                None => {
                    let (mut one, failed) = self.lift_these(events, &[at], lifting);
                    if failed.is_some() {
                        fault = failed;
                        break;
                    }
                    all.append(&mut one);
                }
            }
        }
        (all, fault)
    }

    fn lift_these(&self, events: &[packed::Event<'_>], these: &[usize], lifting: &mut Lifting<'_>) -> Prefix {
        let mut end = these.len();
        let mut fault = None;
        loop {
            let chosen: Vec<packed::Event<'_>> = these[..end].iter().map(|&at| events[at]).collect();
            let mut failed_call = FailedCall::default();
            let lifted = lift(
                &self.graph,
                &chosen,
                &mut |upcaster, events| self.call(upcaster, events, lifting, &mut failed_call),
                &mut |_| {},
            );
            match lifted {
                Ok(lifted) => {
                    let siblings = these.iter().zip(lifted).filter_map(|(&at, forms)| {
                        let forms = forms?.into_iter().map(Form::into_owned);
                        Some((at, forms.collect()))
                    });
                    return (siblings.collect(), fault);
                }
                // An event before it may fail in a later round.
                Err(error) => {
                    end = error.event;
                    fault = Some((these[end], self.fault(&chosen[end], &error, failed_call)));
                }
            }
        }
    }

    /// Lifts some events step by step, telling each step: for those who look.
    ///
    /// # Errors
    /// The first event that could not be lifted: its place, and why.
    pub fn show(
        &self,
        events: &[packed::Event<'_>],
        stop: &Arc<AtomicBool>,
        show: &mut dyn FnMut(Step<'_>),
    ) -> Result<Vec<Option<Vec<Form<'static>>>>, (usize, LiftFault)> {
        let mut lifting = Lifting {
            filter: &EventFilter::default(),
            fields: None,
            events_max: usize::MAX,
            bytes_max: usize::MAX,
            stop,
            said: &mut |_| {},
        };
        let mut failed_call = FailedCall::default();
        let lifted = lift(
            &self.graph,
            events,
            &mut |upcaster, events| self.call(upcaster, events, &mut lifting, &mut failed_call),
            show,
        );
        match lifted {
            Ok(lifted) => Ok(lifted
                .into_iter()
                .map(|forms| Some(forms?.into_iter().map(Form::into_owned).collect()))
                .collect()),
            Err(error) => Err((error.event, self.fault(&events[error.event], &error, failed_call))),
        }
    }

    /// One call, and once more with a longer deadline.
    fn call(
        &self,
        upcaster: usize,
        events: &[packed::Event<'_>],
        lifting: &mut Lifting<'_>,
        failed: &mut FailedCall,
    ) -> Result<Vec<Vec<crate::plugin::Lifted>>, CallError> {
        let plugin = &self.plugins[upcaster];
        let mut deadline_factor = 1;
        #[cfg(test)]
        self.calls.fetch_add(1, Ordering::Relaxed);
        loop {
            let (report, result) = plugin.upcast(events, deadline_factor, lifting.stop);
            if !report.log.is_empty() {
                (lifting.said)(Said {
                    name: plugin.descriptor().name.clone(),
                    version: plugin.descriptor().version.clone(),
                    first: Position(events.first().map_or(0, |event| event.position)),
                    last: Position(events.last().map_or(0, |event| event.position)),
                    lines: report.log.clone(),
                    dropped: report.log_dropped,
                });
            }
            match result {
                Err(error) if error.class == Class::TimeLimit && deadline_factor == 1 => {
                    deadline_factor = SECOND_DEADLINE_FACTOR;
                }
                result => {
                    *failed = FailedCall { log: report.log };
                    return result;
                }
            }
        }
    }

    fn fault(&self, event: &packed::Event<'_>, error: &LiftError, call: FailedCall) -> LiftFault {
        let plugin = &self.plugins[error.upcaster];
        let descriptor = plugin.descriptor();
        let place = match error.events_in_call {
            1 => format!("at position {} (event {})", event.position, event.id),
            events => format!(
                "in a call with {events} events from position {} (event {}) on",
                event.position, event.id
            ),
        };
        LiftFault {
            class: error.error.class,
            message: format!(
                "upcaster {} {} ({}) failed {place}, in its rule for {}: {}",
                descriptor.name,
                descriptor.version,
                plugin.digest().short(),
                error.takes,
                error.error.message
            ),
            position: Position(event.position),
            event_id: match error.events_in_call {
                1 => Some(EventId(Uuid::parse_str(event.id).unwrap_or_default())),
                _ => None,
            },
            trace: error.error.trace.clone(),
            log: call.log,
            attempts: if error.error.class == Class::TimeLimit {
                2
            } else {
                1
            },
        }
    }
}

impl User {
    /// The set.
    pub fn set(&self) -> &Arc<Upcasters> {
        &self.0
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the last call left behind: it is the one that failed, if one did.
#[derive(Default)]
struct FailedCall {
    log: Vec<LogLine>,
}

/// A log reader of ours wrote the batch.
fn misread(batch: &EventBatch, at: usize, error: &packed::PackedError) -> LiftFault {
    LiftFault {
        class: Class::Bug,
        message: format!("a batch of events is not what PACKED.md says: {}", error.0),
        position: batch.position(at),
        event_id: Some(batch.id(at)),
        trace: String::new(),
        log: Vec::new(),
        attempts: 1,
    }
}

/// The batches that come out, cut between stored events.
struct Pieces {
    done: Vec<Arc<EventBatch>>,
    open: EventBatch,
    fields: Option<Arc<Plan>>,
    events_max: usize,
    bytes_max: usize,
}

impl Pieces {
    fn new(lifting: &Lifting<'_>) -> Self {
        Self {
            done: Vec::new(),
            open: EventBatch::with_fields(lifting.fields.cloned()),
            fields: lifting.fields.cloned(),
            events_max: lifting.events_max,
            bytes_max: lifting.bytes_max,
        }
    }

    /// Before the stored event at this place: cuts if the open batch is full.
    fn begin(&mut self, batch: &EventBatch, at: usize) {
        if at > 0 && (self.open.len() >= self.events_max || self.open.bytes_len() >= self.bytes_max) {
            self.close(batch.position(at - 1), Some(batch.id(at - 1)));
        }
    }

    fn close(&mut self, through: Position, through_id: Option<EventId>) {
        let next = EventBatch::with_fields(self.fields.clone());
        let mut closed = std::mem::replace(&mut self.open, next);
        closed.through = through;
        closed.through_id = through_id;
        self.done.push(Arc::new(closed));
    }

    fn pass(&mut self, batch: &EventBatch, at: usize, event: &packed::Event<'_>) {
        self.open.push_event(batch.position(at), batch.id(at), event);
    }

    fn write(
        &mut self,
        batch: &EventBatch,
        at: usize,
        event: &packed::Event<'_>,
        siblings: &[Form<'static>],
        filter: &EventFilter,
    ) {
        for (part, form) in siblings.iter().enumerate() {
            if !filter.matches(&form.event_type, form.schema_version, event.stream_type) {
                continue;
            }
            self.open
                .push_event(batch.position(at), batch.id(at), &form.of(event, part));
        }
    }

    /// `end` stored events of the batch are in; all of them unless one could not be lifted.
    fn finish(mut self, batch: &EventBatch, end: usize) -> Vec<Arc<EventBatch>> {
        if end == batch.len() {
            self.close(batch.through, batch.through_id);
        } else if end > 0 {
            self.close(batch.position(end - 1), Some(batch.id(end - 1)));
        }
        self.done
    }
}

impl Form<'_> {
    fn into_owned(self) -> Form<'static> {
        Form {
            event_type: self.event_type.into_owned().into(),
            schema_version: self.schema_version,
            data: self.data.into_owned().into(),
            metadata: self.metadata.into_owned().into(),
        }
    }

    /// The event that it is: everything else is the stored one's.
    pub fn of<'e>(&'e self, stored: &packed::Event<'e>, part: usize) -> packed::Event<'e> {
        packed::Event {
            part: u32::try_from(part).unwrap_or(u32::MAX),
            event_type: &self.event_type,
            schema_version: self.schema_version,
            data: &self.data,
            metadata: &self.metadata,
            ..*stored
        }
    }
}
