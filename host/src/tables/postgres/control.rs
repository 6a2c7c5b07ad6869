//! The control records: projections, generations, kept plugins.

use std::sync::Arc;

use lamphouse_contract::Descriptor;
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, PgConnection, Row as _};

use super::SCHEMA;
use super::session::{Failure, own};
use crate::core::{EventId, GenerationId, LogId, PluginDigest, PluginName, Position};
use crate::tables::ddl::{self, Dialect, Relation};
use crate::tables::{
    Checkpoint, GenerationRecord, GenerationState, Hold, PluginRecord, ProjectionRecord, PublicTable,
    StoreError, UpcasterRef, physical_names,
};

const GENERATION: &str = "SELECT g.id, g.projection, g.digest, g.version, g.descriptor::text, g.state, \
    g.error::text, c.position, c.event_id, c.log_id, g.created_at, g.live_at, g.retired_at, \
    g.upcasters::text \
    FROM lamphouse_control.generations g LEFT JOIN lamphouse_control.checkpoints c ON c.generation = g.id";

pub(super) async fn projections(connection: &mut PgConnection) -> Result<Vec<ProjectionRecord>, Failure> {
    let rows = sqlx::query(
        "SELECT name, paused, held_generation, held_against, held_since, removed \
         FROM lamphouse_control.projections ORDER BY name",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(projection).collect()
}

fn projection(row: &PgRow) -> Result<ProjectionRecord, Failure> {
    let held: Option<i64> = row.try_get(2)?;
    Ok(ProjectionRecord {
        name: name(row.try_get(0)?)?,
        paused: row.try_get(1)?,
        held: match held {
            Some(generation) => Some(Hold {
                generation: GenerationId(generation),
                against: digest(row.try_get(3)?)?,
                since: row.try_get(4)?,
            }),
            None => None,
        },
        removed: row.try_get(5)?,
    })
}

pub(super) async fn save_projection(
    connection: &mut PgConnection,
    record: &ProjectionRecord,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO lamphouse_control.projections \
             (name, paused, held_generation, held_against, held_since, removed) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (name) DO UPDATE SET paused = EXCLUDED.paused, held_generation = EXCLUDED.held_generation, \
             held_against = EXCLUDED.held_against, held_since = EXCLUDED.held_since, removed = EXCLUDED.removed",
    )
    .bind(record.name.as_str())
    .bind(record.paused.as_deref())
    .bind(record.held.as_ref().map(|hold| hold.generation.0))
    .bind(record.held.as_ref().map(|hold| hold.against.to_string()))
    .bind(record.held.as_ref().map(|hold| hold.since))
    .bind(record.removed)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn save_plugin(connection: &mut PgConnection, record: &PluginRecord) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO lamphouse_control.plugins (digest, name, version, bytes) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (digest) DO UPDATE SET name = EXCLUDED.name, version = EXCLUDED.version",
    )
    .bind(record.digest.to_string())
    .bind(record.name.as_str())
    .bind(&record.version)
    .bind(&record.bytes)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn plugin(
    connection: &mut PgConnection,
    wanted: &PluginDigest,
) -> Result<Option<PluginRecord>, Failure> {
    let row = sqlx::query("SELECT name, version, bytes FROM lamphouse_control.plugins WHERE digest = $1")
        .bind(wanted.to_string())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let bytes: Vec<u8> = row.try_get(2)?;
    if PluginDigest::of(&bytes) != *wanted {
        return Err(damaged(&format!(
            "the bytes of plugin {} are not those of its digest",
            wanted.short()
        ))
        .into());
    }
    Ok(Some(PluginRecord {
        digest: *wanted,
        name: name(row.try_get(0)?)?,
        version: row.try_get(1)?,
        bytes,
    }))
}

pub(super) async fn generations(connection: &mut PgConnection) -> Result<Vec<GenerationRecord>, Failure> {
    let sql = format!("{GENERATION} WHERE g.state <> 'dropped' ORDER BY g.id");
    let rows = sqlx::query(own(sql)).fetch_all(connection).await?;
    rows.iter().map(read_generation).collect()
}

/// One generation that is not dropped.
pub(super) async fn generation(
    connection: &mut PgConnection,
    id: GenerationId,
) -> Result<GenerationRecord, Failure> {
    let sql = format!("{GENERATION} WHERE g.id = $1 AND g.state <> 'dropped'");
    let row = sqlx::query(own(sql))
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    match row {
        Some(row) => read_generation(&row),
        None => Err(StoreError::Invalid(format!("there is no generation {id}, or it was dropped")).into()),
    }
}

