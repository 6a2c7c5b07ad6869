//! `GET /v1/changes`: row changes of tables.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use utoipa::IntoParams;

use super::feed::{CaughtUp, Page, Source};
use super::queue::Line;
use super::stream::Stream;
use super::{resume_point, sse};
use crate::api::access::{Caller, Reader};
use crate::api::body::{blocking, parameters};
use crate::api::problem::Problem;
use crate::api::server::Shared;
use crate::core::bell::Hearing;
use crate::core::signal::Signal;
use crate::tables::{ChangeHead, ChangeKind, PublicTable, RowChange, StoreError, TableStore};

/// Changes that are read at once.
const PAGE_CHANGES: u64 = 500;

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Which {
    /// Only changes of these tables, with commas between them; without it, of all that the token may read.
    #[param(example = "orders,customers")]
    tables: Option<String>,
    /// Only changes after this sequence; without it, from now on. The header `Last-Event-ID` stands over it.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    after: Option<u64>,
}

/// Follow row changes of tables
///
/// Server-Sent Events without an end: `hello` with the sequence that it begins after, `change` with a row as it is now,
/// `must-refetch` for a table that has to be read again, `position` now and then when nothing was wanted. Go on after a
/// cut with the header `Last-Event-ID`.
#[utoipa::path(
    get,
    path = "/v1/changes",
    tag = "tables",
    params(
        Which,
        ("Last-Event-ID" = Option<u64>, Header, description = "The last id that was received; a browser's EventSource sends it")
    ),
    responses(
        (status = 200, description = "Events, without an end", content_type = "text/event-stream", body = String),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such public table", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "This host keeps no row changes", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn changes(
    State(shared): State<Shared>,
    Reader(caller): Reader,
    which: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let which = parameters(which)?;
    let after = resume_point(&headers, which.after)?;
    let tables = which.tables.as_deref().map(named).transpose()?;
    let refused = tables
        .iter()
        .flatten()
        .find(|table| !caller.may_read_table(table));
    if let Some(table) = refused {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "the token '{}' is limited to some tables, and '{table}' is none of them",
                caller.name
            ),
        ));
    }
    let store = shared.store.clone();
    let (head, public) = blocking(move || -> Result<(ChangeHead, Vec<PublicTable>), Problem> {
        Ok((
            store.change_head().map_err(away)?,
            store.public_tables().map_err(away)?,
        ))
    })
    .await?;
    if head.rows_max == 0 {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this host keeps no row changes: set [changes] rows_max in its lamphouse.toml to more than 0, and start it again",
        ));
    }
    let unknown = tables
        .iter()
        .flatten()
        .find(|table| !public.iter().any(|there| there.name == **table));
    if let Some(unknown) = unknown {
        let there = public.iter().map(|table| table.name.as_str());
        let readable: Vec<&str> = there.filter(|name| caller.may_read_table(name)).collect();
        let readable = if readable.is_empty() {
            "none yet".to_owned()
        } else {
            readable.join(", ")
        };
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no public table '{unknown}'; the tables are: {readable}"),
        ));
    }
    let after = after.unwrap_or(head.sequence);
    let place = match shared.subscriptions.place() {
        Ok(place) => place,
        Err(refused) => return Ok(*refused),
    };
    let stream = Stream {
        feed: shared.subscriptions.changes.clone(),
        who: caller.name.as_str().into(),
        filter: Arc::new(Filter { caller, tables }),
        after,
        hello: sse::hello(after, &format!("{{\"sequence\":{after}}}")),
        _place: place,
        meter: shared.watch.http.subscription(),
        catch_ups: shared.subscriptions.catch_ups.clone(),
    };
    Ok(stream.into_response())
}

/// The tables of a list with commas.
fn named(list: &str) -> Result<BTreeSet<String>, Problem> {
    let tables: BTreeSet<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
    if tables.contains("") {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "tables has an empty name: give names with commas between them, or leave it away for all",
        ));
    }
    Ok(tables)
}

fn away(error: StoreError) -> Problem {
    let status = match error {
        StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string())
}

/// Whose changes, of which tables.
pub(in crate::api) struct Filter {
    caller: Arc<Caller>,
    /// None: all that the caller may read.
    tables: Option<BTreeSet<String>>,
}

impl Filter {
    fn wants(&self, table: &str) -> bool {
        self.caller.may_read_table(table) && self.tables.as_ref().is_none_or(|tables| tables.contains(table))
    }
}

/// The table of changes.
pub(super) struct ChangeSource {
    store: Arc<dyn TableStore>,
    /// Until it is heard by a task that wakes threads.
    written: Mutex<Option<Hearing>>,
    woken: Arc<Signal>,
}

impl ChangeSource {
    pub(super) fn new(store: Arc<dyn TableStore>, written: Hearing) -> Self {
        Self {
            store,
            written: Mutex::new(Some(written)),
            woken: Arc::default(),
        }
    }

