//! An upcaster that is ready to be called.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lamphouse_contract::{EventSchema, UpcasterDescriptor, packed};
use wasmtime::Store;

use super::bindings::types;
use super::bindings::upcasting::UpcasterPluginPre;
use super::bindings::upcasting::exports::lamphouse::plugin::upcaster;
use super::log_book::LogBook;
use super::state::State;
use super::{CallError, CallReport, PluginError, Sandbox, convert, descriptor, fault};
use crate::core::{Class, PluginDigest};

/// An upcaster: compiled, described, checked. Each call gets a fresh instance.
pub struct Upcaster {
    sandbox: Arc<Sandbox>,
    digest: PluginDigest,
    descriptor: Arc<UpcasterDescriptor>,
    pre: UpcasterPluginPre<State>,
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
        pre: UpcasterPluginPre<State>,
    ) -> Result<Self, PluginError> {
        let descriptor = Arc::new(describe(&sandbox, &pre)?);
        Ok(Self {
            sandbox,
            digest,
            descriptor,
            pre,
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
        let result = self.upcast_on_stack(events, deadline_factor, stop, &log);
        let (lines, log_dropped) = log.take();
        let report = CallReport {
            log: lines,
            log_dropped,
            nanos: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        };
        (report, result)
    }

    fn upcast_on_stack(
        &self,
        events: &[packed::Event<'_>],
        deadline_factor: u64,
        stop: &Arc<AtomicBool>,
        log: &LogBook,
    ) -> Result<Vec<Vec<Lifted>>, CallError> {
        let limits = self.sandbox.limits();
        let deadline_ms = limits.call_ms_max.saturating_mul(deadline_factor.max(1));
        let deadline = Duration::from_millis(deadline_ms);
        let mut store = self.sandbox.store(log.clone(), None, deadline, stop.clone());
        let called = self.sandbox.on_stack(|| self.call(&mut store, events));
        match called {
            Ok(Ok(Ok(lists))) => checked(lists, events.len()),
            Ok(Ok(Err(failure))) => Err(fault::of_failure(
                &failure.message,
                &failure.trace,
                failure.index,
                store.data(),
            )),
            Ok(Err(error)) => Err(fault::of_trap(&error, store.data(), limits, deadline_ms)),
            Err(no_thread) => Err(fault::no_thread(&no_thread).into()),
        }
    }

    fn call(
        &self,
        store: &mut Store<State>,
        events: &[packed::Event<'_>],
    ) -> wasmtime::Result<Result<Vec<Vec<upcaster::Lifted>>, types::Failure>> {
        let typed: Vec<types::Event<'_>> = events.iter().map(convert::event_out).collect();
        let instance = self.pre.instantiate(&mut *store)?;
        instance.lamphouse_plugin_upcaster().call_upcast(store, &typed)
    }
}

/// The lists that a call gave, if there is one for each event and each holds JSON.
fn checked(lists: Vec<Vec<upcaster::Lifted>>, events: usize) -> Result<Vec<Vec<Lifted>>, CallError> {
    let broken = |index: Option<usize>, message: String| CallError {
        class: Class::Fault,
        message,
        trace: String::new(),
        index: index.and_then(|index| u32::try_from(index).ok()),
    };
    if lists.len() != events {
        let gave = lists.len();
        return Err(broken(
            None,
            format!("upcast was given {events} events and gave {gave} lists; one for each event is due"),
        ));
    }
    let checked = lists.into_iter().enumerate().map(|(index, list)| {
        let lifted = list.into_iter().map(convert::lifted_in);
        let lifted: Result<Vec<Lifted>, String> = lifted.collect();
        lifted.map_err(|why| broken(Some(index), format!("an event that it gave cannot be one: {why}")))
    });
    checked.collect()
}

/// What the upcaster says of itself, checked.
fn describe(sandbox: &Sandbox, pre: &UpcasterPluginPre<State>) -> Result<UpcasterDescriptor, PluginError> {
    let [first, second] = sandbox.describe(|store| {
        // Twice in one instance: a guest that keeps state between calls tells on itself.
        let instance = pre.instantiate(&mut *store)?;
        let guest = instance.lamphouse_plugin_upcaster();
        Ok([
            guest.call_describe(&mut *store)?,
            guest.call_describe(&mut *store)?,
        ])
    })?;
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
