//! The public names go from one generation to another, whole.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use lamphouse_contract::{ColumnType, Row, Value};

use super::{Database, at, build, cut_over, decimal, flush, notes, stored, switch, text};
use crate::core::PluginDigest;
use crate::tables::{
    Finish, GenerationRecord, GenerationState, Hold, StoreError, Switch, TableStore, sample,
};

fn order(id: &str, total: &str) -> Row {
    Box::new([
        text(id),
        Value::Null,
        text("Norway"),
        Value::Integer(1),
        decimal(total),
        Value::Timestamp(0),
    ])
}

fn shown(values: &[&str]) -> Vec<Vec<Option<String>>> {
    values
        .iter()
        .map(|value| vec![Some((*value).to_owned())])
        .collect()
}

pub(in crate::tables) fn a_switch_levels_the_rows_and_makes_them_public(database: &Database) {
    let store = (database.open)();
    let descriptor = sample::descriptor("sales", "1.0.0", vec![sample::orders(), sample::customers()]);
    let first = build(&*store, &descriptor);
    assert!(
        (database.user)().rows("SELECT * FROM orders").is_err(),
        "public before its time"
    );
    let mut writer = store.writer(&first).unwrap();
    writer
        .flush(&flush(0, 3, &[(0, vec![order("a", "1.00")])]), false)
        .unwrap();
    store.create_indexes(&first).unwrap();
    store.set_state(first.id, GenerationState::Ready, None).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(3, 4, &[(0, vec![order("b", "2.00")])]),
        &switch(None, &first, 77),
    );

    let live = stored(&*store, first.id);
    assert_eq!(
        (live.state, live.live_at, live.checkpoint),
        (GenerationState::Live, Some(77), at(4))
    );
    let mut user = (database.user)();
    assert_eq!(
        user.rows("SELECT order_id FROM orders ORDER BY 1").unwrap(),
        shown(&["a", "b"])
    );
    assert_eq!(
        user.rows("SELECT total FROM orders WHERE order_id = 'b'")
            .unwrap(),
        shown(&["2.00"])
    );
    let public = store.public_tables().unwrap();
    let names: Vec<&str> = public.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "orders"]);
    assert!(
        public
            .iter()
            .all(|table| table.generation == first.id && table.projection == first.projection)
    );

    // Live flushes are seen at once.
    writer
        .flush(&flush(4, 5, &[(0, vec![order("c", "3.00")])]), true)
        .unwrap();
    assert_eq!(user.rows("SELECT count(*) FROM orders").unwrap(), shown(&["3"]));

    // And back and forth, with the hold that a rollback records.
    let second = build(
        &*store,
        &sample::descriptor("sales", "1.1.0", descriptor.tables.clone()),
    );
    let mut second_writer = store.writer(&second).unwrap();
    cut_over(
        &*store,
        &mut *second_writer,
        &flush(0, 5, &[(0, vec![order("z", "9.00")])]),
        &switch(Some(&first), &second, 88),
    );
    assert_eq!(user.rows("SELECT order_id FROM orders").unwrap(), shown(&["z"]));
    let old = stored(&*store, first.id);
    assert_eq!((old.state, old.retired_at), (GenerationState::Retired, Some(88)));
    let hold = Hold {
        generation: first.id,
        against: PluginDigest::of(b"bad"),
        since: 99,
    };
    let mut back = switch(Some(&second), &first, 99);
    back.hold = Some(hold.clone());
    cut_over(&*store, &mut *writer, &flush(5, 5, &[]), &back);
    assert_eq!(user.rows("SELECT count(*) FROM orders").unwrap(), shown(&["3"]));
    assert_eq!(store.projections().unwrap()[0].held, Some(hold));
    let again = stored(&*store, first.id);
    assert_eq!(
        (again.state, again.live_at, again.retired_at),
        (GenerationState::Live, Some(99), None)
    );
    cut_over(
        &*store,
        &mut *second_writer,
        &flush(5, 5, &[]),
        &switch(Some(&first), &second, 111),
    );
    assert_eq!(
        store.projections().unwrap()[0].held,
        None,
        "a cutover clears the hold"
    );
}

