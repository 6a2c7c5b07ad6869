//! What a person may ask of a host, and what the host says of itself. The CLI speaks to this trait, whether the host
//! is in its own process or behind the admin surface; the JSON of these types is what `--json` prints.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::detail::ProjectionDetail;
use super::explain::Explanation;
use super::plugins::{Condition, Installed, PluginDetail, Removed};
use super::story::LetterDetail;
use super::uploads::Received;
use crate::core::PluginName;
use crate::plugin::LogLine;
use crate::projection::Profile;
use crate::tables::UpcasterRef;

/// The state of everything, as one document.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HostStatus {
    /// Whether a host is running, and where.
    pub host: HostInfo,
    /// The event log.
    pub log: LogStatus,
    /// Each projection.
    pub projections: Vec<ProjectionStatus>,
    /// Each upcaster that is deployed, or that some generation still runs with.
    #[serde(default)]
    pub upcasters: Vec<UpcasterStatus>,
    /// Each file of the plugin folder.
    pub files: Vec<FileStatus>,
    /// What is wrong with the host as a whole: a folder that is missing, a database that is away.
    pub problems: Vec<String>,
}

/// The running host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct HostInfo {
    /// Whether a host owns the tables.
    pub running: bool,
    /// Host version.
    pub version: String,
    /// Process id of the running host.
    pub pid: Option<u32>,
    /// Where it listens: `127.0.0.1:7117`; with TLS `https://10.0.0.1:7117`.
    pub address: Option<String>,
    /// `owner`, `standby` or `none`.
    pub role: String,
    /// Whether it has taken in what is stored and every file that was in the folder when it started.
    #[serde(default)]
    pub settled: bool,
}

/// The event log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogStatus {
    /// `sqlite` or `postgres`.
    pub database: String,
    /// The log's identity.
    pub id: String,
    /// Position of the last event; 0 when empty.
    pub head: u64,
}

/// One projection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionStatus {
    /// The plugin's name.
    pub name: String,
    /// In one word: `live`, `building`, `paused`, `faulted`, `retrying`, `diverged`, `removed`, `waiting`.
    pub state: String,
    /// Whether nothing is wrong: neither a fault, nor a call that outruns its deadline, nor a database that is away.
    pub healthy: bool,
    /// One sentence for a person: what it does, or why it does not.
    pub message: String,
    /// Whether it goes on only after a person's `cutover`; `message` says why.
    #[serde(default)]
    pub needs_decision: bool,
    /// Whether a cutover failed and is tried again; `message` says why.
    #[serde(default)]
    pub hindered: bool,
    /// The reason given with `pause`; empty text when none was.
    pub paused: Option<String>,
    /// After a rollback: `held at 1.0.0 (digest …)`.
    pub held: Option<String>,
    /// Why the last cutover or rollback that somebody asked for was refused; None once another is asked for.
    #[serde(default)]
    pub refused: Option<String>,
    /// What the public tables lack: `3 events of 1 stream are parked`; None when they are complete.
    #[serde(default)]
    pub incomplete: Option<String>,
    /// Whether the public tables hold replayed dead letters in another order than that of the log.
    #[serde(default)]
    pub reordered: bool,
    /// The public generation.
    pub live: Option<GenerationStatus>,
    /// The other generations, newest first.
    pub others: Vec<GenerationStatus>,
}

