//! `GET /v1/tables` and `GET /v1/tables/{table}`: the read tables, with PostgREST's conventions.
//!
//! *Invariants:* what the caller writes becomes names that are looked up and values that are bound, never SQL
//! ([`crate::tables::select`]). One answer is of one snapshot, and says of which: generation, position, what is parked.
//! A table beyond the token's limits is refused with 403, whether it is there or not.

mod answer;
mod ask;
mod grammar;
mod level;
mod window;
mod wishes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use lamphouse_contract::{ColumnType, TableSchema};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::ask::{Ask, QUERY_BYTES_MAX};
pub(super) use self::level::Levels;
use self::level::Waited;
use self::window::Window;
use self::wishes::Form;
use super::access::{Caller, Reader};
use super::body::{blocking, json, parameters};
use super::problem::Problem;
use super::server::Shared;
use crate::core::{PluginName, Position};
use crate::tables::select::{Select, SelectError, ShownTable};
use crate::tables::{GenerationRecord, GenerationState, StoreError, TableStore};

/// Time of a read, whatever `[query]` says: a request has 30 s.
const READ_TIME_MAX: Duration = Duration::from_secs(28);
/// Time that is left to a read after the longest wait.
const READ_TIME_MIN: Duration = Duration::from_secs(1);
/// Bytes of the list of tables in a message.
const LIST_BYTES_MAX: usize = 1_000;
/// Looks at a list that changes while it is read.
const LOOKS_MAX: usize = 5;

/// The list takes no parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The public tables.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tables {
    /// By name; those within the token's limits.
    tables: Vec<Table>,
}