    fn page(&self, after: u64) -> Result<Page<Item>, String> {
        let page = self
            .store
            .changes(after, PAGE_CHANGES)
            .map_err(|error| error.to_string())?;
        let (mut items, mut at) = (Vec::with_capacity(page.changes.len()), after);
        for change in page.changes {
            // What is between is gone, or never was: see the table of changes.
            if change.sequence != at + 1 {
                items.push(self.gap(change.sequence - 1)?);
            }
            at = change.sequence;
            items.push(Item::of(change));
        }
        if items.is_empty() && page.head.sequence != after {
            items.push(self.gap(page.head.sequence)?);
            at = page.head.sequence;
        }
        Ok(Page {
            items,
            through: at,
            more: at < page.head.sequence,
        })
    }

    fn gap(&self, at: u64) -> Result<Item, String> {
        let tables = self.store.public_tables().map_err(|error| error.to_string())?;
        Ok(Item::Gap {
            at,
            tables: tables.into_iter().map(|table| table.name).collect(),
        })
    }
}

/// Something of the table of changes.
pub(super) enum Item {
    /// A change, written out.
    Change { at: u64, table: String, text: Bytes },
    /// What comes before `at` cannot be told.
    Gap { at: u64, tables: Vec<String> },
}

impl Item {
    fn of(change: RowChange) -> Self {
        let sequence = change.sequence;
        let table = sse::quoted(&change.table);
        let (position, generation) = (change.position, change.generation.0);
        let text = match change.kind {
            ChangeKind::MustRefetch(reason) => {
                let data = format!(
                    "{{\"sequence\":{sequence},\"table\":{table},\"reason\":\"{}\",\"position\":{position},\
                     \"generation\":{generation}}}",
                    reason.word()
                );
                sse::one("must-refetch", Some(sequence), &data)
            }
            kind => {
                let row = change.row.as_deref().unwrap_or("null");
                let mut data = String::with_capacity(row.len() + 160);
                let word = if kind == ChangeKind::Remove {
                    "remove"
                } else {
                    "put"
                };
                let _ = write!(
                    data,
                    "{{\"sequence\":{sequence},\"table\":{table},\"kind\":\"{word}\",\"key\":{},\"row\":{row},\
                     \"position\":{position},\"generation\":{generation}}}",
                    change.key.as_deref().unwrap_or("null")
                );
                sse::one("change", Some(sequence), &data)
            }
        };
        Self::Change {
            at: sequence,
            table: change.table,
            text,
        }
    }
}

/// One mark a table. The id comes with the last: who is cut off between them gets all of them again.
fn marks(filter: &Filter, at: u64, public: &[String]) -> String {
    let tables: Vec<&String> = match &filter.tables {
        Some(named) => named.iter().filter(|table| filter.wants(table)).collect(),
        None => public.iter().filter(|table| filter.wants(table)).collect(),
    };
    let mut text = String::new();
    for (place, table) in tables.iter().enumerate() {
        let data = format!(
            "{{\"sequence\":{at},\"table\":{},\"reason\":\"retention\"}}",
            sse::quoted(table)
        );
        let id = (place + 1 == tables.len()).then_some(at);
        sse::event("must-refetch", id, &data, &mut text);
    }
    if tables.is_empty() {
        sse::event("position", Some(at), &format!("{{\"sequence\":{at}}}"), &mut text);
    }
    text
}

impl Source for ChangeSource {
    type Item = Item;
    type Filter = Filter;
    const NAME: &'static str = "changes";

    fn read(&self, after: u64) -> Result<Page<Item>, String> {
        self.page(after)
    }

    fn place(item: &Item) -> (u64, Option<usize>) {
        match item {
            Item::Change { at, text, .. } => (*at, Some(text.len())),
            Item::Gap { at, .. } => (*at, None),
        }
    }

    fn line(filter: &Filter, item: &Item) -> Option<Line> {
        match item {
            Item::Change { at, table, text } => filter.wants(table).then(|| Line {
                at: *at,
                resets: false,
                text: text.clone(),
            }),
            Item::Gap { at, tables } => Some(Line {
                at: *at,
                resets: true,
                text: marks(filter, *at, tables).into(),
            }),
        }
    }

    fn catch_up(&self, filter: &Filter, after: u64) -> Result<CaughtUp, String> {
        let page = self.page(after)?;
        let (mut text, mut told) = (String::new(), None);
        for item in &page.items {
            if let Some(line) = Self::line(filter, item) {
                text.push_str(&String::from_utf8_lossy(&line.text));
                told = Some(line.at);
            }
        }
        Ok(CaughtUp {
            text,
            through: page.through,
            told,
            more: page.more,
        })
    }

    fn position(at: u64) -> Bytes {
        sse::one("position", Some(at), &format!("{{\"sequence\":{at}}}"))
    }

    fn signal(&self) -> Arc<Signal> {
        if let Some(mut written) = self.written.lock().take() {
            let woken = self.woken.clone();
            tokio::spawn(async move {
                loop {
                    written.rung().await;
                    woken.bump();
                }
            });
        }
        self.woken.clone()
    }
}
