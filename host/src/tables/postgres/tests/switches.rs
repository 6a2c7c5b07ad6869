//! Cutovers under readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sqlx::Row as _;

use super::fixture::{Connection, ROWS, Scratch, built, finished, go_live};
use crate::tables::conformance::{User as _, flush, plugin, stored, switch};
use crate::tables::{Finish, GenerationState, StoreError};

/// A reader that goes on until it is told to stop; gives how often it read.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Reader {
    fn start(url: &str, read: impl Fn(&mut Connection) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let mut connection = Connection::new(url);
        let thread = std::thread::spawn(move || {
            let mut reads = 0;
            while !told.load(Ordering::Relaxed) {
                read(&mut connection);
                reads += 1;
            }
            reads
        });
        Self { stop, thread }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// All rows of both tables, all of one generation; gives which.
fn whole(rows: &[Vec<Option<String>>]) -> String {
    assert_eq!(rows.len(), ROWS, "not all rows");
    let first = rows[0][0].clone().unwrap();
    for row in rows {
        assert!(
            row.iter().all(|value| value.as_ref() == Some(&first)),
            "a mixture: {first} and {row:?}"
        );
    }
    first
}

const ORDERS_FIRST: &str = "SELECT o.made_by, c.made_by FROM orders o JOIN customers c USING (id)";
const CUSTOMERS_FIRST: &str = "SELECT c.made_by, o.made_by FROM customers c JOIN orders o USING (id)";

#[test]
fn twenty_switches_forth_and_back_are_not_noticed_by_readers() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    finished(&*store);
    scratch
        .user()
        .run("CREATE VIEW users_own AS SELECT made_by, count(*) AS n FROM orders GROUP BY 1")
        .unwrap();

    // Begins while the second generation is being built, and stays open over a switch.
    let mut during_the_build = scratch.user();
    during_the_build
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .unwrap();
    during_the_build.one("SELECT 1");
    let two = built(&*store, 1);
    let three = built(&*store, 1);

    let mut readers = vec![
        Reader::start(&scratch.url, |user| {
            drop(whole(&user.rows(ORDERS_FIRST).unwrap()))
        }),
        Reader::start(&scratch.url, |user| {
            drop(whole(&user.rows(CUSTOMERS_FIRST).unwrap()))
        }),
        Reader::start(&scratch.url, |user| {
            // Several statements in one transaction, in the order that deadlocks with view swaps.
            user.run("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
            let first = whole(&user.rows("SELECT made_by FROM customers").unwrap());
            let second = whole(&user.rows("SELECT made_by FROM orders").unwrap());
            assert_eq!(first, second);
            user.run("COMMIT").unwrap();
        }),
        Reader::start(&scratch.url, |user| {
            let rows = user
                .prepared("SELECT o.made_by FROM orders o JOIN customers c USING (id, made_by)")
                .unwrap();
            assert_eq!(rows.len(), ROWS);
            let first: i64 = rows[0].try_get(0).unwrap();
            assert!(rows.iter().all(|row| row.try_get::<i64, _>(0).unwrap() == first));
        }),
        Reader::start(&scratch.url, |user| {
            let rows = user.rows("SELECT n FROM users_own").unwrap();
            assert_eq!(rows, [[Some(ROWS.to_string())]]);
        }),
    ];
    let held_open = AtomicUsize::new(0);
    let began = Instant::now();
    let mut live = &one;
    let others = [&two, &three];
    for number in 0..24 {
        // Forth and back between two, then to a third, which has to wait for the end of the one before.
        let next = if live.id == one.id {
            others[number / 2 % 2]
        } else {
            &one
        };
        let mut tries = 0;
        loop {
            match go_live(&*store, Some(live), next) {
                Ok(()) => break,
                Err(StoreError::Unavailable(why)) => {
                    tries += 1;
                    assert!(tries < 400, "{why}");
                    if number == 2 && held_open.fetch_add(1, Ordering::Relaxed) == 0 {
                        // The transaction of the build is what it waits for.
                        assert!(why.contains("waits for the end"), "{why}");
                        let seen = whole(&during_the_build.rows(ORDERS_FIRST).unwrap());
                        assert_eq!(
                            seen,
                            one.id.0.to_string(),
                            "its snapshot is from before the first switch"
                        );
                        during_the_build.run("COMMIT").unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => panic!("switch {number}: {error}"),
            }
        }
        live = next;
        assert_eq!(stored(&*store, live.id).state, GenerationState::Live);
        if number == 12 {
            let url = scratch.url.clone();
            // Held open for two seconds: the switches go on or wait, and nobody fails.
            readers.push(Reader {
                stop: Arc::default(),
                thread: std::thread::spawn(move || {
                    let mut user = Connection::new(&url);
                    user.run("BEGIN").unwrap();
                    whole(&user.rows(ORDERS_FIRST).unwrap());
                    std::thread::sleep(Duration::from_secs(2));
                    whole(&user.rows(CUSTOMERS_FIRST).unwrap());
                    user.run("COMMIT").unwrap();
                    1
                }),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        held_open.into_inner() > 0,
        "the third generation did not wait for the REPEATABLE READ reader"
    );
    let took = began.elapsed();
    let reads: Vec<usize> = readers.into_iter().map(Reader::stop).collect();
    finished(&*store);
    eprintln!("24 switches in {took:?}; reads: {reads:?}");
    assert!(reads.iter().all(|reads| *reads > 0));
    assert_eq!(
        whole(&scratch.user().rows(ORDERS_FIRST).unwrap()),
        live.id.0.to_string()
    );
    let definition = scratch.user().one("SELECT pg_get_viewdef('orders'::regclass)");
    assert!(
        !definition.contains("gates"),
        "the view is not direct again: {definition}"
    );
}

#[test]
fn a_switch_is_not_finished_while_an_earlier_transaction_is_open() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    finished(&*store);
    let mut user = scratch.user();
    user.run("SET application_name = 'weekly report'; BEGIN ISOLATION LEVEL REPEATABLE READ")
        .unwrap();
    user.one("SELECT 1");
    let two = built(&*store, 2);
    go_live(&*store, Some(&one), &two).unwrap();

    // The host is started again: what it waits for is known from the database.
    drop(store);
    let store = scratch.open();
    let waiting = store.finish_switch(&plugin("pair")).unwrap();
    assert!(
        matches!(&waiting, Finish::Waiting(who) if who.contains("weekly report")),
        "{waiting:?}"
    );
    let error = store.drop_generation(one.id).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    // It sees the old rows, by both names, and a new connection the new ones.
    assert_eq!(whole(&user.rows(ORDERS_FIRST).unwrap()), one.id.0.to_string());
    assert_eq!(user.one("SELECT count(note) FROM orders"), "0");
    assert_eq!(
        whole(&scratch.user().rows(ORDERS_FIRST).unwrap()),
        two.id.0.to_string()
    );
    assert_eq!(
        scratch.user().one("SELECT count(note) FROM orders"),
        ROWS.to_string()
    );
    user.run("COMMIT").unwrap();
    finished(&*store);
    store.drop_generation(one.id).unwrap();
    assert!(
        store
            .generations()
            .unwrap()
            .iter()
            .all(|generation| generation.id != one.id)
    );
    assert_eq!(
        scratch
            .user()
            .one("SELECT count(*) FROM pg_class WHERE relname = 'orders__g1'"),
        "0"
    );
}

#[test]
fn the_branch_not_taken_is_never_executed_and_conditions_reach_the_key() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    finished(&*store);
    let two = built(&*store, 1);
    go_live(&*store, Some(&one), &two).unwrap();
    store.create_indexes(&one).unwrap();
    store.create_indexes(&two).unwrap();
    let mut user = scratch.user();
    // A table this small is quicker read whole.
    user.run("SET enable_seqscan = off").unwrap();
    let plan: Vec<String> = user
        .rows("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM orders WHERE id = 17")
        .unwrap()
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect();
    let plan = plan.join("\n");
    let line = |name: &str| plan.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("orders__g1").contains("never executed"), "{plan}");
    assert!(!line("orders__g2").contains("never executed"), "{plan}");
    assert!(plan.contains("Index Cond: (id = 17)"), "{plan}");
}

#[test]
fn a_rollback_takes_back_new_tables_and_a_second_cutover_gives_their_grants_again() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let columns = || {
        use lamphouse_contract::ColumnType::Integer;
        vec![
            crate::tables::sample::column("id", Integer),
            crate::tables::sample::column("made_by", Integer),
        ]
    };
    let orders = crate::tables::sample::table("orders", columns(), &[0], &[]);
    let countries = crate::tables::sample::table("countries", columns(), &[0], &[]);
    let version = |name: &str, tables| {
        let descriptor = crate::tables::sample::descriptor("pair", name, tables);
        crate::tables::conformance::build(&*store, &descriptor)
    };
    let one = version("1.0.0", vec![orders.clone()]);
    let two = version("2.0.0", vec![orders, countries]);
    let turn = |from, to| {
        let switch = switch(from, to, 1);
        store.prepare_switch(&switch)?;
        store.writer(to).unwrap().switch(&flush(0, 0, &[]), &switch)
    };
    turn(None, &one).unwrap();
    turn(Some(&one), &two).unwrap();
    let mut user = scratch.user();
    let role = scratch.role("analyst");
    user.run(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON countries TO {role}"
    ))
    .unwrap();
    user.run("COMMENT ON COLUMN countries.id IS 'its number'")
        .unwrap();
    turn(Some(&two), &one).unwrap();
    assert!(
        user.rows("SELECT * FROM countries")
            .unwrap_err()
            .contains("does not exist")
    );
    let names: Vec<String> = store
        .public_tables()
        .unwrap()
        .into_iter()
        .map(|table| table.name)
        .collect();
    assert_eq!(names, ["orders"]);
    turn(Some(&one), &two).unwrap();
    assert_eq!(
        user.one(&format!(
            "SELECT has_table_privilege('{role}', 'countries', 'SELECT')"
        )),
        "t"
    );
    assert_eq!(
        user.one("SELECT col_description('countries'::regclass, 1)"),
        "its number"
    );
    user.run(&format!("DROP OWNED BY {role}")).unwrap();
}

#[test]
fn a_generation_that_was_prepared_and_given_up_can_be_dropped() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    finished(&*store);
    let two = built(&*store, 2);
    store.prepare_switch(&switch(Some(&one), &two, 1)).unwrap();
    assert_eq!(
        whole(&scratch.user().rows(ORDERS_FIRST).unwrap()),
        one.id.0.to_string()
    );
    store.drop_generation(two.id).unwrap();
    assert_eq!(
        whole(&scratch.user().rows(ORDERS_FIRST).unwrap()),
        one.id.0.to_string()
    );
    let three = built(&*store, 2);
    go_live(&*store, Some(&one), &three).unwrap();
    finished(&*store);
    assert_eq!(
        scratch.user().one("SELECT count(note) FROM orders"),
        ROWS.to_string()
    );
    let error = store.drop_generation(three.id).unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
}

