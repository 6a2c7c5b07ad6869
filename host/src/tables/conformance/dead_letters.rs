//! Dead letters go in and out in the transaction of the rows, and nobody writes over what somebody else decided.

use lamphouse_contract::Row;
use serde_json::json;

use super::{Database, at, build, flush, notes, plugin, stored, switch, text};
use crate::core::{EventId, Position};
use crate::tables::{
    DeadLetter, Discard, DiscardQuery, Flush, GenerationRecord, GenerationState, LetterCounts, LetterFlush,
    LetterQuery, StoreError,
};

fn row(id: &str) -> Row {
    Box::new([text(id)])
}

fn id(position: u64) -> EventId {
    EventId(uuid::Uuid::from_u128(u128::from(position)))
}

fn letter(generation: &GenerationRecord, position: u64, stream: &str, behind: Option<u64>) -> DeadLetter {
    DeadLetter {
        generation: generation.id,
        projection: generation.projection.clone(),
        position: Position(position),
        part: behind.is_none().then_some(2),
        event_id: id(position),
        stream_id: stream.to_owned(),
        event_type: "Ordered".to_owned(),
        behind: behind.map(Position),
        message: "it is 'wrong' \u{1f3ee}".to_owned(),
        trace: "0: a\n1: b".to_owned(),
        log: json!([{"level": "warn", "message": "a quote \" and \u{0} a null"}]),
        digest: generation.digest,
        version: generation.version.clone(),
        attempts: 1,
        parked_at: 1_700_000_000_000_000,
        tried_at: 1_700_000_000_000_001,
    }
}

fn with(flush: Flush, letters: LetterFlush) -> Flush {
    Flush {
        letters: Some(Box::new(letters)),
        ..flush
    }
}

fn park(revision: u64, park: Vec<DeadLetter>) -> LetterFlush {
    LetterFlush {
        revision,
        park,
        ..LetterFlush::default()
    }
}

fn release(revision: u64, positions: &[u64]) -> LetterFlush {
    LetterFlush {
        revision,
        release: positions.iter().copied().map(Position).collect(),
        ..LetterFlush::default()
    }
}

fn of(generation: &GenerationRecord) -> LetterQuery {
    LetterQuery {
        generation: Some(generation.id),
        limit: 100,
        ..LetterQuery::default()
    }
}

pub(in crate::tables) fn parked_events_go_in_with_the_rows_and_out_with_them(database: &Database) {
    let store = (database.open)();
    let generation = build(&*store, &notes("1.0.0"));
    let other = build(&*store, &notes("1.1.0"));
    let mut writer = store.writer(&generation).unwrap();
    let letters = vec![
        letter(&generation, 3, "s-2", None),
        letter(&generation, 4, "s-1", None),
        letter(&generation, 7, "s-2", Some(2)),
    ];
    let parking = with(flush(0, 8, &[(0, vec![row("a")])]), park(0, letters.clone()));
    // Where the rows cannot go in, nothing is parked.
    let mut wrong = parking.clone();
    wrong.from = at(2);
    assert!(writer.flush(&wrong, true).is_err());
    assert_eq!(store.dead_letters(&of(&generation)).unwrap(), []);
    writer.flush(&parking, true).unwrap();
    let read = store.dead_letters(&of(&generation)).unwrap();
    assert_eq!(read, letters, "as they were given, in the order of the log");
    let stream = LetterQuery {
        stream_id: Some("s-2".to_owned()),
        after: Position(3),
        ..of(&generation)
    };
    assert_eq!(store.dead_letters(&stream).unwrap(), letters[2..]);
    let event = LetterQuery {
        projection: Some(plugin("notes")),
        event_id: Some(id(4)),
        limit: 1,
        ..LetterQuery::default()
    };
    assert_eq!(store.dead_letters(&event).unwrap(), letters[1..2]);
    let mut book = store.letter_book(generation.id).unwrap();
    book.streams.sort();
    let streams = [("s-1".to_owned(), Position(4)), ("s-2".to_owned(), Position(3))];
    assert_eq!((book.revision, book.events), (0, 3));
    assert_eq!(book.streams, streams);
    assert_eq!(store.letter_book(other.id).unwrap(), Default::default());

    // A try that failed: all that is known of it is replaced.
    let tried = DeadLetter {
        part: None,
        message: "a null \u{0} in it".to_owned(),
        trace: String::new(),
        log: json!([]),
        attempts: 2,
        tried_at: 1_700_000_000_000_009,
        ..letters[0].clone()
    };
    store.save_try(&tried).unwrap();
    let read = store.dead_letters(&of(&generation)).unwrap();
    assert_eq!(
        (read[0].attempts, read[0].part, &read[0].log),
        (2, None, &json!([]))
    );
    assert!(read[0].message.starts_with("a null ") && read[0].message.ends_with(" in it"));
    let behind: Vec<_> = read.iter().map(|letter| letter.behind).collect();
    assert_eq!(
        behind,
        [None, None, Some(Position(3))],
        "its stream waits behind it"
    );

    // Replayed at the same checkpoint: out of the letters with the rows.
    let replay = with(
        flush(8, 8, &[(0, vec![row("b")])]),
        LetterFlush {
            reordered_at: Some(5),
            ..release(0, &[3])
        },
    );
    writer.flush(&replay, true).unwrap();
    let rows = store.reader(&generation).unwrap().scan(0, None, 10).unwrap();
    assert_eq!(rows, [row("a"), row("b")]);
    let counts = LetterCounts {
        events: 2,
        streams: 2,
        is_reordered: true,
    };
    assert_eq!(store.letter_counts().unwrap(), [(generation.id, counts)]);
    let book = store.letter_book(generation.id).unwrap();
    assert_eq!((book.revision, book.events, book.is_reordered), (1, 2, true));
    let rest = with(flush(8, 9, &[]), release(1, &[4, 7]));
    writer.flush(&rest, true).unwrap();
    assert_eq!(store.dead_letters(&of(&generation)).unwrap(), []);
    let is_reordered = store.letter_counts().unwrap()[0].1.is_reordered;
    assert!(is_reordered, "it stays said");
    drop(writer);
    store.drop_generation(generation.id).unwrap();
    assert_eq!(store.letter_counts().unwrap(), []);
}