fn read_generation(row: &PgRow) -> Result<GenerationRecord, Failure> {
    let descriptor: String = row.try_get(4)?;
    let descriptor: Descriptor = serde_json::from_str(&descriptor)
        .map_err(|error| damaged(&format!("a generation's descriptor does not read: {error}")))?;
    let upcasters: String = row.try_get(13)?;
    let upcasters = serde_json::from_str(&upcasters)
        .map_err(|error| damaged(&format!("a generation's upcasters do not read: {error}")))?;
    let state: String = row.try_get(5)?;
    let error: Option<String> = row.try_get(6)?;
    let error = error
        .map(|error| serde_json::from_str(&error))
        .transpose()
        .map_err(|error| damaged(&format!("a generation's error does not read: {error}")))?;
    Ok(GenerationRecord {
        id: GenerationId(row.try_get(0)?),
        projection: name(row.try_get(1)?)?,
        digest: digest(row.try_get(2)?)?,
        version: row.try_get(3)?,
        descriptor: Arc::new(descriptor),
        upcasters,
        state: serde_json::from_value(state.into())
            .map_err(|error| damaged(&format!("a generation's state does not read: {error}")))?,
        error,
        checkpoint: Checkpoint {
            position: Position::from_i64(row.try_get::<Option<i64>, _>(7)?.unwrap_or(0)),
            event_id: row.try_get::<Option<_>, _>(8)?.map(EventId),
            log: row.try_get::<Option<_>, _>(9)?.map(LogId),
        },
        created_at: row.try_get(10)?,
        live_at: row.try_get(11)?,
        retired_at: row.try_get(12)?,
    })
}

/// Makes a generation's record and its empty tables, together.
pub(super) async fn create_generation(
    connection: &mut PgConnection,
    projection: &PluginName,
    digest: &PluginDigest,
    version: &str,
    descriptor: &Arc<Descriptor>,
    upcasters: &[UpcasterRef],
    now: i64,
) -> Result<GenerationRecord, Failure> {
    let internal =
        |error: serde_json::Error| StoreError::Internal(format!("what {projection} is, as JSON: {error}"));
    let text = serde_json::to_string(descriptor.as_ref()).map_err(internal)?;
    let upcasters_text = serde_json::to_string(upcasters).map_err(internal)?;
    connection.execute("BEGIN").await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO lamphouse_control.generations \
             (projection, digest, version, descriptor, upcasters, state, created_at) \
         VALUES ($1, $2, $3, $4::json, $5::json, 'building', $6) RETURNING id",
    )
    .bind(projection.as_str())
    .bind(digest.to_string())
    .bind(version)
    .bind(text)
    .bind(upcasters_text)
    .bind(now)
    .fetch_one(&mut *connection)
    .await?;
    let id = GenerationId(id);
    sqlx::query("INSERT INTO lamphouse_control.checkpoints (generation, position) VALUES ($1, 0)")
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    for (physical, table) in physical_names(id, &descriptor.tables)?
        .iter()
        .zip(&descriptor.tables)
    {
        let sql = ddl::create_table(Dialect::Postgres, Relation::within(SCHEMA, physical), table);
        connection.execute(own(sql)).await?;
    }
    connection.execute("COMMIT").await?;
    Ok(GenerationRecord {
        id,
        projection: projection.clone(),
        digest: *digest,
        version: version.to_owned(),
        descriptor: descriptor.clone(),
        upcasters: upcasters.to_vec(),
        state: GenerationState::Building,
        error: None,
        checkpoint: Checkpoint::default(),
        created_at: now,
        live_at: None,
        retired_at: None,
    })
}

/// Whether this generation was there and was dropped.
pub(super) async fn is_dropped(connection: &mut PgConnection, id: GenerationId) -> Result<bool, Failure> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM lamphouse_control.generations WHERE id = $1 AND state = 'dropped')";
    Ok(sqlx::query_scalar(sql).bind(id.0).fetch_one(connection).await?)
}

pub(super) async fn set_state(
    connection: &mut PgConnection,
    id: GenerationId,
    state: GenerationState,
    error: Option<&serde_json::Value>,
) -> Result<(), Failure> {
    if matches!(state, GenerationState::Live | GenerationState::Dropped) {
        return Err(StoreError::Internal(format!(
            "generation {id} becomes live by a switch, and dropped by being dropped"
        ))
        .into());
    }
    let state = serde_json::to_value(state)
        .ok()
        .and_then(|state| state.as_str().map(str::to_owned));
    let done = sqlx::query(
        "UPDATE lamphouse_control.generations SET state = $2, error = $3::json \
         WHERE id = $1 AND state <> 'dropped'",
    )
    .bind(id.0)
    .bind(state)
    .bind(error.map(serde_json::Value::to_string))
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Invalid(format!("there is no generation {id}, or it was dropped")).into());
    }
    Ok(())
}

pub(super) async fn public_tables(connection: &mut PgConnection) -> Result<Vec<PublicTable>, Failure> {
    let rows = sqlx::query(
        "SELECT v.name, v.projection, g.generation FROM lamphouse_control.views v \
         JOIN lamphouse_control.gates g USING (projection) ORDER BY v.name",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(PublicTable {
                name: row.try_get(0)?,
                projection: name(row.try_get(1)?)?,
                generation: GenerationId(row.try_get(2)?),
            })
        })
        .collect()
}

pub(super) fn name(text: String) -> Result<PluginName, StoreError> {
    PluginName::new(&text).map_err(|error| damaged(&error))
}

pub(super) fn digest(text: String) -> Result<PluginDigest, StoreError> {
    PluginDigest::parse(&text).ok_or_else(|| damaged(&format!("'{text}' is no digest")))
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Internal(format!("schema lamphouse_control was changed by hand: {what}"))
}
