//! The routes.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tokio::net::TcpListener;

use super::guard::{self, Guard};
use super::problem::Problem;
use super::tables::Reads;
use super::{Subscriptions, Token, Watch, metrics, openapi};
use crate::core::bell::Bell;
use crate::deploy::States;
use crate::deploy::operator::Operator;
use crate::deploy::uploads::Uploads;
use crate::log::EventLog;
use crate::schemas::Schemas;
use crate::tables::{QueryLimits, TableStore};

/// Time for one request. A verb returns at once; a database that is away is noticed before this.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Time for one upload: the whole file over a slow line, and to compile it.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(300);
/// Time that requests have to end when the host stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// What the routes work on.
#[derive(Clone)]
pub struct Shared {
    /// The projections.
    pub operator: Arc<dyn Operator>,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The read tables.
    pub store: Arc<dyn TableStore>,
    /// Rings when rows are in the tables.
    pub written: Bell,
    /// What appended events are held to.
    pub schemas: Arc<Schemas>,
    /// States of streams at a time.
    pub states: Arc<States>,
    /// Rows and time of a read of a table.
    pub query: QueryLimits,
    /// Who follows changes and events.
    pub subscriptions: Arc<Subscriptions>,
    /// Where plugin files are received.
    pub uploads: Arc<Uploads>,
    /// Bytes of a body that is appended.
    pub body_bytes_max: usize,
    /// What it is watched by.
    pub watch: Watch,
}

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

/// Serves the API until `stop` resolves, then lets the requests under way end.
pub async fn serve(
    listener: TcpListener,
    shared: Shared,
    token: Token,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let guard = Guard {
        port: listener.local_addr()?.port(),
        token,
        metrics_open: shared.watch.metrics_open,
    };
    let (stopped, drained) = tokio::sync::oneshot::channel();
    let subscriptions = shared.subscriptions.clone();
    let stop = async move {
        stop.await;
        // Streams have no end of their own.
        subscriptions.close();
        let _ = stopped.send(());
    };
    let serving = axum::serve(listener, router(shared, guard)).with_graceful_shutdown(stop);
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

fn router(shared: Shared, guard: Guard) -> Router {
    let (routes, document) = openapi::routes();
    let watch = shared.watch.clone();
    let reads = Reads::new(shared.store.clone(), shared.written.clone());
    routes
        .merge(openapi::served(document))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing under this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not take this method",
            )
        })
        .with_state(shared)
        .layer(Extension(reads))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(guard, guard::check))
        .layer(from_fn_with_state(watch, metrics::observe))
}

async fn in_time(request: Request, next: Next) -> Response {
    let time_max = match request.method() == Method::PUT {
        true => UPLOAD_TIME_MAX,
        false => REQUEST_TIME_MAX,
    };
    match tokio::time::timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the host did not answer in time; see its log",
        )
        .into_response(),
    }
}