pub(in crate::tables) fn a_switch_that_comes_too_late_or_too_early_does_nothing(database: &Database) {
    let store = (database.open)();
    let [first, second, third] = ["1.0.0", "1.1.0", "1.2.0"].map(|version| build(&*store, &notes(version)));
    let mut writer = store.writer(&first).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 10, &[]),
        &switch(None, &first, 1),
    );
    let row: Row = Box::new([text("new")]);
    let rows = [(0, vec![row])];

    // Behind the public one: it would take readers back in time.
    let mut writer = store.writer(&second).unwrap();
    let plan = switch(Some(&first), &second, 2);
    store.prepare_switch(&plan).unwrap();
    match writer.switch(&flush(0, 9, &rows), &plan) {
        Err(StoreError::CheckpointMoved {
            generation, actual, ..
        }) => {
            assert_eq!((generation, actual.0), (first.id, 10));
        }
        other => panic!("expected CheckpointMoved, got {other:?}"),
    }
    // Its own checkpoint moved.
    let moved = writer.switch(&flush(3, 10, &rows), &plan);
    assert!(
        matches!(moved, Err(StoreError::CheckpointMoved { .. })),
        "{moved:?}"
    );
    assert_eq!(writer.checkpoint().unwrap(), at(0), "nothing was written");
    assert_eq!(stored(&*store, first.id).state, GenerationState::Live);
    cut_over(&*store, &mut *writer, &flush(0, 10, &rows), &plan);

    // Somebody else switched in between.
    let mut writer = store.writer(&third).unwrap();
    for stale in [switch(Some(&first), &third, 3), switch(None, &third, 3)] {
        let refused = refusal(&*store, &stale, || writer.switch(&flush(0, 11, &rows), &stale));
        assert!(refused.contains(&second.id.to_string()), "{refused}");
    }
    assert_eq!(writer.checkpoint().unwrap(), at(0));
    store.set_state(third.id, GenerationState::Failed, None).unwrap();
    let failed = switch(Some(&second), &third, 3);
    let refused = refusal(&*store, &failed, || writer.switch(&flush(0, 11, &rows), &failed));
    assert!(refused.contains("failed"), "{refused}");
    assert_eq!(
        (database.user)().rows("SELECT id FROM notes").unwrap(),
        shown(&["new"])
    );
}

pub(in crate::tables) fn a_switch_may_leave_tables_that_follow_another_log(database: &Database) {
    let store = (database.open)();
    let [first, second] = ["1.0.0", "1.1.0"].map(|version| build(&*store, &notes(version)));
    let mut writer = store.writer(&first).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 10, &[]),
        &switch(None, &first, 1),
    );
    // The new one's log is younger: position 3 is its head.
    let plan = Switch {
        from_diverged: true,
        ..switch(Some(&first), &second, 2)
    };
    let mut writer = store.writer(&second).unwrap();
    cut_over(&*store, &mut *writer, &flush(0, 3, &[]), &plan);
    assert_eq!(stored(&*store, second.id).state, GenerationState::Live);
    assert_eq!(stored(&*store, first.id).state, GenerationState::Retired);
}

/// The text of a switch that must be refused, be it in its preparation or in itself.
fn refusal(
    store: &dyn TableStore,
    plan: &crate::tables::Switch,
    switch: impl FnOnce() -> Result<(), StoreError>,
) -> String {
    match store.prepare_switch(plan).and_then(|()| switch()) {
        Err(StoreError::SwitchRefused(text)) => text,
        other => panic!("expected SwitchRefused, got {other:?}"),
    }
}

pub(in crate::tables) fn a_name_that_is_taken_is_refused_by_name(database: &Database) {
    let store = (database.open)();
    let first = build(&*store, &notes("1.0.0"));
    let mut writer = store.writer(&first).unwrap();
    cut_over(&*store, &mut *writer, &flush(0, 1, &[]), &switch(None, &first, 1));

    let thief = sample::table("notes", vec![sample::column("id", ColumnType::Text)], &[0], &[]);
    let thief = build(&*store, &sample::descriptor("thief", "1.0.0", vec![thief]));
    let mut writer = store.writer(&thief).unwrap();
    let plan = switch(None, &thief, 2);
    let refused = refusal(&*store, &plan, || writer.switch(&flush(0, 1, &[]), &plan));
    assert!(refused.contains("'notes'"), "{refused}");

    (database.user)().run("CREATE TABLE mine (id integer)").unwrap();
    let other = sample::table("mine", vec![sample::column("id", ColumnType::Text)], &[0], &[]);
    let other = build(&*store, &sample::descriptor("other", "1.0.0", vec![other]));
    let mut writer = store.writer(&other).unwrap();
    let plan = switch(None, &other, 2);
    let refused = refusal(&*store, &plan, || writer.switch(&flush(0, 1, &[]), &plan));
    assert!(refused.contains("'mine'"), "{refused}");
    assert_eq!(stored(&*store, other.id).state, GenerationState::Building);
}

