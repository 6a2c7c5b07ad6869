//! One engine for all plugins, with every setting in one place, and the clock that ends calls.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline,
    WasmBacktraceDetails,
};

use super::code_cache::CodeCache;
use super::encode::component_of;
use super::fault::FRAMES_MAX;
use super::log_book::LogBook;
use super::state::{ProjectState, State};
use super::{AnyPlugin, Plugin, PluginError, PluginMeters, Upcaster, linker, upcaster};
use crate::core::PluginDigest;
use crate::core::limits::PluginLimits;

/// How often the engine's epoch advances.
const TICK: Duration = Duration::from_millis(10);
/// How many ticks a guest runs before its time is looked at.
const TICKS_PER_LOOK: u64 = 5;

/// Compiles and runs plugins: one engine, one linker, one code cache.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<State>,
    limits: PluginLimits,
    cache: Option<CodeCache>,
    ticker: Option<Ticker>,
    meters: Arc<PluginMeters>,
}

impl Sandbox {
    /// The same as [`Self::new`], but without a cache where the folder cannot be used: for who only looks at a plugin.
    ///
    /// # Errors
    /// [`PluginError::Host`] if the limits make no engine.
    pub fn with_cache(limits: PluginLimits, cache_dir: Option<&Path>) -> Result<Arc<Self>, PluginError> {
        match Self::new(limits.clone(), cache_dir) {
            Err(_) if cache_dir.is_some() => Self::new(limits, None),
            made => made,
        }
    }