/// One public table.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Table {
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
pub(super) struct Column {
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
pub(super) enum Kind {
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
pub(super) async fn list(
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

/// The parameters that are no filters.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "for the document alone: filters have the names of columns"
)]
pub(super) struct Fixed {
    /// The columns to show, with commas between them: `a`, `other:a` for `a` under another name, `*` for all.
    select: Option<String>,
    /// The order: `a`, `a.desc`, `a.desc.nullslast`, with commas between them. The key comes last by itself.
    order: Option<String>,
    /// Rows at the most; `rows_max` under `[query]` is the most that there are.
    #[param(minimum = 0, default = 1000)]
    limit: Option<u64>,
    /// Rows to leave out at the beginning.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64, default = 0)]
    offset: Option<u64>,
    /// Conditions that must all hold: `(a.gt.1,or(b.eq.x,c.is.null))`.
    and: Option<String>,
    /// Conditions of which one must hold: `(a.gt.1,and(b.eq.x,c.is.null))`.
    or: Option<String>,
    /// As `and`, and the opposite of it.
    #[param(rename = "not.and")]
    not_and: Option<String>,
    /// As `or`, and the opposite of it.
    #[param(rename = "not.or")]
    not_or: Option<String>,
    /// Wait until the table reflects this position, as an append has answered it.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    min_position: Option<u64>,
    /// How long to wait for it, in milliseconds.
    #[param(minimum = 0, maximum = 20_000, default = 5000)]
    min_position_wait_ms: Option<u64>,
}

/// Read a table
///
/// Rows of a public table, with PostgREST's conventions. Every other parameter is a filter: `column=operator.value`, with
/// the operators `eq`, `neq`, `gt`, `gte`, `lt`, `lte`, `like`, `ilike`, `in` and `is`, each also behind `not.`. One that
/// is neither is refused. `HEAD` gives the headers alone.
#[utoipa::path(
    get,
    path = "/v1/tables/{table}",
    tag = "tables",
    params(
        ("table" = String, Path, description = "The public name"),
        Fixed,
        ("Range" = Option<String>, Header, description = "Which rows: `0-24`"),
        ("Prefer" = Option<String>, Header, description = "`count=exact` counts all rows that meet the filter"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an answer that is kept"),
        ("Lamphouse-Min-Position" = Option<u64>, Header, description = "As `min_position`"),
    ),
    responses(
        (status = 200, description = "The rows",
            headers(
                ("Lamphouse-Position" = u64, description = "Last position of the log whose effects are in the rows"),
                ("Lamphouse-Generation" = i64, description = "The generation that they are of"),
                ("Lamphouse-Projection" = String, description = "The projection that makes the table"),
                ("Content-Range" = String, description = "Which rows, and of how many if they were counted: `0-24/*`"),
            ),
            content(
                (Vec<serde_json::Map<String, serde_json::Value>> = "application/json"),
                (serde_json::Map<String, serde_json::Value> = "application/vnd.pgrst.object+json"),
                (String = "text/csv"),
            )),
        (status = 206, description = "Some of the rows that were counted",
            content(
                (Vec<serde_json::Map<String, serde_json::Value>> = "application/json"),
                (serde_json::Map<String, serde_json::Value> = "application/vnd.pgrst.object+json"),
                (String = "text/csv"),
            )),
        (status = 304, description = "Nothing has changed since the answer with this ETag"),
        (status = 400, description = "A parameter, a filter or a header is wrong, or min_position is beyond the log's end",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such table", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "No such form, or one object was asked for and there is not one row", body = Problem,
            content_type = "application/problem+json"),
        (status = 414, description = "The query is too long", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "There are no rows in that range", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The read took too long and was stopped", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The table did not reach min_position in time, or a database is away; try again",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn table(
    State(shared): State<Shared>,
    Extension(levels): Extension<Arc<Levels>>,
    Reader(caller): Reader,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let start = Instant::now();
    let Path(name) = name.map_err(|wrong| wrong_request(wrong.body_text()))?;
    if !caller.may_read_table(&name) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "the token '{}' is limited to some tables, and this is none of them",
                caller.name
            ),
        ));
    }
    let query = query.unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        let detail = format!(
            "the query has {} bytes, and may have {QUERY_BYTES_MAX}",
            query.len()
        );
        return Err(Problem::new(StatusCode::URI_TOO_LONG, detail));
    }
    let ask = Ask::read(&query).map_err(wrong_request)?;
    let form = Form::wanted(&headers)?;
    let window = Window::of(&ask, &headers, shared.query.rows_max)?;
    let count = wishes::wants_count(&headers)?;
    let by_header = wishes::min_position(&headers).map_err(wrong_request)?;
    let least = ask.min_position.max(by_header).map(Position);
    let until = start + ask.wait;
    let select = Select {
        table: name,
        columns: ask.columns,
        filter: ask.filter,
        order: ask.order,
        offset: window.offset,
        limit: window.limit,
        count,
    };
    loop {
        if let Some(least) = least {
            wait(&shared, &levels, &caller, &select.table, least, until).await?;
        }
        let time_max = READ_TIME_MAX.saturating_sub(start.elapsed()).max(READ_TIME_MIN);
        let time_max = shared.query.time_max.min(time_max);
        let (store, select) = (shared.store.clone(), select.clone());
        let table = select.table.clone();
        let read = blocking(move || match store.select(&select, time_max) {
            Ok(selected) => Ok(Ok(selected)),
            Err(SelectError::NoTable(_)) => Ok(Err(store.shown_tables()?)),
            Err(error) => Err(Problem::from(error)),
        });
        let selected = match read.await? {
            Ok(selected) => selected,
            Err(tables) => {
                return Err(no_table(
                    &caller,
                    &table,
                    tables.iter().map(|table| table.name.as_str()),
                ));
            }
        };
        // Never so, unless the tables were made to follow another log in between.
        if least.is_some_and(|least| selected.shown.position < least) && Instant::now() < until {
            continue;
        }
        let asked = format!("{query} {window:?} {count}");
        let tag = answer::tag(&selected.shown, &asked, form);
        if wishes::has(&headers, &tag) {
            return Ok((
                StatusCode::NOT_MODIFIED,
                answer::headers_of(&selected.shown, &tag),
            )
                .into_response());
        }
        // Writing many rows takes its time too.
        return blocking(move || answer::rows(&selected, window, form, &tag)).await;
    }
}