pub(in crate::tables) fn a_breaking_switch_needs_the_word_and_spares_views_of_the_user(database: &Database) {
    let store = (database.open)();
    let more = sample::table("extras", vec![sample::column("id", ColumnType::Text)], &[0], &[]);
    let tables = vec![sample::orders(), more];
    let first = build(&*store, &sample::descriptor("sales", "1.0.0", tables.clone()));
    let mut writer = store.writer(&first).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 1, &[(0, vec![order("a", "1.00")])]),
        &switch(None, &first, 1),
    );
    let mut user = (database.user)();
    user.run("CREATE VIEW big_orders AS SELECT order_id, total FROM orders WHERE lines > 0")
        .unwrap();
    user.run("CREATE VIEW harmless AS SELECT 1 AS one").unwrap();

    // Appended columns and tables: the user's view goes on.
    let mut wider = sample::orders();
    wider.columns.push(sample::nullable("note", ColumnType::Text));
    let new = sample::table(
        "countries",
        vec![sample::column("id", ColumnType::Text)],
        &[0],
        &[],
    );
    let second = sample::descriptor("sales", "1.1.0", vec![wider, tables[1].clone(), new]);
    let second = build(&*store, &second);
    let mut row = order("a", "2.00").into_vec();
    row.push(text("wide"));
    let mut writer = store.writer(&second).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 1, &[(0, vec![row.into()])]),
        &switch(Some(&first), &second, 2),
    );
    assert_eq!(user.rows("SELECT note FROM orders").unwrap(), shown(&["wide"]));
    assert_eq!(
        user.rows("SELECT count(*) FROM countries").unwrap(),
        shown(&["0"])
    );
    assert_eq!(
        user.rows("SELECT total FROM big_orders").unwrap(),
        shown(&["2.00"])
    );

    // Without `lines` and the other tables.
    let mut narrower = sample::orders();
    narrower.columns.remove(3);
    narrower.indexes = vec![];
    let third = build(&*store, &sample::descriptor("sales", "2.0.0", vec![narrower]));
    let mut row = order("a", "3.00").into_vec();
    row.remove(3);
    let level = flush(0, 1, &[(0, vec![row.into()])]);
    let mut writer = store.writer(&third).unwrap();
    let mut plan = switch(Some(&second), &third, 3);
    let refused = refusal(&*store, &plan, || writer.switch(&level, &plan));
    for word in ["orders.lines", "extras", "countries", "--breaking"] {
        assert!(refused.contains(word), "{refused}");
    }
    plan.breaking = true;
    let refused = refusal(&*store, &plan, || writer.switch(&level, &plan));
    assert!(refused.contains("big_orders"), "{refused}");
    assert!(!refused.contains("harmless"), "{refused}");
    assert_eq!(
        user.rows("SELECT total FROM big_orders").unwrap(),
        shown(&["2.00"])
    );
    assert_eq!(writer.checkpoint().unwrap(), at(0), "nothing was written");

    user.run("DROP VIEW big_orders").unwrap();
    cut_over(&*store, &mut *writer, &level, &plan);
    assert_eq!(user.rows("SELECT total FROM orders").unwrap(), shown(&["3.00"]));
    assert!(user.rows("SELECT lines FROM orders").is_err());
    assert!(
        user.rows("SELECT * FROM countries").is_err(),
        "a table that is gone is still public"
    );
    assert_eq!(store.public_tables().unwrap().len(), 1);
    store.drop_generation(first.id).unwrap();
    store.drop_generation(second.id).unwrap();
}

