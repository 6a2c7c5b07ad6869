//! Everything that is known of one projection, and of tables as a person reads them.

use lamphouse_contract::TableSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::operator::{HostStatus, OperateError, ProjectionStatus};
use crate::tables::GenerationRecord;
use crate::tables::ddl::{Dialect, column_type};

/// Everything that is known of one projection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionDetail {
    /// How it stands.
    pub projection: ProjectionStatus,
    /// The tables of each generation, oldest first.
    pub generations: Vec<GenerationTables>,
}

/// The tables of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GenerationTables {
    /// Its number: 7 for `g7`.
    pub generation: i64,
    /// Its tables.
    pub tables: Vec<TableShape>,
}

/// A table as it is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TableShape {
    /// Its public name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<ColumnShape>,
    /// Declared indexes, by their columns.
    pub indexes: Vec<Vec<String>>,
}

/// A column as it is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ColumnShape {
    /// Its name.
    pub name: String,
    /// Its type in the tables database.
    pub sql_type: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// Whether it belongs to the key.
    pub key: bool,
}

/// Puts together what is known of one projection.
///
/// # Errors
/// [`OperateError::NotFound`].
pub fn detail(
    status: HostStatus,
    generations: &[GenerationRecord],
    dialect: Dialect,
    name: &str,
) -> Result<ProjectionDetail, OperateError> {
    let mut projections = status.projections;
    let Some(at) = projections.iter().position(|projection| projection.name == name) else {
        let names: Vec<&str> = projections
            .iter()
            .map(|projection| projection.name.as_str())
            .collect();
        let there = match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        return Err(OperateError::NotFound(format!(
            "there is no projection '{name}'; there are: {there}"
        )));
    };
    let own = generations
        .iter()
        .filter(|record| record.projection.as_str() == name);
    Ok(ProjectionDetail {
        projection: projections.swap_remove(at),
        generations: own
            .map(|record| GenerationTables {
                generation: record.id.0,
                tables: table_shapes(&record.descriptor.tables, dialect),
            })
            .collect(),
    })
}

/// Tables as a person reads them.
pub fn table_shapes(tables: &[TableSchema], dialect: Dialect) -> Vec<TableShape> {
    tables.iter().map(|schema| shape(schema, dialect)).collect()
}

fn shape(schema: &TableSchema, dialect: Dialect) -> TableShape {
    let name_of = |index: &u32| {
        schema
            .columns
            .get(*index as usize)
            .map_or_else(|| "?".to_owned(), |column| column.name.clone())
    };
    let columns = schema
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| ColumnShape {
            name: column.name.clone(),
            sql_type: column_type(dialect, column.kind),
            nullable: column.nullable,
            key: schema.primary_key.iter().any(|key| *key as usize == index),
        });
    TableShape {
        name: schema.name.clone(),
        columns: columns.collect(),
        indexes: schema
            .indexes
            .iter()
            .map(|index| index.iter().map(name_of).collect())
            .collect(),
    }
}
