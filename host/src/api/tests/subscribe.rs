//! Subscriptions: what is told, in which order, and from where it goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::{Column, ColumnType, Descriptor, TableSchema};
use serde_json::{Value, json};

use super::log::{event, stream};
use super::{Host, SUBSCRIPTIONS_MAX};
use crate::core::{GenerationId, PluginDigest, PluginName, Position};
use crate::log::{AppendRequest, ExpectedVersion, StreamAppend};
use crate::tables::{Checkpoint, Flush, GenerationRecord, Switch, TableFlush, TableWriter};

/// One Server-Sent Event.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    id: Option<u64>,
    name: String,
    data: Value,
}

/// A client that reads a stream.
struct Follower {
    reader: BufReader<TcpStream>,
    status: u16,
    head: String,
    /// Of the body, what was read and not yet used.
    text: String,
    comments: usize,
}

impl Follower {
    fn open(host: &Host, path: &str, last_id: Option<u64>) -> Self {
        let mut socket = TcpStream::connect(host.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let last = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n{last}\r\n",
            host.address,
            host.token.bearer()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            reader,
            status,
            head: head.to_ascii_lowercase(),
            text: String::new(),
            comments: 0,
        }
    }

    /// A stream that begins.
    fn of(host: &Host, path: &str, last_id: Option<u64>) -> Self {
        let follower = Self::open(host, path, last_id);
        assert_eq!(follower.status, 200, "{path}: {}", follower.head);
        follower
    }

    /// Adds one chunk; false: the stream is over.
    fn read(&mut self) -> bool {
        let mut size = String::new();
        if self.reader.read_line(&mut size).unwrap() == 0 {
            return false;
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        self.text.push_str(&String::from_utf8(chunk).unwrap());
        size > 0
    }

    /// The next event; None: the stream is over.
    fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let mut told = Told {
                    id: None,
                    name: String::new(),
                    data: Value::Null,
                };
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => told.id = Some(id.parse().unwrap()),
                        Some(("event", name)) => told.name = name.to_owned(),
                        Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                        Some(("retry", time)) => assert!(time.parse::<u64>().unwrap() > 0),
                        Some(("", _)) => self.comments += 1,
                        _ => assert!(line.is_empty(), "{line}"),
                    }
                }
                if !told.name.is_empty() {
                    return Some(told);
                }
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// The next event but for positions.
    fn one(&mut self) -> Told {
        loop {
            let told = self.next().expect("the stream goes on");
            if told.name != "position" {
                return told;
            }
        }
    }

    fn hello(&mut self) -> Value {
        let hello = self.next().expect("a first word");
        assert_eq!(hello.name, "hello");
        hello.data
    }
}

impl Host {
    fn add(&self, id: &str, stream_type: &str, event_type: &str, data: &Value) {
        let mut one = stream(id, &json!("any"), &[event(event_type, data)]);
        one["stream_type"] = json!(stream_type);
        let (status, answer) = self.append(None, &json!({"streams": [one]}));
        assert_eq!(status, 200, "{answer}");
    }

    /// Makes `NAME(id, n)` public.
    fn table(&self, name: &str) -> Table {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            nullable: false,
            initial: None,
        };
        let descriptor = Arc::new(Descriptor {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            subscriptions: Vec::new(),
            tables: vec![TableSchema {
                name: name.to_owned(),
                columns: vec![column("id", ColumnType::Text), column("n", ColumnType::Integer)],
                primary_key: vec![0],
                indexes: Vec::new(),
            }],
            options: Vec::new(),
        });
        let digest = PluginDigest::of(name.as_bytes());
        let store = &self.shared.store;
        let generation = store
            .create_generation(
                &PluginName::new(name).unwrap(),
                &digest,
                "1.0.0",
                &descriptor,
                &[],
                1,
            )
            .unwrap();
        let mut table = Table {
            writer: store.writer(&generation).unwrap(),
            generation,
            at: Checkpoint::default(),
            ring: self.shared.written.clone(),
        };
        table.switch(None);
        table
    }
}

