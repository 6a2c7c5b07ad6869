//! The read tables and what is known of them: generations, checkpoints, the public views.
//!
//! [`TableStore`] is what the rest of the host knows; SQLite and PostgreSQL pass one conformance suite.
//!
//! *Invariants:* rows and checkpoint are written in one transaction, and only if the checkpoint is still where the
//! writer thinks (exactly once in effect). A public name always shows one generation, whole. Identifiers are
//! validated ([`crate::core::TableName`]) and quoted. Calls block.

pub mod answer;
mod changes;
#[cfg(test)]
mod conformance;
pub mod ddl;
mod dead_letters;
pub mod diff;
#[cfg(test)]
pub(crate) mod fixtures;
mod postgres;
#[cfg(test)]
pub(crate) mod sample;
pub mod select;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use lamphouse_contract::{Descriptor, Key, Row, TableSchema, Value};
use serde::{Deserialize, Serialize};

pub use changes::{ChangeHead, ChangeKind, ChangePage, Changes, Refetch, RowChange};
pub use dead_letters::{
    DeadLetter, DeadLetters, Discard, DiscardQuery, LetterBook, LetterCounts, LetterFlush, LetterQuery,
    what_is_parked,
};

use self::select::{Select, SelectError, Selected, ShownTable};
use crate::config::DatabaseUrl;
use crate::core::{Class, EventId, GenerationId, LogId, PluginDigest, PluginName, Position, TableName};

/// The last position whose effects are in the tables, and the log that it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Last position whose effects are in the tables.
    pub position: Position,
    /// Id of the event there; None at position 0.
    pub event_id: Option<EventId>,
    /// The log that was followed; None before the first flush.
    pub log: Option<LogId>,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Being filled from event one.
    Building,
    /// At the head, following, not public.
    Ready,
    /// Public.
    Live,
    /// Was public; kept for rollback.
    Retired,
    /// Could not be built; the error says why.
    Failed,
    /// Its tables are gone.
    Dropped,
}

/// One generation as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Unique in this tables database.
    pub id: GenerationId,
    /// Its projection.
    pub projection: PluginName,
    /// The code that built it.
    pub digest: PluginDigest,
    /// The projector's version.
    pub version: String,
    /// What the projector declared.
    pub descriptor: Arc<Descriptor>,
    /// The upcasters that its events go through, by name.
    pub upcasters: Vec<UpcasterRef>,
    /// Where it stands.
    pub state: GenerationState,
    /// Why it stopped, as JSON of the host's own making.
    pub error: Option<serde_json::Value>,
    /// Where its rows are.
    pub checkpoint: Checkpoint,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When it became public; microseconds since 1970.
    pub live_at: Option<i64>,
    /// When it stopped being public; microseconds since 1970.
    pub retired_at: Option<i64>,
}

impl GenerationRecord {
    /// What tells its code from others': see [`code_digest`].
    pub fn code(&self) -> PluginDigest {
        code_digest(&self.digest, &self.upcasters)
    }
}

/// One upcaster of a generation's set; its bytes are kept under its digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UpcasterRef {
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub digest: PluginDigest,
}

/// One digest for all the code of a generation: the projector's own where there are no upcasters, else one over it and
/// those of the upcasters, in the order of their names.
pub fn code_digest(projector: &PluginDigest, upcasters: &[UpcasterRef]) -> PluginDigest {
    if upcasters.is_empty() {
        return *projector;
    }
    let digests = upcasters.iter().map(|upcaster| upcaster.digest.to_string());
    let all: Vec<String> = std::iter::once(projector.to_string()).chain(digests).collect();
    PluginDigest::of(all.join("\n").as_bytes())
}

/// One projection as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProjectionRecord {
    /// Its name, the plugin's.
    pub name: PluginName,
    /// Set while paused by a person: their reason, or empty.
    pub paused: Option<String>,
    /// Set by a rollback: the plugin of this digest stays live until another digest than `held_against` is deployed.
    pub held: Option<Hold>,
    /// Whether its plugin file was removed: tables stay, nothing runs.
    pub removed: bool,
}

/// A rollback's choice, so that a restart does not roll forward again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The generation that was chosen.
    pub generation: GenerationId,
    /// The code that was rolled back from ([`code_digest`]) and that is not to be deployed by itself.
    pub against: PluginDigest,
    /// Microseconds since 1970.
    pub since: i64,
}

/// The bytes of a deployed plugin, kept with the tables.
#[derive(Clone, Debug)]
pub struct PluginRecord {
    /// SHA-256 of `bytes`.
    pub digest: PluginDigest,
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: String,
    /// The file as submitted.
    pub bytes: Vec<u8>,
}

/// Rows to write to one table of a generation.
#[derive(Clone, Debug, Default)]
pub struct TableFlush {
    /// Index into the descriptor's tables.
    pub table: usize,
    /// Rows whose keys the physical table surely has not, in key order: they are loaded without a look for old ones.
    pub inserts: Vec<Arc<Row>>,
    /// Rows that may be there already, in key order. No key comes twice, here and in `inserts`.
    pub upserts: Vec<Arc<Row>>,
    /// Keys of rows that are gone, in key order.
    pub removes: Vec<Key>,
}

