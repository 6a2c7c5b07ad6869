//! Reads in order: a plain prepared query for the few events of live work, COPY for the ranges of a rebuild, and the
//! index on event types for who wants few of them.

use lamphouse_contract::packed;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

use super::copy::{Chunk, Copier, Decoder, Step};
use super::{Server, TABLE, bind_all, heads};
use crate::core::{EventBatch, EventFilter, EventId, Position};
use crate::log::query::{self, Bound, COLUMNS, Columns, READ_AGAIN_MAX};
use crate::log::reading::{backwards, finish_batch};
use crate::log::route::{Measures, Route, Wanted, Way};
use crate::log::{Head, LogError, LogReader};

/// Up to so many positions are live work. A COPY costs some milliseconds more, and half as much an event.
const LIVE_POSITIONS_MAX: u64 = 2_000;
/// Positions of one COPY. Each is one transaction, and a transaction that lasts keeps the server from cleaning up.
const COPY_POSITIONS_MAX: u64 = 100_000;

/// Events fetched by their positions in one query. More ask less often; all of them are in memory at once.
const FETCHED_MAX: usize = 500;

/// The next positions of all wanted types together. The bounds are rows of the index, so that nothing else serves them:
/// the primary key would serve those of the position alone.
const LOOK_UP: &str = "SELECT found.position FROM unnest($4::text[]) AS wanted (event_type) CROSS JOIN LATERAL \
                       (SELECT position FROM lamphouse.events e \
                       WHERE (e.event_type, position) > (wanted.event_type COLLATE \"C\", $1) \
                       AND (e.event_type, position) <= (wanted.event_type COLLATE \"C\", $2) \
                       ORDER BY e.event_type, position LIMIT $3) found ORDER BY found.position LIMIT $3";

/// A reader on connections of its own.
pub(super) struct PostgresReader {
    server: Server,
    /// The condition with placeholders from $4 on, and their values.
    live: (String, Vec<Bound>),
    /// The condition with literals: COPY takes no values.
    literal: String,
    /// None when the filter cannot match.
    route: Option<Route>,
    ranges: Ranges,
    connection: Option<PgConnection>,
    copier: Option<Copier>,
    range: Option<Range>,
    /// Events that were not as declared, and were read again.
    read_again: u32,
}

/// How much is read in which way.
#[derive(Clone, Copy)]
pub(super) struct Ranges {
    pub(super) live_positions_max: u64,
    pub(super) copy_positions_max: u64,
}

impl Default for Ranges {
    fn default() -> Self {
        Self {
            live_positions_max: LIVE_POSITIONS_MAX,
            copy_positions_max: COPY_POSITIONS_MAX,
        }
    }
}

/// A range that is being copied.
struct Range {
    /// What has been read.
    at: Position,
    end: Position,
    columns: Columns,
    decoder: Decoder,
}

impl PostgresReader {
    pub(super) fn new(server: Server, filter: &EventFilter, ranges: Ranges, measures: Measures) -> Self {
        let possible = query::possible(filter);
        let condition = |bind: &mut dyn FnMut(Bound) -> String| {
            possible
                .as_ref()
                .and_then(|filter| query::condition(filter, bind))
                // So written, no index serves it: a range is read by position, whatever the server believes of its types.
                .map_or_else(String::new, |condition| format!(" AND {condition} IS TRUE"))
        };
        let mut values = Vec::new();
        let live = condition(&mut |value| {
            values.push(value);
            format!("${}", values.len() + 3)
        });
        let literal = condition(&mut |value| literal(&value));
        Self {
            live: (live, values),
            literal,
            route: possible.as_ref().map(|filter| Route::new(filter, measures)),
            server,
            ranges,
            connection: None,
            copier: None,
            range: None,
            read_again: 0,
        }
    }

