//! Cutovers under readers: no error, no empty result, no row set that is neither the old nor the new.

use std::time::Duration;

use lamphouse_tests::client::TextRow;
use lamphouse_tests::host::of;
use lamphouse_tests::readers::{Readers, always, always_prepared, one_transaction};
use lamphouse_tests::truth::{Truth, micros};
use lamphouse_tests::{Database, Project, log_file, long, on_each_database, on_postgres_only, puppet, wait};

on_each_database!(
    readers_see_one_whole_generation_through_every_switch_forth_and_back,
    joins_and_totals_hold_while_version_2_is_built_and_switched_to,
    a_breaking_version_waits_for_a_person,
);

on_postgres_only!(grants_and_prepared_readers_survive_a_cutover);

const ROWS: usize = 20_000;

/// `Put` events: as many rows, each stamped with the version that wrote it.
fn rows(project: &Project) {
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &serde_json::json!({"n": number}));
    project.import_lines("rows", (0..ROWS).map(line));
}

fn counted(rows: &[TextRow]) -> bool {
    let [row] = rows else { return false };
    row.first()
        .and_then(Clone::clone)
        .is_some_and(|count| count == ROWS.to_string())
}

/// All rows, of one version.
fn whole(rows: &[TextRow]) -> bool {
    counted(rows) && rows[0][1].is_some() && rows[0][1] == rows[0][2]
}

fn readers_see_one_whole_generation_through_every_switch_forth_and_back(database: Database) {
    let switches = if long() { 20 } else { 5 };
    let project = Project::with_settings(
        database,
        "[projection]\nkeep_generations = 1\nfollow_retired = true\n",
    );
    rows(&project);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    project
        .client()
        .execute("CREATE VIEW of_the_user AS SELECT id, stamp FROM puppet")
        .unwrap();

    let all = "SELECT count(*), min(stamp), max(stamp) FROM puppet";
    let join = "SELECT count(*) FROM puppet a JOIN puppet b ON a.id = b.id AND a.stamp = b.stamp";
    let own = "SELECT count(*), min(stamp), max(stamp) FROM of_the_user";
    let mixed = "SELECT count(*) FROM puppet a JOIN of_the_user b ON b.id = a.id WHERE a.stamp = b.stamp";
    let text = "SELECT CAST(count(*) AS text), min(stamp), max(stamp) FROM puppet";
    let short = Duration::from_millis(700);
    let readers = Readers::start(
        &project,
        vec![
            ("plain", always(all, whole)),
            ("self-join", always(join, counted)),
            ("a view of the user's", always(own, whole)),
            ("a join with a view of the user's", always(mixed, counted)),
            ("prepared", always_prepared(text, whole)),
            ("one snapshot", one_transaction(all, short)),
            // Begins during the build, and is open when the switch comes.
            (
                "held open for 10 s",
                one_transaction(all, Duration::from_secs(10)),
            ),
        ],
    );
    project.deploy_bytes(&puppet::named("puppet", "2.0.0", "two"), "puppet");
    host.wait_version("puppet", "2.0.0");
    let mut live = "2.0.0";
    for _ in 1..switches {
        let (verb, to) = if live == "2.0.0" {
            ("rollback", "1.0.0")
        } else {
            ("cutover", "2.0.0")
        };
        project.ok(&[verb, "puppet"]);
        host.wait_status(&format!("{to} to be live"), wait::LONG, |status| {
            of(status, "puppet")["live"]["version"] == to
        });
        live = to;
        // Also what the user sees right after the switch.
        let stamp = if to == "1.0.0" { "one" } else { "two" };
        let seen = project.client().query(all).unwrap();
        assert!(
            whole(&seen) && seen[0][1].as_deref() == Some(stamp),
            "after the switch to {to}: {seen:?}"
        );
        assert_eq!(readers.wrong(), Vec::<String>::new());
    }
    let rounds = readers.finish();
    println!(
        "FIGURES: {switches} switches on {} under 7 readers, {rounds} rounds of reads, none wrong",
        project.database().kind()
    );
    host.stop();
}

