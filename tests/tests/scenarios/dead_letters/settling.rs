//! What a person does with dead letters: retry and discard.

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, on_each_database, wait};
use serde_json::{Value, json};

use super::{
    DEAD_LETTER, ROOM, deployed, discard, import, incomplete, letters, named, places, rows, says,
    wait_incomplete,
};

on_each_database!(
    a_retry_replays_a_stream_in_order_up_to_what_still_fails,
    a_discard_is_on_record_and_carries_over_to_new_generations,
);

fn a_retry_replays_a_stream_in_order_up_to_what_still_fails(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-1", "HugeRow", 2),
        ("s-2", "HugeRow", 3),
        ("s-1", "Count", 4),
        ("s-1", "Put", 5),
        ("s-1", "Fail", 6),
        ("s-1", "Put", 7),
        ("s-2", "Put", 8),
    ];
    let project = deployed(database, DEAD_LETTER, &[], &log);
    project.catch_up();
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    let told = project.fails(&["dead-letters", "retry", "puppet"]);
    says(&told, &["partition = stream", "--accept-reorder"]);
    // Without a host. Nothing has changed, so each stream's first event fails again.
    let told = project.fails(&["dead-letters", "retry", "puppet", "--accept-reorder"]);
    says(&told, &["2 streams have an event that still fails"]);
    let attempts: Vec<u64> = letters(&project)
        .iter()
        .map(|one| one["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [2, 2, 0, 0, 0, 0, 0]);
    assert!(
        !of(&project.status().unwrap(), "puppet")["reordered"]
            .as_bool()
            .unwrap(),
        "no row has changed"
    );

    project.set_settings(&format!("{DEAD_LETTER}{ROOM}"));
    let host = project.serve();
    host.wait_level("puppet");
    let done = project.json(&[
        "dead-letters",
        "retry",
        "puppet",
        "--stream",
        "s-2",
        "--accept-reorder",
    ]);
    assert_eq!((&done["replayed"], &done["left"]), (&json!(2), &json!(5)));
    assert_eq!(rows(&project), ["s-1 1 1 1.50", "s-2 8 2 1.50"]);
    let output = project.run(&["dead-letters", "retry", "puppet", "--accept-reorder", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["replayed"], &done["left"]), (&json!(3), &json!(2)));
    assert_eq!(
        (&done["failed"][0]["position"], &done["failed"][0]["stream_id"]),
        (&json!(6), &json!("s-1"))
    );
    assert_eq!(
        rows(&project),
        ["s-1 5 4 1.50", "s-2 8 2 1.50"],
        "put, huge row, count and put, in this order"
    );
    assert_eq!(places(&project), [(6, None), (7, Some(6))]);
    // The projection went on with the log behind it, and the stream that is free again is taken.
    import(&project, "more", &[("s-2", "Count", 9), ("s-1", "Put", 10)]);
    let status = wait_incomplete(&host, "3 events of 1 stream are parked");
    assert_eq!(rows(&project)[1], "s-2 8 3 1.75");
    assert_eq!(of(&status, "puppet")["reordered"], true);
    says(&project.ok(&["status"]), &["puppet is reordered"]);
    let nothing = project.json(&[
        "dead-letters",
        "retry",
        "puppet",
        "--stream",
        "s-2",
        "--accept-reorder",
    ]);
    assert_eq!(nothing["replayed"], 0);

    // Declared to be right in any order of streams: nothing needs to be said, and nothing is marked. And a rebuild is in
    // order again.
    let by_stream = named(
        "1.1.0",
        &[
            ("options", "partition:stream"),
            ("events", "Put,Count,HugeRow,Trap"),
        ],
    );
    project.deploy_bytes(&by_stream, "puppet");
    let status = host.wait_version("puppet", "1.1.0");
    assert_eq!(
        (incomplete(&status), &of(&status, "puppet")["reordered"]),
        ("", &json!(false))
    );
    host.stop();
    project.set_settings(DEAD_LETTER);
    let host = project.serve();
    import(&project, "at last", &[("s-3", "HugeRow", 11), ("s-3", "Put", 12)]);
    wait_incomplete(&host, "2 events of 1 stream are parked");
    host.stop();
    project.set_settings(&format!("{DEAD_LETTER}{ROOM}"));
    let host = project.serve();
    project.ok(&["dead-letters", "retry", "puppet"]);
    let status = host.wait_level("puppet");
    assert_eq!(
        (incomplete(&status), &of(&status, "puppet")["reordered"]),
        ("", &json!(false))
    );
    assert_eq!(rows(&project)[2], "s-3 12 2 1.50");
    host.stop();
}

fn a_discard_is_on_record_and_carries_over_to_new_generations(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-1", "Fail", 2),
        ("s-1", "Put", 3),
        ("s-2", "Trap", 4),
        ("s-2", "Put", 5),
    ];
    let project = deployed(database, DEAD_LETTER, &[("options", "partition:stream")], &log);
    let host = project.serve();
    wait_incomplete(&host, "4 events of 2 streams are parked");
    let told = project.fails(&["dead-letters", "discard", "puppet", "2", "--reason", "short"]);
    says(&told, &["10 to 500"]);
    let told = project.fails(&[
        "dead-letters",
        "discard",
        "puppet",
        "1",
        "--reason",
        "it was never wrong",
    ]);
    says(&told, &["is no dead letter of puppet"]);
    let mut by_ada = project.command(&[
        "dead-letters",
        "discard",
        "puppet",
        "2",
        "--reason",
        "a test of the launch",
    ]);
    let said = by_ada.env("USER", "ada").output().unwrap();
    assert!(said.status.success());
    says(
        &String::from_utf8_lossy(&said.stdout),
        &["`lamphouse dead-letters retry puppet`"],
    );
    assert_eq!(places(&project), [(3, Some(2)), (4, None), (5, Some(4))]);
    // What waited behind it waits on; and so does what comes now.
    import(&project, "more", &[("s-1", "Count", 6)]);
    wait_incomplete(&host, "4 events of 2 streams are parked");
    project.ok(&["dead-letters", "retry", "puppet", "--stream", "s-1"]);
    wait_incomplete(&host, "2 events of 1 stream are parked");
    assert_eq!(rows(&project), ["s-1 3 4 1.75"]);
    host.stop();
    // A whole stream, without a host.
    project.ok(&[
        "dead-letters",
        "discard",
        "puppet",
        "--stream",
        "s-2",
        "--reason",
        "a duplicate of s-1",
    ]);
    let listed = project.json(&["dead-letters", "list", "puppet", "--discarded"]);
    let listed = listed["discarded"].as_array().unwrap().clone();
    let shown = |one: &Value| {
        (
            one["position"].as_u64().unwrap(),
            one["reason"].as_str().unwrap().to_owned(),
        )
    };
    let expected = [
        (2, "a test of the launch"),
        (4, "a duplicate of s-1"),
        (5, "a duplicate of s-1"),
    ];
    assert_eq!(
        listed.iter().map(shown).collect::<Vec<_>>(),
        expected.map(|(at, why)| (at, why.to_owned()))
    );
    assert_eq!(listed[0]["by"], "ada");
    says(
        &project.ok(&["dead-letters", "list", "--discarded"]),
        &["a test of the launch", "ada"],
    );
    // A new generation leaves them out too, in silence, and has the same rows.
    let host = project.serve();
    let before = rows(&project);
    project.deploy_bytes(&named("1.0.1", &[]), "puppet");
    let status = host.wait_version("puppet", "1.0.1");
    assert_eq!(incomplete(&status), "");
    assert_eq!((rows(&project), places(&project)), (before, vec![]));

    // Where a fault pauses, the event that it stands at can be left out as well.
    host.stop();
    project.set_settings("");
    let host = project.serve();
    let position = (project.head() + 1).to_string();
    import(&project, "again", &[("s-3", "Fail", 7), ("s-3", "Put", 8)]);
    host.wait_status("a pause", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let told = discard(&project, &position, "a test of the launch");
    says(&told, &["`lamphouse resume puppet`"]);
    project.ok(&["resume", "puppet"]);
    host.wait_level("puppet");
    assert_eq!(rows(&project)[1], "s-3 8 2 1.50");
    host.stop();
}
