//! Appending: order, versions, conflicts, keys, all or nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::*;
use crate::core::{Position, StreamVersion};
use crate::log::{Appended, EventQuery};

scenarios! {
    appends_are_stored_as_given,
    an_expected_version_that_does_not_hold_is_a_conflict,
    several_streams_go_in_all_or_nothing,
    what_somebody_else_appended_is_known_at_once,
    a_streams_type_is_fixed,
    a_repeated_key_gives_the_first_answer,
    concurrent_repeats_of_one_key_append_once,
    concurrent_appends_are_gapless_and_in_commit_order,
    recorded_at_never_goes_back,
    bad_requests_name_event_and_limit,
    ids_are_unique,
    awkward_texts_come_back_as_they_were,
}

fn all(log: &dyn EventLog) -> Vec<crate::core::StoredEvent> {
    log.events(&EventQuery {
        limit: 1_000_000,
        ..EventQuery::default()
    })
    .unwrap()
}

fn appends_are_stored_as_given(place: &Place) {
    let log = place.open();
    let occurred_at: DateTime<Utc> = "2010-12-01T08:26:00.123456Z".parse().unwrap();
    let given = NewEvent {
        occurred_at: Some(occurred_at),
        schema_version: 3,
        ..event_with_id(r#"{ "z" : 1.10, "a": [null,true] }"#)
    };
    let answer = log
        .append(request(vec![stream(
            "order-1",
            ExpectedVersion::NoStream,
            vec![given.clone(), event("B", "1")],
        )]))
        .unwrap();
    assert_eq!(answer.position, Position(2));
    assert_eq!(answer.streams[0].version, StreamVersion(2));
    assert!(!answer.repeated);

    let stored = log.event(Position(1)).unwrap().unwrap();
    assert_eq!(Some(stored.id), given.id);
    assert_eq!(stored.data.get(), given.data.get());
    assert_eq!(stored.metadata.get(), given.metadata.get());
    assert_eq!(
        (stored.stream_id.as_str(), stored.stream_type.as_str()),
        ("order-1", "order")
    );
    assert_eq!(
        (stored.stream_version, stored.schema_version),
        (StreamVersion(1), 3)
    );
    assert_eq!(stored.occurred_at, occurred_at);
    assert_eq!(log.event_by_id(stored.id).unwrap().unwrap().position, Position(1));
    let second = log.event(Position(2)).unwrap().unwrap();
    assert_eq!(
        second.occurred_at, second.recorded_at,
        "an event without a time happened when it was recorded"
    );
    assert_eq!(log.event(Position(3)).unwrap().map(|event| event.position), None);

    let head = log.head().unwrap();
    assert_eq!((head.position, head.event_id), (Position(2), Some(second.id)));
    assert_eq!(head.recorded_at, second.recorded_at.timestamp_micros());
    drop(log);
    assert_eq!(
        place.open().head().unwrap(),
        head,
        "a log that is opened again is the same"
    );
}

fn an_expected_version_that_does_not_hold_is_a_conflict(place: &Place) {
    let log = place.open();
    log.append(append_to("a", ExpectedVersion::NoStream, 2)).unwrap();
    let conflict = |expected| match log.append(append_to("a", expected, 1)) {
        Err(LogError::Conflict {
            stream_id,
            expected,
            actual,
        }) => (stream_id, expected, actual),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        conflict(ExpectedVersion::NoStream),
        ("a".into(), "no stream".into(), StreamVersion(2))
    );
    assert_eq!(
        conflict(ExpectedVersion::Exact(StreamVersion(1))),
        ("a".into(), "1".into(), StreamVersion(2))
    );
    assert_eq!(
        conflict(ExpectedVersion::Exact(StreamVersion(3))),
        ("a".into(), "3".into(), StreamVersion(2))
    );
    let answer = log
        .append(append_to("a", ExpectedVersion::Exact(StreamVersion(2)), 1))
        .unwrap();
    assert_eq!(answer.position, Position(3), "conflicts leave no gap");
}

fn several_streams_go_in_all_or_nothing(place: &Place) {
    let log = place.open();
    log.append(append_to("b", ExpectedVersion::Any, 1)).unwrap();
    let both = |expected_b| {
        request(vec![
            stream(
                "a",
                ExpectedVersion::NoStream,
                vec![event("A", "1"), event("A", "2")],
            ),
            stream("b", expected_b, vec![event("B", "1")]),
        ])
    };
    assert!(matches!(
        log.append(both(ExpectedVersion::NoStream)),
        Err(LogError::Conflict { .. })
    ));
    assert_eq!(
        log.head().unwrap().position,
        Position(1),
        "nothing of a refused append stays"
    );
    let answer = log
        .append(both(ExpectedVersion::Exact(StreamVersion(1))))
        .unwrap();
    assert_eq!(answer.position, Position(4));
    let versions: Vec<_> = answer
        .streams
        .iter()
        .map(|stream| (stream.stream_id.as_str(), stream.version.0))
        .collect();
    assert_eq!(versions, [("a", 2), ("b", 2)]);
}

/// Each process remembers what it has appended, and has to notice what another one has.
fn what_somebody_else_appended_is_known_at_once(place: &Place) {
    let version = |version| ExpectedVersion::Exact(StreamVersion(version));
    let other = place.open();
    let log = place.open();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    log.append(append_to("a", version(1), 1)).unwrap();
    other.append(append_to("a", version(2), 1)).unwrap();
    let answer = log.append(append_to("a", version(3), 1));
    assert_eq!(
        answer.unwrap().position,
        Position(4),
        "nothing conflicts any more"
    );

    let log = place.open();
    log.append(append_to("b", ExpectedVersion::Any, 1)).unwrap();
    other.append(append_to("b", version(1), 1)).unwrap();
    match log.append(append_to("b", version(1), 1)) {
        Err(LogError::Conflict { actual, .. }) => assert_eq!(actual, StreamVersion(2)),
        unexpected => panic!("{unexpected:?}"),
    }
    let answer = log.append(append_to("b", ExpectedVersion::Any, 1)).unwrap();
    assert_eq!(answer.streams[0].version, StreamVersion(3));
}

fn a_streams_type_is_fixed(place: &Place) {
    let log = place.open();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    let mut other = append_to("a", ExpectedVersion::Any, 1);
    other.streams[0].stream_type = "invoice".to_owned();
    check_invalid(log.append(other), &["'a'", "'order'", "'invoice'"]);
}

fn a_repeated_key_gives_the_first_answer(place: &Place) {
    let log = place.open();
    let order = || with_key(append_to("a", ExpectedVersion::NoStream, 2), "k1");
    let first = log.append(order()).unwrap();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    let again = log.append(order()).unwrap();
    assert_eq!(
        again,
        Appended {
            repeated: true,
            ..first
        }
    );
    assert_eq!(log.head().unwrap().position, Position(3));
    let different = with_key(append_to("a", ExpectedVersion::NoStream, 1), "k1");
    assert!(matches!(log.append(different), Err(LogError::KeyReused { key }) if key == "k1"));
    let mut elsewhere = with_key(append_to("b", ExpectedVersion::NoStream, 1), "k1");
    elsewhere.idempotency.as_mut().unwrap().scope = "another".to_owned();
    assert!(
        !log.append(elsewhere).unwrap().repeated,
        "a key is known within its scope"
    );

    // A refused append leaves its key free.
    let refused = with_key(append_to("a", ExpectedVersion::NoStream, 1), "k2");
    assert!(matches!(log.append(refused), Err(LogError::Conflict { .. })));
    log.append(with_key(append_to("a", ExpectedVersion::Any, 1), "k2"))
        .unwrap();
}

fn concurrent_repeats_of_one_key_append_once(place: &Place) {
    let log = place.open();
    let answers: Vec<Appended> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    log.append(with_key(append_to("a", ExpectedVersion::NoStream, 1), "k"))
                        .unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
    assert!(answers.iter().all(|answer| answer.position == Position(1)));
    assert_eq!(log.head().unwrap().position, Position(1));
}

/// 16 clients on two hosts append to 5 streams, some with versions that do not hold, while a poller follows.
fn concurrent_appends_are_gapless_and_in_commit_order(place: &Place) {
    const CLIENTS: usize = 16;
    const APPENDS: usize = 25;
    let logs = [place.open(), place.open()];
    let done = AtomicBool::new(false);
    let (acknowledged, polled) = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut last = Position::START;
            let mut seen = Vec::new();
            loop {
                let finished = done.load(Ordering::SeqCst);
                let query = EventQuery {
                    after: Some(last),
                    limit: 50,
                    ..EventQuery::default()
                };
                let page = logs[1].events(&query).unwrap();
                last = page.last().map_or(last, |event| event.position);
                let empty = page.is_empty();
                seen.extend(page.into_iter().map(|event| (event.position.0, event.id)));
                if finished && empty {
                    return seen;
                }
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let log = Arc::clone(&logs[client % 2]);
                scope.spawn(move || client_appends(&*log, client, APPENDS))
            })
            .collect();
        let acknowledged: Vec<_> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        done.store(true, Ordering::SeqCst);
        (acknowledged, poller.join().unwrap())
    });

    let events = all(&*logs[0]);
    let positions: Vec<u64> = events.iter().map(|event| event.position.0).collect();
    assert_eq!(
        positions,
        (1..=events.len() as u64).collect::<Vec<_>>(),
        "gapless"
    );
    let mut versions: HashMap<&str, u64> = HashMap::new();
    for event in &events {
        let version = versions.entry(&event.stream_id).or_default();
        *version += 1;
        assert_eq!(
            event.stream_version.0, *version,
            "versions of {}",
            event.stream_id
        );
    }
    assert!(events.is_sorted_by_key(|event| event.recorded_at));
    let ids: Vec<_> = events.iter().map(|event| (event.position.0, event.id)).collect();
    assert_eq!(
        polled, ids,
        "a reader that polls position > last sees every event once, in order"
    );
    let stored: HashSet<u64> = positions.into_iter().collect();
    assert_eq!(
        acknowledged.len(),
        acknowledged.iter().collect::<HashSet<_>>().len()
    );
    assert!(acknowledged.iter().all(|position| stored.contains(position)));
    assert_eq!(
        events.len(),
        acknowledged.len() * 2,
        "two events an append, none that was not acknowledged"
    );
}

