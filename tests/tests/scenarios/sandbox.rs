//! Evil guests: each is faulted with a message that names plugin, position, limit and knob, and nobody else notices.

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, Project, log_file, on_each_database, puppet, wait};
use serde_json::{Value, json};

on_each_database!(evil_guests_are_stopped_by_name_and_the_others_go_on);

const SETTINGS: &str =
    "[limits]\ncall_ms_max = 200\nmemory_bytes_max = 33554432\nchanges_per_call_max = 5000\n";

/// The event that sets it off, and what its message must name.
const EVILS: &[(&str, &[&str])] = &[
    ("Spin", &["call_ms_max"]),
    ("SpinCalling", &["call_ms_max"]),
    ("EatMemory", &["memory_bytes_max"]),
    ("Recurse", &["stack_bytes_max"]),
    ("RecurseInMemory", &["deep in a recursion"]),
    ("Trap", &["unreachable"]),
    ("Panic", &["the puppet panics"]),
    ("Fail", &["said no, politely"]),
    ("HugePanic", &["why? why?"]),
    ("HugeFailure", &["no! no!"]),
    ("MillionChanges", &["changes_per_call_max"]),
    ("HugeRow", &["bytes_per_change_max"]),
    ("UndeclaredTable", &["table"]),
    ("UndeclaredColumn", &["column"]),
    ("WrongType", &["count"]),
    ("WrongDecimal", &["amount"]),
];

fn name(evil: &str) -> String {
    format!("evil-{}", evil.to_lowercase())
}

fn evil_guests_are_stopped_by_name_and_the_others_go_on(database: Database) {
    let project = Project::with_settings(database, SETTINGS);
    project.deploy_bytes(
        &puppet::puppet(&[("name", "good"), ("table", "good"), ("events", "Put,Count")]),
        "good",
    );
    for (evil, _) in EVILS {
        let name = name(evil);
        let table = name.replace('-', "_");
        let settings = [
            ("name", name.as_str()),
            ("table", &table),
            ("events", &format!("Put,{evil}")),
        ];
        project.deploy_bytes(&puppet::puppet(&settings), &name);
    }
    let host = project.serve();
    project.append("row-1", "Put", &Value::Null);
    for (evil, _) in EVILS {
        host.wait_level(&name(evil));
    }
    let bad = EVILS
        .iter()
        .map(|(evil, _)| log_file::line("row-1", evil, &json!("said no, politely")));
    project.import_lines("evil", bad);
    project.append("row-2", "Put", &Value::Null);

    // The good one has everything, at once.
    host.wait_status("the good projection to go on", wait::SHORT, |status| {
        of(status, "good")["live"]["checkpoint"] == status["log"]["head"]
    });
    for (index, (evil, words)) in EVILS.iter().enumerate() {
        let name = name(evil);
        let position = index as u64 + 2;
        let status = host.wait_status(&format!("{name} to be faulted"), wait::LONG, |status| {
            of(status, &name)["state"] == "faulted"
        });
        let one = of(&status, &name);
        let fault = &one["live"]["fault"];
        let said = format!("{} {} {}", fault["message"], fault["trace"], fault["log"]);
        assert_eq!(fault["position"], position, "{name}: {fault:#}");
        assert_eq!(one["healthy"], false, "{name}");
        assert!(
            fault["message"].as_str().unwrap().contains(&name),
            "the message names no plugin: {fault:#}"
        );
        assert!(
            said.contains(&position.to_string()),
            "{name}: the message names no position: {said}"
        );
        let message = fault["message"].as_str().unwrap();
        for word in [
            "deploy a mended version".to_owned(),
            format!("`lamphouse resume {name}`"),
        ] {
            assert!(
                message.contains(&word),
                "{name}: what is to be done now? {message}"
            );
        }
        assert!(
            message.len() < 6_000 && said.len() < 300_000,
            "{name}: {} bytes",
            said.len()
        );
        for word in *words {
            assert!(
                said.contains(word),
                "{name}: the message should say '{word}': {said}"
            );
        }
        let rows = project
            .client()
            .number(&format!("SELECT count(*) FROM {}", name.replace('-', "_")))
            .unwrap();
        assert_eq!(
            rows, 1,
            "{name}: its table stays readable as it was before the fault"
        );
        let checkpoint = one["live"]["checkpoint"].as_u64().unwrap();
        // Events that it did not ask for may lie between.
        assert!(
            (1..position).contains(&checkpoint),
            "{name} stands at {checkpoint}, not before {position}"
        );
    }
    let rows = project.client().number("SELECT count(*) FROM good").unwrap();
    assert_eq!(rows, 2);
    // Still the same process, still serving.
    project.append("row-3", "Put", &Value::Null);
    host.wait_status("the good projection", wait::SHORT, |status| {
        of(status, "good")["live"]["checkpoint"] == status["log"]["head"]
    });
    host.stop();
}

