//! JSON Schemas on append: over HTTP and by the command, while files change.

use std::fs;

use lamphouse_tests::puppet::puppet;
use lamphouse_tests::{Database, Host, Project, on_each_database, wait};
use serde_json::{Value, json};

use super::Api;

on_each_database!(
    every_violation_of_an_append_is_listed_and_nothing_goes_in,
    a_schema_changes_breaks_and_is_mended_while_the_host_runs,
    types_without_a_schema_can_be_refused,
);

fn write(project: &Project, file: &str, text: &str) {
    fs::create_dir_all(project.path("schemas")).unwrap();
    fs::write(project.path("schemas").join(file), text).unwrap();
}

fn placed() -> String {
    json!({
        "type": "object", "required": ["total"],
        "properties": {"total": {"$ref": "_money.json"}, "sku": {"type": "string", "maxLength": 5}},
    })
    .to_string()
}

fn event(event_type: &str, data: &Value) -> Value {
    json!({"event_type": event_type, "data": data, "metadata": {"reason": "a test of schemas"}})
}

fn stream(stream_id: &str, events: Vec<Value>) -> Value {
    json!({"stream_id": stream_id, "stream_type": "test", "events": events})
}

fn append(api: &Api, streams: Vec<Value>) -> (u16, Value) {
    api.ask(
        "POST /v1/append HTTP/1.1",
        &json!({"streams": streams}).to_string(),
    )
}

