//! The writing side of one PostgreSQL transaction.

mod memory;

use sqlx::{Executor as _, PgConnection, Row as _};
use uuid::Uuid;

use self::memory::Memory;
use super::{Server, timed};
use crate::log::group::{Backend, Failure, cursor_is_gone};
use crate::log::plan::{Ask, Counter, Known, KnownEvent, KnownKey, KnownStream, NewKey, Row, Write};
use crate::log::reading::stored_time;
use crate::log::{ImportCursor, LogError};

/// Bytes of one INSERT's rows. Raise it for fewer statements; lower it to save memory on both sides.
const INSERT_BYTES_MAX: usize = 8 << 20;

/// How many groups go by the lock after another process was found to append between a look and its write. Higher spares
/// busy logs of several hosts more writes in vain; lower finds sooner that the others are quiet.
const GROUPS_BY_LOCK: u32 = 32;

/// The one connection that writes, made anew when it broke.
pub(super) struct PostgresWriter {
    server: Server,
    connection: Option<PgConnection>,
    in_transaction: bool,
    /// Groups that go by the lock before the next look without one.
    contended: u32,
    memory: Memory,
}

impl PostgresWriter {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            connection: None,
            in_transaction: false,
            contended: 0,
            memory: Memory::default(),
        }
    }

    /// The first step of a group. A connection that was made before may have died while it was idle; then a new one
    /// tells the truth.
    fn run_first<T>(
        &mut self,
        verb: &str,
        work: impl AsyncFn(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, LogError> {
        if self.connection.is_some() {
            match self.run_open(&work) {
                Some(Err(error)) if is_lost(&error) => self.connection = None,
                Some(result) => return result.map_err(|error| self.server.error(verb, &error)),
                None => {}
            }
        }
        let server = self.server.clone();
        self.connection = Some(server.run(verb, server.connect())?);
        self.run(verb, &work)
    }

    /// One step on the open connection.
    fn run<T>(
        &mut self,
        verb: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, LogError> {
        match self.run_open(work) {
            Some(result) => result.map_err(|error| self.server.error(verb, &error)),
            None => Err(LogError::Unavailable(format!(
                "cannot {verb} {}: the connection was lost",
                self.server.place
            ))),
        }
    }

    /// One step, if there is a connection. What breaks it, or leaves it in the middle of an answer, drops it.
    fn run_open<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Option<Result<T, sqlx::Error>> {
        let connection = self.connection.as_mut()?;
        let result = self.server.block_on(timed(work(connection)));
        if matches!(&result, Err(error) if !matches!(error, sqlx::Error::Database(_))) {
            self.connection = None;
        }
        Some(result)
    }
}

impl Backend for PostgresWriter {
    const IS_FOR_CALLERS: bool = true;

    fn remembered(&mut self, ask: &Ask<'_>) -> Option<(Counter, Known)> {
        // A write is no step to find out by that the connection is gone, or that others append.
        if self.connection.is_none() || self.contended > 0 {
            return None;
        }
        self.memory.recall(ask)
    }

    fn look(&mut self, ask: &Ask<'_>) -> Result<Option<(Counter, Known)>, LogError> {
        if self.contended > 0 {
            self.contended -= 1;
            return Ok(None);
        }
        let (counter, known) = self.run_first("read", async |connection| look(connection, ask).await)?;
        self.memory.looked(ask, counter, &known);
        Ok(Some((counter, known)))
    }

    fn write_at_once(&mut self, from: Counter, write: &Write<'_>) -> Result<bool, Failure> {
        if within_bytes(&write.rows) < write.rows.len() {
            return Ok(false);
        }
        match self.run_open(async |connection| write_at_once(connection, from, write).await) {
            Some(Ok(true)) => {
                self.memory.wrote(write);
                Ok(true)
            }
            Some(Ok(false)) => {
                if !self.memory.missed() {
                    self.contended = GROUPS_BY_LOCK;
                }
                Ok(false)
            }
            Some(Err(error)) => {
                self.memory.forget();
                Err(Failure {
                    // What the server has refused is not in.
                    maybe_committed: is_lost(&error),
                    error: self.server.error("write to", &error),
                })
            }
            None => Ok(false),
        }
    }

    fn begin(&mut self) -> Result<Counter, LogError> {
        self.memory.forget();
        self.in_transaction = true;
        self.run_first("write to", async |connection| lock(connection).await)
    }

    fn known(&mut self, ask: &Ask<'_>) -> Result<Known, LogError> {
        self.run("read", async |connection| read_known(connection, ask).await)
    }

    fn write(&mut self, write: &Write<'_>) -> Result<(), LogError> {
        let (first, mut rest) = write.rows.split_at(within_bytes(&write.rows));
        self.run("write to", async |connection| {
            begin_write(connection, write, first).await
        })?;
        while !rest.is_empty() {
            let (some, later) = rest.split_at(within_bytes(rest));
            self.run("write to", async |connection| {
                bind_events(sqlx::query(INSERT_EVENTS), some)
                    .execute(connection)
                    .await
                    .map(drop)
            })?;
            rest = later;
        }
        Ok(())
    }

    fn has_cursor(&mut self, cursor: &ImportCursor) -> Result<bool, LogError> {
        self.run("read", async |connection| {
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM lamphouse.import_cursors WHERE digest = $1 AND bytes = $2 AND lines = $3)",
            )
            .bind(&cursor.digest)
            .bind(to_i64(cursor.bytes))
            .bind(to_i64(cursor.lines))
            .fetch_one(connection)
            .await
        })
    }

    fn save_cursor(
        &mut self,
        previous: Option<&ImportCursor>,
        cursor: &ImportCursor,
    ) -> Result<(), LogError> {
        let saved = self.run("write to", async |connection| {
                if let Some(previous) = previous {
                    let deleted = sqlx::query(
                        "DELETE FROM lamphouse.import_cursors WHERE digest = $1 AND bytes = $2 AND lines = $3",
                    )
                    .bind(&previous.digest)
                    .bind(to_i64(previous.bytes))
                    .bind(to_i64(previous.lines))
                    .execute(&mut *connection)
                    .await?;
                    if deleted.rows_affected() != 1 {
                        return Ok(false);
                    }
                }
                let inserted = sqlx::query(
                    "INSERT INTO lamphouse.import_cursors (digest, bytes, lines) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                )
                .bind(&cursor.digest)
                .bind(to_i64(cursor.bytes))
                .bind(to_i64(cursor.lines))
                .execute(connection)
                .await?;
                Ok(inserted.rows_affected() == 1)
        })?;
        if saved {
            Ok(())
        } else {
            Err(cursor_is_gone(cursor))
        }
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.run("commit to", async |connection| {
            connection.execute("COMMIT").await.map(drop)
        })?;
        self.in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) {
        if !std::mem::take(&mut self.in_transaction) || self.connection.is_none() {
            return;
        }
        let result = self.run("roll back in", async |connection| {
            connection.execute("ROLLBACK").await.map(drop)
        });
        if result.is_err() {
            // The server rolls back what its client has left.
            self.connection = None;
        }
    }
}

/// Whether the connection is of no more use: not only by an error of the socket, also by a server that shuts down.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
        _ => true,
    }
}

