//! Which keys there are, their ranges and their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::core::PluginName;
use crate::core::limits::{AppendLimits, OnFault, PipelineLimits, PluginLimits, StateLimits, UnknownTypes};

use super::section::Section;
use super::{Config, CutoverMode, DatabaseUrl, ProjectionConfig, TlsFiles};

/// Reads the whole file over the defaults in `config`. Mistakes go to the findings behind `file`.
pub(super) fn read(file: &Section<'_>, config: &mut Config) {
    let root = config.root.clone();
    let log = file.section("log");
    log.text("url", &mut config.log, |text| DatabaseUrl::parse(text, &root));
    log.refuse_unknown();

    let tables = file.section("tables");
    tables.text("url", &mut config.tables, |text| DatabaseUrl::parse(text, &root));
    tables.refuse_unknown();

    let plugins = file.section("plugins");
    plugins.text("folder", &mut config.plugins, |text| folder(text, &root));
    plugins.refuse_unknown();

    let host = file.section("host");
    host.text("listen", &mut config.listen, listen);
    host.text("data", &mut config.data, |text| folder(text, &root));
    host.number("body_bytes_max", 1_024..=1 << 30, &mut config.body_bytes_max);
    host.number("subscriptions_max", 0..=100_000, &mut config.subscriptions_max);
    host.number("connections_max", 8..=100_000, &mut config.connections_max);
    host.text("tokens", &mut config.tokens, |text| file_of(text, &root));
    host.texts("names", &mut config.names, host_name);
    host.texts("cors_origins", &mut config.cors_origins, origin);
    host.boolean("plain_http", &mut config.plain_http);
    config.tls = tls(&file.section("tls"), &root);
    host.rule(
        !is_exposed(config),
        "listen",
        &format!("'{}' {EXPOSED}", config.listen),
    );
    host.boolean("metrics_open", &mut config.metrics_open);
    host.number(
        "ready_lag_events_max",
        0..=1_000_000_000,
        &mut config.ready_lag_events_max,
    );
    host.number("ready_lag_ms_max", 0..=86_400_000, &mut config.ready_lag_ms_max);
    host.refuse_unknown();

    let telemetry = file.section("telemetry");
    telemetry.text("otlp_endpoint", &mut config.telemetry.otlp_endpoint, collector);
    telemetry.number(
        "otlp_sample_percent",
        0..=100,
        &mut config.telemetry.otlp_sample_percent,
    );
    telemetry.number(
        "otlp_pipeline_spans_per_second_max",
        0..=10_000,
        &mut config.telemetry.otlp_pipeline_spans_per_second_max,
    );
    telemetry.refuse_unknown();

    append(&file.section("append"), &mut config.append);
    limits(&file.section("limits"), &mut config.limits);
    pipeline(&file.section("pipeline"), &mut config.pipeline);

    let query = file.section("query");
    let mut time_ms = u64::try_from(config.query_time_max.as_millis()).unwrap_or(u64::MAX);
    query.number("rows_max", 1..=10_000_000, &mut config.query_rows_max);
    query.number("time_ms_max", 1..=86_400_000, &mut time_ms);
    config.query_time_max = Duration::from_millis(time_ms);
    query.refuse_unknown();

    let schemas = file.section("schemas");
    schemas.text("folder", &mut config.schemas, |text| folder(text, &root));
    schemas.text("unknown", &mut config.unknown_types, |text| match text {
        "allow" => Ok(UnknownTypes::Allow),
        "refuse" => Ok(UnknownTypes::Refuse),
        _ => Err("must be \"allow\" or \"refuse\"".to_owned()),
    });
    schemas.refuse_unknown();

    state(&file.section("state"), &mut config.state);
    let changes = file.section("changes");
    changes.number("rows_max", 0..=1_000_000_000, &mut config.changes_rows_max);
    changes.refuse_unknown();

    projection(&file.section("projection"), &mut config.projection);
    for (name, section, span) in file.section("projections").sections() {
        if let Err(error) = PluginName::new(&name) {
            section.note(span, format!("[projections.{name}] {error}"));
        }
        let mut settings = config.projection.clone();
        projection(&section, &mut settings);
        config.projections.insert(name, settings);
    }
    file.refuse_unknown();
}

