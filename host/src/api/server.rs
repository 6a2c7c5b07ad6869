//! The routes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::connections::{Door, HEAD_TIME_MAX};
use super::entrance::Entrance;
use super::guard::{self, Guard};
use super::noted::Noted;
use super::openapi;
use super::problem::Problem;
use super::tables::Reads;
use super::tls::Tls;
use super::{Subscriptions, Watch, metrics};
use crate::core::bell::Bell;
use crate::deploy::operator::Operator;
use crate::deploy::uploads::Uploads;
use crate::deploy::{Catalog, States};
use crate::log::EventLog;
use crate::schemas::Schemas;
use crate::tables::{QueryLimits, TableStore};

/// Time for one request. A verb returns at once; a database that is away is noticed before this.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Time for one upload: the whole file over a slow line, and to compile it.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(300);
/// Time that requests have to end when the host stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of a request's head: its address and headers. Filters of tables may be long; nothing else is.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;
/// Connections at a time of this machine's own commands, where they have a socket of their own.
const LOCAL_CONNECTIONS_MAX: usize = 64;

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
    /// The event types of the log.
    pub catalog: Arc<Catalog>,
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
    /// What is wrong with the API's own files.
    pub noted: Noted,
}

/// Connections that wait to be taken; the kernel may allow fewer. All subscribers of a host that starts again come back
/// at once, and a connection that finds no room tries again after a second, then after two more.
const WAITING_MAX: u32 = 4_096;

/// A socket that requests come to.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    /// Plain HTTP for this machine alone, also where the rest is TLS.
    is_local: bool,
}

impl Listening {
    /// Where it listens.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Listens at `address`, an address with its port.
///
/// # Errors
/// Says what to do where the port is taken, or needs rights.
pub async fn bind(address: &str) -> io::Result<Listening> {
    let listener = listen(address).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                ": another program listens there, perhaps another host; stop it, or set [host] listen in lamphouse.toml \
                 (or LAMPHOUSE_LISTEN) to a free port"
            }
            io::ErrorKind::PermissionDenied => ": ports below 1024 need rights; choose a higher one in [host] listen",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address; correct [host] listen",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{advice}"))
    })?;
    Ok(Listening {
        listener,
        is_local: false,
    })
}

/// Listens on loopback, on any port, without TLS: for the commands of this machine where `bind` is not for them.
///
/// # Errors
/// The machine has no loopback address that is free.
pub async fn bind_local() -> io::Result<Listening> {
    let listener = match listen("127.0.0.1:0").await {
        Ok(listener) => listener,
        Err(_) => listen("[::1]:0").await?,
    };
    Ok(Listening {
        listener,
        is_local: true,
    })
}

/// As `TcpListener::bind`, which lets 128 wait.
async fn listen(address: &str) -> io::Result<TcpListener> {
    let listen_at = |address: SocketAddr| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Elsewhere it would let two programs listen at one port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING_MAX)
    };
    let mut failed = None;
    for address in lookup_host(address).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

/// Serves the API until `stop` resolves, then lets the requests under way end, and subscriptions at once.
///
/// # Errors
/// A socket cannot be used any more.
pub async fn serve(
    listening: Vec<Listening>,
    shared: Shared,
    entrance: Arc<Entrance>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let handle = Handle::new();
    let reads = Reads::new(shared.store.clone(), shared.written.clone());
    let subscriptions = shared.subscriptions.clone();
    let servers: Vec<_> = listening
        .into_iter()
        .map(|one| {
            let shared = (shared.clone(), reads.clone());
            one.serve(shared, entrance.clone(), handle.clone())
        })
        .collect::<io::Result<_>>()?;
    tokio::spawn(async move {
        stop.await;
        // Streams have no end of their own.
        subscriptions.close();
        handle.graceful_shutdown(Some(DRAIN_TIME_MAX));
    });
    futures_util::future::try_join_all(servers).await.map(drop)
}

impl Listening {
    fn serve(
        self,
        (shared, reads): (Shared, Arc<Reads>),
        entrance: Arc<Entrance>,
        handle: Handle<SocketAddr>,
    ) -> io::Result<impl Future<Output = io::Result<()>>> {
        let tls = entrance.tls.as_ref().filter(|_| !self.is_local).map(Tls::config);
        let guard = Guard {
            address: self.listener.local_addr()?,
            has_tls: tls.is_some(),
            entrance: entrance.clone(),
            metrics_open: shared.watch.metrics_open,
        };
        let places = if self.is_local {
            LOCAL_CONNECTIONS_MAX
        } else {
            entrance.connections_max
        };
        let door = Door::new(places, guard.address, shared.watch.http.clone(), tls.is_none());
        let service = router(shared, reads, guard).into_make_service_with_connect_info::<SocketAddr>();
        let mut server = axum_server::from_tcp(self.listener.into_std()?)?.handle(handle);
        bound(server.http_builder());
        Ok(async move {
            match tls {
                None => server.acceptor(door).serve(service).await,
                Some(config) => {
                    let secured = RustlsAcceptor::new(config)
                        .handshake_timeout(HEAD_TIME_MAX)
                        .acceptor(door);
                    server.acceptor(secured).serve(service).await
                }
            }
        })
    }
}

/// What one connection may ask for at once.
fn bound(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also how long a connection is kept for the next request.
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(guard::HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX);
}

fn router(shared: Shared, reads: Arc<Reads>, guard: Guard) -> Router {
    let (routes, document) = openapi::routes();
    let watch = shared.watch.clone();
    let routes = routes
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
        .layer(from_fn_with_state(guard.clone(), guard::identify));
    let pages = &guard.entrance.cors_origins;
    let routes = match pages.as_slice() {
        [] => routes,
        pages => routes.layer(guard::cors(pages)),
    };
    routes
        .layer(from_fn_with_state(guard, guard::gate))
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn many_may_come_at_once() {
        const MANY: usize = 1_000;
        // Where the kernel allows fewer, fewer wait.
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok());
        if allowed.is_none_or(|allowed| allowed < MANY) {
            eprintln!("skipped: the kernel lets {allowed:?} connections wait, not {MANY}");
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listening = runtime.block_on(bind("127.0.0.1:0")).unwrap();
        let address = listening.address().unwrap();
        // Nobody takes them.
        let connections: Vec<TcpStream> = (0..MANY)
            .map(|number| {
                TcpStream::connect_timeout(&address, Duration::from_secs(5))
                    .unwrap_or_else(|error| panic!("connection {number}: {error}"))
            })
            .collect();
        assert_eq!(connections.len(), MANY);
    }

    #[test]
    fn where_nobody_can_listen_the_error_says_what_to_do() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let error = |address: &str| runtime.block_on(bind(address)).unwrap_err().to_string();
        let taken = runtime.block_on(bind("127.0.0.1:0")).unwrap();
        let address = taken.address().unwrap().to_string();
        let told = error(&address);
        assert!(
            told.contains(&address) && told.contains("another program listens there"),
            "{told}"
        );
        let told = error("192.0.2.1:7070");
        assert!(told.contains("this machine has no such address"), "{told}");
        let told = error("nowhere.invalid:7070");
        assert!(told.contains("cannot listen on nowhere.invalid:7070"), "{told}");
    }
}
