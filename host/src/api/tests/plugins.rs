//! Uploads.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Host;
use crate::core::PluginDigest;
use crate::deploy::plugins::Condition;

const HEAD: &str = "HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nConnection: close\n";

impl Host {
    fn put(&self, name: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        self.raw(&format!(
            "PUT /v1/plugins/{name} {HEAD}Content-Type: application/wasm\n{headers}Content-Length: {length}\n\n{body}"
        ))
    }

    fn received(&self) -> Vec<String> {
        let installed = self.operator.installed.lock();
        installed.iter().map(|(name, ..)| name.clone()).collect()
    }

    /// What uploads have left in the plugin folder.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data.path()).expect("a folder");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name.contains("uploads") || name.ends_with(".wasm"))
            .collect()
    }
}

#[test]
fn an_upload_is_accepted_and_says_where_to_watch() {
    let host = Host::start();
    let (status, answer) = host.put("orders", "", "new");
    assert_eq!(status, 202, "{answer}");
    let digest = PluginDigest::of(b"new");
    assert!(answer.contains("location: /v1/plugins/orders\r\n"), "{answer}");
    assert!(answer.contains(&format!("etag: \"{digest}\"\r\n")), "{answer}");
    assert!(
        answer.contains("\"watch\":[\"/v1/projections/orders\"]"),
        "{answer}"
    );
    let (status, answer) = host.put("orders", "", "there already");
    assert_eq!((status, answer.contains("location:")), (200, false), "{answer}");
    let installed = host.operator.installed.lock();
    assert_eq!(
        installed[0],
        ("orders".to_owned(), b"new".to_vec(), Condition::None)
    );
    drop(installed);
    assert!(host.left().is_empty(), "{:?}", host.left());
}

#[test]
fn what_is_no_plugin_is_refused_with_the_stagers_words() {
    let host = Host::start();
    let (status, answer) = host.put("orders", "", "garbage");
    assert!(
        status == 422 && answer.contains("orders.wasm: it is garbage"),
        "{status} {answer}"
    );
    let body = "PUT /v1/plugins/orders HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nConnection: close\nContent-Length: 1\n";
    assert_eq!(host.raw(&format!("{body}\nx")).0, 415);
    assert_eq!(host.raw(&format!("{body}Content-Type: text/plain\n\nx")).0, 415);
    assert_eq!(host.received(), ["orders"]);
}

