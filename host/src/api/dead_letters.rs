//! `/v1/dead-letters`: events that a projector could not take, and what is to become of them.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Admin;
use super::audit;
use super::body::{blocking, json, limit, parameters, read, read_or_default, segments};
use super::operate::{answered, order};
use super::problem::Problem;
use super::server::Shared;
use crate::core::{GenerationId, PluginName, Position};
use crate::deploy::Explanation;
use crate::deploy::difference::generation_number;
use crate::deploy::operator::{OperateError, Outcome, Verb};
use crate::deploy::story::LetterDetail;
use crate::tables::{DeadLetter, Discard, DiscardQuery, LetterQuery, StoreError};

/// Bytes of an order.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only this projection's.
    projection: Option<String>,
    /// Only this stream's.
    stream_id: Option<String>,
    /// Only this generation's: `3` or `g3`; a retired one's too.
    generation: Option<String>,
    /// Also those of retired generations.
    #[serde(default)]
    retired: bool,
    /// `next` of the answer before.
    after: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<u64>,
}

/// Which decisions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichDiscards {
    /// Only this projection's.
    projection: Option<String>,
    /// Only this stream's.
    stream_id: Option<String>,
    /// `next` of the answer before.
    after: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<u64>,
}

/// Some dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetters {
    /// In the order of the log.
    dead_letters: Vec<DeadLetter>,
    /// What to give as `after` for those that follow; null when there are none.
    next: Option<String>,
}

/// Some decisions to leave events out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Discards {
    /// In the order of the log.
    discarded: Vec<Discard>,
    /// What to give as `after` for those that follow; null when there are none.
    next: Option<String>,
}

/// What is to be replayed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Only this stream's.
    stream_id: Option<String>,
    /// Allow events after others that came later, although the plugin does not declare `partition = stream`.
    #[serde(default)]
    accept_reorder: bool,
    /// Why, for the record. The header `Lamphouse-Reason` says it too.
    reason: Option<String>,
}

/// What is to be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaveOut {
    /// This event.
    event_id: Option<String>,
    /// All of this stream that are parked.
    stream_id: Option<String>,
    /// Why, in 10 to 500 characters. The header `Lamphouse-Reason` says it too.
    reason: Option<String>,
    /// Who decided; the name of the token if nobody is named.
    by: Option<String>,
}

/// List dead letters
///
/// Parked events in the order of the log, those of the public generations and of the ones on their way. Go on with
/// `after` = `next` until `next` is null.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "operate",
    params(Which),
    responses(
        (status = 200, description = "Dead letters, and where to go on", body = DeadLetters),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Admin(_): Admin,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let which = parameters(which)?;
    let limit = limit(which.limit)?;
    let generation = which.generation.as_deref().map(generation_number).transpose();
    let generation = generation.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why))?;
    let (after, after_generation) = match which.after.as_deref() {
        None => (Position::START, None),
        Some(text) => cursor(text)?,
    };
    let mut query = LetterQuery {
        generation: generation.map(GenerationId),
        stream_id: which.stream_id.map(storable),
        skip_retired: !which.retired && generation.is_none(),
        after,
        after_generation,
        limit: limit + 1,
        ..LetterQuery::default()
    };
    let found = blocking(move || -> Result<DeadLetters, OperateError> {
        query.projection = known(&shared, which.projection.as_deref())?;
        let mut letters = shared.store.dead_letters(&query).map_err(away)?;
        let is_cut = letters.len() as u64 > limit;
        letters.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let last = letters.last().filter(|_| is_cut);
        Ok(DeadLetters {
            next: last.map(|last| format!("{}-{}", last.position, last.generation.0)),
            dead_letters: letters,
        })
    });
    Ok(json(&found.await?))
}