#[cfg(test)]
impl TableFlush {
    /// The same, for a table that has none of these rows yet.
    pub(crate) fn make_new(&mut self) {
        self.inserts.append(&mut self.upserts);
    }
}

/// Everything that one table transaction writes.
#[derive(Clone, Debug)]
pub struct Flush {
    /// Where the rows stood before.
    pub from: Checkpoint,
    /// Where they stand after.
    pub to: Checkpoint,
    /// The rows.
    pub tables: Vec<TableFlush>,
    /// What happens to dead letters; None where the writer knows of none.
    pub letters: Option<Box<LetterFlush>>,
}

/// A cutover, done in the transaction of a flush.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The projection.
    pub projection: PluginName,
    /// What is public now; None for the first generation.
    pub from: Option<GenerationId>,
    /// What is to be public; it must not be behind `from`.
    pub to: GenerationId,
    /// Drop and make anew what changed its shape. Without it, a switch that is [`diff::SchemaDiff::Breaking`] is refused.
    pub breaking: bool,
    /// Refuse it if the new generation has parked an event that the public one has not: nobody has decided on it.
    pub parks_no_more: bool,
    /// What is public follows another log, so that its checkpoint says nothing and is not compared.
    pub from_diverged: bool,
    /// Recorded with the switch: a rollback holds, a cutover clears.
    pub hold: Option<Hold>,
    /// Microseconds since 1970, for `live_at` and `retired_at`.
    pub now: i64,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is busy, full, or gave up a deadlock; try again.
    #[error("{0}")]
    Unavailable(String),
    /// The checkpoint is not where the writer thought: somebody else wrote, or an unknown commit went in after all.
    #[error("the checkpoint of generation {generation} is at {actual}, not at {expected}")]
    CheckpointMoved {
        /// Which generation.
        generation: GenerationId,
        /// What the writer thought.
        expected: Position,
        /// What is there.
        actual: Position,
    },
    /// Dead letters were replayed or discarded since the writer read of them; what it holds in memory is out of date.
    #[error("dead letters of generation {generation} were replayed or discarded in the meantime")]
    LettersMoved {
        /// Which generation.
        generation: GenerationId,
    },
    /// The switch cannot be done as asked; the text names the objects and says what to do.
    #[error("{0}")]
    SwitchRefused(String),
    /// What was asked for is wrong: a name that is taken, a query that is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// Ours, or a database that somebody changed by hand.
    #[error("{0}")]
    Internal(String),
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable(_) | Self::CheckpointMoved { .. } | Self::LettersMoved { .. } => {
                Class::Retryable
            }
            Self::SwitchRefused(_) | Self::Invalid(_) => Class::Fault,
            Self::Internal(_) => Class::Bug,
        }
    }
}

/// What is public under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicTable {
    /// The public name.
    pub name: String,
    /// Its projection.
    pub projection: PluginName,
    /// The generation that it shows.
    pub generation: GenerationId,
}

/// The answer of a read-only query.
#[derive(Clone, Debug)]
pub struct QueryAnswer {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows as JSON values: decimals and integers above 2^53 as strings, bytes as base64, timestamps as RFC 3339, JSON
    /// columns as the JSON that they hold. See [`answer`].
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether rows beyond the limit were left out.
    pub truncated: bool,
}

/// Bounds of a query.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Rows given at the most.
    pub rows_max: u64,
    /// Time at the most.
    pub time_max: Duration,
}

