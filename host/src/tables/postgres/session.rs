//! Connections: how they are opened, what each must be set to, and what their errors mean.
//!
//! A [`Session`] belongs to one writer, reader or owner. It connects when it is first used, and again after an error
//! that left it in doubt, so that a restart of the server needs nothing but the next call.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::core::waiting::Waiting;
use crate::tables::StoreError;

/// Connecting takes no longer than this. Raise it for servers far away.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// A call on a session takes no longer than this, so that a server that vanished without a word is noticed.
const CALL_TIME_MAX: Duration = Duration::from_secs(600);
/// Making an index takes no longer than this. Raise it for tables of very many millions of rows.
const PATIENT_TIME_MAX: Duration = Duration::from_secs(6 * 3600);
/// Connections that short control statements share.
const CONTROL_CONNECTIONS_MAX: u32 = 4;
/// Queries that run at once; others wait. Raise it for many askers; lower it to spare the server.
const QUERY_CONNECTIONS_MAX: u32 = 8;

/// What every connection is set to.
///
/// Custom plans, because a plan made while a table was empty would be kept when it has millions of rows. The keepalives
/// let the server notice a host that is gone without a word, and free its locks, within half a minute.
const SETTINGS: &str = "SET plan_cache_mode = force_custom_plan; SET jit = off; SET TimeZone = 'UTC'; \
    SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; \
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET bytea_output = 'hex'; SET IntervalStyle = 'iso_8601'; SET DateStyle = 'ISO'; \
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = 25000";

/// For the few statements that are repeated for ever and leave nothing to plan: planning one anew takes longer than to
/// run it. [`CUSTOM_PLANS`] is for the others on such a connection.
const SAME_PLANS: &str = "SET plan_cache_mode = force_generic_plan";
/// Behind a `BEGIN`: the statements of this transaction are planned for their values and for the tables as they are.
pub(super) const CUSTOM_PLANS: &str = "SET LOCAL plan_cache_mode = force_custom_plan";

/// Why a piece of work on a connection did not succeed.
pub(super) enum Failure {
    /// The database or the way to it.
    Sql(sqlx::Error),
    /// What the work itself found.
    Store(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// The SQLSTATE, if the server sent one.
    pub(super) fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.code().map(|code| code.into_owned()),
            _ => None,
        }
    }

    /// Whether a lock was not given in time, a deadlock was broken at our cost, or somebody's GRANT or ALTER of the same
    /// view, which takes no lock, came in between: worth another try.
    pub(super) fn is_lock(&self) -> bool {
        match self.sqlstate().as_deref() {
            Some("55P03" | "40P01") => true,
            Some("XX000") => self.says("tuple concurrently updated"),
            _ => false,
        }
    }

    /// Whether the server's message is this one, which no SQLSTATE tells from others.
    fn says(&self, message: &str) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.message() == message)
    }
}

/// One database and how to reach it.
pub(super) struct Database {
    options: PgConnectOptions,
    pub(super) runtime: Handle,
    control: PgPool,
    /// Apart from `control`, so that slow queries hold up no decision.
    queries: PgPool,
    /// `host:port/database`, for messages; never the password.
    label: String,
    /// When a live projection last wrote.
    live_written: Mutex<Option<Instant>>,
}

/// How long live work counts as going on after it wrote last.
const LIVE_FOR: Duration = Duration::from_secs(1);

