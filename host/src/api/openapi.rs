//! The routes, and the OpenAPI document that is made of them.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::server::Shared;
use super::{
    append, catalog, dead_letters, events, metrics, operate, plugins, projections, ready, state, subscribe,
    tables,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lamphouse",
        description = "Append events, read them, and operate projections. Errors are problem documents (RFC 9457)."
    ),
    modifiers(&Bearer),
    security(("token" = [])),
    tags(
        (name = "log", description = "The event log"),
        (name = "tables", description = "The read tables"),
        (name = "operate", description = "The host and its projections"),
        (name = "watch", description = "Health, readiness and metrics"),
    )
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Every route, and what they say of themselves.
pub(super) fn routes() -> (Router<Shared>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(append::append))
        .routes(routes!(events::events))
        .routes(routes!(events::stream))
        .routes(routes!(subscribe::changes))
        .routes(routes!(state::state))
        .routes(routes!(catalog::catalog))
        .routes(routes!(catalog::event_type))
        .routes(routes!(catalog::asyncapi_document))
        .routes(routes!(ready::health))
        .routes(routes!(ready::ready))
        .routes(routes!(metrics::answer::metrics))
        .routes(routes!(tables::list::list))
        .routes(routes!(tables::read::table))
        .routes(routes!(operate::status))
        .routes(routes!(projections::list))
        .routes(routes!(projections::show))
        .routes(routes!(projections::operate))
        .routes(routes!(projections::diff))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::show, plugins::put, plugins::remove))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::discards))
        .routes(routes!(dead_letters::show))
        .routes(routes!(dead_letters::explain))
        .routes(routes!(dead_letters::retry))
        .routes(routes!(dead_letters::discard))
        .split_for_parts();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            let common = COMMON.iter().map(|(status, description)| {
                let content = ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("Problem")))
                    .build();
                let response = ResponseBuilder::new()
                    .description(*description)
                    .content("application/problem+json", content);
                ((*status).to_owned(), response.build())
            });
            for (status, response) in common {
                let there = &mut operation.responses.responses;
                there.entry(status).or_insert(RefOr::T(response));
            }
        }
    }
    (router, document)
}

/// What any request may get.
const COMMON: [(&str, &str); 5] = [
    ("400", "The address of the request is wrong, or holds a token"),
    ("401", "The token is missing, wrong or expired"),
    (
        "403",
        "The token may not do this, the Host header is not this host's, or the request comes from a web page",
    ),
    ("503", "A database is away; try again"),
    ("504", "The host did not answer in time"),
];

/// Where the document itself is.
pub(super) fn served(document: Document) -> Router<Shared> {
    let text: Arc<str> = document
        .to_json()
        .expect("invariant: the document is plain data")
        .into();
    let answer = move || async move {
        ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
    };
    Router::new().route("/v1/openapi.json", get(answer))
}
