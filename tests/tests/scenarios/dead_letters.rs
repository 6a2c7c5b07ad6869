//! Events that a plugin cannot take: they are parked with what comes behind them, the rest goes on, and a person decides.

use lamphouse_tests::host::{Host, of};
use lamphouse_tests::puppet::{lifter, puppet};
use lamphouse_tests::{Database, Project, log_file, long, on_each_database, wait};
use serde_json::{Value, json};
use xtask::seeded::Seeded;

on_each_database!(
    a_poisonous_event_is_parked_with_what_comes_behind_it_and_the_others_go_on,
    a_retry_replays_a_stream_in_order_up_to_what_still_fails,
    a_discard_is_on_record_and_carries_over_to_new_generations,
    a_mended_version_builds_everything_at_its_place,
    a_full_parking_place_pauses_and_names_the_key,
    a_new_generation_that_parks_more_waits_for_a_person,
    a_call_without_end_pauses_and_is_never_parked,
    an_event_that_cannot_be_lifted_is_parked_too,
    killed_at_any_moment_with_poison_in_the_log_nothing_else_is_wrong,
);

const DEAD_LETTER: &str = "[projection]\non_fault = \"dead-letter\"\n";
/// Room for the rows of `HugeRow`, which fail without it.
const ROOM: &str = "[limits]\nbytes_per_change_max = 16_777_216\n";

/// Stream, event type, data.
type Line<'l> = (&'l str, &'l str, u64);

fn import(project: &Project, name: &str, lines: &[Line<'_>]) {
    let lines = lines
        .iter()
        .map(|(stream, event_type, data)| log_file::line(stream, event_type, &json!(data)));
    project.import_lines(name, lines);
}

fn named(version: &str, settings: &[(&str, &str)]) -> Vec<u8> {
    // Without an index, so that a row may be huge.
    let mut all = vec![("version", version), ("index", "none")];
    all.extend(settings);
    puppet(&all)
}

/// `id note count`, by id; a note that is too long to show is its length.
fn rows(project: &Project) -> Vec<String> {
    let sql = "SELECT id, CASE WHEN length(note) > 100 THEN 'long' ELSE note END, count, amount FROM puppet ORDER BY id";
    let rows = project.client().query(sql).unwrap().into_iter();
    rows.map(|row| {
        row.into_iter()
            .map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    })
    .collect()
}

fn letters(project: &Project) -> Vec<Value> {
    let listed = project.json(&["dead-letters", "list", "puppet", "--limit", "100000"]);
    listed["dead_letters"].as_array().unwrap().clone()
}

/// Position, and what it waits behind.
fn places(project: &Project) -> Vec<(u64, Option<u64>)> {
    let place = |letter: &Value| (letter["position"].as_u64().unwrap(), letter["behind"].as_u64());
    letters(project).iter().map(place).collect()
}

fn incomplete(status: &Value) -> &str {
    of(status, "puppet")["incomplete"].as_str().unwrap_or_default()
}

#[track_caller]
fn wait_incomplete(host: &Host, words: &str) -> Value {
    host.wait_status(&format!("'{words}'"), wait::LONG, |status| {
        incomplete(status) == words && of(status, "puppet")["live"]["lag_events"] == 0
    })
}

fn live_generation(status: &Value) -> i64 {
    of(status, "puppet")["live"]["generation"].as_i64().unwrap_or(0)
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is missing:\n{text}");
    }
}

/// Each project needs a database of its own.
fn again(database: &Database) -> Database {
    match database {
        Database::Sqlite => Database::sqlite(),
        Database::Postgres(_) => Database::postgres().expect("the server of a moment ago"),
    }
}

