//! `explain`: every answer to why an event is, or is not, in a table, and which rows it is about.

use lamphouse_tests::host::of;
use lamphouse_tests::puppet::lifter;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::{Value, json};

use super::{DEAD_LETTER, deployed, import, named, says, wait_incomplete};

on_each_database!(
    explain_says_what_became_of_an_event_and_names_its_rows,
    explain_follows_an_event_through_upcasters,
);

/// What became of an event in each generation.
fn explained(project: &Project, event: &str) -> Vec<Value> {
    let document = project.json(&["explain", event]);
    document["projections"].as_array().unwrap().clone()
}

/// The outcome in the only generation; its sentence must have these words.
#[track_caller]
fn one(project: &Project, event: &str, outcome: &str, words: &[&str]) -> Value {
    let [one] = explained(project, event).try_into().expect("one generation");
    assert_eq!(one["outcome"], outcome, "{one:#}");
    says(one["message"].as_str().unwrap(), words);
    assert_eq!(outcome == "applied", !one["changes"].is_null(), "{one:#}");
    one
}

fn row(id: &str, exists: bool) -> Value {
    json!([{"table": "puppet", "key": {"id": id}, "exists": exists}])
}

fn explain_says_what_became_of_an_event_and_names_its_rows(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-1", "Count", 2),
        ("s-2", "Put", 3),
        ("s-2", "Fail", 4),
        ("s-2", "Put", 5),
        ("s-3", "Put", 6),
        ("s-3", "Patch", 7),
        ("s-3", "Remove", 8),
        ("s-4", "Log", 9),
        ("s-5", "Other", 10),
    ];
    let plugin = [("events", "Put,Count,Fail,Patch,Remove,Log")];
    let project = deployed(database, DEAD_LETTER, &plugin, &log);
    let host = project.serve();
    wait_incomplete(&host, "2 events of 1 stream are parked");

    for event in ["1", "2"] {
        let applied = one(&project, event, "applied", &["in the tables"]);
        assert_eq!(applied["changes"]["rows"], row("s-1", true));
        assert_eq!(
            (&applied["changes"]["total"], &applied["changes"]["unknown"]),
            (&json!(1), &json!(null))
        );
    }
    // Which rows they were then is not kept: what is said is what the event does to the rows of now.
    let removed = one(&project, "6", "applied", &[]);
    assert_eq!(removed["changes"]["rows"], row("s-3", false));
    let fails = one(&project, "7", "applied", &[]);
    assert_eq!(fails["changes"]["rows"], json!([]));
    says(
        fails["changes"]["unknown"].as_str().unwrap(),
        &[
            "applied once more to the rows of now, it fails",
            "that is not there",
        ],
    );
    let nothing = one(&project, "9", "applied", &[]);
    assert_eq!(nothing["changes"]["total"], 0);
    let shown = project.ok(&["explain", "2"]);
    says(
        &shown,
        &[
            "Count 1 at position 2",
            "puppet 1.0.0 (g1, live)",
            "it changes these:",
            "id s-1",
        ],
    );
    says(&project.ok(&["explain", "6"]), &["not there now"]);
    says(&project.ok(&["explain", "7"]), &["its rows are not known"]);
    says(&project.ok(&["explain", "9"]), &["it changes none"]);

    one(
        &project,
        "10",
        "not_subscribed",
        &[
            "it is Other 1 in a stream of type test",
            "takes Put, Count",
            "a version of puppet that subscribes to Other 1 would have it",
        ],
    );
    one(
        &project,
        "4",
        "parked",
        &["parked after 1 try: plugin puppet 1.0.0"],
    );
    one(
        &project,
        "5",
        "behind",
        &["parked behind position 4", "stream s-2 failed"],
    );
    project.fails(&["dead-letters", "retry", "puppet", "--accept-reorder"]);
    one(&project, "4", "parked", &["parked after 2 tries"]);

    let mut discard = project.command(&[
        "dead-letters",
        "discard",
        "puppet",
        "4",
        "--reason",
        "a test of the launch",
    ]);
    for name in ["USER", "LOGNAME", "USERNAME"] {
        discard.env_remove(name);
    }
    assert!(discard.output().unwrap().status.success());
    one(
        &project,
        "4",
        "discarded",
        &["left out by a decision of admin: a test of the launch"],
    );
    one(
        &project,
        "5",
        "behind",
        &["not parked any more", "`lamphouse dead-letters retry puppet`"],
    );
    let mut discard = project.command(&[
        "dead-letters",
        "discard",
        "puppet",
        "5",
        "--reason",
        "it belongs to the test, too",
    ]);
    assert!(discard.env("USER", "ada").output().unwrap().status.success());
    one(
        &project,
        "5",
        "discarded",
        &["left out by a decision of ada: it belongs"],
    );

    // Not there, and not yet there; with no host, too.
    host.wait_level("puppet");
    // What was ordered is on record in the log.
    let head = project.head();
    let (next, second) = ((head + 1).to_string(), (head + 2).to_string());
    let told = project.fails(&["explain", &next]);
    says(
        &told,
        &[
            &format!("the log has no event {next}"),
            &format!("its last one is at position {head}"),
        ],
    );
    let told = project.fails(&["explain", "0195f3a8-7c1e-7d3f-8b5a-000000000001"]);
    says(&told, &["the log has no event 0195f3a8"]);
    let garbled = project.run(&["explain", "the one of yesterday"]);
    assert_eq!(garbled.status.code(), Some(2));
    host.stop();
    import(&project, "more", &[("s-1", "Put", 11), ("s-1", "Put", 12)]);
    one(
        &project,
        &next,
        "not_reached",
        &[&format!("the tables are at position {head}, 1 event before it")],
    );
    one(&project, &second, "not_reached", &["2 events before it"]);

    // A generation that is not public any more says what became of it there.
    project.deploy_bytes(&named("1.1.0", &[("events", "Put")]), "puppet");
    project.catch_up();
    let both = explained(&project, "2");
    let shown: Vec<_> = both.iter().map(|one| (&one["state"], &one["outcome"])).collect();
    assert_eq!(
        shown,
        [
            (&json!("live"), &json!("not_subscribed")),
            (&json!("retired"), &json!("applied"))
        ]
    );
    assert_eq!(both[1]["changes"]["rows"], row("s-1", true));
    says(
        &project.ok(&["explain", "2"]),
        &["puppet 1.1.0 (g2, live)", "puppet 1.0.0 (g1, retired)"],
    );
}

