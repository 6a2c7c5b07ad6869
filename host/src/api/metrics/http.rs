//! What is asked over HTTP: counted, timed, told in the log, each under an id of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::Instrument;

use super::Watch;
use crate::api::access::Caller;
use crate::core::measure::BOUNDS_SECONDS;
use crate::telemetry::events::RequestAnswered;
use crate::telemetry::{Event, traces};

/// The header that names a request.
const ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a request.
const ID_CHARS_MAX: usize = 128;

tokio::task_local! {
    /// The id of the request that this task answers.
    pub(in crate::api) static REQUEST_ID: Arc<str>;
}

/// Requests since the process started.
#[derive(Debug)]
pub struct HttpMeter {
    registry: Registry,
    requests: Family<Answered, Counter>,
    times: Family<Asked, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    subscriptions: Gauge,
    dropped: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: &'static str,
}

impl Default for HttpMeter {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let times: Family<Asked, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BOUNDS_SECONDS));
        let (in_flight, connections, subscriptions) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register(
            "lamphouse_http_requests",
            "Requests that were answered, by route and class of status; aborted: the client went away before",
            requests.clone(),
        );
        registry.register_with_unit(
            "lamphouse_http_request_duration",
            "Time to the beginning of the answer",
            Unit::Seconds,
            times.clone(),
        );
        registry.register(
            "lamphouse_http_requests_in_flight",
            "Requests that are being answered",
            in_flight.clone(),
        );
        registry.register(
            "lamphouse_http_connections",
            "Open connections",
            connections.clone(),
        );
        registry.register(
            "lamphouse_http_subscriptions",
            "Streams of server-sent events that are open",
            subscriptions.clone(),
        );
        let dropped = Counter::default();
        registry.register(
            "lamphouse_http_subscriptions_dropped",
            "Streams that were ended because their client read too slowly",
            dropped.clone(),
        );
        Self {
            registry,
            requests,
            times,
            in_flight,
            connections,
            subscriptions,
            dropped,
        }
    }
}

/// Something that is open, and counted until this is dropped.
#[derive(Debug)]
pub struct Open(Gauge);

impl Open {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A stream of server-sent events, counted until this is dropped.
#[derive(Debug)]
pub struct Subscription {
    _open: Open,
    dropped: Counter,
}

impl Subscription {
    /// It is ended because its client reads too slowly.
    pub fn is_too_slow(&self) {
        self.dropped.inc();
    }
}

impl HttpMeter {
    /// A connection is open.
    pub fn connection(&self) -> Open {
        Open::of(&self.connections)
    }

    /// A stream of server-sent events is open.
    pub fn subscription(&self) -> Subscription {
        Subscription {
            _open: Open::of(&self.subscriptions),
            dropped: self.dropped.clone(),
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn answered(&self, route: &str, method: &'static str, status: Option<StatusCode>, time: Duration) {
        let class = match status.map(|status| status.as_u16() / 100) {
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
            None => "aborted",
        };
        let answered = Answered {
            route: route.to_owned(),
            method,
            status: class,
        };
        self.requests.get_or_create(&answered).inc();
        let asked = Asked {
            route: route.to_owned(),
            method,
        };
        self.times.get_or_create(&asked).observe(time.as_secs_f64());
    }
}

/// A request under way; one whose client goes away is dropped before it is answered.
struct UnderWay<'w> {
    meter: &'w HttpMeter,
    route: String,
    method: &'static str,
    began: Instant,
    status: Option<StatusCode>,
    _open: Open,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.meter
            .answered(&self.route, self.method, self.status, self.began.elapsed());
    }
}

/// Counts, times, traces and tells of every request. The outermost layer.
pub(in crate::api) async fn observe(State(watch): State<Watch>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let method = word(request.method());
    let id = request_id(request.headers());
    let mut under_way = UnderWay {
        meter: &watch.http,
        route,
        method,
        began: Instant::now(),
        status: None,
        _open: Open::of(&watch.http.in_flight),
    };
    let span = traces::request(method, &under_way.route, &id, request.headers());
    let answering = REQUEST_ID.scope(id.clone(), next.run(request));
    let mut response = answering.instrument(span.clone()).await;
    let status = response.status();
    under_way.status = Some(status);
    traces::answered(&span, status.as_u16());
    let caller = response.extensions().get::<Arc<Caller>>();
    RequestAnswered {
        request_id: &id,
        method,
        route: &under_way.route,
        status: status.as_u16(),
        // To the microsecond.
        time_ms: (under_way.began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        token: caller.map(|caller| caller.name.as_str()),
        trace_id: traces::trace_id(&span).as_deref(),
    }
    .emit();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(ID_HEADER, value);
    }
    response
}

/// The id that came with the request, if it is one that may stand in a log; else one of ours.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let is_sane = |id: &&str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        (1..=ID_CHARS_MAX).contains(&id.len()) && id.chars().all(fits)
    };
    let given = headers.get(ID_HEADER).and_then(|value| value.to_str().ok());
    match given.filter(is_sane) {
        Some(given) => given.into(),
        None => uuid::Uuid::now_v7().to_string().into(),
    }
}

/// A method, or that it is none of ours: methods are what somebody sends, and as a label there must be few.
fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_forge_a_line_of_the_log_is_replaced() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                ID_HEADER,
                HeaderValue::from_bytes(text.as_bytes()).expect("a value"),
            );
            request_id(&headers)
        };
        assert_eq!(&*id("01J-a.b:c_d"), "01J-a.b:c_d");
        let long = "x".repeat(ID_CHARS_MAX + 1);
        for wrong in ["", "a b", "a\tb", "a\"b", "ä", &long] {
            let made = id(wrong);
            assert!(uuid::Uuid::parse_str(&made).is_ok(), "{wrong:?} gave {made}");
        }
    }

    #[test]
    fn a_made_up_method_is_no_label() {
        let method = Method::from_bytes(b"BREW").expect("a method");
        assert_eq!(word(&method), "other");
    }
}
