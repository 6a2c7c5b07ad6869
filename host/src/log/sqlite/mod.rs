//! The log in one SQLite file: WAL, one writing thread, any number of readers on connections of their own. Commits of
//! other processes are noticed by a word of theirs, or by `PRAGMA data_version`.

mod bell;
mod reader;
mod watch;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, ToSql, params};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::group::Group;
use super::query::{self, Bound, COLUMNS, Span};
use super::reading::stored_time;
use super::route::Measures;
use super::settings::DatabaseLimits;
use super::{
    AppendMeter, AppendRequest, Appended, EventLog, EventQuery, Head, ImportCursor, ImportEvent, LogError,
    LogReader, Tally, migrate, validate,
};
use crate::core::clock::Clock;
use crate::core::limits::AppendLimits;
use crate::core::signal::Signal;
use crate::core::{EventFilter, EventId, LogId, Position, StoredEvent, StreamVersion};
use crate::wal;

/// How long a statement waits for another process's lock. Raise it beside programs with long transactions; lower it
/// to hear of them sooner.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept for single look-ups. More serve more concurrent callers; each holds file handles.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// A log in a file.
pub(super) struct SqliteLog {
    files: Files,
    id: LogId,
    limits: AppendLimits,
    signal: Arc<Signal>,
    idle: Mutex<Vec<Connection>>,
    // Both end their threads when dropped.
    group: Group,
    meter: AppendMeter,
    /// The head that was told of last.
    announced: Arc<AtomicU64>,
    /// Whether this process has rung and not heard it yet.
    rings: Arc<AtomicBool>,
    watch: Mutex<Option<watch::Watch>>,
}

/// Opens connections to one log file.
#[derive(Clone)]
struct Files {
    path: PathBuf,
    busy_timeout: Duration,
}

impl Files {
    /// Where SQLite writes what is not in the file itself yet.
    fn write_ahead_log(&self) -> PathBuf {
        self.beside("-wal")
    }

    /// What whoever commits touches: see [`bell`].
    fn bell(&self) -> PathBuf {
        self.beside("-bell")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

impl SqliteLog {
    /// Opens the log, making or migrating it first.
    pub(super) fn open(
        path: &Path,
        limits: &AppendLimits,
        clock: Clock,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, LogError> {
        Self::open_with(path, limits, clock, runtime, BUSY_TIMEOUT)
    }

    pub(super) fn open_with(
        path: &Path,
        limits: &AppendLimits,
        clock: Clock,
        runtime: &tokio::runtime::Handle,
        busy_timeout: Duration,
    ) -> Result<Self, LogError> {
        let files = Files {
            path: path.to_owned(),
            busy_timeout,
        };
        runtime.block_on(migrate::sqlite(path, busy_timeout))?;
        let writing = files.writing()?;
        let (id, position) = writing
            .query_row("SELECT id, position FROM log", [], |row| {
                Ok((LogId(Uuid::from_bytes(row.get(0)?)), row.get::<_, i64>(1)?))
            })
            .map_err(|error| files.error("read", &error))?;
        set_limits(&writing, limits).map_err(|error| files.error("set the limits of", &error))?;

        let signal = Arc::new(Signal::default());
        let announced = Arc::new(AtomicU64::new(Position::from_i64(position).0));
        let rings = Arc::<AtomicBool>::default();
        let (bump, committed) = (Arc::clone(&signal), Arc::clone(&announced));
        let group = Group::start(
            writer::SqliteWriter::new(files.clone(), writing, Arc::clone(&rings))?,
            limits.group_appends_max,
            clock,
            move |position| {
                committed.fetch_max(position.0, Ordering::Relaxed);
                bump.bump();
            },
        )?;
        Ok(Self {
            files,
            id,
            limits: limits.clone(),
            signal,
            idle: Mutex::default(),
            group,
            meter: AppendMeter::default(),
            announced,
            rings,
            watch: Mutex::default(),
        })
    }

    /// Runs a look-up on an idle connection, or a new one.
    fn read<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.files.reading()?,
        };
        let result = look(&connection);
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
        drop(idle);
        result.map_err(|error| self.files.error("read", &error))
    }
}

fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let last = connection
        .prepare_cached("SELECT position, id, recorded_at FROM events ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| {
            Ok(Head {
                position: Position::from_i64(row.get(0)?),
                event_id: Some(EventId(Uuid::from_bytes(row.get(1)?))),
                recorded_at: row.get(2)?,
            })
        })
        .optional()?;
    Ok(last.unwrap_or(Head {
        position: Position::START,
        event_id: None,
        recorded_at: 0,
    }))
}

