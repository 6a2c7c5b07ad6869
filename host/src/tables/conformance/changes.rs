//! Row changes: those of public generations, once each, in one sequence without gaps in the order of the commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lamphouse_contract::{ColumnType, Key, Row, Value};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value as Json;

use super::{Database, at, build, cut_over, flush, key, notes, switch, text};
use crate::core::GenerationId;
use crate::tables::changes::JUMP;
use crate::tables::{
    ChangeKind, Checkpoint, Flush, GenerationRecord, QueryLimits, Refetch, RowChange, StoreError, TableFlush,
    TableStore, TableWriter, sample,
};

/// A public generation of a descriptor at position 1, and its writer.
fn live(
    store: &dyn TableStore,
    descriptor: &Arc<lamphouse_contract::Descriptor>,
) -> (GenerationRecord, Box<dyn TableWriter>) {
    let generation = build(store, descriptor);
    let mut writer = store.writer(&generation).unwrap();
    cut_over(
        store,
        &mut *writer,
        &flush(0, 1, &[]),
        &switch(None, &generation, 1),
    );
    (generation, writer)
}

/// `NAME(id text key, n integer)`.
fn counts(name: &str) -> Arc<lamphouse_contract::Descriptor> {
    let columns = vec![
        sample::column("id", ColumnType::Text),
        sample::column("n", ColumnType::Integer),
    ];
    sample::descriptor(name, "1.0.0", vec![sample::table(name, columns, &[0], &[])])
}

/// Everything after a sequence.
fn all(store: &dyn TableStore, mut after: u64) -> Vec<RowChange> {
    let mut found = Vec::new();
    loop {
        let page = store.changes(after, 7).unwrap();
        let Some(last) = page.changes.last() else {
            return found;
        };
        after = last.sequence;
        found.extend(page.changes);
    }
}

/// Kind, table and key, for comparing.
fn shown(changes: &[RowChange]) -> Vec<String> {
    let one = |change: &RowChange| match change.kind {
        ChangeKind::MustRefetch(reason) => format!("{} {}", reason.word(), change.table),
        kind => format!(
            "{} {} {}",
            kind.words().0,
            change.table,
            change.key.as_deref().unwrap()
        ),
    };
    changes.iter().map(one).collect()
}

/// A table as its changes make it: rows by their keys.
fn replay(copy: &mut BTreeMap<String, Json>, change: &RowChange) {
    let key = change.key.clone().unwrap_or_default();
    match change.kind {
        ChangeKind::Put => {
            let row = serde_json::from_str(change.row.as_deref().unwrap()).unwrap();
            copy.insert(key, row);
        }
        ChangeKind::Remove => {
            copy.remove(&key);
        }
        ChangeKind::MustRefetch(_) => copy.clear(),
    }
}

/// What the public table holds, as its changes show rows.
fn table(store: &dyn TableStore, name: &str) -> BTreeMap<String, Json> {
    let limits = QueryLimits {
        rows_max: 100_000,
        time_max: Duration::from_secs(10),
    };
    let answer = store.query(&format!("SELECT * FROM {name}"), limits).unwrap();
    let rows = answer.rows.into_iter().map(|row| {
        let row: serde_json::Map<String, Json> = answer.columns.iter().cloned().zip(row).collect();
        (format!("{{\"id\":{}}}", row["id"]), Json::Object(row))
    });
    rows.collect()
}

/// Flushes at random: rows of a few keys put and removed, in small flushes and larger ones.
struct Churn {
    random: SmallRng,
    at: Checkpoint,
    position: u64,
    there: std::collections::BTreeSet<String>,
}

impl Churn {
    fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            at: at(1),
            position: 1,
            there: std::collections::BTreeSet::new(),
        }
    }

    fn next(&mut self) -> Flush {
        self.position += 1;
        let mut put: BTreeMap<String, Row> = BTreeMap::new();
        for _ in 0..self.random.random_range(0..4) {
            let id = format!("k{}", self.random.random_range(0..9));
            let n = Value::Integer(i64::from(self.random.random::<i32>()));
            put.insert(id.clone(), Box::new([text(&id), n]));
        }
        let gone: Vec<String> = self
            .there
            .iter()
            .filter(|id| !put.contains_key(*id))
            .filter(|_| self.random.random_range(0..6) == 0)
            .cloned()
            .collect();
        for id in &gone {
            self.there.remove(id);
        }
        self.there.extend(put.keys().cloned());
        let from = std::mem::replace(&mut self.at, at(self.position));
        Flush {
            from,
            to: self.at,
            tables: vec![TableFlush {
                table: 0,
                inserts: Vec::new(),
                upserts: put.into_values().map(Arc::new).collect(),
                removes: gone.iter().map(|id| key(id)).collect::<Vec<Key>>(),
            }],
            letters: None,
        }
    }
}