    fn fill(
        &mut self,
        mut after: Position,
        until: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<(), LogError> {
        let fits = |batch: &EventBatch| batch.len() < events_max && batch.bytes_len() < bytes_max;
        if self
            .range
            .as_ref()
            .is_some_and(|range| range.at != after || range.end > until)
        {
            // The rest of a range that nobody wants goes with its connection.
            self.range = None;
            self.copier = None;
        }
        while fits(batch) {
            if self.range.is_none() {
                let left = until.0 - after.0;
                if left == 0 {
                    break;
                }
                if left <= self.ranges.live_positions_max {
                    return self.query(after, until, events_max - batch.len(), bytes_max, batch);
                }
                let (end, positions) = self.way(after, until)?;
                if let Some(positions) = positions {
                    after = self.fetch(&positions, end, events_max, bytes_max, batch)?;
                    continue;
                }
                let end = Position(end.0.min(after.0 + self.ranges.copy_positions_max));
                self.begin_range(after, end, Columns::of(batch, self.read_again));
            }
            after = self.copy(&fits, batch)?;
        }
        Ok(())
    }

    /// How far to go on, and by which positions alone, when not by all.
    fn way(&mut self, after: Position, until: Position) -> Result<(Position, Option<Vec<i64>>), LogError> {
        let (server, connection) = (&self.server, &mut self.connection);
        let Some(route) = &mut self.route else {
            return Ok((until, Some(Vec::new())));
        };
        let way = route.way(after, until, |wanted| {
            on_connection(server, connection, async |open| look_up(open, wanted).await)
        })?;
        Ok(match way {
            Way::Through { end } => (end, None),
            Way::By { positions, end } => {
                let some = positions.len().min(FETCHED_MAX);
                let end = match positions.get(some..) {
                    Some([_, ..]) => Position::from_i64(positions[some - 1]),
                    _ => end,
                };
                (end, Some(positions[..some].to_vec()))
            }
        })
    }

    /// Adds what matches at some positions; gives what has been read, of which `end` is the last.
    fn fetch(
        &mut self,
        positions: &[i64],
        end: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<Position, LogError> {
        if positions.is_empty() {
            return Ok(end);
        }
        let (condition, values) = &self.live;
        let sql = fetched(condition);
        let limit = i64::try_from(events_max - batch.len()).unwrap_or(i64::MAX);
        on_connection(&self.server, &mut self.connection, async |open| {
            let statement = sqlx::query(AssertSqlSafe(sql))
                .bind(positions)
                .bind(end.as_i64())
                .bind(limit);
            push_all(
                &bind_all(statement, values.clone()).fetch_all(open).await?,
                bytes_max,
                batch,
            )
        })?;
        Ok(end)
    }

    fn begin_range(&mut self, after: Position, end: Position, columns: Columns) {
        let copier = self.copier.get_or_insert_with(|| Copier::start(&self.server));
        copier.ask(format!(
            "COPY ({}) TO STDOUT (FORMAT binary)",
            copied(columns, after, end, &self.literal)
        ));
        self.range = Some(Range {
            at: after,
            end,
            columns,
            decoder: Decoder::default(),
        });
    }

    /// Takes from the range until the batch is full or the range is done; gives what has been read.
    fn copy(
        &mut self,
        fits: &dyn Fn(&EventBatch) -> bool,
        batch: &mut EventBatch,
    ) -> Result<Position, LogError> {
        let (Some(range), Some(copier)) = (&mut self.range, &mut self.copier) else {
            return Err(LogError::Internal(
                "a range of the log is read that was not begun".to_owned(),
            ));
        };
        while fits(batch) {
            let step = range
                .decoder
                .step(range.columns, batch)
                .map_err(|error| format!("the copy holds {error}"));
            let problem = match step {
                Ok(Step::Event) => {
                    range.at = batch.position(batch.len() - 1);
                    continue;
                }
                Ok(Step::ReadAgain(position)) => {
                    range.at = position;
                    self.read_again += 1;
                    if self.read_again >= READ_AGAIN_MAX {
                        // The rest of the range is better read whole.
                        self.range = None;
                        self.copier = None;
                    }
                    let room = batch.len() + 1;
                    return self.fetch(&[position.as_i64()], position, room, usize::MAX, batch);
                }
                Ok(Step::More | Step::End) => match self.server.run("read", copier.next()) {
                    Ok(Chunk::Bytes(bytes)) => {
                        range.decoder.feed(bytes);
                        continue;
                    }
                    Ok(Chunk::End) => {
                        let end = range.end;
                        self.range = None;
                        return Ok(end);
                    }
                    Ok(Chunk::Failed(error)) => self.server.error("read", &error),
                    Err(error) => error,
                },
                Err(message) => LogError::Internal(format!("cannot read {}: {message}", self.server.place)),
            };
            self.range = None;
            self.copier = None;
            return Err(problem);
        }
        Ok(range.at)
    }

    /// One plain query.
    fn query(
        &mut self,
        after: Position,
        until: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<(), LogError> {
        let (condition, values) = &self.live;
        let sql = live(condition);
        on_connection(&self.server, &mut self.connection, async |open| {
            let statement = sqlx::query(AssertSqlSafe(sql))
                .bind(after.as_i64())
                .bind(until.as_i64())
                .bind(i64::try_from(events_max).unwrap_or(i64::MAX));
            push_all(
                &bind_all(statement, values.clone()).fetch_all(open).await?,
                bytes_max,
                batch,
            )
        })
    }
}

/// The query of live work.
fn live(condition: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM {TABLE} WHERE position > $1 AND position <= $2{condition} ORDER BY position LIMIT $3"
    )
}

/// The query for some positions. The places of the values are those of [`live`], so that the condition is the same text.
fn fetched(condition: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM {TABLE} WHERE position = ANY($1::bigint[]) AND position <= $2{condition} \
         ORDER BY position LIMIT $3"
    )
}

/// What a range's COPY copies.
fn copied(columns: Columns, after: Position, end: Position, literal: &str) -> String {
    let columns = columns.list();
    format!(
        "SELECT {columns} FROM {TABLE} WHERE position > {after} AND position <= {end}{literal} ORDER BY position"
    )
}

/// One step on a reader's connection, which is made first where there is none, and dropped after a failure.
fn on_connection<T>(
    server: &Server,
    connection: &mut Option<PgConnection>,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> Result<T, LogError> {
    let result = server.run("read", async {
        let open = match connection {
            Some(open) => open,
            None => connection.insert(server.connect().await?),
        };
        work(open).await
    });
    if result.is_err() {
        *connection = None;
    }
    result
}

async fn look_up(connection: &mut PgConnection, wanted: Wanted<'_>) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(LOOK_UP)
        .bind(wanted.after.as_i64())
        .bind(wanted.until.as_i64())
        .bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX))
        .bind(wanted.types)
        .fetch_all(connection)
        .await
}

