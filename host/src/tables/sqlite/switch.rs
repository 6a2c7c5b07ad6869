//! Makes another generation public, within the transaction of a flush. Readers of other connections see the views
//! before or after it, never between.

use rusqlite::{Connection, OptionalExtension, params};

use super::control;
use super::write::Failure;
use crate::core::{GenerationId, PluginName};
use crate::tables::ddl::{self, Relation};
use crate::tables::diff::SchemaDiff;
use crate::tables::{Flush, GenerationRecord, GenerationState, StoreError, Switch, physical_names};

/// Refuses what must not be switched.
pub(super) fn check(connection: &Connection, switch: &Switch, flush: &Flush) -> Result<(), Failure> {
    let to = generation(connection, switch.to)?;
    if to.projection != switch.projection {
        return Err(refused(format!(
            "generation {} is one of '{}', not of '{}'",
            to.id, to.projection, switch.projection
        )));
    }
    if matches!(
        to.state,
        GenerationState::Live | GenerationState::Failed | GenerationState::Dropped
    ) {
        let state = control::state_word(to.state);
        return Err(refused(format!(
            "generation {} of '{}' is {state} and cannot be switched to",
            to.id, to.projection
        )));
    }
    let live = live(connection, &switch.projection)?;
    if live != switch.from {
        let shown = |id: Option<GenerationId>| id.map_or("none".to_owned(), |id| id.to_string());
        return Err(refused(format!(
            "the public generation of '{}' is {}, not {}: somebody else switched; look at the status and decide again",
            switch.projection,
            shown(live),
            shown(switch.from)
        )));
    }
    if let Some(from) = switch.from {
        check_replaced(&generation(connection, from)?, &to, switch, flush)?;
    }
    check_names(connection, &to)
}

fn check_replaced(
    from: &GenerationRecord,
    to: &GenerationRecord,
    switch: &Switch,
    flush: &Flush,
) -> Result<(), Failure> {
    if !switch.from_diverged && from.checkpoint.position > flush.to.position {
        return Err(Failure::Store(StoreError::CheckpointMoved {
            generation: from.id,
            expected: flush.to.position,
            actual: from.checkpoint.position,
        }));
    }
    // A generation that was public before may come back without what a later one had brought.
    let goes_back = to.live_at.is_some();
    match SchemaDiff::between(&from.descriptor.tables, &to.descriptor.tables) {
        SchemaDiff::Breaking(changes) if !switch.breaking && !goes_back => Err(refused(format!(
            "'{}' {} changes what readers rely on: {}; say `lamphouse cutover {} --breaking` when they are ready",
            to.projection,
            to.version,
            changes.join(", "),
            to.projection
        ))),
        _ => Ok(()),
    }
}

