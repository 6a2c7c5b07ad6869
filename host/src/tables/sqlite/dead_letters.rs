//! Dead letters, discards, and what a writer with them in mind must check.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::control::{digest, garbled, name, uuid};
use super::write::Failure;
use super::{SqliteStore, exists};
use crate::core::{EventId, GenerationId, PluginName, Position};
use crate::tables::dead_letters::{COLUMNS, DISCARD_COLUMNS, parks_more, storable};
use crate::tables::{
    DeadLetter, DeadLetters, Discard, DiscardQuery, LetterBook, LetterCounts, LetterFlush, LetterQuery,
    StoreError, Switch,
};

impl DeadLetters for SqliteStore {
    fn dead_letters(&self, query: &LetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.look("read dead letters", |connection| read(connection, query))
    }

    fn letter_book(&self, generation: GenerationId) -> Result<LetterBook, StoreError> {
        self.look("read dead letters", |connection| book(connection, generation))
    }

    fn letter_counts(&self) -> Result<Vec<(GenerationId, LetterCounts)>, StoreError> {
        self.look("count dead letters", counts)
    }

    fn parked_beyond(
        &self,
        target: GenerationId,
        other: GenerationId,
    ) -> Result<Option<(DeadLetter, u64)>, StoreError> {
        self.look("compare dead letters", |connection| {
            beyond(connection, target, other)
        })
    }

    fn save_try(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        self.change("record a try", true, |connection| {
            connection.execute(
                "UPDATE lamphouse_dead_letters SET part = ?3, event_type = ?4, behind = NULL, message = ?5, trace = ?6, \
                 log = ?7, digest = ?8, version = ?9, attempts = ?10, tried_at = ?11 \
                 WHERE generation = ?1 AND position = ?2",
                params![
                    letter.generation.0,
                    letter.position.as_i64(),
                    letter.part,
                    letter.event_type,
                    letter.message,
                    letter.trace,
                    letter.log.to_string(),
                    letter.digest.to_string(),
                    letter.version,
                    signed(letter.attempts),
                    letter.tried_at,
                ],
            )?;
            connection.execute(
                "UPDATE lamphouse_dead_letters SET behind = ?2 \
                 WHERE generation = ?1 AND position > ?2 AND stream_id = ?3",
                params![letter.generation.0, letter.position.as_i64(), letter.stream_id],
            )?;
            Ok(())
        })
    }

    fn discard(&self, discards: &[Discard]) -> Result<u64, StoreError> {
        self.change("discard events", true, |connection| {
            let mut gone = 0;
            for discard in discards {
                gone += discard_one(connection, discard)?;
            }
            Ok(gone)
        })
    }

    fn discard_page(&self, query: &DiscardQuery) -> Result<Vec<Discard>, StoreError> {
        self.look("read discarded events", |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {DISCARD_COLUMNS} FROM lamphouse_discards \
                 WHERE (?1 IS NULL OR projection = ?1) AND (?2 IS NULL OR stream_id = ?2) \
                 AND (position, projection) > (?3, ?4) ORDER BY position, projection LIMIT ?5"
            ))?;
            let (position, projection) = query.after.clone().unwrap_or_default();
            let asked = params![
                query.projection.as_ref().map(PluginName::as_str),
                query.stream_id,
                position.as_i64(),
                projection,
                i64::try_from(query.limit).unwrap_or(i64::MAX),
            ];
            let rows = statement.query_map(asked, |row| {
                Ok(Discard {
                    projection: name("projection", &row.get::<_, String>(0)?)?,
                    event_id: EventId(uuid("event_id", &row.get::<_, String>(1)?)?),
                    position: Position::from_i64(row.get(2)?),
                    stream_id: row.get(3)?,
                    event_type: row.get(4)?,
                    reason: row.get(5)?,
                    by: row.get(6)?,
                    at: row.get(7)?,
                    message: row.get(8)?,
                })
            })?;
            rows.collect()
        })
    }
}