/// Begins, and waits for the counter row. The answer is that of the row as it is once it is ours.
async fn lock(connection: &mut PgConnection) -> Result<Counter, sqlx::Error> {
    let row = sqlx::raw_sql(
        "BEGIN ISOLATION LEVEL READ COMMITTED; \
         SELECT position, (extract(epoch FROM recorded_at) * 1000000)::bigint, \
         CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') \
         THEN set_config('synchronous_commit', 'on', true) END FROM lamphouse.log FOR UPDATE",
    )
    .fetch_one(connection)
    .await?;
    Ok(Counter {
        position: row.try_get(0)?,
        recorded_at: row.try_get(1)?,
    })
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The counter as it is, and what is known of the streams at that moment, in one statement. Keys and ids are looked up
/// later: what of them is new by then came with a counter that has moved.
async fn look(connection: &mut PgConnection, ask: &Ask<'_>) -> Result<(Counter, Known), sqlx::Error> {
    let mut known = Known::default();
    let rows = sqlx::query(
        "SELECT c.position, (extract(epoch FROM c.recorded_at) * 1000000)::bigint, l.id, l.stream_version, l.stream_type \
         FROM lamphouse.log c LEFT JOIN LATERAL (SELECT s.id, e.stream_version, e.stream_type FROM unnest($1::text[]) \
         AS s (id) CROSS JOIN LATERAL (SELECT stream_version, stream_type FROM lamphouse.events e WHERE e.stream_id = s.id \
         ORDER BY stream_version DESC LIMIT 1) e) l ON true",
    )
    .bind(ask.streams.as_slice())
    .fetch_all(&mut *connection)
    .await?;
    let Some(first) = rows.first() else {
        return Err(sqlx::Error::RowNotFound);
    };
    let counter = Counter {
        position: first.try_get(0)?,
        recorded_at: first.try_get(1)?,
    };
    for row in &rows {
        if let Some(id) = row.try_get::<Option<String>, _>(2)? {
            let stream = KnownStream {
                version: row.try_get(3)?,
                stream_type: row.try_get(4)?,
            };
            known.streams.insert(id, stream);
        }
    }
    read_keys_and_ids(connection, ask, &mut known).await?;
    Ok((counter, known))
}

async fn read_known(connection: &mut PgConnection, ask: &Ask<'_>) -> Result<Known, sqlx::Error> {
    let mut known = Known::default();
    let rows = sqlx::query(
        "SELECT s.id, l.stream_version, l.stream_type FROM unnest($1::text[]) AS s (id) CROSS JOIN LATERAL \
         (SELECT stream_version, stream_type FROM lamphouse.events e WHERE e.stream_id = s.id \
          ORDER BY stream_version DESC LIMIT 1) l",
    )
    .bind(ask.streams.as_slice())
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        known.streams.insert(
            row.try_get(0)?,
            KnownStream {
                version: row.try_get(1)?,
                stream_type: row.try_get(2)?,
            },
        );
    }
    read_keys_and_ids(connection, ask, &mut known).await?;
    Ok(known)
}