/// One generation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GenerationStatus {
    /// Its number: 7 for `g7`.
    pub generation: i64,
    /// The projector's version.
    pub version: String,
    /// Digest of the plugin file.
    pub digest: String,
    /// The upcasters that its events go through, by name.
    #[serde(default)]
    pub upcasters: Vec<UpcasterRef>,
    /// Which upcasters make it another than the public one, a sentence each: `upcaster NAME 2.0.0 replaces 1.0.0`.
    #[serde(default)]
    pub because: Vec<String>,
    /// `building`, `ready`, `live`, `retired`, `failed`.
    pub state: String,
    /// Position of the last event whose effects are in the tables.
    pub checkpoint: u64,
    /// Head minus checkpoint.
    pub lag_events: u64,
    /// How long the oldest event that is not in the tables has been waiting, in milliseconds.
    pub lag_ms: u64,
    /// Events a second over the last seconds; None while nothing moves.
    pub events_per_second: Option<f64>,
    /// Time left to the head, in milliseconds.
    pub time_left_ms: Option<u64>,
    /// What it is doing: `following`, `rebuilding`, `in a plugin call for 6.2 s`, `retrying in 3 s`, `stopped`.
    pub activity: String,
    /// Whether the in-memory row cache holds the tables whole.
    pub cache_is_whole: bool,
    /// Bytes of the row cache.
    pub cache_bytes: u64,
    /// Events that are parked as dead letters: the tables lack their effects.
    #[serde(default)]
    pub parked_events: u64,
    /// Streams that they belong to.
    #[serde(default)]
    pub parked_streams: u64,
    /// Whether dead letters were replayed after other events that came later, which this projector has not declared to
    /// be right.
    #[serde(default)]
    pub reordered: bool,
    /// The public names of its tables.
    pub tables: Vec<String>,
    /// Why it stopped.
    pub fault: Option<FaultReport>,
    /// The guest's last log lines.
    pub log: Vec<LogLine>,
    /// Where its time went since its runner was started; None while nothing moves it.
    #[serde(default)]
    pub profile: Option<Profile>,
}

/// One upcaster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpcasterStatus {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of the plugin file.
    pub digest: String,
    /// Whether new generations are built with it; else some generation still runs with it until it is replaced.
    pub deployed: bool,
    /// The projections whose public or coming generation it concerns.
    pub projections: Vec<String>,
}

/// Why a generation stopped or is retrying.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FaultReport {
    /// `retryable`, `fault`, `time_limit`, `bug` or `diverged`.
    pub class: String,
    /// What failed, on what, why, and what to do.
    pub message: String,
    /// Position of the event.
    pub position: Option<u64>,
    /// Id of the event.
    pub event_id: Option<String>,
    /// The guest's backtrace.
    pub trace: String,
    /// The guest's log lines of the failing call.
    pub log: Vec<LogLine>,
    /// When it happened.
    #[serde(with = "crate::core::micros")]
    #[schema(value_type = String, format = DateTime)]
    pub at: i64,
    /// How many times it was tried.
    pub attempts: u64,
}

/// One file of the plugin folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileStatus {
    /// Name in the folder.
    pub file: String,
    /// `projector` or `upcaster`, once known.
    #[serde(default)]
    pub kind: Option<String>,
    /// `deployed`, `refused`, `held` or `settling`.
    pub state: String,
    /// The plugin that it holds, once known.
    pub plugin: Option<String>,
    /// Its version, once known.
    pub version: Option<String>,
    /// Its digest, once known.
    pub digest: Option<String>,
    /// Why it is not deployed, and what to do; empty when it is.
    pub message: String,
}

/// What can be asked of one projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// A new generation by the same code, from event one, switched to when it has caught up.
    Rebuild,
    /// Stop applying events; the tables stay readable.
    Pause {
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Go on after a pause or a fault.
    Resume,
    /// Switch to the generation that is building or ready, as soon as it is level.
    Cutover {
        /// Allow columns and tables to go or change type.
        #[serde(default)]
        breaking: bool,
    },
    /// Replay a projection's dead letters, each stream's in order, up to the first that still fails.
    RetryDeadLetters {
        /// Only this stream's.
        #[serde(default)]
        stream_id: Option<String>,
        /// Allow events of different streams in another order than that of the log.
        #[serde(default)]
        accept_reorder: bool,
    },
    /// Leave events out, now and in every later generation: parked ones, or the one at which the projection has stopped.
    DiscardDeadLetters {
        /// This event.
        #[serde(default)]
        event_id: Option<String>,
        /// All of this stream that are parked.
        #[serde(default)]
        stream_id: Option<String>,
        /// Why, in 10 to 500 characters.
        reason: String,
        /// Who decided.
        by: String,
    },
    /// Bring the last retired generation level and switch back to it; holds it against the present digest.
    Rollback {
        /// Allow user views on what goes to be reported and the switch to be refused, else as `cutover --breaking`.
        #[serde(default)]
        breaking: bool,
    },
}