/// A public table and who writes it.
struct Table {
    writer: Box<dyn TableWriter>,
    generation: GenerationRecord,
    at: Checkpoint,
    ring: crate::core::bell::Bell,
}

impl Table {
    fn next(&mut self, put: &[(&str, i64)], remove: &[&str]) -> Flush {
        let from = self.at;
        self.at.position = Position(from.position.0 + 1);
        let row = |(id, n): &(&str, i64)| -> Arc<lamphouse_contract::Row> {
            Arc::new(Box::new([
                lamphouse_contract::Value::Text((*id).into()),
                lamphouse_contract::Value::Integer(*n),
            ]))
        };
        Flush {
            from,
            to: self.at,
            tables: vec![TableFlush {
                upserts: put.iter().map(row).collect(),
                removes: remove
                    .iter()
                    .map(|id| -> lamphouse_contract::Key {
                        Box::new([lamphouse_contract::Value::Text((*id).into())])
                    })
                    .collect(),
                ..TableFlush::default()
            }],
            letters: None,
        }
    }

    fn write(&mut self, put: &[(&str, i64)], remove: &[&str]) {
        let flush = self.next(put, remove);
        self.writer.flush(&flush, true).unwrap();
        self.ring.ring();
    }

    fn switch(&mut self, from: Option<GenerationId>) {
        let flush = self.next(&[], &[]);
        let switch = Switch {
            projection: self.generation.projection.clone(),
            from,
            to: self.generation.id,
            breaking: false,
            parks_no_more: false,
            from_diverged: true,
            hold: None,
            now: 2,
        };
        self.writer.switch(&flush, &switch).unwrap();
        self.ring.ring();
    }
}

#[test]
fn events_are_caught_up_with_and_followed_without_a_gap() {
    let host = Host::start();
    for number in 1..=450 {
        host.add(
            &format!("order-{number}"),
            "order",
            "OrderPlaced",
            &json!({ "n": number }),
        );
    }
    let mut all = Follower::of(&host, "/v1/events?follow=true", None);
    assert!(
        all.head.contains("content-type: text/event-stream") && all.head.contains("cache-control: no-store"),
        "{}",
        all.head
    );
    assert!(all.head.contains("x-accel-buffering: no"), "{}", all.head);
    assert_eq!(all.hello(), json!({"position": 0, "head": 450}));
    let listed = host.get("/v1/events?after=449").1["events"][0].clone();
    for position in 1..=450 {
        let told = all.one();
        assert_eq!((told.id, told.name.as_str()), (Some(position), "event"));
        if position == 450 {
            assert_eq!(told.data, listed);
        }
    }
    // Two at different places, one by its header, which stands over the parameter.
    let mut late = Follower::of(&host, "/v1/events?follow=true&after=3", Some(449));
    assert_eq!(late.hello(), json!({"position": 449, "head": 450}));
    assert_eq!(late.one().id, Some(450));
    for number in 451..=460 {
        host.add(
            &format!("order-{number}"),
            "order",
            "OrderPlaced",
            &json!({ "n": number }),
        );
        for follower in [&mut all, &mut late] {
            let told = follower.one();
            assert_eq!(told.id, Some(number));
            assert_eq!(told.data["data"], json!({ "n": number }));
        }
    }
}