/// The tables database.
pub trait TableStore: DeadLetters + Changes + Send + Sync + 'static {
    /// Becomes the one owner, if nobody is; the guard gives it up when dropped. `address` is recorded for the CLI.
    fn try_own(&self) -> Result<Option<Box<dyn Ownership>>, StoreError>;

    /// Where the owner listens, if it said so: `127.0.0.1:7117`.
    fn owner_address(&self) -> Result<Option<String>, StoreError>;

    /// All projections.
    fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError>;

    /// All generations that are not dropped, oldest first.
    fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError>;

    /// What is public.
    fn public_tables(&self) -> Result<Vec<PublicTable>, StoreError>;

    /// Makes or replaces a projection's record.
    fn save_projection(&self, record: &ProjectionRecord) -> Result<(), StoreError>;

    /// Keeps a plugin's bytes; the same digest twice is fine.
    fn save_plugin(&self, record: &PluginRecord) -> Result<(), StoreError>;

    /// A kept plugin.
    fn plugin(&self, digest: &PluginDigest) -> Result<Option<PluginRecord>, StoreError>;

    /// Makes a generation in state `building` with its empty physical tables, without secondary indexes.
    fn create_generation(
        &self,
        projection: &PluginName,
        digest: &PluginDigest,
        version: &str,
        descriptor: &Arc<Descriptor>,
        upcasters: &[UpcasterRef],
        now: i64,
    ) -> Result<GenerationRecord, StoreError>;

    /// Sets a generation's state and error (not `Live` or `Dropped`: see [`TableWriter::switch`], [`Self::drop_generation`]).
    fn set_state(
        &self,
        generation: GenerationId,
        state: GenerationState,
        error: Option<&serde_json::Value>,
    ) -> Result<(), StoreError>;

    /// Whether [`Self::create_indexes`] on a large table holds up the writers of other tables: then, beside live
    /// projections, it is better done while the table is small.
    fn making_indexes_stops_writers(&self) -> bool {
        false
    }

    /// Makes the declared secondary indexes of a generation, where they are missing.
    fn create_indexes(&self, generation: &GenerationRecord) -> Result<(), StoreError>;

    /// Makes ready for a switch, each public name by itself (PostgreSQL: gated views; SQLite: nothing).
    /// With `breaking` it only checks that nothing of the user's depends on the views.
    fn prepare_switch(&self, switch: &Switch) -> Result<(), StoreError>;

    /// After a switch: when every transaction that could still look at the old generation has ended, makes the views
    /// direct. Until then gives who is in the way.
    fn finish_switch(&self, projection: &PluginName) -> Result<Finish, StoreError>;

    /// Drops a generation's physical tables in steps that do not hold the writer for long, and marks it dropped.
    fn drop_generation(&self, generation: GenerationId) -> Result<(), StoreError>;

    /// The writer of one generation, on a connection of its own.
    fn writer(&self, generation: &GenerationRecord) -> Result<Box<dyn TableWriter>, StoreError>;

    /// A reader of one generation's committed rows, on a connection of its own.
    fn reader(&self, generation: &GenerationRecord) -> Result<Box<dyn TableReader>, StoreError>;

    /// A read-only query on the public names: one statement, by a connection that can do nothing else.
    fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryAnswer, StoreError>;

    /// What every public table shows, by name, in one snapshot: where their projections are, and what they lack.
    fn shown_tables(&self) -> Result<Vec<ShownTable>, StoreError>;

    /// Rows of one public table, and what it shows, in one snapshot. `time_max` is for all of it.
    fn select(&self, select: &Select, time_max: Duration) -> Result<Selected, SelectError>;
}

/// Held by the one owner of a tables database.
pub trait Ownership: Send {
    /// Records where the owner listens.
    fn announce(&mut self, address: &str) -> Result<(), StoreError>;

    /// Whether it is still held (a PostgreSQL connection may have died).
    fn is_held(&mut self) -> bool;
}

/// How far the end of a switch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The views are direct.
    Done,
    /// Transactions that began before the switch are still open; says whose.
    Waiting(String),
}

/// Writes one generation.
pub trait TableWriter: Send {
    /// Writes rows and checkpoint in one transaction. `live` takes its turn before rebuilds.
    fn flush(&mut self, flush: &Flush, live: bool) -> Result<(), StoreError>;

    /// Writes rows and checkpoint and makes this generation public, in one transaction. Nothing is done if `from` of
    /// the switch is no longer public, or is ahead of `flush.to`.
    fn switch(&mut self, flush: &Flush, switch: &Switch) -> Result<(), StoreError>;

    /// The checkpoint as it is committed; used after a failed or unknown commit.
    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError>;
}

/// Reads one generation's committed rows.
pub trait TableReader: Send {
    /// Rows by key.
    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError>;

    /// Rows whose first columns of declared index `index` equal `prefix`, in key order (the order of
    /// [`lamphouse_contract::semantics::ordered_key`]), after `after`, at most `limit`.
    fn find(
        &mut self,
        table: usize,
        index: usize,
        prefix: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// All rows in key order, a page at a time; for diffs and checks.
    fn scan(&mut self, table: usize, after: Option<&Key>, limit: usize) -> Result<Vec<Row>, StoreError>;
}

/// Opens the tables database, making it or bringing it up to date. `runtime` runs the migrations and, on PostgreSQL,
/// everything else; call from a thread that may block.
pub fn open(url: &DatabaseUrl, runtime: tokio::runtime::Handle) -> Result<Arc<dyn TableStore>, StoreError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::open(path, runtime),
        DatabaseUrl::Postgres(url) => postgres::open(url, runtime),
    }
}

/// The physical names of a generation's tables, in the descriptor's order: `orders__g7`.
pub fn physical_names(generation: GenerationId, tables: &[TableSchema]) -> Result<Vec<String>, StoreError> {
    let physical = |table: &TableSchema| match TableName::new(&table.name) {
        Ok(name) => Ok(name.physical(generation)),
        Err(error) => Err(StoreError::Invalid(error)),
    };
    tables.iter().map(physical).collect()
}

/// The columns of a generation that a table has.
pub fn schema(generation: &GenerationRecord, table: usize) -> &TableSchema {
    &generation.descriptor.tables[table]
}
