//! One suite for every log: each scenario runs on SQLite and on PostgreSQL.
//!
//! PostgreSQL scenarios need `LAMPHOUSE_TEST_POSTGRES`, an address at which databases may be made; without it they say
//! loudly that they were skipped, and fail under `LAMPHOUSE_TEST_STRICT=1`.

mod append;
mod columns;
mod database;
mod import;
mod read;
mod reserved;
mod route;
mod speed;

pub(super) use read::filled_unevenly;

use std::str::FromStr as _;
use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use uuid::Uuid;

use super::route::Measures;
use super::{AppendRequest, EventLog, ExpectedVersion, IdempotencyKey, LogError, LogReader, StreamAppend};
use crate::config::DatabaseUrl;
use crate::core::clock::Clock;
use crate::core::limits::AppendLimits;
use crate::core::{EventFilter, EventId, NewEvent};

/// Makes a test of each scenario and database.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&crate::log::conformance::Place::sqlite()); })*
        }
        mod postgres {
            $(#[test] fn $name() {
                if let Some(place) = crate::log::conformance::Place::postgres(stringify!($name)) {
                    super::$name(&place);
                }
            })*
        }
    };
}
pub(crate) use scenarios;

/// An empty database of a test's own, gone with it.
pub(super) struct Place {
    runtime: tokio::runtime::Runtime,
    pub(super) url: DatabaseUrl,
    folder: Option<tempfile::TempDir>,
    /// The server's address, and the database to drop.
    drop: Option<(String, String)>,
}