impl Database {
    /// Prepares to connect; nothing is sent yet.
    pub(super) fn new(url: &str, runtime: Handle) -> Result<Arc<Self>, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| {
                StoreError::Invalid(format!(
                    "the address of the read tables is not a PostgreSQL URL ({error}); it looks like \
                     postgres://user:password@host:5432/database"
                ))
            })?
            .application_name("lamphouse")
            .statement_cache_capacity(200)
            .disable_statement_logging();
        let label = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_else(|| options.get_username())
        );
        // The pools start tasks of their own, on this runtime.
        let _entered = runtime.enter();
        let pool = |connections_max| {
            PgPoolOptions::new()
                .max_connections(connections_max)
                .acquire_timeout(CONNECT_TIME_MAX)
                .idle_timeout(Duration::from_secs(60))
                .after_connect(|connection, _| {
                    Box::pin(async move { connection.execute(SETTINGS).await.map(|_| ()) })
                })
                .connect_lazy_with(options.clone())
        };
        let (control, queries) = (pool(CONTROL_CONNECTIONS_MAX), pool(QUERY_CONNECTIONS_MAX));
        Ok(Arc::new(Self {
            options,
            runtime: runtime.clone(),
            control,
            queries,
            label,
            live_written: Mutex::new(None),
        }))
    }

    /// A live projection writes now.
    pub(super) fn live_writes(&self) {
        *self.live_written.lock() = Some(Instant::now());
    }

    /// Whether a live projection wrote lately.
    pub(super) fn has_live_work(&self) -> bool {
        self.live_written.lock().is_some_and(|at| at.elapsed() < LIVE_FOR)
    }

    /// A connection that is set up.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            connection.execute(SETTINGS).await?;
            Ok(connection)
        };
        timeout(CONNECT_TIME_MAX, connecting)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Does something short on one of the shared connections. `what` completes "… failed while …".
    pub(super) fn control<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.pooled(&self.control, what, work)
    }

    /// As [`Self::control`], on one of the connections for queries.
    pub(super) fn query<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.pooled(&self.queries, what, work)
    }

    fn pooled<T>(
        &self,
        pool: &PgPool,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.runtime.block_on(async {
            let mut connection = pool
                .acquire()
                .await
                .map_err(|error| self.explain(what, error.into()))?;
            match timeout(CALL_TIME_MAX, work(&mut connection)).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(failure)) => {
                    if !settle(&mut connection, &failure).await {
                        connection.close_on_drop();
                    }
                    Err(self.explain(what, failure))
                }
                Err(_) => {
                    connection.close_on_drop();
                    Err(self.no_answer(what, CALL_TIME_MAX))
                }
            }
        })
    }

    /// The error as the person who runs the host needs it.
    pub(super) fn explain(&self, what: &str, failure: Failure) -> StoreError {
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::Sql(error) => error,
        };
        let place = format!("the read tables at {} failed while {what}", self.label);
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => {
                    StoreError::Unavailable(format!("{place}: {error}. Is the server running and reachable?"))
                }
                sqlx::Error::Configuration(_) => {
                    StoreError::Invalid(format!("{place}: {error}. Check the URL in the configuration"))
                }
                error => StoreError::Internal(format!("{place}: {error}")),
            };
        };
        let code = database.code().unwrap_or_default().into_owned();
        let mut text = database.message().to_owned();
        if let Some(detail) = database
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .and_then(sqlx::postgres::PgDatabaseError::detail)
        {
            text = format!("{text} ({detail})");
        }
        let said = format!("{place}: {text} [SQLSTATE {code}]");
        match code.as_str() {
            "53100" => StoreError::Unavailable(format!(
                "{said}. The server's disk is full: free space there; nothing is lost, and it is tried again"
            )),
            "53300" => StoreError::Unavailable(format!(
                "{said}. Raise max_connections on the server, or close other connections"
            )),
            "25006" => StoreError::Unavailable(format!(
                "{said}. The server is read-only (a standby?): point the URL at the primary"
            )),
            "40001" | "40P01" | "55P03" | "57014" | "58030" => {
                StoreError::Unavailable(format!("{said}. It is tried again"))
            }
            _ if code.starts_with("08") || code.starts_with("53") || code.starts_with("57") => {
                StoreError::Unavailable(format!(
                    "{said}. The server is away or short of something; it is tried again"
                ))
            }
            "42501" => StoreError::Invalid(format!(
                "{said}. Grant the user of the URL CREATE on the database and on schema public, or use the \
                 database's owner"
            )),
            "3D000" => StoreError::Invalid(format!("{said}. Create it first, for example with createdb")),
            "2BP01" => StoreError::Invalid(format!("{said}. Drop what is built on it first")),
            _ if code.starts_with("28") => StoreError::Invalid(format!(
                "{said}. Check user and password in the URL, and pg_hba.conf"
            )),
            _ if code.starts_with("22") => StoreError::Invalid(said),
            _ => StoreError::Internal(said),
        }
    }

    fn no_answer(&self, what: &str, waited: Duration) -> StoreError {
        StoreError::Unavailable(format!(
            "the read tables at {} gave no answer for {} s while {what}; the connection is given up, and it is tried \
             again",
            self.label,
            waited.as_secs()
        ))
    }
}

