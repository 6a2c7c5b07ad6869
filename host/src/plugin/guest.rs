//! A projector that is ready to be called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::{Descriptor, packed};
use parking_lot::Mutex;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::packed::{PackedProjectorPlugin, PackedProjectorPluginPre};
use super::bindings::typed::{ProjectorPlugin, ProjectorPluginPre};
use super::bindings::types;
use super::engine::{arm, misfit};
use super::fault::{self, HostFault};
use super::inspect::Lane;
use super::log_book::LogBook;
use super::meter::{PluginKind, PluginMeter};
use super::native::{self, NativeProject};
use super::state::{AnyTables, ProjectState, State};
use super::{Call, CallError, CallReport, GuestTables, PluginError, Sandbox, convert, descriptor};
use crate::core::{Class, PluginDigest};

/// A projector: compiled, described, checked. Each call gets a fresh instance.
pub struct Plugin {
    sandbox: Arc<Sandbox>,
    digest: PluginDigest,
    descriptor: Arc<Descriptor>,
    world: World,
    ahead: Mutex<Ahead>,
    meter: Arc<PluginMeter>,
}

/// What [`Plugin::make_ready`] does outside of calls.
#[derive(Default)]
struct Ahead {
    /// The next call's instance.
    ready: Option<Ready>,
    /// What a call left behind, still to be dropped.
    spent: Option<Store<State>>,
}

/// What a call leaves: the tables, what the guest wrote in its log, the time in the tables, the guest's memory in bytes, and
/// the outcome.
type Called = (Box<dyn AnyTables>, LogBook, Duration, u64, Result<(), CallError>);

/// A fresh instance that waits for its call.
struct Ready {
    store: Store<State>,
    log: LogBook,
    guest: Guest,
}

/// An instance.
enum Guest {
    Typed(ProjectorPlugin),
    Packed(PackedProjectorPlugin),
}

/// Linked and ready to be instantiated.
enum World {
    Typed(ProjectorPluginPre<State>),
    Packed(PackedProjectorPluginPre<State>),
    /// No guest at all: see [`super::native`].
    Native(Box<NativeProject>),
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Plugin({} {} {})",
            self.descriptor.name,
            self.descriptor.version,
            self.digest.short()
        )
    }
}

impl Plugin {
    pub(super) fn new(
        sandbox: Arc<Sandbox>,
        digest: PluginDigest,
        pre: InstancePre<State>,
    ) -> Result<Self, PluginError> {
        let world = World::of(pre)?;
        let descriptor = describe(&sandbox, &world)?;
        let meter = sandbox.meters().of(&descriptor.name, PluginKind::Projector);
        Ok(Self {
            sandbox,
            digest,
            descriptor: Arc::new(descriptor),
            world,
            ahead: Mutex::default(),
            meter,
        })
    }

    /// SHA-256 of the file as it was submitted.
    pub fn digest(&self) -> PluginDigest {
        self.digest
    }

    /// What the plugin says of itself; valid.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// The same projector by name, tables and digest, but its code is native: for measuring what the sandbox costs.
    #[doc(hidden)]
    pub fn with_native(&self, project: Box<NativeProject>) -> Self {
        Self {
            sandbox: self.sandbox.clone(),
            digest: self.digest,
            descriptor: self.descriptor.clone(),
            world: World::Native(project),
            ahead: Mutex::default(),
            meter: self.meter.clone(),
        }
    }

    /// How calls cross the boundary.
    pub fn lane(&self) -> Lane {
        self.world.lane()
    }

    /// Calls `project` with some events, in a fresh instance. Gives the tables back whatever happened; after an error,
    /// all their changes of this call are to be dropped.
    pub fn project<T: GuestTables>(&self, call: &Call, tables: T) -> (T, CallReport, Result<(), CallError>) {
        let began = Instant::now();
        let called = self.project_on_stack(call, Box::new(tables));
        let (tables, log, rows_time, memory_bytes, result) = called;
        let tables = tables.into_any().downcast::<T>();
        let tables = tables.expect("invariant: the tables are those that were given");
        let (lines, log_dropped) = log.take();
        let time = began.elapsed();
        self.meter
            .called(time.saturating_sub(rows_time), memory_bytes, result.is_ok());
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        (
            *tables,
            CallReport {
                log: lines,
                log_dropped,
                nanos,
                rows_nanos: u64::try_from(rows_time.as_nanos()).unwrap_or(u64::MAX),
            },
            result,
        )
    }

    /// Makes the next call's instance now, and drops what the last call left: for those who have time now, and will be
    /// in a hurry then. The instance is as fresh as one that is made for the call. What goes wrong is not told: the call
    /// makes its own then, and tells.
    pub fn make_ready(&self) {
        let spent = {
            let mut ahead = self.ahead.lock();
            if ahead.ready.is_some() {
                return;
            }
            ahead.spent.take()
        };
        drop(spent);
        let limits = self.sandbox.limits();
        let log = LogBook::new(limits);
        let deadline = Duration::from_millis(limits.call_ms_max);
        let mut store = self.sandbox.store(log.clone(), None, deadline, Arc::default());
        if let Ok(Ok(Some(guest))) = self.sandbox.on_stack(|| self.world.instantiate(&mut store)) {
            self.ahead.lock().ready = Some(Ready { store, log, guest });
        }
    }

