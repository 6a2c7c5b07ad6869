//! Replay equals live, and batches, flushes and caches of any size give the same rows.

use lamphouse_tests::client::TextRow;
use lamphouse_tests::truth::Truth;
use lamphouse_tests::{Database, Project, log_file, long, on_each_database, puppet};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

on_each_database!(
    random_events_give_the_same_rows_at_any_batch_flush_and_cache_size,
    a_shops_log_is_the_same_in_small_batches_with_a_tiny_cache,
);

/// One line of a random log: which row, what happens to it, and a text that others may look for.
type Step = (u8, usize, u8);

const HAPPENINGS: [&str; 6] = ["Put", "Count", "Count", "Remove", "Find", "GetAfterPut"];

fn lines(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|(row, happening, text)| {
            let data = serde_json::json!(format!("text-{text}"));
            log_file::line(&format!("row-{row}"), HAPPENINGS[*happening], &data)
        })
        .collect()
}

fn rows(project: &Project) -> Vec<TextRow> {
    let mut rows = project.client().query("SELECT * FROM puppet").unwrap();
    rows.sort();
    rows
}

fn replayed(database: &Database, settings: &str, lines: &[String]) -> Vec<TextRow> {
    let project = Project::with_settings(again(database), settings);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    project.import_lines("all", lines);
    project.catch_up();
    rows(&project)
}

fn live(database: &Database, lines: &[String]) -> Vec<TextRow> {
    let project = Project::new(again(database));
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    for (number, piece) in lines.chunks(lines.len().div_ceil(4).max(1)).enumerate() {
        project.import_lines(&format!("piece-{number}"), piece);
    }
    host.wait_level("puppet");
    let rows = rows(&project);
    host.stop();
    rows
}

/// Each project needs a database of its own.
fn again(database: &Database) -> Database {
    match database {
        Database::Sqlite => Database::sqlite(),
        Database::Postgres(_) => Database::postgres().expect("the server of a moment ago"),
    }
}

fn random_events_give_the_same_rows_at_any_batch_flush_and_cache_size(database: Database) {
    let step = (0_u8..12, 0..HAPPENINGS.len(), 0_u8..4);
    let budgets = (1_u64..60, 4_096_u64..9_000);
    let cases = if long() { 40 } else { 3 };
    let config = Config {
        cases,
        max_shrink_iters: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let property = |(steps, (flush, cache)): (Vec<Step>, (u64, u64))| {
        let lines = lines(&steps);
        let plain = replayed(&database, "", &lines);
        for batch in [1, 7, 1_000] {
            let settings = format!(
                "[pipeline]\nbatch_events_max = {batch}\nflush_events_max = {flush}\ncache_bytes_max = {cache}\n"
            );
            prop_assert_eq!(
                &replayed(&database, &settings, &lines),
                &plain,
                "with {}",
                settings
            );
        }
        prop_assert_eq!(&live(&database, &lines), &plain, "live");
        Ok(())
    };
    TestRunner::new(config)
        .run(&(proptest::collection::vec(step, 1..220), budgets), property)
        .unwrap();
}

fn a_shops_log_is_the_same_in_small_batches_with_a_tiny_cache(database: Database) {
    for (batch, events) in [(1, 2_000), (7, 5_000), (1_000, 20_000)] {
        let settings = format!(
            "[pipeline]\nbatch_events_max = {batch}\nflush_events_max = {}\ncache_bytes_max = 16384\n",
            batch * 5
        );
        let project = Project::with_settings(again(&database), &settings);
        let file = log_file::generated(&project.path(""), events, 21);
        let truth = Truth::of_lines(log_file::lines(&file).unwrap());
        project.deploy("order-summary-2.0.0", "order-summary");
        project.import(&file);
        project.catch_up();
        truth.assert_equals(&project.tables(true), &format!("with {settings}"));
    }
}
