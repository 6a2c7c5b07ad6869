//! The read tables on PostgreSQL.
//!
//! Three schemas: `lamphouse_control` for what the host knows, `lamphouse_tables` for the physical tables of every
//! generation (`orders__g7`), and `public` for the views that carry the public names and the grants.
//!
//! *Invariants:* A switch is data and not DDL: views that both generations share are made able to show either
//! beforehand ([`prepare`]), one transaction brings rows and checkpoint level and turns the gate ([`switch`]), and the
//! views become direct when nobody can be looking at the old rows ([`finish`]). No transaction locks two views that
//! readers use, except for names that go or break. Deliberately absent: sequences in checkpoints, UNLOGGED tables.

mod changes;
mod control;
mod copy;
mod dead_letters;
mod finish;
mod generations;
mod locks;
mod owner;
mod prepare;
mod query;
mod reader;
mod select;
mod session;
mod small;
mod switch;
#[cfg(test)]
pub(in crate::tables) mod tests;
mod values;
mod views;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use lamphouse_contract::Descriptor;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use self::session::{Database, Failure, Session, own};
use super::select::{Descriptors, Select, SelectError, Selected, ShownTable};
use super::{
    Finish, GenerationRecord, GenerationState, Ownership, PluginRecord, ProjectionRecord, PublicTable,
    QueryAnswer, QueryLimits, StoreError, Switch, TableReader, TableStore, TableWriter, UpcasterRef,
};
use crate::core::{GenerationId, PluginDigest, PluginName};

/// Where the physical tables are.
const SCHEMA: &str = "lamphouse_tables";

/// Opens the tables of a PostgreSQL database, making them or bringing them up to date.
pub(super) fn open(url: &str, runtime: tokio::runtime::Handle) -> Result<Arc<dyn TableStore>, StoreError> {
    let database = Database::new(url, runtime)?;
    migrate(&database)?;
    let reader_role = query::make_reader_role(&database)?;
    Ok(Arc::new(PostgresTables {
        database,
        reader_role,
        descriptors: Descriptors::default(),
    }))
}

/// Applies the migrations on a connection that is closed afterwards: an error may leave the migrator's lock on it.
fn migrate(database: &Database) -> Result<(), StoreError> {
    let what = "bringing the control tables up to date";
    database.runtime.block_on(async {
        let mut connection =
            database.connect().await.map_err(|error| database.explain(what, error.into()))?;
        let mut migrator: Migrator = sqlx::migrate!("../migrations/postgres/tables");
        migrator.dangerous_set_table_name("lamphouse_control.migrations");
        migrator.create_schema("lamphouse_control");
        let migrated = migrator.run_direct(None, &mut connection, false).await;
        let _ = connection.close().await;
        migrated.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                database.explain(what, error.into())
            }
            MigrateError::VersionMissing(version) => StoreError::Invalid(format!(
                "the read tables were made by a newer version of Lamphouse (their format is {version}): use that \
                 version, or give this one a database of its own and let it build the tables again"
            )),
            error => StoreError::Internal(format!("{what}: {error}")),
        })
    })
}

struct PostgresTables {
    database: Arc<Database>,
    /// Whether queries run as a role that has the public views alone.
    reader_role: bool,
    /// What public generations declared.
    descriptors: Descriptors,
}

impl PostgresTables {
    fn session(&self) -> Session {
        Session::new(self.database.clone())
    }
}

impl TableStore for PostgresTables {
    fn try_own(&self) -> Result<Option<Box<dyn Ownership>>, StoreError> {
        owner::try_own(&self.database)
    }

    fn owner_address(&self) -> Result<Option<String>, StoreError> {
        self.database
            .control("looking for the owner", async |connection| {
                owner::address(connection).await
            })
    }

    fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError> {
        self.database
            .control("reading the projections", async |connection| {
                control::projections(connection).await
            })
    }

    fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        self.database
            .control("reading the generations", async |connection| {
                control::generations(connection).await
            })
    }

    fn public_tables(&self) -> Result<Vec<PublicTable>, StoreError> {
        self.database
            .control("reading the public names", async |connection| {
                control::public_tables(connection).await
            })
    }

    fn save_projection(&self, record: &ProjectionRecord) -> Result<(), StoreError> {
        self.database.control(
            &format!("saving projection {}", record.name),
            async |connection| control::save_projection(connection, record).await,
        )
    }

    fn save_plugin(&self, record: &PluginRecord) -> Result<(), StoreError> {
        self.database
            .control(&format!("saving plugin {}", record.name), async |connection| {
                control::save_plugin(connection, record).await
            })
    }

    fn plugin(&self, digest: &PluginDigest) -> Result<Option<PluginRecord>, StoreError> {
        self.database.control(
            &format!("reading plugin {}", digest.short()),
            async |connection| control::plugin(connection, digest).await,
        )
    }

    fn create_generation(
        &self,
        projection: &PluginName,
        digest: &PluginDigest,
        version: &str,
        descriptor: &Arc<Descriptor>,
        upcasters: &[UpcasterRef],
        now: i64,
    ) -> Result<GenerationRecord, StoreError> {
        self.database.control(
            &format!("making a generation of {projection}"),
            async |connection| {
                control::create_generation(
                    connection, projection, digest, version, descriptor, upcasters, now,
                )
                .await
            },
        )
    }

    fn set_state(
        &self,
        generation: GenerationId,
        state: GenerationState,
        error: Option<&serde_json::Value>,
    ) -> Result<(), StoreError> {
        self.database.control(
            &format!("setting the state of generation {generation}"),
            async |connection| control::set_state(connection, generation, state, error).await,
        )
    }

    fn create_indexes(&self, generation: &GenerationRecord) -> Result<(), StoreError> {
        generations::create_indexes(&mut self.session().patient(), generation)
    }

    fn prepare_switch(&self, switch: &Switch) -> Result<(), StoreError> {
        prepare::prepare(&mut self.session(), switch)
    }

    fn finish_switch(&self, projection: &PluginName) -> Result<Finish, StoreError> {
        finish::finish(&mut self.session(), projection)
    }

    fn drop_generation(&self, generation: GenerationId) -> Result<(), StoreError> {
        generations::drop_generation(&mut self.session(), generation)
    }

    fn writer(&self, generation: &GenerationRecord) -> Result<Box<dyn TableWriter>, StoreError> {
        Ok(Box::new(writer::Writer::new(self.database.clone(), generation)?))
    }

    fn reader(&self, generation: &GenerationRecord) -> Result<Box<dyn TableReader>, StoreError> {
        Ok(Box::new(reader::Reader::new(self.database.clone(), generation)?))
    }

    fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryAnswer, StoreError> {
        query::run(&self.database, self.reader_role, sql, limits)
    }

    fn shown_tables(&self) -> Result<Vec<ShownTable>, StoreError> {
        select::shown(&self.database)
    }

    fn select(&self, select: &Select, time_max: Duration) -> Result<Selected, SelectError> {
        select::run(&self.database, &self.descriptors, select, time_max)
    }
}

/// The generation that a projection shows; `lock` is empty, `FOR SHARE` or `FOR UPDATE`.
async fn gate(
    connection: &mut PgConnection,
    projection: &PluginName,
    lock: &str,
) -> Result<Option<GenerationId>, Failure> {
    let sql = format!("SELECT generation FROM lamphouse_control.gates WHERE projection = $1 {lock}");
    let id: Option<i64> = sqlx::query_scalar(own(sql))
        .bind(projection.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(id.map(GenerationId))
}

fn generation_ids(ids: Vec<i64>) -> Vec<GenerationId> {
    ids.into_iter().map(GenerationId).collect()
}
