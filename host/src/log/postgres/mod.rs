//! The log in schema `lamphouse` of a PostgreSQL database. Appends and imports go over one connection, look-ups over a
//! small pool, each reader over its own. `LISTEN` wakes readers, with a poll behind it.

mod copy;
mod heads;
mod listen;
mod reader;
mod writer;

use std::future::Future;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, PgPool, Postgres, Row as _};
use tokio::runtime::Handle;
use uuid::Uuid;

use self::heads::{Heads, head};
use super::group::Group;
use super::query::{self, Bound, COLUMNS, Span};
use super::route::Measures;
use super::settings::DatabaseLimits;
use super::{
    AppendMeter, AppendRequest, Appended, EventLog, EventQuery, Head, ImportCursor, ImportEvent, LogError,
    LogReader, Tally, migrate, validate,
};
use crate::core::clock::Clock;
use crate::core::limits::AppendLimits;
use crate::core::signal::Signal;
use crate::core::waiting::Waiting;
use crate::core::{EventFilter, EventId, LogId, Position, StoredEvent, StreamVersion};

const TABLE: &str = "lamphouse.events";
/// Connections for look-ups. More serve more concurrent callers; each is a server process.
const POOL_CONNECTIONS_MAX: u32 = 4;
/// How long a look-up waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one step may take before the server counts as away: a connection to a machine that vanished gives no
/// error by itself. Raise it for slow disks; lower it to notice sooner.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// What each connection begins with. All statements are look-ups by index, in the index's order, also while the tables
/// are small and their statistics missing. The lock that may be waited for is the counter row's.
const SESSION: &str = "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; \
                       SET enable_hashjoin = off; SET enable_mergejoin = off; \
                       SET standard_conforming_strings = on; SET lock_timeout = '10s'; SET statement_timeout = 0";

/// For the few statements that are repeated for ever: one plan for all values, which is the look-up by index anyway.
const SAME_PLANS: &str = "SET plan_cache_mode = force_generic_plan";

/// A log in a database.
pub(super) struct PostgresLog {
    server: Server,
    pool: PgPool,
    id: LogId,
    limits: AppendLimits,
    signal: Arc<Signal>,
    heads: Heads,
    // Both end with their threads and tasks when dropped.
    group: Group,
    meter: AppendMeter,
    /// The head that was told of last.
    announced: Arc<AtomicU64>,
    listen: Mutex<Option<listen::Listen>>,
}

/// Where the database is, and the runtime that drives its connections.
#[derive(Clone)]
struct Server {
    options: PgConnectOptions,
    /// For messages; without the password.
    place: String,
    runtime: Handle,
    /// What waits for the connections of one thread, where they are one thread's.
    waiting: Option<Arc<Waiting>>,
}

