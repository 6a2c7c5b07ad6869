//! Writes one generation: rows and checkpoint in one transaction.

use std::sync::Arc;

use lamphouse_contract::{Key, Row, TableSchema};
use sqlx::{Executor as _, PgConnection, Row as _};

use super::session::{CUSTOM_PLANS, Database, Failure, Session, own};
use super::values::{self, Encoded};
use super::{SCHEMA, changes, copy, dead_letters, small, switch};
use crate::core::{EventId, GenerationId, LogId, Position};
use crate::tables::ddl::{self, Relation};
use crate::tables::{
    Checkpoint, Flush, GenerationRecord, StoreError, Switch, TableFlush, TableWriter, physical_names,
};

/// Fewest new rows that are worth a COPY: its last message is a packet of its own, which may wait some 40 ms for the
/// server to acknowledge the one before. Tests take both ways with few rows.
const COPY_ROWS_MIN: usize = if cfg!(test) { 2 } else { 5_000 };

/// Rows of one statement. More gains little, and memory on both sides grows with it.
const STATEMENT_ROWS_MAX: usize = 10_000;

/// One generation's tables and how to write them.
pub(super) struct Writer {
    session: Session,
    pub(super) generation: GenerationRecord,
    physical: Vec<String>,
    /// Whether flushes of it write row changes, as far as is known: a small flush must know before it is sent.
    has_changes: Option<bool>,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, generation: &GenerationRecord) -> Result<Self, StoreError> {
        Ok(Self {
            session: Session::new(database).quick().of_same_plans(),
            generation: generation.clone(),
            physical: physical_names(generation.id, &generation.descriptor.tables)?,
            has_changes: None,
        })
    }

    /// The connection and what is written over it, apart, so that both can be used at once.
    pub(super) fn parts(&mut self) -> (&mut Session, Tables<'_>) {
        let tables = Tables {
            generation: &self.generation,
            physical: &self.physical,
        };
        (&mut self.session, tables)
    }
}

impl TableWriter for Writer {
    fn flush(&mut self, flush: &Flush, live: bool) -> Result<(), StoreError> {
        let mut has_changes = self.has_changes;
        let (session, tables) = self.parts();
        // PostgreSQL has no single writer to queue for. But where the log is on the same server, a durable append syncs
        // what others wrote before it, so a rebuild must not leave much behind itself unsynced.
        let is_beside_live = !live && session.database().has_live_work();
        if live {
            session.database().live_writes();
        }
        let what = format!(
            "writing generation {} of {}",
            tables.generation.id, tables.generation.projection
        );
        let written = session.run(&what, async |connection| {
            if small::fits(flush) {
                return tables.write_small(connection, flush, &mut has_changes).await;
            }
            // A commit that is lost in a crash of the server is safe to lose: rows and checkpoint are in this one
            // transaction, so the events are simply projected again.
            let commit = if is_beside_live { "local" } else { "off" };
            connection
                .execute(own(format!(
                    "BEGIN; {CUSTOM_PLANS}; SET LOCAL synchronous_commit = {commit}"
                )))
                .await?;
            tables.write(connection, flush).await?;
            connection.execute("COMMIT").await?;
            Ok(())
        });
        self.has_changes = has_changes;
        written
    }

    fn switch(&mut self, flush: &Flush, switch: &Switch) -> Result<(), StoreError> {
        self.has_changes = None;
        switch::run(self, flush, switch)
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        let id = self.generation.id;
        self.session.run(
            &format!("reading the checkpoint of generation {id}"),
            async |connection| Ok(checkpoint(connection, id, "").await?),
        )
    }
}

/// The committed checkpoint of a generation; `lock` is empty or `FOR UPDATE`.
pub(super) async fn checkpoint(
    connection: &mut PgConnection,
    id: GenerationId,
    lock: &str,
) -> Result<Checkpoint, Failure> {
    let sql = format!(
        "SELECT position, event_id, log_id FROM lamphouse_control.checkpoints WHERE generation = $1 {lock}"
    );
    let row = sqlx::query(own(sql))
        .bind(id.0)
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| gone(id))?;
    Ok(Checkpoint {
        position: Position::from_i64(row.try_get(0)?),
        event_id: row.try_get::<Option<_>, _>(1)?.map(EventId),
        log: row.try_get::<Option<_>, _>(2)?.map(LogId),
    })
}

fn gone(id: GenerationId) -> StoreError {
    StoreError::Internal(format!(
        "generation {id} has no checkpoint: it was dropped, or somebody changed lamphouse_control by hand"
    ))
}

