//! `GET /v1/tables`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use lamphouse_contract::{ColumnType, TableSchema};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::access::Reader;
use crate::api::body::{blocking, json, parameters};
use crate::api::problem::Problem;
use crate::api::server::Shared;
use crate::core::Position;
use crate::tables::select::ShownTable;
use crate::tables::{StoreError, TableStore};

/// Looks at a list that changes while it is read.
const LOOKS_MAX: usize = 5;

/// The list takes no parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Nothing {}

/// The public tables.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Tables {
    /// By name; those within the token's limits.
    tables: Vec<Table>,
}

/// One public table.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Table {
    /// The name under which it is read.
    name: String,
    /// The projection that makes it.
    projection: String,
    /// The generation that it shows.
    generation: i64,
    /// Last position of the log whose effects are in it.
    position: Position,
    /// Events that are parked: the table lacks their effects.
    parked_events: u64,
    /// In order.
    columns: Vec<Column>,
    /// Names of the columns that make the key.
    primary_key: Vec<String>,
}

/// One column of a table.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Column {
    /// Its name.
    name: String,
    /// What it holds.
    kind: Kind,
    /// Digits after the point; of decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<u8>,
    /// Whether a row may have none.
    nullable: bool,
}

/// What a column holds. Decimals, and integers beyond 2^53, come as strings; bytes as base64; timestamps as RFC 3339.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum Kind {
    Boolean,
    Integer,
    Real,
    Decimal,
    Text,
    Bytes,
    Timestamp,
    Json,
}

impl Table {
    fn new(shown: ShownTable, schema: &TableSchema) -> Self {
        let columns = schema.columns.iter().map(|column| Column {
            name: column.name.clone(),
            kind: match column.kind {
                ColumnType::Boolean => Kind::Boolean,
                ColumnType::Integer => Kind::Integer,
                ColumnType::Real => Kind::Real,
                ColumnType::Decimal(_) => Kind::Decimal,
                ColumnType::Text => Kind::Text,
                ColumnType::Bytes => Kind::Bytes,
                ColumnType::Timestamp => Kind::Timestamp,
                ColumnType::Json => Kind::Json,
            },
            scale: match column.kind {
                ColumnType::Decimal(scale) => Some(scale),
                _ => None,
            },
            nullable: column.nullable,
        });
        let key = schema
            .primary_key
            .iter()
            .map(|place| schema.columns[*place as usize].name.clone());
        Self {
            name: shown.name,
            projection: shown.projection.to_string(),
            generation: shown.generation.0,
            position: shown.position,
            parked_events: shown.parked_events,
            columns: columns.collect(),
            primary_key: key.collect(),
        }
    }
}

/// List the public tables
///
/// Those within the token's limits, with their columns and how far they are.
#[utoipa::path(
    get,
    path = "/v1/tables",
    tag = "tables",
    responses(
        (status = 200, description = "The tables, by name", body = Tables),
        (status = 400, description = "There is a parameter; the list takes none", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(shared): State<Shared>,
    Reader(caller): Reader,
    query: Result<Query<Nothing>, QueryRejection>,
) -> Result<Response, Problem> {
    let Nothing {} = parameters(query)?;
    let mut tables = blocking(move || tables(&*shared.store)).await?;
    tables.retain(|table| caller.may_read_table(&table.name));
    Ok(json(&Tables { tables }))
}

fn tables(store: &dyn TableStore) -> Result<Vec<Table>, StoreError> {
    let mut looks = 0;
    loop {
        looks += 1;
        let shown = store.shown_tables()?;
        let generations = store.generations()?;
        let known = |shown: &ShownTable| {
            let generation = generations
                .iter()
                .find(|generation| generation.id == shown.generation)?;
            generation
                .descriptor
                .tables
                .iter()
                .find(|table| table.name == shown.name)
        };
        let tables: Vec<Option<Table>> = shown
            .into_iter()
            .map(|shown| known(&shown).map(|schema| Table::new(shown, schema)))
            .collect();
        // One that is missing was switched away from and dropped between the two looks.
        if looks >= LOOKS_MAX || tables.iter().all(Option::is_some) {
            return Ok(tables.into_iter().flatten().collect());
        }
    }
}
