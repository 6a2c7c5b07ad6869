//! `GET /v1/events` and `GET /v1/streams/{id}`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Reader;
use super::body::{blocking, json, limit, parameters};
use super::problem::Problem;
use super::server::Shared;
use super::subscribe::{self, Followed};
use crate::core::{Position, StoredEvent, StreamVersion};
use crate::log::{EventLog, EventQuery, LogError};

/// JSON of one answer's events; later ones are left to the next.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only events of these types, with commas between them.
    event_type: Option<String>,
    /// Only events of streams of this type.
    stream_type: Option<String>,
    /// Only events of this stream.
    stream_id: Option<String>,
    /// Only events recorded at this time (RFC 3339) or later.
    recorded_from: Option<DateTime<Utc>>,
    /// Only events recorded before this time (RFC 3339).
    recorded_before: Option<DateTime<Utc>>,
    /// Only events after this position (before it, when backward): `next` of the answer before.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    after: Option<u64>,
    /// Newest first.
    #[serde(default)]
    backward: bool,
    /// At most so many; fewer come where they are large.
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<u64>,
    /// Answer with Server-Sent Events, and go on with those that are appended later: `hello`, then `event` with an event
    /// each, `position` now and then when nothing was wanted. Not together with `backward`, `limit` and `recorded_before`.
    #[serde(default)]
    follow: bool,
}

/// Which part of a stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Only events after this position of the log (before it, when backward): `next` of the answer before.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    after: Option<u64>,
    /// Newest first.
    #[serde(default)]
    backward: bool,
    /// At most so many; fewer come where they are large.
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<u64>,
}

/// Some events of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Events {
    /// In order.
    events: Vec<StoredEvent>,
    /// What to give as `after` for those that follow; null when there are none now.
    next: Option<Position>,
    /// Position of the log's last event when these were read, or before.
    head: Position,
}

/// A stream, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stream {
    /// The stream.
    stream_id: String,
    /// Its type.
    stream_type: String,
    /// Version of its last event.
    version: StreamVersion,
    /// In order.
    events: Vec<StoredEvent>,
    /// What to give as `after` for those that follow; null when there are none now.
    next: Option<Position>,
}

/// Read events of the log
///
/// Oldest first, or newest first when `backward`. Go on with `after` = `next` until `next` is null. With `follow`, goes on
/// without an end.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "log",
    params(
        Which,
        ("Last-Event-ID" = Option<u64>, Header, description = "With `follow`: the last id that was received; stands over `after`")
    ),
    responses(
        (
            status = 200,
            description = "Events, and where to go on; with `follow`, Server-Sent Events without an end",
            content((Events = "application/json"), (String = "text/event-stream"))
        ),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (
            status = 409,
            description = "With `follow`: the log ends before the position to go on from",
            body = Problem,
            content_type = "application/problem+json"
        ),
    )
)]
pub(super) async fn events(
    State(shared): State<Shared>,
    Reader(caller): Reader,
    which: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let which = parameters(which)?;
    if let Some(stream_type) = &which.stream_type
        && !caller.may_use_stream_type(stream_type)
    {
        return Err(caller.refuse_stream_type(stream_type));
    }
    let types = which.event_type.as_deref().unwrap_or_default();
    let event_types: Vec<String> = types
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let resume_point = subscribe::resume_point(&headers, which.after)?;
    if which.follow {
        not_backward(&which)?;
        let followed = Followed {
            event_types,
            stream_type: which.stream_type,
            stream_id: which.stream_id,
            recorded_from: which.recorded_from.map(|at| at.timestamp_micros()),
            after: resume_point,
        };
        return subscribe::follow(shared, caller, followed).await;
    }
    let query = EventQuery {
        stream_id: which.stream_id,
        stream_type: which.stream_type,
        stream_types: caller
            .stream_types
            .as_ref()
            .map(|types| types.iter().cloned().collect()),
        event_types,
        after: position(which.after)?,
        recorded_from: which.recorded_from.map(|at| at.timestamp_micros()),
        recorded_before: which.recorded_before.map(|at| at.timestamp_micros()),
        backward: which.backward,
        limit: limit(which.limit)?,
    };
    let found = blocking(move || -> Result<Events, LogError> {
        let head = shared.log.head()?.position;
        let (events, next) = page(shared.log.as_ref(), query)?;
        Ok(Events { events, next, head })
    });
    Ok(json(&found.await?))
}

/// Read one stream
///
/// Its events in order, or newest first when `backward`. Go on with `after` = `next` until `next` is null.
#[utoipa::path(
    get,
    path = "/v1/streams/{stream_id}",
    tag = "log",
    params(("stream_id" = String, Path, description = "The stream"), Part),
    responses(
        (status = 200, description = "The stream's events, and where to go on", body = Stream),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stream(
    State(shared): State<Shared>,
    Reader(caller): Reader,
    Path(stream_id): Path<String>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Problem> {
    let part = parameters(part)?;
    let query = EventQuery {
        stream_id: Some(stream_id.clone()),
        after: position(part.after)?,
        backward: part.backward,
        limit: limit(part.limit)?,
        ..EventQuery::default()
    };
    let last = EventQuery {
        stream_id: Some(stream_id.clone()),
        backward: true,
        limit: 1,
        ..EventQuery::default()
    };
    let found = blocking(move || -> Result<Option<Stream>, LogError> {
        let Some(last) = shared.log.events(&last)?.pop() else {
            return Ok(None);
        };
        let (events, next) = page(shared.log.as_ref(), query)?;
        // What was appended between the two reads is of this stream too.
        let newest = events.iter().map(|event| event.stream_version).max();
        Ok(Some(Stream {
            stream_id: last.stream_id,
            stream_type: last.stream_type,
            version: newest.unwrap_or_default().max(last.stream_version),
            events,
            next,
        }))
    });
    match found.await? {
        Some(stream) if caller.may_use_stream_type(&stream.stream_type) => Ok(json(&stream)),
        Some(stream) => Err(caller.refuse_stream_type(&stream.stream_type)),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no stream '{stream_id}'"),
        )),
    }
}

/// Events of a query, and where to go on.
fn page(log: &dyn EventLog, mut query: EventQuery) -> Result<(Vec<StoredEvent>, Option<Position>), LogError> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    // One more than is wanted says whether there are more.
    query.limit += 1;
    let mut events = log.events(&query)?;
    let mut bytes = 0;
    let fit = events
        .iter()
        .take_while(|event| {
            bytes += event.data.get().len() + event.metadata.get().len();
            bytes <= ANSWER_BYTES_MAX
        })
        .count();
    let shown = fit.max(1).min(limit);
    let next = (events.len() > shown).then(|| events[shown - 1].position);
    events.truncate(shown);
    Ok((events, next))
}

/// Refuses what makes no sense for events that come later.
fn not_backward(which: &Which) -> Result<(), Problem> {
    let given = [
        ("backward", which.backward),
        ("limit", which.limit.is_some()),
        ("recorded_before", which.recorded_before.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("follow goes on without an end, and takes no '{name}'"),
        )),
        None => Ok(()),
    }
}

fn position(given: Option<u64>) -> Result<Option<Position>, Problem> {
    match given.map(Position) {
        Some(after) if after > Position::MAX => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("after is {after}, and positions stay below 2^53"),
        )),
        given => Ok(given),
    }
}