    fn project_on_stack(&self, call: &Call, tables: Box<dyn AnyTables>) -> Called {
        let limits = self.sandbox.limits();
        let deadline_ms = limits.call_ms_max.saturating_mul(call.deadline_factor.max(1));
        let deadline = Duration::from_millis(deadline_ms);
        let project = ProjectState {
            tables,
            descriptor: self.descriptor.clone(),
        };
        let ready = self.ahead.lock().ready.take();
        let is_hurried = ready.is_some();
        let (mut store, log, guest) = match ready {
            Some(mut ready) => {
                ready.store.data_mut().give(project);
                arm(&mut ready.store, deadline, call.stop.clone());
                (ready.store, ready.log, Some(ready.guest))
            }
            None => {
                let log = LogBook::new(limits);
                let store = self
                    .sandbox
                    .store(log.clone(), Some(project), deadline, call.stop.clone());
                (store, log, None)
            }
        };
        let called = self
            .sandbox
            .on_stack(|| self.world.project(&mut store, guest, call));
        let result = match called {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(failure))) => Err(fault::of_failure(
                &failure.message,
                &failure.trace,
                failure.index,
                store.data(),
            )),
            Ok(Err(error)) => Err(fault::of_trap(&error, store.data(), limits, deadline_ms)),
            Err(no_thread) => Err(fault::no_thread(&no_thread).into()),
        };
        let tables = store.data_mut().tables.take();
        let tables = tables.expect("invariant: a call's tables stay in its store");
        let tables_time = store.data().tables_time;
        let memory_bytes = store.data().usage.memory_bytes();
        if is_hurried {
            // To give memory back takes as long as a small call.
            self.ahead.lock().spent = Some(store);
        }
        (tables, log, tables_time, memory_bytes, result)
    }
}

impl World {
    fn of(pre: InstancePre<State>) -> Result<Self, PluginError> {
        match PackedProjectorPluginPre::new(pre.clone()) {
            Ok(packed) => Ok(Self::Packed(packed)),
            Err(_) => Ok(Self::Typed(ProjectorPluginPre::new(pre).map_err(misfit)?)),
        }
    }

    fn lane(&self) -> Lane {
        match self {
            Self::Typed(_) => Lane::Typed,
            Self::Packed(_) | Self::Native(_) => Lane::Packed,
        }
    }

    /// Calls `describe` twice in one instance: a guest that keeps state between calls tells on itself.
    fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<[types::Descriptor; 2]> {
        match self {
            Self::Typed(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                let guest = instance.lamphouse_plugin_projector();
                Ok([
                    guest.call_describe(&mut *store)?,
                    guest.call_describe(&mut *store)?,
                ])
            }
            // It has the descriptor of the plugin whose place it took.
            Self::Native(_) => Err(wasmtime::Error::msg(
                "native code is not asked to describe itself",
            )),
            Self::Packed(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                let guest = instance.lamphouse_plugin_packed_projector();
                Ok([
                    guest.call_describe(&mut *store)?,
                    guest.call_describe(&mut *store)?,
                ])
            }
        }
    }

    /// A fresh instance; None where there is no guest.
    fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Option<Guest>> {
        Ok(match self {
            Self::Typed(pre) => Some(Guest::Typed(pre.instantiate(store)?)),
            Self::Packed(pre) => Some(Guest::Packed(pre.instantiate(store)?)),
            Self::Native(_) => None,
        })
    }

    /// Calls `project` in the instance that is given, which is fresh, or in one that is made now.
    fn project(
        &self,
        store: &mut Store<State>,
        guest: Option<Guest>,
        call: &Call,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let bytes = call.batch.packed(call.range.clone());
        if let Self::Native(project) = self {
            return native::project(project, store, bytes);
        }
        let guest = match guest {
            Some(guest) => Some(guest),
            None => self.instantiate(store)?,
        };
        match guest.expect("invariant: there is a guest where the code is not native") {
            Guest::Typed(instance) => {
                let events = typed_events(bytes)?;
                let outcome = instance
                    .lamphouse_plugin_projector()
                    .call_project(&mut *store, &events)?;
                if outcome.is_ok() {
                    store.data_mut().settle()?;
                }
                Ok(outcome)
            }
            Guest::Packed(instance) => {
                let changes = instance
                    .lamphouse_plugin_packed_projector()
                    .call_project(&mut *store, bytes)?;
                match changes {
                    Ok(changes) => Ok(Ok(store
                        .data_mut()
                        .apply("the changes that project returned", &changes)?)),
                    Err(failure) => Ok(Err(failure)),
                }
            }
        }
    }
}

/// Events as records that borrow from the batch.
fn typed_events(bytes: &[u8]) -> wasmtime::Result<Vec<types::Event<'_>>> {
    // A log reader of ours wrote the batch.
    let misread = |error: packed::PackedError| HostFault {
        class: Class::Bug,
        message: format!("a batch of events is not what PACKED.md says: {}", error.0),
    };
    let mut typed = Vec::new();
    for event in packed::events(bytes) {
        let event = event.map_err(misread)?;
        typed.push(convert::event_out(&event));
    }
    Ok(typed)
}

/// What the plugin says of itself, checked.
fn describe(sandbox: &Sandbox, world: &World) -> Result<Descriptor, PluginError> {
    let (first, second) = described(sandbox, world)?;
    let invalid = |problems| PluginError::Descriptor { problems };
    let first = convert::descriptor_in(first).map_err(invalid)?;
    let second = convert::descriptor_in(second).map_err(invalid)?;
    let problems = descriptor::problems(&first, world.lane());
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    // After that: a value that is not allowed, such as NaN, may differ from itself.
    if first != second {
        return Err(PluginError::DescribeDiffers(descriptor::difference(
            &first, &second,
        )));
    }
    Ok(first)
}

/// Runs `describe`.
fn described(
    sandbox: &Sandbox,
    world: &World,
) -> Result<(types::Descriptor, types::Descriptor), PluginError> {
    let [first, second] = sandbox.describe(|store| world.describe(store))?;
    Ok((first, second))
}
