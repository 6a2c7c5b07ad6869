//! Traces, sent to a collector of the test's own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use lamphouse_tests::puppet::lifter;
use lamphouse_tests::{Database, Project, on_each_database, wait};

use super::{Asked, event, named, stream, token, value};

on_each_database!(
    spans_reach_a_collector_and_a_request_goes_on_with_its_trace,
    a_collector_that_is_away_slows_nothing_and_is_told_of_once,
);

/// A span as it came.
#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: BTreeMap<String, String>,
}

/// One field of a protobuf message: its number, and its bytes or its number as bytes.
fn fields(mut rest: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(rest: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = rest[0];
            *rest = &rest[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut all = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let start = rest;
        let length = match key & 7 {
            0 => {
                varint(&mut rest);
                start.len() - rest.len()
            }
            1 => 8,
            2 => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                all.push((key >> 3, &rest[..length]));
                rest = &rest[length..];
                continue;
            }
            5 => 4,
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, &start[..length]));
        rest = &start[length..];
    }
    all
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A `KeyValue`: numbers are shown as their bytes, which is enough here.
fn attribute(bytes: &[u8]) -> (String, String) {
    let (mut key, mut value) = (String::new(), String::new());
    for (number, bytes) in fields(bytes) {
        match number {
            1 => key = text(bytes),
            _ => {
                for (kind, bytes) in fields(bytes) {
                    value = match kind {
                        1 => text(bytes),
                        _ => format!("{bytes:?}"),
                    };
                }
            }
        }
    }
    (key, value)
}

/// The spans of an `ExportTraceServiceRequest`, and the attributes of its resource.
fn spans(body: &[u8]) -> (BTreeMap<String, String>, Vec<Span>) {
    let (mut resource, mut spans) = (BTreeMap::new(), Vec::new());
    for (_, resource_spans) in fields(body) {
        for (number, part) in fields(resource_spans) {
            match number {
                1 => resource.extend(
                    fields(part)
                        .into_iter()
                        .filter(|(number, _)| *number == 1)
                        .map(|(_, pair)| attribute(pair)),
                ),
                2 => {
                    let of_scope = fields(part).into_iter().filter(|(number, _)| *number == 2);
                    spans.extend(of_scope.map(|(_, span)| one(span)));
                }
                _ => {}
            }
        }
    }
    (resource, spans)
}

fn one(bytes: &[u8]) -> Span {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut span = Span::default();
    for (number, bytes) in fields(bytes) {
        match number {
            1 => span.trace = hex(bytes),
            2 => span.id = hex(bytes),
            4 => span.parent = hex(bytes),
            5 => span.name = text(bytes),
            9 => span.attributes.extend([attribute(bytes)]),
            _ => {}
        }
    }
    span
}

/// Takes exports until the process ends.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || take(connection, &tell));
        }
    });
    (url, told)
}

/// The requests of one connection.
fn take(mut connection: TcpStream, tell: &Sender<(String, Vec<u8>)>) {
    let mut bytes = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            let all = end + 4 + length;
            if bytes.len() < all {
                break;
            }
            let body = bytes[end + 4..all].to_vec();
            bytes.drain(..all);
            let answer =
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
            if connection.write_all(answer).is_err() || tell.send((head, body)).is_err() {
                return;
            }
        }
        match connection.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
        }
    }
}