/// Show a dead letter
///
/// What failed and where, the plugin's last words, and the event before and after its generation's upcasters.
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{projection}/{event}",
    tag = "operate",
    params(
        ("projection" = String, Path, description = "The projection"),
        ("event" = String, Path, description = "The event's position or id")
    ),
    responses(
        (status = 200, description = "The dead letter and its event", body = LetterDetail),
        (status = 400, description = "The path is no text", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection or event, or it is no dead letter", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "An upcaster does not run with this host any more", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "It is neither a position nor an id", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Admin(_): Admin,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let (projection, event) = segments(path)?;
    let shown = blocking(move || shared.operator.dead_letter(&projection, &event)).await?;
    Ok(json(&shown))
}

/// Explain an event
///
/// Why it is, or is not, in the tables of each projection: not subscribed, dropped by an upcaster, not reached yet, applied
/// and to which rows, parked, discarded and by whom. The rows are found by applying it once more, in memory, to the rows of
/// now.
#[utoipa::path(
    get,
    path = "/v1/explain/{event}",
    tag = "operate",
    params(("event" = String, Path, description = "The event's position or id")),
    responses(
        (status = 200, description = "What became of it", body = Explanation),
        (status = 400, description = "The path is no text", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such event", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A plugin does not run with this host any more", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "It is neither a position nor an id", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn explain(
    State(shared): State<Shared>,
    Admin(_): Admin,
    event: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let event = segments(event)?;
    let explained = blocking(move || shared.operator.explain(&event)).await?;
    Ok(json(&explained))
}

/// List what was discarded
///
/// Decisions to leave events out: by whom, when and why. Go on with `after` = `next` until `next` is null.
#[utoipa::path(
    get,
    path = "/v1/discards",
    tag = "operate",
    params(WhichDiscards),
    responses(
        (status = 200, description = "Decisions, and where to go on", body = Discards),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn discards(
    State(shared): State<Shared>,
    Admin(_): Admin,
    which: Result<Query<WhichDiscards>, QueryRejection>,
) -> Result<Response, Problem> {
    let which = parameters(which)?;
    let limit = limit(which.limit)?;
    // A projection decides once on an event: position and projection name a decision.
    let after = match which.after.as_deref().map(|text| text.split_once('-')) {
        None => None,
        Some(Some((position, projection))) => match position.parse().map(Position) {
            Ok(position) if position <= Position::MAX => Some((position, storable(projection.to_owned()))),
            _ => return Err(wrong_cursor()),
        },
        Some(None) => return Err(wrong_cursor()),
    };
    let found = blocking(move || -> Result<Discards, OperateError> {
        let projection = known(&shared, which.projection.as_deref())?;
        let query = DiscardQuery {
            projection,
            stream_id: which.stream_id.map(storable),
            after,
            // One more tells whether there are more.
            limit: limit + 1,
        };
        let mut discarded = shared.store.discard_page(&query).map_err(away)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_cut = discarded.len() > limit;
        discarded.truncate(limit);
        let last = discarded.last().filter(|_| is_cut);
        Ok(Discards {
            next: last.map(|last| format!("{}-{}", last.position, last.projection)),
            discarded,
        })
    });
    Ok(json(&found.await?))
}

/// Replay dead letters
///
/// A projection's parked events, each stream's in order, up to the first that still fails. One request works for some
/// seconds: 202 when there is more to replay, then ask again. It is put on record in the event log first, and what came of
/// it afterwards.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{projection}/retry",
    tag = "operate",
    params(
        ("projection" = String, Path, description = "The projection"),
        ("Lamphouse-Reason" = Option<String>, Header, description = "Why, for the record; percent-encoded UTF-8")
    ),
    request_body(content = Option<Retry>, description = "Which; without a body all"),
    responses(
        (status = 200, description = "What came of it", body = Outcome),
        (status = 202, description = "The time for one request is over before all were tried; ask again for the rest",
            body = Outcome, headers(("Location" = String, description = "What is left"))),
        (status = 400, description = "The body or the reason is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It cannot be done as things stand", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry(
    State(shared): State<Shared>,
    Admin(caller): Admin,
    projection: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let projection = segments(projection)?;
    let what = "a retry ({\"stream_id\", \"accept_reorder\", \"reason\"})";
    let retry: Retry = read_or_default(&headers, body, BODY_BYTES_MAX, what).await?;
    let verb = Verb::RetryDeadLetters {
        stream_id: retry.stream_id.map(storable),
        accept_reorder: retry.accept_reorder,
    };
    let outcome = order(&shared, &caller, &headers, &projection, verb, retry.reason).await?;
    let is_done = !outcome.letters.as_ref().is_some_and(|letters| letters.more);
    Ok(answered(
        is_done,
        &format!("/v1/dead-letters?projection={projection}"),
        &outcome,
    ))
}

/// Leave events out
///
/// Now, and whenever the projection is built anew: parked ones, or the one at which the projection has stopped. What waits
/// behind one in its stream stays parked until it is retried. It is put on record in the event log first, and what came of
/// it afterwards.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{projection}/discard",
    tag = "operate",
    params(
        ("projection" = String, Path, description = "The projection"),
        ("Lamphouse-Reason" = Option<String>, Header, description = "Why, for the record; percent-encoded UTF-8")
    ),
    request_body = LeaveOut,
    responses(
        (status = 200, description = "They are left out", body = Outcome),
        (status = 400, description = "The body or the reason is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection, or the event is neither parked nor the one at which it \
            has stopped", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be done as things stand", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn discard(
    State(shared): State<Shared>,
    Admin(caller): Admin,
    projection: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let projection = segments(projection)?;
    let what = "a decision ({\"event_id\" or \"stream_id\", \"reason\", \"by\"})";
    let asked: LeaveOut = read(&headers, body, BODY_BYTES_MAX, what).await?;
    let wrong = |why: &str| Err(Problem::new(StatusCode::BAD_REQUEST, why));
    match (&asked.event_id, &asked.stream_id) {
        (None, None) => return wrong("name the event_id, or the stream_id, that is to be discarded"),
        (Some(_), Some(_)) => return wrong("name the event_id or the stream_id, not both"),
        _ => {}
    }
    let reason = match asked.reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => reason,
        None => match audit::reason_given(&headers, shared.log.limits())? {
            Some(reason) => reason,
            None => {
                return wrong(
                    "say why, in 'reason' or in the header Lamphouse-Reason, in 10 to 500 characters",
                );
            }
        },
    };
    let by = asked.by.filter(|by| !by.is_empty());
    if [&reason].into_iter().chain(&by).any(|text| text.contains('\0')) {
        return wrong("'reason' and 'by' may not hold U+0000");
    }
    let verb = Verb::DiscardDeadLetters {
        event_id: asked.event_id,
        stream_id: asked.stream_id.map(storable),
        reason,
        by: by.unwrap_or_else(|| caller.name.clone()),
    };
    let outcome = order(&shared, &caller, &headers, &projection, verb, None).await?;
    Ok(json(&outcome))
}

/// `4711-3`: position and generation.
fn cursor(text: &str) -> Result<(Position, Option<GenerationId>), Problem> {
    let read = || {
        let (position, generation) = text.split_once('-')?;
        let position = position.parse().ok().map(Position);
        let position = position.filter(|position| *position <= Position::MAX)?;
        Some((position, Some(GenerationId(generation.parse().ok()?))))
    };
    read().ok_or_else(wrong_cursor)
}

fn wrong_cursor() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "'after' is not what an answer gave as 'next': begin without it",
    )
}

/// No stream's id holds U+0000, and PostgreSQL takes none.
fn storable(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

fn known(shared: &Shared, name: Option<&str>) -> Result<Option<PluginName>, OperateError> {
    let Some(name) = name else { return Ok(None) };
    let all = shared.store.projections().map_err(away)?;
    match all.iter().find(|record| record.name.as_str() == name) {
        Some(record) => Ok(Some(record.name.clone())),
        None => {
            let names: Vec<&str> = all.iter().map(|record| record.name.as_str()).collect();
            let there = match names.as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            Err(OperateError::NotFound(format!(
                "there is no projection '{name}'; there are: {there}"
            )))
        }
    }
}

fn away(error: StoreError) -> OperateError {
    OperateError::Unavailable(error.to_string())
}
