//! Who may not follow, and why a stream ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::SUBSCRIPTIONS_MAX;
use super::super::access::{Tokens, secret};
use super::super::write_tokens;
use super::{Follower, Host};

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

/// Reads what was left for a client after `last`, up to the reason why it is dropped; gives the last id.
#[track_caller]
fn ends_as_too_slow(slow: &mut Follower, name: &str, mut last: u64) -> u64 {
    let ended = loop {
        let told = slow.one();
        if told.name != name {
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
    last
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
    let last = ends_as_too_slow(&mut slow, "event", 0);
    assert!(last < EVENTS);
    let mut again = Follower::of(&host, "/v1/events?follow=true", Some(last));
    again.hello();
    for position in last + 1..=EVENTS {
        assert_eq!(again.one().id, Some(position));
    }
}

#[test]
fn who_does_not_read_changes_is_dropped_and_goes_on_where_it_was() {
    let host = Host::start();
    host.shared.store.keep_changes(100_000).unwrap();
    let mut orders = host.table("orders");
    let mut slow = Follower::of(&host, "/v1/changes", None);
    let mut quick = Follower::of(&host, "/v1/changes", None);
    let start = slow.hello()["sequence"].as_u64().unwrap();
    quick.hello();
    let key = "x".repeat(40 << 10);
    const FLUSHES: u64 = 60;
    const ROWS: u64 = 20;
    for flush in 0..FLUSHES {
        let keys: Vec<String> = (0..ROWS).map(|row| format!("{flush}-{row}-{key}")).collect();
        let rows: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
        orders.write(&rows, &[]);
        for row in 1..=ROWS {
            assert_eq!(quick.one().id, Some(start + flush * ROWS + row));
        }
    }
    let last = ends_as_too_slow(&mut slow, "change", start);
    assert!(last < start + FLUSHES * ROWS);
    let mut again = Follower::of(&host, "/v1/changes", Some(last));
    again.hello();
    for sequence in last + 1..=start + FLUSHES * ROWS {
        assert_eq!(again.one().id, Some(sequence));
    }
}

#[test]
fn a_stream_ends_with_its_token() {
    let reader = || Tokens::new().with("reader", "\"read\"", "");
    let host = Tokens::new()
        .with("reader", "\"read\"", "")
        .with("leaver", "\"read\"", "")
        .host();
    host.shared.store.keep_changes(10).unwrap();
    let _orders = host.table("orders");
    let follow = |name: &str, path: &str| {
        let mut follower = Follower::open_by(&host, &format!("Bearer {}", secret(name)), path, None);
        assert_eq!(follower.status, 200);
        follower.hello();
        follower
    };
    let mut stays = follow("reader", "/v1/events?follow=true");
    let leave = [
        follow("leaver", "/v1/events?follow=true"),
        follow("leaver", "/v1/changes"),
    ];
    write_tokens(&host.folder().join("tokens.toml"), &reader().text);
    for mut follower in leave {
        while follower.next().is_some() {}
    }
    let refused = Follower::open_by(
        &host,
        &format!("Bearer {}", secret("leaver")),
        "/v1/changes",
        None,
    );
    assert_eq!(refused.status, 401);
    host.add("order-1", "order", "OrderPlaced", &json!({}));
    assert_eq!(stays.one().id, Some(1));
}

#[test]
fn a_limited_token_is_told_what_it_may_read_and_no_more() {
    let limits = "stream_types = [\"invoice\"]\ntables = [\"invoices\"]";
    let host = Tokens::new().with("limited", "\"read\"", limits).host();
    host.shared.store.keep_changes(100).unwrap();
    let (mut orders, mut invoices) = (host.table("orders"), host.table("invoices"));
    let bearer = format!("Bearer {}", secret("limited"));
    let follow = |path: &str| {
        let mut follower = Follower::open_by(&host, &bearer, path, None);
        assert_eq!(follower.status, 200, "{path}");
        follower.hello();
        follower
    };
    let refused = |path: &str| Follower::open_by(&host, &bearer, path, None).status;
    assert_eq!(refused("/v1/events?follow=true&stream_type=order"), 403);
    assert_eq!(refused("/v1/changes?tables=invoices,orders"), 403);
    let mut events = follow("/v1/events?follow=true");
    let mut one_stream = follow("/v1/events?follow=true&stream_id=order-1");
    let mut changes = follow("/v1/changes");
    orders.write(&[("a", 1)], &[]);
    invoices.write(&[("b", 2)], &[]);
    assert_eq!(changes.one().data["table"], json!("invoices"));
    host.add("order-1", "order", "Added", &json!({}));
    host.add("invoice-1", "invoice", "Added", &json!({}));
    assert_eq!(events.one().data["stream_id"], json!("invoice-1"));
    // The position passes over what it may not see.
    let passed = one_stream.next().unwrap();
    assert_eq!(passed.name, "position", "{passed:?}");
}
