//! `POST /v1/append`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::Appender;
use super::body::{blocking, json, read};
use super::problem::Problem;
use super::server::Shared;
use crate::log::{AppendRequest, Appended, IdempotencyKey, StreamAppend};

/// The header of a key; as draft-ietf-httpapi-idempotency-key-header has it.
const KEY: &str = "idempotency-key";

/// Events for one stream or several, all or nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Append {
    /// One or more streams, each at most once.
    #[schema(min_items = 1)]
    streams: Vec<StreamAppend>,
}

/// Append events
///
/// All of them go in, durably, or none. With an `Idempotency-Key`, the same request under the same key gets the first
/// answer again (`repeated` is true), and adds nothing.
#[utoipa::path(
    post,
    path = "/v1/append",
    tag = "log",
    request_body = Append,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated append return the first answer")),
    responses(
        (status = 200, description = "Position of the last event, and each stream's version", body = Appended),
        (status = 400, description = "The append breaks a rule", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A stream is not at the expected version; nothing was appended", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key was used for another append, or events are not as the schemas want \
            (`violations`, `total`, `events`)", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn append(
    State(shared): State<Shared>,
    Appender(caller): Appender,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let idempotency = match headers.get(KEY) {
        None => None,
        Some(key) => {
            let key = key.to_str().map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "the Idempotency-Key must be visible ASCII",
                )
            })?;
            Some(IdempotencyKey {
                scope: caller.name.clone(),
                key: key.to_owned(),
            })
        }
    };
    let what = "an append ({\"streams\":[{\"stream_id\",\"stream_type\",\"events\":[…]}]})";
    let Append { streams } = read(&headers, body, shared.body_bytes_max, what).await?;
    for stream in &streams {
        if !caller.may_use_stream_type(&stream.stream_type) {
            return Err(caller.refuse_stream_type(&stream.stream_type));
        }
    }
    let request = AppendRequest { streams, idempotency };
    let append = move || -> Result<Appended, Problem> {
        shared.schemas.check(request.events())?;
        Ok(shared.log.append(request)?)
    };
    let appended = blocking(append).await?;
    Ok(json(&appended))
}