#[test]
fn only_what_is_wanted_is_told_and_the_place_moves_on_all_the_same() {
    let host = Host::start();
    let mut paid = Follower::of(
        &host,
        "/v1/events?follow=true&event_type=OrderPaid,OrderLost&stream_type=order",
        None,
    );
    let mut one = Follower::of(&host, "/v1/events?follow=true&stream_id=order-2", None);
    paid.hello();
    one.hello();
    host.add("order-1", "order", "OrderPlaced", &json!({}));
    host.add(
        "order-2",
        "order",
        "OrderPaid",
        &json!("line\nbreaks \u{2028} and \"quotes\""),
    );
    host.add("bill-1", "bill", "OrderPaid", &json!({}));
    assert_eq!(paid.one().id, Some(2));
    assert_eq!(
        one.one().data["data"],
        json!("line\nbreaks \u{2028} and \"quotes\"")
    );
    for follower in [&mut paid, &mut one] {
        let told = follower.next().unwrap();
        assert_eq!(
            told,
            Told {
                id: Some(3),
                name: "position".to_owned(),
                data: json!({"position": 3})
            }
        );
    }
    // Nothing comes, and still the connection is used.
    let begun = Instant::now();
    while one.comments == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "no keep-alive");
        one.read();
        let text = std::mem::take(&mut one.text);
        one.comments += text.matches(": keep-alive\n\n").count();
    }
}

#[test]
fn json_that_was_appended_over_several_lines_stays_one_event() {
    let host = Host::start();
    let body = "{\"streams\":[{\"stream_id\":\"n-1\",\"stream_type\":\"note\",\"events\":[{\"event_type\":\"Noted\",\
        \"data\":{\r\n\"a\":\n[1,\r2]},\"metadata\":{\"reason\":\"appended by a test\"}}]}]}";
    let mut answer = Host::agent()
        .post(host.url("/v1/append"))
        .header("Authorization", host.token.bearer())
        .content_type("application/json")
        .send(body)
        .unwrap();
    assert_eq!(
        answer.status().as_u16(),
        200,
        "{:?}",
        answer.body_mut().read_to_string()
    );
    let mut follower = Follower::of(&host, "/v1/events?follow=true", None);
    follower.hello();
    assert_eq!(follower.one().data["data"], json!({"a": [1, 2]}));
}

#[test]
fn what_the_host_records_of_itself_is_told_to_who_names_it() {
    let host = Host::start();
    let mut others = Follower::of(&host, "/v1/events?follow=true", None);
    let mut named = Follower::of(
        &host,
        "/v1/events?follow=true&event_type=lamphouse.Something,OrderPlaced",
        None,
    );
    others.hello();
    named.hello();
    let own = StreamAppend {
        stream_id: "lamphouse.test".to_owned(),
        stream_type: "lamphouse.test".to_owned(),
        expected_version: ExpectedVersion::Any,
        events: vec![serde_json::from_value(event("lamphouse.Something", &json!({}))).unwrap()],
    };
    host.shared
        .log
        .append_own(AppendRequest {
            streams: vec![own],
            idempotency: None,
        })
        .unwrap();
    host.add("order-1", "order", "OrderPlaced", &json!({}));
    assert_eq!(others.one().id, Some(2));
    assert_eq!((named.one().id, named.one().id), (Some(1), Some(2)));
    // Also of what is caught up with.
    let mut again = Follower::of(&host, "/v1/events?follow=true&after=0", None);
    again.hello();
    assert_eq!(again.one().id, Some(2));
}

