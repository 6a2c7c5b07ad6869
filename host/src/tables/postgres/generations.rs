//! A generation's indexes, and its end.

use sqlx::Executor as _;

use super::locks::{self, Patience};
use super::session::{Session, own};
use super::{SCHEMA, control, dead_letters, finish, gate, views};
use crate::core::GenerationId;
use crate::tables::ddl::{self, Dialect, Relation};
use crate::tables::{GenerationRecord, StoreError, physical_names};

/// Makes the declared indexes that are missing. The generation is not public yet, so a plain `CREATE INDEX`, which
/// holds up its own writer alone, is right; other tables are not touched.
pub(super) fn create_indexes(session: &mut Session, generation: &GenerationRecord) -> Result<(), StoreError> {
    let tables = &generation.descriptor.tables;
    for (physical, table) in physical_names(generation.id, tables)?.iter().zip(tables) {
        for index in 0..table.indexes.len() {
            let relation = Relation::within(SCHEMA, physical);
            let sql = ddl::create_index(Dialect::Postgres, relation, table, index);
            session.run(
                &format!("indexing table {} of generation {}", table.name, generation.id),
                async |connection| {
                    connection.execute(own(sql)).await?;
                    Ok(())
                },
            )?;
        }
        // So that the planner knows what was loaded before autovacuum comes by.
        let sql = format!("ANALYZE {}", Relation::within(SCHEMA, physical));
        session.run(
            &format!("analysing table {} of generation {}", table.name, generation.id),
            async |connection| {
                connection.execute(own(sql)).await?;
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Drops the tables one by one. Refused while a view can still show the generation.
pub(super) fn drop_generation(session: &mut Session, id: GenerationId) -> Result<(), StoreError> {
    let what = format!("dropping generation {id}");
    let found = session.run(&what, async |connection| {
        if control::is_dropped(connection, id).await? {
            return Ok(None);
        }
        let generation = control::generation(connection, id).await?;
        if gate(connection, &generation.projection, "").await? == Some(id) {
            return Err(StoreError::Invalid(format!(
                "generation {id} is what {} shows; it cannot be dropped",
                generation.projection
            ))
            .into());
        }
        let last = finish::unfinished(connection, &generation.projection).await?;
        if last.is_some_and(|last| last.involves(id)) {
            return Err(StoreError::Unavailable(format!(
                "generation {id} can still be seen by transactions from before the last switch of {}; it is dropped \
                 when they have ended",
                generation.projection
            ))
            .into());
        }
        let views = views::recorded(connection, Some(&generation.projection)).await?;
        let shown: Vec<String> =
            views.into_iter().filter(|view| view.branches.contains(&id)).map(|view| view.name).collect();
        Ok(Some((generation, shown)))
    })?;
    let Some((generation, shown)) = found else {
        return Ok(());
    };
    // Left by a switch that was prepared and never done: no reader's snapshot has the gate at this generation.
    for name in &shown {
        locks::retrying(
            session,
            &what,
            Patience::Long,
            Some(name),
            async |connection, wait| {
                let last = finish::unfinished(connection, &generation.projection).await?;
                if last.is_some() {
                    return Err(StoreError::Unavailable(format!(
                        "{what} waits for the end of the last switch of {}",
                        generation.projection
                    ))
                    .into());
                }
                finish::make_direct(connection, &generation.projection, name, None, wait).await
            },
        )?;
    }
    for physical in physical_names(id, &generation.descriptor.tables)? {
        let sql = format!("DROP TABLE IF EXISTS {}", Relation::within(SCHEMA, &physical));
        locks::retrying(session, &what, Patience::Long, None, async |connection, wait| {
            connection.execute("BEGIN").await?;
            locks::wait_for_locks(connection, wait).await?;
            connection.execute(own(sql.as_str())).await?;
            connection.execute("COMMIT").await?;
            Ok(())
        })?;
    }
    session.run(&what, async |connection| {
        connection.execute("BEGIN").await?;
        sqlx::query("UPDATE lamphouse_control.generations SET state = 'dropped' WHERE id = $1")
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM lamphouse_control.checkpoints WHERE generation = $1")
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
        dead_letters::forget(connection, id).await?;
        connection.execute("COMMIT").await?;
        Ok(())
    })
}
