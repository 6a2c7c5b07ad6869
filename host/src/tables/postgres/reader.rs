//! Reads one generation's committed rows, many keys at a time.

use std::sync::Arc;

use lamphouse_contract::{Key, Row, TableSchema, Value};
use sqlx::Row as _;

use super::SCHEMA;
use super::session::{Database, Session, own};
use super::values::{self, Encoded};
use super::writer::{bind_keys, collation, matches_key, unnest_keys};
use crate::tables::ddl::{self, Relation};
use crate::tables::{GenerationRecord, StoreError, TableReader, physical_names};

/// Reads one generation on a connection of its own.
pub(super) struct Reader {
    session: Session,
    generation: GenerationRecord,
    physical: Vec<String>,
}

impl Reader {
    pub(super) fn new(database: Arc<Database>, generation: &GenerationRecord) -> Result<Self, StoreError> {
        Ok(Self {
            session: Session::new(database).quick(),
            generation: generation.clone(),
            physical: physical_names(generation.id, &generation.descriptor.tables)?,
        })
    }

    /// Rows of one table by a condition, in key order.
    fn select(&mut self, table: usize, filter: Filter, limit: usize) -> Result<Vec<Row>, StoreError> {
        let schema = schema(&self.generation, table)?;
        let relation = Relation::within(SCHEMA, &self.physical[table]);
        let columns: Vec<String> = schema
            .columns
            .iter()
            .map(|column| format!("t.{}", ddl::quote(&column.name)))
            .collect();
        let mut sql = format!("SELECT {} FROM {relation} AS t", columns.join(", "));
        if !filter.terms.is_empty() {
            sql = format!("{sql} WHERE {}", filter.terms.join(" AND "));
        }
        let order: Vec<String> = key_terms(schema);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        sql = format!(
            "{sql} ORDER BY {} LIMIT ${}",
            order.join(", "),
            filter.values.len() + 1
        );
        let what = format!(
            "reading table {} of generation {}",
            schema.name, self.generation.id
        );
        self.session.run(&what, async |connection| {
            let mut query = sqlx::query(own(sql));
            for value in filter.values {
                query = query.bind(value);
            }
            let rows = query.bind(limit).fetch_all(connection).await?;
            Ok(rows
                .iter()
                .map(|row| values::decode_row(schema, row, 0))
                .collect::<Result<Vec<_>, StoreError>>()?)
        })
    }
}

impl TableReader for Reader {
    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let schema = schema(&self.generation, table)?;
        let relation = Relation::within(SCHEMA, &self.physical[table]);
        let columns: Vec<String> = schema
            .columns
            .iter()
            .map(|column| format!("t.{}", ddl::quote(&column.name)))
            .collect();
        let sql = format!(
            "SELECT k.place, {} FROM {} JOIN {relation} AS t ON {}",
            columns.join(", "),
            unnest_keys(schema, "place"),
            matches_key(schema)
        );
        let what = format!(
            "reading table {} of generation {}",
            schema.name, self.generation.id
        );
        self.session.run(&what, async |connection| {
            let rows = bind_keys(sqlx::query(own(sql)), schema, keys)?
                .fetch_all(connection)
                .await?;
            let mut found: Vec<Option<Row>> = vec![None; keys.len()];
            for row in &rows {
                let place: i64 = row.try_get(0)?;
                let slot = usize::try_from(place - 1)
                    .ok()
                    .and_then(|place| found.get_mut(place));
                *slot.ok_or_else(|| StoreError::Internal(format!("no key has place {place}")))? =
                    Some(values::decode_row(schema, row, 1)?);
            }
            Ok(found)
        })
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        prefix: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let schema = schema(&self.generation, table)?;
        let columns = schema
            .indexes
            .get(index)
            .filter(|columns| prefix.len() <= columns.len())
            .ok_or_else(|| StoreError::Internal(format!("table {} has no such index", schema.name)))?;
        let mut filter = Filter::default();
        for (column, value) in columns.iter().zip(prefix) {
            let column = &schema.columns[*column as usize];
            let name = ddl::quote(&column.name);
            if matches!(value, Value::Null) {
                filter.terms.push(format!("t.{name} IS NULL"));
            } else {
                let parameter = filter.bind(column.kind, value)?;
                filter.terms.push(format!("t.{name} = {parameter}"));
            }
        }
        filter.after(schema, after)?;
        self.select(table, filter, limit)
    }

    fn scan(&mut self, table: usize, after: Option<&Key>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut filter = Filter::default();
        filter.after(schema(&self.generation, table)?, after)?;
        self.select(table, filter, limit)
    }
}

fn schema(generation: &GenerationRecord, table: usize) -> Result<&TableSchema, StoreError> {
    generation
        .descriptor
        .tables
        .get(table)
        .ok_or_else(|| StoreError::Internal(format!("generation {} has no table {table}", generation.id)))
}

fn key_terms(table: &TableSchema) -> Vec<String> {
    let term = |column: &u32| {
        let column = &table.columns[*column as usize];
        format!("t.{}{}", ddl::quote(&column.name), collation(column.kind))
    };
    table.primary_key.iter().map(term).collect()
}

/// Conditions and the values that they name.
#[derive(Default)]
struct Filter {
    terms: Vec<String>,
    values: Vec<Encoded>,
}

impl Filter {
    /// Adds a value; gives its parameter with type and collation.
    fn bind(&mut self, kind: lamphouse_contract::ColumnType, value: &Value) -> Result<String, StoreError> {
        self.values.push(Encoded::scalar(kind, value)?);
        Ok(format!(
            "${}::{}{}",
            self.values.len(),
            values::cast(kind),
            collation(kind)
        ))
    }

    /// Only keys after this one.
    fn after(&mut self, table: &TableSchema, after: Option<&Key>) -> Result<(), StoreError> {
        let Some(key) = after else { return Ok(()) };
        if key.len() != table.primary_key.len() {
            return Err(StoreError::Internal(format!(
                "a key of {} has {} values",
                table.name,
                key.len()
            )));
        }
        let mut parameters = Vec::new();
        for (column, value) in table.primary_key.iter().zip(key.iter()) {
            parameters.push(self.bind(table.columns[*column as usize].kind, value)?);
        }
        self.terms.push(format!(
            "({}) > ({})",
            key_terms(table).join(", "),
            parameters.join(", ")
        ));
        Ok(())
    }
}