fn a_poisonous_event_is_parked_with_what_comes_behind_it_and_the_others_go_on(database: Database) {
    let project = Project::with_settings(database, DEAD_LETTER);
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
    import(&project, "log", &log);
    project.deploy_bytes(&named("1.0.0", &[]), "puppet");
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
        &["Panic 1 at position 3", "puppet", "g1 live"],
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

fn a_retry_replays_a_stream_in_order_up_to_what_still_fails(database: Database) {
    let project = Project::with_settings(database, DEAD_LETTER);
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
    import(&project, "log", &log);
    project.deploy_bytes(&named("1.0.0", &[]), "puppet");
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
    assert_eq!(places(&project), [(6, None), (7, Some(2))]);
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
    let project = Project::with_settings(database, DEAD_LETTER);
    let log = [
        ("s-1", "Put", 1),
        ("s-1", "Fail", 2),
        ("s-1", "Put", 3),
        ("s-2", "Trap", 4),
        ("s-2", "Put", 5),
    ];
    import(&project, "log", &log);
    project.deploy_bytes(&named("1.0.0", &[("options", "partition:stream")]), "puppet");
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
    let mut discard = project.command(&[
        "dead-letters",
        "discard",
        "puppet",
        "2",
        "--reason",
        "a test of the launch",
    ]);
    let said = discard.env("USER", "ada").output().unwrap();
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
    import(&project, "again", &[("s-3", "Fail", 7), ("s-3", "Put", 8)]);
    host.wait_status("a pause", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let told = project.ok(&[
        "dead-letters",
        "discard",
        "puppet",
        "7",
        "--reason",
        "a test of the launch",
    ]);
    says(&told, &["`lamphouse resume puppet`"]);
    project.ok(&["resume", "puppet"]);
    host.wait_level("puppet");
    assert_eq!(rows(&project)[1], "s-3 8 2 1.50");
    host.stop();
}

fn a_mended_version_builds_everything_at_its_place(database: Database) {
    let project = Project::with_settings(database, DEAD_LETTER);
    let log = [
        ("s-1", "Put", 1),
        ("s-1", "Fail", 2),
        ("s-1", "Put", 3),
        ("s-1", "Count", 4),
    ];
    import(&project, "log", &log);
    project.deploy_bytes(&named("1.0.0", &[]), "puppet");
    let host = project.serve();
    wait_incomplete(&host, "3 events of 1 stream are parked");
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    // Rehearsed before: the one would not do, the other would, and no row changes.
    let file = project.path("candidate.wasm");
    std::fs::write(&file, named("1.0.1", &[("stamp", "x")])).unwrap();
    let told = project.fails(&["rehearse", file.to_str().unwrap()]);
    says(&told, &["1 event would still fail"]);
    let mended = named("1.0.1", &[("events", "Put,Count")]);
    std::fs::write(&file, &mended).unwrap();
    let rehearsed = project.json(&["rehearse", file.to_str().unwrap()]);
    assert_eq!(
        (&rehearsed[0]["passed"], &rehearsed[0]["on_its_rows"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(letters(&project)[0]["attempts"], 1);
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    project.deploy_bytes(&mended, "puppet");
    let status = host.wait_version("puppet", "1.0.1");
    let ignored = &project.json(&["explain", "2"])["projections"][0];
    assert_eq!(ignored["outcome"], "not_subscribed");
    says(
        ignored["message"].as_str().unwrap(),
        &["it is Fail 1", "takes Put, Count"],
    );
    assert_eq!(
        (incomplete(&status), &of(&status, "puppet")["healthy"]),
        ("", &json!(true))
    );
    assert_eq!(rows(&project), ["s-1 3 4 1.75"]);
    // Back to the old one: it still knows what it had parked, and parks what has come since.
    project.append("s-1", "Put", &json!(5));
    host.wait_level("puppet");
    project.ok(&["rollback", "puppet"]);
    wait_incomplete(&host, "4 events of 1 stream are parked");
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    project.ok(&["cutover", "puppet"]);
    let status = host.wait_version("puppet", "1.0.1");
    assert_eq!(incomplete(&status), "");
    assert_eq!(rows(&project), ["s-1 5 5 1.50"]);
    host.stop();
}

fn a_full_parking_place_pauses_and_names_the_key(database: Database) {
    let settings = format!("{DEAD_LETTER}parked_streams_max = 2\nparked_events_max = 4\n");
    let project = Project::with_settings(database, &settings);
    let log = [
        ("s-1", "Fail", 1),
        ("s-2", "Fail", 2),
        ("s-4", "Put", 3),
        ("s-3", "Fail", 4),
        ("s-4", "Put", 5),
    ];
    import(&project, "log", &log);
    project.deploy_bytes(&named("1.0.0", &[("options", "partition:stream")]), "puppet");
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
    project.ok(&[
        "dead-letters",
        "discard",
        "puppet",
        "1",
        "--reason",
        "a test of the launch",
    ]);
    project.ok(&["resume", "puppet"]);
    wait_incomplete(&host, "2 events of 2 streams are parked");
    assert_eq!(rows(&project), ["s-4 5 2 1.50"]);
    let more = [
        ("s-2", "Put", 6),
        ("s-3", "Put", 7),
        ("s-2", "Put", 8),
        ("s-4", "Put", 9),
    ];
    import(&project, "more", &more);
    let status = host.wait_status("the events' limit", wait::LONG, |status| {
        let message = of(status, "puppet")["message"].as_str().unwrap_or_default();
        message.contains("[projection] parked_events_max")
    });
    assert_eq!(of(&status, "puppet")["live"]["checkpoint"], 7);
    host.stop();
    project.set_settings(DEAD_LETTER);
    let host = project.serve();
    wait_incomplete(&host, "5 events of 2 streams are parked");
    assert_eq!(rows(&project), ["s-4 9 3 1.50"]);
    host.stop();
}

fn a_new_generation_that_parks_more_waits_for_a_person(database: Database) {
    let project = Project::with_settings(database, DEAD_LETTER);
    let log = [
        ("s-1", "Put", 1),
        ("s-2", "Trap", 2),
        ("s-1", "Fail", 3),
        ("s-1", "Put", 4),
        ("s-3", "Put", 5),
    ];
    import(&project, "log", &log);
    project.deploy_bytes(&named("1.0.0", &[("events", "Put,Count,Trap")]), "puppet");
    let host = project.serve();
    let first = live_generation(&wait_incomplete(&host, "1 event of 1 stream is parked"));
    // It parks the trap too, but also what the public one takes.
    project.deploy_bytes(&named("1.1.0", &[]), "puppet");
    let status = host.wait_status("the wait to be said", wait::LONG, |status| {
        of(status, "puppet")["message"]
            .as_str()
            .unwrap_or_default()
            .contains("has parked what the public one has not")
    });
    let one = of(&status, "puppet");
    says(
        one["message"].as_str().unwrap(),
        &[
            "position 3",
            "stream s-1",
            "and 1 more",
            "`lamphouse cutover puppet`",
        ],
    );
    assert_eq!(one["others"][0]["parked_events"], 3);
    assert_eq!(live_generation(&status), first);
    assert_eq!(rows(&project), ["s-1 4 3 1.50", "s-3 5 1 1.50"]);
    // Not by a restart either, nor by a command that brings everything level.
    host.kill();
    project.catch_up();
    let status = project.status().unwrap();
    assert_eq!(live_generation(&status), first);
    let host = project.serve();
    project.append("s-3", "Put", &json!(6));
    host.wait_status("the live one to go on", wait::LONG, |status| {
        of(status, "puppet")["live"]["checkpoint"] == 6
    });
    project.ok(&["cutover", "puppet"]);
    let status = wait_incomplete(&host, "3 events of 2 streams are parked");
    assert!(live_generation(&status) > first);
    assert_eq!(rows(&project), ["s-1 1 1 1.50", "s-3 6 2 1.50"]);
    // One that parks no more than this is switched to by itself.
    project.deploy_bytes(&named("1.2.0", &[]), "puppet");
    host.wait_version("puppet", "1.2.0");
    host.stop();
}

fn a_call_without_end_pauses_and_is_never_parked(database: Database) {
    let project = Project::with_settings(database, &format!("{DEAD_LETTER}[limits]\ncall_ms_max = 100\n"));
    import(
        &project,
        "log",
        &[
            ("s-1", "Put", 1),
            ("s-1", "Fail", 2),
            ("s-2", "Spin", 3),
            ("s-3", "Put", 4),
        ],
    );
    project.deploy_bytes(&named("1.0.0", &[]), "puppet");
    let host = project.serve();
    let status = host.wait_status("the pause", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    assert_eq!(of(&status, "puppet")["others"][0]["fault"]["class"], "time_limit");
    assert!(places(&project).iter().all(|(position, _)| *position == 2));
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

/// A log of 40 streams with 1 of 150 events poisonous.
fn poisoned(events: usize, random: &mut Seeded) -> Vec<String> {
    (0..events)
        .map(|number| {
            let stream = format!("s-{:02}", (random.unit() * 40.0) as u32);
            let event_type = match number {
                _ if number % 150 == 77 => "HugeRow",
                _ if number % 3 == 0 => "Count",
                _ => "Put",
            };
            log_file::line(&stream, event_type, &json!(number))
        })
        .collect()
}

fn killed_at_any_moment_with_poison_in_the_log_nothing_else_is_wrong(database: Database) {
    let kills = if long() { 30 } else { 5 };
    let seed = std::env::var("LAMPHOUSE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    println!("LAMPHOUSE_TEST_SEED={seed} gives the same moments again");
    let mut random = Seeded::new(seed);
    let each = 150;
    let lines = poisoned(each * (kills + 1), &mut random);
    let pipeline = "[pipeline]\nbatch_events_max = 20\nflush_events_max = 40\n";
    let plugin = named("1.0.0", &[("options", "partition:stream")]);

    // What the tables would be without poison.
    let truth = Project::with_settings(again(&database), ROOM);
    truth.import_lines("log", &lines);
    truth.deploy_bytes(&plugin, "puppet");
    truth.catch_up();
    let truth = rows(&truth);

    let project = Project::with_settings(database, &format!("{DEAD_LETTER}{pipeline}"));
    project.deploy_bytes(&plugin, "puppet");
    for (number, piece) in lines.chunks(each).enumerate() {
        let host = project.serve();
        let name = format!("piece-{number}");
        if number < kills {
            let file = project.path(&format!("{name}.jsonl"));
            log_file::write(&file, piece);
            let mut import = project
                .command(&["import", file.to_str().unwrap()])
                .spawn()
                .unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20).mul_f64(1.0 + 10.0 * random.unit()));
            host.kill();
            import.wait().unwrap();
            project.import(&file);
        } else {
            project.import_lines(&name, piece);
            host.wait_level("puppet");
            host.stop();
        }
    }
    let all = letters(&project);
    let parked: std::collections::BTreeSet<&str> = all
        .iter()
        .map(|letter| letter["stream_id"].as_str().unwrap())
        .collect();
    assert!(!parked.is_empty() && parked.len() < 40, "{parked:?}");
    // Each event of a parked stream from the first poisonous one on, once.
    let mut expected = Vec::new();
    let mut poisonous = std::collections::BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let stream = line["stream_id"].as_str().unwrap().to_owned();
        if line["event_type"] == "HugeRow" {
            poisonous.insert(stream.clone());
        }
        if poisonous.contains(&stream) {
            expected.push(index as u64 + 1);
        }
    }
    let positions: Vec<u64> = all
        .iter()
        .map(|letter| letter["position"].as_u64().unwrap())
        .collect();
    assert_eq!(positions, expected);
    let others = |rows: Vec<String>| -> Vec<String> {
        let is_free = |row: &String| !parked.contains(row.split(' ').next().unwrap());
        rows.into_iter().filter(is_free).collect()
    };
    assert_eq!(others(rows(&project)), others(truth.clone()), "the other streams");

    // Killed in the midst of a retry, then once more to the end.
    project.set_settings(&format!("{DEAD_LETTER}{pipeline}{ROOM}"));
    let host = project.serve();
    let mut retry = project
        .command(&["dead-letters", "retry", "puppet"])
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100).mul_f64(random.unit()));
    host.kill();
    let _ = retry.kill();
    retry.wait().unwrap();
    let host = project.serve();
    host.wait_level("puppet");
    project.ok(&["dead-letters", "retry", "puppet"]);
    let status = host.wait_level("puppet");
    assert_eq!(incomplete(&status), "");
    assert_eq!(rows(&project), truth, "everything, after the retry");
    // And so does a generation that was built with a mended version.
    project.deploy_bytes(&named("1.0.1", &[]), "puppet");
    host.wait_version("puppet", "1.0.1");
    assert_eq!(rows(&project), truth, "everything, built anew");
    host.stop();
}
