//! Reads one generation's committed rows.

use std::path::PathBuf;

use lamphouse_contract::{ColumnType, Key, Row, TableSchema, Value};
use rusqlite::{Connection, Rows, Statement};

use super::connect::{self, Purpose, fault};
use super::{decimals, values};
use crate::tables::ddl::{self, Relation};
use crate::tables::{GenerationRecord, StoreError, TableReader, physical_names};

/// Reads one generation, on a connection of its own.
pub(super) struct Reader {
    path: PathBuf,
    connection: Connection,
    tables: Vec<TableShape>,
}

/// One physical table and its statements.
struct TableShape {
    name: String,
    schema: TableSchema,
    kinds: Vec<ColumnType>,
    select: String,
    by_key: String,
    /// `ORDER BY` in the contract's order of keys.
    order: String,
}

impl Reader {
    pub(super) fn open(path: PathBuf, generation: &GenerationRecord) -> Result<Self, StoreError> {
        let connection = connect::connect(&path, Purpose::Read)?;
        decimals::register_collation(&connection)
            .map_err(|error| fault(&path, "make ready to read", &error))?;
        let schemas = &generation.descriptor.tables;
        let names = physical_names(generation.id, schemas)?;
        let tables = schemas.iter().zip(names);
        Ok(Self {
            path,
            connection,
            tables: tables
                .map(|(schema, name)| TableShape::new(name, schema))
                .collect(),
        })
    }

    fn run<T>(
        &mut self,
        table: usize,
        work: impl FnOnce(&Connection, &TableShape) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let shape = self
            .tables
            .get(table)
            .ok_or_else(|| StoreError::Internal(format!("the generation has no table {table}")))?;
        work(&self.connection, shape)
            .map_err(|error| fault(&self.path, &format!("read '{}'", shape.name), &error))
    }
}

impl TableReader for Reader {
    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        // One look by key each, by one compiled statement in one transaction: in the same process that is quicker than
        // a list of keys, whose rows would have to be sorted out again.
        self.run(table, |connection, shape| {
            let transaction = connection.unchecked_transaction()?;
            let mut statement = transaction.prepare_cached(&shape.by_key)?;
            let mut text = String::new();
            keys.iter()
                .map(|key| {
                    bind_all(&mut statement, 1, key, &mut text)?;
                    let mut rows = statement.raw_query();
                    let row = rows.next()?.map(|row| shape.decode(row)).transpose()?;
                    Ok(row)
                })
                .collect()
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
        self.run(table, |connection, shape| {
            let columns = shape.schema.indexes.get(index).map_or(&[][..], Vec::as_slice);
            let mut conditions: Vec<String> = columns
                .iter()
                .zip(prefix)
                .map(|(column, _)| {
                    format!(
                        "{} IS ?",
                        ddl::quote(&shape.schema.columns[*column as usize].name)
                    )
                })
                .collect();
            if conditions.len() != prefix.len() {
                let message = format!(
                    "index {index} of '{}' has fewer columns than the prefix",
                    shape.name
                );
                return Err(rusqlite::Error::ToSqlConversionFailure(message.into()));
            }
            conditions.extend(after.map(|_| shape.after()));
            shape.page(connection, &conditions, prefix, after, limit)
        })
    }

    fn scan(&mut self, table: usize, after: Option<&Key>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.run(table, |connection, shape| {
            let conditions: Vec<String> = after.iter().map(|_| shape.after()).collect();
            shape.page(connection, &conditions, &[], after, limit)
        })
    }
}

impl TableShape {
    fn new(name: String, schema: &TableSchema) -> Self {
        let select = ddl::select_all(Relation::named(&name), schema);
        let key = ddl::key_columns(schema);
        let places = vec!["?"; schema.primary_key.len()].join(", ");
        Self {
            by_key: format!("{select} WHERE ({key}) = ({places})"),
            order: key_order(schema),
            kinds: schema.columns.iter().map(|column| column.kind).collect(),
            schema: schema.clone(),
            name,
            select,
        }
    }

    /// Keys after a given one.
    fn after(&self) -> String {
        let places = vec!["?"; self.schema.primary_key.len()].join(", ");
        format!("({}) > ({places})", self.order)
    }

    fn page(
        &self,
        connection: &Connection,
        conditions: &[String],
        prefix: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Row>> {
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let sql = format!("{}{filter} ORDER BY {} LIMIT ?", self.select, self.order);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut text = String::new();
        bind_all(&mut statement, 1, prefix, &mut text)?;
        let mut place = 1 + prefix.len();
        if let Some(after) = after {
            bind_all(&mut statement, place, after, &mut text)?;
            place += after.len();
        }
        statement.raw_bind_parameter(place, i64::try_from(limit).unwrap_or(i64::MAX))?;
        let mut rows: Rows<'_> = statement.raw_query();
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push(self.decode(row)?);
        }
        Ok(page)
    }

    fn decode(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        let value = |(place, kind): (usize, &ColumnType)| {
            let stored = row.get_ref(place)?;
            values::decode(*kind, stored).map_err(|found| {
                let column = &self.schema.columns[place].name;
                let message = format!(
                    "'{}.{column}' holds {found}; somebody changed it by hand",
                    self.name
                );
                rusqlite::Error::FromSqlConversionFailure(place, stored.data_type(), message.into())
            })
        };
        self.kinds.iter().enumerate().map(value).collect()
    }
}

/// The key columns in the contract's order: decimals, which are text here, by number. (A key with a decimal is then
/// not read in the order of its tree but sorted; such keys are rare.)
fn key_order(schema: &TableSchema) -> String {
    let column = |place: &u32| {
        let column = &schema.columns[*place as usize];
        let name = ddl::quote(&column.name);
        match column.kind {
            ColumnType::Decimal(_) => format!("{name} COLLATE {}", decimals::COLLATION),
            _ => name,
        }
    };
    let columns: Vec<String> = schema.primary_key.iter().map(column).collect();
    columns.join(", ")
}

fn bind_all(
    statement: &mut Statement<'_>,
    first: usize,
    values: &[Value],
    text: &mut String,
) -> rusqlite::Result<()> {
    for (place, value) in (first..).zip(values) {
        values::bind(statement, place, value, text)?;
    }
    Ok(())
}
