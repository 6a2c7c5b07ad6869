//! Traces: spans of requests, and of what projections do, sent to a collector by OTLP over HTTP when one is named.
//!
//! *Invariants:* without a collector nothing here costs anything. With one, spans are sent by a thread of their own from a
//! queue with a bound; what does not fit is lost, and nobody waits. Only spans that are named in `EXPORTED` leave the
//! process.

use std::sync::OnceLock;

use axum::http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Span};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::Registry;

use super::collector::{Collector, EXPORT_TIME_MAX, Exports, FLUSH_TIME_MAX};
use super::sampling::Roots;
use crate::core::limits::TraceExport;

/// The spans that are exported. A span that lasts as long as a runner is none: nothing below it would ever be complete.
const EXPORTED: [&str; 6] = ["request", "append", "read", "upcast", "project", "flush"];
/// Target of the spans of requests, which have a line of the log of their own.
pub(super) const REQUEST: &str = "lamphouse::request";

static ACTIVE: OnceLock<Active> = OnceLock::new();

struct Active {
    provider: SdkTracerProvider,
    exports: &'static Exports,
}

/// Whether there is a collector.
pub fn are_sent() -> bool {
    ACTIVE.get().is_some()
}

/// What becomes of exports; None without a collector.
pub fn exports() -> Option<&'static Exports> {
    ACTIVE.get().map(|active| active.exports)
}

/// Begins to export; a layer for the subscriber.
pub(super) fn layer(settings: &TraceExport) -> Result<impl Layer<Registry> + Send + Sync + use<>, String> {
    let collector = Collector::new(&settings.traces_url);
    let exports = collector.exports();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(collector)
        .with_endpoint(&settings.traces_url)
        .with_timeout(EXPORT_TIME_MAX)
        // The next batch is the next try: what waits for a collector that is away would only grow old.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|error| format!("no traces can be sent to {}: {error}", settings.traces_url))?;
    let mut resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    // The standard variable names the service where it is set.
    if std::env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
        resource = resource.with_service_name("lamphouse");
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .with_sampler(Sampler::ParentBased(Box::new(Roots::new(settings))))
        .build();
    let tracer: SdkTracer = provider.tracer("lamphouse");
    // A second one in this process is not set up at all; see `setup`.
    let _ = ACTIVE.set(Active { provider, exports });
    let exported = FilterFn::new(is_exported as fn(&Metadata<'_>) -> bool);
    Ok(OpenTelemetryLayer::new(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(exported.with_max_level_hint(LevelFilter::DEBUG)))
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("lamphouse") && EXPORTED.contains(&metadata.name())
}

/// Sends what is still waiting, for at most two seconds.
pub fn finish() {
    if let Some(active) = ACTIVE.get() {
        // A collector that is away has been told of.
        let _ = active.provider.shutdown_with_timeout(FLUSH_TIME_MAX);
    }
}

/// The span of a request, which goes on with the trace that the request says it belongs to (W3C `traceparent`).
pub fn request(method: &'static str, route: &str, id: &str, headers: &HeaderMap) -> Span {
    if ACTIVE.get().is_none() {
        return Span::none();
    }
    let span = tracing::debug_span!(
        target: REQUEST,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request_id = id,
    );
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // It fails only where nobody exports.
    let _ = span.set_parent(parent);
    span
}

/// The request of this span was answered.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "error");
    }
}

/// The trace that a span belongs to, in hexadecimal; None without a collector.
pub fn trace_id(span: &Span) -> Option<String> {
    if span.is_none() || ACTIVE.get().is_none() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}