impl EventLog for SqliteLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn head(&self) -> Result<Head, LogError> {
        self.read(head)
    }

    fn append(&self, request: AppendRequest) -> Result<Appended, LogError> {
        let events = request.streams.iter().map(|stream| stream.events.len()).sum();
        self.meter.measure(events, || {
            self.group.append(validate::append(request, &self.limits)?)
        })
    }

    fn append_own(&self, request: AppendRequest) -> Result<Appended, LogError> {
        self.group.append(validate::append_own(request, &self.limits)?)
    }

    fn limits(&self) -> &AppendLimits {
        &self.limits
    }

    fn import(
        &self,
        events: Vec<ImportEvent>,
        previous: Option<&ImportCursor>,
        cursor: &ImportCursor,
    ) -> Result<Position, LogError> {
        let lines = validate::import(events, &self.limits)?;
        self.group.import(lines, previous.cloned(), cursor.clone())
    }

    fn import_cursors(&self) -> Result<Vec<ImportCursor>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT digest, bytes, lines FROM import_cursors ORDER BY bytes DESC, digest",
                )?
                .query_map([], |row| {
                    Ok(ImportCursor {
                        digest: row.get(0)?,
                        bytes: row.get::<_, i64>(1)?.unsigned_abs(),
                        lines: row.get::<_, i64>(2)?.unsigned_abs(),
                    })
                })?
                .collect()
        })
    }

    fn event(&self, position: Position) -> Result<Option<StoredEvent>, LogError> {
        let Ok(position) = i64::try_from(position.0) else {
            return Ok(None);
        };
        self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE position = ?1"))?
                .query_row([position], stored)
                .optional()
        })
    }

    fn event_by_id(&self, id: EventId) -> Result<Option<StoredEvent>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?
                .query_row([id.0.as_bytes()], stored)
                .optional()
        })
    }

    fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, LogError> {
        let head = if query.recorded_from.or(query.recorded_before).is_some() {
            self.head()?.position
        } else {
            Position::START
        };
        let span = Span::of(query, head, |position| {
            self.read(|connection| {
                connection
                    .prepare_cached("SELECT recorded_at FROM events WHERE position = ?1")?
                    .query_row([position], |row| row.get(0))
                    .optional()
            })
        })?;
        let select = query::listing(query, span, "events", '?');
        self.read(|connection| {
            connection
                .prepare_cached(&select.sql)?
                .query_map(rusqlite::params_from_iter(&select.values), stored)?
                .collect()
        })
    }

    fn tally(&self, after: Position, until: Position) -> Result<Vec<Tally>, LogError> {
        self.read(|connection| {
            connection
                // By position: an index on types would be gone through as a whole.
                .prepare_cached(&query::tally("events NOT INDEXED", '?'))?
                .query_map([after.as_i64(), until.as_i64()], |row| {
                    Ok(Tally {
                        event_type: row.get(0)?,
                        schema_version: u32::try_from(row.get::<_, i64>(1)?).unwrap_or(u32::MAX),
                        stream_type: row.get(2)?,
                        count: row.get::<_, i64>(3)?.unsigned_abs(),
                        first: Position::from_i64(row.get(4)?),
                        last: Position::from_i64(row.get(5)?),
                        first_recorded_at: stored_time(row.get(6)?),
                        last_recorded_at: stored_time(row.get(7)?),
                    })
                })?
                .collect()
        })
    }

    fn reader(&self, filter: EventFilter) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(reader::SqliteReader::new(
            self.files.clone(),
            &filter,
            Measures::default(),
        )?))
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.signal)
    }

    fn watch(&self) -> Result<(), LogError> {
        let mut watch = self.watch.lock();
        if watch.is_none() {
            *watch = Some(watch::Watch::start(
                &self.files,
                Arc::clone(&self.announced),
                Arc::clone(&self.signal),
                Arc::clone(&self.rings),
            )?);
        }
        Ok(())
    }

    fn meter(&self) -> Option<&AppendMeter> {
        Some(&self.meter)
    }
}

/// A reader that decides its way by other measures, for a test.
#[cfg(test)]
pub(super) fn reader_with(
    path: &Path,
    filter: &EventFilter,
    measures: Measures,
) -> Result<Box<dyn LogReader>, LogError> {
    let files = Files {
        path: path.to_owned(),
        busy_timeout: BUSY_TIMEOUT,
    };
    Ok(Box::new(reader::SqliteReader::new(files, filter, measures)?))
}

