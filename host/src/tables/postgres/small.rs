//! A small flush in one statement, which is its own transaction: of a live event's time, most goes into waiting for
//! answers.

use std::sync::Arc;

use lamphouse_contract::Row;
use sqlx::{PgConnection, Row as _};

use super::session::{Failure, own};
use super::writer::{Tables, bind_rows, on_conflict, unnest_rows};
use crate::tables::ddl;
use crate::tables::{Flush, TableFlush};

/// Most rows of a small flush. With more, the other way's answers are lost in the work.
const ROWS_MAX: usize = if cfg!(test) { 1 } else { 1_000 };
/// Parameters of the statement before those of the rows.
const CHECKPOINT_PARAMETERS: usize = 7;

/// Whether one statement can do it: rows to write, few of them, and none to remove.
pub(super) fn fits(flush: &Flush) -> bool {
    let rows = |table: &TableFlush| table.inserts.len() + table.upserts.len();
    flush.letters.is_none()
        && flush.tables.iter().all(|table| table.removes.is_empty())
        && flush.tables.iter().map(rows).sum::<usize>() <= ROWS_MAX
}

impl Tables<'_> {
    /// Moves the checkpoint, if it is where the writer thinks, and only then writes the rows. A second writer waits at
    /// the checkpoint before it has touched a row, and then finds it moved.
    pub(super) async fn write_small(
        self,
        connection: &mut PgConnection,
        flush: &Flush,
    ) -> Result<(), Failure> {
        self.goes_forward(flush)?;
        // Of each table, the rows that are new and those that are there in one go.
        let mut parts = Vec::with_capacity(flush.tables.len());
        let mut sql = "WITH moved AS (UPDATE lamphouse_control.checkpoints SET position = $2, event_id = $3, log_id = $4 \
             WHERE generation = $1 AND position = $5 AND event_id IS NOT DISTINCT FROM $6 \
               AND log_id IS NOT DISTINCT FROM $7 RETURNING generation)"
            .to_owned();
        let mut parameter = CHECKPOINT_PARAMETERS + 1;
        for rows in &flush.tables {
            let all: Vec<Arc<Row>> = rows.inserts.iter().chain(&rows.upserts).cloned().collect();
            if all.is_empty() {
                continue;
            }
            let (table, relation) = self.table(rows)?;
            sql.push_str(&format!(
                ", rows{parameter} AS (INSERT INTO {relation} ({}) SELECT r.* FROM moved CROSS JOIN {} AS r {})",
                ddl::all_columns(table),
                unnest_rows(table, parameter),
                on_conflict(table)
            ));
            parameter += table.columns.len();
            parts.push((table, all));
        }
        // A commit that is lost in a crash of the server is safe to lose: rows and checkpoint are in this one
        // transaction, so the events are simply projected again.
        sql.push_str(" SELECT count(*), set_config('synchronous_commit', 'off', true) FROM moved");
        let mut query = sqlx::query(own(sql))
            .bind(self.generation.id.0)
            .bind(flush.to.position.as_i64())
            .bind(flush.to.event_id.map(|event| event.0))
            .bind(flush.to.log.map(|log| log.0))
            .bind(flush.from.position.as_i64())
            .bind(flush.from.event_id.map(|event| event.0))
            .bind(flush.from.log.map(|log| log.0));
        for (table, rows) in &parts {
            query = bind_rows(query, table, rows)?;
        }
        let moved: i64 = query.fetch_one(&mut *connection).await?.try_get(0)?;
        if moved == 1 {
            return Ok(());
        }
        Err(self.moved(connection, flush).await)
    }
}