/// Appends two events at a time; gives the positions of those that went in.
fn client_appends(log: &dyn EventLog, client: usize, appends: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    for index in 0..appends {
        let expected = match index % 3 {
            0 => ExpectedVersion::Any,
            1 => ExpectedVersion::NoStream,
            _ => ExpectedVersion::Exact(StreamVersion(index as u64)),
        };
        match log.append(append_to(&format!("s{}", (client + index) % 5), expected, 2)) {
            Ok(answer) => positions.push(answer.position.0),
            Err(LogError::Conflict { actual, .. }) => match expected {
                ExpectedVersion::NoStream => assert_ne!(actual.0, 0),
                ExpectedVersion::Exact(expected) => assert_ne!(actual, expected),
                ExpectedVersion::Any => panic!("nothing to conflict with"),
            },
            Err(other) => panic!("{other}"),
        }
    }
    positions
}

fn recorded_at_never_goes_back(place: &Place) {
    let now = Arc::new(AtomicI64::new(2_000_000_000_000_000));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || now.fetch_sub(1_000_000, Ordering::SeqCst)
    });
    let log = place.open_with(&AppendLimits::default(), clock);
    for _ in 0..3 {
        log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    }
    drop(log);
    place
        .open()
        .append(append_to("a", ExpectedVersion::Any, 1))
        .unwrap();
    let times: Vec<_> = all(&*place.open())
        .iter()
        .map(|event| event.recorded_at.timestamp_micros())
        .collect();
    assert_eq!(times, [2_000_000_000_000_000; 4]);
}

