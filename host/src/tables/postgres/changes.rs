//! Row changes: written by flushes and switches, read by whoever subscribes, trimmed in steps.
//!
//! *Invariant:* who writes changes first updates the one row of `change_counter`, at the end of its transaction, and holds
//! it until the commit. So numbers become visible in their order, and the row that was waited for says who is public
//! then: a flush that waited behind a switch writes no change of a generation that is public no more.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::PostgresTables;
use super::control::name;
use super::session::{Failure, own};
use super::writer::Query;
use crate::core::clock::Clock;
use crate::core::{GenerationId, PluginName, Position};
use crate::tables::changes::{Entry, JUMP, PAGE_BYTES_MAX, Refetch, TRIM_STEP_ROWS, count, entries};
use crate::tables::{
    ChangeHead, ChangeKind, ChangePage, Changes, Flush, GenerationRecord, RowChange, StoreError, Switch,
};

/// For the statement that moves the checkpoint of generation `$1`: not where changes are to be written.
pub(super) const UNLESS_WRITTEN: &str = " AND NOT EXISTS (SELECT 1 FROM lamphouse_control.change_counter WHERE rows_max > 0 AND $1 = ANY(public))";

/// What every update of the counter sets, but for the numbers that it takes: after a crash of the server, which may have
/// taken commits back, numbers are left out.
const ERA: &str = "CASE WHEN c.era IS NOT DISTINCT FROM lamphouse_control.server_era() THEN 0 ELSE 1000000 END, \
     era = lamphouse_control.server_era()";

const _: () = assert!(JUMP == 1_000_000, "as the statement above has it");

const COLUMNS: &str =
    "sequence, projection, generation, table_name, kind, reason, key, row, position, recorded_at";

impl Changes for PostgresTables {
    fn keep_changes(&self, rows_max: u64) -> Result<(), StoreError> {
        // Whoever saw changes before a time without any reads anew.
        let sql = format!(
            "UPDATE lamphouse_control.change_counter AS c SET rows_max = $1, \
             head = c.head + CASE WHEN c.rows_max = 0 THEN 1000000 ELSE 0 END + {ERA} \
             WHERE c.rows_max <> $1 OR c.era IS DISTINCT FROM lamphouse_control.server_era()"
        );
        self.database.control("keeping row changes", async |connection| {
            sqlx::query(own(&*sql))
                .bind(signed(rows_max))
                .execute(connection)
                .await?;
            Ok(())
        })
    }

    fn change_head(&self) -> Result<ChangeHead, StoreError> {
        self.database
            .query("reading row changes", async |connection| head(connection).await)
    }

    fn changes(&self, after: u64, limit: u64) -> Result<ChangePage, StoreError> {
        self.database.query("reading row changes", async |connection| {
            // The head first: all up to it are visible to the second statement.
            let head = head(connection).await?;
            let changes = if head.sequence > after {
                page(connection, after, limit).await?
            } else {
                Vec::new()
            };
            Ok(ChangePage { head, changes })
        })
    }

    fn trim_changes(&self) -> Result<bool, StoreError> {
        let sql = "DELETE FROM lamphouse_control.changes WHERE sequence IN (SELECT sequence FROM lamphouse_control.changes \
             WHERE sequence <= (SELECT head - rows_max FROM lamphouse_control.change_counter) ORDER BY sequence LIMIT $1)";
        self.database.control("trimming row changes", async |connection| {
            let deleted = sqlx::query(sql)
                .bind(signed(TRIM_STEP_ROWS))
                .execute(connection)
                .await?;
            Ok(deleted.rows_affected() == TRIM_STEP_ROWS)
        })
    }
}

async fn head(connection: &mut PgConnection) -> Result<ChangeHead, Failure> {
    let row = sqlx::query("SELECT head, rows_max FROM lamphouse_control.change_counter")
        .fetch_one(connection)
        .await?;
    Ok(ChangeHead {
        sequence: unsigned(row.try_get(0)?),
        rows_max: unsigned(row.try_get(1)?),
    })
}

async fn page(connection: &mut PgConnection, after: u64, limit: u64) -> Result<Vec<RowChange>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT *, \
           sum(coalesce(octet_length(row), 0)) OVER (ORDER BY sequence) AS bytes, \
           row_number() OVER (ORDER BY sequence) AS place \
         FROM (SELECT * FROM lamphouse_control.changes WHERE sequence > $1 ORDER BY sequence LIMIT $2) AS c) AS c \
         WHERE bytes <= $3 OR place = 1 ORDER BY sequence"
    );
    let rows = sqlx::query(own(sql))
        .bind(signed(after))
        .bind(signed(limit))
        .bind(signed(PAGE_BYTES_MAX))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<RowChange, Failure> {
    Ok(RowChange {
        sequence: unsigned(row.try_get(0)?),
        projection: name(row.try_get(1)?)?,
        generation: GenerationId(row.try_get(2)?),
        table: row.try_get(3)?,
        kind: ChangeKind::read(row.try_get(4)?, row.try_get(5)?)?,
        key: row.try_get(6)?,
        row: row.try_get(7)?,
        position: Position::from_i64(row.try_get(8)?),
        recorded_at: row.try_get(9)?,
    })
}