fn append(section: &Section<'_>, limits: &mut AppendLimits) {
    section.boolean("reason_required", &mut limits.reason_required);
    section.number("reason_chars_min", 0..=10_000, &mut limits.reason_chars_min);
    section.number("reason_chars_max", 1..=10_000, &mut limits.reason_chars_max);
    section.number("event_bytes_max", 1_024..=64 << 20, &mut limits.event_bytes_max);
    section.number(
        "events_per_append_max",
        1..=100_000,
        &mut limits.events_per_append_max,
    );
    section.number("json_depth_max", 8..=128, &mut limits.json_depth_max);
    section.number("stream_id_bytes_max", 16..=2_048, &mut limits.stream_id_bytes_max);
    section.number("type_bytes_max", 16..=1_024, &mut limits.type_bytes_max);
    section.number(
        "idempotency_key_bytes_max",
        16..=1_024,
        &mut limits.idempotency_key_bytes_max,
    );
    section.number("group_appends_max", 1..=10_000, &mut limits.group_appends_max);
    let ordered = limits.reason_chars_min <= limits.reason_chars_max;
    section.rule(
        ordered,
        "reason_chars_min",
        "is above reason_chars_max: no reason could be given",
    );
    section.refuse_unknown();
}

fn limits(section: &Section<'_>, limits: &mut PluginLimits) {
    section.number(
        "plugin_bytes_max",
        1 << 10..=1 << 32,
        &mut limits.plugin_bytes_max,
    );
    section.number(
        "memory_bytes_max",
        1 << 20..=4 << 30,
        &mut limits.memory_bytes_max,
    );
    section.number("call_ms_max", 10..=3_600_000, &mut limits.call_ms_max);
    section.number(
        "stack_bytes_max",
        64 << 10..=64 << 20,
        &mut limits.stack_bytes_max,
    );
    section.number(
        "changes_per_call_max",
        1..=100_000_000,
        &mut limits.changes_per_call_max,
    );
    section.number(
        "bytes_per_change_max",
        64..=256 << 20,
        &mut limits.bytes_per_change_max,
    );
    section.number(
        "log_lines_per_call_max",
        0..=100_000,
        &mut limits.log_lines_per_call_max,
    );
    section.number("log_line_bytes_max", 16..=1 << 20, &mut limits.log_line_bytes_max);
    section.refuse_unknown();
}

fn pipeline(section: &Section<'_>, limits: &mut PipelineLimits) {
    section.number("batch_events_max", 1..=100_000, &mut limits.batch_events_max);
    section.number("batch_bytes_max", 1_024..=1 << 30, &mut limits.batch_bytes_max);
    section.number("flush_events_max", 1..=10_000_000, &mut limits.flush_events_max);
    section.number("queue_batches_max", 1..=1_000, &mut limits.queue_batches_max);
    section.number("cache_bytes_max", 4_096..=1 << 40, &mut limits.cache_bytes_max);
    section.number(
        "rebuild_transaction_ms_max",
        1..=60_000,
        &mut limits.rebuild_transaction_ms_max,
    );
    section.number("rebuild_workers_max", 1..=64, &mut limits.rebuild_workers_max);
    section.number(
        "rebuild_share_percent",
        1..=100,
        &mut limits.rebuild_share_percent,
    );
    section.refuse_unknown();
}

fn state(section: &Section<'_>, limits: &mut StateLimits) {
    section.number("events_max", 1..=10_000_000, &mut limits.events_max);
    section.number("rows_max", 1..=1_000_000, &mut limits.rows_max);
    section.number("bytes_max", 4_096..=1 << 30, &mut limits.bytes_max);
    // A request over HTTP ends after 30 s.
    section.number("time_ms_max", 10..=25_000, &mut limits.time_ms_max);
    section.number("runs_max", 1..=64, &mut limits.runs_max);
    section.refuse_unknown();
}