/// Whether the connection can be used again after `failure`; ends an open transaction.
async fn settle(connection: &mut PgConnection, failure: &Failure) -> bool {
    let answered = match failure {
        Failure::Store(_) => true,
        // A fatal error (class 57 from an administrator, class 08) ends the connection; the ROLLBACK then fails.
        Failure::Sql(error) => matches!(error, sqlx::Error::Database(_) | sqlx::Error::RowNotFound),
    };
    // ROLLBACK outside of a transaction is only a warning.
    answered
        && matches!(
            timeout(CONNECT_TIME_MAX, connection.execute("ROLLBACK")).await,
            Ok(Ok(_))
        )
}

/// A connection of its own for one user of it.
pub(super) struct Session {
    database: Arc<Database>,
    connection: Option<PgConnection>,
    /// What waits for the connection, where only plain threads use it; else the shared runtime.
    waiting: Option<Waiting>,
    time_max: Duration,
    has_same_plans: bool,
}

impl Session {
    /// Connects at the first use.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            connection: None,
            waiting: None,
            time_max: CALL_TIME_MAX,
            has_same_plans: false,
        }
    }

    /// For the many small calls of one thread.
    pub(super) fn quick(mut self) -> Self {
        // Without, the shared runtime does as well, a little later.
        self.waiting = Waiting::new().ok();
        self
    }

    /// For statements that are planned once, but in transactions that begin with [`CUSTOM_PLANS`].
    pub(super) fn of_same_plans(mut self) -> Self {
        self.has_same_plans = true;
        self
    }

    /// For work whose time grows with the tables.
    pub(super) fn patient(mut self) -> Self {
        self.time_max = PATIENT_TIME_MAX;
        self
    }

    /// The database that it is for.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Does something on this connection, connecting first if need be. After an error the transaction is rolled back,
    /// or the connection is given up.
    pub(super) fn run<T>(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.attempt(what, work)?
            .map_err(|failure| self.database.explain(what, failure))
    }

    /// As [`Self::run`], but gives what the work failed with, so that the caller can try again.
    pub(super) fn attempt<T>(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Failure>,
    ) -> Result<Result<T, Failure>, StoreError> {
        let database = &self.database;
        let slot = &mut self.connection;
        let (time_max, has_same_plans) = (self.time_max, self.has_same_plans);
        let connect = async || {
            let mut connection = database.connect().await?;
            if has_same_plans {
                connection.execute(SAME_PLANS).await?;
            }
            Ok::<_, sqlx::Error>(connection)
        };
        let work = async {
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => connect()
                    .await
                    .map_err(|error| database.explain(what, error.into()))?,
            };
            match timeout(time_max, work(&mut connection)).await {
                Ok(Ok(value)) => {
                    *slot = Some(connection);
                    Ok(Ok(value))
                }
                Ok(Err(failure)) => {
                    if settle(&mut connection, &failure).await {
                        *slot = Some(connection);
                    }
                    Ok(Err(failure))
                }
                Err(_) => Err(database.no_answer(what, time_max)),
            }
        };
        match &self.waiting {
            Some(waiting) => waiting.block_on(work),
            None => database.runtime.block_on(work),
        }
    }

    /// Whether there is a connection (it may have died since).
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Ends the connection politely, so that the server frees its locks before this returns; in async code, soon after.
    pub(super) fn close(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let closing = async move {
            let _ = timeout(Duration::from_secs(2), async {
                let _ = connection.execute("SELECT pg_advisory_unlock_all()").await;
                let _ = connection.close().await;
            })
            .await;
        };
        if let Some(waiting) = &self.waiting {
            // Nothing else drives it, and async code must not wait: there the server hears of it from the socket.
            if Handle::try_current().is_err() {
                waiting.block_on(closing);
            }
            return;
        }
        if Handle::try_current().is_ok() {
            self.database.runtime.spawn(closing);
        } else {
            self.database.runtime.block_on(closing);
        }
    }
}

/// SQL of the host's own making: identifiers in it are validated and quoted, values are bound.
pub(super) fn own(sql: impl Into<String>) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.into())
}
