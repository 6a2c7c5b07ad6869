//! Health, readiness, metrics, and what every request is told by.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Host, Watch};
use crate::deploy::operator::ProjectionStatus;

impl Host {
    /// Of a `GET` with these lines of a header: the status, the header and the body.
    fn look(&self, path: &str, header: &str) -> (u16, String, String) {
        let request = format!("GET {path} HTTP/1.1\nHost: HOST\n{header}Connection: close\n\n");
        let (status, answer) = self.raw(&request);
        let (header, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
        (status, header.to_ascii_lowercase(), body.to_owned())
    }

    /// The metrics, by name and labels.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, header, body) = self.look("/metrics", "Authorization: TOKEN\n");
        assert_eq!(status, 200, "{body}");
        let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(header.contains(kind), "{header}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                (name.to_owned(), value.parse().expect("a number"))
            })
            .collect()
    }
}

fn projection(name: &str, lag_events: u64) -> ProjectionStatus {
    let value = json!({
        "name": name, "state": "live", "healthy": true, "message": "follows the log", "paused": null, "held": null,
        "live": {
            "generation": 7, "version": "1.0.0", "digest": "", "state": "live", "checkpoint": 42 - lag_events,
            "lag_events": lag_events, "lag_ms": 1_500, "events_per_second": 12.5, "time_left_ms": null,
            "activity": "following", "cache_is_whole": true, "cache_bytes": 4_096, "tables": [], "fault": null, "log": [],
        },
        "others": [
            {"generation": 8, "version": "1.1.0", "digest": "", "state": "building", "checkpoint": 21, "lag_events": 21,
             "lag_ms": 0, "events_per_second": 3.0, "time_left_ms": 7_000, "activity": "rebuilding",
             "cache_is_whole": false, "cache_bytes": 0, "tables": [], "fault": null, "log": []},
            {"generation": 6, "version": "0.9.0", "digest": "", "state": "retired", "checkpoint": 5, "lag_events": 37,
             "lag_ms": 0, "events_per_second": null, "time_left_ms": null, "activity": "stopped",
             "cache_is_whole": false, "cache_bytes": 0, "tables": [], "fault": null, "log": []},
        ],
    });
    serde_json::from_value(value).expect("a projection")
}

#[test]
fn health_is_the_processs_own_and_no_plugins() {
    let host = Host::start();
    let health = || host.look("/healthz", "");
    assert_eq!(health().0, 200);
    host.operator
        .problems
        .lock()
        .push("the folder is gone".to_owned());
    let mut faulted = projection("orders", 3);
    (faulted.state, faulted.healthy) = ("faulted".to_owned(), false);
    host.operator.projections.lock().push(faulted);
    let (status, _, body) = health();
    assert_eq!((status, body.as_str()), (200, "ok\n"));
}

#[test]
fn readiness_names_projections_to_who_knows_a_token_only() {
    let mut watch = Watch::default();
    watch.ready.lag_events_max = 2;
    let host = Host::watched(watch);
    let (status, _, body) = host.look("/readyz", "");
    assert_eq!((status, body.as_str()), (200, "ready\n"));
    *host.operator.projections.lock() = vec![projection("orders", 3), projection("people", 4)];
    assert_eq!(host.look("/readyz", "").0, 200, "an answer is kept for a moment");
    std::thread::sleep(Duration::from_millis(300));
    let (status, header, body) = host.look("/readyz", "");
    assert_eq!(
        (status, body.as_str()),
        (503, "a projection is too many events behind the log\n")
    );
    assert!(header.contains("content-type: text/plain"), "{header}");
    let (status, _, body) = host.look("/readyz", "Authorization: TOKEN\n");
    assert_eq!(
        (status, body.as_str()),
        (
            503,
            "orders is 3 events behind the log, and [host] ready_lag_events_max is 2\n\
             people is 4 events behind the log, and [host] ready_lag_events_max is 2\n"
        )
    );
    assert_eq!(host.metrics()["lamphouse_ready"], 0.0);
}

#[test]
fn metrics_need_any_token_unless_they_are_open() {
    let host = Host::start();
    assert_eq!(host.look("/metrics", "").0, 401);
    assert_eq!(host.look("/metrics", "Authorization: Bearer wrong\n").0, 401);
    assert_eq!(host.metrics()["lamphouse_ready"], 1.0);
    let open = Host::watched(Watch {
        metrics_open: true,
        ..Watch::default()
    });
    assert_eq!(open.look("/metrics", "").0, 200);
    assert_eq!(open.look("/v1/status", "").0, 401);
    let page = open.raw("GET /metrics HTTP/1.1\nHost: HOST\nOrigin: http://a.example\nConnection: close\n\n");
    assert_eq!(page.0, 403, "a web page reads none");
}

#[test]
fn metrics_say_what_the_status_says_and_leave_retired_generations_out() {
    let host = Host::start();
    *host.operator.projections.lock() = vec![projection("orders", 2)];
    let metrics = host.metrics();
    for (name, value) in [
        ("lamphouse_log_head_position", 42.0),
        (
            "lamphouse_projection_state{projection=\"orders\",state=\"live\"}",
            1.0,
        ),
        (
            "lamphouse_projection_state{projection=\"orders\",state=\"faulted\"}",
            0.0,
        ),
        ("lamphouse_projection_generation{projection=\"orders\"}", 7.0),
        (
            "lamphouse_projection_checkpoint_position{projection=\"orders\"}",
            40.0,
        ),
        ("lamphouse_projection_lag_events{projection=\"orders\"}", 2.0),
        ("lamphouse_projection_lag_seconds{projection=\"orders\"}", 1.5),
        (
            "lamphouse_generation_cache_bytes{projection=\"orders\",generation=\"g7\"}",
            4_096.0,
        ),
        (
            "lamphouse_rebuild_progress_ratio{projection=\"orders\",generation=\"g8\"}",
            0.5,
        ),
        (
            "lamphouse_rebuild_remaining_seconds{projection=\"orders\",generation=\"g8\"}",
            7.0,
        ),
        ("lamphouse_plugin_files{state=\"refused\"}", 0.0),
        (
            concat!(
                "lamphouse_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"}"
            ),
            1.0,
        ),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
    assert!(
        !metrics.keys().any(|name| name.contains("\"g6\"")),
        "{metrics:#?}"
    );
}

