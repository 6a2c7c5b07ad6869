//! The switch: one transaction that brings rows and checkpoint level and turns the gate.
//!
//! Readers notice nothing of it: views that both generations share are gated before (see [`super::prepare`]), so that
//! turning the gate is an update of one row. Only names that are new, or go, or break, are made or dropped here.

use std::time::Duration;

use sqlx::{Executor as _, PgConnection};

use super::locks::{self, Patience};
use super::prepare::{self, Plan};
use super::session::{CUSTOM_PLANS, Failure, Session, own};
use super::writer::{Tables, Writer, checkpoint};
use super::{changes, dead_letters, finish, gate, query, views};
use crate::tables::{Flush, StoreError, Switch};

/// How long a row lock of the switch is waited for: as long as the old generation's flush may take.
const ROW_WAIT: Duration = Duration::from_secs(5);

/// Prepares where that was not done, and switches.
pub(super) fn run(writer: &mut Writer, flush: &Flush, switch: &Switch) -> Result<(), StoreError> {
    let (session, tables) = writer.parts();
    if tables.generation.id != switch.to {
        return Err(StoreError::Internal(format!(
            "the writer of {} was asked to switch to {}",
            tables.generation.id, switch.to
        )));
    }
    prepare::prepare(session, switch)?;
    let what = format!("switching {} to generation {}", switch.projection, switch.to);
    locks::retrying(session, &what, Patience::Short, None, async |connection, wait| {
        once(connection, tables, flush, switch, wait).await
    })?;
    note_readers(session, switch);
    Ok(())
}

/// Writes down which transactions were open. If that fails now, [`finish::finish`] does it later, with a larger set.
fn note_readers(session: &mut Session, switch: &Switch) {
    let what = format!("noting the readers during the switch of {}", switch.projection);
    let noted = session.run(&what, async |connection| {
        finish::note_readers(connection, &switch.projection).await
    });
    if let Err(error) = noted {
        tracing::debug!(projection = %switch.projection, %error, "readers are noted later");
    }
}

async fn once(
    connection: &mut PgConnection,
    tables: Tables<'_>,
    flush: &Flush,
    switch: &Switch,
    view_wait: Duration,
) -> Result<(), Failure> {
    // Durable before anybody is told, unlike a flush: a switch that readers saw must not be undone by a crash.
    connection
        .execute(own(format!(
            "BEGIN; {CUSTOM_PLANS}; SET LOCAL synchronous_commit = on"
        )))
        .await?;
    locks::wait_for_locks(connection, ROW_WAIT).await?;
    prepare::check_public(switch, gate(connection, &switch.projection, "FOR UPDATE").await?)?;
    if let Some(from) = switch.from.filter(|_| !switch.from_diverged) {
        let actual = checkpoint(connection, from, "FOR UPDATE").await?.position;
        if actual > flush.to.position {
            let expected = flush.to.position;
            return Err(StoreError::CheckpointMoved {
                generation: from,
                expected,
                actual,
            }
            .into());
        }
    }
    let plan = prepare::plan(connection, switch).await?;
    if let Some(target) = plan.gate.first() {
        return Err(StoreError::Unavailable(format!(
            "the view of {} changed while {} was being switched; the switch is tried again",
            target.name, switch.projection
        ))
        .into());
    }
    locks::wait_for_locks(connection, view_wait).await?;
    change_names(connection, switch, &plan).await?;
    locks::wait_for_locks(connection, ROW_WAIT).await?;
    tables.write(connection, flush).await?;
    dead_letters::check_switch(connection, switch).await?;
    record(connection, switch).await?;
    let tables = plan.to.descriptor.tables.iter().map(|table| table.name.as_str());
    let names: Vec<&str> = tables.chain(plan.remove.iter().map(String::as_str)).collect();
    changes::write_switch(connection, switch, flush.to.position, &names).await?;
    connection.execute("COMMIT").await?;
    Ok(())
}

async fn change_names(connection: &mut PgConnection, switch: &Switch, plan: &Plan) -> Result<(), Failure> {
    for name in plan
        .remove
        .iter()
        .chain(plan.replace.iter().map(|target| &target.name))
    {
        views::drop(connection, name)
            .await
            .map_err(|failure| refuse_dependent(name, failure))?;
    }
    for target in plan.create.iter().chain(&plan.replace) {
        // Gated although it has one branch: a snapshot from before this commit would see the rows half built, and now
        // sees none, as with any table that is younger than the snapshot.
        views::put(
            connection,
            &switch.projection,
            &target.name,
            &target.columns,
            &[&plan.to],
            true,
        )
        .await?;
        query::grant(connection, &target.name).await?;
        views::restore_grants(connection, &target.name).await?;
    }
    Ok(())
}

/// The database's own last word, for something that was made after [`prepare::plan`] looked.
fn refuse_dependent(name: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Sql(sqlx::Error::Database(error)) if error.code().as_deref() == Some("2BP01") => {
            let detail = error
                .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                .and_then(sqlx::postgres::PgDatabaseError::detail)
                .unwrap_or("see pg_depend");
            StoreError::SwitchRefused(format!(
                "the public table {name} has to be dropped, but something is built on it: {detail}. Drop that, \
                 switch, and make it again"
            ))
            .into()
        }
        failure => failure,
    }
}

/// Turns the gate and writes down who is live, who is retired, and what is held.
async fn record(connection: &mut PgConnection, switch: &Switch) -> Result<(), Failure> {
    let projection = switch.projection.as_str();
    sqlx::query(
        "INSERT INTO lamphouse_control.gates (projection, generation) VALUES ($1, $2) \
         ON CONFLICT (projection) DO UPDATE SET generation = EXCLUDED.generation",
    )
    .bind(projection)
    .bind(switch.to.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE lamphouse_control.generations SET state = 'retired', retired_at = $2 WHERE id = $1 AND id <> $3",
    )
    .bind(switch.from.map(|from| from.0))
    .bind(switch.now)
    .bind(switch.to.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE lamphouse_control.generations SET state = 'live', live_at = $2, retired_at = NULL, error = NULL \
         WHERE id = $1",
    )
    .bind(switch.to.0)
    .bind(switch.now)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO lamphouse_control.projections (name, held_generation, held_against, held_since) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET held_generation = EXCLUDED.held_generation, \
         held_against = EXCLUDED.held_against, held_since = EXCLUDED.held_since",
    )
    .bind(projection)
    .bind(switch.hold.as_ref().map(|hold| hold.generation.0))
    .bind(switch.hold.as_ref().map(|hold| hold.against.to_string()))
    .bind(switch.hold.as_ref().map(|hold| hold.since))
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM lamphouse_control.unfinished_switches WHERE projection = $1")
        .bind(projection)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO lamphouse_control.unfinished_switches (projection, from_generation, to_generation) \
         VALUES ($1, $2, $3)",
    )
    .bind(projection)
    .bind(switch.from.map(|from| from.0))
    .bind(switch.to.0)
    .execute(connection)
    .await?;
    Ok(())
}
