//! `GET /v1/streams/{stream_id}/state`: what a stream looked like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Reader;
use super::body::{blocking, json, parameters};
use super::problem::Problem;
use super::server::Shared;
use crate::deploy::{AskedState, At, By, StateError, StreamState};
use crate::log::EventQuery;

/// Whose rows, and up to where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Point {
    /// The projector that makes the rows.
    projector: String,
    /// A position of the log; or a time (RFC 3339), or a day to its end in UTC, which need `by`. Without it, all events.
    at: Option<String>,
    /// Which of an event's times counts: when it happened, or when it was stored.
    #[param(inline)]
    by: Option<By>,
    /// A generation of the projector; without it, the public one.
    #[param(minimum = 1)]
    generation: Option<i64>,
}

/// See what a stream looked like at a time
///
/// The rows that a deployed projector makes of this one stream's events up to a point, in memory: by the code and the
/// upcasters of its public generation, or of another one. With `by=occurred`, events count that had happened by then, in
/// the order of the stream. `partial` says that the public tables may hold other rows, because a row may depend on more
/// than one stream. Nothing is written.
#[utoipa::path(
    get,
    path = "/v1/streams/{stream_id}/state",
    tag = "log",
    params(("stream_id" = String, Path, description = "The stream"), Point),
    responses(
        (status = 200, description = "The rows", body = StreamState),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream, projector or generation", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The projector has no public generation, or its code does not run here any more",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The code cannot take an event (`position`, `event_id`, `trace`, `log`), or a limit of \
            [state] is reached", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn state(
    State(shared): State<Shared>,
    Reader(caller): Reader,
    Path(stream_id): Path<String>,
    point: Result<Query<Point>, QueryRejection>,
) -> Result<Response, Problem> {
    let point = parameters(point)?;
    let bad = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
    let at = match (&point.at, point.by) {
        (Some(text), by) => Some(At::parse(text, by).map_err(bad)?),
        (None, Some(by)) => return Err(bad(format!("by={by} goes with a time: give at, or leave by out"))),
        (None, None) => None,
    };
    let asked = AskedState {
        stream_id,
        projector: point.projector,
        generation: point.generation,
        at,
    };
    let first = EventQuery {
        stream_id: Some(asked.stream_id.clone()),
        limit: 1,
        ..EventQuery::default()
    };
    let log = shared.log.clone();
    let first = blocking(move || log.events(&first)).await?.pop();
    if let Some(first) = first
        && !caller.may_use_stream_type(&first.stream_type)
    {
        return Err(caller.refuse_stream_type(&first.stream_type));
    }
    // Whoever asked may go away, or the time for a request may be over: then nobody needs the rows.
    let stop = StopAtEnd(Arc::default());
    let stopped = stop.0.clone();
    let mut made: StreamState =
        blocking(move || -> Result<_, StateError> { shared.states.make(&asked, &stopped) }).await?;
    let tables = made.tables.len();
    made.tables.retain(|table, _| caller.may_read_table(table));
    if made.tables.is_empty() && tables > 0 {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "the token '{}' is limited to some tables, and projector '{}' has none of them",
                caller.name, made.projector
            ),
        ));
    }
    Ok(json(&made))
}

/// Ends the run when the handler is over.
struct StopAtEnd(Arc<AtomicBool>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
