//! The control tables: projections, generations, checkpoints, plugins, public names. Plain functions on a connection,
//! so that a switch uses them inside its own transaction.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::core::{EventId, GenerationId, LogId, PluginDigest, PluginName, Position};
use crate::tables::{
    Checkpoint, GenerationRecord, GenerationState, Hold, PluginRecord, ProjectionRecord, PublicTable,
};

/// A column that holds what we never write.
pub(super) fn garbled(column: &str, text: &str) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(
        format!("the control tables were changed by hand: '{text}' is not what {column} holds").into(),
    )
}

pub(super) fn name(column: &str, text: &str) -> rusqlite::Result<PluginName> {
    PluginName::new(text).map_err(|_| garbled(column, text))
}

pub(super) fn digest(column: &str, text: &str) -> rusqlite::Result<PluginDigest> {
    PluginDigest::parse(text).ok_or_else(|| garbled(column, text))
}

pub(super) fn uuid(column: &str, text: &str) -> rusqlite::Result<Uuid> {
    Uuid::parse_str(text).map_err(|_| garbled(column, text))
}

/// The word that the database holds for a state.
pub(super) fn state_word(state: GenerationState) -> &'static str {
    match state {
        GenerationState::Building => "building",
        GenerationState::Ready => "ready",
        GenerationState::Live => "live",
        GenerationState::Retired => "retired",
        GenerationState::Failed => "failed",
        GenerationState::Dropped => "dropped",
    }
}

fn state(word: &str) -> rusqlite::Result<GenerationState> {
    use GenerationState::{Building, Dropped, Failed, Live, Ready, Retired};
    let all = [Building, Ready, Live, Retired, Failed, Dropped];
    let found = all.into_iter().find(|state| state_word(*state) == word);
    found.ok_or_else(|| garbled("state", word))
}

/// All projections, by name.
pub(super) fn projections(connection: &Connection) -> rusqlite::Result<Vec<ProjectionRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, paused, removed, hold_generation, hold_against, hold_since FROM lamphouse_projections ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        let held = match row.get::<_, Option<i64>>(3)? {
            Some(generation) => Some(Hold {
                generation: GenerationId(generation),
                against: digest("hold_against", &row.get::<_, String>(4)?)?,
                since: row.get(5)?,
            }),
            None => None,
        };
        Ok(ProjectionRecord {
            name: name("name", &row.get::<_, String>(0)?)?,
            paused: row.get(1)?,
            held,
            removed: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// Makes or replaces a projection's record.
pub(super) fn save_projection(connection: &Connection, record: &ProjectionRecord) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO lamphouse_projections (name, paused, removed) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, removed = excluded.removed",
        params![record.name.as_str(), record.paused, record.removed],
    )?;
    save_hold(connection, &record.name, record.held.as_ref())
}

/// Records or clears a rollback's choice; makes the projection's record where there is none.
pub(super) fn save_hold(
    connection: &Connection,
    projection: &PluginName,
    hold: Option<&Hold>,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO lamphouse_projections (name, hold_generation, hold_against, hold_since) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET hold_generation = excluded.hold_generation, \
         hold_against = excluded.hold_against, hold_since = excluded.hold_since",
        params![
            projection.as_str(),
            hold.map(|hold| hold.generation.0),
            hold.map(|hold| hold.against.to_string()),
            hold.map(|hold| hold.since),
        ],
    )?;
    Ok(())
}

const GENERATION: &str = "SELECT g.id, g.projection, g.digest, g.version, g.descriptor, g.state, g.error, g.created_at, \
     g.live_at, g.retired_at, c.position, c.event_id, c.log, g.upcasters \
     FROM lamphouse_generations g JOIN lamphouse_checkpoints c ON c.generation = g.id";

fn generation_of(row: &Row<'_>) -> rusqlite::Result<GenerationRecord> {
    let descriptor: String = row.get(4)?;
    let error: Option<String> = row.get(6)?;
    let upcasters: String = row.get(13)?;
    Ok(GenerationRecord {
        id: GenerationId(row.get(0)?),
        projection: name("projection", &row.get::<_, String>(1)?)?,
        digest: digest("digest", &row.get::<_, String>(2)?)?,
        version: row.get(3)?,
        descriptor: Arc::new(
            serde_json::from_str(&descriptor).map_err(|_| garbled("descriptor", &descriptor))?,
        ),
        upcasters: serde_json::from_str(&upcasters).map_err(|_| garbled("upcasters", &upcasters))?,
        state: state(&row.get::<_, String>(5)?)?,
        error: match error {
            Some(text) => Some(serde_json::from_str(&text).map_err(|_| garbled("error", &text))?),
            None => None,
        },
        checkpoint: checkpoint_of(row, 10)?,
        created_at: row.get(7)?,
        live_at: row.get(8)?,
        retired_at: row.get(9)?,
    })
}

fn checkpoint_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Checkpoint> {
    let event_id: Option<String> = row.get(first + 1)?;
    let log: Option<String> = row.get(first + 2)?;
    Ok(Checkpoint {
        position: Position::from_i64(row.get(first)?),
        event_id: event_id
            .map(|text| uuid("event_id", &text).map(EventId))
            .transpose()?,
        log: log.map(|text| uuid("log", &text).map(LogId)).transpose()?,
    })
}