fn push_all(rows: &[PgRow], bytes_max: usize, batch: &mut EventBatch) -> Result<(), sqlx::Error> {
    for row in rows {
        push(row, batch)?;
        if batch.bytes_len() >= bytes_max {
            break;
        }
    }
    Ok(())
}

/// The head, and the query of live work up to it. Without events there is one row all the same, with the head alone.
fn live_to_head(condition: &str) -> String {
    format!(
        "SELECT e.*, h.position, h.id, h.recorded_at FROM \
         (SELECT position, id, recorded_at FROM {TABLE} ORDER BY position DESC LIMIT 1) h LEFT JOIN LATERAL \
         (SELECT {COLUMNS} FROM {TABLE} WHERE position > $1 AND position <= LEAST(h.position, $2){condition} \
         ORDER BY position LIMIT $3) e ON true ORDER BY e.position"
    )
}

/// How many columns an event has; those of the head are behind them.
const EVENT_COLUMNS: usize = 11;

impl LogReader for PostgresReader {
    fn read_to_head(
        &mut self,
        after: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<Option<Head>, LogError> {
        batch.clear();
        if self.route.is_none() {
            return Ok(None);
        }
        let (condition, values) = &self.live;
        let sql = live_to_head(condition);
        let until = Position(after.0 + self.ranges.live_positions_max);
        let head = on_connection(&self.server, &mut self.connection, async |open| {
            let statement = sqlx::query(AssertSqlSafe(sql))
                .bind(after.as_i64())
                .bind(until.as_i64())
                .bind(i64::try_from(events_max).unwrap_or(i64::MAX));
            let rows = bind_all(statement, values.clone()).fetch_all(open).await?;
            let head = rows
                .first()
                .map(|row| heads::head_of(row, EVENT_COLUMNS))
                .transpose()?;
            let has_events = match rows.first() {
                Some(first) => first.try_get::<Option<i64>, _>(0)?.is_some(),
                None => false,
            };
            if has_events && head.is_some_and(|head| head.position <= until) {
                push_all(&rows, bytes_max.max(1), batch)?;
            }
            Ok(head.unwrap_or(heads::EMPTY))
        })?;
        if head.position > until {
            return Ok(None);
        }
        finish_batch(batch, head, events_max, bytes_max.max(1));
        Ok(Some(head))
    }

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
        if self.route.is_some() {
            // At least 1: an empty batch would say that nothing is left.
            self.fill(after, until.position, events_max, bytes_max.max(1), batch)?;
        }
        finish_batch(batch, until, events_max, bytes_max);
        Ok(())
    }
}

/// A value as SQL text. Safe because the session has `standard_conforming_strings` on: in such a literal only the
/// quote means anything. Texts with U+0000 do not come here.
fn literal(value: &Bound) -> String {
    match value {
        Bound::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Bound::Integer(number) => number.to_string(),
    }
}

fn push(row: &PgRow, batch: &mut EventBatch) -> Result<(), sqlx::Error> {
    let micros = |index| {
        row.try_get::<chrono::DateTime<chrono::Utc>, _>(index)
            .map(|at| at.timestamp_micros())
    };
    let position = Position::from_i64(row.try_get(0)?);
    let id: Uuid = row.try_get(1)?;
    let mut id_text = Uuid::encode_buffer();
    let event = packed::Event {
        position: position.0,
        part: 0,
        id: id.hyphenated().encode_lower(&mut id_text),
        stream_id: row.try_get(2)?,
        stream_type: row.try_get(3)?,
        stream_version: row.try_get::<i64, _>(4)?.unsigned_abs(),
        event_type: row.try_get(5)?,
        schema_version: row.try_get::<i32, _>(6)?.unsigned_abs(),
        data: row.try_get(7)?,
        metadata: row.try_get(8)?,
        occurred_at: micros(9)?,
        recorded_at: micros(10)?,
        fields: None,
    };
    batch.push_event(position, EventId(id), &event);
    Ok(())
}

#[cfg(test)]
mod tests;
