//! Who may come in.
//!
//! Two steps, with CORS between them: [`gate`] refuses what no request may be, whoever sends it, and [`identify`] says
//! whose token came with it. What the caller may do is for the handlers to ask (`access`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::access::Caller;
use super::entrance::Entrance;
use super::problem::Problem;
use super::tokens::Found;
use crate::config::tokens::PREFIX;
use crate::telemetry::Event;
use crate::telemetry::events::RequestRefused;

/// Headers of one request; more are an attack or a mistake.
pub(super) const HEADERS_MAX: usize = 100;
/// What a token would be called in an address.
const TOKEN_PARAMETERS: [&str; 2] = ["access_token", "token"];
/// Where the names of parameters are those of columns, among which `token` may be one.
const TABLES: &str = "/v1/tables/";
/// What needs no token: who restarts processes and who deals out requests know none, and learn no names here.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// Between two looks at whether a subscription's token is still good.
const SUBSCRIBER_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_AGE_MAX: Duration = Duration::from_secs(600);

/// What every request to one listener is held against.
#[derive(Clone)]
pub(super) struct Guard {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Whether it speaks TLS.
    pub(super) has_tls: bool,
    pub(super) entrance: Arc<Entrance>,
    /// Whether `/metrics` needs no token.
    pub(super) metrics_open: bool,
}

/// By what this listener is reached: `http` or `https`. Beside every request.
#[derive(Clone, Copy)]
pub(super) struct Scheme(pub(super) &'static str);

/// Refuses what must not come in, whoever sends it.
pub(super) async fn gate(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let scheme = Scheme(if guard.has_tls { "https" } else { "http" });
    request.extensions_mut().insert(scheme);
    match guard.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => refuse(&request, problem),
    }
}

/// Puts the caller beside the request, or answers 401.
pub(super) async fn identify(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let caller = match guard.caller(&request) {
        Ok(caller) => caller,
        Err(problem) => return refuse(&request, problem),
    };
    let Some(Identified { caller, secret }) = caller else {
        return next.run(request).await;
    };
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    // For the line of the log that tells of it.
    response.extensions_mut().insert(caller);
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_endless = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match secret.filter(|_| is_endless) {
        // What never ends by itself ends with the token that it was opened with.
        Some(secret) => {
            response.map(|body| Body::from_stream(body.into_data_stream().take_until(guard.over(secret))))
        }
        None => response,
    }
}

fn refuse(request: &Request, problem: Problem) -> Response {
    // Never the query: what was mistaken for a parameter may be a token.
    RequestRefused {
        path: request.uri().path(),
        why: &problem.detail,
    }
    .emit();
    problem.into_response()
}

/// Browsers' questions, answered for the pages that may ask.
pub(super) fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| origin.parse().ok());
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::RANGE,
            name("idempotency-key"),
            name("lamphouse-min-position"),
            name("lamphouse-reason"),
            name("last-event-id"),
            name("prefer"),
            name("range-unit"),
        ])
        .expose_headers([
            header::CONTENT_RANGE,
            header::LOCATION,
            header::RETRY_AFTER,
            header::ETAG,
            name("lamphouse-generation"),
            name("lamphouse-next-offset"),
            name("lamphouse-parked-events"),
            name("lamphouse-position"),
            name("lamphouse-projection"),
            name("preference-applied"),
            name("x-request-id"),
        ])
        .max_age(PREFLIGHT_AGE_MAX)
}

/// A caller, and what it showed; None is the owner of the data folder.
struct Identified {
    caller: Arc<Caller>,
    secret: Option<String>,
}

