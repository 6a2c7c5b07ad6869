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
    ("Trap", &["unreachable"]),
    ("Panic", &["the puppet panics"]),
    ("Fail", &["said no, politely"]),
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
