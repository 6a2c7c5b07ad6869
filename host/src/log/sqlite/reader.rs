//! The hot path of a rebuild: rows go from SQLite's page into the packed batch, each text copied once.
//!
//! No plan is left to SQLite's guess: a range is read by position alone, and who wants few of the event types goes by
//! the index on them.

use std::ops::Range;

use lamphouse_contract::packed;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement};
use uuid::Uuid;

use super::{Files, head};
use crate::core::{EventBatch, EventFilter, EventId, Position};
use crate::log::query::{self, Bound, COLUMNS, Columns, column};
use crate::log::reading::{backwards, finish_batch};
use crate::log::route::{Measures, Route, Wanted, Way};
use crate::log::{Head, LogError, LogReader};

/// The next positions of one type.
const LOOK_UP: &str = "SELECT position FROM events INDEXED BY events_by_type \
                       WHERE event_type = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";

/// A reader on a connection of its own.
pub(super) struct SqliteReader {
    files: Files,
    connection: Connection,
    /// None when the filter cannot match.
    route: Option<Route>,
    statements: Statements,
    /// Events that were not as declared, and were read again.
    read_again: u32,
    /// Who is further behind than this does not read in one step with the head: then the way is worth a thought.
    live_positions_max: u64,
}

/// The texts of the statements that read events. What the filter says is bound from place 4 on.
struct Statements {
    condition: String,
    one: String,
    values: Vec<Bound>,
}

impl Statements {
    fn new(filter: &EventFilter) -> Self {
        let mut values = Vec::new();
        let condition = query::condition(filter, |value| {
            values.push(value);
            format!("?{}", values.len() + 3)
        })
        .map_or_else(String::new, |condition| format!(" AND {condition}"));
        Self {
            one: format!("SELECT {COLUMNS} FROM events NOT INDEXED WHERE position = ?1{condition}"),
            condition,
            values,
        }
    }

    fn range(&self, columns: Columns) -> String {
        format!(
            "SELECT {} FROM events NOT INDEXED WHERE position > ?1 AND position <= ?2{} ORDER BY position LIMIT ?3",
            columns.list(),
            self.condition
        )
    }

    fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        for (index, value) in self.values.iter().enumerate() {
            statement.raw_bind_parameter(index + 4, value)?;
        }
        Ok(())
    }
}

/// What a batch may hold.
#[derive(Clone, Copy)]
struct Room {
    events_max: usize,
    bytes_max: usize,
}

impl Room {
    fn is_left(self, batch: &EventBatch) -> bool {
        batch.len() < self.events_max && batch.bytes_len() < self.bytes_max
    }
}

impl SqliteReader {
    pub(super) fn new(files: Files, filter: &EventFilter, measures: Measures) -> Result<Self, LogError> {
        let connection = files.reading()?;
        let possible = query::possible(filter);
        Ok(Self {
            files,
            connection,
            route: possible.as_ref().map(|filter| Route::new(filter, measures)),
            statements: Statements::new(possible.as_ref().unwrap_or(filter)),
            read_again: 0,
            live_positions_max: measures.unasked_positions_max,
        })
    }

    /// The head, and what is new up to it, as of one moment. None: there is too much.
    fn fill_to_head(
        &mut self,
        after: Position,
        room: Room,
        batch: &mut EventBatch,
    ) -> rusqlite::Result<Option<Head>> {
        let head = head(&self.connection)?;
        let new = head.position.0.saturating_sub(after.0);
        if new > self.live_positions_max {
            return Ok(None);
        }
        if new > 0 {
            self.fill(after, head.position, room, batch)?;
        }
        Ok(Some(head))
    }

    fn fill(
        &mut self,
        mut after: Position,
        until: Position,
        room: Room,
        batch: &mut EventBatch,
    ) -> rusqlite::Result<()> {
        let (connection, statements) = (&self.connection, &self.statements);
        let Some(route) = &mut self.route else {
            return Ok(());
        };
        while after < until && room.is_left(batch) {
            after = match route.way(after, until, |wanted| look_up(connection, wanted))? {
                Way::Through { end } => {
                    let columns = Columns::of(batch, self.read_again);
                    self.read_again += go_through(connection, statements, columns, after..end, room, batch)?;
                    end
                }
                Way::By { positions, end } => {
                    go_by(connection, statements, positions, room, batch)?;
                    end
                }
            };
        }
        Ok(())
    }
}