/// Whether a flush of this generation writes changes.
pub(super) async fn are_written(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<bool, Failure> {
    let sql = "SELECT rows_max > 0 AND $1 = ANY(public) FROM lamphouse_control.change_counter";
    Ok(sqlx::query_scalar(sql)
        .bind(generation.0)
        .fetch_one(connection)
        .await?)
}

/// Entries, column by column, as [`insert`] takes them.
pub(super) struct Columns {
    tables: Vec<String>,
    kinds: Vec<&'static str>,
    reasons: Vec<Option<&'static str>>,
    keys: Vec<Option<String>>,
    rows: Vec<Option<String>>,
}

/// Parameters that [`Columns::bind`] binds.
const PARAMETERS: usize = 9;

impl Columns {
    pub(super) fn of(entries: Vec<Entry<'_>>) -> Self {
        let mut columns = Self {
            tables: entries.iter().map(|entry| entry.table.to_owned()).collect(),
            kinds: entries.iter().map(|entry| entry.kind.words().0).collect(),
            reasons: entries.iter().map(|entry| entry.kind.words().1).collect(),
            keys: Vec::with_capacity(entries.len()),
            rows: Vec::with_capacity(entries.len()),
        };
        for entry in entries {
            columns.keys.push(entry.key);
            columns.rows.push(entry.row);
        }
        columns
    }

    /// Binds them in the order of [`after_moved`] and [`insert`].
    pub(super) fn bind<'q>(
        self,
        query: Query<'q>,
        generation: &'q GenerationRecord,
        position: Position,
    ) -> Query<'q> {
        self.bind_of(query, &generation.projection, generation.id, position)
    }

    fn bind_of<'q>(
        self,
        query: Query<'q>,
        projection: &'q PluginName,
        generation: GenerationId,
        position: Position,
    ) -> Query<'q> {
        query
            .bind(projection.as_str())
            .bind(generation.0)
            .bind(position.as_i64())
            .bind(Clock::system().now_micros())
            .bind(self.tables)
            .bind(self.kinds)
            .bind(self.reasons)
            .bind(self.keys)
            .bind(self.rows)
    }
}

/// `INSERT … SELECT` of [`Columns`] whose first parameter is `$first`, numbered from `before` of the relation `counted` on.
fn insert(first: usize) -> String {
    let at = |place: usize| first + place;
    format!(
        "INSERT INTO lamphouse_control.changes ({COLUMNS}) \
         SELECT counted.before + n.place, ${}::text, ${}::bigint, n.table_name, n.kind, n.reason, n.key, n.row, \
           ${}::bigint, ${}::bigint \
         FROM counted CROSS JOIN unnest(${}::text[], ${}::text[], ${}::text[], ${}::text[], ${}::text[]) \
           WITH ORDINALITY AS n (table_name, kind, reason, key, row, place)",
        at(0),
        at(1),
        at(2),
        at(3),
        at(4),
        at(5),
        at(6),
        at(7),
        at(8),
    )
}

/// Common table expressions that write [`Columns`] (from parameter `$first` on) if `moved` has a row.
pub(super) fn after_moved(first: usize) -> String {
    let taken = format!("cardinality(${}::text[])", first + PARAMETERS - 1);
    format!(
        ", counted AS (UPDATE lamphouse_control.change_counter AS c SET head = c.head + {taken} + {ERA} FROM moved \
         WHERE c.rows_max > 0 AND moved.generation = ANY(c.public) RETURNING c.head - {taken} AS before), \
         changed AS ({})",
        insert(first)
    )
}

/// Writes the changes of a flush, if its generation is public, within a transaction.
pub(super) async fn write_flush(
    connection: &mut PgConnection,
    generation: &GenerationRecord,
    flush: &Flush,
) -> Result<(), Failure> {
    let count = count(flush) as i64;
    if count == 0 {
        return Ok(());
    }
    let sql = format!(
        "UPDATE lamphouse_control.change_counter AS c SET head = c.head + $2 + {ERA} \
         WHERE c.rows_max > 0 AND $1 = ANY(c.public) RETURNING c.head - $2"
    );
    let before: Option<i64> = sqlx::query_scalar(own(sql))
        .bind(generation.id.0)
        .bind(count)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(before) = before else {
        return Ok(());
    };
    let made = entries(&generation.descriptor, flush);
    put(
        connection,
        before,
        &generation.projection,
        generation.id,
        flush.to.position,
        made,
    )
    .await
}

/// Records who is public, and writes a mark for each name that a switch concerns, within its transaction.
pub(super) async fn write_switch(
    connection: &mut PgConnection,
    switch: &Switch,
    position: Position,
    names: &[&str],
) -> Result<(), Failure> {
    let sql = format!(
        "UPDATE lamphouse_control.change_counter AS c \
         SET public = array_append(array_remove(array_remove(c.public, $1::bigint), $2::bigint), $2::bigint), \
             head = c.head + CASE WHEN c.rows_max > 0 THEN $3::bigint ELSE 0 END + {ERA} \
         RETURNING c.head - $3, c.rows_max > 0"
    );
    let row = sqlx::query(own(sql))
        .bind(switch.from.map(|from| from.0))
        .bind(switch.to.0)
        .bind(names.len() as i64)
        .fetch_one(&mut *connection)
        .await?;
    if !row.try_get::<bool, _>(1)? {
        return Ok(());
    }
    let marks: Vec<Entry<'_>> = names
        .iter()
        .map(|name| Entry::mark(name, Refetch::Cutover))
        .collect();
    put(
        connection,
        row.try_get(0)?,
        &switch.projection,
        switch.to,
        position,
        marks,
    )
    .await
}

async fn put(
    connection: &mut PgConnection,
    before: i64,
    projection: &PluginName,
    generation: GenerationId,
    position: Position,
    entries: Vec<Entry<'_>>,
) -> Result<(), Failure> {
    let sql = format!("WITH counted (before) AS (VALUES ($1::bigint)) {}", insert(2));
    let query = sqlx::query(own(sql)).bind(before);
    Columns::of(entries)
        .bind_of(query, projection, generation, position)
        .execute(connection)
        .await?;
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
