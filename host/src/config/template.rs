//! The `lamphouse.toml` that `lamphouse init` writes: every key with its default, its unit, and why one would change it.

/// The file's text. Keys that most projects leave alone are commented out; what stands there is the default.
pub const TEMPLATE: &str = r##"# Lamphouse project. Every key is here with its default; a key that is commented out is at that default.
# Relative paths are taken from the folder of this file. Unknown keys are refused.

[log]
# The event log: precious. "sqlite:FILE" or "postgres://user:password@host/database".
# The environment variable LAMPHOUSE_LOG_URL stands over it.
url = "sqlite:log.db"

[tables]
# The read tables: can be deleted and are built again from the log. LAMPHOUSE_TABLES_URL stands over it.
url = "sqlite:tables.db"

[plugins]
# The folder that is watched for .wasm files.
folder = "plugins"

[host]
# Where `serve` listens. Beyond loopback it needs tokens (`lamphouse token add`), and TLS or plain_http.
# LAMPHOUSE_LISTEN stands over it.
listen = "127.0.0.1:7117"
# The admin's token, code cache and lock.
data = ".lamphouse"
# The tokens of others: who may append, read or administer, and of what. Read again when it changes.
# tokens = "tokens.toml"
# What the Host header may say besides the address, such as ["lamphouse.example.com"].
# names = []
# Web pages that may call the API, such as ["https://app.example.com"].
# cors_origins = []
# Whether to be reachable from other machines without TLS: only where a proxy in front does it.
# plain_http = false
# Connections at a time. Raise it for many subscribers; each costs some memory and a file handle.
# connections_max = 1_024
# Body of one append over HTTP. Raise it for large batches; lower it to keep memory for others.
# body_bytes_max = 16_777_216
# Subscriptions (`/v1/changes`, `/v1/events?follow=true`) at a time; more get 503. Raise it for many clients; each takes a
# connection and up to some MiB while it is slow.
# subscriptions_max = 1_000
# Whether /metrics needs no token. It shows names and numbers, and no data.
# metrics_open = false
# /readyz says no while public tables are more events behind the log, or an event has waited longer for its effects.
# Raise them where stale reads are better than none; lower them where they are not.
# ready_lag_events_max = 10_000
# ready_lag_ms_max = 60_000

# HTTPS, by two files in PEM form, which are read again when they change:
#   [tls]
#   certificate = "cert.pem"
#   key = "key.pem"

[telemetry]
# A collector of OpenTelemetry that traces are sent to (OTLP over HTTP), for example "http://127.0.0.1:4318"; none when
# empty. The environment variable OTEL_EXPORTER_OTLP_ENDPOINT stands over it.
# otlp_endpoint = ""
# Share of the requests that are traced, of those that come without a trace of their own.
# otlp_sample_percent = 100
# Reads, upcastings, calls and flushes of projections that are traced in a second. Raise it to see more of a rebuild.
# otlp_pipeline_spans_per_second_max = 20

[projection]
# Defaults of every projection. "auto" switches to a new generation when it has caught up and nothing is breaking;
# "manual" waits for `lamphouse cutover NAME`.
# cutover = "auto"
# Retired generations kept for `lamphouse rollback NAME`.
# keep_generations = 1
# Keep the retired generation level all the time, so that a rollback is instant.
# follow_retired = false
# Whether /readyz waits for its tables. Turn it off for one projection that may lag, or be built anew from nothing.
# ready = true
# An event that the plugin cannot take: "pause" stops before it; "dead-letter" parks it and every later event of its
# stream, and goes on with the other streams (see `lamphouse dead-letters --help`). A call that outruns its time always
# pauses.
# on_fault = "pause"
# Streams and events of one generation that may be parked before it pauses. Raise them where much may be wrong at once;
# lower them to hear of a broken plugin sooner.
# parked_streams_max = 1_000
# parked_events_max = 100_000

# The same keys for one projection:
# [projections.order-summary]
# cutover = "manual"

[append]
# Whether every event's metadata must hold a "reason", and its length in characters.
# reason_required = true
# reason_chars_min = 10
# reason_chars_max = 500
# Data and metadata of one event. Raise it for documents; lower it to keep projections quick.
# event_bytes_max = 1_048_576
# Events of one append. A larger one holds the log's counter for longer.
# events_per_append_max = 10_000
# Nesting of JSON.
# json_depth_max = 128
# stream_id_bytes_max = 512
# type_bytes_max = 256
# idempotency_key_bytes_max = 256
# Appends gathered into one transaction. Raise it for many writers; lower it for latency under load.
# group_appends_max = 256

