//! Who may come in: local callers that are no web page and, beyond `/healthz`, know the token.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Token;
use super::problem::Problem;
use crate::telemetry::Event;
use crate::telemetry::events::RequestRefused;

/// What every request is held against.
#[derive(Clone)]
pub(super) struct Guard {
    /// Port that the `Host` header must name.
    pub(super) port: u16,
    pub(super) token: Token,
}

/// Refuses what must not reach a handler.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    match guard.refusal(path, request.headers()) {
        Some(problem) => {
            RequestRefused {
                path,
                why: &problem.detail,
            }
            .emit();
            problem.into_response()
        }
        None => next.run(request).await,
    }
}

impl Guard {
    fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Problem> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        // A page that rebinds its own name to 127.0.0.1 still says that name here.
        if !text(header::HOST).is_some_and(|host| self.is_loopback(host)) {
            let detail = format!(
                "the Host header must be 127.0.0.1:{0}, localhost:{0} or [::1]:{0}",
                self.port
            );
            return Some(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        if headers.contains_key(header::ORIGIN) {
            return Some(Problem::new(
                StatusCode::FORBIDDEN,
                "requests from web pages (with an Origin) are refused",
            ));
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if path == "/healthz" || given.is_some_and(|given| self.token.matches(given)) {
            return None;
        }
        let detail = "the admin token is missing or wrong; it is in the file 'token' of the host's data folder and goes \
                      into the header 'Authorization: Bearer TOKEN'";
        Some(Problem::new(StatusCode::UNAUTHORIZED, detail))
    }

    fn is_loopback(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else {
            return false;
        };
        port.parse() == Ok(self.port) && ["127.0.0.1", "localhost", "[::1]"].contains(&name)
    }
}
