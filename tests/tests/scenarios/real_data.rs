//! Every row and every penny: the real shop's log where it lies beside the repository, a generated one everywhere.

use std::path::Path;

use lamphouse_tests::host::of;
use lamphouse_tests::truth::Truth;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};

on_each_database!(
    a_catch_up_and_a_rebuild_of_the_real_log_equal_its_control_totals,
    a_live_run_and_a_hot_rebuild_of_the_real_log_equal_its_control_totals,
    the_real_log_lifted_by_the_example_equals_its_control_totals,
    a_generated_log_is_projected_as_a_plain_fold_projects_it,
);

fn a_catch_up_and_a_rebuild_of_the_real_log_equal_its_control_totals(database: Database) {
    let (Some(file), Some(truth)) = (log_file::real(), Truth::real().unwrap()) else {
        return;
    };
    let project = Project::new(database);
    project.import(&file);
    assert_eq!(project.head(), 567_806);
    project.deploy("order-summary-1.0.0", "order-summary");
    project.catch_up();
    truth.assert_equals(&project.tables(false), "after a catch-up");
    let before = generation(&project);
    // Nobody runs: the command does the work itself, or leaves it to the next catch-up.
    project.ok(&["rebuild", "order-summary"]);
    project.catch_up();
    assert_ne!(generation(&project), before, "no new generation was made");
    truth.assert_equals(&project.tables(false), "after a rebuild without a host");
    // What was ordered is on record in the log.
    let head = project.head();
    project.import(&file);
    assert_eq!(
        project.head(),
        head,
        "a second import of the same file adds nothing"
    );
}

/// Nearly all events are lifted: 94 of 100 are lines, whose prices become pence.
fn the_real_log_lifted_by_the_example_equals_its_control_totals(database: Database) {
    let (Some(file), Some(truth)) = (log_file::real(), Truth::real().unwrap()) else {
        return;
    };
    let project = Project::new(database);
    project.import(&file);
    project.deploy("order-upcasters-1.0.0", "order-upcasters");
    project.deploy("order-summary-1.0.0", "order-summary");
    project.catch_up();
    truth.assert_equals(&project.tables(false), "with upcasters");
    let before = generation(&project);
    std::fs::remove_file(project.path("plugins/order-upcasters.wasm")).unwrap();
    project.catch_up();
    // A set that lacks one waits for a person.
    project.ok(&["cutover", "order-summary"]);
    assert_ne!(generation(&project), before, "no new generation was made");
    truth.assert_equals(&project.tables(false), "without upcasters");
}

fn a_live_run_and_a_hot_rebuild_of_the_real_log_equal_its_control_totals(database: Database) {
    let (Some(file), Some(truth)) = (log_file::real(), Truth::real().unwrap()) else {
        return;
    };
    let project = Project::new(database);
    project.deploy("order-summary-1.0.0", "order-summary");
    let host = project.serve();
    live_then_rebuilt_then_version_2(&project, &host, &file, &truth);
    host.stop();
}

fn live_then_rebuilt_then_version_2(
    project: &Project,
    host: &lamphouse_tests::Host,
    file: &Path,
    truth: &Truth,
) {
    project.import(file);
    host.wait_level("order-summary");
    truth.assert_equals(&project.tables(false), "after a live run");
    let before = generation(project);
    project.ok(&["rebuild", "order-summary"]);
    host.wait_status("a new generation", wait::LONG, |status| {
        let live = &of(status, "order-summary")["live"];
        live["generation"].as_i64().is_some_and(|now| now != before)
            && live["checkpoint"] == status["log"]["head"]
    });
    truth.assert_equals(&project.tables(false), "after a rebuild beside the live tables");
    project.deploy("order-summary-2.0.0", "order-summary");
    host.wait_version("order-summary", "2.0.0");
    truth.assert_equals(&project.tables(false), "after the switch to version 2");
}

fn a_generated_log_is_projected_as_a_plain_fold_projects_it(database: Database) {
    let project = Project::new(database);
    let file = log_file::generated(&project.path(""), 50_000, 11);
    let truth = Truth::of_lines(log_file::lines(&file).unwrap());
    project.deploy("order-summary-1.0.0", "order-summary");
    let host = project.serve();
    live_then_rebuilt_then_version_2(&project, &host, &file, &truth.version_1());
    truth.assert_equals(&project.tables(true), "countries, too");
    host.stop();
    project.ok(&["rebuild", "order-summary"]);
    project.catch_up();
    truth.assert_equals(&project.tables(true), "after a rebuild without a host");
}

fn generation(project: &Project) -> i64 {
    let status = project.status().unwrap();
    of(&status, "order-summary")["live"]["generation"]
        .as_i64()
        .unwrap_or_else(|| panic!("none is live: {status:#}"))
}
