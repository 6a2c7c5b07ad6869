//! Reading: batches, filters, listings.

use lamphouse_contract::{Subscription, packed};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::core::{EventBatch, EventFilter, Position, StoredEvent};
use crate::log::route::Measures;
use crate::log::{EventQuery, Head, ImportCursor, ImportEvent, LogReader};

scenarios! {
    batches_of_any_size_make_the_whole,
    a_filter_never_skips_and_says_how_far_it_looked,
    listings_are_what_the_query_says,
    a_reader_that_is_ahead_of_the_log_is_told,
    a_tally_counts_every_event_once,
    one_question_for_head_and_events_says_what_two_say,
}

const TYPES: [&str; 4] = ["Placed", "it's", "Line\\Added", "Paid"];

/// Enough events for more than live reading, from a seed.
fn filled(place: &Place, count: u64) -> (std::sync::Arc<dyn EventLog>, Vec<StoredEvent>) {
    filled_with(place, count, |_, random| TYPES.choose(random).unwrap())
}

/// 6,000 events, where an index should serve one type and no other: `Rare` at 100, 2,000 and 5,900, `Often` at every third
/// position, else `Common`.
pub(in crate::log) fn filled_unevenly(place: &Place) -> (std::sync::Arc<dyn EventLog>, Vec<StoredEvent>) {
    filled_with(place, 6_000, |position, _| match position {
        100 | 2_000 | 5_900 => "Rare",
        _ if position % 3 == 0 => "Often",
        _ => "Common",
    })
}

/// The same with types as they are wanted for each position.
pub(super) fn filled_with(
    place: &Place,
    count: u64,
    event_type: impl Fn(u64, &mut SmallRng) -> &'static str,
) -> (std::sync::Arc<dyn EventLog>, Vec<StoredEvent>) {
    let mut random = SmallRng::seed_from_u64(7);
    let log = place.open();
    let lines = (1..=count)
        .map(|line| {
            let stream = random.random_range(0..20_u32);
            let event_type = event_type(line, &mut random);
            ImportEvent {
                line,
                stream_id: format!("s-{stream}"),
                stream_type: if stream % 3 == 0 { "order" } else { "customer's" }.to_owned(),
                idempotency_key: None,
                event: NewEvent {
                    schema_version: random.random_range(1..4),
                    ..event(
                        event_type,
                        &format!("\"{}\"", "é".repeat(random.random_range(0..300))),
                    )
                },
            }
        })
        .collect::<Vec<_>>();
    let mut previous: Option<ImportCursor> = None;
    for (index, batch) in lines.chunks(1_000).enumerate() {
        let cursor = ImportCursor {
            digest: index.to_string(),
            bytes: 0,
            lines: 0,
        };
        log.import(batch.to_vec(), previous.as_ref(), &cursor).unwrap();
        previous = Some(cursor);
    }
    let events = log
        .events(&EventQuery {
            limit: count,
            ..EventQuery::default()
        })
        .unwrap();
    assert_eq!(events.len() as u64, count);
    (log, events)
}

/// Checks that a batch holds just these events, in both its forms.
fn check_batch(batch: &EventBatch, expected: &[&StoredEvent]) {
    assert_eq!(batch.len(), expected.len());
    let packed: Vec<_> = packed::events(batch.packed(0..batch.len()))
        .collect::<Result<_, _>>()
        .unwrap();
    for (index, (event, stored)) in packed.iter().zip(expected).enumerate() {
        assert_eq!(
            (batch.position(index), batch.id(index)),
            (stored.position, stored.id)
        );
        let id = stored.id.to_string();
        assert_eq!(*event, stored.borrowed(&id));
    }
}

/// Reads everything in batches of random sizes, with a fresh look somewhere else now and then.
pub(super) fn read_at_random(
    reader: &mut dyn LogReader,
    head: Head,
    events: &[&StoredEvent],
    random: &mut SmallRng,
) {
    let mut batch = EventBatch::default();
    let mut after = Position::START;
    let mut read = 0;
    while after < head.position {
        let events_max = *[1, 7, 1_000, 5_000].choose(random).unwrap();
        let bytes_max = *[1, 10_000, 4 << 20].choose(random).unwrap();
        reader
            .read(after, head, events_max, bytes_max, &mut batch)
            .unwrap();
        check_batch(&batch, &events[read..read + batch.len()]);
        assert!(batch.len() <= events_max);
        if let Some(last) = batch.len().checked_sub(1) {
            assert!(
                batch.packed(0..last).len() < bytes_max,
                "no further event once the bytes are there"
            );
        }
        assert!(batch.through > after, "every read goes on");
        read += batch.len();
        after = batch.through;
        if after == head.position {
            assert_eq!(batch.through_id, head.event_id);
        }
        let next = events.get(read).map(|event| event.position);
        assert!(
            next.is_none_or(|next| next > after),
            "nothing that matches is passed over"
        );
        if random.random_ratio(1, 10) {
            // Somewhere else, and back.
            let elsewhere = Position(random.random_range(0..=head.position.0));
            reader.read(elsewhere, head, 3, 1 << 20, &mut batch).unwrap();
            let from = events.partition_point(|event| event.position <= elsewhere);
            check_batch(&batch, &events[from..events.len().min(from + 3)]);
        }
    }
    assert_eq!((read, after), (events.len(), head.position));
}

