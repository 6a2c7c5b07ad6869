//! Who may come in: local callers that are no web page and, beyond what anybody may ask, know the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Token;
use super::access::Caller;
use super::problem::Problem;
use crate::telemetry::Event;
use crate::telemetry::events::RequestRefused;

/// What every request is held against.
#[derive(Clone)]
pub(super) struct Guard {
    /// Port that the `Host` header must name.
    pub(super) port: u16,
    pub(super) token: Token,
    /// Whether `/metrics` needs no token.
    pub(super) metrics_open: bool,
}

/// What needs no token: who restarts processes and who deals out requests know none, and learn no names here.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses what must not reach a handler.
pub(super) async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.admit(request.uri().path(), request.headers()) {
        Err(problem) => {
            RequestRefused {
                path: request.uri().path(),
                why: &problem.detail,
            }
            .emit();
            problem.into_response()
        }
        Ok(caller) => {
            let Some(caller) = caller.map(Arc::new) else {
                return next.run(request).await;
            };
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            // For the line of the log that tells of it.
            response.extensions_mut().insert(caller);
            response
        }
    }
}

impl Guard {
    /// Who calls; None where nobody needs to say.
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        // A page that rebinds its own name to 127.0.0.1 still says that name here.
        if !text(header::HOST).is_some_and(|host| self.is_loopback(host)) {
            let detail = format!(
                "the Host header must be 127.0.0.1:{0}, localhost:{0} or [::1]:{0}",
                self.port
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        if headers.contains_key(header::ORIGIN) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "requests from web pages (with an Origin) are refused",
            ));
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if given.is_some_and(|given| self.token.matches(given)) {
            return Ok(Some(Caller::owner()));
        }
        if OPEN.contains(&path) || (self.metrics_open && path == "/metrics") {
            return Ok(None);
        }
        let detail = "the admin token is missing or wrong; it is in the file 'token' of the host's data folder and goes \
                      into the header 'Authorization: Bearer TOKEN'";
        Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
    }

    fn is_loopback(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else {
            return false;
        };
        port.parse() == Ok(self.port) && ["127.0.0.1", "localhost", "[::1]"].contains(&name)
    }
}
