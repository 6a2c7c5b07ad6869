//! `GET /v1/tables/{table}`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::ask::{Ask, QUERY_BYTES_MAX};
use super::window::Window;
use super::wishes::Form;
use super::{READS_MAX, Reads, answer, no_table, reach, wishes, wrong_request};
use crate::api::access::Reader;
use crate::api::body::blocking;
use crate::api::problem::Problem;
use crate::api::server::Shared;
use crate::core::Position;
use crate::tables::TableStore;
use crate::tables::select::{Select, SelectError, ShownTable};

/// Time of a read, whatever `[query]` says: a request has 30 s.
const READ_TIME_MAX: Duration = Duration::from_secs(28);
/// Time that is left to a read after the longest wait.
const READ_TIME_MIN: Duration = Duration::from_secs(1);
/// How long a read waits its turn.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// The parameters that are no filters.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "for the document alone: filters have the names of columns"
)]
pub(in crate::api) struct Fixed {
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
pub(in crate::api) async fn table(
    State(shared): State<Shared>,
    Extension(reads): Extension<Arc<Reads>>,
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
    let asked = Arc::new(Asked {
        least,
        known: headers,
        text: format!("{query} {window:?} {count}"),
        select,
        window,
        form,
    });
    loop {
        if let Some(least) = least {
            reach::wait(&shared, &reads.levels, &caller, &asked.select.table, least, until).await?;
        }
        // A read goes on when its request is given up, and keeps its turn for so long.
        let left = READ_TIME_MAX.saturating_sub(start.elapsed());
        let turn = tokio::time::timeout(TURN_WAIT.min(left), reads.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let detail = format!("{READS_MAX} reads are under way, and none was over in time; try again");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        let left = READ_TIME_MAX.saturating_sub(start.elapsed()).max(READ_TIME_MIN);
        let time_max = shared.query.time_max.min(left);
        let (store, asking) = (shared.store.clone(), asked.clone());
        let read = blocking(move || {
            let _turn = turn;
            asking.read(&*store, time_max)
        });
        match read.await? {
            Read::Answer(answer) => return Ok(answer),
            Read::Behind => reads.levels.forget(),
            Read::Nothing(tables) => {
                let names = tables.iter().map(|table| table.name.as_str());
                return Err(no_table(&caller, &asked.select.table, names));
            }
        }
    }
}

/// A request that was read.
struct Asked {
    select: Select,
    window: Window,
    form: Form,
    least: Option<Position>,
    /// With the tags of answers that the caller has.
    known: HeaderMap,
    /// All that makes the answer beside the table.
    text: String,
}

enum Read {
    Answer(Response),
    /// It reflects less than is wanted: never so, unless the tables were made to follow another log in between.
    Behind,
    /// There is no such table, but these.
    Nothing(Vec<ShownTable>),
}

impl Asked {
    fn read(&self, store: &dyn TableStore, time_max: Duration) -> Result<Read, Problem> {
        let selected = match store.select(&self.select, time_max) {
            Ok(selected) => selected,
            Err(SelectError::NoTable(_)) => return Ok(Read::Nothing(store.shown_tables()?)),
            Err(error) => return Err(error.into()),
        };
        if self.least.is_some_and(|least| selected.shown.position < least) {
            return Ok(Read::Behind);
        }
        let tag = answer::tag(&selected.shown, &self.text, self.form);
        if wishes::has(&self.known, &tag) {
            let headers = answer::headers_of(&selected.shown, &tag);
            return Ok(Read::Answer((StatusCode::NOT_MODIFIED, headers).into_response()));
        }
        answer::rows(&selected, self.window, self.form, &tag).map(Read::Answer)
    }
}