/// What a flush writes into.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) generation: &'a GenerationRecord,
    physical: &'a [String],
}

impl<'a> Tables<'a> {
    /// Moves the checkpoint, if it is where the writer thinks, and writes the rows, in the open transaction.
    pub(super) async fn write(self, connection: &mut PgConnection, flush: &Flush) -> Result<(), Failure> {
        let id = self.generation.id;
        self.goes_forward(flush)?;
        // The checkpoint first: a second writer waits here, before it has touched a row, and then finds it moved.
        let moved = sqlx::query(
            "UPDATE lamphouse_control.checkpoints SET position = $2, event_id = $3, log_id = $4 \
             WHERE generation = $1 AND position = $5 AND event_id IS NOT DISTINCT FROM $6 \
               AND log_id IS NOT DISTINCT FROM $7",
        )
        .bind(id.0)
        .bind(flush.to.position.as_i64())
        .bind(flush.to.event_id.map(|event| event.0))
        .bind(flush.to.log.map(|log| log.0))
        .bind(flush.from.position.as_i64())
        .bind(flush.from.event_id.map(|event| event.0))
        .bind(flush.from.log.map(|log| log.0))
        .execute(&mut *connection)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(self.moved(connection, flush).await);
        }
        for rows in &flush.tables {
            self.write_table(connection, rows).await?;
        }
        if let Some(letters) = &flush.letters {
            dead_letters::write(connection, id, letters).await?;
        }
        // Last, because whoever has taken the next numbers of changes makes every other writer of changes wait.
        changes::write_flush(connection, self.generation, flush).await
    }

    pub(super) fn goes_forward(self, flush: &Flush) -> Result<(), StoreError> {
        if flush.to.position >= flush.from.position {
            return Ok(());
        }
        Err(StoreError::Internal(format!(
            "a flush of generation {} goes back from {} to {}",
            self.generation.id, flush.from.position, flush.to.position
        )))
    }

    /// What to say of a checkpoint that is not where the writer thinks.
    pub(super) async fn moved(self, connection: &mut PgConnection, flush: &Flush) -> Failure {
        match checkpoint(connection, self.generation.id, "").await {
            Ok(actual) => Failure::Store(StoreError::CheckpointMoved {
                generation: self.generation.id,
                expected: flush.from.position,
                actual: actual.position,
            }),
            Err(failure) => failure,
        }
    }

    /// The schema and the physical table of some rows.
    pub(super) fn table(self, rows: &TableFlush) -> Result<(&'a TableSchema, Relation<'a>), StoreError> {
        let table = self.generation.descriptor.tables.get(rows.table).ok_or_else(|| {
            StoreError::Internal(format!(
                "generation {} has no table {}",
                self.generation.id, rows.table
            ))
        })?;
        Ok((table, Relation::within(SCHEMA, &self.physical[rows.table])))
    }

    async fn write_table(self, connection: &mut PgConnection, rows: &TableFlush) -> Result<(), Failure> {
        let (table, relation) = self.table(rows)?;
        for keys in rows.removes.chunks(STATEMENT_ROWS_MAX) {
            remove(connection, relation, table, keys).await?;
        }
        let sql = upsert_sql(relation, table);
        let few = rows.inserts.len() < COPY_ROWS_MIN;
        if few && !rows.inserts.is_empty() {
            // One statement for both.
            let all: Vec<Arc<Row>> = rows.inserts.iter().chain(&rows.upserts).cloned().collect();
            for rows in all.chunks(STATEMENT_ROWS_MAX) {
                upsert(connection, &sql, table, rows).await?;
            }
            return Ok(());
        }
        if !few {
            copy::load(connection, relation, table, &rows.inserts).await?;
        }
        for rows in rows.upserts.chunks(STATEMENT_ROWS_MAX) {
            upsert(connection, &sql, table, rows).await?;
        }
        Ok(())
    }
}

async fn upsert(
    connection: &mut PgConnection,
    sql: &str,
    table: &TableSchema,
    rows: &[Arc<Row>],
) -> Result<(), Failure> {
    bind_rows(sqlx::query(own(sql)), table, rows)?
        .execute(connection)
        .await?;
    Ok(())
}

