//! Importing: cursors, repeated lines, bad lines.

use super::*;
use crate::core::Position;
use crate::log::{EventQuery, ImportCursor, ImportEvent};

scenarios! {
    an_import_goes_on_from_its_cursor,
    a_cursor_that_is_gone_stops_the_import,
    lines_that_are_in_the_log_are_left_out,
    a_bad_line_is_named_and_nothing_of_its_batch_stays,
    imports_and_appends_share_the_counter,
}

fn line(line: u64, stream_id: &str, event: NewEvent) -> ImportEvent {
    ImportEvent {
        line,
        stream_id: stream_id.to_owned(),
        stream_type: "order".to_owned(),
        idempotency_key: None,
        event,
    }
}

fn lines(range: std::ops::Range<u64>) -> Vec<ImportEvent> {
    range
        .map(|number| {
            line(
                number,
                &format!("s{}", number % 3),
                event("Happened", &number.to_string()),
            )
        })
        .collect()
}

fn cursor(lines: u64) -> ImportCursor {
    ImportCursor {
        digest: format!("digest of {lines}"),
        bytes: lines * 100,
        lines,
    }
}

fn data(log: &dyn EventLog) -> Vec<String> {
    let query = EventQuery {
        limit: 1_000_000,
        ..EventQuery::default()
    };
    log.events(&query)
        .unwrap()
        .iter()
        .map(|event| event.data.get().to_owned())
        .collect()
}

fn an_import_goes_on_from_its_cursor(place: &Place) {
    let log = place.open();
    assert_eq!(log.import_cursors().unwrap(), []);
    assert_eq!(log.import(lines(1..6), None, &cursor(5)).unwrap(), Position(5));
    assert_eq!(log.import_cursors().unwrap(), [cursor(5)]);
    drop(log);
    let log = place.open();
    assert_eq!(
        log.import(lines(6..9), Some(&cursor(5)), &cursor(8)).unwrap(),
        Position(8)
    );
    assert_eq!(
        log.import_cursors().unwrap(),
        [cursor(8)],
        "the cursor is replaced"
    );
    assert_eq!(
        data(&*log),
        (1..9).map(|number| number.to_string()).collect::<Vec<_>>(),
        "in the order of the lines"
    );
    let versions: Vec<_> = log
        .events(&EventQuery {
            stream_id: Some("s0".into()),
            limit: 10,
            ..EventQuery::default()
        })
        .unwrap()
        .iter()
        .map(|event| event.stream_version.0)
        .collect();
    assert_eq!(versions, [1, 2]);
    let short = ImportCursor {
        digest: "another input".into(),
        bytes: 1,
        lines: 1,
    };
    log.import(vec![], None, &short).unwrap();
    assert_eq!(log.import_cursors().unwrap(), [cursor(8), short], "longest first");
}

fn a_cursor_that_is_gone_stops_the_import(place: &Place) {
    let log = place.open();
    log.import(lines(1..6), None, &cursor(5)).unwrap();
    let refused = |previous: Option<&ImportCursor>, next: ImportCursor| {
        check_invalid(
            log.import(lines(6..9), previous, &next),
            &["another import", "start the import again"],
        );
        assert_eq!(log.head().unwrap().position, Position(5));
        assert_eq!(log.import_cursors().unwrap(), [cursor(5)]);
    };
    refused(Some(&cursor(4)), cursor(8));
    refused(
        Some(&ImportCursor {
            lines: 6,
            ..cursor(5)
        }),
        cursor(8),
    );
    refused(None, cursor(5));
    log.import(lines(6..9), Some(&cursor(5)), &cursor(8)).unwrap();
}