/// The host's limits, for the triggers.
fn set_limits(connection: &Connection, limits: &AppendLimits) -> rusqlite::Result<()> {
    let wanted = DatabaseLimits::of(limits);
    let there = connection.query_row(
        "SELECT reason_required, reason_chars_min, reason_chars_max, event_bytes_max, json_depth_max FROM log",
        [],
        |row| {
            Ok(DatabaseLimits {
                reason_required: row.get(0)?,
                reason_chars_min: row.get(1)?,
                reason_chars_max: row.get(2)?,
                event_bytes_max: row.get(3)?,
                json_depth_max: row.get(4)?,
            })
        },
    )?;
    if there != wanted {
        connection.execute(
            "UPDATE log SET reason_required = ?1, reason_chars_min = ?2, reason_chars_max = ?3, event_bytes_max = ?4, \
             json_depth_max = ?5",
            params![
                wanted.reason_required,
                wanted.reason_chars_min,
                wanted.reason_chars_max,
                wanted.event_bytes_max,
                wanted.json_depth_max
            ],
        )?;
    }
    Ok(())
}

impl Files {
    /// The connection of the writing thread.
    fn writing(&self) -> Result<Connection, LogError> {
        let connection = self.connection("PRAGMA synchronous = FULL; PRAGMA cache_size = -64000;")?;
        wal::leave_to_thread(&connection);
        Ok(connection)
    }

    /// The connection of the checkpointing thread, which writes to the file and not to its tables.
    fn checkpointing(&self) -> Result<Connection, LogError> {
        self.connection("PRAGMA synchronous = FULL;")
    }

    /// A connection that cannot write. It is not opened read-only, because a reader of a WAL file may have to
    /// recover it.
    fn reading(&self) -> Result<Connection, LogError> {
        self.connection("PRAGMA query_only = ON; PRAGMA cache_size = -8000;")
    }

    fn connection(&self, pragmas: &str) -> Result<Connection, LogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(self.busy_timeout)?;
            connection.set_prepared_statement_cache_capacity(32);
            // Else SQLite compiles a statement anew whenever a value in its WHERE or LIMIT is bound.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            connection.execute_batch(pragmas)?;
            Ok(connection)
        };
        open().map_err(|error| self.error("open", &error))
    }

    /// What a person can do about a database error.
    fn error(&self, verb: &str, error: &rusqlite::Error) -> LogError {
        let path = self.path.display();
        let rusqlite::Error::SqliteFailure(failure, message) = error else {
            return LogError::Internal(format!(
                "the log {path} holds what Lamphouse did not write: cannot {verb} it: {error}"
            ));
        };
        let message = message.as_deref().unwrap_or("no more is known");
        let away = |why: String| LogError::Unavailable(format!("cannot {verb} the log {path}: {why}"));
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => away(format!(
                "another process has kept it locked for over {} ms; try again, or end that process's transaction",
                self.busy_timeout.as_millis()
            )),
            ErrorCode::DiskFull => away("the disk is full; free some space and try again".to_owned()),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => away(format!(
                "{message}; check that the file and its folder are there and may be written"
            )),
            ErrorCode::SystemIoFailure => away(format!(
                "the disk reports an error ({message}, code {}); check disk and space",
                failure.extended_code
            )),
            ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted => away(format!("{message}; try again")),
            ErrorCode::ConstraintViolation => LogError::Invalid(format!("the log refused it: {message}")),
            ErrorCode::TooBig => {
                LogError::Invalid(format!("an event is larger than SQLite can store: {message}"))
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => LogError::Internal(format!(
                "the log {path} is damaged or is no SQLite file ({message}); restore it from a backup"
            )),
            _ => LogError::Internal(format!(
                "cannot {verb} the log {path}: {message} (code {})",
                failure.extended_code
            )),
        }
    }
}

impl ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Integer(number) => number.to_sql(),
        }
    }
}

/// An event from a row of [`COLUMNS`].
fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let unsigned = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
    let json = |index| {
        RawValue::from_string(row.get(index)?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
        })
    };
    Ok(StoredEvent {
        position: Position(unsigned(0)?),
        id: EventId(Uuid::from_bytes(row.get(1)?)),
        stream_id: row.get(2)?,
        stream_type: row.get(3)?,
        stream_version: StreamVersion(unsigned(4)?),
        event_type: row.get(5)?,
        schema_version: row.get(6)?,
        data: json(7)?,
        metadata: json(8)?,
        occurred_at: stored_time(row.get(9)?),
        recorded_at: stored_time(row.get(10)?),
    })
}
