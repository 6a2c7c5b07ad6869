//! Dead letters, discards, and what a writer with them in mind must check.

use sqlx::postgres::PgRow;
use sqlx::{Executor as _, PgConnection, Row as _};
use uuid::Uuid;

use super::control::{damaged, digest, name};
use super::session::{Failure, own};
use super::{PostgresTables, generation_ids};
use crate::core::{EventId, GenerationId, PluginName, Position};
use crate::tables::dead_letters::{COLUMNS, DISCARD_COLUMNS, parks_more, storable};
use crate::tables::{
    DeadLetter, DeadLetters, Discard, DiscardQuery, LetterBook, LetterCounts, LetterFlush, LetterQuery,
    StoreError, Switch,
};

impl DeadLetters for PostgresTables {
    fn dead_letters(&self, query: &LetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.database.control("reading dead letters", async |connection| {
            read(connection, query).await
        })
    }

    fn letter_book(&self, generation: GenerationId) -> Result<LetterBook, StoreError> {
        self.database.control("reading dead letters", async |connection| {
            book(connection, generation).await
        })
    }

    fn letter_counts(&self) -> Result<Vec<(GenerationId, LetterCounts)>, StoreError> {
        self.database
            .control("counting dead letters", async |connection| {
                counts(connection).await
            })
    }

    fn parked_beyond(
        &self,
        target: GenerationId,
        other: GenerationId,
    ) -> Result<Option<(DeadLetter, u64)>, StoreError> {
        self.database
            .control("comparing dead letters", async |connection| {
                beyond(connection, target, other).await
            })
    }

    fn save_try(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        self.database
            .control("recording a try of a dead letter", async |connection| {
                save_try(connection, letter).await
            })
    }

    fn discard(&self, discards: &[Discard]) -> Result<u64, StoreError> {
        self.database.control("discarding events", async |connection| {
            connection.execute("BEGIN").await?;
            let mut gone = 0;
            for discard in discards {
                gone += discard_one(connection, discard).await?;
            }
            connection.execute("COMMIT").await?;
            Ok(gone)
        })
    }

    fn discard_page(&self, query: &DiscardQuery) -> Result<Vec<Discard>, StoreError> {
        let (position, projection) = query.after.clone().unwrap_or_default();
        self.database
            .control("reading discarded events", async |connection| {
                let sql = format!(
                    "SELECT {DISCARD_COLUMNS} FROM lamphouse_control.discards \
                     WHERE ($1::text IS NULL OR projection = $1) AND ($2::text IS NULL OR stream_id = $2) \
                     AND (position, projection COLLATE \"C\") > ($3, $4) \
                     ORDER BY position, projection COLLATE \"C\" LIMIT $5"
                );
                let rows = sqlx::query(own(sql))
                    .bind(query.projection.as_ref().map(PluginName::as_str))
                    .bind(query.stream_id.as_deref())
                    .bind(position.as_i64())
                    .bind(&projection)
                    .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(discard_of).collect()
            })
    }
}

/// Parks and releases, within the transaction of a flush.
pub(super) async fn write(
    connection: &mut PgConnection,
    generation: GenerationId,
    flush: &LetterFlush,
) -> Result<(), Failure> {
    if revision(connection, generation).await?.0 != flush.revision {
        return Err(StoreError::LettersMoved { generation }.into());
    }
    if !flush.park.is_empty() {
        park(connection, generation, &flush.park).await?;
    }
    if !flush.release.is_empty() {
        let positions: Vec<i64> = flush.release.iter().map(|position| position.as_i64()).collect();
        sqlx::query(
            "DELETE FROM lamphouse_control.dead_letters WHERE generation = $1 AND position = ANY($2)",
        )
        .bind(generation.0)
        .bind(positions)
        .execute(&mut *connection)
        .await?;
    }
    if !flush.release.is_empty() || flush.reordered_at.is_some() {
        turn_page(connection, generation, flush.reordered_at).await?;
    }
    Ok(())
}

