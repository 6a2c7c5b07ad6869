//! The status, and what a person orders of a projection.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::access::Admin;
use super::audit::{self, audited};
use super::body::{blocking, json, read};
use super::problem::Problem;
use super::server::Shared;
use crate::deploy::operator::{Outcome, Verb};
use crate::telemetry::Event;
use crate::telemetry::events::Asked;

/// Bytes of a verb.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The host, its log, its projections and plugin files
///
/// What `lamphouse status --json` gives.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "operate",
    responses((status = 200, description = "How everything stands", body = Object))
)]
pub(super) async fn status(State(shared): State<Shared>, Admin(_): Admin) -> Result<Response, Problem> {
    Ok(json(&blocking(move || shared.operator.status()).await?))
}

/// Order something of a projection
///
/// What the commands `rebuild`, `pause`, `resume`, `cutover`, `rollback` and `dead-letters` do. Who asked, for what and
/// why is put on record in the event log first, and what came of it afterwards.
#[utoipa::path(
    post,
    path = "/v1/projections/{name}/operate",
    tag = "operate",
    params(
        ("name" = String, Path, description = "The projection"),
        ("Lamphouse-Reason" = Option<String>, Header, description = "Why, for the record; percent-encoded UTF-8")
    ),
    request_body = Verb,
    responses(
        (status = 200, description = "What was done", body = Object),
        (status = 400, description = "The body is no verb, or the reason is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It cannot be done as things stand", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn operate(
    State(shared): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let verb: Verb = read(&headers, body, BODY_BYTES_MAX, "a verb").await?;
    let asked = verb.to_string();
    let projection = name.clone();
    let action = audit::operate(&name, &verb);
    let operator = shared.operator.clone();
    let said = |outcome: &Outcome| outcome.message.clone();
    let answer = audited(&shared, &caller, &headers, action, said, move || {
        operator.operate(&name, verb)
    })
    .await;
    let said = match &answer {
        Ok(outcome) => outcome.message.clone(),
        Err(problem) => problem.detail.clone(),
    };
    Asked {
        by: &caller.name,
        projection: &projection,
        verb: &asked,
        answer: &said,
    }
    .emit();
    Ok(json(&answer?))
}
