//! `GET /v1/catalog`: the event types of the log; and the same as an AsyncAPI document.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::access::{Caller, Reader};
use super::asyncapi;
use super::body::{blocking, json};
use super::guard::Scheme;
use super::problem::Problem;
use super::server::Shared;
use crate::core::Position;
use crate::deploy::{CatalogDocument, CatalogType, Sees};

/// How long a request counts what is new. A log that takes longer, at the first request, is answered for as far as it
/// came, and says so by its position.
const COUNT_TIME_MAX: Duration = Duration::from_secs(5);

/// One event type in one version, with its schema.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TypeInFull {
    /// The counts reflect the log up to here.
    position: Position,
    /// The type.
    #[serde(flatten)]
    entry: CatalogType,
    /// What its schema file holds; null without one.
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<Value>,
}

/// List the event types of the log
///
/// Every event type and schema version: which streams carry it, how many there are, the first and the last, its JSON
/// Schema, the deployed projectors that get it and the upcasters that lift it. Types that nobody takes are listed
/// (`unconsumed`), and subscriptions that no event met (`unseen`). A token that is limited to some stream types sees and
/// counts the events of these.
#[utoipa::path(
    get,
    path = "/v1/catalog",
    tag = "log",
    responses(
        (status = 200, description = "The event types", body = CatalogDocument),
        (status = 409, description = "The code of an upcaster does not run here any more", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn catalog(
    State(shared): State<Shared>,
    Reader(caller): Reader,
) -> Result<Response, Problem> {
    Ok(json(&document(shared, &caller).await?))
}

/// Show one event type in one version, with its JSON Schema
#[utoipa::path(
    get,
    path = "/v1/catalog/{event_type}/{schema_version}",
    tag = "log",
    params(
        ("event_type" = String, Path, description = "The event type"),
        ("schema_version" = u32, Path, description = "Version of its schema", minimum = 1),
    ),
    responses(
        (status = 200, description = "The event type", body = TypeInFull),
        (status = 400, description = "The version is no number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The log has no such events, and there is no schema for them", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The code of an upcaster does not run here any more", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn event_type(
    State(shared): State<Shared>,
    Reader(caller): Reader,
    Path((event_type, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let Ok(schema_version) = version.parse::<u32>() else {
        let version: String = version.chars().take(60).collect();
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("'{version}' is no version of a schema: give a number from 1"),
        ));
    };
    let schemas = shared.schemas.set();
    let document = document(shared, &caller).await?;
    let position = document.position;
    let is_it = |one: &CatalogType| one.event_type == event_type && one.schema_version == schema_version;
    match document.types.into_iter().find(is_it) {
        Some(entry) => {
            let schema = schemas.schema(&entry.event_type, schema_version);
            Ok(json(&TypeInFull {
                position,
                document: schema.map(|schema| (*schema.document).clone()),
                entry,
            }))
        }
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "the log has no events of type '{event_type}' in version {schema_version}, and there is no schema for them"
            ),
        )),
    }
}

/// The event types as an AsyncAPI document
///
/// AsyncAPI 3.0: a channel for each type of streams, a message for each event type and version with its JSON Schema as
/// the payload, sent by an append and received by following the log.
#[utoipa::path(
    get,
    path = "/v1/asyncapi.json",
    tag = "log",
    responses(
        (status = 200, description = "An AsyncAPI 3.0 document", body = Object),
        (status = 409, description = "The code of an upcaster does not run here any more", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn asyncapi_document(
    State(shared): State<Shared>,
    Extension(Scheme(scheme)): Extension<Scheme>,
    Reader(caller): Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("127.0.0.1:7117")
        .to_owned();
    let schemas = shared.schemas.set();
    let catalog = document(shared, &caller).await?;
    // Whoever may not see a type may not see its schema either.
    Ok(json(&asyncapi::document(
        &catalog,
        &schemas,
        caller.stream_types.is_none(),
        scheme,
        &host,
    )))
}

async fn document(shared: Shared, caller: &Caller) -> Result<CatalogDocument, Problem> {
    let stream_types = caller.stream_types.clone();
    blocking(move || {
        let document = shared
            .catalog
            .document(COUNT_TIME_MAX, &Sees(stream_types.as_ref()));
        shared.catalog.follow();
        document
    })
    .await
}