impl Place {
    pub(super) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        Self {
            runtime: runtime(),
            url,
            folder: Some(folder),
            drop: None,
        }
    }

    pub(super) fn postgres(test: &str) -> Option<Self> {
        let Ok(server) = std::env::var("LAMPHOUSE_TEST_POSTGRES") else {
            assert!(
                std::env::var("LAMPHOUSE_TEST_STRICT").as_deref() != Ok("1"),
                "{test} needs LAMPHOUSE_TEST_POSTGRES"
            );
            eprintln!("SKIPPED (no LAMPHOUSE_TEST_POSTGRES): {test}");
            return None;
        };
        let runtime = runtime();
        let database = format!("lamphouse_log_{}", Uuid::new_v4().simple());
        runtime
            .block_on(execute(&server, &format!("CREATE DATABASE {database}")))
            .unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let url = DatabaseUrl::Postgres(format!("{base}/{database}"));
        Some(Self {
            runtime,
            url,
            folder: None,
            drop: Some((server, database)),
        })
    }

    pub(super) fn open(&self) -> Arc<dyn EventLog> {
        self.open_with(&AppendLimits::default(), Clock::system())
    }

    pub(super) fn open_with(&self, limits: &AppendLimits, clock: Clock) -> Arc<dyn EventLog> {
        self.try_open(limits, clock).unwrap()
    }

    pub(super) fn try_open(
        &self,
        limits: &AppendLimits,
        clock: Clock,
    ) -> Result<Arc<dyn EventLog>, LogError> {
        super::open(&self.url, limits, clock, self.runtime.handle().clone())
    }

    /// A reader that decides its way by other measures; on PostgreSQL also with ranges of other lengths (live, copied).
    pub(super) fn reader_with(
        &self,
        filter: &EventFilter,
        ranges: (u64, u64),
        measures: Measures,
    ) -> Box<dyn LogReader> {
        match &self.url {
            DatabaseUrl::Sqlite(path) => super::sqlite::reader_with(path, filter, measures),
            DatabaseUrl::Postgres(url) => {
                let runtime = self.runtime.handle().clone();
                super::postgres::reader_with(url, runtime, filter, ranges, measures)
            }
        }
        .unwrap()
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self.url, DatabaseUrl::Sqlite(_))
    }

    /// What another program could do.
    pub(super) fn raw(&self, sql: &str) -> Result<(), String> {
        match &self.url {
            DatabaseUrl::Sqlite(_) => self
                .rusqlite()
                .execute_batch(sql)
                .map_err(|error| error.to_string()),
            DatabaseUrl::Postgres(url) => self
                .runtime
                .block_on(execute(url, &format!("SET search_path = lamphouse; {sql}")))
                .map_err(|error| error.to_string()),
        }
    }

    /// A SQLite connection of another program.
    pub(super) fn rusqlite(&self) -> rusqlite::Connection {
        let DatabaseUrl::Sqlite(path) = &self.url else {
            panic!("not SQLite")
        };
        rusqlite::Connection::open(path).unwrap()
    }

    /// A PostgreSQL connection of another program.
    pub(super) fn pg(&self) -> sqlx::PgConnection {
        self.runtime.block_on(self.options().connect()).unwrap()
    }

    pub(super) fn options(&self) -> sqlx::postgres::PgConnectOptions {
        let DatabaseUrl::Postgres(url) = &self.url else {
            panic!("not PostgreSQL")
        };
        sqlx::postgres::PgConnectOptions::from_str(url).unwrap()
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// One text from the database.
    pub(super) fn text(&self, sql: &str) -> String {
        match &self.url {
            DatabaseUrl::Sqlite(_) => self.rusqlite().query_row(sql, [], |row| row.get(0)).unwrap(),
            DatabaseUrl::Postgres(_) => {
                let mut connection = self.pg();
                self.block_on(async {
                    connection.execute("SET search_path = lamphouse").await.unwrap();
                    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
                        .fetch_one(&mut connection)
                        .await
                        .unwrap()
                })
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.folder.take());
        if let Some((server, database)) = &self.drop {
            let dropped = self
                .runtime
                .block_on(execute(server, &format!("DROP DATABASE {database} WITH (FORCE)")));
            if let Err(error) = dropped {
                eprintln!("the test database {database} is left behind: {error}");
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn execute(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = sqlx::postgres::PgConnectOptions::from_str(url)?.connect().await?;
    connection.execute(AssertSqlSafe(sql.to_owned())).await?;
    Ok(())
}

pub(super) fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

pub(super) fn event(event_type: &str, data: &str) -> NewEvent {
    NewEvent {
        id: None,
        event_type: event_type.to_owned(),
        schema_version: 1,
        data: json(data),
        metadata: json(r#"{"reason":"because a test says so","user_id":"tester"}"#),
        occurred_at: None,
    }
}

pub(super) fn event_with_id(data: &str) -> NewEvent {
    NewEvent {
        id: Some(EventId(Uuid::now_v7())),
        ..event("Happened", data)
    }
}

pub(super) fn stream(id: &str, expected_version: ExpectedVersion, events: Vec<NewEvent>) -> StreamAppend {
    StreamAppend {
        stream_id: id.to_owned(),
        stream_type: "order".to_owned(),
        expected_version,
        events,
    }
}

pub(super) fn append_to(id: &str, expected_version: ExpectedVersion, count: usize) -> AppendRequest {
    let events = (0..count)
        .map(|index| event("Happened", &format!("{{\"n\":{index}}}")))
        .collect();
    request(vec![stream(id, expected_version, events)])
}

pub(super) fn request(streams: Vec<StreamAppend>) -> AppendRequest {
    AppendRequest {
        streams,
        idempotency: None,
    }
}

pub(super) fn with_key(request: AppendRequest, key: &str) -> AppendRequest {
    AppendRequest {
        idempotency: Some(IdempotencyKey {
            scope: "test".to_owned(),
            key: key.to_owned(),
        }),
        ..request
    }
}

/// Fails unless the request is refused as invalid, with these words.
pub(super) fn check_invalid<T: std::fmt::Debug>(result: Result<T, LogError>, words: &[&str]) {
    match result {
        Err(LogError::Invalid(message)) => {
            for word in words {
                assert!(message.contains(word), "'{word}' is not in: {message}");
            }
        }
        other => panic!("expected Invalid with {words:?}, got {other:?}"),
    }
}
