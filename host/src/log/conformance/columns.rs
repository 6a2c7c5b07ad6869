//! Reading no more of the events than a projector looks at.

use lamphouse_contract::Subscription;
use lamphouse_contract::fields::{Entry, Field, FieldKind, Plan};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::*;
use crate::core::{EventBatch, Position, StoredEvent};
use crate::log::route::Measures;

scenarios! {
    what_nobody_looks_at_is_not_read,
}

/// Fewer columns, the same events: those that are not as declared come whole, however many they are.
fn what_nobody_looks_at_is_not_read(place: &Place) {
    let (log, events) = filled_unevenly(place);
    let head = log.head().unwrap();
    let text = Field {
        path: "/data",
        kind: FieldKind::Text,
    };
    // The data of all these events are texts.
    let number = Field {
        kind: FieldKind::Integer,
        ..text
    };
    let reason = Field {
        path: "/metadata/reason",
        ..text
    };
    let mut random = SmallRng::seed_from_u64(5);
    for (rare, often, common) in [
        (&[text, reason][..], &[][..], &[text][..]),
        (&[number], &[], &[]),
        (&[text], &[number], &[text]),
    ] {
        let mut plan = Plan::default();
        for (event_type, fields) in [("Rare", rare), ("Often", often), ("Common", common)] {
            plan.add(event_type, fields.iter().copied()).unwrap();
        }
        let plan = Arc::new(plan.reading([Entry::StreamVersion].into_iter().collect()));
        let subscription = |name: &str| Subscription {
            event_type: Some(name.to_owned()),
            stream_type: Some("order".to_owned()),
            schema_versions: vec![1, 2],
        };
        let filter = EventFilter {
            any_of: plan.event_types().map(subscription).collect(),
            ..EventFilter::default()
        };
        let matches = |event: &&StoredEvent| {
            filter.matches(&event.event_type, event.schema_version, &event.stream_type)
        };
        let mut expected = EventBatch::with_fields(Some(plan.clone()));
        for event in events.iter().filter(matches) {
            let id = event.id.to_string();
            expected.push_event(event.position, event.id, &event.borrowed(&id));
        }
        for ranges in [(0, 1_000_000), (0, 777), (5, 100)] {
            let mut reader = place.reader_with(&filter, ranges, Measures::default());
            let mut batch = EventBatch::with_fields(Some(plan.clone())).lean(&filter);
            assert!(batch.reads().is_some());
            let (mut after, mut read) = (Position::START, 0);
            while after < head.position {
                let events_max = *[1, 7, 1_000].choose(&mut random).unwrap();
                reader.read(after, head, events_max, 1 << 20, &mut batch).unwrap();
                let range = read..read + batch.len();
                assert!(
                    batch.packed(0..batch.len()) == expected.packed(range.clone()),
                    "after {after}, {ranges:?}"
                );
                for (index, place) in range.enumerate() {
                    assert_eq!(batch.id(index), expected.id(place));
                }
                read += batch.len();
                after = batch.through;
            }
            assert_eq!(read, expected.len());
        }
    }
}
