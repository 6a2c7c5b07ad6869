//! `rehearse`: a candidate over what is parked, whatever it declares, without touching a table.

use lamphouse_tests::{Database, on_each_database};
use serde_json::{Value, json};

use super::{DEAD_LETTER, deployed, discard, letters, named, rows, says};

on_each_database!(a_candidate_of_other_tables_or_another_partition_is_rehearsed_too);

fn a_candidate_of_other_tables_or_another_partition_is_rehearsed_too(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-2", "Put", 2),
        ("s-2", "Fail", 3),
        ("s-2", "Patch", 4),
        ("s-3", "Fail", 5),
        ("s-3", "Put", 6),
        ("s-1", "Put", 7),
    ];
    let project = deployed(database, DEAD_LETTER, &[], &log);
    project.catch_up();
    discard(&project, "5", "a test of the launch");
    let before = (rows(&project), letters(&project));
    assert_eq!(before.1.len(), 3);
    let file = project.path("candidate.wasm");
    let file_name = file.to_str().unwrap();
    let rehearse = |bytes: &[u8]| -> Value {
        std::fs::write(&file, bytes).unwrap();
        let output = project.run(&["rehearse", file_name, "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            output.status.success(),
            all[0]["failed"].as_array().is_none_or(Vec::is_empty)
        );
        all
    };
    let counts = |all: &Value| {
        let failed = all[0]["failed"].as_array().unwrap();
        let failed: Vec<u64> = failed
            .iter()
            .map(|letter| letter["position"].as_u64().unwrap())
            .collect();
        let number = |name: &str| all[0][name].as_u64().unwrap();
        (number("passed"), number("waiting"), failed)
    };

    // The patch at 4 needs the row that the event at 2 made, which is not parked.
    let mended = ("events", "Put,Patch");
    let all = rehearse(&named("1.1.0", &[("more_tables", "another"), mended]));
    assert_eq!(
        (counts(&all), &all[0]["on_its_rows"]),
        ((3, 0, vec![]), &json!(false))
    );
    says(
        &project.ok(&["rehearse", file_name]),
        &[
            "3 events would pass",
            "it declares other tables",
            "from the first event",
        ],
    );
    // What was discarded is left out, what is not mended fails as before.
    let all = rehearse(&named("1.1.0", &[("more_tables", "another")]));
    assert_eq!(counts(&all), (1, 1, vec![3]));
    // It does not come as far as the events that are parked.
    let all = rehearse(&named("1.1.0", &[("table", "another"), ("project", "fail")]));
    assert_eq!(counts(&all), (0, 2, vec![2, 6]));
    says(
        all[0]["failed"][0]["message"].as_str().unwrap(),
        &["at position 2", "version says no"],
    );

    let by_stream = ("options", "partition:stream");
    let all = rehearse(&named("1.1.0", &[by_stream, mended]));
    assert_eq!(
        (counts(&all), &all[0]["on_its_rows"]),
        ((3, 0, vec![]), &json!(true))
    );
    let all = rehearse(&named("1.1.0", &[by_stream]));
    assert_eq!(counts(&all), (1, 1, vec![3]));

    std::fs::write(
        &file,
        named("1.1.0", &[("name", "another"), ("table", "another")]),
    )
    .unwrap();
    says(
        &project.ok(&["rehearse", file_name]),
        &["no dead letters that this plugin concerns"],
    );
    std::fs::write(&file, "no plugin at all").unwrap();
    says(
        &project.fails(&["rehearse", file_name]),
        &["candidate.wasm cannot be rehearsed"],
    );
    assert_eq!((rows(&project), letters(&project)), before);
}
