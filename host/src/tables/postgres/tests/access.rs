//! Who may see and do what: grants, owners, queries, other versions.

use std::time::Duration;

use lamphouse_contract::{ColumnType, Descriptor};
use serde_json::json;

use super::fixture::{Connection, ROWS, Scratch, built, finished, go_live, runtime};
use crate::tables::conformance::{User as _, build, flush, switch};
use crate::tables::sample::{column, descriptor, table};
use crate::tables::{QueryLimits, StoreError, Switch};

const LIMITS: QueryLimits = QueryLimits {
    rows_max: 1_000,
    time_max: Duration::from_secs(2),
};

#[test]
fn a_role_with_a_grant_on_the_view_alone_reads_through_every_state_of_a_switch() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    let role = scratch.role("shop");
    scratch
        .user()
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON orders TO {role}"
        ))
        .unwrap();
    let mut shop = Connection::new(&scratch.url_of(&role));
    let count = "SELECT count(*) FROM orders";
    assert_eq!(shop.one(count), ROWS.to_string());
    finished(&*store);
    assert_eq!(shop.one(count), ROWS.to_string());
    let two = built(&*store, 2);
    let switch = switch(Some(&one), &two, 1);
    store.prepare_switch(&switch).unwrap();
    assert_eq!(shop.one(count), ROWS.to_string());
    store
        .writer(&two)
        .unwrap()
        .switch(&flush(10, 10, &[]), &switch)
        .unwrap();
    assert_eq!(shop.one("SELECT count(note) FROM orders"), ROWS.to_string());
    finished(&*store);
    assert_eq!(shop.one("SELECT count(note) FROM orders"), ROWS.to_string());
    assert!(
        shop.rows("SELECT * FROM customers")
            .unwrap_err()
            .contains("permission denied")
    );
    assert!(
        shop.rows("SELECT * FROM lamphouse_tables.orders__g2")
            .unwrap_err()
            .contains("permission denied")
    );
    drop(shop);
    scratch.user().run(&format!("DROP OWNED BY {role}")).unwrap();
}

#[test]
fn a_grant_that_is_made_while_a_switch_is_finished_does_not_stop_it() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    go_live(&*store, None, &built(&*store, 1)).unwrap();
    let role = scratch.role("late");
    let mut user = Connection::new(&scratch.url);
    user.run(&format!("CREATE ROLE {role}")).unwrap();
    // The server lets neither of the two wait for the other by a lock: who comes second fails.
    user.run(&format!("BEGIN; GRANT SELECT ON orders TO {role}"))
        .unwrap();
    let granting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(60));
        user.run("COMMIT").unwrap();
        user
    });
    finished(&*store);
    let mut user = granting.join().unwrap();
    assert_eq!(
        user.one(&format!(
            "SELECT has_table_privilege('{role}', 'orders', 'SELECT')::text"
        )),
        "true"
    );
    user.run(&format!("DROP OWNED BY {role}")).unwrap();
}

fn retyped() -> std::sync::Arc<Descriptor> {
    let orders = table(
        "orders",
        vec![
            column("id", ColumnType::Text),
            column("made_by", ColumnType::Integer),
        ],
        &[0],
        &[],
    );
    let customers = table(
        "customers",
        vec![
            column("id", ColumnType::Integer),
            column("made_by", ColumnType::Integer),
        ],
        &[0],
        &[],
    );
    descriptor("pair", "3.0.0", vec![orders, customers])
}

#[test]
fn a_breaking_switch_names_what_it_breaks_and_what_is_built_on_it_and_keeps_grants() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    finished(&*store);
    let role = scratch.role("shop");
    let mut user = scratch.user();
    user.run(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON orders TO {role} WITH GRANT OPTION; \
         GRANT UPDATE (made_by) ON orders TO {role}; GRANT SELECT ON orders TO PUBLIC; \
         COMMENT ON VIEW orders IS 'all the orders''s'; CREATE SCHEMA mine; \
         CREATE VIEW mine.totals AS SELECT count(*) FROM orders"
    ))
    .unwrap();
    let two = build(&*store, &retyped());
    store
        .writer(&two)
        .unwrap()
        .flush(&flush(0, 10, &[]), false)
        .unwrap();
    let gentle = switch(Some(&one), &two, 1);
    let error = store.prepare_switch(&gentle).unwrap_err();
    assert!(
        matches!(&error, StoreError::SwitchRefused(text) if text.contains("'orders.id' was integer, is text")
            && text.contains("--breaking")),
        "{error}"
    );
    let breaking = Switch {
        breaking: true,
        from_diverged: false,
        ..gentle
    };
    for attempt in 0..2 {
        let error = if attempt == 0 {
            store.prepare_switch(&breaking).unwrap_err()
        } else {
            store
                .writer(&two)
                .unwrap()
                .switch(&flush(10, 10, &[]), &breaking)
                .unwrap_err()
        };
        assert!(
            matches!(&error, StoreError::SwitchRefused(text) if text.contains("view mine.totals")),
            "{error}"
        );
    }
    assert_eq!(user.one("SELECT * FROM mine.totals"), ROWS.to_string());
    user.run("DROP VIEW mine.totals").unwrap();
    store.prepare_switch(&breaking).unwrap();
    store
        .writer(&two)
        .unwrap()
        .switch(&flush(10, 10, &[]), &breaking)
        .unwrap();
    finished(&*store);
    assert_eq!(
        user.one("SELECT pg_typeof(id) FROM (SELECT id FROM orders UNION ALL SELECT 'x') x"),
        "text"
    );
    let holds = |user: &mut Connection, what: &str| user.one(&format!("SELECT {what}"));
    assert_eq!(
        holds(
            &mut user,
            &format!("has_table_privilege('{role}', 'orders', 'SELECT WITH GRANT OPTION')")
        ),
        "t"
    );
    assert_eq!(
        holds(
            &mut user,
            &format!("has_column_privilege('{role}', 'orders', 'made_by', 'UPDATE')")
        ),
        "t"
    );
    assert_eq!(
        holds(&mut user, "has_table_privilege('public', 'orders', 'SELECT')"),
        "t"
    );
    assert_eq!(
        holds(&mut user, "obj_description('orders'::regclass)"),
        "all the orders's"
    );
    user.run(&format!("DROP OWNED BY {role}")).unwrap();
}

