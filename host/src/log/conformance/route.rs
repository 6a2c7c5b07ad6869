//! The two ways of a reader: whichever it goes, the same events come in the same order.

use lamphouse_contract::Subscription;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::read::{filled_with, matches, read_at_random};
use super::*;
use crate::core::{EventBatch, Position, StoredEvent};
use crate::log::{EventQuery, Head};

scenarios! {
    both_ways_give_the_same_events,
    listings_by_type_are_short_for_any_type,
    an_older_log_gets_the_index,
}

const EVENTS: u64 = 3_000;
const TYPES: [&str; 6] = ["Common", "Often", "Rare", "Clustered", "it's", "Nothing"];

/// From every second event to a handful, and a type that comes all at once.
fn event_type(position: u64, random: &mut SmallRng) -> &'static str {
    match random.random_range(0..1_000) {
        _ if (1_200..1_260).contains(&position) => "Clustered",
        0..3 => "Rare",
        3..20 => "it's",
        20..300 => "Often",
        _ => "Common",
    }
}

/// Never by the index.
const THROUGH: Measures = Measures {
    unasked_positions_max: u64::MAX,
    looked_up_max: 1,
    apart_min: 1,
    scanned_positions_max: 1,
};

/// Always by the index where the filter allows it, so many positions at once.
fn by(looked_up_max: usize) -> Measures {
    Measures {
        unasked_positions_max: 0,
        looked_up_max,
        apart_min: 0,
        scanned_positions_max: 1,
    }
}

/// Now this way, now that.
const MIXED: Measures = Measures {
    unasked_positions_max: 10,
    looked_up_max: 9,
    apart_min: 12,
    scanned_positions_max: 70,
};

fn random_filter(random: &mut SmallRng) -> EventFilter {
    let mut subscription = |any_type: f64| Subscription {
        event_type: (!random.random_bool(any_type)).then(|| (*TYPES.choose(random).unwrap()).to_owned()),
        stream_type: random.random_bool(0.3).then(|| "customer's".to_owned()),
        schema_versions: if random.random_bool(0.3) {
            vec![1, 3]
        } else {
            vec![]
        },
    };
    // Mostly types alone, as the index needs it.
    let any_type = if subscription(0.1).event_type.is_some() {
        0.0
    } else {
        0.5
    };
    let first = subscription(any_type);
    EventFilter {
        any_of: std::iter::once(first)
            .chain((0..3).filter_map(|_| {
                let next = subscription(any_type);
                (next.schema_versions.is_empty()).then_some(next)
            }))
            .collect(),
        ..EventFilter::default()
    }
}

fn both_ways_give_the_same_events(place: &Place) {
    let (log, events) = filled_with(place, EVENTS, event_type);
    let mut random = SmallRng::seed_from_u64(23);
    let head_at = |position: Position| match position.0 {
        0 => log.head().unwrap(),
        at => Head {
            position,
            event_id: Some(events[at as usize - 1].id),
            recorded_at: 0,
        },
    };
    for _ in 0..25 {
        let filter = random_filter(&mut random);
        let wanted: Vec<&StoredEvent> = events
            .iter()
            .filter(|event| filter.any_of.iter().any(|one| matches(one, event)))
            .collect();
        let mut readers: Vec<_> = [THROUGH, by(1), by(7), by(100_000), MIXED, Measures::default()]
            .into_iter()
            .map(|measures| place.reader_with(&filter, (random.random_range(0..20), 500), measures))
            .collect();
        // Anywhere, up to any head, with any limits: the very same answer of each.
        let (mut first, mut other) = (EventBatch::default(), EventBatch::default());
        for _ in 0..25 {
            let until = head_at(Position(random.random_range(1..=EVENTS)));
            let after = Position(random.random_range(0..=until.position.0));
            let events_max = *[1, 2, 50, 4_000].choose(&mut random).unwrap();
            let bytes_max = *[0, 1, 5_000, 4 << 20].choose(&mut random).unwrap();
            readers[0]
                .read(after, until, events_max, bytes_max, &mut first)
                .unwrap();
            let from = wanted.partition_point(|event| event.position <= after);
            let next = wanted.get(from).filter(|event| event.position <= until.position);
            assert_eq!(
                first.len().checked_sub(1).map(|_| first.position(0)),
                next.map(|event| event.position),
                "{filter:?} after {after} until {}",
                until.position
            );
            for (index, reader) in readers.iter_mut().enumerate().skip(1) {
                reader
                    .read(after, until, events_max, bytes_max, &mut other)
                    .unwrap();
                assert_eq!(
                    (other.packed(0..other.len()), other.through, other.through_id),
                    (first.packed(0..first.len()), first.through, first.through_id),
                    "way {index} of {filter:?} after {after} until {}, {events_max} events, {bytes_max} bytes",
                    until.position
                );
            }
        }
        let head = log.head().unwrap();
        for reader in &mut readers {
            read_at_random(&mut **reader, head, &wanted, &mut random);
        }
    }
}

fn listings_by_type_are_short_for_any_type(place: &Place) {
    let (log, events) = filled_with(place, EVENTS, event_type);
    for types in [
        &["Rare"][..],
        &["Common", "Rare"],
        &["Nothing", "Clustered", "Rare", "Rare"],
    ] {
        for (backward, after, limit) in [
            (false, None, 3),
            (true, None, 100),
            (true, Some(1_230), 7),
            (false, Some(9), 9_999),
        ] {
            let after = after.map(Position);
            let mut expected: Vec<_> = events
                .iter()
                .filter(|event| types.contains(&&*event.event_type))
                .filter(|event| {
                    after.is_none_or(|after| (event.position < after) == backward && event.position != after)
                })
                .map(|event| event.id)
                .collect();
            if backward {
                expected.reverse();
            }
            expected.truncate(limit);
            let query = EventQuery {
                event_types: types.iter().map(|name| (*name).to_owned()).collect(),
                after,
                backward,
                limit: limit as u64,
                ..EventQuery::default()
            };
            let listed: Vec<_> = log.events(&query).unwrap().iter().map(|event| event.id).collect();
            assert_eq!(listed, expected, "{query:?}");
        }
    }
}

/// As a log is that an earlier version made.
fn an_older_log_gets_the_index(place: &Place) {
    let (log, _) = filled_with(place, 50, event_type);
    drop(log);
    let (migrations, counted) = if place.is_sqlite() {
        (
            "_sqlx_migrations",
            "SELECT CAST(count(*) AS TEXT) FROM sqlite_schema WHERE name = 'events_by_type'",
        )
    } else {
        (
            "log_migrations",
            "SELECT count(*)::text FROM pg_indexes WHERE indexname = 'events_by_type'",
        )
    };
    place
        .raw(&format!(
            "DROP INDEX events_by_type; DELETE FROM {migrations} WHERE version > 1"
        ))
        .unwrap();
    assert_eq!(place.text(counted), "0");
    let log = place.open();
    assert_eq!(place.text(counted), "1");
    assert_eq!(log.head().unwrap().position, Position(50));
    let filter = EventFilter {
        any_of: vec![Subscription {
            event_type: Some("Common".to_owned()),
            stream_type: None,
            schema_versions: vec![],
        }],
        ..EventFilter::default()
    };
    let mut batch = EventBatch::default();
    place
        .reader_with(&filter, (0, 500), by(10))
        .read(Position::START, log.head().unwrap(), 1_000, 1 << 20, &mut batch)
        .unwrap();
    assert!(!batch.is_empty());
}