fn batches_of_any_size_make_the_whole(place: &Place) {
    let (log, events) = filled(place, 6_000);
    let events: Vec<_> = events.iter().collect();
    let head = log.head().unwrap();
    let mut random = SmallRng::seed_from_u64(11);
    let mut reader = log.reader(EventFilter::default()).unwrap();
    for _ in 0..3 {
        read_at_random(&mut *reader, head, &events, &mut random);
    }
    // Up to a head that has been left behind since.
    let middle = events[4_321];
    let until = Head {
        position: middle.position,
        event_id: Some(middle.id),
        recorded_at: 0,
    };
    read_at_random(&mut *reader, until, &events[..4_322], &mut random);
    let mut batch = EventBatch::default();
    reader
        .read(until.position, until, 10, 1 << 20, &mut batch)
        .unwrap();
    assert_eq!(
        (batch.len(), batch.through, batch.through_id),
        (0, until.position, until.event_id)
    );

    if !place.is_sqlite() {
        // Ranges so small that many of them begin and end within a batch.
        for (live, copied) in [(0, 1), (5, 100), (0, 777)] {
            let mut reader = place.reader_with(&EventFilter::default(), (live, copied), Measures::default());
            let some = &events[..if copied == 1 { 50 } else { 6_000 }];
            let last = some[some.len() - 1];
            let until = Head {
                position: last.position,
                event_id: Some(last.id),
                recorded_at: 0,
            };
            read_at_random(&mut *reader, until, some, &mut random);
        }
    }
}

fn one_question_for_head_and_events_says_what_two_say(place: &Place) {
    const LIVE_MAX: u64 = 500;
    let empty = place.open();
    let mut batch = EventBatch::default();
    let mut reader = empty.reader(EventFilter::everything()).unwrap();
    let said = reader
        .read_to_head(Position::START, 10, 1 << 20, &mut batch)
        .unwrap();
    assert!(said.is_none_or(|head| head == empty.head().unwrap()) && batch.is_empty());
    let (log, _) = filled(place, 1_000);
    let head = log.head().unwrap();
    let mut random = SmallRng::seed_from_u64(11);
    let some = |event_type: &str| EventFilter {
        any_of: vec![Subscription {
            event_type: Some(event_type.to_owned()),
            stream_type: None,
            schema_versions: vec![2],
        }],
        ..EventFilter::default()
    };
    for filter in [EventFilter::default(), some("it's"), some("Nothing")] {
        let measures = Measures {
            unasked_positions_max: LIVE_MAX,
            ..Measures::default()
        };
        let mut one = place.reader_with(&filter, (LIVE_MAX, 100), measures);
        let mut two = place.reader_with(&filter, (LIVE_MAX, 100), measures);
        for _ in 0..40 {
            let after = Position(random.random_range(450..=1_001));
            let events_max = *[1, 2, 50, 4_000].choose(&mut random).unwrap();
            let bytes_max = *[0, 1, 5_000, 4 << 20].choose(&mut random).unwrap();
            let said = one
                .read_to_head(after, events_max, bytes_max, &mut batch)
                .unwrap();
            if head.position.0 > after.0 + LIVE_MAX {
                assert!(said.is_none() && batch.is_empty(), "after {after}");
                continue;
            }
            assert_eq!(said, Some(head));
            if head.position < after {
                assert!(batch.is_empty());
                continue;
            }
            let mut other = EventBatch::default();
            two.read(after, head, events_max, bytes_max, &mut other).unwrap();
            assert_eq!(
                (batch.packed(0..batch.len()), batch.through, batch.through_id),
                (other.packed(0..other.len()), other.through, other.through_id),
                "{filter:?} after {after}, {events_max} events, {bytes_max} bytes"
            );
        }
    }
}

pub(super) fn matches(subscription: &Subscription, event: &StoredEvent) -> bool {
    subscription
        .event_type
        .as_ref()
        .is_none_or(|name| *name == event.event_type)
        && subscription
            .stream_type
            .as_ref()
            .is_none_or(|name| *name == event.stream_type)
        && (subscription.schema_versions.is_empty()
            || subscription.schema_versions.contains(&event.schema_version))
}

