//! What is parked, and what goes on: other streams, other hosts, a full parking place, a call without end.

use lamphouse_tests::host::of;
use lamphouse_tests::puppet::lifter;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::json;

use super::{
    DEAD_LETTER, deployed, discard, import, incomplete, letters, named, places, rows, says, wait_incomplete,
};

on_each_database!(
    a_poisonous_event_is_parked_with_what_comes_behind_it_and_the_others_go_on,
    a_full_parking_place_pauses_and_names_the_key,
    a_call_without_end_pauses_and_is_never_parked,
    an_event_that_cannot_be_lifted_is_parked_too,
);

fn a_poisonous_event_is_parked_with_what_comes_behind_it_and_the_others_go_on(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-2", "Put", 2),
        ("s-2", "Panic", 3),
        ("s-1", "Count", 4),
        ("s-2", "Put", 5),
        ("s-3", "Put", 6),
        ("s-3", "Fail", 7),
        ("s-2", "Count", 8),
        ("s-1", "Put", 9),
    ];
    let project = deployed(database, DEAD_LETTER, &[], &log);
    let host = project.serve();
    let status = wait_incomplete(&host, "4 events of 2 streams are parked");
    let shown = of(&status, "puppet");
    assert_eq!(
        (&shown["healthy"], &shown["state"]),
        (&json!(false), &json!("live"))
    );
    assert_eq!(shown["live"]["parked_events"], 4);
    let parked = [(3, None), (5, Some(3)), (7, None), (8, Some(3))];
    assert_eq!(places(&project), parked);
    assert_eq!(rows(&project), ["s-1 9 3 1.50", "s-2 2 1 1.50", "s-3 6 1 1.50"]);
    says(
        &project.ok(&["status"]),
        &["puppet is incomplete: 4 events of 2 streams are parked"],
    );
    says(
        &project.ok(&["projection", "show", "puppet"]),
        &["4 events of 2 streams are parked"],
    );

    let all = letters(&project);
    let first = &all[0];
    assert_eq!(
        (&first["stream_id"], &first["event_type"]),
        (&json!("s-2"), &json!("Panic"))
    );
    assert_eq!(
        (&first["attempts"], &first["version"]),
        (&json!(1), &json!("1.0.0"))
    );
    assert_eq!(first["digest"], shown["live"]["digest"]);
    says(
        first["message"].as_str().unwrap(),
        &["at position 3", "the puppet panics: 3"],
    );
    assert_eq!(all[1]["message"], "", "it has not been tried");
    // The same by position and by id, for a person.
    let id = first["event_id"].as_str().unwrap();
    for event in ["3", id] {
        let shown = project.ok(&["dead-letters", "show", "puppet", event]);
        says(
            &shown,
            &[
                "the puppet panics: 3",
                "the plugin's log",
                "puppet 1.0.0",
                "Panic 1  3",
                "tried     1 time",
            ],
        );
    }
    let shown = project.ok(&["dead-letters", "show", "puppet", "8"]);
    says(&shown, &["waits behind position 3", "Count 1  8"]);
    let told = project.fails(&["dead-letters", "show", "puppet", "1"]);
    says(&told, &["is no dead letter of puppet"]);
    let of_stream = project.ok(&["dead-letters", "list", "--stream", "s-3"]);
    assert!(
        of_stream.contains("s-3") && !of_stream.contains("s-2"),
        "{of_stream}"
    );

    let why = |event: &str| project.json(&["explain", event])["projections"][0].clone();
    for (event, outcome, words) in [
        ("1", "applied", "in the tables"),
        ("3", "parked", "the puppet panics"),
        (id, "parked", "the puppet panics"),
        ("5", "behind", "behind position 3"),
    ] {
        let why = why(event);
        assert_eq!(why["outcome"], outcome, "{why:#}");
        says(why["message"].as_str().unwrap(), &[words]);
    }
    says(
        &project.ok(&["explain", "3"]),
        &["Panic 1 at position 3", "puppet 1.0.0 (g1, live)"],
    );

    // Killed and started again, it knows what is parked.
    host.kill();
    let host = project.serve();
    import(&project, "more", &[("s-3", "Put", 10), ("s-1", "Count", 11)]);
    wait_incomplete(&host, "5 events of 2 streams are parked");
    assert_eq!(places(&project).last(), Some(&(10, Some(7))));
    assert_eq!(rows(&project)[0], "s-1 9 4 1.75");
    // What is parked stays so, in order, also where a new fault would pause.
    host.stop();
    project.set_settings("");
    let host = project.serve();
    import(
        &project,
        "still more",
        &[("s-3", "Put", 12), ("s-4", "Fail", 13), ("s-1", "Put", 14)],
    );
    let status = host.wait_status("a pause at the new fault", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    assert_eq!(of(&status, "puppet")["live"]["checkpoint"], 12);
    assert_eq!(places(&project).last(), Some(&(12, Some(7))));
    host.stop();
}