fn joins_and_totals_hold_while_version_2_is_built_and_switched_to(database: Database) {
    let rebuilds = if long() { 10 } else { 2 };
    let project = Project::new(database);
    let file = log_file::generated(&project.path(""), 50_000, 3);
    let truth = Truth::of_lines(log_file::lines(&file).unwrap());
    project.import(&file);
    project.deploy("order-summary-1.0.0", "order-summary");
    let host = project.serve();
    host.wait_version("order-summary", "1.0.0");

    let (orders, customers) = (truth.orders.len(), truth.customers.len());
    let known = truth.orders.values().filter(|cells| cells[0] != "-").count();
    let count_is = move |rows: &[TextRow], wanted: usize| {
        rows.len() == 1 && rows[0][0].as_deref() == Some(wanted.to_string().as_str())
    };
    let lines: i64 = truth
        .orders
        .values()
        .map(|cells| cells[2].parse::<i64>().unwrap())
        .sum();
    let a_total = truth
        .customers
        .iter()
        .max_by_key(|(_, cells)| micros(&cells[3]))
        .unwrap();
    let (best, net) = (a_total.0.clone(), micros(&a_total.1[3]));
    let readers = Readers::start(
        &project,
        vec![
            ("orders join customers", {
                let sql = "SELECT count(*) FROM orders o JOIN customers c ON c.customer_id = o.customer_id";
                always(sql, move |rows| count_is(rows, known))
            }),
            ("customers join orders", {
                let sql = "SELECT count(*) FROM (SELECT c.customer_id FROM customers c JOIN orders o \
                           ON o.customer_id = c.customer_id GROUP BY c.customer_id, c.orders \
                           HAVING count(*) = c.orders) AS consistent";
                always(sql, move |rows| count_is(rows, customers))
            }),
            (
                "counts",
                always("SELECT count(*) FROM orders", move |rows| count_is(rows, orders)),
            ),
            (
                "sums",
                always("SELECT sum(lines) FROM orders", move |rows| {
                    count_is(rows, lines as usize)
                }),
            ),
            ("the best customer", {
                let sql = format!("SELECT net FROM customers WHERE customer_id = '{best}'");
                always(&sql, move |rows| {
                    rows.len() == 1 && rows[0][0].as_deref().is_some_and(|text| micros(text) == net)
                })
            }),
            ("one snapshot", {
                let sql = "SELECT count(*), sum(lines), max(order_id) FROM orders";
                one_transaction(sql, Duration::from_millis(900))
            }),
        ],
    );
    project.deploy("order-summary-2.0.0", "order-summary");
    host.wait_version("order-summary", "2.0.0");
    for _ in 0..rebuilds {
        let status = project.status().unwrap();
        let before = of(&status, "order-summary")["live"]["generation"].clone();
        project.ok(&["rebuild", "order-summary"]);
        host.wait_status("a new generation", wait::LONG, |status| {
            let live = &of(status, "order-summary")["live"];
            !live.is_null() && live["generation"] != before
        });
    }
    readers.finish();
    truth.assert_equals(&project.tables(true), "after the switches");
    host.stop();
}

fn grants_and_prepared_readers_survive_a_cutover(database: Database) {
    let url = database.url().expect("a PostgreSQL URL");
    let project = Project::new(database);
    rows(&project);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    let role = format!("lamphouse_reader_{}", uuid::Uuid::new_v4().simple());
    let mut admin = project.client();
    // The host makes a new view direct soon after the cutover, and PostgreSQL refuses a GRANT that meets that change
    // of its catalog: whoever scripts one tries it again.
    let granted = (0..20).find_map(|_| {
        let made = admin.execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON puppet TO {role}"
        ));
        match made {
            Err(error) if format!("{error:#}").contains("tuple concurrently updated") => None,
            made => Some(made),
        }
    });
    granted.expect("one of twenty tries meets no change").unwrap();
    let mut reader =
        lamphouse_tests::Client::postgres(&url.replacen("postgres@", &format!("{role}@"), 1)).unwrap();
    let sql = "SELECT CAST(count(*) AS text), min(stamp), max(stamp) FROM puppet";
    assert!(whole(&reader.query_prepared(sql).unwrap()));
    project.deploy_bytes(&puppet::named("puppet", "2.0.0", "two"), "puppet");
    host.wait_version("puppet", "2.0.0");
    let after = reader.query_prepared(sql).unwrap();
    assert!(
        whole(&after) && after[0][1].as_deref() == Some("two"),
        "{after:?}"
    );
    assert!(
        reader.execute("DELETE FROM puppet").is_err(),
        "a reader may not write"
    );
    host.stop();
    admin
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .unwrap();
}

fn a_breaking_version_waits_for_a_person(database: Database) {
    let project = Project::new(database);
    rows(&project);
    project.deploy_bytes(
        &puppet::puppet(&[("version", "1.0.0"), ("extra", "colour")]),
        "puppet",
    );
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    // Version 2 lacks the column `colour`.
    project.deploy_bytes(&puppet::puppet(&[("version", "2.0.0")]), "puppet");
    let status = host.wait_status("version 2 to be ready", wait::LONG, |status| {
        let others = of(status, "puppet")["others"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        others
            .iter()
            .any(|one| one["version"] == "2.0.0" && one["state"] == "ready")
    });
    let message = of(&status, "puppet")["message"].to_string();
    assert!(
        message.contains("colour") && message.contains("--breaking"),
        "{message}"
    );
    assert_eq!(of(&status, "puppet")["live"]["version"], "1.0.0");
    assert!(
        project
            .client()
            .query("SELECT colour FROM puppet LIMIT 1")
            .is_ok()
    );
    let refused = project.fails(&["cutover", "puppet"]);
    assert!(
        refused.contains("colour") && refused.contains("--breaking"),
        "{refused}"
    );
    if project.database().url().is_some() {
        project
            .client()
            .execute("CREATE VIEW of_the_user AS SELECT id, colour FROM puppet")
            .unwrap();
        let refused = project.fails(&["cutover", "puppet", "--breaking"]);
        assert!(refused.contains("of_the_user"), "{refused}");
        project.client().execute("DROP VIEW of_the_user").unwrap();
    }
    project.ok(&["cutover", "puppet", "--breaking"]);
    host.wait_version("puppet", "2.0.0");
    assert!(
        project
            .client()
            .query("SELECT colour FROM puppet LIMIT 1")
            .is_err()
    );
    host.stop();
}