fn a_filter_never_skips_and_says_how_far_it_looked(place: &Place) {
    let (log, events) = filled(place, 4_000);
    let head = log.head().unwrap();
    let mut random = SmallRng::seed_from_u64(3);
    let mut filters: Vec<EventFilter> = (0..12)
        .map(|_| EventFilter {
            any_of: (0..random.random_range(1..4))
                .map(|_| Subscription {
                    event_type: random
                        .random_bool(0.6)
                        .then(|| (*TYPES.choose(&mut random).unwrap()).to_owned()),
                    stream_type: random.random_bool(0.4).then(|| "customer's".to_owned()),
                    schema_versions: if random.random_bool(0.4) {
                        vec![1, 3]
                    } else {
                        vec![]
                    },
                })
                .collect(),
            ..EventFilter::default()
        })
        .collect();
    let only = |event_type: &str| EventFilter {
        any_of: vec![Subscription {
            event_type: Some(event_type.to_owned()),
            stream_type: None,
            schema_versions: vec![],
        }],
        ..EventFilter::default()
    };
    filters.extend([only("Nothing"), only("a\0b"), only("' OR true --")]);
    for filter in filters {
        let expected: Vec<_> = events
            .iter()
            .filter(|event| {
                filter
                    .any_of
                    .iter()
                    .any(|subscription| matches(subscription, event))
            })
            .collect();
        let mut reader = log.reader(filter.clone()).unwrap();
        read_at_random(&mut *reader, head, &expected, &mut random);
        // Live: the last few positions.
        let after = Position(head.position.0 - 40);
        let mut batch = EventBatch::default();
        reader.read(after, head, 1_000, 1 << 20, &mut batch).unwrap();
        let from = expected.partition_point(|event| event.position <= after);
        check_batch(&batch, &expected[from..]);
        assert_eq!(
            (batch.through, batch.through_id),
            (head.position, head.event_id),
            "{filter:?}"
        );
    }
}

fn a_tally_counts_every_event_once(place: &Place) {
    let (log, events) = filled(place, 500);
    assert_eq!(log.tally(Position(500), Position(500)).unwrap(), []);
    for stretch in [7, 100, 10_000] {
        let mut counted = 0;
        for after in (0..500).step_by(stretch) {
            let until = (after + stretch as u64).min(500);
            for tally in log.tally(Position(after), Position(until)).unwrap() {
                let those: Vec<&StoredEvent> = events
                    .iter()
                    .filter(|event| event.position.0 > after && event.position.0 <= until)
                    .filter(|event| {
                        event.event_type == tally.event_type && event.stream_type == tally.stream_type
                    })
                    .filter(|event| event.schema_version == tally.schema_version)
                    .collect();
                let (first, last) = (those[0], those[those.len() - 1]);
                assert_eq!(tally.count, those.len() as u64);
                assert_eq!((tally.first, tally.last), (first.position, last.position));
                assert_eq!(
                    (tally.first_recorded_at, tally.last_recorded_at),
                    (first.recorded_at, last.recorded_at)
                );
                counted += tally.count;
            }
        }
        assert_eq!(counted, 500, "in stretches of {stretch}");
    }
}

