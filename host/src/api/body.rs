//! What comes in a request, and what goes out: JSON, with bounds.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Items of one answer at the most. A client that wants more goes on by `next`.
const LIMIT_MAX: u64 = 1_000;
/// Items of one answer, if the caller does not say.
const LIMIT: u64 = 100;

/// Reads a body of at most so many bytes. `what` says what it should be: `a verb`.
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    what: &str,
) -> Result<T, Problem> {
    is_json(headers)?;
    parse(&whole(body, bytes_max).await?, what)
}

/// The same, where no body at all says as much as an empty object.
pub(super) async fn read_or_default<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    what: &str,
) -> Result<T, Problem> {
    let body = whole(body, bytes_max).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    is_json(headers)?;
    Ok(parse::<Option<T>>(&body, what)?.unwrap_or_default())
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    if content_type(headers).eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body must be of type application/json",
    ))
}

/// What the body is said to be, without parameters; empty where nothing is said.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, bytes_max).await.map_err(|error| {
        let detail = format!("the body could not be read, or is larger than {bytes_max} bytes: {error}");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })
}

fn parse<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            "." => String::new(),
            path => format!(" at {path}"),
        };
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not {what}:{place} {}", error.inner()),
        )
    })?;
    deserializer.end().map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not {what}: {error}"),
        )
    })?;
    Ok(read)
}

/// What a path holds in its places.
pub(super) fn segments<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    match path {
        Ok(Path(segments)) => Ok(segments),
        Err(wrong) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the path of the address is wrong: {}", wrong.body_text()),
        )),
    }
}

/// The parameters of a query.
pub(super) fn parameters<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    match query {
        Ok(Query(parameters)) => Ok(parameters),
        Err(wrong) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the query of the address is wrong: {}", wrong.body_text()),
        )),
    }
}

/// How many items an answer may hold: what the caller says, or 100.
pub(super) fn limit(given: Option<u64>) -> Result<u64, Problem> {
    match given.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("limit is {other}, and may be 1 to {LIMIT_MAX}: go on by 'after' for more"),
        )),
    }
}

/// Runs what blocks on a thread for it.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Send + 'static,
    Problem: From<E>,
{
    // What it does belongs to the request.
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(answer) => answer.map_err(Problem::from),
        Err(error) => {
            let detail = format!("the host failed on this request, which is a bug of ours: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            let detail = format!("the answer could not be written as JSON, which is a bug of ours: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}
