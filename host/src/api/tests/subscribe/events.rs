//! Events as they come.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::log::event;
use super::{Follower, Host, Told};
use crate::log::{AppendRequest, ExpectedVersion, StreamAppend};

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