async fn read_keys_and_ids(
    connection: &mut PgConnection,
    ask: &Ask<'_>,
    known: &mut Known,
) -> Result<(), sqlx::Error> {
    if !ask.keys.is_empty() {
        let (scopes, keys): (Vec<&str>, Vec<&str>) = ask.keys.iter().copied().unzip();
        let rows = sqlx::query(
            "SELECT i.scope, i.key, i.digest, i.position, i.answer FROM unnest($1::text[], $2::text[]) AS k (scope, key) \
             JOIN lamphouse.idempotency i ON i.scope = k.scope AND i.key = k.key",
        )
        .bind(scopes)
        .bind(keys)
        .fetch_all(&mut *connection)
        .await?;
        for row in rows {
            known.keys.insert(
                (row.try_get(0)?, row.try_get(1)?),
                KnownKey {
                    digest: row.try_get(2)?,
                    position: row.try_get(3)?,
                    answer: row.try_get(4)?,
                },
            );
        }
    }
    if !ask.ids.is_empty() {
        let rows = sqlx::query(
            "SELECT id, position, stream_id, stream_type, stream_version, event_type, schema_version::bigint, data, metadata \
             FROM lamphouse.events WHERE id = ANY($1)",
        )
        .bind(ask.ids.as_slice())
        .fetch_all(connection)
        .await?;
        for row in rows {
            known.ids.insert(
                row.try_get::<Uuid, _>(0)?,
                KnownEvent {
                    position: row.try_get(1)?,
                    stream_id: row.try_get(2)?,
                    stream_type: row.try_get(3)?,
                    stream_version: row.try_get(4)?,
                    event_type: row.try_get(5)?,
                    schema_version: row.try_get(6)?,
                    data: row.try_get(7)?,
                    metadata: row.try_get(8)?,
                },
            );
        }
    }
    Ok(())
}

/// How many rows go into one statement: at least one, if there is one.
fn within_bytes(rows: &[Row<'_>]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        bytes += row.data.len() + row.metadata.len();
        bytes <= INSERT_BYTES_MAX
    });
    fits.count().max(1).min(rows.len())
}

