//! The status, and what a person orders of a projection.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::access::{Admin, Caller};
use super::audit::audited;
use super::body::{blocking, json};
use super::problem::Problem;
use super::server::Shared;
use crate::deploy::audit::Action;
use crate::deploy::operator::{HostStatus, Outcome, Verb};
use crate::telemetry::Event;
use crate::telemetry::events::Asked;

/// The host, its log, its projections and plugin files
///
/// What `lamphouse status --json` gives.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "operate",
    responses((status = 200, description = "How everything stands", body = HostStatus))
)]
pub(super) async fn status(State(shared): State<Shared>, Admin(_): Admin) -> Result<Response, Problem> {
    let noted = shared.noted.all();
    let mut status = blocking(move || shared.operator.status()).await?;
    status.problems.extend(noted);
    Ok(json(&status))
}

/// Does what somebody orders of a projection, on record.
pub(super) async fn order(
    shared: &Shared,
    caller: &Arc<Caller>,
    headers: &HeaderMap,
    projection: &str,
    verb: Verb,
    reason: Option<String>,
) -> Result<Outcome, Problem> {
    let asked = verb.to_string();
    let mut action = Action::operate(projection, &verb);
    action.reason = reason.or(action.reason);
    let operator = shared.operator.clone();
    let name = projection.to_owned();
    let said = |outcome: &Outcome| outcome.message.clone();
    let answer = audited(shared, caller, headers, action, said, move || {
        operator.operate(&name, verb)
    })
    .await;
    let said = match &answer {
        Ok(outcome) => &outcome.message,
        Err(problem) => &problem.detail,
    };
    Asked {
        by: &caller.name,
        projection,
        verb: &asked,
        answer: said,
    }
    .emit();
    answer
}

/// 200 with what was done, or 202 with what goes on and where to watch it.
pub(super) fn answered(is_done: bool, watch: &str, value: &impl Serialize) -> Response {
    let mut answer = json(value);
    if !is_done {
        *answer.status_mut() = StatusCode::ACCEPTED;
        // A path of ours holds names that are safe in a header; any other is left out.
        if let Ok(place) = HeaderValue::from_str(watch) {
            answer.headers_mut().insert(header::LOCATION, place);
        }
    }
    answer
}