#[test]
fn requests_are_counted_by_template_and_class() {
    let host = Host::start();
    host.look("/v1/streams/secret-1", "Authorization: TOKEN\n");
    host.look("/v1/streams/secret-2", "");
    host.look("/somewhere/else?token=a", "Authorization: TOKEN\n");
    let metrics = host.metrics();
    for (name, value) in [
        (
            "route=\"/v1/streams/{stream_id}\",method=\"GET\",status=\"4xx\"",
            2.0,
        ),
        ("route=\"unmatched\",method=\"GET\",status=\"4xx\"", 1.0),
    ] {
        let name = format!("lamphouse_http_requests_total{{{name}}}");
        let found = metrics.get(&name).copied().unwrap_or(0.0);
        assert_eq!(found, value, "{name} in {metrics:#?}");
    }
    let count =
        "lamphouse_http_request_duration_seconds_count{route=\"/v1/streams/{stream_id}\",method=\"GET\"}";
    assert_eq!(metrics.get(count), Some(&2.0));
    // The scrape itself.
    assert_eq!(metrics["lamphouse_http_requests_in_flight"], 1.0);
    assert!(
        !metrics.keys().any(|name| name.contains("secret")),
        "{metrics:#?}"
    );
}

#[test]
fn what_is_open_is_counted_until_it_closes() {
    let host = Host::start();
    let opens = (host.watch.http.connection(), host.watch.http.subscription());
    let subscriptions = || host.metrics()["lamphouse_http_subscriptions"];
    assert_eq!(subscriptions(), 1.0);
    drop(opens);
    assert_eq!(subscriptions(), 0.0);
}

#[test]
fn a_request_keeps_its_id_or_gets_one_and_a_problem_names_it() {
    let host = Host::start();
    let (_, header, body) = host.look("/v1/nothing", "Authorization: TOKEN\nX-Request-Id: mine-1\n");
    assert!(header.contains("x-request-id: mine-1"), "{header}");
    let problem: Value = serde_json::from_str(&body).expect("a problem");
    assert_eq!(problem["request_id"], "mine-1");
    let (_, header, body) = host.look("/v1/status", "X-Request-Id: a b\n");
    let problem: Value = serde_json::from_str(&body).expect("a problem");
    let made = problem["request_id"].as_str().expect("an id");
    assert!(uuid::Uuid::parse_str(made).is_ok(), "{made}");
    assert!(header.contains(&format!("x-request-id: {made}")), "{header}");
}

#[test]
fn appends_are_counted_by_what_came_of_them() {
    let host = Host::start();
    let append = |body: &str| {
        let head = "POST /v1/append HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nConnection: close\n";
        let length = body.len();
        let kind = "Content-Type: application/json\n";
        host.raw(&format!("{head}{kind}Content-Length: {length}\n\n{body}"))
            .0
    };
    let event = r#"{"event_type":"A","data":{},"metadata":{"reason":"appended by a test"}}"#;
    let stream = |expected: &str| {
        format!(
            r#"{{"streams":[{{"stream_id":"s-1","stream_type":"s","expected_version":{expected},"events":[{event},{event}]}}]}}"#
        )
    };
    assert_eq!(append(&stream("\"no-stream\"")), 200);
    assert_eq!(append(&stream("\"no-stream\"")), 409);
    assert_eq!(append(&stream("\"any\"").replace("appended by a test", "x")), 400);
    let metrics = host.metrics();
    for (name, value) in [
        ("lamphouse_appended_events_total", 2.0),
        ("lamphouse_appends_total{outcome=\"appended\"}", 1.0),
        ("lamphouse_appends_total{outcome=\"conflict\"}", 1.0),
        ("lamphouse_appends_total{outcome=\"refused\"}", 1.0),
        ("lamphouse_append_duration_seconds_count", 1.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
}

#[test]
fn counts_by_projection_and_plugin_are_the_hosts() {
    let host = Host::start();
    let meter = host.watch.projections.of("orders");
    meter.live.events.add(5);
    meter.building.events.add(9);
    meter.live.flushes.record(Duration::from_millis(3));
    meter.faults.of("time_limit").add(1);
    meter.cutovers.add(2);
    let metrics = host.metrics();
    for (name, value) in [
        (
            "lamphouse_projection_events_applied_total{projection=\"orders\",work=\"live\"}",
            5.0,
        ),
        (
            "lamphouse_projection_events_applied_total{projection=\"orders\",work=\"building\"}",
            9.0,
        ),
        (
            "lamphouse_flush_duration_seconds_bucket{le=\"0.0025\",projection=\"orders\",work=\"live\"}",
            0.0,
        ),
        (
            "lamphouse_flush_duration_seconds_bucket{le=\"0.005\",projection=\"orders\",work=\"live\"}",
            1.0,
        ),
        (
            "lamphouse_flush_duration_seconds_bucket{le=\"+Inf\",projection=\"orders\",work=\"live\"}",
            1.0,
        ),
        (
            "lamphouse_projection_faults_total{projection=\"orders\",class=\"time_limit\"}",
            1.0,
        ),
        (
            "lamphouse_projection_cutovers_total{projection=\"orders\",outcome=\"done\"}",
            2.0,
        ),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
}