fn projection(section: &Section<'_>, settings: &mut ProjectionConfig) {
    section.text("cutover", &mut settings.cutover, |text| match text {
        "auto" => Ok(CutoverMode::Auto),
        "manual" => Ok(CutoverMode::Manual),
        _ => Err("must be \"auto\" or \"manual\"".to_owned()),
    });
    section.number("keep_generations", 0..=20, &mut settings.keep_generations);
    section.boolean("follow_retired", &mut settings.follow_retired);
    section.boolean("ready", &mut settings.ready);
    let faults = &mut settings.faults;
    section.text("on_fault", &mut faults.on_fault, |text| match text {
        "pause" => Ok(OnFault::Pause),
        "dead-letter" => Ok(OnFault::DeadLetter),
        _ => Err("must be \"pause\" or \"dead-letter\"".to_owned()),
    });
    section.number(
        "parked_streams_max",
        1..=1_000_000,
        &mut faults.parked_streams_max,
    );
    section.number("parked_events_max", 1..=10_000_000, &mut faults.parked_events_max);
    let keeps_one = !settings.follow_retired || settings.keep_generations > 0;
    section.rule(
        keeps_one,
        "follow_retired",
        "needs keep_generations of at least 1: there is none to keep level",
    );
    section.refuse_unknown();
}

fn folder(text: &str, root: &Path) -> Result<std::path::PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("names no folder".to_owned());
    }
    Ok(root.join(text))
}

/// The address of a collector; empty is none.
pub(super) fn collector(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let is_address = |rest: &str| {
        let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}@".contains(c);
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.chars().all(is_plain)
    };
    if rest.is_some_and(is_address) {
        return Ok(Some(text.to_owned()));
    }
    let shown: String = text.chars().take(100).collect();
    Err(format!(
        "'{shown}' must be the address of a collector, for example http://127.0.0.1:4318"
    ))
}

fn file_of(text: &str, root: &Path) -> Result<std::path::PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("names no file".to_owned());
    }
    Ok(root.join(text))
}

fn tls(section: &Section<'_>, root: &Path) -> Option<TlsFiles> {
    let (mut certificate, mut key) = (None, None);
    section.text("certificate", &mut certificate, |text| {
        file_of(text, root).map(Some)
    });
    section.text("key", &mut key, |text| file_of(text, root).map(Some));
    section.rule(
        certificate.is_some() || key.is_none(),
        "key",
        "needs certificate beside it: a file in PEM form, the server's own certificate first",
    );
    section.rule(
        key.is_some() || certificate.is_none(),
        "certificate",
        "needs key beside it: a file in PEM form with its private key",
    );
    section.refuse_unknown();
    Some(TlsFiles {
        certificate: certificate?,
        key: key?,
    })
}

/// Why a host that is reachable from other machines does not start so.
pub(super) const EXPOSED: &str = "is reachable from other machines, and tokens would travel in the clear: give [tls] \
                                  certificate and key, or set [host] plain_http = true where a proxy in front does TLS";

/// Whether tokens would travel in the clear, and nobody said that this is right.
pub(super) fn is_exposed(config: &Config) -> bool {
    !config.is_loopback() && config.tls.is_none() && !config.plain_http
}

/// A name in the `Host` header, in lower case: `lamphouse.example.com`, or an address.
fn host_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    if is_name || name.parse::<IpAddr>().is_ok() {
        return Ok(name);
    }
    Err(format!(
        "holds '{}', which is no name of a host: write it without scheme and port, such as 'lamphouse.example.com'",
        shortened(text)
    ))
}

/// An origin as browsers send it: `https://app.example.com`, with its port where it is not the usual one.
fn origin(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "holds '{}', which is no origin: write it as a browser does, such as 'https://app.example.com' or \
             'http://localhost:3000', without a path, and never '*'",
            shortened(text)
        )
    };
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(wrong)?;
    let (name, port) = match rest.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (rest, None),
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
    if !is_port || text != text.to_ascii_lowercase() || host_name(name).is_err() {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// The beginning of a text, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

/// An address with its port; `localhost` becomes 127.0.0.1.
pub(super) fn listen(text: &str) -> Result<String, String> {
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.parse().ok(),
    };
    match address {
        Some(address) => Ok(address.to_string()),
        None => Err(format!(
            "'{}' must be an address and a port, for example 127.0.0.1:7117",
            shortened(text)
        )),
    }
}
