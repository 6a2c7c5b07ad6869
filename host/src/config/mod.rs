//! `lamphouse.toml`: schema, loading, validation.
//!
//! *Invariants:* unknown keys are refused; all mistakes are reported at once, with their lines; a loaded [`Config`] has
//! every default filled in and every path absolute. A password in a database URL never shows: [`DatabaseUrl`] prints
//! itself masked, in `Display` and in `Debug`.
//!
//! What a key means and why one would change it stands with the limits in [`crate::core::limits`] and, for a person, in
//! the file that `lamphouse init` writes ([`template`]).
//!
//! Environment variables stand over the file, for containers and tests: `LAMPHOUSE_LOG_URL`, `LAMPHOUSE_TABLES_URL`,
//! `LAMPHOUSE_LISTEN`, and OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and
//! `OTEL_SDK_DISABLED`.

mod load;
mod mistakes;
mod schema;
mod section;
pub mod template;
pub mod tokens;
mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::limits::{
    AppendLimits, FaultPolicy, PipelineLimits, PluginLimits, StateLimits, TraceExport, UnknownTypes,
};

pub use mistakes::{ConfigErrors, Mistake};
pub use url::DatabaseUrl;

/// Name of the configuration file in a project folder.
pub const FILE: &str = "lamphouse.toml";

/// A whole configuration, every default filled in, every path absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The project folder: where `lamphouse.toml` is, or was looked for.
    pub root: PathBuf,
    /// `[log] url`.
    pub log: DatabaseUrl,
    /// `[tables] url`.
    pub tables: DatabaseUrl,
    /// `[plugins] folder`.
    pub plugins: PathBuf,
    /// `[host] data`: token, code cache, lock. Mode 0700.
    pub data: PathBuf,
    /// `[host] listen`, an address with its port. Beyond loopback only with tokens, and with TLS or `plain_http`.
    pub listen: String,
    /// `[host] tokens`: the file of the tokens of others than the owner of the data folder.
    pub tokens: PathBuf,
    /// `[host] names`, in lower case: what the `Host` header may say besides the address.
    pub names: Vec<String>,
    /// `[host] cors_origins`: web pages that may call the API; none unless said.
    pub cors_origins: Vec<String>,
    /// `[host] plain_http`: whether to be reachable from other machines without TLS.
    pub plain_http: bool,
    /// `[host] connections_max`: connections at a time.
    pub connections_max: u64,
    /// `[tls]`: where to find certificate and key; None is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// `[host] body_bytes_max`: body of one append over HTTP.
    pub body_bytes_max: u64,
    /// `[host] subscriptions_max`: subscriptions over HTTP at a time.
    pub subscriptions_max: u64,
    /// `[host] metrics_open`: whether `/metrics` needs no token.
    pub metrics_open: bool,
    /// `[host] ready_lag_events_max`: events that public tables may be behind while the host is ready.
    pub ready_lag_events_max: u64,
    /// `[host] ready_lag_ms_max`: how long an event may wait for its effects while the host is ready.
    pub ready_lag_ms_max: u64,
    /// `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// `[append]`.
    pub append: AppendLimits,
    /// `[limits]`: what one plugin call may use.
    pub limits: PluginLimits,
    /// `[pipeline]`.
    pub pipeline: PipelineLimits,
    /// `[query]`: bounds of `lamphouse query`.
    pub query_rows_max: u64,
    /// `[query]`: bounds of `lamphouse query`.
    pub query_time_max: Duration,
    /// `[schemas] folder`: JSON Schemas of events.
    pub schemas: PathBuf,
    /// `[schemas] unknown = "allow" | "refuse"`: event types without one.
    pub unknown_types: UnknownTypes,
    /// `[state]`: bounds of the state of a stream at a time.
    pub state: StateLimits,
    /// `[changes] rows_max`: row changes that are kept for who subscribes; 0 keeps none.
    pub changes_rows_max: u64,
    /// `[projection]`: defaults of every projection.
    pub projection: ProjectionConfig,
    /// `[projections.NAME]`: by projection, over the defaults.
    pub projections: BTreeMap<String, ProjectionConfig>,
}

/// What TLS needs, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The host's own certificate first, then those that vouch for it.
    pub certificate: PathBuf,
    /// The private key of the first one.
    pub key: PathBuf,
}

/// How one projection is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionConfig {
    /// `cutover = "auto" | "manual"`.
    pub cutover: CutoverMode,
    /// Retired generations kept for rollback.
    pub keep_generations: u64,
    /// Keep the retired generation level with the head all the time, so that a rollback is instant.
    pub follow_retired: bool,
    /// Whether `/readyz` waits for its tables.
    pub ready: bool,
    /// `on_fault = "pause" | "dead-letter"`, and how much may be parked.
    pub faults: FaultPolicy,
}

/// Who decides on a cutover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverMode {
    /// The host, as soon as the new generation has caught up and nothing is breaking.
    Auto,
    /// A person, by `lamphouse cutover`.
    Manual,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The collector; None: nothing is sent anywhere.
    pub otlp_endpoint: Option<String>,
    /// Share of the requests that are traced.
    pub otlp_sample_percent: u64,
    /// Spans of projections in a second.
    pub otlp_pipeline_spans_per_second_max: u64,
    /// Where spans are posted when the environment says it in full.
    pub otlp_traces_url: Option<String>,
}

impl TelemetryConfig {
    /// What is to be exported, if anything.
    pub fn traces(&self) -> Option<TraceExport> {
        let base = self.otlp_endpoint.as_deref();
        let from_base = base.map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
        Some(TraceExport {
            traces_url: self.otlp_traces_url.clone().or(from_base)?,
            sample_percent: self.otlp_sample_percent,
            pipeline_spans_per_second_max: self.otlp_pipeline_spans_per_second_max,
        })
    }
}

impl Config {
    /// Whether nobody but this machine reaches the host.
    pub fn is_loopback(&self) -> bool {
        let address: Result<std::net::SocketAddr, _> = self.listen.parse();
        address.is_ok_and(|address| address.ip().is_loopback())
    }

    /// The settings of one projection.
    pub fn projection(&self, name: &str) -> &ProjectionConfig {
        self.projections.get(name).unwrap_or(&self.projection)
    }
}