[limits]
# What one call of a plugin may use. A limit never skips an event: the batch rolls back and the message names the key.
# memory_bytes_max = 268_435_456
# Bytes of a plugin file. Raise it for plugins that carry a large runtime; lower it to keep uploads small.
# plugin_bytes_max = 67_108_864
# Raise it for slow languages; lower it to notice a spinning plugin sooner.
# call_ms_max = 5_000
# stack_bytes_max = 1_048_576
# Raise it for events that touch very many rows.
# changes_per_call_max = 100_000
# Bytes of one change or row.
# bytes_per_change_max = 1_048_576
# log_lines_per_call_max = 100
# log_line_bytes_max = 2_000

[pipeline]
# Events and bytes of one plugin call. More than 4,000 events gain next to nothing; lower it for plugins whose calls are slow.
# batch_events_max = 4_000
# batch_bytes_max = 4_194_304
# Events of one table transaction while behind the head. Raise it for rebuild speed; lower it for short transactions.
# flush_events_max = 100_000
# Batches that may wait between two threads. Raise it for jittery disks; lower it to save memory.
# queue_batches_max = 8
# Bytes of rows that one generation keeps in memory. Raise it until the hot rows fit.
# cache_bytes_max = 268_435_456
# Longest table transaction of a rebuild beside live projections. Raise it for rebuild speed; lower it for live latency.
# rebuild_transaction_ms_max = 12
# Workers of one rebuild of a projector that declares partition = stream; never more than there are cores.
# rebuild_workers_max = 8
# Share of the time that a rebuild may use: 100 is as fast as the machine allows.
# rebuild_share_percent = 100

[query]
# Bounds of `lamphouse query`.
# rows_max = 1_000
# time_ms_max = 10_000

[schemas]
# The folder that is watched for JSON Schemas, which appended events are held to: one file per event type and version,
# OrderPlaced.1.json. It need not be there.
# folder = "schemas"
# Events of a type and version without one: "allow" lets them in, "refuse" does not.
# unknown = "allow"

[state]
# Bounds of `lamphouse state`, which makes the rows of one stream as they were at a time. Raise the first four for long
# streams and slow plugins; lower them to answer or refuse sooner.
# events_max = 100_000
# rows_max = 10_000
# bytes_max = 16_777_216
# time_ms_max = 15_000
# Runs at a time over HTTP. Each has a plugin's memory; lower it to leave cores to projections.
# runs_max = 2

[changes]
# Row changes of the public tables that are kept for `/v1/changes`. Raise it so that clients may be away for longer; lower
# it to save disk; 0 writes none.
# rows_max = 100_000
"##;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Config {
        Config::parse(Path::new("/project"), text, |_| None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn as_it_is_the_template_gives_the_defaults() {
        assert_eq!(parse(TEMPLATE), Config::defaults(Path::new("/project")));
    }

    /// With every key uncommented it must still give the defaults, so a default that moved is noticed here.
    #[test]
    fn what_is_commented_out_is_the_default() {
        let active = TEMPLATE.lines().map(|line| match line.strip_prefix("# ") {
            Some(key) if key.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => key,
            _ if line.starts_with("# cutover") => "",
            _ => line,
        });
        // The example of one projection is no default.
        let text = active
            .collect::<Vec<_>>()
            .join("\n")
            .replacen("cutover = \"manual\"", "", 1);
        assert_eq!(parse(&text), Config::defaults(Path::new("/project")));
    }

    #[test]
    fn the_template_shows_every_key() {
        let keys = TEMPLATE.lines().filter(|line| {
            let line = line.trim_start_matches("# ");
            line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        });
        // 5 places, 2 of what they take, 5 of who may come, 3 and 3 of watching, 7 of [projection] and 1 in its example,
        // 10, 8, 8, 2, 5 and 1 limits, 2 of [schemas].
        assert_eq!(
            keys.count(),
            5 + 2 + 5 + 3 + 3 + 7 + 1 + 10 + 8 + 8 + 2 + 5 + 1 + 2
        );
    }
}
