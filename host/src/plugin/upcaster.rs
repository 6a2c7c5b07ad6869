//! An upcaster that is ready to be called.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lamphouse_contract::{EventSchema, UpcasterDescriptor, packed};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::packed_upcasting::PackedUpcasterPluginPre;
use super::bindings::upcasting::UpcasterPluginPre;
use super::bindings::{types, upcaster_types};
use super::inspect::Lane;
use super::log_book::LogBook;
use super::meter::{PluginKind, PluginMeter};
use super::state::State;
use super::{CallError, CallReport, PluginError, Sandbox, convert, descriptor, fault};
use crate::core::{Class, PluginDigest};

/// An upcaster: compiled, described, checked. Each call gets a fresh instance.
pub struct Upcaster {
    sandbox: Arc<Sandbox>,
    digest: PluginDigest,
    descriptor: Arc<UpcasterDescriptor>,
    world: World,
    meter: Arc<PluginMeter>,
}

/// Linked and ready to be instantiated.
pub(super) enum World {
    Typed(UpcasterPluginPre<State>),
    Packed(PackedUpcasterPluginPre<State>),
}

/// What an upcaster made of an event. The rest is the stored event's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// Its type and version.
    pub schema: EventSchema,
    /// JSON text.
    pub data: String,
    /// JSON object text.
    pub metadata: String,
}

impl std::fmt::Debug for Upcaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, version) = (&self.descriptor.name, &self.descriptor.version);
        write!(f, "Upcaster({name} {version} {})", self.digest.short())
    }
}

impl Upcaster {
    pub(super) fn new(
        sandbox: Arc<Sandbox>,
        digest: PluginDigest,
        world: World,
    ) -> Result<Self, PluginError> {
        let descriptor = Arc::new(describe(&sandbox, &world)?);
        let meter = sandbox.meters().of(&descriptor.name, PluginKind::Upcaster);
        Ok(Self {
            sandbox,
            digest,
            descriptor,
            world,
            meter,
        })
    }

    /// SHA-256 of the file as it was submitted.
    pub fn digest(&self) -> PluginDigest {
        self.digest
    }

    /// What the upcaster says of itself; valid by itself.
    pub fn descriptor(&self) -> &Arc<UpcasterDescriptor> {
        &self.descriptor
    }

    /// How calls cross the boundary.
    pub fn lane(&self) -> Lane {
        match self.world {
            World::Typed(_) => Lane::Typed,
            World::Packed(_) => Lane::Packed,
        }
    }