fn lines_that_are_in_the_log_are_left_out(place: &Place) {
    let log = place.open();
    let keyed = |number: u64, key: &str| ImportEvent {
        idempotency_key: Some(key.into()),
        ..lines(number..number + 1).remove(0)
    };
    let with_id = line(3, "s", event_with_id(r#"{"a": 1}"#));
    log.import(
        vec![keyed(1, "k1"), keyed(2, "k2"), with_id.clone()],
        None,
        &cursor(3),
    )
    .unwrap();
    let written_differently = ImportEvent {
        line: 6,
        event: NewEvent {
            data: json(r#"{"a":1}"#),
            ..with_id.event.clone()
        },
        ..with_id.clone()
    };
    let fresh = line(9, "s", event_with_id("9"));
    let batch = vec![
        keyed(4, "k2"),
        keyed(5, "k5"),
        written_differently,
        with_id.clone(),
        keyed(8, "k5"),
        fresh.clone(),
        ImportEvent { line: 10, ..fresh },
    ];
    assert_eq!(
        log.import(batch, Some(&cursor(3)), &cursor(10)).unwrap(),
        Position(5)
    );
    assert_eq!(data(&*log), ["1", "2", r#"{"a": 1}"#, "5", "9"]);
    // All of it again adds nothing, and the cursor moves on.
    assert_eq!(
        log.import(vec![keyed(11, "k1"), with_id], Some(&cursor(10)), &cursor(12))
            .unwrap(),
        Position(5)
    );
    assert_eq!(log.import_cursors().unwrap(), [cursor(12)]);
    // The same key is known to an append in the scope `import`, with its answer.
    let append = AppendRequest {
        streams: vec![stream("s1", ExpectedVersion::Any, vec![event("Happened", "1")])],
        idempotency: Some(IdempotencyKey {
            scope: "import".into(),
            key: "k1".into(),
        }),
    };
    let answer = log.append(append).unwrap();
    assert_eq!(
        (answer.repeated, answer.position, answer.streams[0].version.0),
        (true, Position(1), 1)
    );
}

fn a_bad_line_is_named_and_nothing_of_its_batch_stays(place: &Place) {
    let log = place.open();
    let known = line(2, "known", event_with_id("1"));
    log.import(
        vec![line(1, "known", event("A", "1")), known.clone()],
        None,
        &cursor(2),
    )
    .unwrap();
    let refused = |bad: ImportEvent, words: &[&str]| {
        let number = bad.line;
        let mut batch = lines(3..6);
        batch.push(bad);
        let result = log.import(batch, Some(&cursor(2)), &cursor(6));
        check_invalid(result, &[words, &[&format!("line {number}:")]].concat());
        assert_eq!(
            log.head().unwrap().position,
            Position(2),
            "nothing of the batch stays"
        );
        assert_eq!(log.import_cursors().unwrap(), [cursor(2)]);
    };
    refused(line(7, "", event("A", "1")), &["stream id is empty"]);
    refused(
        line(8, &"x".repeat(10_000), event("A", "1")),
        &["stream_id_bytes_max"],
    );
    refused(
        line(
            9,
            "s",
            NewEvent {
                metadata: json("{}"),
                ..event("A", "1")
            },
        ),
        &["'s'", "metadata.reason"],
    );
    refused(line(10, "s", event("A", r#""\u0000""#)), &["U+0000"]);
    refused(
        ImportEvent {
            stream_type: "invoice".into(),
            ..line(11, "known", event("A", "1"))
        },
        &["'order'", "'invoice'"],
    );
    refused(
        ImportEvent {
            stream_type: "invoice".into(),
            ..line(12, "s1", event("A", "1"))
        },
        &["'order'", "'invoice'"],
    );
    refused(
        ImportEvent {
            line: 13,
            event: NewEvent {
                data: json("2"),
                ..known.event.clone()
            },
            ..known.clone()
        },
        &["position 2", "other content"],
    );
    refused(
        ImportEvent {
            line: 14,
            stream_id: "elsewhere".into(),
            ..known.clone()
        },
        &["position 2", "other content"],
    );
    refused(
        line(15, "s", event("A", &format!("\"{}\"", "x".repeat(2 << 20)))),
        &["event_bytes_max"],
    );
}

fn imports_and_appends_share_the_counter(place: &Place) {
    let log = place.open();
    std::thread::scope(|scope| {
        let importer = scope.spawn(|| {
            let mut previous: Option<ImportCursor> = None;
            for batch in 0..10 {
                let next = cursor((batch + 1) * 100);
                log.import(lines(batch * 100..(batch + 1) * 100), previous.as_ref(), &next)
                    .unwrap();
                previous = Some(next);
            }
        });
        for client in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for _ in 0..20 {
                    log.append(append_to(&format!("s{}", client % 3), ExpectedVersion::Any, 1))
                        .unwrap();
                }
            });
        }
        importer.join().unwrap();
    });
    let events = log
        .events(&EventQuery {
            limit: 10_000,
            ..EventQuery::default()
        })
        .unwrap();
    assert_eq!(events.len(), 1_080);
    assert!(
        events
            .iter()
            .zip(1..)
            .all(|(event, position)| event.position.0 == position)
    );
    let mut versions = std::collections::HashMap::<&str, u64>::new();
    for event in &events {
        let version = versions.entry(&event.stream_id).or_default();
        *version += 1;
        assert_eq!(event.stream_version.0, *version);
    }
}