fn listings_are_what_the_query_says(place: &Place) {
    let now = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(1_000_000));
    let clock = Clock::new({
        let now = std::sync::Arc::clone(&now);
        move || now.fetch_add(1_000_000, std::sync::atomic::Ordering::SeqCst)
    });
    let log = place.open_with(&AppendLimits::default(), clock);
    for index in 0..40 {
        let mut append = append_to(&format!("s{}", index % 3), ExpectedVersion::Any, 1);
        append.streams[0].stream_type = if index % 3 == 0 { "order" } else { "customer" }.to_owned();
        append.streams[0].events[0].event_type = TYPES[index % 4].to_owned();
        log.append(append).unwrap();
    }
    let all = log
        .events(&EventQuery {
            limit: 100,
            ..EventQuery::default()
        })
        .unwrap();
    assert_eq!(all.len(), 40);
    let mut random = SmallRng::seed_from_u64(5);
    for _ in 0..200 {
        let time = |random: &mut SmallRng| {
            random
                .random_bool(0.4)
                .then(|| random.random_range(0..45_i64) * 1_000_000 + 1)
        };
        let query = EventQuery {
            stream_id: random
                .random_bool(0.4)
                .then(|| format!("s{}", random.random_range(0..4))),
            stream_type: random.random_bool(0.3).then(|| "order".to_owned()),
            stream_types: random.random_bool(0.3).then(|| {
                let some = |_: &&str| random.random_bool(0.5);
                let types = ["order", "customer", "no such"];
                types.iter().copied().filter(some).map(str::to_owned).collect()
            }),
            event_types: TYPES
                .iter()
                .filter(|_| random.random_bool(0.2))
                .map(|name| (*name).to_owned())
                .collect(),
            after: random
                .random_bool(0.5)
                .then(|| Position(random.random_range(0..45))),
            recorded_from: time(&mut random),
            recorded_before: time(&mut random),
            backward: random.random_bool(0.5),
            limit: random.random_range(0..20),
        };
        let mut expected: Vec<_> = all
            .iter()
            .filter(|event| {
                let recorded_at = event.recorded_at.timestamp_micros();
                query.stream_id.as_ref().is_none_or(|id| *id == event.stream_id)
                    && query
                        .stream_type
                        .as_ref()
                        .is_none_or(|name| *name == event.stream_type)
                    && query
                        .stream_types
                        .as_ref()
                        .is_none_or(|names| names.contains(&event.stream_type))
                    && (query.event_types.is_empty() || query.event_types.contains(&event.event_type))
                    && query.after.is_none_or(|after| {
                        if query.backward {
                            event.position < after
                        } else {
                            event.position > after
                        }
                    })
                    && query.recorded_from.is_none_or(|from| recorded_at >= from)
                    && query.recorded_before.is_none_or(|before| recorded_at < before)
            })
            .map(|event| event.id)
            .collect();
        if query.backward {
            expected.reverse();
        }
        expected.truncate(query.limit as usize);
        let listed: Vec<_> = log.events(&query).unwrap().iter().map(|event| event.id).collect();
        assert_eq!(listed, expected, "{query:?}");
    }
}

fn a_reader_that_is_ahead_of_the_log_is_told(place: &Place) {
    let log = place.open();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    let mut reader = log.reader(EventFilter::default()).unwrap();
    let result = reader.read(
        Position(2),
        log.head().unwrap(),
        10,
        1_000,
        &mut EventBatch::default(),
    );
    assert!(matches!(result, Err(LogError::Internal(message)) if message.contains("replaced or restored")));
}

/// Whatever the check of JSON takes, PostgreSQL's jsonb takes too.
#[test]
fn json_that_passes_is_jsonb() {
    let Some(place) = Place::postgres("json_that_passes_is_jsonb") else {
        return;
    };
    let mut random = SmallRng::seed_from_u64(1);
    let mut connection = place.pg();
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..1_500 {
        let text = random_json(&mut random, 4);
        if serde_json::from_str::<&serde_json::value::RawValue>(&text).is_err() {
            continue;
        }
        let ours = crate::log::json::check(&text, 128);
        let theirs: Result<bool, _> = place.block_on(
            sqlx::query_scalar("SELECT $1::text::jsonb IS NOT NULL")
                .bind(&text)
                .fetch_one(&mut connection),
        );
        match ours {
            Ok(()) => {
                assert!(theirs.is_ok(), "{text}: {theirs:?}");
                passed += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        passed > 300 && refused > 100,
        "{passed} passed, {refused} refused"
    );
}

fn random_json(random: &mut SmallRng, depth: u32) -> String {
    let many = |random: &mut SmallRng, one: &mut dyn FnMut(&mut SmallRng) -> String| {
        (0..random.random_range(0..3))
            .map(|_| one(random))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match random.random_range(0..if depth == 0 { 3 } else { 5 }) {
        0 => random_string(random),
        1 => {
            let exponent = *[
                "",
                "e5",
                "E+100",
                "e-300",
                "e131068",
                "e131071",
                "e-16380",
                "e-16383",
                "e99999999",
            ]
            .choose(random)
            .unwrap();
            let number = *["0", "-1", "12.50", "123456.789", "0.001"]
                .choose(random)
                .unwrap();
            format!("{number}{exponent}")
        }
        2 => (*["null", "true", "false"].choose(random).unwrap()).to_owned(),
        3 => format!("[{}]", many(random, &mut |random| random_json(random, depth - 1))),
        _ => format!(
            "{{{}}}",
            many(random, &mut |random| format!(
                "{}: {}",
                random_string(random),
                random_json(random, depth - 1)
            ))
        ),
    }
}

fn random_string(random: &mut SmallRng) -> String {
    let parts = [
        "a",
        "é",
        "😀",
        "\\n",
        "\\\\",
        "\\\"",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\udc00",
        "\\u0000",
        "\\\\u0000",
        "\\uD83D",
        "\\u0001",
    ];
    let weights: Vec<&str> = (0..random.random_range(0..4))
        .map(|_| *parts.choose(random).unwrap())
        .collect();
    format!("\"{}\"", weights.concat())
}