/// Parks and releases, within the transaction of a flush.
pub(super) fn write(
    connection: &Connection,
    generation: GenerationId,
    flush: &LetterFlush,
) -> Result<(), Failure> {
    if revision(connection, generation)?.0 != flush.revision {
        return Err(StoreError::LettersMoved { generation }.into());
    }
    let mut park = connection.prepare_cached(&format!(
        "INSERT INTO lamphouse_dead_letters ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    ))?;
    for letter in &flush.park {
        park.execute(params![
            generation.0,
            letter.position.as_i64(),
            letter.projection.as_str(),
            letter.part,
            letter.event_id.to_string(),
            letter.stream_id,
            letter.event_type,
            letter.behind.map(Position::as_i64),
            storable(&letter.message),
            storable(&letter.trace),
            letter.log.to_string(),
            letter.digest.to_string(),
            letter.version,
            signed(letter.attempts),
            letter.parked_at,
            letter.tried_at,
        ])?;
    }
    let mut release = connection
        .prepare_cached("DELETE FROM lamphouse_dead_letters WHERE generation = ?1 AND position = ?2")?;
    for position in &flush.release {
        release.execute([generation.0, position.as_i64()])?;
    }
    if !flush.release.is_empty() || flush.reordered_at.is_some() {
        turn_page(connection, generation, flush.reordered_at)?;
    }
    Ok(())
}

/// Refuses a switch to a generation that lacks an event that the public one has, where nobody has decided on it.
pub(super) fn check_switch(connection: &Connection, switch: &Switch) -> Result<(), Failure> {
    match switch.from {
        Some(from) if switch.parks_no_more => match beyond(connection, switch.to, from)? {
            Some((first, events)) => Err(parks_more(switch.to, &first, events).into()),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Takes what a generation had with it when it is dropped.
pub(super) fn forget(connection: &Connection, generation: GenerationId) -> rusqlite::Result<()> {
    // A store that was opened before the tables were there has none to forget.
    if exists(connection, "lamphouse_dead_letters")? {
        for table in ["lamphouse_dead_letters", "lamphouse_dead_letter_books"] {
            connection.execute(
                &format!("DELETE FROM {table} WHERE generation = ?1"),
                [generation.0],
            )?;
        }
    }
    Ok(())
}

fn discard_one(connection: &Connection, discard: &Discard) -> rusqlite::Result<u64> {
    connection.execute(
        &format!(
            "INSERT INTO lamphouse_discards ({DISCARD_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
             ON CONFLICT (projection, event_id) DO NOTHING"
        ),
        params![
            discard.projection.as_str(),
            discard.event_id.to_string(),
            discard.position.as_i64(),
            discard.stream_id,
            discard.event_type,
            discard.reason,
            discard.by,
            discard.at,
            storable(&discard.message),
        ],
    )?;
    let event = [discard.projection.as_str(), &discard.event_id.to_string()];
    let generations: Vec<i64> = connection
        .prepare_cached(
            "SELECT generation FROM lamphouse_dead_letters WHERE projection = ?1 AND event_id = ?2",
        )?
        .query_map(event, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for generation in &generations {
        turn_page(connection, GenerationId(*generation), None)?;
    }
    connection.execute(
        "DELETE FROM lamphouse_dead_letters WHERE projection = ?1 AND event_id = ?2",
        event,
    )?;
    Ok(generations.len() as u64)
}

fn turn_page(
    connection: &Connection,
    generation: GenerationId,
    reordered_at: Option<i64>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO lamphouse_dead_letter_books (generation, revision, reordered_at) VALUES (?1, 1, ?2) \
             ON CONFLICT (generation) DO UPDATE SET revision = revision + 1, \
             reordered_at = coalesce(excluded.reordered_at, reordered_at)",
        )?
        .execute(params![generation.0, reordered_at])?;
    Ok(())
}

/// The revision, and when events were first replayed out of order.
fn revision(connection: &Connection, generation: GenerationId) -> rusqlite::Result<(u64, Option<i64>)> {
    let found = connection
        .prepare_cached(
            "SELECT revision, reordered_at FROM lamphouse_dead_letter_books WHERE generation = ?1",
        )?
        .query_row([generation.0], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn book(connection: &Connection, generation: GenerationId) -> rusqlite::Result<LetterBook> {
    // One snapshot for all of it.
    let transaction = connection.unchecked_transaction()?;
    let (revision, reordered_at) = revision(&transaction, generation)?;
    let mut streams = Vec::new();
    let mut events = 0;
    {
        let mut statement = transaction.prepare_cached(
            "SELECT stream_id, min(position), count(*) FROM lamphouse_dead_letters WHERE generation = ?1 \
             GROUP BY stream_id",
        )?;
        let mut rows = statement.query([generation.0])?;
        while let Some(row) = rows.next()? {
            streams.push((row.get(0)?, Position::from_i64(row.get(1)?)));
            events += row.get::<_, i64>(2)?.unsigned_abs();
        }
    }
    Ok(LetterBook {
        revision,
        streams,
        events,
        is_reordered: reordered_at.is_some(),
    })
}

fn counts(connection: &Connection) -> rusqlite::Result<Vec<(GenerationId, LetterCounts)>> {
    let mut statement = connection.prepare_cached(
        "SELECT g.id, coalesce(l.events, 0), coalesce(l.streams, 0), b.reordered_at IS NOT NULL \
         FROM lamphouse_generations g LEFT JOIN (SELECT generation, count(*) AS events, \
             count(DISTINCT stream_id) AS streams FROM lamphouse_dead_letters GROUP BY generation) l \
             ON l.generation = g.id \
         LEFT JOIN lamphouse_dead_letter_books b ON b.generation = g.id \
         WHERE l.events > 0 OR b.reordered_at IS NOT NULL ORDER BY g.id",
    )?;
    let rows = statement.query_map([], |row| {
        let counts = LetterCounts {
            events: row.get::<_, i64>(1)?.unsigned_abs(),
            streams: row.get::<_, i64>(2)?.unsigned_abs(),
            is_reordered: row.get(3)?,
        };
        Ok((GenerationId(row.get(0)?), counts))
    })?;
    rows.collect()
}

fn beyond(
    connection: &Connection,
    target: GenerationId,
    other: GenerationId,
) -> rusqlite::Result<Option<(DeadLetter, u64)>> {
    let beyond = "FROM lamphouse_dead_letters t WHERE t.generation = ?1 AND NOT EXISTS \
         (SELECT 1 FROM lamphouse_dead_letters o WHERE o.generation = ?2 AND o.position = t.position)";
    let ids = [target.0, other.0];
    let first = connection
        .prepare_cached(&format!("SELECT {COLUMNS} {beyond} ORDER BY position LIMIT 1"))?
        .query_row(ids, letter_of)
        .optional()?;
    let Some(first) = first else { return Ok(None) };
    let count: i64 = connection
        .prepare_cached(&format!("SELECT count(*) {beyond}"))?
        .query_row(ids, |row| row.get(0))?;
    Ok(Some((first, count.unsigned_abs())))
}

fn read(connection: &Connection, query: &LetterQuery) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut sql =
        format!("SELECT {COLUMNS} FROM lamphouse_dead_letters WHERE (position, generation) > (?, ?)");
    let after_generation = query.after_generation.map_or(i64::MAX, |id| id.0);
    let mut values = vec![Value::from(query.after.as_i64()), Value::from(after_generation)];
    let mut only = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(value);
        }
    };
    let text = |text: &str| Value::from(text.to_owned());
    only(
        "projection",
        query.projection.as_ref().map(|name| text(name.as_str())),
    );
    only("generation", query.generation.map(|id| Value::from(id.0)));
    only("stream_id", query.stream_id.as_deref().map(text));
    only("event_id", query.event_id.map(|id| Value::from(id.to_string())));
    if query.skip_retired {
        sql.push_str(" AND generation IN (SELECT id FROM lamphouse_generations WHERE state <> 'retired')");
    }
    sql.push_str(" ORDER BY position, generation LIMIT ?");
    values.push(Value::from(signed(query.limit)));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), letter_of)?;
    rows.collect()
}

fn letter_of(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let log: String = row.get(10)?;
    let behind: Option<i64> = row.get(7)?;
    Ok(DeadLetter {
        generation: GenerationId(row.get(0)?),
        position: Position::from_i64(row.get(1)?),
        projection: name("projection", &row.get::<_, String>(2)?)?,
        part: row.get(3)?,
        event_id: EventId(uuid("event_id", &row.get::<_, String>(4)?)?),
        stream_id: row.get(5)?,
        event_type: row.get(6)?,
        behind: behind.map(Position::from_i64),
        message: row.get(8)?,
        trace: row.get(9)?,
        log: serde_json::from_str(&log).map_err(|_| garbled("log", &log))?,
        digest: digest("digest", &row.get::<_, String>(11)?)?,
        version: row.get(12)?,
        attempts: row.get::<_, i64>(13)?.unsigned_abs(),
        parked_at: row.get(14)?,
        tried_at: row.get(15)?,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