fn every_violation_of_an_append_is_listed_and_nothing_goes_in(database: Database) {
    let project = Project::new(database);
    write(&project, "OrderPlaced.1.json", &placed());
    write(
        &project,
        "_money.json",
        r#"{"type": "string", "pattern": "^[0-9]+[.][0-9]{2}$"}"#,
    );
    let host = project.serve();
    let api = Api::of(&project);
    let good = event("OrderPlaced", &json!({"total": "9.50"}));
    let free = event("Noted", &json!({"anything": [1, 2]}));
    let (status, _) = append(&api, vec![stream("a", vec![good.clone(), free.clone()])]);
    assert_eq!(status, 200);
    let wrong = event("OrderPlaced", &json!({"total": 9.5, "sku": "a long one"}));
    let empty = event("OrderPlaced", &json!({}));
    let streams = vec![
        stream("a", vec![good.clone(), wrong.clone()]),
        stream("b", vec![free, empty]),
    ];
    let (status, problem) = append(&api, streams);
    assert_eq!(status, 422, "{problem:#}");
    let mut listed: Vec<String> = problem["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {}",
                text("stream_id"),
                one["event"],
                text("pointer"),
                text("keyword")
            )
        })
        .collect();
    listed.sort();
    assert_eq!(
        listed,
        ["a 1 /sku maxLength", "a 1 /total type", "b 1  required"],
        "{problem:#}"
    );
    assert_eq!((&problem["total"], &problem["events"]), (&json!(3), &json!(2)));
    assert_eq!(project.head(), 2, "all or nothing");

    // One bad event of a thousand.
    let mut thousand = vec![good.clone(); 1_000];
    thousand[617] = wrong.clone();
    let (status, problem) = append(&api, vec![stream("c", thousand.clone())]);
    assert_eq!(status, 422);
    let places: Vec<&Value> = problem["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["event"])
        .collect();
    assert_eq!(places, [&json!(617), &json!(617)], "{problem:#}");
    thousand[617] = good;
    assert_eq!(append(&api, vec![stream("c", thousand)]).0, 200);
    assert_eq!(project.head(), 1_002);
    // More than are listed are counted.
    let (_, problem) = append(&api, vec![stream("d", vec![wrong; 200])]);
    assert_eq!(problem["violations"].as_array().unwrap().len(), 100);
    assert_eq!(problem["total"], 400);

    // The command is held to the same, with and without a host.
    let by_command = || {
        let bad = project.append_arguments("e", "OrderPlaced", r#"{"total":"9","sku":"too long"}"#);
        let said = project.fails(&bad.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            said.contains("/total") && said.contains("/sku") && said.contains("nothing was appended"),
            "{said}"
        );
    };
    by_command();
    host.stop();
    by_command();
    assert_eq!(project.head(), 1_002);
    // History comes in as it was, unless somebody asks.
    let line = lamphouse_tests::log_file::line("old-1", "OrderPlaced", &json!({"sum": 1}));
    lamphouse_tests::log_file::write(&project.path("old.jsonl"), [line]);
    let file = project.path("old.jsonl");
    let said = project.fails(&["import", "--check-schemas", file.to_str().unwrap()]);
    assert!(said.contains("line 1") && said.contains("total"), "{said}");
    assert_eq!(project.head(), 1_002);
    project.import(&file);
    assert_eq!(project.head(), 1_003);
}

fn takes(api: &Api, data: &Value) -> u16 {
    append(api, vec![stream("s", vec![event("A", data)])]).0
}

fn problems(host: &Host, what: &str, good: impl Fn(&str) -> bool) {
    host.wait_status(what, wait::SHORT, |status| good(&status["problems"].to_string()));
}

fn a_schema_changes_breaks_and_is_mended_while_the_host_runs(database: Database) {
    let project = Project::new(database);
    let host = project.serve();
    let api = Api::of(&project);
    assert_eq!(takes(&api, &json!(1)), 200, "there is no folder");
    let becomes = |what: &str, data: Value, status: u16| {
        wait::until(what, wait::SHORT, || match takes(&api, &data) {
            is if is == status => Ok(()),
            is => Err(is.to_string()),
        });
    };
    write(&project, "A.1.json", r#"{"type": "string"}"#);
    becomes("the first schema", json!(1), 422);
    assert_eq!(takes(&api, &json!("a")), 200);
    write(&project, "A.1.json", r#"{"type": "integer"}"#);
    becomes("the second", json!("a"), 422);
    assert_eq!(takes(&api, &json!(1)), 200);
    // Broken: the last good one goes on, and the status says so.
    write(&project, "A.1.json", r#"{"type": "boolean""#);
    problems(&host, "the problem", |said| {
        said.contains("A.1.json") && said.contains("go on counting")
    });
    assert_eq!((takes(&api, &json!(1)), takes(&api, &json!(true))), (200, 422));
    write(&project, "A.1.json", r#"{"type": "boolean"}"#);
    becomes("the mended one", json!(true), 200);
    problems(&host, "no problem", |said| said == "[]");
    // At the start there is none that was good before: what cannot be checked does not go in.
    host.stop();
    write(
        &project,
        "A.1.json",
        r#"{"$ref": "https://example.org/elsewhere.json"}"#,
    );
    write(&project, "B.1.json", r#"{"type": "string"}"#);
    let host = project.serve();
    let api = Api::of(&project);
    problems(&host, "the problem at the start", |said| {
        said.contains("A.1.json")
    });
    let (status, problem) = append(&api, vec![stream("s", vec![event("A", &json!(true))])]);
    assert_eq!(status, 503, "{problem:#}");
    assert!(
        problem["detail"].as_str().unwrap().contains("A.1.json"),
        "{problem:#}"
    );
    let b = |data: Value| append(&api, vec![stream("s", vec![event("B", &data)])]).0;
    assert_eq!((b(json!(1)), b(json!("b"))), (422, 200), "the good file counts");
    write(&project, "A.1.json", "true");
    wait::until("the mended file", wait::SHORT, || match takes(&api, &json!(1)) {
        200 => Ok(()),
        is => Err(is.to_string()),
    });
    host.stop();
}

fn types_without_a_schema_can_be_refused(database: Database) {
    let project = Project::with_settings(database, "[schemas]\nfolder = \"events\"\nunknown = \"refuse\"\n");
    fs::create_dir(project.path("events")).unwrap();
    fs::write(project.path("events/order%2Fplaced%20%E2%98%80.1.json"), "{}").unwrap();
    let things = puppet(&[("name", "things"), ("table", "things"), ("project", "record")]);
    project.deploy_bytes(&things, "things");
    let host = project.serve();
    host.wait_level("things");
    let api = Api::of(&project);
    let odd = event("order/placed ☀", &json!({}));
    assert_eq!(append(&api, vec![stream("s", vec![odd.clone()])]).0, 200);
    let mut next = odd;
    next["schema_version"] = json!(2);
    let (status, problem) = append(&api, vec![stream("s", vec![next])]);
    assert_eq!(status, 422, "{problem:#}");
    let message = problem["violations"][0]["message"].as_str().unwrap();
    assert!(message.contains("order%2Fplaced%20%E2%98%80.2.json"), "{message}");
    // What the host itself has to say is held to nothing.
    project.ok(&["pause", "things", "--reason", "a test of schemas"]);
    assert!(api.ok("/v1/streams/lamphouse.audit")["version"].as_u64() >= Some(1));
    host.stop();
}