#[test]
fn no_name_leaves_the_folder() {
    let host = Host::start();
    let long = "a".repeat(300);
    for name in [
        "..%2Fx",
        "%2E%2E%2Fx",
        "..%5Cx",
        ".hidden",
        "%2Ehidden",
        "a%00b",
        "a.wasm",
        "A",
        "%C3%A9clair",
        "a%2Fb",
        "1a",
        "-a",
        "lamphouse-x",
        "a%20b",
        "%FF",
        &long,
    ] {
        let (status, answer) = host.put(name, "", "new");
        assert_eq!(status, 400, "{name}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    assert_eq!(host.put("../x", "", "new").0, 404, "another path");
    assert_eq!(host.put("", "", "new").0, 404);
    assert!(host.received().is_empty());
    assert!(host.left().is_empty());
}

#[test]
fn an_upload_is_stopped_at_its_limit_before_anything_looks_at_it() {
    let host = Host::start();
    assert_eq!(host.put("orders", "", &"x".repeat(1_000)).0, 202);
    let (status, answer) = host.put("orders", "", &"x".repeat(1_001));
    assert!(
        status == 413 && answer.contains("plugin_bytes_max"),
        "{status} {answer}"
    );
    // Without a length, by what comes.
    let piece = format!("64\n{}\n", "x".repeat(100));
    let chunked = |pieces: usize| {
        let head = format!(
            "PUT /v1/plugins/orders {HEAD}Content-Type: application/wasm\nTransfer-Encoding: chunked\n\n"
        );
        host.raw(&format!("{head}{}0\n\n", piece.repeat(pieces)))
    };
    assert_eq!(chunked(10).0, 202);
    assert_eq!(chunked(11).0, 413);
    assert_eq!(host.received().len(), 2);
    assert!(host.left().is_empty());
}

#[test]
fn a_sender_that_goes_away_leaves_nothing() {
    let host = Host::start();
    let mut stream = TcpStream::connect(host.address).expect("connected");
    let head =
        format!("PUT /v1/plugins/orders {HEAD}Content-Type: application/wasm\nContent-Length: 100\n\nhalf")
            .replace("HOST", &host.address.to_string())
            .replace("TOKEN", &host.token.bearer())
            .replace('\n', "\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let until = Instant::now() + Duration::from_secs(10);
    while host.left().is_empty() {
        assert!(Instant::now() < until, "it was never received");
        std::thread::sleep(Duration::from_millis(5));
    }
    stream.shutdown(Shutdown::Both).expect("gone");
    while !host.left().is_empty() {
        assert!(Instant::now() < until, "{:?} is left", host.left());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(host.received().is_empty());
}

#[test]
fn too_many_uploads_are_told_to_come_again() {
    let host = Host::start();
    let open = || {
        let mut stream = TcpStream::connect(host.address).expect("connected");
        let head =
            format!("PUT /v1/plugins/orders {HEAD}Content-Type: application/wasm\nContent-Length: 4\n\nsl")
                .replace("HOST", &host.address.to_string())
                .replace("TOKEN", &host.token.bearer())
                .replace('\n', "\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    let received = || {
        let entries = std::fs::read_dir(host.data.path().join(".uploads"));
        entries.map_or(0, Iterator::count)
    };
    let until = Instant::now() + Duration::from_secs(10);
    let mut streams = Vec::new();
    for number in 1..=4 {
        streams.push(open());
        while received() < number {
            assert!(Instant::now() < until, "upload {number} is not received");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let (status, answer) = host.put("orders", "", "one more");
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("retry-after: 5\r\n"), "{status} {answer}");
    // Those that are under way end, one after the other.
    for stream in &mut streams {
        stream.write_all(b"ow").expect("sent");
    }
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
}

#[test]
fn a_condition_names_digests_or_everything() {
    let host = Host::start();
    let digest = PluginDigest::of(b"old");
    for (headers, condition) in [
        ("If-Match: *\n".to_owned(), Condition::Present),
        ("If-None-Match: *\n".to_owned(), Condition::Absent),
        (
            format!("If-Match: \"{digest}\"\n"),
            Condition::OneOf(vec![digest]),
        ),
        (
            format!("If-Match: {digest}, \"{digest}\"\n"),
            Condition::OneOf(vec![digest, digest]),
        ),
    ] {
        assert_eq!(host.put("orders", &headers, "new").0, 202, "{headers}");
        let last = host.operator.installed.lock().pop().expect("an upload");
        assert_eq!(last.2, condition);
    }
    for headers in [
        "If-Match: \"abc\"\n",
        "If-Match: \n",
        "If-None-Match: \"abc\"\n",
        "If-Match: *\nIf-None-Match: *\n",
    ] {
        assert_eq!(host.put("orders", headers, "new").0, 400, "{headers}");
    }
    assert_eq!(host.put("orders", "", "changed").0, 412);
}

#[test]
fn a_removal_is_on_record_and_so_is_an_upload() {
    let host = Host::start();
    assert_eq!(
        host.put("orders", "Lamphouse-Reason: version 2 is due\n", "new")
            .0,
        202
    );
    let delete =
        |name: &str, headers: &str| host.raw(&format!("DELETE /v1/plugins/{name} {HEAD}{headers}\n"));
    assert_eq!(delete("orders", "").0, 200);
    assert_eq!(delete("orders", "If-Match: *\n").0, 412);
    assert_eq!(delete("unknown", "").0, 404);
    let (_, page) = host.get("/v1/events?stream_type=lamphouse.audit");
    let events = page["events"].as_array().expect("events");
    let types: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event_type"].as_str()?.strip_prefix("lamphouse."))
        .collect();
    let (asked, failed) = ("AdminActionRequested", "AdminActionFailed");
    assert_eq!(
        types,
        [
            asked,
            "PluginUploaded",
            asked,
            "PluginRemoved",
            asked,
            failed,
            asked,
            failed
        ]
    );
    assert_eq!(events[0]["data"]["details"]["bytes"], json!(3));
    assert_eq!(
        events[0]["data"]["details"]["digest"],
        json!(PluginDigest::of(b"new"))
    );
    assert_eq!(events[0]["metadata"]["reason"], json!("version 2 is due"));
}