/// Refuses a switch to a generation that lacks an event that the public one has, where nobody has decided on it.
pub(super) async fn check_switch(connection: &mut PgConnection, switch: &Switch) -> Result<(), Failure> {
    match switch.from {
        Some(from) if switch.parks_no_more => match beyond(connection, switch.to, from).await? {
            Some((first, events)) => Err(parks_more(switch.to, &first, events).into()),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Takes what a generation had with it when it is dropped.
pub(super) async fn forget(connection: &mut PgConnection, generation: GenerationId) -> Result<(), Failure> {
    for table in ["dead_letters", "dead_letter_books"] {
        sqlx::query(own(format!(
            "DELETE FROM lamphouse_control.{table} WHERE generation = $1"
        )))
        .bind(generation.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn park(
    connection: &mut PgConnection,
    generation: GenerationId,
    letters: &[DeadLetter],
) -> Result<(), Failure> {
    let text = |of: fn(&DeadLetter) -> String| letters.iter().map(of).collect::<Vec<String>>();
    let number = |of: fn(&DeadLetter) -> i64| letters.iter().map(of).collect::<Vec<i64>>();
    let parts: Vec<Option<i64>> = letters.iter().map(|letter| letter.part.map(i64::from)).collect();
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.event_id.0).collect();
    let behind: Vec<Option<i64>> = letters
        .iter()
        .map(|letter| letter.behind.map(Position::as_i64))
        .collect();
    sqlx::query(own(format!(
        "INSERT INTO lamphouse_control.dead_letters ({COLUMNS}) SELECT $1, * FROM unnest($2::bigint[], $3::text[], \
         $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[], \
         $12::text[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[])"
    )))
    .bind(generation.0)
    .bind(number(|letter| letter.position.as_i64()))
    .bind(text(|letter| letter.projection.to_string()))
    .bind(parts)
    .bind(ids)
    .bind(text(|letter| letter.stream_id.clone()))
    .bind(text(|letter| letter.event_type.clone()))
    .bind(behind)
    .bind(text(|letter| storable(&letter.message).into_owned()))
    .bind(text(|letter| storable(&letter.trace).into_owned()))
    .bind(text(|letter| letter.log.to_string()))
    .bind(text(|letter| letter.digest.to_string()))
    .bind(text(|letter| letter.version.clone()))
    .bind(number(|letter| signed(letter.attempts)))
    .bind(number(|letter| letter.parked_at))
    .bind(number(|letter| letter.tried_at))
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_try(connection: &mut PgConnection, letter: &DeadLetter) -> Result<(), Failure> {
    connection.execute("BEGIN").await?;
    sqlx::query(
        "UPDATE lamphouse_control.dead_letters SET part = $3, event_type = $4, behind = NULL, message = $5, \
         trace = $6, log = $7, digest = $8, version = $9, attempts = $10, tried_at = $11 \
         WHERE generation = $1 AND position = $2",
    )
    .bind(letter.generation.0)
    .bind(letter.position.as_i64())
    .bind(letter.part.map(i64::from))
    .bind(&letter.event_type)
    .bind(storable(&letter.message).into_owned())
    .bind(storable(&letter.trace).into_owned())
    .bind(letter.log.to_string())
    .bind(letter.digest.to_string())
    .bind(&letter.version)
    .bind(signed(letter.attempts))
    .bind(letter.tried_at)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE lamphouse_control.dead_letters SET behind = $2 \
         WHERE generation = $1 AND position > $2 AND stream_id = $3",
    )
    .bind(letter.generation.0)
    .bind(letter.position.as_i64())
    .bind(&letter.stream_id)
    .execute(&mut *connection)
    .await?;
    connection.execute("COMMIT").await?;
    Ok(())
}

async fn discard_one(connection: &mut PgConnection, discard: &Discard) -> Result<u64, Failure> {
    sqlx::query(own(format!(
        "INSERT INTO lamphouse_control.discards ({DISCARD_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (projection, event_id) DO NOTHING"
    )))
    .bind(discard.projection.as_str())
    .bind(discard.event_id.0)
    .bind(discard.position.as_i64())
    .bind(&discard.stream_id)
    .bind(&discard.event_type)
    .bind(&discard.reason)
    .bind(&discard.by)
    .bind(discard.at)
    .bind(storable(&discard.message).into_owned())
    .execute(&mut *connection)
    .await?;
    let generations: Vec<i64> = sqlx::query_scalar(
        "DELETE FROM lamphouse_control.dead_letters WHERE projection = $1 AND event_id = $2 RETURNING generation",
    )
    .bind(discard.projection.as_str())
    .bind(discard.event_id.0)
    .fetch_all(&mut *connection)
    .await?;
    let gone = generations.len() as u64;
    for generation in generation_ids(generations) {
        turn_page(connection, generation, None).await?;
    }
    Ok(gone)
}

async fn turn_page(
    connection: &mut PgConnection,
    generation: GenerationId,
    reordered_at: Option<i64>,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO lamphouse_control.dead_letter_books AS b (generation, revision, reordered_at) VALUES ($1, 1, $2) \
         ON CONFLICT (generation) DO UPDATE SET revision = b.revision + 1, \
         reordered_at = coalesce(EXCLUDED.reordered_at, b.reordered_at)",
    )
    .bind(generation.0)
    .bind(reordered_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// The revision, and when events were last replayed out of order.
async fn revision(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<(u64, Option<i64>), Failure> {
    let row = sqlx::query(
        "SELECT revision, reordered_at FROM lamphouse_control.dead_letter_books WHERE generation = $1",
    )
    .bind(generation.0)
    .fetch_optional(connection)
    .await?;
    Ok(match row {
        Some(row) => (row.try_get::<i64, _>(0)?.unsigned_abs(), row.try_get(1)?),
        None => (0, None),
    })
}

async fn book(connection: &mut PgConnection, generation: GenerationId) -> Result<LetterBook, Failure> {
    // One snapshot for all of it.
    connection
        .execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await?;
    let (revision, reordered_at) = revision(connection, generation).await?;
    let rows = sqlx::query(
        "SELECT stream_id, min(position), count(*) FROM lamphouse_control.dead_letters WHERE generation = $1 \
         GROUP BY stream_id",
    )
    .bind(generation.0)
    .fetch_all(&mut *connection)
    .await?;
    connection.execute("COMMIT").await?;
    let mut streams = Vec::with_capacity(rows.len());
    let mut events = 0;
    for row in &rows {
        streams.push((row.try_get(0)?, Position::from_i64(row.try_get(1)?)));
        events += row.try_get::<i64, _>(2)?.unsigned_abs();
    }
    Ok(LetterBook {
        revision,
        streams,
        events,
        is_reordered: reordered_at.is_some(),
    })
}

async fn counts(connection: &mut PgConnection) -> Result<Vec<(GenerationId, LetterCounts)>, Failure> {
    let rows = sqlx::query(
        "SELECT g.id, coalesce(l.events, 0), coalesce(l.streams, 0), b.reordered_at IS NOT NULL \
         FROM lamphouse_control.generations g LEFT JOIN (SELECT generation, count(*) AS events, \
             count(DISTINCT stream_id) AS streams FROM lamphouse_control.dead_letters GROUP BY generation) l \
             ON l.generation = g.id \
         LEFT JOIN lamphouse_control.dead_letter_books b ON b.generation = g.id \
         WHERE l.events > 0 OR b.reordered_at IS NOT NULL ORDER BY g.id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let counts = LetterCounts {
                events: row.try_get::<i64, _>(1)?.unsigned_abs(),
                streams: row.try_get::<i64, _>(2)?.unsigned_abs(),
                is_reordered: row.try_get(3)?,
            };
            Ok((GenerationId(row.try_get(0)?), counts))
        })
        .collect()
}

async fn beyond(
    connection: &mut PgConnection,
    target: GenerationId,
    other: GenerationId,
) -> Result<Option<(DeadLetter, u64)>, Failure> {
    let beyond = "FROM lamphouse_control.dead_letters t WHERE t.generation = $1 AND NOT EXISTS \
         (SELECT 1 FROM lamphouse_control.dead_letters o WHERE o.generation = $2 AND o.position = t.position)";
    let sql = format!("SELECT {COLUMNS} {beyond} ORDER BY position LIMIT 1");
    let first = sqlx::query(own(sql))
        .bind(target.0)
        .bind(other.0)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(first) = first else { return Ok(None) };
    let count: i64 = sqlx::query_scalar(own(format!("SELECT count(*) {beyond}")))
        .bind(target.0)
        .bind(other.0)
        .fetch_one(connection)
        .await?;
    Ok(Some((letter_of(&first)?, count.unsigned_abs())))
}

async fn read(connection: &mut PgConnection, query: &LetterQuery) -> Result<Vec<DeadLetter>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lamphouse_control.dead_letters WHERE (position, generation) > ($1, $8) \
         AND ($2::text IS NULL OR projection = $2) AND ($3::bigint IS NULL OR generation = $3) \
         AND ($4::text IS NULL OR stream_id = $4) AND ($5::uuid IS NULL OR event_id = $5) \
         AND (NOT $6 OR generation IN (SELECT id FROM lamphouse_control.generations WHERE state <> 'retired')) \
         ORDER BY position, generation LIMIT $7"
    );
    let rows = sqlx::query(own(sql))
        .bind(query.after.as_i64())
        .bind(query.projection.as_ref().map(PluginName::as_str))
        .bind(query.generation.map(|id| id.0))
        .bind(query.stream_id.as_deref())
        .bind(query.event_id.map(|id| id.0))
        .bind(query.skip_retired)
        .bind(signed(query.limit))
        .bind(query.after_generation.map_or(i64::MAX, |id| id.0))
        .fetch_all(connection)
        .await?;
    rows.iter().map(letter_of).collect()
}

fn letter_of(row: &PgRow) -> Result<DeadLetter, Failure> {
    let log: String = row.try_get(10)?;
    let log = serde_json::from_str(&log)
        .map_err(|error| damaged(&format!("a dead letter's log lines do not read: {error}")))?;
    let part: Option<i64> = row.try_get(3)?;
    let behind: Option<i64> = row.try_get(7)?;
    Ok(DeadLetter {
        generation: GenerationId(row.try_get(0)?),
        position: Position::from_i64(row.try_get(1)?),
        projection: name(row.try_get(2)?)?,
        part: part.and_then(|part| u32::try_from(part).ok()),
        event_id: EventId(row.try_get(4)?),
        stream_id: row.try_get(5)?,
        event_type: row.try_get(6)?,
        behind: behind.map(Position::from_i64),
        message: row.try_get(8)?,
        trace: row.try_get(9)?,
        log,
        digest: digest(row.try_get(11)?)?,
        version: row.try_get(12)?,
        attempts: row.try_get::<i64, _>(13)?.unsigned_abs(),
        parked_at: row.try_get(14)?,
        tried_at: row.try_get(15)?,
    })
}

fn discard_of(row: &PgRow) -> Result<Discard, Failure> {
    Ok(Discard {
        projection: name(row.try_get(0)?)?,
        event_id: EventId(row.try_get(1)?),
        position: Position::from_i64(row.try_get(2)?),
        stream_id: row.try_get(3)?,
        event_type: row.try_get(4)?,
        reason: row.try_get(5)?,
        by: row.try_get(6)?,
        at: row.try_get(7)?,
        message: row.try_get(8)?,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
