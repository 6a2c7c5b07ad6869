//! A small flush in one statement, which is its own transaction: of a live event's time, most goes into waiting for
//! answers.

use std::sync::Arc;

use lamphouse_contract::Row;
use sqlx::{PgConnection, Row as _};

use super::changes::{self, Columns};
use super::session::{Failure, own};
use super::writer::{Tables, bind_rows, on_conflict, unnest_rows};
use crate::tables::changes::{count, entries};
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

/// What one statement did.
enum Once {
    /// Nothing: the checkpoint is not where the writer thinks.
    NotMoved,
    /// Rows and checkpoint.
    Written,
    /// And changes.
    WithChanges,
}

impl Tables<'_> {
    /// Moves the checkpoint, if it is where the writer thinks, and only then writes the rows and what changed. A second
    /// writer waits at the checkpoint before it has touched a row, and then finds it moved. `has_changes` is what the
    /// writer knows of whether changes are written; where it is wrong, nothing is written and it is looked up.
    pub(super) async fn write_small(
        self,
        connection: &mut PgConnection,
        flush: &Flush,
        has_changes: &mut Option<bool>,
    ) -> Result<(), Failure> {
        self.goes_forward(flush)?;
        let id = self.generation.id;
        loop {
            let told = match *has_changes {
                _ if count(flush) == 0 => None,
                Some(known) => Some(known),
                None => Some(*has_changes.insert(changes::are_written(connection, id).await?)),
            };
            match self.once(connection, flush, told).await? {
                Once::NotMoved => {}
                Once::WithChanges => return Ok(()),
                Once::Written => {
                    // A flush that would have had changes and wrote none: it is public no more.
                    if told == Some(true) {
                        *has_changes = None;
                    }
                    return Ok(());
                }
            }
            if told != Some(false) || !changes::are_written(connection, id).await? {
                return Err(self.moved(connection, flush).await);
            }
            *has_changes = Some(true);
        }
    }

    /// The statement. With `Some(false)` the checkpoint does not move where changes are to be written.
    async fn once(
        self,
        connection: &mut PgConnection,
        flush: &Flush,
        has_changes: Option<bool>,
    ) -> Result<Once, Failure> {
        // Of each table, the rows that are new and those that are there in one go.
        let mut parts = Vec::with_capacity(flush.tables.len());
        let mut sql = "WITH moved AS (UPDATE lamphouse_control.checkpoints SET position = $2, event_id = $3, log_id = $4 \
             WHERE generation = $1 AND position = $5 AND event_id IS NOT DISTINCT FROM $6 \
               AND log_id IS NOT DISTINCT FROM $7"
            .to_owned();
        if has_changes == Some(false) {
            sql.push_str(changes::UNLESS_WRITTEN);
        }
        sql.push_str(" RETURNING generation)");
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
        let changed = match has_changes {
            Some(true) => Some(Columns::of(entries(&self.generation.descriptor, flush))),
            _ => None,
        };
        if changed.is_some() {
            sql.push_str(&changes::after_moved(parameter));
        }
        // A commit that is lost in a crash of the server is safe to lose: rows and checkpoint are in this one
        // transaction, so the events are simply projected again.
        let counted = if changed.is_some() {
            "(SELECT count(*) FROM counted)"
        } else {
            "0::bigint"
        };
        sql.push_str(&format!(
            " SELECT count(*), {counted}, set_config('synchronous_commit', 'off', true) FROM moved"
        ));
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
        if let Some(changed) = changed {
            query = changed.bind(query, self.generation, flush.to.position);
        }
        let answer = query.fetch_one(&mut *connection).await?;
        Ok(
            match (answer.try_get::<i64, _>(0)?, answer.try_get::<i64, _>(1)?) {
                (1, 1) => Once::WithChanges,
                (1, _) => Once::Written,
                _ => Once::NotMoved,
            },
        )
    }
}