/// Refuses names that are another projection's or a user's own.
fn check_names(connection: &Connection, to: &GenerationRecord) -> Result<(), Failure> {
    for table in &to.descriptor.tables {
        let name = &table.name;
        let owner: Option<String> = connection
            .prepare_cached("SELECT projection FROM lamphouse_public_tables WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        // What is there under the name: our own view may be replaced, nothing else.
        let kind: Option<String> = connection
            .prepare_cached("SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let ours = owner.as_deref() == Some(to.projection.as_str());
        match (owner, kind) {
            (Some(owner), _) if !ours => {
                return Err(refused(format!(
                    "the public name '{name}' belongs to projection '{owner}': rename the table in one of the plugins"
                )));
            }
            (_, Some(kind)) if !ours || kind != "view" => {
                return Err(refused(format!(
                    "the tables' database has a {kind} '{name}' that is not ours: rename it, or the table in plugin '{}'",
                    to.projection
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Points the public names at the new generation and records it. Gives the names that it concerns: those that are
/// public now, and those that went.
pub(super) fn make_public(connection: &Connection, switch: &Switch) -> Result<Vec<String>, Failure> {
    let to = generation(connection, switch.to)?;
    let old = public_names(connection, &switch.projection)?;
    let dependants = working_views(connection)?;
    for name in &old {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {}", ddl::quote(name)))?;
    }
    connection.execute(
        "DELETE FROM lamphouse_public_tables WHERE projection = ?1",
        [switch.projection.as_str()],
    )?;
    let physical = physical_names(to.id, &to.descriptor.tables)?;
    for (table, physical) in to.descriptor.tables.iter().zip(&physical) {
        let view = ddl::create_view(Relation::named(&table.name), Relation::named(physical), table);
        connection.execute_batch(&view)?;
        connection.execute(
            "INSERT INTO lamphouse_public_tables (name, projection, generation) VALUES (?1, ?2, ?3)",
            params![table.name, switch.projection.as_str(), to.id.0],
        )?;
    }
    check_dependants(connection, &dependants, &to)?;
    record(connection, switch)?;
    let mut names: Vec<String> = to
        .descriptor
        .tables
        .iter()
        .map(|table| table.name.clone())
        .collect();
    names.extend(old.into_iter().filter(|old| {
        let tables = &to.descriptor.tables;
        !tables.iter().any(|table| table.name.eq_ignore_ascii_case(old))
    }));
    Ok(names)
}

/// States, times and the hold. The old generation steps down first: only one may be live.
fn record(connection: &Connection, switch: &Switch) -> Result<(), Failure> {
    if let Some(from) = switch.from {
        connection.execute(
            "UPDATE lamphouse_generations SET state = 'retired', retired_at = ?2 WHERE id = ?1",
            params![from.0, switch.now],
        )?;
    }
    connection.execute(
        "UPDATE lamphouse_generations SET state = 'live', live_at = ?2, retired_at = NULL, error = NULL WHERE id = ?1",
        params![switch.to.0, switch.now],
    )?;
    control::save_hold(connection, &switch.projection, switch.hold.as_ref())?;
    Ok(())
}

/// Views of the user's own that work now. SQLite resolves names when a view is used, so that a view on top of ours
/// survives ours being made anew, unless a table or column that it uses is gone.
fn working_views(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'view' \
         AND name NOT IN (SELECT name FROM lamphouse_public_tables) ORDER BY name",
    )?;
    let names: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names
        .into_iter()
        .filter(|name| look_at(connection, name).is_ok())
        .collect())
}

fn check_dependants(connection: &Connection, views: &[String], to: &GenerationRecord) -> Result<(), Failure> {
    let broken: Vec<String> = views
        .iter()
        .filter_map(|name| {
            let error = look_at(connection, name).err()?;
            Some(format!("view '{name}' ({error})"))
        })
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(refused(format!(
        "'{}' {} would break what was built on its tables: {}; drop or change that first, then switch again",
        to.projection,
        to.version,
        broken.join(", ")
    )))
}

fn look_at(connection: &Connection, view: &str) -> rusqlite::Result<()> {
    connection
        .prepare(&format!("SELECT * FROM {} LIMIT 0", ddl::quote(view)))
        .map(drop)
}

fn public_names(connection: &Connection, projection: &PluginName) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM lamphouse_public_tables WHERE projection = ?1")?;
    let names = statement.query_map([projection.as_str()], |row| row.get(0))?;
    names.collect()
}

fn live(connection: &Connection, projection: &PluginName) -> rusqlite::Result<Option<GenerationId>> {
    connection
        .prepare_cached("SELECT id FROM lamphouse_generations WHERE projection = ?1 AND state = 'live'")?
        .query_row([projection.as_str()], |row| Ok(GenerationId(row.get(0)?)))
        .optional()
}

fn generation(connection: &Connection, id: GenerationId) -> Result<GenerationRecord, Failure> {
    let found = control::generation(connection, id)?;
    found.ok_or_else(|| StoreError::Internal(format!("there is no generation {id}")).into())
}

fn refused(why: String) -> Failure {
    Failure::Store(StoreError::SwitchRefused(why))
}