#[test]
fn a_plugin_check_names_what_a_guest_may_not_import() {
    let project = Project::new(Database::sqlite());
    let socket = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    std::fs::write(project.path("socket.wasm"), wat::parse_str(socket).unwrap()).unwrap();
    let message = project.fails(&["plugin", "check", project.path("socket.wasm").to_str().unwrap()]);
    assert!(message.contains("wasi:http/outgoing-handler"), "{message}");
}

/// A project with 50 events of 5 streams, and this puppet beside it, not deployed.
fn with_events(settings: &[(&str, &str)]) -> (Project, String) {
    let project = Project::new(Database::sqlite());
    let line = |number: u64| log_file::line(&format!("row-{}", number % 5), "Put", &Value::from(number));
    project.import_lines("rows", (0..50).map(line));
    let file = project.path("candidate.wasm");
    std::fs::write(&file, puppet::puppet(settings)).unwrap();
    (project, file.to_str().unwrap().to_owned())
}

#[test]
fn a_plugin_check_takes_what_gives_the_same_rows_in_every_run() {
    // The second one writes addresses of code, stack and data and the seed of a hash map into its rows: in this sandbox
    // they are the same in every process.
    for settings in [&[][..], &[("project", "leak")]] {
        let (project, file) = with_events(settings);
        let said = project.ok(&["plugin", "check", &file]);
        let gave = "50 events in batches of 1, 7 and 1000, and in a second process, gave 5 rows";
        assert!(
            said.contains(gave) && said.contains("it may be deployed"),
            "{said}"
        );
        let report = project.json(&["plugin", "check", &file]);
        assert_eq!(
            (&report["rows"], &report["problems"], &report["difference"]),
            (&json!(5), &json!([]), &Value::Null)
        );
    }
}

#[test]
fn a_plugin_check_shows_the_first_row_that_depends_on_the_batches() {
    let (project, file) = with_events(&[("project", "boundary")]);
    let output = project.run(&["plugin", "check", &file]);
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    for line in [
        "in table puppet, key id = 'row-0':",
        "count  1  in batches of 1",
        "7  in batches of 7",
        "50  in batches of 1000, a second process",
    ] {
        assert!(out.contains(line), "'{line}' is missing:\n{out}");
    }
    for words in [
        "candidate.wasm may not be deployed",
        "different rows in batches of 7 and batches of 1000 and a second process than in batches of 1",
        "table 'puppet', key id = 'row-0'",
        "not on which events come in one call",
    ] {
        assert!(err.contains(words), "'{words}' is missing:\n{err}");
    }
    let report: Value =
        serde_json::from_slice(&project.run(&["plugin", "check", &file, "--json"]).stdout).unwrap();
    assert_eq!(report["difference"]["columns"], json!(["count"]));
    let run = |number: usize| report["difference"]["runs"][number]["values"].clone();
    assert_eq!(
        [run(0), run(1), run(2), run(3)],
        [json!(["1"]), json!(["7"]), json!(["50"]), json!(["50"])]
    );
}

#[test]
fn a_plugin_check_finds_the_order_of_a_hash_map() {
    let (project, file) = with_events(&[("project", "hash")]);
    let message = project.fails(&["plugin", "check", &file]);
    assert!(message.contains("the order of a hash map"), "{message}");
}

#[test]
fn a_plugin_check_says_where_a_plugin_fails() {
    let (project, file) = with_events(&[("project", "fail")]);
    let message = project.fails(&["plugin", "check", &file]);
    for words in [
        "in batches of 1: the events from position 1 failed",
        "version says no",
    ] {
        assert!(message.contains(words), "{message}");
    }
    // What the second process takes is an order, and nothing else.
    let message = project.fails(&["plugin", "check", "--replay", &file]);
    assert!(message.contains("standard input holds no order"), "{message}");
}