fn spans_reach_a_collector_and_a_request_goes_on_with_its_trace(database: Database) {
    let (url, told) = collector();
    let project = Project::with_settings(database, &format!("[telemetry]\notlp_endpoint = \"{url}\"\n"));
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let old_puts = [("rules", "Old:1>Put:1")];
    project.deploy_bytes(&lifter("lift", "1.0.0", &old_puts), "lift");
    let mut command = project.command(&["serve"]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "200");
    let mut host = project.start_command(command);
    host.wait_running();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let header = format!("traceparent: 00-{trace}-{parent}-01\r\n");
    assert_eq!(
        asked.append(&header, &[stream("s", &[event("Old", 1)])]).status,
        200
    );
    // Somebody else has decided that this one is not recorded.
    let unsampled = "1af7651916cd43dd8448eb211c80319c";
    let header = format!("traceparent: 00-{unsampled}-{parent}-00\r\n");
    assert_eq!(
        asked.append(&header, &[stream("s", &[event("Put", 2)])]).status,
        200
    );
    host.wait_level("puppet");
    let (mut all, mut resource) = (Vec::new(), BTreeMap::new());
    let wanted = ["POST /v1/append", "append", "read", "upcast", "project", "flush"];
    let end = Instant::now() + wait::LONG;
    while !wanted
        .iter()
        .all(|name| all.iter().any(|span: &Span| span.name == *name))
    {
        let left = end.saturating_duration_since(Instant::now());
        let (head, body) = told
            .recv_timeout(left)
            .unwrap_or_else(|_| panic!("not all of {wanted:?} in {all:#?}"));
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let (about, spans) = spans(&body);
        resource.extend(about);
        all.extend(spans);
    }
    assert_eq!(resource["service.name"], "lamphouse");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    let request = all
        .iter()
        .find(|span| span.name == "POST /v1/append" && span.trace == trace);
    let request = request.unwrap_or_else(|| panic!("the request's own trace in {all:#?}"));
    assert_eq!(request.parent, parent);
    assert_eq!(request.attributes["http.route"], "/v1/append");
    let append = all
        .iter()
        .find(|span| span.name == "append" && span.trace == trace);
    let append = append.unwrap_or_else(|| panic!("the append within it in {all:#?}"));
    assert_eq!(append.parent, request.id);
    assert!(!all.iter().any(|span| span.trace == unsampled), "{all:#?}");
    for name in ["read", "upcast", "project", "flush"] {
        let span = all.iter().find(|span| span.name == name).unwrap();
        assert_eq!(span.attributes["projection"], "puppet", "{span:?}");
        assert_eq!(span.parent, "", "{span:?} is a trace of its own");
    }
    assert!(
        !all.iter().any(|span| span.name == "projection"),
        "it would never end: {all:#?}"
    );
    let whole = format!("{all:?}");
    assert!(!whole.contains(&token), "{whole}");
    wait::until("exports to be counted", wait::SHORT, || {
        match value(
            &asked.scrape(),
            "lamphouse_otlp_exports_total",
            &[("outcome", "done")],
        ) {
            done if done >= 1.0 => Ok(()),
            done => Err(done.to_string()),
        }
    });
    let page = asked.scrape();
    let lift = [("plugin", "lift"), ("kind", "upcaster")];
    assert!(value(&page, "lamphouse_plugin_calls_total", &lift) >= 1.0);
    assert!(value(&page, "lamphouse_plugin_memory_peak_bytes", &lift) >= 65_536.0);
    assert!(host.stop().success());
}

fn a_collector_that_is_away_slows_nothing_and_is_told_of_once(database: Database) {
    // It takes connections and never answers: worse than one that is gone.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let project = Project::new(database);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let mut command = project.command(&["serve"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "64")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16");
    let mut host = project.start_command(command);
    host.wait_running();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);
    let append = |number: u64| {
        let began = Instant::now();
        assert_eq!(
            asked.append("", &[stream("s", &[event("Put", number)])]).status,
            200
        );
        began.elapsed()
    };
    for number in 0..50 {
        append(number);
    }
    let before = value(&asked.scrape(), "process_resident_memory_bytes", &[]);
    let mut times: Vec<Duration> = (50..650).map(append).collect();
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(500), "{median:?}");
    host.wait_level("puppet");
    wait::until("a failed export", wait::LONG, || {
        let failed = value(
            &asked.scrape(),
            "lamphouse_otlp_exports_total",
            &[("outcome", "failed")],
        );
        match failed >= 2.0 {
            true => Ok(()),
            false => Err(failed.to_string()),
        }
    });
    let after = value(&asked.scrape(), "process_resident_memory_bytes", &[]);
    assert!(
        after - before < f64::from(64 << 20),
        "memory grew from {before} to {after}"
    );
    let log = host.log();
    assert_eq!(log.matches("Traces cannot be sent").count(), 1, "{log}");
    let began = Instant::now();
    assert!(host.stop().success());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(listener);
}