/// Binds rows column by column, as [`unnest_rows`] takes them.
pub(super) fn bind_rows<'q>(
    mut query: Query<'q>,
    table: &TableSchema,
    rows: &[Arc<Row>],
) -> Result<Query<'q>, StoreError> {
    if let Some(row) = rows.iter().find(|row| row.len() != table.columns.len()) {
        let text = format!("a row of {} has {} values", table.name, row.len());
        return Err(StoreError::Internal(text));
    }
    for (place, column) in table.columns.iter().enumerate() {
        query = query.bind(Encoded::array(column.kind, rows.iter().map(|row| &row[place]))?);
    }
    Ok(query)
}

fn upsert_sql(relation: Relation<'_>, table: &TableSchema) -> String {
    format!(
        "INSERT INTO {relation} ({}) SELECT * FROM {} {}",
        ddl::all_columns(table),
        unnest_rows(table, 1),
        on_conflict(table)
    )
}

/// Rows as a relation, from one parameter a column.
pub(super) fn unnest_rows(table: &TableSchema, first_parameter: usize) -> String {
    let arrays: Vec<String> = table
        .columns
        .iter()
        .zip(first_parameter..)
        .map(|(column, parameter)| format!("${parameter}::{}[]", values::cast(column.kind)))
        .collect();
    format!("unnest({})", arrays.join(", "))
}

/// What an upsert does with a row that is there: all other columns are replaced.
pub(super) fn on_conflict(table: &TableSchema) -> String {
    let changes: Vec<String> = (0_u32..)
        .zip(&table.columns)
        .filter(|(place, _)| !table.primary_key.contains(place))
        .map(|(_, column)| format!("{name} = EXCLUDED.{name}", name = ddl::quote(&column.name)))
        .collect();
    let key = ddl::key_columns(table);
    match changes.is_empty() {
        true => format!("ON CONFLICT ({key}) DO NOTHING"),
        false => format!("ON CONFLICT ({key}) DO UPDATE SET {}", changes.join(", ")),
    }
}

async fn remove(
    connection: &mut PgConnection,
    relation: Relation<'_>,
    table: &TableSchema,
    keys: &[Key],
) -> Result<(), Failure> {
    let sql = format!(
        "DELETE FROM {relation} AS t USING {} WHERE {}",
        unnest_keys(table, ""),
        matches_key(table)
    );
    bind_keys(sqlx::query(own(sql)), table, keys)?
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) type Query<'a> = sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Keys as a relation `k (k0, k1, …)`, from parameters `$1…`; `ordinality` adds a column of that name.
pub(super) fn unnest_keys(table: &TableSchema, ordinality: &str) -> String {
    let arrays: Vec<String> = table
        .primary_key
        .iter()
        .enumerate()
        .map(|(place, column)| {
            format!(
                "${}::{}[]",
                place + 1,
                values::cast(table.columns[*column as usize].kind)
            )
        })
        .collect();
    let mut names: Vec<String> = (0..table.primary_key.len())
        .map(|place| format!("k{place}"))
        .collect();
    let mut with = "";
    if !ordinality.is_empty() {
        names.push(ordinality.to_owned());
        with = " WITH ORDINALITY";
    }
    format!("unnest({}){with} AS k ({})", arrays.join(", "), names.join(", "))
}

/// `t`'s key columns equal `k`'s. The collation is said because the arrays have the database's own.
pub(super) fn matches_key(table: &TableSchema) -> String {
    let terms: Vec<String> = table
        .primary_key
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let column = &table.columns[*column as usize];
            format!(
                "t.{} = k.k{place}{}",
                ddl::quote(&column.name),
                collation(column.kind)
            )
        })
        .collect();
    terms.join(" AND ")
}

/// ` COLLATE "C"` for text.
pub(super) fn collation(kind: lamphouse_contract::ColumnType) -> &'static str {
    if kind == lamphouse_contract::ColumnType::Text {
        " COLLATE \"C\""
    } else {
        ""
    }
}

/// Binds keys column by column, as [`unnest_keys`] takes them.
pub(super) fn bind_keys<'a>(
    mut query: Query<'a>,
    table: &TableSchema,
    keys: &[Key],
) -> Result<Query<'a>, StoreError> {
    if let Some(key) = keys.iter().find(|key| key.len() != table.primary_key.len()) {
        return Err(StoreError::Internal(format!(
            "a key of {} has {} values",
            table.name,
            key.len()
        )));
    }
    for (place, column) in table.primary_key.iter().enumerate() {
        let kind = table.columns[*column as usize].kind;
        query = query.bind(Encoded::array(kind, keys.iter().map(|key| &key[place]))?);
    }
    Ok(query)
}