/// The next positions of all wanted types together. What is beyond those that were found already is not looked at.
fn look_up(connection: &Connection, wanted: Wanted<'_>) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(LOOK_UP)?;
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let mut until = wanted.until.as_i64();
    let mut found: Vec<i64> = Vec::new();
    for event_type in wanted.types {
        let mut rows = statement.query((event_type, wanted.after.as_i64(), until, limit))?;
        while let Some(row) = rows.next()? {
            found.push(row.get(0)?);
        }
        found.sort_unstable();
        found.truncate(wanted.limit);
        if let Some(last) = found.last()
            && found.len() == wanted.limit
        {
            until = *last;
        }
    }
    Ok(found)
}

/// Adds what matches after one position and up to another; gives how many events were not as declared, and were read
/// again.
fn go_through(
    connection: &Connection,
    statements: &Statements,
    columns: Columns,
    positions: Range<Position>,
    room: Room,
    batch: &mut EventBatch,
) -> rusqlite::Result<u32> {
    let mut read_again = 0;
    let mut statement = connection.prepare_cached(&statements.range(columns))?;
    statement.raw_bind_parameter(1, positions.start.as_i64())?;
    statement.raw_bind_parameter(2, positions.end.as_i64())?;
    let events_max = i64::try_from(room.events_max - batch.len()).unwrap_or(i64::MAX);
    statement.raw_bind_parameter(3, events_max)?;
    statements.bind(&mut statement)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if !push(row, columns, batch)? {
            let mut one = connection.prepare_cached(&statements.one)?;
            statements.bind(&mut one)?;
            go_to(&mut one, row.get(0)?, batch)?;
            read_again += 1;
        }
        if !room.is_left(batch) {
            break;
        }
    }
    Ok(read_again)
}

/// Adds the event at a position, whole, by the statement for one.
fn go_to(statement: &mut Statement<'_>, position: i64, batch: &mut EventBatch) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, position)?;
    let mut rows = statement.raw_query();
    if let Some(row) = rows.next()? {
        push(row, Columns::ALL, batch)?;
    }
    Ok(())
}

/// Adds what matches at some positions.
fn go_by(
    connection: &Connection,
    statements: &Statements,
    positions: &[i64],
    room: Room,
    batch: &mut EventBatch,
) -> rusqlite::Result<()> {
    // One transaction around all of them: else each takes the locks of its own.
    let transaction = connection.unchecked_transaction()?;
    let mut statement = connection.prepare_cached(&statements.one)?;
    statements.bind(&mut statement)?;
    for position in positions {
        go_to(&mut statement, *position, batch)?;
        if !room.is_left(batch) {
            break;
        }
    }
    drop(statement);
    transaction.finish()
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
        let room = Room {
            events_max,
            // An empty batch would say that nothing is left.
            bytes_max: bytes_max.max(1),
        };
        self.fill(after, until.position, room, batch)
            .map_err(|error| self.files.error("read", &error))?;
        finish_batch(batch, until, events_max, bytes_max);
        Ok(())
    }

    /// In one transaction: each takes locks, and reads the top of the file again once somebody has written.
    fn read_to_head(
        &mut self,
        after: Position,
        events_max: usize,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<Option<Head>, LogError> {
        batch.clear();
        let room = Room {
            events_max,
            bytes_max: bytes_max.max(1),
        };
        let run = |connection: &Connection, sql| connection.prepare_cached(sql)?.execute([]).map(drop);
        let read = run(&self.connection, "BEGIN").and_then(|()| {
            let read = self.fill_to_head(after, room, batch);
            // What is read is read, but a connection must not stay in a transaction.
            run(&self.connection, "COMMIT").and(read)
        });
        let head = read.map_err(|error| self.files.error("read", &error))?;
        if let Some(head) = head {
            finish_batch(batch, head, events_max, bytes_max.max(1));
        }
        Ok(head)
    }
}