#[test]
fn changes_come_in_order_and_go_on_where_they_ended() {
    let host = Host::start();
    host.shared.store.keep_changes(1_000).unwrap();
    let (mut orders, mut people) = (host.table("orders"), host.table("people"));
    let mut all = Follower::of(&host, "/v1/changes", None);
    let mut some = Follower::of(&host, "/v1/changes?tables=people", None);
    let start = all.hello()["sequence"].as_u64().unwrap();
    assert_eq!(some.hello(), json!({ "sequence": start }));
    orders.write(&[("a", 1), ("b", 9_007_199_254_740_993)], &[]);
    people.write(&[("x", 7)], &[]);
    orders.write(&[], &["a"]);
    let (generation, position) = (orders.generation.id.0, 2);
    let told: Vec<Told> = (0..4).map(|_| all.one()).collect();
    assert!(told.iter().all(|told| told.name == "change"), "{told:?}");
    let ids: Vec<u64> = told.iter().map(|told| told.id.unwrap() - start).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(
        told[1].data,
        json!({"sequence": start + 2, "table": "orders", "kind": "put", "key": {"id": "b"},
            "row": {"id": "b", "n": "9007199254740993"}, "position": position, "generation": generation})
    );
    assert_eq!(
        told[3].data,
        json!({"sequence": start + 4, "table": "orders", "kind": "remove", "key": {"id": "a"}, "row": null,
            "position": position + 1, "generation": generation})
    );
    assert_eq!(some.one().data["row"], json!({"id": "x", "n": 7}));
    drop(all);
    people.write(&[("y", 8)], &[]);
    let mut again = Follower::of(&host, &format!("/v1/changes?after={start}"), Some(start + 3));
    assert_eq!(again.hello(), json!({ "sequence": start + 3 }));
    assert_eq!(again.one(), told[3]);
    assert_eq!(again.one().data["key"], json!({"id": "y"}));
    assert_eq!(some.one().data["key"], json!({"id": "y"}));
}

#[test]
fn a_cutover_and_a_place_that_is_gone_say_to_read_again() {
    let host = Host::start();
    host.shared.store.keep_changes(5).unwrap();
    let (mut orders, mut people) = (host.table("orders"), host.table("people"));
    let mut follower = Follower::of(&host, "/v1/changes?tables=orders", None);
    let start = follower.hello()["sequence"].as_u64().unwrap();
    orders.write(&[("a", 1)], &[]);
    assert_eq!(follower.one().name, "change");
    // The same code once more, as a rebuild.
    let record = &orders.generation;
    let (projection, digest) = (&record.projection, &record.digest);
    let second = host
        .shared
        .store
        .create_generation(projection, digest, "1.0.0", &record.descriptor, &[], 3)
        .unwrap();
    let mut rebuilt = Table {
        writer: host.shared.store.writer(&second).unwrap(),
        generation: second,
        at: Checkpoint::default(),
        ring: host.shared.written.clone(),
    };
    rebuilt.write(&[("a", 2)], &[]);
    rebuilt.switch(Some(orders.generation.id));
    let mark = follower.one();
    assert_eq!(
        (
            mark.name.as_str(),
            mark.id,
            &mark.data["reason"],
            &mark.data["table"]
        ),
        (
            "must-refetch",
            Some(start + 2),
            &json!("cutover"),
            &json!("orders")
        )
    );
    assert_eq!(mark.data["generation"], json!(rebuilt.generation.id.0));
    rebuilt.write(&[("b", 3)], &[]);
    let change = follower.one();
    assert_eq!(
        (&change.data["generation"], change.id),
        (&json!(rebuilt.generation.id.0), Some(start + 3))
    );
    for n in 0..10 {
        people.write(&[("x", n)], &[]);
    }
    while host.shared.store.trim_changes().unwrap() {}
    let head = start + 13;
    // Trimmed; of another database; of the future.
    for last in [start - 1, 1, head + 50] {
        let mut late = Follower::of(&host, "/v1/changes", Some(last));
        assert_eq!(late.hello(), json!({ "sequence": last }));
        let (first, second) = (late.one(), late.one());
        assert_eq!((&first.data["table"], first.id), (&json!("orders"), None));
        let at = second.id.unwrap();
        assert_eq!(
            second.data,
            json!({"sequence": at, "table": "people", "reason": "retention"})
        );
        assert!(
            at == head || (last == start - 1 || last == 1) && at == head - 5,
            "{last}: {at}"
        );
        // It goes on from there.
        let mut seen = at;
        while seen < head {
            let told = late.one();
            assert_eq!((told.id, told.name.as_str()), (Some(seen + 1), "change"));
            seen += 1;
        }
    }
    let mut here = Follower::of(&host, "/v1/changes", Some(head - 5));
    here.hello();
    assert_eq!(here.one().id, Some(head - 4));
}