pub(in crate::tables) fn changes_have_one_sequence_and_replay_to_the_tables(database: &Database) {
    const FLUSHES: u64 = 150;
    let store = (database.open)();
    store.keep_changes(100_000).unwrap();
    let before = store.change_head().unwrap().sequence;
    let (_, one) = live(&*store, &counts("one"));
    let (_, two) = live(&*store, &counts("two"));
    // Not public: it writes rows and no change.
    let hidden = build(&*store, &counts("hidden"));
    let mut building = store.writer(&hidden).unwrap();
    building.flush(&flush(0, 1, &[]), false).unwrap();
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let _ends = Ends(&done);
        let writers: Vec<_> = [(one, 1), (two, 2), (building, 3)]
            .into_iter()
            .map(|(mut writer, seed)| {
                scope.spawn(move || {
                    let mut churn = Churn::new(seed);
                    for _ in 0..FLUSHES {
                        writer.flush(&churn.next(), seed < 3).unwrap();
                    }
                })
            })
            .collect();
        // Another process, which looks all the time.
        let reader = scope.spawn(|| {
            let store = (database.open)();
            let mut seen: Vec<RowChange> = Vec::new();
            let mut after = before;
            loop {
                let last_look = done.load(Ordering::Acquire);
                let page = store.changes(after, 50).unwrap();
                for change in &page.changes {
                    assert_eq!(change.sequence, after + 1, "a gap, or out of order");
                    after = change.sequence;
                }
                let none = page.changes.is_empty();
                seen.extend(page.changes);
                if none && last_look {
                    return seen;
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert_eq!(
        store.change_head().unwrap().sequence,
        seen.last().unwrap().sequence
    );
    assert_eq!(shown(&seen[..2]), ["cutover one", "cutover two"]);
    for name in ["one", "two"] {
        let mut copy = BTreeMap::new();
        let mut position = 0;
        for change in seen.iter().filter(|change| change.table == name) {
            assert!(change.position.0 >= position, "a position went back");
            position = change.position.0;
            replay(&mut copy, change);
        }
        assert!(!copy.is_empty());
        assert_eq!(copy, table(&*store, name));
    }
    assert!(seen.iter().all(|change| change.table != "hidden"));
}

pub(in crate::tables) fn a_flush_that_does_not_go_in_writes_no_change(database: &Database) {
    let store = (database.open)();
    store.keep_changes(1_000).unwrap();
    let (_, mut writer) = live(&*store, &notes("1.0.0"));
    let row = |id: &str| -> Row { Box::new([text(id)]) };
    let start = store.change_head().unwrap().sequence;
    writer.flush(&flush(1, 2, &[(0, vec![row("a")])]), true).unwrap();
    // The same again, small and not, as after an answer that was lost.
    for rows in [vec![row("a")], vec![row("a"), row("b")]] {
        let again = writer.flush(&flush(1, 2, &[(0, rows)]), true);
        assert!(
            matches!(again, Err(StoreError::CheckpointMoved { .. })),
            "{again:?}"
        );
    }
    // It fails at its last row: what it began is undone, and no number is lost.
    let broken: Row = Box::new([text("e"), text("too much")]);
    writer
        .flush(&flush(2, 3, &[(0, vec![row("c"), row("d"), broken])]), true)
        .unwrap_err();
    writer.flush(&flush(2, 3, &[]), true).unwrap();
    writer
        .flush(&flush(3, 4, &[(0, vec![row("b"), row("c")])]), true)
        .unwrap();
    let changes = all(&*store, start);
    assert_eq!(
        shown(&changes),
        [
            "put notes {\"id\":\"a\"}",
            "put notes {\"id\":\"b\"}",
            "put notes {\"id\":\"c\"}"
        ]
    );
    let sequences: Vec<u64> = changes.iter().map(|change| change.sequence - start).collect();
    assert_eq!(sequences, [1, 2, 3]);
    let positions: Vec<u64> = changes.iter().map(|change| change.position.0).collect();
    assert_eq!(positions, [2, 4, 4]);
}

pub(in crate::tables) fn a_change_shows_its_row_as_a_query_does(database: &Database) {
    let store = (database.open)();
    store.keep_changes(1_000).unwrap();
    let (_, mut writer) = live(
        &*store,
        &sample::descriptor("everything", "1.0.0", vec![sample::everything()]),
    );
    let start = store.change_head().unwrap().sequence;
    let full: Row = Box::new([
        Value::Integer(i64::MAX),
        text("one \"two\" \u{1}\n\\"),
        Value::Boolean(true),
        Value::Integer(-7),
        Value::Real(0.5),
        super::decimal("1.2500"),
        text("it's"),
        Value::Bytes(Box::new([0, 255])),
        Value::Timestamp(1_767_225_599_999_999),
        Value::Json("{\"z\": [1,\n true], \"a\": null}".into()),
    ]);
    let mut empty = vec![Value::Null; 10];
    empty[0] = Value::Integer(1);
    empty[1] = text("");
    for (position, row) in [(1, full), (2, empty.into())] {
        writer
            .flush(&flush(position, position + 1, &[(0, vec![row])]), true)
            .unwrap();
    }
    let changes = all(&*store, start);
    let rows: Vec<Json> = changes
        .iter()
        .map(|change| serde_json::from_str(change.row.as_deref().unwrap()).unwrap())
        .collect();
    let limits = QueryLimits {
        rows_max: 10,
        time_max: Duration::from_secs(10),
    };
    let answer = store
        .query("SELECT * FROM everything ORDER BY part DESC", limits)
        .unwrap();
    let asked = answer.rows.into_iter().map(|row| {
        let members: serde_json::Map<String, Json> = answer.columns.iter().cloned().zip(row).collect();
        Json::Object(members)
    });
    assert_eq!(rows, asked.collect::<Vec<_>>());
    assert_eq!(
        changes[0].key.as_deref(),
        Some(r#"{"part":"9223372036854775807","name":"one \"two\" \u0001\n\\"}"#)
    );
}

pub(in crate::tables) fn changes_are_kept_up_to_a_bound_and_off_is_noticed(database: &Database) {
    let store = (database.open)();
    let row = |id: u64| -> Row { Box::new([text(&format!("{id}"))]) };
    // Nobody has turned them on.
    let (_, mut writer) = live(&*store, &notes("1.0.0"));
    let start = store.change_head().unwrap();
    assert_eq!(start.rows_max, 0);
    writer.flush(&flush(1, 2, &[(0, vec![row(0)])]), true).unwrap();
    assert_eq!(store.change_head().unwrap(), start);

    store.keep_changes(10).unwrap();
    let on = store.change_head().unwrap();
    assert!(
        on.sequence > start.sequence + 1,
        "who saw what was before must notice"
    );
    store.keep_changes(10).unwrap();
    assert_eq!(store.change_head().unwrap(), on);
    for position in 2..50 {
        let rows = [(0, vec![row(position)])];
        writer.flush(&flush(position, position + 1, &rows), true).unwrap();
    }
    assert_eq!(all(&*store, on.sequence).len(), 48);
    while store.trim_changes().unwrap() {}
    let kept = all(&*store, on.sequence);
    assert_eq!(kept.len(), 10);
    assert_eq!(kept[0].sequence, on.sequence + 39);
    assert!(!store.trim_changes().unwrap());

    store.keep_changes(0).unwrap();
    let off = store.change_head().unwrap().sequence;
    writer.flush(&flush(50, 51, &[(0, vec![row(50)])]), true).unwrap();
    while store.trim_changes().unwrap() {}
    assert_eq!(all(&*store, 0), []);
    store.keep_changes(10).unwrap();
    assert!(store.change_head().unwrap().sequence > off + 1);
    writer.flush(&flush(51, 52, &[(0, vec![row(51)])]), true).unwrap();
    assert_eq!(shown(&all(&*store, 0)), ["put notes {\"id\":\"51\"}"]);
}

pub(in crate::tables) fn a_crash_that_may_take_commits_back_leaves_numbers_out(database: &Database) {
    let store = (database.open)();
    store.keep_changes(1_000).unwrap();
    let (_, mut writer) = live(&*store, &notes("1.0.0"));
    let before = store.change_head().unwrap().sequence;
    let mut user = (database.user)();
    let forget = if database.is_postgres {
        "UPDATE lamphouse_control.change_counter SET era = '2001-01-01'"
    } else {
        "UPDATE lamphouse_change_counter SET era = 'another run'"
    };
    user.run(forget).unwrap();
    // A host that starts again after the machine did.
    (database.open)().keep_changes(1_000).unwrap();
    let after = store.change_head().unwrap().sequence;
    assert_eq!(after, before + JUMP);
    if database.is_postgres {
        // The server restarts below a host that goes on.
        for (position, rows) in [(1, vec![text("a")]), (2, vec![text("b"), text("c")])] {
            user.run(forget).unwrap();
            let start = store.change_head().unwrap().sequence;
            let rows: Vec<Row> = rows.into_iter().map(|id| -> Row { Box::new([id]) }).collect();
            let count = rows.len() as u64;
            writer
                .flush(&flush(position, position + 1, &[(0, rows)]), true)
                .unwrap();
            let changes = all(&*store, start);
            assert_eq!(changes[0].sequence, start + JUMP + 1);
            assert_eq!(store.change_head().unwrap().sequence, start + JUMP + count);
        }
    }
}

pub(in crate::tables) fn a_switch_marks_every_name_that_it_concerns(database: &Database) {
    let store = (database.open)();
    store.keep_changes(1_000).unwrap();
    let with = |version: &str, names: &[&str]| {
        let tables = names
            .iter()
            .map(|name| sample::table(name, vec![sample::column("id", ColumnType::Text)], &[0], &[]))
            .collect();
        sample::descriptor("shop", version, tables)
    };
    let start = store.change_head().unwrap().sequence;
    let (first, mut old) = live(&*store, &with("1.0.0", &["orders", "returns"]));
    let second = build(&*store, &with("2.0.0", &["orders", "customers"]));
    let mut new = store.writer(&second).unwrap();
    let row = |id: &str| -> Row { Box::new([text(id)]) };
    old.flush(&flush(1, 5, &[(1, vec![row("a")])]), true).unwrap();
    let mut to_second = switch(Some(&first), &second, 2);
    to_second.breaking = true;
    cut_over(
        &*store,
        &mut *new,
        &flush(0, 6, &[(0, vec![row("b"), row("c")])]),
        &to_second,
    );
    // It may follow on; what it writes is nobody's to see.
    old.flush(&flush(5, 7, &[(1, vec![row("d")])]), true).unwrap();
    new.flush(&flush(6, 7, &[(1, vec![row("e")])]), true).unwrap();
    let changes = all(&*store, start);
    assert_eq!(
        shown(&changes),
        [
            "cutover orders",
            "cutover returns",
            "put returns {\"id\":\"a\"}",
            "cutover orders",
            "cutover customers",
            "cutover returns",
            "put customers {\"id\":\"e\"}",
        ]
    );
    let generations: Vec<GenerationId> = changes.iter().map(|change| change.generation).collect();
    assert_eq!(generations[..3], [first.id; 3]);
    assert_eq!(generations[3..], [second.id; 4]);
    assert_eq!(changes[3].position.0, 6);
}

/// Ends the threads of a test, also where it fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

pub(in crate::tables) fn no_change_of_the_old_generation_comes_after_the_mark(database: &Database) {
    const SWITCHES: usize = 12;
    let store = (database.open)();
    store.keep_changes(1_000_000).unwrap();
    let start = store.change_head().unwrap().sequence;
    let (first, one) = live(&*store, &counts("both"));
    let second = build(&*store, &counts("both"));
    let mut two = store.writer(&second).unwrap();
    two.flush(&flush(0, 1, &[]), false).unwrap();
    let stop = AtomicBool::new(false);
    let generations = [first, second];
    std::thread::scope(|scope| {
        let threads: Vec<_> = [(one, 11), (two, 12)]
            .into_iter()
            .map(|(mut writer, seed)| {
                let (orders, taken) = std::sync::mpsc::channel::<crate::tables::Switch>();
                let (done, was_done) = std::sync::mpsc::channel();
                let (store, stop) = (&store, &stop);
                let thread = scope.spawn(move || {
                    let mut churn = Churn::new(seed);
                    while !stop.load(Ordering::Acquire) {
                        match taken.try_recv() {
                            Ok(switch) => {
                                cut_over(&**store, &mut *writer, &churn.next(), &switch);
                                done.send(()).unwrap();
                            }
                            Err(_) => writer.flush(&churn.next(), true).unwrap(),
                        }
                    }
                });
                (orders, was_done, thread)
            })
            .collect();
        let _ends = Ends(&stop);
        let mut live = 0;
        for number in 0..SWITCHES {
            let (from, to) = (&generations[live], &generations[1 - live]);
            // Each writes at a pace of its own, so that positions say nothing.
            let mut order = switch(Some(from), to, 2 + number as i64);
            order.from_diverged = true;
            threads[1 - live].0.send(order).unwrap();
            live = 1 - live;
            let patience = Duration::from_secs(30);
            threads[live].1.recv_timeout(patience).expect("a switch");
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Release);
        for (_, _, thread) in threads {
            thread.join().unwrap();
        }
    });
    let changes = all(&*store, start);
    let (mut public, mut marks, mut rows) = (None, 0, 0);
    for change in &changes {
        if change.kind == ChangeKind::MustRefetch(Refetch::Cutover) {
            (public, marks) = (Some(change.generation), marks + 1);
        } else {
            assert_eq!(
                Some(change.generation),
                public,
                "a change of a generation that is not public"
            );
            rows += 1;
        }
    }
    assert_eq!(marks, SWITCHES + 1);
    assert!(rows > SWITCHES, "only {rows} changes");
}