/// As it is typed behind `lamphouse`.
impl fmt::Display for Verb {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, breaking) = match self {
            Self::Rebuild => ("rebuild", false),
            Self::Pause { .. } => ("pause", false),
            Self::Resume => ("resume", false),
            Self::Cutover { breaking } => ("cutover", *breaking),
            Self::Rollback { breaking } => ("rollback", *breaking),
            Self::RetryDeadLetters { .. } => ("dead-letters retry", false),
            Self::DiscardDeadLetters { .. } => ("dead-letters discard", false),
        };
        out.write_str(verb)?;
        if breaking {
            out.write_str(" --breaking")?;
        }
        Ok(())
    }
}

/// The answer to a verb.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// One sentence for a person.
    pub message: String,
    /// Whether it is done; else it goes on, and `status` shows it.
    pub done: bool,
    /// The generation that is concerned: the new one of a rebuild, the target of a cutover or rollback.
    pub generation: Option<i64>,
    /// What came of a retry or a discard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters: Option<LettersOutcome>,
}

/// What came of a retry or a discard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LettersOutcome {
    /// Events that are in the tables now.
    pub replayed: u64,
    /// Events that are still parked.
    pub left: u64,
    /// Whether the time for one request was over before all were tried; ask again for the rest.
    pub more: bool,
    /// The first event of each stream that failed again.
    pub failed: Vec<LetterFailure>,
}

/// A dead letter that failed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterFailure {
    /// Its stream, whose later events go on waiting.
    pub stream_id: String,
    /// Its place in the log.
    pub position: u64,
    /// Its id.
    pub event_id: String,
    /// What failed, and why.
    pub message: String,
    /// Tries so far.
    pub attempts: u64,
}

/// Why a host did not do as asked.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum OperateError {
    /// There is no such projection.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done now; says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// What was given cannot be taken, as things stand or ever; says why and what to do.
    #[error("{0}")]
    Invalid(String),
    /// It is not as the caller said that it must be.
    #[error("{0}")]
    Changed(String),
    /// The host could not be reached or its database is away.
    #[error("{0}")]
    Unavailable(String),
}

/// A host that can be asked.
pub trait Operator: Send + Sync {
    /// The state of everything.
    fn status(&self) -> Result<HostStatus, OperateError>;

    /// Asks one projection to do something. Returns at once; long work goes on behind it.
    fn operate(&self, projection: &str, verb: Verb) -> Result<Outcome, OperateError>;

    /// Everything that is known of one projection.
    fn projection(&self, name: &str) -> Result<ProjectionDetail, OperateError>;

    /// A dead letter of a projection, by its event's position or id.
    fn dead_letter(&self, projection: &str, event: &str) -> Result<LetterDetail, OperateError>;

    /// What became of an event, by its position or id.
    fn explain(&self, event: &str) -> Result<Explanation, OperateError>;

    /// What is in a file of the plugin folder, by its name without `.wasm`, or what is deployed without one.
    fn plugin(&self, name: &str) -> Result<PluginDetail, OperateError>;

    /// Checks an upload as a file of the folder is checked, and puts it there under this name if it may be deployed.
    /// Takes as long as it takes to compile it.
    fn install(
        &self,
        name: &PluginName,
        received: Received,
        condition: &Condition,
    ) -> Result<Installed, OperateError>;

    /// Removes a file from the plugin folder; the tables of its projection stay.
    fn remove_plugin(&self, name: &str, condition: &Condition) -> Result<Removed, OperateError>;
}