/// All generations that are not dropped, oldest first.
pub(super) fn generations(connection: &Connection) -> rusqlite::Result<Vec<GenerationRecord>> {
    let sql = format!("{GENERATION} WHERE g.state <> 'dropped' ORDER BY g.id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], generation_of)?;
    rows.collect()
}

/// One generation, dropped ones too.
pub(super) fn generation(
    connection: &Connection,
    id: GenerationId,
) -> rusqlite::Result<Option<GenerationRecord>> {
    let sql = format!("{GENERATION} WHERE g.id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([id.0], generation_of)
        .optional()
}

/// Generations whose physical tables are still there although they are dropped.
pub(super) fn leftovers(connection: &Connection) -> rusqlite::Result<Vec<GenerationRecord>> {
    let sql = format!("{GENERATION} WHERE g.state = 'dropped' AND g.tables_exist ORDER BY g.id");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], generation_of)?;
    rows.collect()
}

/// Makes a generation's record, in state `building`, and gives its id.
pub(super) fn insert_generation(
    connection: &Connection,
    projection: &PluginName,
    digest: &PluginDigest,
    version: &str,
    descriptor: &str,
    upcasters: &str,
    now: i64,
) -> rusqlite::Result<GenerationId> {
    connection.execute(
        "INSERT INTO lamphouse_generations (projection, digest, version, descriptor, upcasters, state, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, 'building', ?6)",
        params![
            projection.as_str(),
            digest.to_string(),
            version,
            descriptor,
            upcasters,
            now
        ],
    )?;
    let id = connection.last_insert_rowid();
    connection.execute(
        "INSERT INTO lamphouse_checkpoints (generation, position) VALUES (?1, 0)",
        [id],
    )?;
    Ok(GenerationId(id))
}

/// Sets state and error; gives whether there is such a generation that is neither dropped nor live.
pub(super) fn set_state(
    connection: &Connection,
    id: GenerationId,
    state: GenerationState,
    error: Option<&serde_json::Value>,
) -> rusqlite::Result<bool> {
    let changed = connection.execute(
        "UPDATE lamphouse_generations SET state = ?2, error = ?3 WHERE id = ?1 AND state NOT IN ('dropped', 'live')",
        params![id.0, state_word(state), error.map(serde_json::Value::to_string)],
    )?;
    Ok(changed == 1)
}

/// Moves a checkpoint, if it is where the caller thinks; gives whether it was.
pub(super) fn move_checkpoint(
    connection: &Connection,
    generation: GenerationId,
    from: &Checkpoint,
    to: &Checkpoint,
) -> rusqlite::Result<bool> {
    let id = |id: Option<EventId>| id.map(|id| id.to_string());
    let log = |log: Option<LogId>| log.map(|log| log.to_string());
    let changed = connection
        .prepare_cached(
            "UPDATE lamphouse_checkpoints SET position = ?2, event_id = ?3, log = ?4 \
             WHERE generation = ?1 AND position = ?5 AND event_id IS ?6 AND log IS ?7",
        )?
        .execute(params![
            generation.0,
            to.position.as_i64(),
            id(to.event_id),
            log(to.log),
            from.position.as_i64(),
            id(from.event_id),
            log(from.log),
        ])?;
    Ok(changed == 1)
}

/// A generation's checkpoint.
pub(super) fn checkpoint(
    connection: &Connection,
    generation: GenerationId,
) -> rusqlite::Result<Option<Checkpoint>> {
    connection
        .prepare_cached("SELECT position, event_id, log FROM lamphouse_checkpoints WHERE generation = ?1")?
        .query_row([generation.0], |row| checkpoint_of(row, 0))
        .optional()
}

/// What is public, by name.
pub(super) fn public_tables(connection: &Connection) -> rusqlite::Result<Vec<PublicTable>> {
    let mut statement = connection
        .prepare_cached("SELECT name, projection, generation FROM lamphouse_public_tables ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        Ok(PublicTable {
            name: row.get(0)?,
            projection: name("projection", &row.get::<_, String>(1)?)?,
            generation: GenerationId(row.get(2)?),
        })
    })?;
    rows.collect()
}

/// Keeps a plugin's bytes; the same digest twice is fine.
pub(super) fn save_plugin(connection: &Connection, record: &PluginRecord) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO lamphouse_plugins (digest, name, version, bytes) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (digest) DO NOTHING",
        params![
            record.digest.to_string(),
            record.name.as_str(),
            record.version,
            record.bytes
        ],
    )?;
    Ok(())
}

/// A kept plugin.
pub(super) fn plugin(
    connection: &Connection,
    wanted: &PluginDigest,
) -> rusqlite::Result<Option<PluginRecord>> {
    connection
        .query_row(
            "SELECT digest, name, version, bytes FROM lamphouse_plugins WHERE digest = ?1",
            [wanted.to_string()],
            |row| {
                Ok(PluginRecord {
                    digest: digest("digest", &row.get::<_, String>(0)?)?,
                    name: name("name", &row.get::<_, String>(1)?)?,
                    version: row.get(2)?,
                    bytes: row.get(3)?,
                })
            },
        )
        .optional()
}