fn bad_requests_name_event_and_limit(place: &Place) {
    let log = place.open();
    let refused = |request: AppendRequest, words: &[&str]| check_invalid(log.append(request), words);
    let one = |event: NewEvent| {
        request(vec![stream(
            "a",
            ExpectedVersion::Any,
            vec![super::event("A", "1"), event],
        )])
    };
    let metadata = |text: &str| NewEvent {
        metadata: json(text),
        ..event("A", "1")
    };

    refused(request(vec![]), &["no stream"]);
    refused(
        request(vec![stream("a", ExpectedVersion::Any, vec![])]),
        &["'a'", "without events"],
    );
    refused(append_to("", ExpectedVersion::Any, 1), &["stream id is empty"]);
    refused(
        append_to(&"x".repeat(10_000), ExpectedVersion::Any, 1),
        &["10000 bytes", "stream_id_bytes_max", "xxx…"],
    );
    refused(
        append_to("a\0b", ExpectedVersion::Any, 1),
        &["control character U+0000"],
    );
    refused(
        append_to("a\nb", ExpectedVersion::Any, 1),
        &["control character U+000A"],
    );
    refused(
        append_to("a", ExpectedVersion::Any, 10_001),
        &["10001 events", "events_per_append_max"],
    );
    refused(
        request(vec![
            stream("a", ExpectedVersion::Any, vec![event("A", "1")]),
            stream("a", ExpectedVersion::Any, vec![event("A", "1")]),
        ]),
        &["'a'", "twice"],
    );
    refused(
        one(event("", "1")),
        &["event 1 of stream 'a'", "event type is empty"],
    );
    refused(
        one(NewEvent {
            schema_version: 0,
            ..event("A", "1")
        }),
        &["event 1 of stream 'a'", "schema_version 0"],
    );
    let large = format!("\"{}\"", "x".repeat(50 << 20));
    refused(
        one(event("A", &large)),
        &["event 1 of stream 'a'", "event_bytes_max", "1048576"],
    );
    refused(
        one(event("A", r#"{"a":"\u0000"}"#)),
        &["event 1 of stream 'a'", "data", "U+0000"],
    );
    refused(one(event("A", r#""\ud800""#)), &["lone surrogate"]);
    refused(
        one(event("A", &format!("{}{}", "[".repeat(129), "]".repeat(129)))),
        &["json_depth_max"],
    );
    refused(one(event("A", "1e999999")), &["number"]);
    refused(
        one(metadata("{}")),
        &["event 1 of stream 'a'", "no metadata.reason", "reason_required"],
    );
    refused(one(metadata("[]")), &["metadata", "not a JSON object"]);
    refused(
        one(metadata(r#"{"reason":"too short"}"#)),
        &["9 characters", "reason_chars_min"],
    );
    refused(
        one(metadata(&format!("{{\"reason\":\"{}\"}}", "é".repeat(501)))),
        &["501 characters", "reason_chars_max"],
    );
    refused(one(metadata(r#"{"reason":17}"#)), &["metadata"]);
    refused(
        one(metadata(r#"{"reason":"long enough","a":1,"a":2}"#)),
        &["'a' twice"],
    );
    refused(
        with_key(append_to("a", ExpectedVersion::Any, 1), ""),
        &["idempotency key is empty"],
    );
    refused(
        with_key(append_to("a", ExpectedVersion::Any, 1), &"k".repeat(257)),
        &["idempotency_key_bytes_max"],
    );
    assert_eq!(log.head().unwrap().position, Position::START);

    // What is just within the limits goes in, so that the database's own checks agree with ours.
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let reason = metadata(&format!("{{\"reason\":\"{}\"}}", "é".repeat(500)));
    log.append(one(event("A", &deep))).unwrap();
    log.append(one(reason)).unwrap();
    let room = (1 << 20) - event("A", "1").metadata.get().len() - 2;
    log.append(one(event("A", &format!("\"{}\"", "x".repeat(room)))))
        .unwrap();
    log.append(append_to(&"x".repeat(512), ExpectedVersion::Any, 1))
        .unwrap();
    log.append(append_to("c", ExpectedVersion::Any, 10_000)).unwrap();
}

fn ids_are_unique(place: &Place) {
    let log = place.open();
    let one = event_with_id("1");
    log.append(request(vec![stream(
        "a",
        ExpectedVersion::Any,
        vec![one.clone()],
    )]))
    .unwrap();
    let again = request(vec![stream(
        "b",
        ExpectedVersion::Any,
        vec![event("A", "1"), one.clone()],
    )]);
    check_invalid(
        log.append(again),
        &[&one.id.unwrap().to_string(), "position 1", "'a'"],
    );
    let twice = request(vec![
        stream("b", ExpectedVersion::Any, vec![event_with_id("1")]),
        stream("c", ExpectedVersion::Any, vec![]),
    ]);
    check_invalid(log.append(twice), &["'c'"]);
    let two = event_with_id("2");
    check_invalid(
        log.append(request(vec![stream(
            "b",
            ExpectedVersion::Any,
            vec![two.clone(), two],
        )])),
        &["unique"],
    );
    assert_eq!(log.head().unwrap().position, Position(1));
}

fn awkward_texts_come_back_as_they_were(place: &Place) {
    let log = place.open();
    let texts = [
        r#"{"a":"'; DROP TABLE events; --","b":"$1 ?1 \\ \" \u00e9 😀"}"#,
        "  [ 1.0 , -0.0, 1e5, 12345678901234567890.123456789 ]  ",
        r#"{"same":1,"same":2}"#,
        "null",
        r#""""#,
        r#""\ud83d\ude00 \\u0000""#,
    ];
    let ids = ["o'rder", "日本語", "a\\b", "$$", "%", "e\u{301}", " "];
    for id in ids {
        log.append(request(vec![stream(
            id,
            ExpectedVersion::NoStream,
            texts.iter().map(|text| event("It's", text)).collect(),
        )]))
        .unwrap();
    }
    for id in ids {
        let query = EventQuery {
            stream_id: Some(id.to_owned()),
            limit: 100,
            ..EventQuery::default()
        };
        let stored: Vec<_> = log
            .events(&query)
            .unwrap()
            .iter()
            .map(|event| event.data.get().to_owned())
            .collect();
        let given: Vec<_> = texts.iter().map(|text| json(text).get().to_owned()).collect();
        assert_eq!(stored, given, "{id}");
    }
}

/// Rolled back and locked-out writers leave no gap, and nothing is lost.
#[test]
fn a_busy_sqlite_file_is_unavailable_and_loses_nothing() {
    let place = Place::sqlite();
    let DatabaseUrl::Sqlite(path) = &place.url else {
        unreachable!()
    };
    let log = crate::log::sqlite::SqliteLog::open_with(
        path,
        &AppendLimits::default(),
        Clock::system(),
        place.runtime.handle(),
        Duration::from_millis(100),
    )
    .unwrap();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    let other = place.rusqlite();
    other
        .execute_batch("BEGIN IMMEDIATE; UPDATE log SET position = 7")
        .unwrap();
    let began = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| log.append(append_to("a", ExpectedVersion::Any, 1))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for result in results {
        match result {
            Err(LogError::Unavailable(message)) => assert!(message.contains("locked"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "members do not wait one after the other"
    );
    assert_eq!(log.head().unwrap().position, Position(1), "readers go on");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(
        log.append(append_to("a", ExpectedVersion::Any, 1))
            .unwrap()
            .position,
        Position(2)
    );
}
