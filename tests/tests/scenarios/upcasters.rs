//! Upcasters end to end: what reaches a projector, and what a fault says. `deploying` has what is built anew and why.

mod deploying;

use std::collections::BTreeMap;

use lamphouse_tests::host::of;
use lamphouse_tests::puppet::{lifter, puppet};
use lamphouse_tests::truth::Truth;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::{Value, json};
use xtask::seeded::Seeded;

on_each_database!(
    an_event_reaches_the_projector_in_todays_form_and_export_writes_it,
    a_result_that_was_not_declared_stops_the_projection_and_a_mended_version_goes_on,
    a_shops_log_of_mixed_versions_gives_the_same_tables_as_one_in_todays_form,
    the_example_lifts_a_shops_old_events,
);

/// A projector that keeps a row for each event that came, of these types (all: empty).
fn recorder(name: &str, events: &str) -> Vec<u8> {
    puppet(&[
        ("name", name),
        ("table", name),
        ("project", "record"),
        ("extra", "metadata"),
        ("events", events),
    ])
}

/// What came, in order: `position.part stream type version data`.
fn came(project: &Project, table: &str) -> Vec<String> {
    let rows = project
        .client()
        .query(&format!("SELECT id, note FROM {table} ORDER BY id"))
        .unwrap();
    let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
    rows.iter()
        .map(|row| format!("{} {}", text(&row[0]), text(&row[1])))
        .collect()
}

/// The same without positions, which another log gives anew.
fn came_without_places(project: &Project, table: &str) -> Vec<String> {
    let lines = came(project, table).into_iter();
    lines
        .map(|line| {
            line.split_once(' ')
                .map_or(line.clone(), |(_, rest)| rest.to_owned())
        })
        .collect()
}

fn live_generation(status: &Value, projection: &str) -> i64 {
    of(status, projection)["live"]["generation"].as_i64().unwrap_or(0)
}

const RULES: (&str, &str) = ("rules", "Old:1>New:1|Both:1>One:1,Two:1|Gone:1>");

fn an_event_reaches_the_projector_in_todays_form_and_export_writes_it(database: Database) {
    let another = again(&database);
    let project = Project::new(database);
    project.import_lines(
        "log",
        [
            log_file::line("s-1", "Old", &json!({"a": 1})),
            log_file::line("s-1", "New", &json!({"a": 2})),
            log_file::line("s-2", "Both", &json!({"parts": [{"b": 3}, {"c": 4}]})),
            log_file::line("s-2", "Gone", &json!({})),
            log_file::line("s-3", "Unknown", &json!(5)),
        ],
    );
    project.deploy_bytes(&recorder("seen", ""), "seen");
    project.deploy_bytes(&lifter("lift", "1.0.0", &[RULES, ("tag", "once")]), "lift");
    project.catch_up();
    let truth = [
        r#"000000001.000 s-1 New 1 {"a":1,"lifted":"once"}"#,
        r#"000000002.000 s-1 New 1 {"a":2}"#,
        r#"000000003.000 s-2 One 1 {"b":3,"lifted":"once"}"#,
        r#"000000003.001 s-2 Two 1 {"c":4,"lifted":"once"}"#,
        "000000005.000 s-3 Unknown 1 5",
    ];
    assert_eq!(came(&project, "seen"), truth);
    // Stream, stream version, times and id are those of the stored event; metadata is what the upcaster made of it.
    let sql = "SELECT count, stamp, at, metadata FROM seen WHERE id LIKE '000000003%' ORDER BY id";
    let rows = project.client().query(sql).unwrap();
    let stored = project.json(&["events", "--type", "Both"]);
    assert_eq!(rows[0], rows[1], "siblings share all of it");
    assert_eq!(rows[0][0].as_deref(), Some("1"));
    assert_eq!(rows[0][1].as_deref(), stored["id"].as_str());
    let metadata: Value = serde_json::from_str(rows[0][3].as_deref().unwrap()).unwrap();
    assert_eq!(
        metadata,
        json!({"reason": "Written by an end-to-end scenario", "lifted": "once"})
    );

    // One event before and after, step by step.
    let shown = project.ok(&["events", "--upcast", "--type", "Both"]);
    for words in [
        "lift 1.0.0 takes Both 1",
        "One 1  {\"b\":3,\"lifted\":\"once\"}",
        "today One 1, Two 1",
    ] {
        assert!(shown.contains(words), "'{words}' is missing:\n{shown}");
    }
    let story = project.json(&["events", "--upcast", "--type", "Gone"]);
    assert_eq!(story["event"]["event_type"], "Gone");
    assert_eq!(story["steps"][0]["upcaster"], "lift");
    assert_eq!((&story["today"], &story["fault"]), (&json!([]), &Value::Null));
    let untouched = project.json(&["events", "--upcast", "--type", "Unknown"]);
    assert_eq!(untouched["steps"], json!([]));
    assert_eq!(untouched["today"][0]["data"], json!(5));
    let checked = project.ok(&[
        "plugin",
        "check",
        project.path("plugins/lift.wasm").to_str().unwrap(),
    ]);
    for words in [
        "lift 1.0.0 (upcaster)",
        "rule    Gone 1 → dropped",
        "3 events in batches",
        "gave 3 events",
    ] {
        assert!(checked.contains(words), "'{words}' is missing:\n{checked}");
    }
    let status = project.ok(&["status"]);
    let line = status
        .lines()
        .find(|line| line.starts_with("lift "))
        .unwrap_or_default();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["lift", "1.0.0", "seen"],
        "{status}"
    );

    // The export in today's form, in a log of its own without upcasters, gives the same rows.
    let file = project.path("today.jsonl.zst");
    project.ok(&["export", "--upcast", "--output", file.to_str().unwrap()]);
    let today = Project::new(another);
    today.import(&file);
    today.deploy_bytes(&recorder("seen", ""), "seen");
    today.catch_up();
    assert_eq!(
        came_without_places(&today, "seen"),
        came_without_places(&project, "seen")
    );
    today.import(&file);
    assert_eq!(today.head(), 5, "a second import adds nothing");
}