/// Rows of one generation: both tables carry its number, and there are more of them in each.
fn marked(generation: usize) -> Vec<(usize, Vec<Row>)> {
    let rows = |_| {
        (0..20 + generation)
            .map(|id| -> Row { Box::new([text(&format!("{id:04}")), Value::Integer(generation as i64)]) })
            .collect()
    };
    (0..2).map(|table| (table, rows(table))).collect()
}

pub(in crate::tables) fn readers_see_one_generation_whole_through_many_switches(database: &Database) {
    let store = (database.open)();
    let table = |name| {
        let columns = vec![
            sample::column("id", ColumnType::Text),
            sample::column("generation", ColumnType::Integer),
        ];
        sample::table(name, columns, &[0], &[])
    };
    let tables = vec![table("lefts"), table("rights")];
    let generations: Vec<GenerationRecord> = (0..3)
        .map(|place| {
            build(
                &*store,
                &sample::descriptor("pairs", &format!("1.0.{place}"), tables.clone()),
            )
        })
        .collect();
    let mut writers: Vec<_> = generations
        .iter()
        .map(|generation| store.writer(generation).unwrap())
        .collect();
    for (place, writer) in writers.iter_mut().enumerate() {
        writer.flush(&flush(0, 1, &marked(place)), false).unwrap();
    }
    let level = flush(1, 1, &[]);
    cut_over(
        &*store,
        &mut *writers[0],
        &level,
        &switch(None, &generations[0], 1),
    );

    let (done, saw_a_switch) = (AtomicBool::new(false), AtomicUsize::new(0));
    let read = |sql: &str| {
        let mut user = (database.user)();
        let mut seen = BTreeSet::new();
        while !done.load(Ordering::Relaxed) {
            let rows = user.rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            if seen.insert(whole(&rows)) && seen.len() == 2 {
                saw_a_switch.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let switches_min = if database.is_postgres { 20 } else { 100 };
    let joined = "SELECT l.generation, r.generation FROM lefts l JOIN rights r ON r.id = l.id";
    let backward = "SELECT l.generation, r.generation FROM rights r JOIN lefts l ON r.id = l.id";
    let alone = "SELECT generation, generation FROM rights";
    let start = Instant::now();
    std::thread::scope(|scope| {
        let readers = [joined, backward, alone].map(|sql| scope.spawn(move || read(sql)));
        let mut turn = 0;
        while turn < switches_min || saw_a_switch.load(Ordering::Relaxed) < readers.len() {
            let (from, to) = (turn % 3, (turn + 1) % 3);
            let plan = switch(Some(&generations[from]), &generations[to], 2);
            cut_over(&*store, &mut *writers[to], &level, &plan);
            turn += 1;
            // A reader ends by itself only when it saw something wrong.
            if readers.iter().any(ScopedJoinHandle::is_finished) || start.elapsed() > TIME_MAX {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            if let Err(wrong) = reader.join() {
                std::panic::resume_unwind(wrong);
            }
        }
    });
    assert_eq!(
        saw_a_switch.into_inner(),
        3,
        "a reader that saw no switch shows nothing"
    );
}

/// How long readers may take to see a switch on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(120);

/// The generation that all of these rows are of; panics when they are of two, or not all of one.
fn whole(rows: &[Vec<Option<String>>]) -> usize {
    let first = rows
        .first()
        .and_then(|row| row[0].as_deref())
        .unwrap_or_else(|| panic!("nothing to see"));
    assert!(
        rows.iter().flatten().all(|value| value.as_deref() == Some(first)),
        "a mixture: {rows:?}"
    );
    let generation = first.parse().unwrap();
    assert_eq!(
        rows.len(),
        20 + generation,
        "not all rows of generation {generation}"
    );
    generation
}

pub(in crate::tables) fn a_switch_waits_at_its_end_for_no_one_when_nobody_reads(database: &Database) {
    let store = (database.open)();
    let generation = build(&*store, &notes("1.0.0"));
    assert_eq!(store.finish_switch(&generation.projection).unwrap(), Finish::Done);
    let mut writer = store.writer(&generation).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 1, &[]),
        &switch(None, &generation, 1),
    );
    assert_eq!(store.finish_switch(&generation.projection).unwrap(), Finish::Done);
}