/// Adds an event of which these columns were read; false where it is to be read whole.
fn push(row: &Row<'_>, columns: Columns, batch: &mut EventBatch) -> rusqlite::Result<bool> {
    let number = |index| match columns.has(index) {
        true => row.get_ref(index)?.as_i64().map_err(rusqlite::Error::from),
        false => Ok(0),
    };
    let text = |index| match columns.has(index) {
        true => row.get_ref(index)?.as_str().map_err(rusqlite::Error::from),
        false => Ok(""),
    };
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
        id: match columns.has(column::ID) {
            true => id.hyphenated().encode_lower(&mut id_text),
            false => "",
        },
        stream_id: text(2)?,
        stream_type: text(column::STREAM_TYPE)?,
        stream_version: number(column::STREAM_VERSION)?.unsigned_abs(),
        event_type: text(5)?,
        schema_version: u32::try_from(number(column::SCHEMA_VERSION)?).unwrap_or(u32::MAX),
        data: text(column::DATA)?,
        metadata: text(column::METADATA)?,
        occurred_at: number(column::OCCURRED_AT)?,
        recorded_at: number(column::RECORDED_AT)?,
        fields: None,
    };
    if columns == Columns::ALL {
        batch.push_event(position, EventId(id), &event);
        return Ok(true);
    }
    Ok(batch.push_lean(position, EventId(id), &event))
}

#[cfg(test)]
mod tests {
    use lamphouse_contract::Subscription;

    use super::*;
    use crate::config::DatabaseUrl;
    use crate::log::conformance::{Place, filled_unevenly};
    use crate::log::query::Span;
    use crate::log::{EventQuery, query::listing};

    fn filter(types: &[&str]) -> EventFilter {
        EventFilter {
            any_of: types
                .iter()
                .map(|name| Subscription {
                    event_type: Some((*name).to_owned()),
                    stream_type: Some("order".to_owned()),
                    schema_versions: vec![],
                })
                .collect(),
            ..EventFilter::default()
        }
    }

    /// Each step of SQLite's plan, without what it is bound to.
    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get(3).unwrap());
        }
        steps
    }

    #[test]
    fn the_index_serves_rare_types_and_nothing_else() {
        let place = Place::sqlite();
        let (log, _) = filled_unevenly(&place);
        let DatabaseUrl::Sqlite(path) = &place.url else {
            panic!("not SQLite")
        };
        let files = Files {
            path: path.clone(),
            busy_timeout: std::time::Duration::from_secs(1),
        };
        // As it is, and after somebody's ANALYZE.
        for analysis in ["", "ANALYZE"] {
            place.raw(analysis).unwrap();
            let mut reader =
                SqliteReader::new(files.clone(), &filter(&["Rare", "Nothing"]), Measures::default()).unwrap();
            let connection = &reader.connection;
            assert_eq!(
                plan(connection, LOOK_UP),
                ["SEARCH events USING COVERING INDEX events_by_type (event_type=? AND rowid>? AND rowid<?)"]
            );
            assert_eq!(
                plan(connection, &reader.statements.range(Columns::ALL)),
                ["SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]
            );
            assert_eq!(
                plan(connection, &reader.statements.one),
                ["SEARCH events USING INTEGER PRIMARY KEY (rowid=?)"]
            );
            let look = |wanted: Wanted<'_>| look_up(connection, wanted);
            let way = reader
                .route
                .as_mut()
                .unwrap()
                .way(Position::START, Position(6_000), look);
            assert_eq!(
                way,
                Ok(Way::By {
                    positions: &[100, 2_000, 5_900],
                    end: Position(6_000)
                })
            );
            for types in [&["Often"][..], &["Rare", "Common"]] {
                let mut reader =
                    SqliteReader::new(files.clone(), &filter(types), Measures::default()).unwrap();
                let look = |wanted: Wanted<'_>| look_up(&reader.connection, wanted);
                let way = reader
                    .route
                    .as_mut()
                    .unwrap()
                    .way(Position::START, Position(6_000), look);
                assert_eq!(way, Ok(Way::Through { end: Position(6_000) }), "{types:?}");
            }

            let listed = |types: &[&str], stream_type: Option<&str>| {
                let query = EventQuery {
                    event_types: types.iter().map(|name| (*name).to_owned()).collect(),
                    stream_type: stream_type.map(str::to_owned),
                    after: Some(Position(5)),
                    limit: 10,
                    ..EventQuery::default()
                };
                plan(
                    &files.reading().unwrap(),
                    &listing(&query, Span::default(), "events", '?').sql,
                )
            };
            let steps = listed(&["Often", "Rare"], None);
            let by_type = steps
                .iter()
                .filter(|step| step.contains("INDEX events_by_type (event_type=? AND rowid>?)"));
            assert_eq!(by_type.count(), 2, "{steps:?}");
            assert!(
                !steps.iter().any(|step| step.contains("SCAN events")),
                "{steps:?}"
            );
            let steps = listed(&["Often", "Rare"], Some("order"));
            assert_eq!(steps, ["SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"]);
        }
        drop(log);
    }
}