    /// Calls `upcast` with some events, in a fresh instance. Gives a list for each of them, of valid JSON; whether the
    /// rules declare what is in it is not looked at here. `deadline_factor` multiplies `call_ms_max`; once `stop` is
    /// set, the call is ended soon ([`Class::Retryable`]).
    pub fn upcast(
        &self,
        events: &[packed::Event<'_>],
        deadline_factor: u64,
        stop: &Arc<AtomicBool>,
    ) -> (CallReport, Result<Vec<Vec<Lifted>>, CallError>) {
        let began = Instant::now();
        let log = LogBook::new(self.sandbox.limits());
        let (memory_bytes, result) = self.upcast_on_stack(events, deadline_factor, stop, &log);
        let (lines, log_dropped) = log.take();
        let time = began.elapsed();
        self.meter.called(time, memory_bytes, result.is_ok());
        let report = CallReport {
            log: lines,
            log_dropped,
            nanos: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            rows_nanos: 0,
        };
        (report, result)
    }

    fn upcast_on_stack(
        &self,
        events: &[packed::Event<'_>],
        deadline_factor: u64,
        stop: &Arc<AtomicBool>,
        log: &LogBook,
    ) -> (u64, Lists) {
        let limits = self.sandbox.limits();
        let deadline_ms = limits.call_ms_max.saturating_mul(deadline_factor.max(1));
        let deadline = Duration::from_millis(deadline_ms);
        let mut store = self.sandbox.store(log.clone(), None, deadline, stop.clone());
        let called = self.sandbox.on_stack(|| self.world.upcast(&mut store, events));
        let result = match called {
            Ok(Ok(Ok(lists))) => lists,
            Ok(Ok(Err(failure))) => Err(fault::of_failure(
                &failure.message,
                &failure.trace,
                failure.index,
                store.data(),
            )),
            Ok(Err(error)) => Err(fault::of_trap(&error, store.data(), limits, deadline_ms)),
            Err(no_thread) => Err(fault::no_thread(&no_thread).into()),
        };
        (store.data().usage.memory_bytes(), result)
    }
}

/// What came out of a call that ended well: a list for each event, if it gave that.
type Lists = Result<Vec<Vec<Lifted>>, CallError>;

impl World {
    /// None if the file is no upcaster.
    pub(super) fn of(pre: &InstancePre<State>) -> Option<Self> {
        match PackedUpcasterPluginPre::new(pre.clone()) {
            Ok(packed) => Some(Self::Packed(packed)),
            Err(_) => UpcasterPluginPre::new(pre.clone()).ok().map(Self::Typed),
        }
    }

    /// Calls `describe` twice in one instance: a guest that keeps state between calls tells on itself.
    fn describe(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<[upcaster_types::UpcasterDescriptor; 2]> {
        match self {
            Self::Typed(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                let guest = instance.lamphouse_plugin_upcaster();
                Ok([
                    guest.call_describe(&mut *store)?,
                    guest.call_describe(&mut *store)?,
                ])
            }
            Self::Packed(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                let guest = instance.lamphouse_plugin_packed_upcaster();
                Ok([
                    guest.call_describe(&mut *store)?,
                    guest.call_describe(&mut *store)?,
                ])
            }
        }
    }

    fn upcast(
        &self,
        store: &mut Store<State>,
        events: &[packed::Event<'_>],
    ) -> wasmtime::Result<Result<Lists, types::Failure>> {
        match self {
            Self::Typed(pre) => {
                let typed: Vec<types::Event<'_>> = events.iter().map(convert::event_out).collect();
                let instance = pre.instantiate(&mut *store)?;
                let lists = instance.lamphouse_plugin_upcaster().call_upcast(store, &typed)?;
                Ok(lists.map(|lists| typed_lists(lists, events.len())))
            }
            Self::Packed(pre) => {
                let mut bytes = Vec::new();
                for event in events {
                    packed::write_event(&mut bytes, event);
                }
                let instance = pre.instantiate(&mut *store)?;
                let lists = instance
                    .lamphouse_plugin_packed_upcaster()
                    .call_upcast(store, &bytes)?;
                Ok(lists.map(|lists| packed_lists(&lists, events)))
            }
        }
    }
}

/// The lists that a call gave, if there is one for each event and each holds JSON.
fn typed_lists(lists: Vec<Vec<upcaster_types::Lifted>>, events: usize) -> Lists {
    if lists.len() != events {
        return Err(miscounted(lists.len(), events));
    }
    let checked = lists.into_iter().enumerate().map(|(index, list)| {
        let lifted = list.into_iter().map(convert::lifted_in);
        lifted
            .collect::<Result<_, _>>()
            .map_err(|why| no_event(index, &why))
    });
    checked.collect()
}

/// The same of the packed lane.
fn packed_lists(bytes: &[u8], events: &[packed::Event<'_>]) -> Lists {
    let mut lists = Vec::with_capacity(events.len());
    let mut given = events.iter();
    for list in packed::lifted(bytes) {
        let index = lists.len();
        let list = list.map_err(|error| {
            broken(
                None,
                format!(
                    "what upcast returned is not what PACKED.md says, in the list of event {index} of the call: {}",
                    error.0
                ),
            )
        })?;
        let Some(event) = given.next() else {
            return Err(miscounted(packed::lifted(bytes).count(), events.len()));
        };
        let lifted = list.iter().map(|lifted| convert::packed_lifted_in(lifted, event));
        lists.push(
            lifted
                .collect::<Result<_, _>>()
                .map_err(|why| no_event(index, &why))?,
        );
    }
    match lists.len() == events.len() {
        true => Ok(lists),
        false => Err(miscounted(lists.len(), events.len())),
    }
}

fn miscounted(gave: usize, events: usize) -> CallError {
    broken(
        None,
        format!("upcast was given {events} events and gave {gave} lists; one for each event is due"),
    )
}

fn no_event(index: usize, why: &str) -> CallError {
    broken(Some(index), format!("an event that it gave cannot be one: {why}"))
}

fn broken(index: Option<usize>, message: String) -> CallError {
    CallError {
        class: Class::Fault,
        message,
        trace: String::new(),
        index: index.and_then(|index| u32::try_from(index).ok()),
    }
}

/// What the upcaster says of itself, checked.
fn describe(sandbox: &Sandbox, world: &World) -> Result<UpcasterDescriptor, PluginError> {
    let [first, second] = sandbox.describe(|store| world.describe(store))?;
    let (first, second) = (
        convert::upcaster_descriptor_in(first),
        convert::upcaster_descriptor_in(second),
    );
    if first != second {
        return Err(PluginError::DescribeDiffers(descriptor::upcaster_difference(
            &first, &second,
        )));
    }
    match descriptor::upcaster_problems(&first) {
        problems if problems.is_empty() => Ok(first),
        problems => Err(PluginError::Descriptor { problems }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str) -> packed::Event<'_> {
        packed::Event {
            position: 1,
            part: 0,
            id: "",
            stream_id: "s-1",
            stream_type: "s",
            stream_version: 1,
            event_type: "Old",
            schema_version: 1,
            data,
            metadata: "{}",
            occurred_at: 0,
            recorded_at: 0,
            fields: None,
        }
    }

    fn list(lifted: &[(Option<&str>, Option<&str>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packed::write_lifted_count(&mut bytes, lifted.len());
        for &(data, metadata) in lifted {
            let lifted = packed::Lifted {
                event_type: "New",
                schema_version: 2,
                data,
                metadata,
            };
            packed::write_lifted(&mut bytes, &lifted);
        }
        bytes
    }

    fn refused(bytes: &[u8]) -> (Option<u32>, String) {
        let events = [event("1"), event("2")];
        let error = packed_lists(bytes, &events).expect_err("refused");
        assert_eq!(error.class, Class::Fault);
        (error.index, error.message)
    }

    #[test]
    fn nil_is_what_the_event_had() {
        let bytes = [list(&[(None, None), (Some("3"), Some("{\"a\":1}"))]), list(&[])].concat();
        let lists = packed_lists(&bytes, &[event("1"), event("2")]).expect("lists");
        let texts = |list: &[Lifted]| -> Vec<(String, String)> {
            let pairs = list.iter();
            pairs
                .map(|lifted| (lifted.data.clone(), lifted.metadata.clone()))
                .collect()
        };
        let text = |data: &str, metadata: &str| (data.to_owned(), metadata.to_owned());
        assert_eq!(texts(&lists[0]), [text("1", "{}"), text("3", "{\"a\":1}")]);
        assert!(lists[1].is_empty());
    }

    #[test]
    fn lists_too_few_or_too_many_are_counted() {
        let one = list(&[]);
        let due = |gave: usize| {
            format!("upcast was given 2 events and gave {gave} lists; one for each event is due")
        };
        assert_eq!(refused(&one), (None, due(1)));
        assert_eq!(refused(&one.repeat(3)), (None, due(3)));
        assert_eq!(refused(&[]), (None, due(0)));
    }

    #[test]
    fn what_no_event_may_hold_is_said_of_its_event() {
        let second = |lifted: (Option<&str>, Option<&str>)| refused(&[list(&[]), list(&[lifted])].concat());
        let (index, message) = second((Some("{"), None));
        assert_eq!(index, Some(1));
        assert!(
            message.starts_with("an event that it gave cannot be one: its data is not JSON"),
            "{message}"
        );
        let (index, message) = second((None, Some("[]")));
        assert_eq!(index, Some(1));
        assert!(
            message.ends_with("its metadata is JSON, but no object"),
            "{message}"
        );
    }

    /// Every prefix, and every byte changed: an answer or a refusal, never a panic.
    #[test]
    fn bytes_that_are_nothing_are_refused() {
        let whole = [list(&[(Some("3"), None)]), list(&[(None, Some("{}"))])].concat();
        let events = [event("1"), event("2")];
        for end in 0..whole.len() {
            assert!(packed_lists(&whole[..end], &events).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut other = whole.clone();
                other[at] = byte;
                let _ = packed_lists(&other, &events);
            }
        }
        let (_, message) = refused(&[0xdd, 0xff, 0xff, 0xff, 0xff]);
        assert!(
            message.contains("what upcast returned is not what PACKED.md says, in the list of event 0"),
            "{message}"
        );
    }
}
