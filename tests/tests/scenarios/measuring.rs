//! Where a rebuild's time went: what `catch-up --profile` prints, and the spans of the log.

use lamphouse_tests::{Database, Project, log_file, on_each_database, project::said};
use serde_json::Value;

on_each_database!(a_rebuild_tells_where_its_time_went);

fn a_rebuild_tells_where_its_time_went(database: Database) {
    let project = Project::with_settings(database, "[pipeline]\nbatch_events_max = 20\n");
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &Value::from(number));
    project.import_lines("rows", (0..50).map(line));
    project.deploy("puppet", "puppet");

    let output = project
        .command(&["catch-up", "--profile"])
        .env("RUST_LOG", "lamphouse=debug")
        .output()
        .unwrap();
    let (printed, told) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        said(&output),
    );
    for due in [
        "50 events read, 50 projected in 3 calls",
        "\nread ",
        "\nproject ",
        "\nflush ",
        "became 50 written rows",
    ] {
        assert!(printed.contains(due), "'{due}' is missing:\n{printed}");
    }
    for due in [
        "projection{projection=puppet generation=g1}:project{first=41 events=10}: close",
        "flush{to=50 live=false}",
        "read{after=40}",
        "close time.busy=",
    ] {
        assert!(told.contains(due), "'{due}' is missing:\n{told}");
    }

    let quiet = project.run(&["catch-up"]);
    assert!(!said(&quiet).contains("time.busy"), "{}", said(&quiet));
}