#[test]
fn one_host_owns_the_tables_and_its_end_frees_them() {
    let Some(scratch) = Scratch::new() else { return };
    let (store, other) = (scratch.open(), scratch.open());
    assert_eq!(other.owner_address().unwrap(), None);
    let mut guard = store.try_own().unwrap().unwrap();
    guard.announce("127.0.0.1:7117").unwrap();
    assert!(other.try_own().unwrap().is_none());
    assert_eq!(other.owner_address().unwrap().as_deref(), Some("127.0.0.1:7117"));
    assert!(guard.is_held());
    let killed = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(scratch.user().one(killed), "t");
    assert!(!guard.is_held());
    assert!(guard.announce("127.0.0.1:1").is_err());
    assert_eq!(other.owner_address().unwrap(), None);
    let second = other.try_own().unwrap().unwrap();
    assert!(!guard.is_held());
    drop(second);
    assert!(store.try_own().unwrap().is_some());
}

#[test]
fn connections_that_were_cut_are_made_again() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    let mut writer = store.writer(&one).unwrap();
    let mut reader = store.reader(&one).unwrap();
    writer.flush(&flush(10, 11, &[]), true).unwrap();
    assert_eq!(reader.scan(0, None, 5).unwrap().len(), 5);
    let cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    scratch.user().one(cut);
    let error = writer.flush(&flush(11, 12, &[]), true).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(matches!(reader.scan(0, None, 5), Err(StoreError::Unavailable(_))));
    assert_eq!(writer.checkpoint().unwrap().position.0, 11);
    writer.flush(&flush(11, 12, &[]), true).unwrap();
    assert_eq!(reader.scan(0, None, 5).unwrap().len(), 5);
    assert_eq!(store.generations().unwrap().len(), 1);
}

#[test]
fn a_query_reads_the_public_tables_and_can_do_nothing_else() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    let answer = store
        .query(
            "SELECT id, made_by FROM orders ORDER BY id; -- the first",
            QueryLimits {
                rows_max: 2,
                ..LIMITS
            },
        )
        .unwrap();
    assert_eq!(answer.columns, ["id", "made_by"]);
    assert_eq!(answer.rows, [[json!(0), json!(1)], [json!(1), json!(1)]]);
    assert!(answer.truncated);
    for (sql, why) in [
        ("SELECT 1; SELECT 2", "one statement"),
        ("DELETE FROM orders", "gives rows"),
        ("INSERT INTO orders VALUES (1, 1) RETURNING id", "only"),
        ("CREATE TABLE mine (a text)", "gives rows"),
        ("SELECT * FROM lamphouse_tables.orders__g1", "public tables only"),
        ("SELECT * FROM lamphouse_control.gates", "public tables only"),
        ("SELECT pg_read_file('/etc/hostname')", "public tables only"),
        ("SELECT set_config('role', 'none', false)", "security-definer"),
        (
            "SELECT set_config('role', current_setting('session_authorization'), true), \
          query_to_xml('SELECT * FROM lamphouse_control.gates', true, true, '')",
            "security-definer",
        ),
        (
            "SELECT set_config('session_authorization', 'postgres', false)",
            "security-definer",
        ),
        (
            "SELECT query_to_xml('SELECT * FROM lamphouse_control.gates', true, true, '')",
            "public tables only",
        ),
        (
            "SELECT set_config('transaction_read_only', 'off', false)",
            "read-write",
        ),
        ("SELECT * FROM orders WHERE id = $1", "parameters"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT", "gives rows"),
        ("COPY orders TO STDOUT", "gives rows"),
        ("", "gives rows"),
    ] {
        let error = store.query(sql, LIMITS).unwrap_err();
        assert!(
            matches!(&error, StoreError::Invalid(text) if text.contains(why)),
            "{sql}: {error}"
        );
    }
    let short = QueryLimits {
        time_max: Duration::from_millis(200),
        ..LIMITS
    };
    let error = store.query("SELECT pg_sleep(20)", short).unwrap_err();
    assert!(
        matches!(&error, StoreError::Invalid(text) if text.contains("200 ms")),
        "{error}"
    );
    // Nothing of it stays on the connections.
    store
        .query("SELECT lo_from_bytea(4711, 'x'), pg_advisory_lock(1)", LIMITS)
        .unwrap();
    assert_eq!(
        scratch.user().one("SELECT count(*) FROM pg_largeobject_metadata"),
        "0"
    );
    assert_eq!(scratch.user().one("SELECT pg_try_advisory_lock(1)"), "t");
    store.query("EXPLAIN SELECT * FROM orders", LIMITS).unwrap();
}

