//! Row changes: written by flushes and switches, read by whoever subscribes, trimmed in short steps.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::control::{garbled, name};
use super::write::Failure;
use super::{SqliteStore, connect, fault};
use crate::core::clock::Clock;
use crate::core::{GenerationId, PluginName, Position};
use crate::tables::changes::{Entry, JUMP, PAGE_BYTES_MAX, TRIM_STEP_ROWS};
use crate::tables::{ChangeHead, ChangeKind, ChangePage, Changes, RowChange, StoreError};

impl Changes for SqliteStore {
    fn keep_changes(&self, rows_max: u64) -> Result<(), StoreError> {
        let era = run_of_the_machine();
        let rows_max = signed(rows_max);
        let known: (i64, String) = self.look("read the counter of changes", |connection| {
            let sql = "SELECT rows_max, era FROM lamphouse_change_counter";
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        })?;
        if known == (rows_max, era.clone()) {
            return Ok(());
        }
        // Whoever saw changes before a time without any, or before a crash that may have taken some back, reads anew.
        self.change("keep row changes", true, |connection| {
            connection.execute(
                "UPDATE lamphouse_change_counter SET rows_max = ?1, era = ?2, \
                 head = head + CASE WHEN era <> ?2 OR rows_max = 0 THEN ?3 ELSE 0 END",
                params![rows_max, era, signed(JUMP)],
            )?;
            Ok(())
        })
    }

    fn change_head(&self) -> Result<ChangeHead, StoreError> {
        self.read_changes(head)
    }

    fn changes(&self, after: u64, limit: u64) -> Result<ChangePage, StoreError> {
        self.read_changes(|connection| page(connection, after, limit))
    }

    fn trim_changes(&self) -> Result<bool, StoreError> {
        let oldest = "SELECT sequence FROM lamphouse_changes ORDER BY sequence LIMIT 1";
        let keep_from = |head: ChangeHead| signed(head.sequence.saturating_sub(head.rows_max));
        let due = self.read_changes(|connection| {
            let oldest: Option<i64> = connection
                .prepare_cached(oldest)?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(oldest.is_some_and(|oldest| head(connection).is_ok_and(|head| oldest <= keep_from(head))))
        })?;
        if !due {
            return Ok(false);
        }
        self.change("trim row changes", false, |connection| {
            let last = keep_from(head(connection)?);
            let deleted = connection
                .prepare_cached(
                    "DELETE FROM lamphouse_changes WHERE sequence IN \
                     (SELECT sequence FROM lamphouse_changes WHERE sequence <= ?1 ORDER BY sequence LIMIT ?2)",
                )?
                .execute([last, signed(TRIM_STEP_ROWS)])?;
            Ok(deleted as u64 == TRIM_STEP_ROWS)
        })
    }
}

impl SqliteStore {
    /// Reads on a connection for this alone, so that nobody who follows changes waits for control work.
    fn read_changes<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut slot = self.changes.lock();
        let connection = match &mut *slot {
            Some(connection) => connection,
            empty => empty.insert(connect::connect(&self.path, connect::Purpose::Read)?),
        };
        work(connection).map_err(|error| fault(&self.path, "read row changes", &error))
    }
}

/// Which run of the machine this is: a power cut may take back the last commits, which are not synced one by one. Empty
/// where the system does not say.
fn run_of_the_machine() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.unwrap_or_default().trim().to_owned()
}

fn head(connection: &Connection) -> rusqlite::Result<ChangeHead> {
    connection
        .prepare_cached("SELECT head, rows_max FROM lamphouse_change_counter")?
        .query_row([], |row| {
            Ok(ChangeHead {
                sequence: unsigned(row.get(0)?),
                rows_max: unsigned(row.get(1)?),
            })
        })
}

fn page(connection: &Connection, after: u64, limit: u64) -> rusqlite::Result<ChangePage> {
    let mut page = ChangePage {
        head: head(connection)?,
        changes: Vec::new(),
    };
    if page.head.sequence <= after {
        return Ok(page);
    }
    let mut statement = connection.prepare_cached(
        "SELECT sequence, projection, generation, table_name, kind, reason, key, row, position, recorded_at \
         FROM lamphouse_changes WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = statement.query([signed(after), signed(limit)])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let change = read(row)?;
        bytes += change.row.as_ref().map_or(0, String::len) as u64;
        page.changes.push(change);
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(page)
}

fn read(row: &Row<'_>) -> rusqlite::Result<RowChange> {
    let kind: String = row.get(4)?;
    let reason: Option<String> = row.get(5)?;
    Ok(RowChange {
        sequence: unsigned(row.get(0)?),
        projection: name("projection", row.get_ref(1)?.as_str()?)?,
        generation: GenerationId(row.get(2)?),
        table: row.get(3)?,
        kind: ChangeKind::read(&kind, reason.as_deref()).map_err(|_| garbled("kind", &kind))?,
        key: row.get(6)?,
        row: row.get(7)?,
        position: Position::from_i64(row.get(8)?),
        recorded_at: row.get(9)?,
    })
}

/// Writes entries under the next numbers, within a transaction; false where none are kept. With `only_live`, a
/// generation that is not public writes none either. `entries` is asked for them, so many, where they are written.
pub(super) fn write<'a>(
    connection: &Connection,
    projection: &PluginName,
    generation: GenerationId,
    only_live: bool,
    position: Position,
    count: usize,
    entries: impl FnOnce() -> Vec<Entry<'a>>,
) -> Result<bool, Failure> {
    let count = count as i64;
    let taken: Option<i64> = connection
        .prepare_cached(
            "UPDATE lamphouse_change_counter SET head = head + ?1 WHERE rows_max > 0 AND ?1 > 0 \
             AND (?2 IS NULL OR EXISTS (SELECT 1 FROM lamphouse_generations WHERE id = ?2 AND state = 'live')) \
             RETURNING head",
        )?
        .query_row(params![count, only_live.then_some(generation.0)], |row| row.get(0))
        .optional()?;
    let Some(last) = taken else {
        return Ok(false);
    };
    let entries = entries();
    debug_assert_eq!(entries.len() as i64, count, "no number is left out");
    let now = Clock::system().now_micros();
    let mut statement = connection.prepare_cached(
        "INSERT INTO lamphouse_changes (sequence, projection, generation, table_name, kind, reason, key, row, position, \
         recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (sequence, entry) in (last - count + 1..).zip(entries) {
        let (kind, reason) = entry.kind.words();
        statement.execute(params![
            sequence,
            projection.as_str(),
            generation.0,
            entry.table,
            kind,
            reason,
            entry.key,
            entry.row,
            position.as_i64(),
            now
        ])?;
    }
    Ok(true)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