impl PostgresLog {
    /// Opens the log, making or migrating it first.
    pub(super) fn open(
        url: &str,
        limits: &AppendLimits,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Self, LogError> {
        let server = Server::new(url, runtime)?;
        server
            .runtime
            .block_on(migrate::postgres(&server.options, &server.place))?;
        let (id, position) = server.run("open", async {
            let mut connection = server.connect().await?;
            set_limits(&mut connection, limits).await?;
            let row =
                sqlx::query("SELECT id, position, current_setting('server_encoding') FROM lamphouse.log")
                    .fetch_one(&mut connection)
                    .await?;
            let encoding: String = row.try_get(2)?;
            if encoding != "UTF8" {
                return Err(sqlx::Error::Configuration(
                    format!("the database has encoding {encoding}; Lamphouse needs UTF8").into(),
                ));
            }
            Ok((LogId(row.try_get(0)?), row.try_get::<i64, _>(1)?))
        })?;

        let pool = {
            let _runtime = server.runtime.enter();
            server.pool(POOL_CONNECTIONS_MAX)
        };
        let signal = Arc::new(Signal::default());
        let announced = Arc::new(AtomicU64::new(Position::from_i64(position).0));
        let (bump, committed) = (Arc::clone(&signal), Arc::clone(&announced));
        let group = Group::start(
            writer::PostgresWriter::new(server.of_one_thread()),
            limits.group_appends_max,
            clock,
            move |position| {
                committed.fetch_max(position.0, Ordering::Relaxed);
                bump.bump();
            },
        )?;
        Ok(Self {
            heads: Heads::new(&server),
            server,
            pool,
            id,
            limits: limits.clone(),
            signal,
            group,
            meter: AppendMeter::default(),
            announced,
            listen: Mutex::default(),
        })
    }

    fn one(&self, statement: Query<'_, Postgres, PgArguments>) -> Result<Option<StoredEvent>, LogError> {
        self.server.run("read", async {
            let row = statement.fetch_optional(&self.pool).await?;
            row.as_ref().map(stored).transpose()
        })
    }
}

impl EventLog for PostgresLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn head(&self) -> Result<Head, LogError> {
        self.heads
            .look()
            .unwrap_or_else(|| self.server.run("read", head(&self.pool)))
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
        self.server.run("read", async {
            let rows = sqlx::query(
                "SELECT digest, bytes, lines FROM lamphouse.import_cursors ORDER BY bytes DESC, digest",
            )
            .fetch_all(&self.pool)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(ImportCursor {
                        digest: row.try_get(0)?,
                        bytes: row.try_get::<i64, _>(1)?.unsigned_abs(),
                        lines: row.try_get::<i64, _>(2)?.unsigned_abs(),
                    })
                })
                .collect()
        })
    }

    fn event(&self, position: Position) -> Result<Option<StoredEvent>, LogError> {
        let Ok(position) = i64::try_from(position.0) else {
            return Ok(None);
        };
        let sql = format!("SELECT {COLUMNS} FROM {TABLE} WHERE position = $1");
        self.one(sqlx::query(AssertSqlSafe(sql)).bind(position))
    }

    fn event_by_id(&self, id: EventId) -> Result<Option<StoredEvent>, LogError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLE} WHERE id = $1");
        self.one(sqlx::query(AssertSqlSafe(sql)).bind(id.0))
    }

    fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, LogError> {
        let head = if query.recorded_from.or(query.recorded_before).is_some() {
            self.head()?.position
        } else {
            Position::START
        };
        let span = Span::of(query, head, |position| {
            self.server.run("read", async {
                let at: Option<DateTime<Utc>> =
                    sqlx::query_scalar("SELECT recorded_at FROM lamphouse.events WHERE position = $1")
                        .bind(position)
                        .fetch_optional(&self.pool)
                        .await?;
                Ok(at.map(|at| at.timestamp_micros()))
            })
        })?;
        let select = query::listing(query, span, TABLE, '$');
        self.server.run("read", async {
            let statement = bind_all(sqlx::query(AssertSqlSafe(select.sql)), select.values);
            let rows = statement.fetch_all(&self.pool).await?;
            rows.iter().map(stored).collect()
        })
    }

    fn tally(&self, after: Position, until: Position) -> Result<Vec<Tally>, LogError> {
        self.server.run("read", async {
            let rows = sqlx::query(AssertSqlSafe(query::tally(TABLE, '$')))
                .bind(after.as_i64())
                .bind(until.as_i64())
                .fetch_all(&self.pool)
                .await?;
            let tally = |row: &PgRow| -> Result<Tally, sqlx::Error> {
                Ok(Tally {
                    event_type: row.try_get(0)?,
                    schema_version: row.try_get::<i32, _>(1)?.unsigned_abs(),
                    stream_type: row.try_get(2)?,
                    count: row.try_get::<i64, _>(3)?.unsigned_abs(),
                    first: Position::from_i64(row.try_get(4)?),
                    last: Position::from_i64(row.try_get(5)?),
                    first_recorded_at: row.try_get(6)?,
                    last_recorded_at: row.try_get(7)?,
                })
            };
            rows.iter().map(tally).collect()
        })
    }

    fn reader(&self, filter: EventFilter) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(reader::PostgresReader::new(
            self.server.of_one_thread(),
            &filter,
            reader::Ranges::default(),
            Measures::default(),
        )))
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.signal)
    }

    fn watch(&self) -> Result<(), LogError> {
        self.listen.lock().get_or_insert_with(|| {
            let (announced, signal) = (Arc::clone(&self.announced), Arc::clone(&self.signal));
            listen::Listen::start(&self.server, &self.pool, announced, signal)
        });
        Ok(())
    }

    fn meter(&self) -> Option<&AppendMeter> {
        Some(&self.meter)
    }
}

/// A reader whose ranges are small enough for a test, and that decides its way by other measures.
#[cfg(test)]
pub(super) fn reader_with(
    url: &str,
    runtime: Handle,
    filter: &EventFilter,
    (live_positions_max, copy_positions_max): (u64, u64),
    measures: Measures,
) -> Result<Box<dyn LogReader>, LogError> {
    let ranges = reader::Ranges {
        live_positions_max,
        copy_positions_max,
    };
    Ok(Box::new(reader::PostgresReader::new(
        Server::new(url, runtime)?,
        filter,
        ranges,
        measures,
    )))
}

/// The host's limits, for the triggers.
async fn set_limits(connection: &mut PgConnection, limits: &AppendLimits) -> Result<(), sqlx::Error> {
    let limits = DatabaseLimits::of(limits);
    sqlx::query(
        "UPDATE lamphouse.log SET reason_required = $1, reason_chars_min = $2, reason_chars_max = $3, \
         event_bytes_max = $4, json_depth_max = $5 \
         WHERE (reason_required, reason_chars_min, reason_chars_max, event_bytes_max, json_depth_max) \
         IS DISTINCT FROM ($1, $2, $3, $4, $5)",
    )
    .bind(limits.reason_required)
    .bind(limits.reason_chars_min)
    .bind(limits.reason_chars_max)
    .bind(limits.event_bytes_max)
    .bind(limits.json_depth_max)
    .execute(connection)
    .await?;
    Ok(())
}

