//! The end of the log, read once for many.

use std::sync::Arc;

use lamphouse_contract::{Subscription, packed};
use serde_json::value::RawValue;

use crate::config::DatabaseUrl;
use crate::core::clock::Clock;
use crate::core::limits::AppendLimits;
use crate::core::{EventFilter, NewEvent, Position};
use crate::log::{AppendRequest, EventLog, ExpectedVersion, StreamAppend};
use crate::projection::Tail;

const TYPES: [&str; 3] = ["Placed", "Paid", "Shipped"];

struct Bench {
    log: Arc<dyn EventLog>,
    tail: Arc<Tail>,
    _folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        let limits = AppendLimits::default();
        let log = crate::log::open(&url, &limits, Clock::system(), runtime.handle().clone()).unwrap();
        Self {
            log,
            tail: Arc::default(),
            _folder: folder,
            _runtime: runtime,
        }
    }

    fn append(&self, count: usize) {
        let from = self.log.head().unwrap().position.0 as usize;
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        for number in from..from + count {
            let event = NewEvent {
                id: None,
                event_type: TYPES[number % 3].to_owned(),
                schema_version: 1,
                data: raw("1"),
                metadata: raw(r#"{"reason":"a test of the tail"}"#),
                occurred_at: None,
            };
            let streams = vec![StreamAppend {
                stream_id: format!("s-{}", number % 5),
                stream_type: "test".to_owned(),
                expected_version: ExpectedVersion::Any,
                events: vec![event],
            }];
            let request = AppendRequest {
                streams,
                idempotency: None,
            };
            self.log.append(request).unwrap();
        }
    }
}

fn filter(types: &[&str]) -> EventFilter {
    EventFilter {
        any_of: types
            .iter()
            .map(|event_type| Subscription {
                event_type: Some((*event_type).to_owned()),
                stream_type: None,
                schema_versions: vec![],
            })
            .collect(),
        ..EventFilter::default()
    }
}

#[test]
fn ten_followers_cost_one_read_and_each_gets_what_it_wants() {
    let bench = Bench::new();
    let followers: Vec<_> = (0..10).map(|_| bench.tail.follow()).collect();
    // One wants all, the others one or two types each.
    let filters: Vec<EventFilter> = (0..10)
        .map(|number| match number {
            0 => EventFilter::default(),
            number if number % 2 == 0 => filter(&[TYPES[number % 3]]),
            number => filter(&[TYPES[number % 3], TYPES[(number + 1) % 3]]),
        })
        .collect();
    let mut at = [Position::START; 10];
    let mut got: Vec<Vec<u64>> = vec![Vec::new(); 10];
    let rounds = [1, 1, 7, 1, 30];
    for events in rounds {
        bench.append(events);
        let seen = bench.log.signal().seen();
        for (number, follower) in followers.iter().enumerate() {
            // Some are a round behind and find two batches.
            if events == 7 && number % 4 == 3 {
                continue;
            }
            let head = follower.head(&*bench.log, seen, 2_000, 1 << 20).unwrap();
            while at[number] < head.position {
                let batch = follower
                    .read(&*bench.log, at[number], head, &filters[number], 2_000, 1 << 20)
                    .unwrap()
                    .expect("the tail has it");
                assert!(batch.through > at[number], "a read that came no further");
                at[number] = batch.through;
                let events = packed::events(batch.packed(0..batch.len()));
                got[number].extend(events.map(|event| event.unwrap().position));
            }
        }
    }
    assert_eq!(bench.tail.reads_for_test(), rounds.len());
    for (number, filter) in filters.iter().enumerate() {
        let wanted: Vec<u64> = (1..=40_u64)
            .filter(|position| filter.matches(TYPES[(*position as usize - 1) % 3], 1, "test"))
            .collect();
        assert_eq!(got[number], wanted, "follower {number}");
    }
}

#[test]
fn who_is_alone_far_behind_or_behind_what_is_kept_reads_for_itself() {
    let bench = Bench::new();
    bench.append(2_500);
    let one = bench.tail.follow();
    let all = EventFilter::default();
    let read = |after: u64| {
        let head = one
            .head(&*bench.log, bench.log.signal().seen(), 2_000, 1 << 20)
            .unwrap();
        let batch = one.read(&*bench.log, Position(after), head, &all, 2_000, 1 << 20);
        batch.unwrap().map(|batch| (batch.len(), batch.through.0))
    };
    assert_eq!(read(2_499), None, "alone");
    let _other = bench.tail.follow();
    assert_eq!(read(100), None, "far behind");
    assert_eq!(read(2_499), Some((1, 2_500)));
    assert_eq!(read(2_400), None, "behind what is kept");
    assert_eq!(bench.tail.reads_for_test(), 1);
    bench.append(1);
    assert_eq!(read(2_500), Some((1, 2_501)));
    assert_eq!(read(2_499), Some((1, 2_500)), "still there");
}

/// What is read together with a head too.
#[test]
fn no_batch_is_larger_than_a_call_may_be() {
    let bench = Bench::new();
    bench.append(25);
    let [one, _other] = [bench.tail.follow(), bench.tail.follow()];
    let mut at = Position::START;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 25 {
        // As after an append, so that none is answered from memory.
        let seen = bench.log.signal().seen() + sizes.len() as u64;
        let head = one.head(&*bench.log, seen, 10, 1 << 20).unwrap();
        let batch = one.read(&*bench.log, at, head, &EventFilter::default(), 10, 1 << 20);
        let batch = batch.unwrap().expect("the tail has it");
        at = batch.through;
        sizes.push(batch.len());
    }
    assert_eq!(sizes, [10, 10, 5]);
}

#[test]
fn reserved_types_pass_by_who_does_not_name_them() {
    let bench = Bench::new();
    let own = "lamphouse.PluginDeleted";
    bench.append(2);
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let streams = vec![StreamAppend {
        stream_id: "lamphouse.audit".to_owned(),
        stream_type: "lamphouse.audit".to_owned(),
        expected_version: ExpectedVersion::Any,
        events: vec![NewEvent {
            id: None,
            event_type: own.to_owned(),
            schema_version: 1,
            data: raw("{}"),
            metadata: raw(r#"{"reason":"a test of the tail"}"#),
            occurred_at: None,
        }],
    }];
    let request = AppendRequest {
        streams,
        idempotency: None,
    };
    bench.log.append_own(request).unwrap();
    let [all, named] = [bench.tail.follow(), bench.tail.follow()];
    let read = |follower: &crate::projection::tail::Follower, filter: EventFilter| {
        let head = follower
            .head(&*bench.log, bench.log.signal().seen(), 2_000, 1 << 20)
            .unwrap();
        let batch = follower.read(&*bench.log, Position::START, head, &filter, 2_000, 1 << 20);
        let batch = batch.unwrap().expect("the tail has it");
        let positions: Vec<u64> = (0..batch.len()).map(|index| batch.position(index).0).collect();
        (positions, batch.through)
    };
    assert_eq!(read(&all, EventFilter::default()), (vec![1, 2], Position(3)));
    assert_eq!(read(&named, filter(&[own])), (vec![3], Position(3)));
    assert_eq!(bench.tail.reads_for_test(), 1);
}