fn explain_follows_an_event_through_upcasters(database: Database) {
    let project = Project::new(database);
    let lines = [
        ("s-1", "Old", json!(1)),
        ("s-1", "Gone", json!(2)),
        ("s-1", "Odd", json!(3)),
        ("s-2", "Old", json!("poison")),
        ("s-1", "Old", json!(5)),
    ];
    let lines = lines.map(|(stream, event_type, data)| log_file::line(stream, event_type, &data));
    project.import_lines("log", lines);
    let rules = ("rules", "Old:1>Put:1|Gone:1>|Odd:1>Strange:1");
    let faulty = lifter("lift", "1.0.0", &[rules, ("upcast", "stray"), ("when", "poison")]);
    project.deploy_bytes(&faulty, "lift");
    project.deploy_bytes(&named("1.0.0", &[("events", "Put")]), "puppet");
    let host = project.serve();
    host.wait_status("a stop at the poison", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let lifted = one(&project, "1", "applied", &["in the tables"]);
    assert_eq!(lifted["changes"]["rows"], row("s-1", true));
    one(&project, "2", "dropped", &["dropped by upcaster lift 1.0.0"]);
    one(
        &project,
        "3",
        "not_subscribed",
        &[
            "upcasters make it Strange 1",
            "subscribes to Strange 1 would have it",
        ],
    );
    one(&project, "4", "not_lifted", &["it cannot be lifted", "Stray"]);
    one(
        &project,
        "5",
        "not_reached",
        &["the tables are at position 1, 4 events before it"],
    );
    host.stop();
}