#[test]
fn a_querys_values_are_exact_json() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.open();
    let answer = store
        .query(
            "SELECT 1 AS a, 2::bigint AS a, 9007199254740993, 1.50::numeric, 0.1::float8, 'NaN'::float8, true, \
             'x\"y', '\\x00ff'::bytea, '2026-01-31 23:59:59.5+02'::timestamptz, '{\"b\": 1.10}'::json, NULL, \
             ARRAY[1, 2], '2026-01-31'::date, interval '1 day', 'infinity'::timestamptz",
            LIMITS,
        )
        .unwrap();
    assert_eq!(answer.columns[..2], ["a", "a"]);
    let expected = json!([
        1, 2, "9007199254740993", "1.50", 0.1, "NaN", true, "x\"y", "AP8=", "2026-01-31T21:59:59.500000Z",
        {"b": 1.10}, null, [1, 2], "2026-01-31", "P1D", "infinity"
    ]);
    assert_eq!(serde_json::Value::from(answer.rows[0].clone()), expected);
    assert!(!answer.truncated);
}

#[test]
fn a_user_without_the_right_to_make_roles_can_host_and_query() {
    let Some(scratch) = Scratch::new() else { return };
    let role = scratch.role("host");
    let name = scratch.url.rsplit_once('/').unwrap().1.to_owned();
    scratch
        .user()
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {name} TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
        ))
        .unwrap();
    let store = crate::tables::postgres::open(&scratch.url_of(&role), runtime()).unwrap();
    let one = built(&*store, 1);
    go_live(&*store, None, &one).unwrap();
    let two = built(&*store, 2);
    // Another user's transaction counts too, although this role may not see much of it.
    let mut admin = scratch.user();
    admin.run("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    admin.one("SELECT 1");
    finished_by(&*store, &mut admin, || {
        go_live(&*store, Some(&one), &two).unwrap()
    });
    assert_eq!(
        store.query("SELECT count(*) FROM orders", LIMITS).unwrap().rows,
        [[json!(ROWS)]]
    );
    let error = store
        .query("SELECT * FROM lamphouse_tables.orders__g1", LIMITS)
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Invalid(text) if text.contains("CREATEROLE")),
        "{error}"
    );
    let error = store
        .query("SELECT set_config('role', 'none', false)", LIMITS)
        .unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
    drop(store);
    scratch.user().run(&format!("DROP OWNED BY {role}")).unwrap();
}

fn finished_by(store: &dyn crate::tables::TableStore, open: &mut Connection, switch: impl FnOnce()) {
    let name = crate::tables::conformance::plugin("pair");
    // The first switch is waited for by the open transaction too: end it, and begin another.
    open.run("COMMIT").unwrap();
    finished(store);
    open.run("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    open.one("SELECT 1");
    switch();
    let waiting = store.finish_switch(&name).unwrap();
    assert!(
        matches!(waiting, crate::tables::Finish::Waiting(_)),
        "{waiting:?}"
    );
    open.run("COMMIT").unwrap();
    finished(store);
}

#[test]
fn tables_of_a_newer_version_and_unreachable_servers_are_said_clearly() {
    let Some(scratch) = Scratch::new() else { return };
    drop(scratch.open());
    scratch
        .user()
        .run("INSERT INTO lamphouse_control.migrations VALUES (9999, 'later', now(), true, '\\x00', 0)")
        .unwrap();
    let open = |url: &str| {
        crate::tables::postgres::open(url, runtime())
            .map(|_| ())
            .unwrap_err()
    };
    let error = open(&scratch.url);
    assert!(
        matches!(&error, StoreError::Invalid(text) if text.contains("newer version")),
        "{error}"
    );
    let error = open("postgres://postgres@127.0.0.1:1/nowhere");
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains("127.0.0.1:1/nowhere")),
        "{error}"
    );
    let error = open(&format!("{}_absent", scratch.url));
    assert!(
        matches!(&error, StoreError::Invalid(text) if text.contains("does not exist")),
        "{error}"
    );
}

#[test]
fn several_hosts_can_open_an_empty_database_at_once() {
    let Some(scratch) = Scratch::new() else { return };
    std::thread::scope(|scope| {
        let openers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| scratch.open().generations().unwrap().len()))
            .collect();
        for opener in openers {
            assert_eq!(opener.join().unwrap(), 0);
        }
    });
}
