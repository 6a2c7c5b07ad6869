//! `/v1/projections`: how they stand, what is ordered of them, and what two of their generations differ in.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Admin;
use super::audit;
use super::body::{blocking, json, limit, parameters, read_or_default, segments};
use super::operate::{answered, order};
use super::problem::Problem;
use super::server::Shared;
use crate::deploy::detail::ProjectionDetail;
use crate::deploy::difference::{self, Comparison, Difference, generation_number};
use crate::deploy::operator::{Outcome, ProjectionStatus, Verb};

/// Bytes of an order.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Every projection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Projections {
    /// By name.
    projections: Vec<ProjectionStatus>,
}

/// What can be ordered of a projection.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ordered {
    /// Build its tables anew beside the live ones, and switch to them.
    Rebuild,
    /// Stop applying events; the tables stay readable.
    Pause,
    /// Go on after a pause or a fault.
    Resume,
    /// Switch to the generation that is building or ready, as soon as it is level.
    Cutover,
    /// Switch back to the generation that was live before.
    Rollback,
}

/// How it is meant.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    /// Why, for the record; of a pause, the status shows it. The header `Lamphouse-Reason` says it too.
    reason: Option<String>,
    /// Of a cutover or rollback: allow columns and tables to go or change type.
    #[serde(default)]
    breaking: bool,
}

/// Which two generations, and which part of what they differ in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The one generation: `3` or `g3`. By default the public one, or, where none is on its way, the last retired one.
    from: Option<String>,
    /// The other. By default the one on its way, or, where none is, the public one.
    to: Option<String>,
    /// Only this table.
    table: Option<String>,
    /// `next` of the answer before.
    after: Option<String>,
    /// Differences at the most; fewer come where rows are large or little differs.
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<u64>,
}

/// List the projections
#[utoipa::path(
    get,
    path = "/v1/projections",
    tag = "operate",
    responses((status = 200, description = "How each of them stands", body = Projections))
)]
pub(super) async fn list(State(shared): State<Shared>, Admin(_): Admin) -> Result<Response, Problem> {
    let status = blocking(move || shared.operator.status()).await?;
    Ok(json(&Projections {
        projections: status.projections,
    }))
}

/// Show one projection
///
/// Its generations with their tables and columns, faults with trace, and the plugin's log lines.
#[utoipa::path(
    get,
    path = "/v1/projections/{name}",
    tag = "operate",
    params(("name" = String, Path, description = "The projection")),
    responses(
        (status = 200, description = "Everything that is known of it", body = ProjectionDetail),
        (status = 400, description = "The path is no text", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Admin(_): Admin,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = segments(name)?;
    let shown = blocking(move || shared.operator.projection(&name)).await?;
    Ok(json(&shown))
}

/// Order something of a projection
///
/// What the commands `rebuild`, `pause`, `resume`, `cutover` and `rollback` do. Long work goes on behind the answer: 202,
/// and `Location` says where to watch it. Who ordered it and why is put on record in the event log first, and what came
/// of it afterwards.
#[utoipa::path(
    post,
    path = "/v1/projections/{name}/{verb}",
    tag = "operate",
    params(
        ("name" = String, Path, description = "The projection"),
        ("verb" = inline(Ordered), Path, description = "What is ordered"),
        ("Lamphouse-Reason" = Option<String>, Header, description = "Why, for the record; percent-encoded UTF-8")
    ),
    request_body(content = Option<Meant>, description = "How it is meant; none is as good as an empty object"),
    responses(
        (status = 200, description = "It is done", body = Outcome),
        (status = 202, description = "It goes on", body = Outcome,
            headers(("Location" = String, description = "Where to watch it"))),
        (status = 400, description = "The body or the reason is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection, or nothing of that name can be ordered",
            body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be done as things stand", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn operate(
    State(shared): State<Shared>,
    Admin(caller): Admin,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (name, verb) = segments(path)?;
    let Ok(ordered) = serde_json::from_value::<Ordered>(verb.as_str().into()) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "of a projection can be ordered: rebuild, pause, resume, cutover, rollback",
        ));
    };
    let what = "an order ({\"reason\"}, of cutover and rollback also {\"breaking\"})";
    let Meant { reason, breaking } = read_or_default(&headers, body, BODY_BYTES_MAX, what).await?;
    if breaking && !matches!(ordered, Ordered::Cutover | Ordered::Rollback) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("'breaking' says something of cutover and rollback alone, not of {verb}"),
        ));
    }
    let reason = match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => Some(reason),
        None => audit::reason_given(&headers, shared.log.limits())?,
    };
    let verb = match ordered {
        Ordered::Rebuild => Verb::Rebuild,
        Ordered::Pause => Verb::Pause {
            reason: reason.clone().unwrap_or_default(),
        },
        Ordered::Resume => Verb::Resume,
        Ordered::Cutover => Verb::Cutover { breaking },
        Ordered::Rollback => Verb::Rollback { breaking },
    };
    let outcome = order(&shared, &caller, &headers, &name, verb, reason).await?;
    Ok(answered(
        outcome.done,
        &format!("/v1/projections/{name}"),
        &outcome,
    ))
}

/// Compare two generations
///
/// The rows that only one of them has, and those that differ, by table and key. Both are walked in the order of their
/// keys; a page may hold less than `limit`, also nothing: go on with `after` = `next` until `next` is null. The answer
/// says at which checkpoints the two stood: what moved on meanwhile may show as a difference.
#[utoipa::path(
    get,
    path = "/v1/projections/{name}/diff",
    tag = "operate",
    params(("name" = String, Path, description = "The projection"), Which),
    responses(
        (status = 200, description = "What differs, and where to go on", body = Difference),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection, generation or table", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "There is nothing to compare it with", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "`after` is of another comparison, or both sides are one", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn diff(
    State(shared): State<Shared>,
    Admin(_): Admin,
    name: Result<Path<String>, PathRejection>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let (name, which) = (segments(name)?, parameters(which)?);
    let wrong = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
    let number = |given: Option<String>| given.as_deref().map(generation_number).transpose();
    let wanted = Comparison {
        from: number(which.from).map_err(wrong)?,
        to: number(which.to).map_err(wrong)?,
        table: which.table,
        after: which.after,
        limit: limit(which.limit)?,
    };
    let found = blocking(move || difference::difference(&*shared.store, &name, &wanted)).await?;
    Ok(json(&found))
}