    /// Makes the engine. `cache_dir` keeps compiled code and is made private (mode 0700); None compiles at each load.
    ///
    /// # Errors
    /// [`PluginError::Host`] if the limits make no engine or the folder cannot be used.
    pub fn new(limits: PluginLimits, cache_dir: Option<&Path>) -> Result<Arc<Self>, PluginError> {
        let host = |error: wasmtime::Error| PluginError::Host(format!("the WebAssembly engine: {error:#}"));
        let engine = engine(&limits).map_err(host)?;
        let linker = linker::linker(&engine).map_err(host)?;
        let cache = cache_dir
            .map(|folder| CodeCache::open(folder, &engine))
            .transpose()?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| PluginError::Host(error.to_string()))?;
        Ok(Arc::new(Self {
            engine,
            linker,
            limits,
            cache,
            ticker: Some(ticker),
            meters: Arc::default(),
        }))
    }

    /// What the plugins cost that were loaded here.
    pub fn meters(&self) -> &Arc<PluginMeters> {
        &self.meters
    }

    /// Makes a plugin of a file: digest, inspection, conversion of a core module, compilation (or the cached code),
    /// `describe` twice, validation. Takes 0.1 s to some seconds; it may be called on any thread.
    ///
    /// # Errors
    /// [`PluginError`], for the plugin's author.
    pub fn load(self: &Arc<Self>, bytes: &[u8]) -> Result<AnyPlugin, PluginError> {
        let size = bytes.len() as u64;
        if size > self.limits.plugin_bytes_max {
            return Err(PluginError::TooLarge(format!(
                "the plugin file has {}, and {} are allowed; raise [limits] plugin_bytes_max if it has to be that large",
                super::limits::mebibytes(size),
                super::limits::mebibytes(self.limits.plugin_bytes_max)
            )));
        }
        let digest = PluginDigest::of(bytes);
        let component = self.component(&digest, bytes)?;
        let pre = self.linker().instantiate_pre(&component).map_err(misfit)?;
        match upcaster::World::of(&pre) {
            Some(world) => Upcaster::new(self.clone(), digest, world)
                .map(|upcaster| AnyPlugin::Upcaster(Arc::new(upcaster))),
            None => {
                Plugin::new(self.clone(), digest, pre).map(|plugin| AnyPlugin::Projector(Arc::new(plugin)))
            }
        }
    }

    /// [`Self::load`] where only a projector will do.
    ///
    /// # Errors
    /// [`PluginError`], also for an upcaster.
    pub fn load_projector(self: &Arc<Self>, bytes: &[u8]) -> Result<Arc<Plugin>, PluginError> {
        match self.load(bytes)? {
            AnyPlugin::Projector(plugin) => Ok(plugin),
            AnyPlugin::Upcaster(upcaster) => Err(PluginError::World(format!(
                "{} {} is an upcaster, where a projector is wanted",
                upcaster.descriptor().name,
                upcaster.descriptor().version
            ))),
        }
    }

    /// [`Self::load`] where only an upcaster will do.
    ///
    /// # Errors
    /// [`PluginError`], also for a projector.
    pub fn load_upcaster(self: &Arc<Self>, bytes: &[u8]) -> Result<Arc<Upcaster>, PluginError> {
        match self.load(bytes)? {
            AnyPlugin::Upcaster(upcaster) => Ok(upcaster),
            AnyPlugin::Projector(plugin) => Err(PluginError::World(format!(
                "{} {} is a projector, where an upcaster is wanted",
                plugin.descriptor().name,
                plugin.descriptor().version
            ))),
        }
    }

    /// Runs `describe` on a store that is good for nothing else.
    pub(super) fn describe<T: Send>(
        &self,
        describe: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T> + Send,
    ) -> Result<T, PluginError> {
        let call = || {
            let log = LogBook::new(&self.limits);
            let deadline = Duration::from_millis(self.limits.call_ms_max);
            let mut store = self.store(log.clone(), None, deadline, Arc::default());
            let error = match describe(&mut store) {
                Ok(described) => return Ok(described),
                Err(error) => {
                    super::fault::of_trap(&error, store.data(), &self.limits, self.limits.call_ms_max)
                }
            };
            drop(store);
            Err(PluginError::Describe {
                error,
                log: log.take().0,
            })
        };
        // On a thread of its own, because WASI cannot wait on a thread that runs an async host.
        let described = self.on_own_thread(call);
        described
            .unwrap_or_else(|no_thread| Err(PluginError::Host(super::fault::no_thread(&no_thread).message)))
    }

    /// Runs `work` where there is stack for a guest: on this thread if every thread has that much, else on one of its
    /// own. A guest on too small a stack would take the whole process with it.
    pub(super) fn on_stack<R: Send>(&self, work: impl FnOnce() -> R + Send) -> std::io::Result<R> {
        if self.limits.stack_bytes_max <= ANY_THREAD_STACK_BYTES {
            return Ok(work());
        }
        self.on_own_thread(work)
    }

    /// Runs `work` on a thread of its own, with stack for a guest.
    pub(super) fn on_own_thread<R: Send>(&self, work: impl FnOnce() -> R + Send) -> std::io::Result<R> {
        let stack = usize::try_from(self.limits.stack_bytes_max).unwrap_or(usize::MAX);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("plugin-call".into())
                .stack_size(stack.saturating_add(HOST_STACK_BYTES))
                .spawn_scoped(scope, work)?;
            Ok(thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    pub(super) fn limits(&self) -> &PluginLimits {
        &self.limits
    }

    pub(super) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    fn component(&self, digest: &PluginDigest, bytes: &[u8]) -> Result<Component, PluginError> {
        if let Some(component) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.load(&self.engine, digest))
        {
            return Ok(component);
        }
        let encoded = component_of(bytes)?;
        let bytes = encoded.as_deref().unwrap_or(bytes);
        // Told apart from failures of the compiler, because the one is the author's and the other is not.
        wasmparser::Validator::new_with_features(features())
            .validate_all(bytes)
            .map_err(|error| {
                PluginError::Invalid(format!(
                    "the plugin is not valid WebAssembly: {}",
                    error.message()
                ))
            })?;
        let component = Component::new(&self.engine, bytes)
            .map_err(|error| PluginError::Compile(format!("the plugin could not be compiled: {error:#}")))?;
        if let Some(cache) = &self.cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }

    /// A store for one call: its limits, its deadline, its tables, and the flag that ends it early.
    pub(super) fn store(
        &self,
        log: LogBook,
        project: Option<ProjectState>,
        deadline: Duration,
        stop: Arc<AtomicBool>,
    ) -> Store<State> {
        let mut store = Store::new(&self.engine, State::new(&self.limits, log, project));
        store.limiter(|state| &mut state.usage);
        // One host call's arguments, as the host holds them: lists that share their elements in the guest's memory
        // would otherwise become any size here.
        store.set_hostcall_fuel(usize::try_from(self.limits.memory_bytes_max).unwrap_or(usize::MAX));
        arm(&mut store, deadline, stop);
        store
    }
}