impl Guard {
    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let forbidden = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, detail));
        let headers = request.headers();
        if headers.len() > HEADERS_MAX {
            return Err(Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!("the request has more than {HEADERS_MAX} headers"),
            ));
        }
        // A page that rebinds its own name to this address still says that name here.
        let named = self.hosts(request);
        if named.is_empty() || !named.iter().all(|host| self.is_ours(host)) {
            return forbidden(self.expected_hosts());
        }
        let origins: Vec<_> = headers.get_all(header::ORIGIN).iter().collect();
        let is_known = |origin: &&header::HeaderValue| {
            self.entrance
                .cors_origins
                .iter()
                .any(|known| known.as_bytes() == origin.as_bytes())
        };
        if !origins.iter().all(is_known) || origins.len() > 1 {
            return forbidden(
                "requests of web pages (with an Origin) are refused, but of those that [host] cors_origins names".to_owned(),
            );
        }
        // Without an Origin it may be a page all the same: an image, a form, a fetch in the mode no-cors.
        let site = headers.get("sec-fetch-site").map(header::HeaderValue::as_bytes);
        if origins.is_empty() && site.is_some_and(|site| site != b"none" && site != b"same-origin") {
            return forbidden("requests that another site's page made a browser send are refused".to_owned());
        }
        if holds_token(request.uri().path(), request.uri().query().unwrap_or_default()) {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "a token must not be in the address, which proxies and browsers write down: send it in the header \
                 'Authorization: Bearer TOKEN', and replace the one that was sent",
            ));
        }
        Ok(())
    }

    /// Every name under which the request says that it reaches us: the header, and the address itself in HTTP/2.
    fn hosts(&self, request: &Request) -> Vec<String> {
        let header = request.headers().get_all(header::HOST).iter();
        let header = header.map(|host| host.to_str().unwrap_or_default().to_owned());
        let authority = request.uri().authority().map(ToString::to_string);
        header.chain(authority).collect()
    }

    fn is_ours(&self, host: &str) -> bool {
        // Credentials before an @ are no part of a name.
        let Some((name, port)) = split(host) else {
            return false;
        };
        let usual = if self.has_tls { 443 } else { 80 };
        if port.unwrap_or(usual) == self.address.port() {
            if is_loopback_name(&name) {
                return true;
            }
            // No page can have an address for its name without being served from there.
            if let Ok(ip) = name.parse::<IpAddr>()
                && (self.address.ip().is_unspecified() || ip == self.address.ip())
            {
                return true;
            }
        }
        // Before a proxy or a mapped port, others may be used.
        let name = name.strip_suffix('.').unwrap_or(&name);
        self.entrance.names.iter().any(|ours| ours == name)
    }

    fn expected_hosts(&self) -> String {
        let port = self.address.port();
        let mut expected = format!("127.0.0.1:{port}, localhost:{port}, [::1]:{port}");
        if !self.address.ip().is_loopback() {
            expected.push_str(" or this host's address");
        }
        for name in &self.entrance.names {
            expected.push_str(" or ");
            expected.push_str(name);
        }
        format!("the Host header must be {expected} ([host] names)")
    }

    /// Whose token it is; None where nobody needs to say.
    fn caller(&self, request: &Request) -> Result<Option<Identified>, Problem> {
        let headers = request.headers();
        let unauthorized = |detail: String| Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        let path = request.uri().path();
        let is_open = OPEN.contains(&path) || (self.metrics_open && path == "/metrics");
        let given: Vec<_> = headers.get_all(header::AUTHORIZATION).iter().collect();
        if given.len() > 1 {
            return unauthorized("the request has more than one Authorization header".to_owned());
        }
        let secret = given
            .first()
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, secret)| secret.trim());
        let Some(secret) = secret else {
            if is_open {
                return Ok(None);
            }
            return unauthorized(
                "a token is missing: it goes into the header 'Authorization: Bearer TOKEN'; the admin's own is in the file \
                 'token' of the host's data folder, others are made by 'lamphouse token add'"
                    .to_owned(),
            );
        };
        if self.entrance.token.matches(secret) {
            if self.is_local(request) {
                return Ok(Some(Identified {
                    caller: Arc::new(Caller::owner()),
                    secret: None,
                }));
            }
            if is_open {
                return Ok(None);
            }
            return unauthorized(
                "the token of the data folder is good on the host's own machine alone; for others, make one by 'lamphouse \
                 token add NAME --role admin'"
                    .to_owned(),
            );
        }
        match self.entrance.tokens.find(secret, Utc::now()) {
            Found::Caller(caller) => Ok(Some(Identified {
                caller,
                secret: Some(secret.to_owned()),
            })),
            _ if is_open => Ok(None),
            Found::Expired { name, at } => unauthorized(format!(
                "the token '{name}' was good until {}; ask for a new one",
                at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            )),
            Found::Unknown => unauthorized(
                "the token is wrong: it is neither the one in the file 'token' of the host's data folder, nor one of those \
                 that 'lamphouse token list' shows"
                    .to_owned(),
            ),
        }
    }

    /// Whether it comes from this machine, and from no proxy on it.
    fn is_local(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let is_near = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
        let is_passed_on = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
            .iter()
            .any(|name| request.headers().contains_key(*name));
        let hosts = self.hosts(request);
        let names_loopback = hosts
            .iter()
            .all(|host| split(host).is_some_and(|(name, _)| is_loopback_name(&name)));
        is_near && !is_passed_on && names_loopback
    }

    /// Resolves when this token is not good any more.
    async fn over(self, secret: String) {
        while let Found::Caller(_) = self.entrance.tokens.find(&secret, Utc::now()) {
            tokio::time::sleep(SUBSCRIBER_LOOK_EVERY).await;
        }
    }
}