fn a_full_parking_place_pauses_and_names_the_key(database: Database) {
    let settings = format!("{DEAD_LETTER}parked_streams_max = 2\nparked_events_max = 4\n");
    let log = [
        ("s-1", "Fail", 1),
        ("s-2", "Fail", 2),
        ("s-4", "Put", 3),
        ("s-3", "Fail", 4),
        ("s-4", "Put", 5),
    ];
    let project = deployed(database, &settings, &[("options", "partition:stream")], &log);
    let host = project.serve();
    let full = |key: &str, checkpoint: u64| {
        let status = host.wait_status(&format!("{key} to be reached"), wait::LONG, |status| {
            of(status, "puppet")["state"] == "faulted"
                && of(status, "puppet")["message"].as_str().unwrap().contains(key)
        });
        let one = of(&status, "puppet").clone();
        let generation = if one["live"].is_null() {
            &one["others"][0]
        } else {
            &one["live"]
        };
        assert_eq!(
            generation["checkpoint"], checkpoint,
            "everything before it is in the tables"
        );
        assert_eq!(generation["parked_events"], checkpoint - 1, "{generation:#}");
    };
    full("[projection] parked_streams_max", 3);
    assert_eq!(places(&project), [(1, None), (2, None)]);
    project.ok(&["resume", "puppet"]);
    full("[projection] parked_streams_max", 3);
    // With one stream less there is room again.
    discard(&project, "1", "a test of the launch");
    project.ok(&["resume", "puppet"]);
    wait_incomplete(&host, "2 events of 2 streams are parked");
    assert_eq!(rows(&project), ["s-4 5 2 1.50"]);
    let more = [
        ("s-2", "Put", 6),
        ("s-3", "Put", 7),
        ("s-2", "Put", 8),
        ("s-4", "Put", 9),
    ];
    // What was ordered in the meantime is on record in the log.
    let before = project.head();
    import(&project, "more", &more);
    let status = host.wait_status("the events' limit", wait::LONG, |status| {
        let message = of(status, "puppet")["message"].as_str().unwrap_or_default();
        message.contains("[projection] parked_events_max")
    });
    assert_eq!(of(&status, "puppet")["live"]["checkpoint"], before + 2);
    host.stop();
    project.set_settings(DEAD_LETTER);
    let host = project.serve();
    wait_incomplete(&host, "5 events of 2 streams are parked");
    assert_eq!(rows(&project), ["s-4 9 3 1.50"]);
    host.stop();
}

fn a_call_without_end_pauses_and_is_never_parked(database: Database) {
    let project = deployed(
        database,
        &format!("{DEAD_LETTER}[limits]\ncall_ms_max = 100\n"),
        &[],
        &[
            ("s-1", "Put", 1),
            ("s-1", "Fail", 2),
            ("s-2", "Spin", 3),
            ("s-3", "Put", 4),
        ],
    );
    let host = project.serve();
    let status = host.wait_status("the pause", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let stopped = &of(&status, "puppet")["others"][0];
    let fault = &stopped["fault"];
    assert_eq!(
        (&fault["class"], &fault["attempts"]),
        (&json!("time_limit"), &json!(2)),
        "the second time with ten times the deadline"
    );
    // Everything before it is dealt with, so that it can be told from the others, and be left out.
    says(fault["message"].as_str().unwrap(), &["at position 3"]);
    assert_eq!(
        (&fault["position"], &stopped["checkpoint"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(places(&project), [(2, None)]);
    discard(&project, "3", "it never comes to an end");
    project.ok(&["resume", "puppet"]);
    wait_incomplete(&host, "1 event of 1 stream is parked");
    assert_eq!(rows(&project), ["s-1 1 1 1.50", "s-3 4 1 1.50"]);
    host.stop();
}

fn an_event_that_cannot_be_lifted_is_parked_too(database: Database) {
    let project = Project::with_settings(database, DEAD_LETTER);
    let line = |number: u64| {
        let data = if number == 7 {
            json!("poison")
        } else {
            json!(number)
        };
        log_file::line(&format!("s-{}", number % 5), "Old", &data)
    };
    project.import_lines("log", (1..=20).map(line));
    let recorder = |version| named(version, &[("project", "record"), ("events", "New")]);
    project.deploy_bytes(&recorder("1.0.0"), "puppet");
    let rules = ("rules", "Old:1>New:1");
    let faulty = lifter("lift", "1.0.0", &[rules, ("upcast", "stray"), ("when", "poison")]);
    project.deploy_bytes(&faulty, "lift");
    let host = project.serve();
    // 7, 12 and 17 are of stream s-2.
    wait_incomplete(&host, "3 events of 1 stream are parked");
    assert_eq!(places(&project), [(7, None), (12, Some(7)), (17, Some(7))]);
    assert_eq!(rows(&project).len(), 17);
    let shown = project.ok(&["dead-letters", "show", "puppet", "7"]);
    says(
        &shown,
        &["upcaster lift 1.0.0", "it gave Stray 9", "Old 1  \"poison\""],
    );
    let file = project.path("candidate.wasm");
    std::fs::write(&file, lifter("lift", "1.0.1", &[rules])).unwrap();
    says(
        &project.ok(&["rehearse", file.to_str().unwrap()]),
        &["3 events would pass"],
    );
    project.append("s-2", "Old", &json!(21));
    project.append("s-1", "Old", &json!(22));
    wait_incomplete(&host, "4 events of 1 stream are parked");
    assert_eq!(rows(&project).len(), 18);
    project.deploy_bytes(&lifter("lift", "1.0.1", &[rules]), "lift");
    host.wait_status("the mended upcaster to bring all", wait::LONG, |status| {
        incomplete(status).is_empty() && rows(&project).len() == 22
    });
    host.stop();
}