pub(in crate::tables) fn a_writer_that_missed_a_replay_or_a_discard_writes_nothing(database: &Database) {
    let store = (database.open)();
    let generation = build(&*store, &notes("1.0.0"));
    let mut old = store.writer(&generation).unwrap();
    let parked = vec![
        letter(&generation, 1, "s-1", None),
        letter(&generation, 2, "s-1", Some(1)),
    ];
    old.flush(&with(flush(0, 2, &[]), park(0, parked)), true).unwrap();
    let mut new = (database.open)().writer(&generation).unwrap();
    let replay = with(flush(2, 2, &[(0, vec![row("new")])]), release(0, &[1]));
    new.flush(&replay, true).unwrap();
    // The checkpoint is where the old writer thinks; what it has in memory is out of date all the same.
    let stale = with(
        flush(2, 3, &[(0, vec![row("stale")])]),
        park(0, vec![letter(&generation, 3, "s-1", Some(1))]),
    );
    let refused = old.flush(&stale, true);
    assert!(
        matches!(refused, Err(StoreError::LettersMoved { generation: named }) if named == generation.id),
        "{refused:?}"
    );
    // A replay that is repeated after an unknown commit is noticed too.
    assert!(matches!(
        new.flush(&replay, true),
        Err(StoreError::LettersMoved { .. })
    ));
    assert_eq!(stored(&*store, generation.id).checkpoint, at(2));
    let rows = store.reader(&generation).unwrap().scan(0, None, 10).unwrap();
    assert_eq!(rows, [row("new")]);
    assert_eq!(store.dead_letters(&of(&generation)).unwrap().len(), 1);
}

pub(in crate::tables) fn a_discard_takes_an_event_out_of_every_generation(database: &Database) {
    let store = (database.open)();
    let (one, two) = (build(&*store, &notes("1.0.0")), build(&*store, &notes("1.1.0")));
    for generation in [&one, &two] {
        let parked = vec![
            letter(generation, 5, "s-1", None),
            letter(generation, 6, "s-1", Some(5)),
        ];
        let parking = with(flush(0, 6, &[]), park(0, parked));
        store.writer(generation).unwrap().flush(&parking, true).unwrap();
    }
    let discard = Discard {
        projection: plugin("notes"),
        event_id: id(5),
        position: Position(5),
        stream_id: "s-1".to_owned(),
        event_type: "Ordered".to_owned(),
        reason: "nobody ordered it".to_owned(),
        by: "ada".to_owned(),
        at: 1_700_000_000_000_000,
        message: "it is wrong".to_owned(),
    };
    assert_eq!(store.discard(std::slice::from_ref(&discard)).unwrap(), 2);
    for generation in [&one, &two] {
        let book = store.letter_book(generation.id).unwrap();
        assert_eq!((book.revision, book.events), (1, 1));
        assert_eq!(book.streams, [("s-1".to_owned(), Position(6))]);
    }
    // The first decision stands.
    let again = Discard {
        reason: "on second thought".to_owned(),
        ..discard.clone()
    };
    assert_eq!(store.discard(&[again]).unwrap(), 0);
    assert_eq!(store.letter_book(one.id).unwrap().revision, 1);
    let known = [discard];
    assert_eq!(store.discards(None).unwrap(), known);
    assert_eq!(store.discards(Some(&plugin("notes"))).unwrap(), known);
    assert_eq!(store.discards(Some(&plugin("others"))).unwrap(), []);
}