/// Name, in lower case and without brackets, and port of what a `Host` header says.
fn split(host: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = host.parse().ok()?;
    if authority.as_str().contains('@') || authority.as_str() != host {
        return None;
    }
    let name = authority.host().to_ascii_lowercase();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let port = match host[name.len()..].strip_prefix(':') {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    Some((bare.unwrap_or(&name).to_owned(), port))
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost" || name == "127.0.0.1" || name == "::1"
}

/// Whether somebody put a token into the address.
fn holds_token(path: &str, query: &str) -> bool {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_column = path.starts_with(TABLES);
        let name = decoded(name).to_ascii_lowercase();
        let is_named = !is_column && TOKEN_PARAMETERS.contains(&name.as_str());
        // Hexadecimal behind the prefix: no other text looks so.
        let value = decoded(value);
        let looks_so = value.find(PREFIX).is_some_and(|at| {
            let digits = value[at + PREFIX.len()..].bytes();
            digits.take_while(u8::is_ascii_hexdigit).count() >= 32
        });
        is_named || looks_so
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_is_a_name_and_a_port() {
        let read = |host: &str| split(host).map(|(name, port)| format!("{name} {port:?}"));
        for (host, expected) in [
            ("127.0.0.1:7117", Some("127.0.0.1 Some(7117)")),
            ("LocalHost:7117", Some("localhost Some(7117)")),
            ("[::1]:7117", Some("::1 Some(7117)")),
            ("[::1]", Some("::1 None")),
            ("lamphouse.example.com", Some("lamphouse.example.com None")),
            ("127.0.0.1:", None),
            ("127.0.0.1:x", None),
            ("me@127.0.0.1:7117", None),
            ("127.0.0.1:7117/", None),
            ("127.0.0.1:7117 ", None),
            ("", None),
        ] {
            assert_eq!(read(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn a_token_in_the_address_is_seen() {
        let token = format!("{PREFIX}{}", "0a".repeat(32));
        for (path, query, expected) in [
            ("/v1/events", "access_token=x".to_owned(), true),
            ("/v1/events", "limit=1&Token=x".to_owned(), true),
            ("/v1/events", "%74oken=x".to_owned(), true),
            ("/v1/events", "token".to_owned(), true),
            ("/v1/events", format!("key={token}"), true),
            ("/v1/events", format!("key=Bearer%20{token}"), true),
            ("/v1/tables/devices", "token=eq.5".to_owned(), false),
            ("/v1/tables/devices", format!("token=eq.{token}"), true),
            ("/v1/events", "event_type=lamphouse_lit".to_owned(), false),
            ("/v1/events", String::new(), false),
        ] {
            assert_eq!(holds_token(path, &query), expected, "{path}?{query}");
        }
    }
}