#[test]
fn a_switch_that_is_behind_or_stale_does_nothing() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    finished(&*store);
    let two = built(&*store, 1);
    store
        .writer(&one)
        .unwrap()
        .flush(&flush(10, 12, &[]), true)
        .unwrap();
    let error = go_live(&*store, Some(&one), &two).unwrap_err();
    assert!(
        matches!(error, StoreError::CheckpointMoved { generation, .. } if generation == one.id),
        "{error}"
    );
    let error = go_live(&*store, None, &two).unwrap_err();
    assert!(
        matches!(&error, StoreError::SwitchRefused(text) if text.contains("now shows g1")),
        "{error}"
    );
    assert_eq!(stored(&*store, two.id).checkpoint.position.0, 10);
    assert_eq!(
        whole(&scratch.user().rows(ORDERS_FIRST).unwrap()),
        one.id.0.to_string()
    );
}

#[test]
fn a_name_that_is_taken_is_refused_by_name() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    scratch.user().run("CREATE TABLE customers (mine text)").unwrap();
    let one = built(&*store, 1);
    let error = go_live(&*store, None, &one).unwrap_err();
    assert!(
        matches!(&error, StoreError::SwitchRefused(text) if text.contains("table customers")),
        "{error}"
    );
    assert!(store.public_tables().unwrap().is_empty());
}