/// Each project needs a database of its own.
fn again(database: &Database) -> Database {
    match database {
        Database::Sqlite => Database::sqlite(),
        Database::Postgres(_) => Database::postgres().expect("the server of a moment ago"),
    }
}

fn a_result_that_was_not_declared_stops_the_projection_and_a_mended_version_goes_on(database: Database) {
    let project = Project::new(database);
    let line = |number: u64| {
        let data = if number == 33 {
            json!("poison")
        } else {
            json!(number)
        };
        log_file::line("s-1", "Old", &data)
    };
    project.import_lines("log", (1..=50).map(line));
    project.deploy_bytes(&recorder("seen", "New"), "seen");
    project.deploy_bytes(&recorder("olds", "Older"), "olds");
    let faulty = lifter("lift", "1.0.0", &[RULES, ("upcast", "stray"), ("when", "poison")]);
    project.deploy_bytes(&faulty, "lift");
    let host = project.serve();
    let status = host.wait_status("the fault", wait::LONG, |status| {
        of(status, "seen")["state"] == "faulted"
    });
    let seen = of(&status, "seen");
    let fault = &seen["others"][0]["fault"];
    let id = fault["event_id"].as_str().unwrap().to_owned();
    let message = fault["message"].as_str().unwrap();
    for words in [
        "upcaster lift 1.0.0 (",
        "at position 33",
        &id,
        "in its rule for Old 1",
        "it gave Stray 9, which the rule does not name",
    ] {
        assert!(message.contains(words), "'{words}' is missing: {message}");
    }
    assert_eq!(
        (&fault["position"], &fault["class"]),
        (&json!(33), &json!("fault"))
    );
    assert_eq!(
        seen["others"][0]["checkpoint"], 32,
        "what came before it is in the tables"
    );
    host.wait_level("olds");
    let shown = project.fails(&["events", "--upcast", "--after", "32", "--limit", "1"]);
    assert!(shown.contains("1 event could not be lifted"), "{shown}");
    let told = project.fails(&["export", "--upcast"]);
    assert!(told.contains("at position 33"), "{told}");
    let file = project.path("plugins/lift.wasm");
    let checked = project.fails(&["plugin", "check", file.to_str().unwrap()]);
    assert!(checked.contains("at position 33"), "{checked}");
    project.deploy_bytes(&lifter("lift", "1.0.1", &[RULES]), "lift");
    host.wait_level("seen");
    assert_eq!(came(&project, "seen").len(), 50);
    host.stop();
}

/// A shop's log with a part of its events in forms of old: renamed, wrapped, two in one, and noise in between.
fn aged(lines: &[String], seed: u64) -> Vec<String> {
    let mut random = Seeded::new(seed);
    let mut old: Vec<Value> = Vec::new();
    // The last event of a stream may take the next one of the stream in, if it is the very next in the log.
    for line in lines {
        let mut event: Value = serde_json::from_str(line).unwrap();
        if random.chance(10.0) {
            let mut noise = event.clone();
            noise["event_type"] = json!("Noise");
            noise["data"] = json!({"said": "nothing"});
            noise["stream_id"] = json!("noise-1");
            noise["stream_type"] = json!("noise");
            old.push(noise);
        }
        let event_type = event["event_type"].as_str().unwrap().to_owned();
        let joins = old.last().is_some_and(|last| {
            last["event_type"] == "OrderPlaced" && last["stream_id"] == event["stream_id"]
        });
        match event_type.as_str() {
            "LineAdded" if joins && random.chance(60.0) => {
                let last = old.last_mut().unwrap();
                last["event_type"] = json!("OrderOpened");
                last["data"] = json!({"parts": [last["data"], event["data"]]});
                continue;
            }
            // Three steps back.
            "LineAdded" if random.chance(40.0) => event["event_type"] = json!("LineKeyed"),
            "LineReturned" if random.chance(50.0) => {
                event["event_type"] = json!("LineSentBack");
                event["data"] = json!({"parts": [event["data"]]});
            }
            "OrderCancelled" if random.chance(50.0) => event["event_type"] = json!("OrderVoided"),
            _ => {}
        }
        old.push(event);
    }
    old.iter().map(Value::to_string).collect()
}

