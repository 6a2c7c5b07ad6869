//! The hot path of a rebuild: rows go from SQLite's page into the packed batch, each text copied once.

use lamphouse_contract::packed;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::Files;
use crate::core::{EventBatch, EventFilter, EventId, Position};
use crate::log::query::{self, Bound, COLUMNS};
use crate::log::reading::{backwards, finish_batch};
use crate::log::{Head, LogError, LogReader};

/// A reader on a connection of its own.
pub(super) struct SqliteReader {
    files: Files,
    connection: Connection,
    sql: String,
    /// Bound from place 4 on.
    values: Vec<Bound>,
    /// Whether the filter can match at all.
    possible: bool,
}

impl SqliteReader {
    pub(super) fn new(files: Files, filter: &EventFilter) -> Result<Self, LogError> {
        let connection = files.reading()?;
        let mut values = Vec::new();
        let possible = query::possible(filter);
        let condition = possible
            .as_ref()
            .and_then(|filter| {
                query::condition(filter, |value| {
                    values.push(value);
                    format!("?{}", values.len() + 3)
                })
            })
            .map_or_else(String::new, |condition| format!(" AND {condition}"));
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE position > ?1 AND position <= ?2{condition} ORDER BY position LIMIT ?3"
        );
        Ok(Self {
            files,
            connection,
            sql,
            values,
            possible: possible.is_some(),
        })
    }

    fn fill(
        &self,
        after: Position,
        until: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(&self.sql)?;
        statement.raw_bind_parameter(1, after.as_i64())?;
        statement.raw_bind_parameter(2, until.as_i64())?;
        statement.raw_bind_parameter(3, i64::try_from(events_max).unwrap_or(i64::MAX))?;
        for (index, value) in self.values.iter().enumerate() {
            statement.raw_bind_parameter(index + 4, value)?;
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            push(row, batch)?;
            if batch.bytes_len() >= bytes_max {
                break;
            }
        }
        Ok(())
    }
}

impl LogReader for SqliteReader {
    fn read(
        &mut self,
        after: Position,
        until: Head,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<(), LogError> {
        batch.clear();
        if after > until.position {
            return Err(backwards(after, until));
        }
        if self.possible && after < until.position {
            self.fill(after, until.position, events_max, bytes_max, batch)
                .map_err(|error| self.files.error("read", &error))?;
        }
        finish_batch(batch, until, events_max, bytes_max);
        Ok(())
    }
}

fn push(row: &Row<'_>, batch: &mut EventBatch) -> rusqlite::Result<()> {
    let number = |index| row.get_ref(index)?.as_i64().map_err(rusqlite::Error::from);
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let position = Position::from_i64(number(0)?);
    let id = match row.get_ref(1)? {
        ValueRef::Blob(bytes) => Uuid::from_slice(bytes).ok(),
        _ => None,
    };
    let id = id
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(1, "id".to_owned(), rusqlite::types::Type::Blob))?;
    let mut id_text = Uuid::encode_buffer();
    let event = packed::Event {
        position: position.0,
        part: 0,
        id: id.hyphenated().encode_lower(&mut id_text),
        stream_id: text(2)?,
        stream_type: text(3)?,
        stream_version: number(4)?.unsigned_abs(),
        event_type: text(5)?,
        schema_version: u32::try_from(number(6)?).unwrap_or(u32::MAX),
        data: text(7)?,
        metadata: text(8)?,
        occurred_at: number(9)?,
        recorded_at: number(10)?,
        fields: None,
    };
    batch.push_event(position, EventId(id), &event);
    Ok(())
}
