//! Which events of a batch go to the plugin, wait, or are left out.

use std::sync::Arc;

use lamphouse_contract::{Descriptor, packed};
use uuid::Uuid;

use super::super::fault::{Parked, Parking};
use super::super::runner::bug;
use super::super::status::Stop;
use crate::core::limits::{FaultPolicy, OnFault};
use crate::core::{Class, EventBatch, EventId, GenerationId, PluginDigest, PluginName, Position};
use crate::tables::{Checkpoint, Discard, GenerationRecord, GenerationState, LetterBook};

fn generation() -> GenerationRecord {
    GenerationRecord {
        id: GenerationId(7),
        projection: PluginName::new("orders").unwrap(),
        digest: PluginDigest::of(b"orders"),
        version: "1.0.0".to_owned(),
        descriptor: Arc::new(Descriptor {
            name: "orders".to_owned(),
            version: "1.0.0".to_owned(),
            subscriptions: vec![],
            tables: vec![],
            options: vec![],
        }),
        upcasters: vec![],
        state: GenerationState::Live,
        error: None,
        checkpoint: Checkpoint::default(),
        created_at: 0,
        live_at: None,
        retired_at: None,
    }
}

fn id(position: u64) -> EventId {
    EventId(Uuid::from_u128(u128::from(position)))
}

/// Events as position, part, stream.
fn batch(events: &[(u64, u32, &str)]) -> Arc<EventBatch> {
    let mut batch = EventBatch::default();
    for &(position, part, stream_id) in events {
        let text = id(position).to_string();
        batch.push(Position(position), id(position), |bytes| {
            packed::write_event(
                bytes,
                &packed::Event {
                    position,
                    part,
                    id: &text,
                    stream_id,
                    stream_type: "order",
                    stream_version: position,
                    event_type: "Ordered",
                    schema_version: 1,
                    data: "{}",
                    metadata: "{}",
                    occurred_at: 1,
                    recorded_at: 2,
                    fields: None,
                },
            );
        });
    }
    Arc::new(batch)
}

fn parking(streams_max: u64, events_max: u64, discarded: &[u64]) -> Parking {
    let policy = FaultPolicy {
        on_fault: OnFault::DeadLetter,
        parked_streams_max: streams_max,
        parked_events_max: events_max,
    };
    let discards: Vec<Discard> = discarded
        .iter()
        .map(|&position| Discard {
            projection: generation().projection,
            event_id: id(position),
            position: Position(position),
            stream_id: String::new(),
            event_type: String::new(),
            reason: String::new(),
            by: String::new(),
            at: 0,
            message: String::new(),
        })
        .collect();
    Parking::new(policy, &generation(), LetterBook::default(), &discards)
}

fn fault(position: u64) -> Stop {
    Stop {
        class: Class::Fault,
        position: Some(Position(position)),
        ..bug("it failed".to_owned())
    }
}

fn event(position: u64, stream_id: &str) -> Parked<'_> {
    Parked {
        position: Position(position),
        event_id: id(position),
        stream_id,
        event_type: "Ordered",
    }
}

fn positions(batch: &EventBatch) -> Vec<u64> {
    (0..batch.len()).map(|place| batch.position(place).0).collect()
}

/// Position, and what it waits behind.
fn parked(parking: &mut Parking) -> Vec<(u64, Option<u64>)> {
    let flush = parking.take_flush().expect("something is parked");
    let letters = flush.park.iter();
    letters
        .map(|letter| (letter.position.0, letter.behind.map(|behind| behind.0)))
        .collect()
}

#[test]
fn without_dead_letters_a_batch_is_not_touched() {
    let mut parking = parking(10, 10, &[]);
    let whole = batch(&[(1, 0, "a"), (2, 0, "b")]);
    assert!(Arc::ptr_eq(&parking.sift(&whole, 0).events, &whole));
    assert!(parking.take_flush().is_none());
    // Nor is one that knows of some, where none of them comes.
    parking.park(&event(3, "c"), fault(3)).unwrap();
    assert!(Arc::ptr_eq(&parking.sift(&whole, 0).events, &whole));
}