fn a_shops_log_of_mixed_versions_gives_the_same_tables_as_one_in_todays_form(database: Database) {
    let project = Project::with_settings(
        database,
        "[pipeline]\nbatch_events_max = 97\nflush_events_max = 500\n",
    );
    let file = log_file::generated(&project.path(""), 6_000, 21);
    let lines = log_file::lines(&file).unwrap();
    let old = aged(&lines, 4);
    let count = |name: &str| {
        old.iter()
            .filter(|line| line.contains(&format!("\"{name}\"")))
            .count()
    };
    let counts: BTreeMap<&str, usize> = ["OrderOpened", "LineKeyed", "LineSentBack", "OrderVoided", "Noise"]
        .map(|name| (name, count(name)))
        .into();
    assert!(
        counts.values().all(|count| *count > 10),
        "a test of little: {counts:?}"
    );
    let rules = "LineKeyed:1>LineTyped:1|LineTyped:2>LineAdded:1|LineSentBack:1>LineReturned:1|\
                 OrderOpened:1>OrderPlaced:1,LineAdded:1";
    let more = "LineTyped:1>LineTyped:2|OrderVoided:1>OrderCancelled:1|Noise:1>";
    project.deploy_bytes(
        &lifter("orders-lift", "1.0.0", &[("rules", rules)]),
        "orders-lift",
    );
    project.deploy_bytes(&lifter("more-lift", "1.0.0", &[("rules", more)]), "more-lift");
    project.deploy("order-summary-2.0.0", "order-summary");
    let host = project.serve();
    for (number, piece) in old.chunks(2_000).enumerate() {
        project.import_lines(&format!("piece-{number}"), piece);
    }
    let before = live_generation(&host.wait_level("order-summary"), "order-summary");
    let truth = Truth::of_lines(&lines);
    assert_eq!(project.tables(true), truth, "live");
    project.ok(&["rebuild", "order-summary"]);
    host.wait_status("a rebuild", wait::LONG, |status| {
        live_generation(status, "order-summary") > before
    });
    assert_eq!(project.tables(true), truth, "after a rebuild");
    host.stop();
}

fn the_example_lifts_a_shops_old_events(database: Database) {
    let project = Project::new(database);
    let file = log_file::generated(&project.path(""), 3_000, 5);
    let mut lines = log_file::lines(&file).unwrap();
    lines.push(log_file::line("cart-1", "CartViewed", &json!({"sku": "20001"})));
    let adjustment = json!({
        "adjustment_no": "A1", "customer_id": null, "country": "Malta", "currency": "GBP", "line_no": 1, "sku": "B",
        "description": "Adjust bad debt", "quantity": 1, "unit_price": "-11062.06",
    });
    lines.push(log_file::line("order-A1", "AdjustmentPosted", &adjustment));
    project.import_lines("all", &lines);
    project.deploy("order-upcasters-1.0.0", "order-upcasters");
    project.deploy_bytes(&recorder("seen", ""), "seen");
    project.catch_up();
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    for row in came(&project, "seen") {
        let mut words = row.splitn(5, ' ').skip(2);
        let (event_type, version, data) = (
            words.next().unwrap(),
            words.next().unwrap(),
            words.next().unwrap(),
        );
        *types.entry(format!("{event_type} {version}")).or_default() += 1;
        if matches!(event_type, "LineAdded" | "LineAdjusted") {
            let data: Value = serde_json::from_str(data).unwrap();
            assert!(
                data["unit_price_minor"].is_i64() && data["currency"] == "GBP",
                "{data}"
            );
            assert!(data.get("unit_price").is_none(), "{data}");
        }
    }
    let stored = |name: &str| {
        let word = format!("\"event_type\":\"{name}\"");
        lines.iter().filter(|line| line.contains(&word)).count()
    };
    let wanted = BTreeMap::from([
        ("OrderPlaced 1".to_owned(), stored("OrderPlaced")),
        ("LineAdded 2".to_owned(), stored("LineAdded")),
        ("CreditNoteIssued 1".to_owned(), stored("OrderCancelled")),
        ("LineReturned 1".to_owned(), stored("LineReturned")),
        ("AdjustmentOpened 1".to_owned(), stored("AdjustmentPosted")),
        ("LineAdjusted 1".to_owned(), stored("AdjustmentPosted")),
    ]);
    assert!(
        wanted.values().all(|count| *count > 0),
        "a test of little: {wanted:?}"
    );
    assert_eq!(types, wanted);
}