/// Waits until the table reflects the position, or says why it does not.
async fn wait(
    shared: &Shared,
    levels: &Arc<Levels>,
    caller: &Caller,
    table: &str,
    least: Position,
    until: Instant,
) -> Result<(), Problem> {
    // What every append gets is there long before it is asked for; only a made-up position costs a look at the log.
    if levels.is_level(table, least) {
        return Ok(());
    }
    let log = shared.log.clone();
    let head = blocking(move || log.head()).await?.position;
    if least > head {
        return Err(wrong_request(format!(
            "min_position is {least}, and the log ends at {head}: give the position that an append has answered"
        )));
    }
    let store = shared.store.clone();
    let name = table.to_owned();
    let to_come = blocking(move || coming(&*store, &name)).await?;
    let projection = match to_come {
        Ok(projection) => projection,
        Err(tables) => return Err(no_table(caller, table, tables.iter().map(String::as_str))),
    };
    let seen = match levels.wait(table, least, until).await {
        Waited::Level => return Ok(()),
        Waited::Late(seen) => seen,
        Waited::Crowded => {
            let detail = "too many requests wait for a position at the moment; try again";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
    };
    let operator = shared.operator.clone();
    let status = tokio::task::spawn_blocking(move || operator.status()).await;
    let state = match status {
        Ok(Ok(status)) => {
            let mut all = status.projections.into_iter();
            let found = all.find(|status| status.name == projection.as_str());
            found.map_or_else(|| "unknown".to_owned(), |status| status.state)
        }
        _ => "unknown".to_owned(),
    };
    let position = seen.as_ref().map_or(0, |shown| shown.position.0);
    let reached = match &seen {
        Some(shown) => format!("table '{table}' reflects position {}", shown.position),
        None => format!("table '{table}' is being built and not public yet"),
    };
    let detail = format!(
        "{reached}, and min_position is {least}: projection '{projection}' is {state}; try again, or see \
         `lamphouse projection show {projection}`"
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .with("position", position)
        .with("min_position", least.0)
        .with("projection", projection.as_str())
        .with("state", state))
}

/// The projection that has this table, public or in the making; else the names that are public.
fn coming(store: &dyn TableStore, table: &str) -> Result<Result<PluginName, Vec<String>>, StoreError> {
    let tables = store.shown_tables()?;
    if let Some(shown) = tables.iter().find(|shown| shown.name == table) {
        return Ok(Ok(shown.projection.clone()));
    }
    let is_coming = |generation: &&GenerationRecord| {
        matches!(
            generation.state,
            GenerationState::Building | GenerationState::Ready
        ) && generation
            .descriptor
            .tables
            .iter()
            .any(|declared| declared.name == table)
    };
    let generations = store.generations()?;
    Ok(match generations.iter().find(is_coming) {
        Some(generation) => Ok(generation.projection.clone()),
        None => Err(tables.into_iter().map(|shown| shown.name).collect()),
    })
}

fn wrong_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn no_table<'a>(caller: &Caller, table: &str, tables: impl Iterator<Item = &'a str>) -> Problem {
    let mut list = String::new();
    for name in tables.filter(|name| caller.may_read_table(name)) {
        if list.len() + name.len() > LIST_BYTES_MAX {
            list.push_str(", …");
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(name);
    }
    let there = match list.as_str() {
        "" => "there is none yet".to_owned(),
        list => format!("there are: {list}"),
    };
    let detail = format!("there is no public table '{}'; {there}", grammar::shown(table));
    Problem::new(StatusCode::NOT_FOUND, detail)
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Self {
        let detail = error.to_string();
        match error {
            SelectError::NoTable(_) => Self::new(StatusCode::NOT_FOUND, detail),
            SelectError::Wrong(_) => wrong_request(detail),
            SelectError::Late(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            SelectError::Store(error) => error.into(),
        }
    }
}