#[test]
fn what_is_behind_waits_once_with_its_siblings_and_what_is_discarded_is_left_out() {
    let mut parking = parking(10, 10, &[4]);
    parking.park(&event(1, "a"), fault(1)).unwrap();
    let whole = batch(&[
        (2, 0, "a"),
        (2, 1, "a"),
        (3, 0, "b"),
        (4, 0, "b"),
        (5, 0, "a"),
        (6, 0, "b"),
        (6, 1, "b"),
    ]);
    let sifted = parking.sift(&whole, 0);
    assert!(sifted.halt.is_none());
    assert_eq!(positions(&sifted.events), [3, 6, 6]);
    assert_eq!(parking.counts(), (3, 1));
    assert_eq!(parked(&mut parking), [(1, None), (2, Some(1)), (5, Some(1))]);
    assert_eq!(parked(&mut parking), [], "a flush takes them once");
}

#[test]
fn a_fault_in_the_midst_parks_what_was_taken_for_sound_behind_it() {
    let mut parking = parking(10, 10, &[]);
    parking.park(&event(1, "a"), fault(1)).unwrap();
    let whole = batch(&[(2, 0, "b"), (3, 0, "b"), (4, 0, "a"), (5, 0, "b"), (6, 0, "c")]);
    assert_eq!(positions(&parking.sift(&whole, 0).events), [2, 3, 5, 6]);
    // Position 3 fails: what was parked behind it is decided on again.
    parking.forget_from(Position(3));
    assert_eq!(parking.counts(), (1, 1));
    parking.park(&event(3, "b"), fault(3)).unwrap();
    assert_eq!(positions(&parking.sift(&whole, 2).events), [6]);
    let expected = [(1, None), (3, None), (4, Some(1)), (5, Some(3))];
    assert_eq!(parked(&mut parking), expected);
}

#[test]
fn a_full_parking_place_stops_before_the_event_and_names_the_key() {
    let mut parking = parking(1, 2, &[]);
    parking.park(&event(1, "a"), fault(1)).unwrap();
    let refused = parking.park(&event(2, "b"), fault(2)).unwrap_err();
    assert!(
        refused.message.contains("[projection] parked_streams_max"),
        "{}",
        refused.message
    );
    assert_eq!(refused.position, Some(Position(2)));
    let whole = batch(&[(3, 0, "a"), (4, 0, "b"), (5, 0, "a"), (6, 0, "b")]);
    let sifted = parking.sift(&whole, 0);
    assert_eq!(positions(&sifted.events), [4]);
    let (place, stop) = sifted.halt.expect("it is full");
    assert_eq!((place, stop.position), (2, Some(Position(5))));
    assert!(
        stop.message.contains("[projection] parked_events_max"),
        "{}",
        stop.message
    );
    assert_eq!(parked(&mut parking), [(1, None), (3, Some(1))]);
}

#[test]
fn only_a_fault_of_one_event_is_parked() {
    let parking = parking(1, 1, &[]);
    assert!(parking.parks(&fault(1)));
    for class in [Class::TimeLimit, Class::Bug, Class::Retryable] {
        assert!(!parking.parks(&Stop { class, ..fault(1) }), "{class:?}");
    }
    let nowhere = Stop {
        position: None,
        ..fault(1)
    };
    assert!(!parking.parks(&nowhere));
}

#[test]
fn an_event_that_was_not_lifted_is_left_out_waits_or_is_parked() {
    let mut parking = parking(10, 10, &[2]);
    parking.take_unlifted(&event(1, "a"), fault(1)).unwrap();
    parking.take_unlifted(&event(2, "b"), fault(2)).unwrap();
    parking.take_unlifted(&event(3, "a"), fault(3)).unwrap();
    assert_eq!(parked(&mut parking), [(1, None), (3, Some(1))]);
    let endless = Stop {
        class: Class::TimeLimit,
        ..fault(4)
    };
    assert!(parking.take_unlifted(&event(4, "c"), endless).is_err());
}
