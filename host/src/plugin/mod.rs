//! The sandbox: compiles a plugin file, says what it is, and calls it.
//!
//! *Invariants:* a fresh instance per call, so nothing outlives a batch; deny all (`lamphouse:plugin` and a
//! deterministic WASI that grants nothing); every limit has a name and a knob; nothing that comes out of a guest is
//! believed before `convert` checked it. Knows neither logs nor tables: rows are reached through [`GuestTables`].

mod bindings;
mod code_cache;
mod convert;
mod cut;
mod descriptor;
mod determinism;
mod encode;
mod engine;
mod error;
mod fault;
mod guest;
mod inspect;
mod limits;
mod linker;
mod log_book;
mod meter;
mod native;
mod state;
mod upcaster;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use encode::component_of;
pub use engine::Sandbox;
pub use error::PluginError;
pub use guest::Plugin;
pub use inspect::{Lane, imports, is_upcaster};
use lamphouse_contract::{Change, ChangeRef, Key, Row, Value, packed};
pub use meter::{PluginKind, PluginMeter, PluginMeters};
#[doc(hidden)]
pub use native::{NativeProject, NativeTables};
pub use upcaster::{Lifted, Upcaster};

use crate::core::{Class, EventBatch, PluginDigest};

/// What a plugin file turned out to be.
#[derive(Clone, Debug)]
pub enum AnyPlugin {
    /// Events to rows.
    Projector(Arc<Plugin>),
    /// Old events to newer ones.
    Upcaster(Arc<Upcaster>),
}

impl AnyPlugin {
    /// The plugin's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Projector(plugin) => &plugin.descriptor().name,
            Self::Upcaster(upcaster) => &upcaster.descriptor().name,
        }
    }

    /// Its version.
    pub fn version(&self) -> &str {
        match self {
            Self::Projector(plugin) => &plugin.descriptor().version,
            Self::Upcaster(upcaster) => &upcaster.descriptor().version,
        }
    }

    /// `projector` or `upcaster`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Projector(_) => "projector",
            Self::Upcaster(_) => "upcaster",
        }
    }

    /// How its calls cross the boundary.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Projector(plugin) => plugin.lane(),
            Self::Upcaster(upcaster) => upcaster.lane(),
        }
    }

    /// SHA-256 of the file as it was submitted.
    pub fn digest(&self) -> PluginDigest {
        match self {
            Self::Projector(plugin) => plugin.digest(),
            Self::Upcaster(upcaster) => upcaster.digest(),
        }
    }
}

/// The rows that a call may read and change; the row cache's batch stands behind it.
pub trait GuestTables: Send + 'static {
    /// Rows by key; a key that is in no row gives None. Sees all earlier changes of this call.
    fn get_many(&mut self, table: u32, keys: Vec<Key>) -> Result<Vec<Option<Arc<Row>>>, TablesError>;

    /// Rows whose first columns of declared index `index` equal `prefix`, in key order, after `after`.
    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: Vec<Value>,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Vec<Arc<Row>>, TablesError>;

    /// Makes one change, or keeps it waiting until many rows can be read together; no read shows the difference. The
    /// implementation checks table, columns, types and sizes; of a change that waited, an error comes with a later call.
    fn change(&mut self, change: Change) -> Result<(), TablesError>;

    /// Makes packed changes in order, having read all missing rows together: see [`unpack`].
    fn change_packed(&mut self, changes: &[u8], count: Count<'_>) -> Result<(), TablesError>;

    /// Makes the changes that wait. Called once the guest's call has succeeded.
    fn settle(&mut self) -> Result<(), TablesError>;
}

/// Counts one change of so many bytes against the limits of the call; the error names limit and knob.
pub type Count<'c> = &'c mut dyn FnMut(u64) -> Result<(), String>;

/// Hands a guest's packed changes on, one after the other, each counted first.
///
/// # Errors
/// [`TablesError::Violation`] of bytes that are not what PACKED.md says, or too many; and whatever `each` says.
pub fn unpack(
    changes: &[u8],
    count: Count<'_>,
    mut each: impl FnMut(&ChangeRef<'_>) -> Result<(), TablesError>,
) -> Result<(), TablesError> {
    let mut reader = packed::Reader::new(changes);
    let mut change = ChangeRef::default();
    let mut nth = 1_u64;
    while !reader.is_at_end() {
        let start = reader.position();
        packed::read_change_ref(&mut reader, &mut change).map_err(|error| {
            TablesError::Violation(format!("change {nth} is not what PACKED.md says: {}", error.0))
        })?;
        count((reader.position() - start) as u64).map_err(TablesError::Violation)?;
        each(&change)?;
        nth += 1;
    }
    Ok(())
}

/// Why the host could not serve a guest's call on its tables.
#[derive(Clone, Debug)]
pub enum TablesError {
    /// The guest broke a rule; traps the call, a fault.
    Violation(String),
    /// The database is away; the batch is tried again.
    Unavailable(String),
    /// Ours.
    Bug(String),
}

/// A line that the guest wrote through `log.write`, or to its standard output or error.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text, cut at the limit.
    pub message: String,
}

/// Why a call did not succeed. All its changes are to be dropped.
#[derive(Clone, Debug)]
pub struct CallError {
    /// What to do about it.
    pub class: Class,
    /// What happened, in one sentence or a few; names the limit and the knob where one was reached.
    pub message: String,
    /// The guest's backtrace or its own trace; empty when there is none.
    pub trace: String,
    /// Which event of the call, where the guest said so.
    pub index: Option<u32>,
}

/// What a call left behind, whether it succeeded or not.
#[derive(Clone, Debug, Default)]
pub struct CallReport {
    /// The guest's log lines, capped.
    pub log: Vec<LogLine>,
    /// Lines over the cap.
    pub log_dropped: u64,
    /// Time in the call, in nanoseconds.
    pub nanos: u64,
    /// How much of it the host worked on the call's rows.
    pub rows_nanos: u64,
}

/// Events of one call: a range of a batch.
#[derive(Clone)]
pub struct Call {
    /// The batch.
    pub batch: Arc<EventBatch>,
    /// Which of its events.
    pub range: std::ops::Range<usize>,
    /// Deadline as a multiple of `call_ms_max`: 1, or 10 for the second try.
    pub deadline_factor: u64,
    /// Once set, the call is ended soon ([`Class::Retryable`]): who asked for it is being stopped.
    pub stop: Arc<AtomicBool>,
}

#[cfg(test)]
mod tests;
