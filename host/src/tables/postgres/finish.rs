//! After a switch: wait until no transaction is left that began before it, then make the views direct.
//!
//! A REPEATABLE READ transaction whose snapshot is older than the switch still sees the old gate, and so the old
//! generation: its branch and its tables must stay. Which transactions were open is written down right after the
//! switch, as virtual transaction ids, and survives a restart of the host. A prepared transaction has none, and reads
//! no more. Readers on a streaming replica are not seen from here: a REPEATABLE READ transaction there that is older than
//! the switch must have ended before the old tables go, or the replica cancels it.

use std::time::Duration;

use sqlx::{Executor as _, PgConnection, Row as _};

use super::locks::{self, Patience};
use super::session::{Failure, Session};
use super::{control, gate, views};
use crate::core::{GenerationId, PluginName};
use crate::tables::{Finish, StoreError};

/// A switch whose views still ask the gate.
pub(super) struct Unfinished {
    from: Option<GenerationId>,
    to: GenerationId,
    /// When its readers were noted, which also tells it from later switches; None: not yet.
    noted: Option<String>,
}

impl Unfinished {
    /// Whether readers may see this generation through the gate.
    pub(super) fn involves(&self, id: GenerationId) -> bool {
        self.from == Some(id) || self.to == id
    }

    /// Whether readers may see a generation that is neither of these.
    pub(super) fn others(&self, one: Option<GenerationId>, two: GenerationId) -> bool {
        let known = |id: GenerationId| Some(id) == one || id == two;
        !known(self.to) || self.from.is_some_and(|from| !known(from))
    }
}

/// The projection's last switch, if it is not finished.
pub(super) async fn unfinished(
    connection: &mut PgConnection,
    projection: &PluginName,
) -> Result<Option<Unfinished>, Failure> {
    let row = sqlx::query(
        "SELECT from_generation, to_generation, recorded_at::text FROM lamphouse_control.unfinished_switches \
         WHERE projection = $1",
    )
    .bind(projection.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Unfinished {
        from: row.try_get::<Option<i64>, _>(0)?.map(GenerationId),
        to: GenerationId(row.try_get(1)?),
        noted: row.try_get(2)?,
    }))
}

/// Writes down which transactions of this database are open, once a switch. Must run after its commit.
///
/// Transactions that began after the switch may be among them; that only makes the end later. Autovacuum, which has no
/// user, reads no view and may take hours.
pub(super) async fn note_readers(
    connection: &mut PgConnection,
    projection: &PluginName,
) -> Result<(), Failure> {
    sqlx::query(
        "WITH noted AS ( \
             UPDATE lamphouse_control.unfinished_switches \
             SET recorded_at = now(), server_started = pg_postmaster_start_time() \
             WHERE projection = $1 AND recorded_at IS NULL RETURNING projection) \
         INSERT INTO lamphouse_control.earlier_transactions (projection, transaction, pid) \
         SELECT DISTINCT noted.projection, l.virtualtransaction, l.pid \
         FROM noted, pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted \
           AND a.datname = current_database() AND a.usesysid IS NOT NULL AND l.pid <> pg_backend_pid() \
         ON CONFLICT DO NOTHING",
    )
    .bind(projection.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes the projection's views direct, if nobody can be looking at the old generation any more.
pub(super) fn finish(session: &mut Session, projection: &PluginName) -> Result<Finish, StoreError> {
    let what = format!("finishing the switch of {projection}");
    let (noted, readers) = session.run(&what, async |connection| {
        let mut last = unfinished(connection, projection).await?;
        if last.as_ref().is_some_and(|last| last.noted.is_none()) {
            note_readers(connection, projection).await?;
            last = unfinished(connection, projection).await?;
        }
        Ok((
            last.and_then(|last| last.noted),
            earlier_readers(connection, projection).await?,
        ))
    })?;
    if noted.is_none() {
        return Ok(Finish::Done);
    }
    if !readers.is_empty() {
        return Ok(Finish::Waiting(format!(
            "transactions from before the switch are still open: {}",
            readers.join(", ")
        )));
    }
    let gated = session.run(&what, async |connection| {
        let views = views::recorded(connection, Some(projection)).await?;
        Ok(views
            .into_iter()
            .filter(|view| !view.direct)
            .map(|view| view.name)
            .collect::<Vec<_>>())
    })?;
    for name in &gated {
        let direct = locks::retrying(
            session,
            &what,
            Patience::Short,
            Some(name),
            async |connection, wait| make_direct(connection, projection, name, noted.as_deref(), wait).await,
        );
        match direct {
            Ok(()) => {}
            Err(StoreError::Unavailable(why)) => return Ok(Finish::Waiting(why)),
            Err(error) => return Err(error),
        }
    }
    session.run(&what, async |connection| {
        sqlx::query(
            "DELETE FROM lamphouse_control.unfinished_switches WHERE projection = $1 AND recorded_at::text = $2",
        )
        .bind(projection.as_str())
        .bind(noted)
        .execute(connection)
        .await?;
        Ok(())
    })?;
    Ok(Finish::Done)
}

/// Makes a view read the live generation without asking the gate, if the projection's last switch is still the one whose
/// readers were `noted` (None: it is finished).
pub(super) async fn make_direct(
    connection: &mut PgConnection,
    projection: &PluginName,
    name: &str,
    noted: Option<&str>,
    wait: Duration,
) -> Result<(), Failure> {
    connection.execute("BEGIN").await?;
    locks::wait_for_locks(connection, wait).await?;
    // Keeps other switches away until this commits.
    let live = gate(connection, projection, "FOR SHARE")
        .await?
        .ok_or_else(|| StoreError::Internal(format!("{projection} has views and no gate")))?;
    let last = unfinished(connection, projection).await?;
    if last.as_ref().and_then(|last| last.noted.as_deref()) != noted || (noted.is_none() && last.is_some()) {
        return Err(StoreError::Unavailable(format!(
            "{projection} was switched again before its last switch was finished; the end is tried again"
        ))
        .into());
    }
    let live = control::generation(connection, live).await?;
    let columns = views::columns(connection, name).await?;
    views::put(connection, projection, name, &columns, &[&live], false).await?;
    connection.execute("COMMIT").await?;
    Ok(())
}

/// Who of the noted transactions is still open, in words. After a restart of the server, nobody.
async fn earlier_readers(
    connection: &mut PgConnection,
    projection: &PluginName,
) -> Result<Vec<String>, Failure> {
    Ok(sqlx::query_scalar(
        "SELECT format('pid %s (app ''%s''), open for %s s', e.pid, coalesce(a.application_name, ''), \
                       coalesce(extract(epoch FROM now() - a.xact_start)::bigint::text, '?')) \
         FROM lamphouse_control.earlier_transactions e \
         JOIN lamphouse_control.unfinished_switches u ON u.projection = e.projection \
              AND u.server_started = pg_postmaster_start_time() \
         JOIN pg_locks l ON l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' \
              AND l.virtualtransaction = e.transaction AND l.pid = e.pid \
         LEFT JOIN pg_stat_activity a ON a.pid = e.pid \
         WHERE e.projection = $1 ORDER BY a.xact_start LIMIT 5",
    )
    .bind(projection.as_str())
    .fetch_all(connection)
    .await?)
}
