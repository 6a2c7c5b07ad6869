//! Reads of one public table, made of parts: see [`crate::tables::select`].
//!
//! One REPEATABLE READ transaction says which generation is public, how far it is, and what rows it has. Its physical
//! table is read directly: the gate and the rows are of one snapshot, so that a switch falls before or after all of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use lamphouse_contract::Descriptor;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Postgres, Row as _};
use tokio::time::timeout;

use super::session::{Database, Failure, own};
use super::values::{self, Encoded};
use super::{SCHEMA, control};
use crate::core::{GenerationId, Position};
use crate::tables::ddl::{Dialect, Relation};
use crate::tables::select::{
    self, Bound, Checked, Descriptors, Rows, Select, SelectError, Selected, ShownTable, Statement,
};
use crate::tables::{StoreError, physical_names};

/// Waiting beyond a read's own limit means that the server is gone.
const GRACE: Duration = Duration::from_secs(5);

/// Tries, where what was public is dropped in between.
const TRIES_MAX: usize = 5;

const SHOWN: &str = "SELECT v.name, v.projection, g.generation, coalesce(c.position, 0), \
    coalesce((SELECT b.revision FROM lamphouse_control.dead_letter_books b WHERE b.generation = g.generation), 0), \
    (SELECT count(*) FROM lamphouse_control.dead_letters d WHERE d.generation = g.generation) \
    FROM lamphouse_control.views v JOIN lamphouse_control.gates g USING (projection) \
    LEFT JOIN lamphouse_control.checkpoints c ON c.generation = g.generation";

/// What every public table shows.
pub(super) fn shown(database: &Database) -> Result<Vec<ShownTable>, StoreError> {
    database.control("reading the public tables", async |connection| {
        let rows = sqlx::query(own(format!("{SHOWN} ORDER BY v.name COLLATE \"C\"")))
            .fetch_all(connection)
            .await?;
        rows.iter().map(shown_table).collect()
    })
}

fn shown_table(row: &PgRow) -> Result<ShownTable, Failure> {
    Ok(ShownTable {
        name: row.try_get(0)?,
        projection: control::name(row.try_get(1)?)?,
        generation: GenerationId(row.try_get(2)?),
        position: Position::from_i64(row.try_get(3)?),
        revision: row.try_get::<i64, _>(4)?.unsigned_abs(),
        parked_events: row.try_get::<i64, _>(5)?.unsigned_abs(),
    })
}

/// Rows of one table.
pub(super) fn run(
    database: &Database,
    descriptors: &Descriptors,
    select: &Select,
    time_max: Duration,
) -> Result<Selected, SelectError> {
    let until = Instant::now() + time_max;
    let what = format!("reading table {}", select.table);
    let mut tries = 0;
    loop {
        tries += 1;
        let answered = database.query(&what, async |connection| {
            let reading = read(connection, descriptors, select, until);
            let read = timeout(time_max + GRACE, reading).await;
            match read {
                Ok(Ok(read)) => {
                    connection.execute("ROLLBACK").await?;
                    Ok(read)
                }
                Ok(Err(failure)) => {
                    let told = match failure.sqlstate().as_deref() {
                        Some("42P01") if tries < TRIES_MAX => Read::Gone,
                        Some("57014" | "55P03") => Read::Told(select::late(time_max.as_millis())),
                        _ => return Err(failure),
                    };
                    connection.execute("ROLLBACK").await?;
                    Ok(told)
                }
                Err(_) => Err(Failure::Sql(sqlx::Error::PoolTimedOut)),
            }
        })?;
        match answered {
            Read::Rows(selected) => return Ok(*selected),
            Read::Told(error) => return Err(error),
            Read::Gone => {}
        }
    }
}

enum Read {
    Rows(Box<Selected>),
    /// The table was dropped after the snapshot.
    Gone,
    Told(SelectError),
}

async fn read(
    connection: &mut PgConnection,
    descriptors: &Descriptors,
    select: &Select,
    until: Instant,
) -> Result<Read, Failure> {
    let time_ms = until
        .saturating_duration_since(Instant::now())
        .as_millis()
        .clamp(1, 1 << 30);
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {time_ms}; \
         SET LOCAL lock_timeout = {time_ms}"
    );
    connection.execute(own(begin)).await?;
    let no_table = || Ok(Read::Told(SelectError::NoTable(select.table.clone())));
    let found = sqlx::query(own(format!("{SHOWN} WHERE v.name = $1")))
        .bind(&select.table)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(shown) = found.as_ref().map(shown_table).transpose()? else {
        return no_table();
    };
    let descriptor: Arc<Descriptor> = match descriptors.known(shown.generation) {
        Some(descriptor) => descriptor,
        None => {
            let generation = control::generation(connection, shown.generation).await?;
            descriptors.keep(shown.generation, generation.descriptor.clone());
            generation.descriptor
        }
    };
    let names = physical_names(shown.generation, &descriptor.tables)?;
    let mut tables = descriptor.tables.iter().zip(&names);
    let Some((schema, physical)) = tables.find(|(table, _)| table.name == select.table) else {
        return no_table();
    };
    let checked = match Checked::new(select, schema) {
        Ok(checked) => checked,
        Err(why) => return Ok(Read::Told(SelectError::Wrong(why))),
    };
    let relation = Relation::within(SCHEMA, physical);
    let total = match select.count {
        true => {
            let statement = select::count(Dialect::Postgres, relation, &checked);
            let row = bound(statement)?.fetch_one(&mut *connection).await?;
            Some(row.try_get::<i64, _>(0)?.unsigned_abs())
        }
        false => None,
    };
    if select.count {
        // The limit of a statement begins anew with each.
        let left = until
            .saturating_duration_since(Instant::now())
            .as_millis()
            .clamp(1, 1 << 30);
        connection
            .execute(own(format!("SET LOCAL statement_timeout = {left}")))
            .await?;
    }
    let shape = checked.shape();
    let mut rows = Rows::new(select.limit);
    let mut lines = bound(select::rows_of(Dialect::Postgres, relation, &checked))?.fetch(&mut *connection);
    while let Some(line) = lines.try_next().await? {
        if !rows.take(values::decode_row(&shape, &line, 0)?) {
            break;
        }
    }
    drop(lines);
    let (rows, more) = rows.end();
    Ok(Read::Rows(Box::new(Selected {
        shown,
        columns: checked.names(),
        rows,
        more,
        total,
    })))
}

fn bound(statement: Statement) -> Result<Query<'static, Postgres, PgArguments>, StoreError> {
    let mut query = sqlx::query::<Postgres>(AssertSqlSafe(statement.text));
    for value in &statement.values {
        query = query.bind(match value {
            Bound::One(kind, value) => Encoded::scalar(*kind, value)?,
            Bound::Many(kind, values) => Encoded::array(*kind, values.iter())?,
        });
    }
    Ok(query)
}
