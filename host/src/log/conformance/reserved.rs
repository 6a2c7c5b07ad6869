//! The names of the host's own: who may append them, and who sees them.

use lamphouse_contract::Subscription;

use super::*;
use crate::core::{EventBatch, Position};
use crate::log::{EventQuery, ImportCursor, ImportEvent, check_not_reserved};

scenarios! {
    reserved_names_are_the_hosts_own,
    reserved_types_are_read_by_who_names_them,
    an_import_takes_what_an_export_holds,
}

const TYPE: &str = "lamphouse.PluginDeleted";
const STREAM: &str = "lamphouse.audit";

fn own(events: usize) -> AppendRequest {
    let events = (0..events).map(|_| event(TYPE, "{}")).collect();
    request(vec![StreamAppend {
        stream_type: STREAM.to_owned(),
        ..stream(STREAM, ExpectedVersion::Any, events)
    }])
}

fn reserved_names_are_the_hosts_own(place: &Place) {
    let log = place.open();
    let mut by_event_type = append_to("a", ExpectedVersion::Any, 2);
    by_event_type.streams[0].events[1].event_type = TYPE.to_owned();
    let mut by_stream_type = append_to("a", ExpectedVersion::Any, 1);
    by_stream_type.streams[0].stream_type = "lamphouse.x".to_owned();
    let by_stream = append_to("lamphouse.x", ExpectedVersion::Any, 1);
    for (append, words) in [
        (
            by_event_type,
            ["event type 'lamphouse.PluginDeleted'", "reserved"],
        ),
        (by_stream_type, ["stream type 'lamphouse.x'", "reserved"]),
        (by_stream, ["stream 'lamphouse.x'", "reserved"]),
        (own(1), ["lamphouse.", "reserved"]),
    ] {
        check_invalid(log.append(append), &words);
    }
    assert_eq!(log.head().unwrap().position, Position(0));
    // Only the whole prefix is reserved.
    let mut near = append_to("lamphouse-1", ExpectedVersion::Any, 1);
    near.streams[0].events[0].event_type = "Lamphouse.Lit".to_owned();
    log.append(near).unwrap();
    assert_eq!(log.append_own(own(2)).unwrap().position, Position(3));
    // The other rules hold for the host too.
    let mut no_reason = own(1);
    no_reason.streams[0].events[0].metadata = json("{}");
    check_invalid(log.append_own(no_reason), &["reason"]);
    if !place.is_sqlite() {
        let call = |stream_id: &str, stream_type: &str, event_type: &str| {
            place.raw(&format!(
                "SELECT lamphouse.append('{stream_id}', '{stream_type}', '{event_type}', '{{}}', '{{\"reason\":\"long enough\"}}')"
            ))
        };
        for (stream_id, stream_type, event_type) in [("a", "t", TYPE), ("a", STREAM, "A"), (STREAM, "t", "A")]
        {
            let refused = call(stream_id, stream_type, event_type).unwrap_err();
            assert!(refused.contains("reserved"), "{refused}");
        }
        call("lamphouse-1", "order", "LamphouseLit").unwrap();
    }
}

/// Positions of what comes of this reader, and how far it says that it looked.
fn read(reader: &mut dyn LogReader, log: &dyn EventLog) -> (Vec<u64>, Position) {
    let head = log.head().unwrap();
    let mut batch = EventBatch::default();
    reader
        .read(Position::START, head, 10_000, 1 << 20, &mut batch)
        .unwrap();
    let positions = (0..batch.len()).map(|index| batch.position(index).0).collect();
    (positions, batch.through)
}

fn reserved_types_are_read_by_who_names_them(place: &Place) {
    let log = place.open();
    // Of the host's own are 1, 3 and 5.
    for number in 0..2 {
        log.append_own(own(1)).unwrap();
        log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
        assert_eq!(log.head().unwrap().position, Position(number * 2 + 2));
    }
    log.append_own(own(1)).unwrap();
    let subscription = |event_type: Option<&str>, stream_type: Option<&str>| Subscription {
        event_type: event_type.map(str::to_owned),
        stream_type: stream_type.map(str::to_owned),
        schema_versions: vec![],
    };
    let of = |any_of: Vec<Subscription>| EventFilter {
        any_of,
        ..EventFilter::default()
    };
    for (filter, expected) in [
        (EventFilter::default(), vec![2, 4]),
        (of(vec![subscription(None, None)]), vec![2, 4]),
        (of(vec![subscription(None, Some("order"))]), vec![2, 4]),
        (of(vec![subscription(None, Some(STREAM))]), vec![1, 3, 5]),
        (of(vec![subscription(Some(TYPE), None)]), vec![1, 3, 5]),
        (
            of(vec![subscription(None, None), subscription(Some(TYPE), None)]),
            vec![1, 2, 3, 4, 5],
        ),
        (EventFilter::everything(), vec![1, 2, 3, 4, 5]),
    ] {
        let mut live = log.reader(filter.clone()).unwrap();
        assert_eq!(
            read(&mut *live, &*log),
            (expected.clone(), Position(5)),
            "{filter:?}"
        );
        // As a rebuild reads: by ranges, and by the index on types.
        for apart_min in [1, 100] {
            let measures = Measures {
                unasked_positions_max: 0,
                apart_min,
                ..Measures::default()
            };
            let mut rebuild = place.reader_with(&filter, (0, 2), measures);
            assert_eq!(
                read(&mut *rebuild, &*log),
                (expected.clone(), Position(5)),
                "{filter:?}"
            );
        }
    }
    let query = EventQuery {
        limit: 10,
        ..EventQuery::default()
    };
    assert_eq!(log.events(&query).unwrap().len(), 5, "a person sees all");
    let limited = EventQuery {
        stream_types: Some(vec!["order".to_owned()]),
        ..query
    };
    assert_eq!(log.events(&limited).unwrap().len(), 2);
}

fn an_import_takes_what_an_export_holds(place: &Place) {
    let log = place.open();
    let line = ImportEvent {
        line: 1,
        stream_id: STREAM.to_owned(),
        stream_type: STREAM.to_owned(),
        idempotency_key: None,
        event: event(TYPE, "{}"),
    };
    let refused = check_not_reserved(&line).unwrap_err();
    assert!(refused.contains("reserved"), "{refused}");
    let cursor = ImportCursor {
        digest: "1".to_owned(),
        bytes: 1,
        lines: 1,
    };
    assert_eq!(log.import(vec![line], None, &cursor).unwrap(), Position(1));
}