#[test]
fn what_cannot_be_followed_is_refused_in_words() {
    let host = Host::start();
    host.add("order-1", "order", "OrderPlaced", &json!({}));
    let (status, problem) = host.get("/v1/changes");
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("[changes] rows_max"),
        "{problem}"
    );
    host.shared.store.keep_changes(10).unwrap();
    let _orders = host.table("orders");
    for (path, status, words) in [
        ("/v1/changes?tables=people", 404, "the tables are: orders"),
        ("/v1/changes?tables=orders,", 400, "empty name"),
        ("/v1/changes?after=9007199254740992", 400, "2^53"),
        ("/v1/changes?order=asc", 400, "order"),
        ("/v1/events?follow=true&backward=true", 400, "backward"),
        ("/v1/events?follow=true&limit=5", 400, "limit"),
        (
            "/v1/events?follow=true&recorded_before=2026-01-01T00:00:00Z",
            400,
            "recorded_before",
        ),
        ("/v1/events?follow=maybe", 400, "follow"),
        ("/v1/events?follow=true&after=2", 409, "another log"),
    ] {
        let (got, problem) = host.get(path);
        let detail = problem["detail"].as_str().unwrap();
        assert!(got == status && detail.contains(words), "{path}: {got} {detail}");
    }
    let (status, answer) = host.raw(
        "GET /v1/changes HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nLast-Event-ID: abc\nConnection: close\n\n",
    );
    assert!(status == 400 && answer.contains("Last-Event-ID"), "{answer}");
}

#[test]
fn there_are_places_for_so_many_and_they_are_given_back() {
    let host = Host::start();
    let mut followers: Vec<Follower> = (0..SUBSCRIPTIONS_MAX)
        .map(|_| Follower::of(&host, "/v1/events?follow=true", None))
        .collect();
    for follower in &mut followers {
        follower.hello();
    }
    let refused = Follower::open(&host, "/v1/events?follow=true", None);
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 5"), "{}", refused.head);
    drop(followers.pop());
    let begun = Instant::now();
    while Follower::open(&host, "/v1/events?follow=true", None).status != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the place is not given back"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_end_of_the_host_is_told_to_who_follows() {
    let mut host = Host::start();
    host.shared.store.keep_changes(10).unwrap();
    let mut followers = [
        Follower::of(&host, "/v1/events?follow=true", None),
        Follower::of(&host, "/v1/changes", None),
    ];
    for follower in &mut followers {
        follower.hello();
    }
    drop(host.stop.take());
    for follower in &mut followers {
        assert_eq!(follower.one().name, "closing");
        assert_eq!(follower.next(), None);
    }
}

#[test]
fn who_does_not_read_is_dropped_with_the_reason_and_nobody_else_notices() {
    let host = Host::start();
    let mut slow = Follower::of(&host, "/v1/events?follow=true", None);
    let mut quick = Follower::of(&host, "/v1/events?follow=true", None);
    slow.hello();
    quick.hello();
    let long = "x".repeat(900 << 10);
    const EVENTS: u64 = 40;
    for position in 1..=EVENTS {
        host.add("notes", "note", "Noted", &json!(long));
        assert_eq!(quick.one().id, Some(position));
    }
    let mut last = 0;
    let ended = loop {
        let told = slow.one();
        if told.name != "event" {
            break told;
        }
        assert_eq!(told.id, Some(last + 1));
        last += 1;
    };
    assert_eq!((ended.name.as_str(), ended.id), ("dropped", None));
    assert!(
        ended.data["reason"].as_str().unwrap().contains("too slowly"),
        "{ended:?}"
    );
    assert_eq!(slow.next(), None);
    assert!(last < EVENTS);
    let mut again = Follower::of(&host, "/v1/events?follow=true", Some(last));
    again.hello();
    for position in last + 1..=EVENTS {
        assert_eq!(again.one().id, Some(position));
    }
}