pub(in crate::tables) fn decisions_come_a_page_at_a_time(database: &Database) {
    let store = (database.open)();
    let discard = |projection: &str, position: u64, stream: &str| Discard {
        projection: plugin(projection),
        event_id: EventId(uuid::Uuid::from_u128(u128::from(position))),
        position: Position(position),
        stream_id: stream.to_owned(),
        event_type: "Noted".to_owned(),
        reason: "nobody ordered it".to_owned(),
        by: String::new(),
        at: 1_700_000_000_000_000,
        message: "it is wrong".to_owned(),
    };
    // In an order of languages the '-' would not count, and '_' come first.
    let all = [
        discard("a-z", 3, "s-1"),
        discard("a_b", 3, "s-1"),
        discard("ab", 3, "s-1"),
        discard("ab", 5, "s-2"),
        discard("a-z", 7, "s-1"),
    ];
    let mut shuffled = all.to_vec();
    shuffled.reverse();
    store.discard(&shuffled).unwrap();
    for limit in 1..=6 {
        let mut query = DiscardQuery {
            projection: None,
            stream_id: None,
            after: None,
            limit,
        };
        let mut found = Vec::new();
        loop {
            let page = store.discard_page(&query).unwrap();
            assert!(page.len() as u64 <= limit);
            let Some(last) = page.last() else { break };
            query.after = Some((last.position, last.projection.to_string()));
            found.extend(page);
        }
        assert_eq!(found, all, "{limit} at a time");
    }
    let of_one = DiscardQuery {
        projection: Some(plugin("ab")),
        stream_id: Some("s-1".to_owned()),
        after: None,
        limit: 10,
    };
    assert_eq!(store.discard_page(&of_one).unwrap(), all[2..3]);
}

pub(in crate::tables) fn a_switch_to_one_that_parks_more_needs_a_decision(database: &Database) {
    let store = (database.open)();
    let (one, two) = (build(&*store, &notes("1.0.0")), build(&*store, &notes("1.1.0")));
    let both = |generation| letter(generation, 2, "s-1", None);
    let mut writer = store.writer(&one).unwrap();
    let parking = with(flush(0, 4, &[]), park(0, vec![both(&one)]));
    super::cut_over(&*store, &mut *writer, &parking, &switch(None, &one, 1));
    let mut writer = store.writer(&two).unwrap();
    let undecided = crate::tables::Switch {
        parks_no_more: true,
        ..switch(Some(&one), &two, 2)
    };
    store.prepare_switch(&undecided).unwrap();
    // What it parks in the very flush of the switch counts too.
    let more = vec![both(&two), letter(&two, 4, "s-2", None)];
    let parking = with(flush(0, 4, &[]), park(0, more));
    let error = writer.switch(&parking, &undecided).unwrap_err().to_string();
    assert!(
        error.contains("position 4") && error.contains("`lamphouse cutover notes`"),
        "{error}"
    );
    assert_eq!(stored(&*store, one.id).state, GenerationState::Live);
    assert_eq!(
        store.dead_letters(&of(&two)).unwrap(),
        [],
        "nothing of it went in"
    );
    writer.flush(&parking, false).unwrap();
    let current = |store: &dyn crate::tables::TableStore| {
        let query = LetterQuery {
            skip_retired: true,
            limit: 100,
            ..LetterQuery::default()
        };
        let letters = store.dead_letters(&query).unwrap();
        letters
            .iter()
            .map(|letter| (letter.position.0, letter.generation))
            .collect::<Vec<_>>()
    };
    assert_eq!(current(&*store), [(2, one.id), (2, two.id), (4, two.id)]);
    // A page may end between two generations that have parked the same event.
    let mut query = LetterQuery {
        limit: 1,
        ..LetterQuery::default()
    };
    let mut pages = Vec::new();
    while let Some(letter) = store.dead_letters(&query).unwrap().pop() {
        pages.push((letter.position.0, letter.generation));
        (query.after, query.after_generation) = (letter.position, Some(letter.generation));
    }
    assert_eq!(pages, [(2, one.id), (2, two.id), (4, two.id)]);
    let (first, events) = store.parked_beyond(two.id, one.id).unwrap().unwrap();
    assert_eq!((first.position, events), (Position(4), 1));
    assert_eq!(store.parked_beyond(one.id, two.id).unwrap(), None);
    let decided = switch(Some(&one), &two, 3);
    super::cut_over(&*store, &mut *writer, &flush(4, 4, &[]), &decided);
    assert_eq!(
        current(&*store),
        [(2, two.id), (4, two.id)],
        "the other one is retired"
    );
    assert_eq!(stored(&*store, two.id).state, GenerationState::Live);
}