const INSERT_EVENTS: &str = "INSERT INTO lamphouse.events (position, id, stream_id, stream_type, stream_version, event_type, \
     schema_version, data, metadata, occurred_at, recorded_at) \
     SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::integer[], \
     $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[])";
/// The counter, and what goes with it: one answer of the server less for each. The trigger on `events` takes no position
/// beyond the counter; it looks when all of the statement is done.
const COUNT_AND_INSERT_EVENTS: &str = "WITH counter AS (UPDATE lamphouse.log SET position = $12, recorded_at = $13) \
     INSERT INTO lamphouse.events (position, id, stream_id, stream_type, stream_version, event_type, \
     schema_version, data, metadata, occurred_at, recorded_at) \
     SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::integer[], \
     $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[])";

/// All of a group in one statement, which commits by itself: counter, keys and events, if the counter is where it was.
/// The commit is durable whatever the session's setting, as with the lock.
const WRITE_AT_ONCE: &str = "WITH counter AS (UPDATE lamphouse.log SET position = $12, recorded_at = $13 WHERE position = $14 \
     AND recorded_at = $20 RETURNING CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') \
     THEN set_config('synchronous_commit', 'on', true) END AS durable), \
     keys AS (INSERT INTO lamphouse.idempotency (scope, key, digest, position, answer) \
     SELECT k.* FROM counter, unnest($15::text[], $16::text[], $17::bytea[], $18::bigint[], $19::text[]) k) \
     INSERT INTO lamphouse.events (position, id, stream_id, stream_type, stream_version, event_type, \
     schema_version, data, metadata, occurred_at, recorded_at) \
     SELECT e.* FROM counter, unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], \
     $7::integer[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[]) e";

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Moves the counter, and inserts the first rows and all keys.
async fn begin_write(
    connection: &mut PgConnection,
    write: &Write<'_>,
    first: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    bind_events(sqlx::query(COUNT_AND_INSERT_EVENTS), first)
        .bind(write.counter.position)
        .bind(stored_time(write.counter.recorded_at))
        .execute(&mut *connection)
        .await?;
    if write.keys.is_empty() {
        return Ok(());
    }
    insert_keys(connection, write).await
}

/// Binds the eleven columns.
fn bind_events<'q>(statement: Statement<'q>, rows: &[Row<'_>]) -> Statement<'q> {
    fn column<'a, T>(rows: &'a [Row<'a>], value: impl Fn(&'a Row<'a>) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    statement
        .bind(column(rows, |row| row.position))
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.stream_id))
        .bind(column(rows, |row| row.stream_type))
        .bind(column(rows, |row| row.stream_version))
        .bind(column(rows, |row| row.event_type))
        .bind(column(rows, |row| {
            i32::try_from(row.schema_version).unwrap_or(i32::MAX)
        }))
        .bind(column(rows, |row| row.data))
        .bind(column(rows, |row| row.metadata))
        .bind(column(rows, |row| stored_time(row.occurred_at)))
        .bind(column(rows, |row| stored_time(row.recorded_at)))
}

/// Whether it went in.
async fn write_at_once(
    connection: &mut PgConnection,
    from: Counter,
    write: &Write<'_>,
) -> Result<bool, sqlx::Error> {
    let statement = bind_events(sqlx::query(WRITE_AT_ONCE), &write.rows)
        .bind(write.counter.position)
        .bind(stored_time(write.counter.recorded_at))
        .bind(from.position);
    let written = bind_keys(statement, &write.keys)
        .bind(stored_time(from.recorded_at))
        .execute(connection)
        .await?;
    Ok(written.rows_affected() > 0)
}

async fn insert_keys(connection: &mut PgConnection, write: &Write<'_>) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(
        "INSERT INTO lamphouse.idempotency (scope, key, digest, position, answer) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[])",
    );
    bind_keys(statement, &write.keys).execute(connection).await?;
    Ok(())
}

/// Binds the five columns.
fn bind_keys<'q>(statement: Statement<'q>, keys: &[NewKey<'_>]) -> Statement<'q> {
    statement
        .bind(keys.iter().map(|key| key.scope).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.key).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.digest.as_slice()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.position).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.answer.as_str()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