impl Server {
    fn new(url: &str, runtime: Handle) -> Result<Self, LogError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| LogError::Invalid(format!("[log] url is no PostgreSQL address: {error}")))?
            .application_name("lamphouse log")
            .disable_statement_logging();
        let place = format!(
            "the log postgres://{}@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username())
        );
        Ok(Self {
            options,
            place,
            runtime,
            waiting: None,
        })
    }

    /// The same, for connections that one thread at a time uses.
    fn of_one_thread(&self) -> Self {
        let mut server = self.clone();
        // Without, the shared runtime does as well, a little later.
        server.waiting = Waiting::new().ok().map(Arc::new);
        server
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.waiting {
            Some(waiting) => waiting.block_on(work),
            None => self.runtime.block_on(work),
        }
    }

    /// Needs the runtime to be entered.
    fn pool(&self, connections_max: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(drop) })
            })
            .connect_lazy_with(self.options.clone())
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        connection.execute(SESSION).await?;
        connection.execute(SAME_PLANS).await?;
        Ok(connection)
    }

    /// Waits for one step of work, in the thread of the caller.
    fn run<T>(&self, verb: &str, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, LogError> {
        self.block_on(timed(work))
            .map_err(|error| self.error(verb, &error))
    }

    /// What a person can do about a database error.
    fn error(&self, verb: &str, error: &sqlx::Error) -> LogError {
        let place = &self.place;
        let away = |why: String| LogError::Unavailable(format!("cannot {verb} {place}: {why}"));
        match error {
            sqlx::Error::Database(database) => {
                let (code, message) = (database.code().unwrap_or_default(), database.message());
                match (code.as_ref(), code.get(..2).unwrap_or_default()) {
                    ("53100", _) => away(format!("the server's disk is full ({message}); free some space and try again")),
                    ("55P03", _) => away(
                        "another transaction has held the log's counter for over 10 s; end it (a service that calls \
                         lamphouse.append must commit at once) and try again"
                            .to_owned(),
                    ),
                    ("57014", _) | (_, "08" | "53" | "57" | "40" | "55" | "25") => away(format!("{message} ({code}); try again")),
                    ("3D000" | "28P01" | "28000", _) => {
                        away(format!("{message}; check database, user and password in [log] url"))
                    }
                    (_, "23" | "22" | "54" | "P0") => LogError::Invalid(format!("the log refused it: {message}")),
                    ("58030" | "58000", _) => away(format!("the server's disk reports an error: {message}")),
                    _ => LogError::Internal(format!("cannot {verb} {place}: {message} ({code})")),
                }
            }
            sqlx::Error::Io(error) => away(format!("{error}; is the server running?")),
            sqlx::Error::PoolTimedOut => away(format!(
                "no connection within {} s; is the server running?",
                ACQUIRE_TIMEOUT.as_secs()
            )),
            sqlx::Error::Protocol(message) => away(format!("the connection broke: {message}")),
            sqlx::Error::Tls(error) => away(format!("TLS: {error}")),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                away("the connection was closed".to_owned())
            }
            sqlx::Error::Configuration(error) => LogError::Invalid(format!("cannot {verb} {place}: {error}")),
            other => LogError::Internal(format!("cannot {verb} {place}: {other}")),
        }
    }
}

/// Work that ends with an error when the server does not answer.
async fn timed<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(STEP_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| {
            let message = format!("no answer for {} s", STEP_TIMEOUT.as_secs());
            Err(sqlx::Error::Io(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                message,
            )))
        })
}

fn bind_all(
    statement: Query<'_, Postgres, PgArguments>,
    values: Vec<Bound>,
) -> Query<'_, Postgres, PgArguments> {
    values
        .into_iter()
        .fold(statement, |statement, value| match value {
            Bound::Text(text) => statement.bind(text),
            Bound::Integer(number) => statement.bind(number),
        })
}

/// An event from a row of [`COLUMNS`].
fn stored(row: &PgRow) -> Result<StoredEvent, sqlx::Error> {
    let json = |index| {
        RawValue::from_string(row.try_get(index)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
    };
    Ok(StoredEvent {
        position: Position::from_i64(row.try_get(0)?),
        id: EventId(row.try_get::<Uuid, _>(1)?),
        stream_id: row.try_get(2)?,
        stream_type: row.try_get(3)?,
        stream_version: StreamVersion(row.try_get::<i64, _>(4)?.unsigned_abs()),
        event_type: row.try_get(5)?,
        schema_version: row.try_get::<i32, _>(6)?.unsigned_abs(),
        data: json(7)?,
        metadata: json(8)?,
        occurred_at: row.try_get(9)?,
        recorded_at: row.try_get(10)?,
    })
}
