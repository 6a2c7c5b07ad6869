//! The routes.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::TcpListener;

use super::Token;
use super::guard::{self, Guard};
use super::problem::Problem;
use crate::deploy::operator::{HostStatus, OperateError, Operator, Verb};
use crate::telemetry::Event;
use crate::telemetry::events::Asked;

/// Bytes of a request's body. A verb is small.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Time for one request. A verb returns at once; a database that is away is noticed before this.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Time that requests have to end when the host stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

type Shared = Arc<dyn Operator>;

/// Listens at `address` (already checked to be loopback by the configuration).
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                ": another program listens there, perhaps another host; stop it, or set [host] listen in lamphouse.toml \
                 (or LAMPHOUSE_LISTEN) to a free port"
            }
            io::ErrorKind::PermissionDenied => ": ports below 1024 need rights; choose a higher one in [host] listen",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{advice}"))
    })
}

/// Serves the admin surface until `stop` resolves, then lets the requests under way end.
pub async fn serve(
    listener: TcpListener,
    operator: Arc<dyn Operator>,
    token: Token,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let guard = Guard {
        port: listener.local_addr()?.port(),
        token,
    };
    let (stopped, drained) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        let _ = stopped.send(());
    };
    let serving = axum::serve(listener, router(operator, guard)).with_graceful_shutdown(stop);
    tokio::select! {
        ended = async { serving.await } => ended,
        () = async {
            match drained.await {
                Ok(()) => tokio::time::sleep(DRAIN_TIME_MAX).await,
                Err(_) => std::future::pending().await,
            }
        } => Ok(()),
    }
}

fn router(operator: Shared, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/v1/status", get(status))
        .route("/v1/projections/{name}/operate", post(operate))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing under this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not take this method",
            )
        })
        .with_state(operator)
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(guard, guard::check))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the host did not answer in time; see its log",
        )
        .into_response(),
    }
}

async fn health(State(operator): State<Shared>) -> Response {
    match blocking(operator, |operator| operator.status()).await {
        Ok(status) if is_healthy(&status) => (StatusCode::OK, "ok\n").into_response(),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unhealthy; 'lamphouse status' says why\n",
        )
            .into_response(),
    }
}

/// Whether nothing is wrong with the host or any projection.
fn is_healthy(status: &HostStatus) -> bool {
    status.problems.is_empty() && status.projections.iter().all(|projection| projection.healthy)
}

async fn status(State(operator): State<Shared>) -> Result<Response, Problem> {
    Ok(json(&blocking(operator, |operator| operator.status()).await?))
}

async fn operate(
    State(operator): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
    {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be of type application/json",
        ));
    }
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| {
            let detail =
                format!("the body could not be read, or is larger than {BODY_BYTES_MAX} bytes: {error}");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
    let verb: Verb = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not a verb: {error}"),
        )
    })?;
    let asked = verb.to_string();
    let projection = name.clone();
    let answer = blocking(operator, move |operator| operator.operate(&name, verb)).await;
    let said = match &answer {
        Ok(outcome) => outcome.message.clone(),
        Err(problem) => problem.detail.clone(),
    };
    Asked {
        projection: &projection,
        verb: &asked,
        answer: &said,
    }
    .emit();
    Ok(json(&answer?))
}

/// Runs one of the operator's blocking methods.
async fn blocking<T: Send + 'static>(
    operator: Shared,
    ask: impl FnOnce(&dyn Operator) -> Result<T, OperateError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || ask(operator.as_ref())).await {
        Ok(answer) => answer.map_err(Problem::from),
        Err(error) => {
            let detail = format!("the host failed on this request, which is a bug of ours: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            let detail = format!("the answer could not be written as JSON, which is a bug of ours: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}