/// From now on, the guest may run for so long; the flag ends it early.
pub(super) fn arm(store: &mut Store<State>, deadline: Duration, stop: Arc<AtomicBool>) {
    let began = Instant::now();
    store.set_epoch_deadline(TICKS_PER_LOOK);
    store.epoch_deadline_callback(move |context| {
        if stop.load(Ordering::Relaxed) {
            return Err(super::fault::HostFault::stopping().into());
        }
        // A slow database is not the guest's doing.
        let used = began.elapsed().saturating_sub(context.data().tables_time);
        Ok(match used >= deadline {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Continue(TICKS_PER_LOOK),
        })
    });
}

/// A component that lacks what its world wants, or wants what nobody has.
pub(super) fn misfit(error: wasmtime::Error) -> PluginError {
    PluginError::World(format!(
        "the plugin does not fit the contract or WASI 0.2 as this host has it: {error:#}"
    ))
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.ticker.take());
    }
}

/// What a guest may use of any thread's stack: threads have 2 MiB unless made otherwise.
const ANY_THREAD_STACK_BYTES: u64 = 1 << 20;
/// Stack of host functions under a guest, with plenty to spare.
const HOST_STACK_BYTES: usize = 1 << 20;

/// What the binary format may use: what the engine's settings allow.
fn features() -> wasmparser::WasmFeatures {
    use wasmparser::WasmFeatures as F;
    F::default().difference(F::THREADS | F::RELAXED_SIMD | F::MEMORY64)
}

/// Instances that may be there at once: each projection has one in use and one made ahead, for each of its workers.
pub(super) const INSTANCES_MAX: u32 = 1_000;
/// Memory that an ended instance leaves to the next one in its place, zeroed where it was written to: new pages for
/// each instance were a tenth of a rebuild's time.
const RESIDENT_BYTES: usize = 8 << 20;

/// Places for instances, set aside as addresses only: some 8 TB of them. What a guest may use is [`PluginLimits`]' to
/// say, so that the places themselves limit next to nothing.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 8)
        .total_memories(INSTANCES_MAX * 2)
        .total_tables(INSTANCES_MAX * 4)
        // Calls are synchronous, on their thread's own stack; a thousand others take a call of the system each.
        .total_stacks(0)
        .max_memory_size(1 << 32)
        .max_memories_per_module(8)
        .max_tables_per_module(16)
        .table_elements(1 << 20)
        .max_core_instance_size(8 << 20)
        .max_component_instance_size(8 << 20)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(1 << 20)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn engine(limits: &PluginLimits) -> wasmtime::Result<Engine> {
    let mut config = config(limits);
    config.allocation_strategy(pool());
    Engine::new(&config).or_else(|error| {
        // As under `ulimit -v`.
        tracing::warn!(
            error = format!("{error:#}"),
            "addresses for plugins' memory cannot be set aside: each call takes new memory, which is slower"
        );
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

fn config(limits: &PluginLimits) -> Config {
    let stack_bytes = usize::try_from(limits.stack_bytes_max).unwrap_or(usize::MAX);
    let mut config = Config::new();
    config
        // The same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .relaxed_simd_deterministic(true)
        // It costs on each call, and a call is synchronous.
        .concurrency_support(false)
        // Stops a guest that spins; fuel costs about the same.
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        // Not used by synchronous calls, but checked against the above.
        .async_stack_size(stack_bytes.saturating_add(HOST_STACK_BYTES))
        // A fresh instance maps the compiled image.
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_MAX));
    config
}

/// Advances the engine's epoch until it is dropped.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let tick = move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn(tick)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}
