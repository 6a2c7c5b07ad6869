//! The event catalog: what it says against what is known of the log, and its AsyncAPI form against that standard's schema.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use lamphouse_tests::puppet::{lifter, puppet};
use lamphouse_tests::{Database, Project, log_file, on_each_database};
use serde_json::{Value, json};

use super::Api;

on_each_database!(
    types_are_counted_and_say_who_takes_and_lifts_them,
    the_asyncapi_document_is_one,
    of_the_real_log_it_counts_what_the_controls_count,
);

fn find<'a>(catalog: &'a Value, event_type: &str, version: u64) -> &'a Value {
    let types = catalog["types"].as_array().unwrap();
    types
        .iter()
        .find(|one| one["event_type"] == event_type && one["schema_version"] == version)
        .unwrap_or_else(|| panic!("no {event_type} {version}: {catalog:#}"))
}

fn takers(one: &Value) -> Vec<String> {
    let consumers = one["consumers"].as_array().unwrap();
    let text = |consumer: &Value| format!("{} {}", consumer["projector"], consumer["gets"]).replace('"', "");
    consumers.iter().map(text).collect()
}

fn types_are_counted_and_say_who_takes_and_lifts_them(database: Database) {
    let project = Project::new(database);
    fs::create_dir(project.path("schemas")).unwrap();
    fs::write(project.path("schemas/New.2.json"), r#"{"type": "object"}"#).unwrap();
    fs::write(project.path("schemas/Planned.1.json"), "true").unwrap();
    let line = |stream: &str, stream_type: &str, event_type: &str, version: u64| {
        let mut line: Value = serde_json::from_str(&log_file::line(stream, event_type, &json!({}))).unwrap();
        line["stream_type"] = json!(stream_type);
        line["schema_version"] = json!(version);
        line.to_string()
    };
    project.import_lines(
        "all",
        [
            line("a", "thing", "Old", 1),
            line("a", "thing", "New", 2),
            line("b", "other", "New", 2),
            line("b", "other", "Noise", 1),
            line("a", "thing", "Lonely", 1),
            line("a", "thing", "New", 1),
        ],
    );
    let rules = "Old:1>New:2|Noise:1>";
    project.deploy_bytes(&lifter("lift", "1.0.0", &[("rules", rules)]), "lift");
    let projector = |name: &str, events: &str| {
        puppet(&[
            ("name", name),
            ("table", name),
            ("project", "record"),
            ("events", events),
        ])
    };
    project.deploy_bytes(&projector("news", "New,Never"), "news");
    let host = project.serve();
    host.wait_level("news");
    let api = Api::of(&project);
    let catalog = api.ok("/v1/catalog");
    assert_eq!((&catalog["position"], &catalog["head"]), (&json!(6), &json!(6)));
    let names: Vec<String> = catalog["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one["event_type"].as_str().unwrap(),
                one["schema_version"],
                one["count"]
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            "Lonely 1 1",
            "New 1 1",
            "New 2 2",
            "Noise 1 1",
            "Old 1 1",
            "Planned 1 0"
        ]
    );
    let new = find(&catalog, "New", 2);
    assert_eq!(
        (&new["first"]["position"], &new["last"]["position"]),
        (&json!(2), &json!(3))
    );
    let of: Vec<&Value> = new["stream_types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| &of["stream_type"])
        .collect();
    assert_eq!(of, ["other", "thing"]);
    assert_eq!(
        new["schema"],
        json!({"file": "New.2.json", "href": "/v1/catalog/New/2"})
    );
    assert_eq!(takers(new), ["news [{event_type:New,schema_version:2}]"]);
    let recorded = &project.json_lines(&["stream", "a"])[0]["recorded_at"];
    let first = &find(&catalog, "Old", 1)["first"]["recorded_at"];
    let time = |text: &Value| {
        text.as_str()
            .unwrap()
            .trim_end_matches('Z')
            .trim_end_matches('0')
            .to_owned()
    };
    assert_eq!(time(first), time(recorded));
    let old = find(&catalog, "Old", 1);
    assert_eq!(
        takers(old),
        ["news [{event_type:New,schema_version:2}]"],
        "as it is lifted"
    );
    assert_eq!(
        old["lifted_by"],
        json!([{"upcaster": "lift", "version": "1.0.0", "gives": [{"event_type": "New", "schema_version": 2}]}])
    );
    assert_eq!(old["schema"], Value::Null);
    assert_eq!(takers(find(&catalog, "Lonely", 1)), Vec::<String>::new());
    assert_eq!(
        catalog["unconsumed"],
        json!([{"event_type": "Lonely", "schema_version": 1}, {"event_type": "Noise", "schema_version": 1}])
    );
    assert_eq!(
        catalog["unseen"],
        json!([{"projector": "news", "event_type": "Never", "schema_versions": [], "stream_type": null}])
    );

    // One in full, by the address that the list gives.
    let full = api.ok(new["schema"]["href"].as_str().unwrap());
    assert_eq!(
        (&full["document"], &full["count"]),
        (&json!({"type": "object"}), &json!(2))
    );
    assert_eq!(api.ok("/v1/catalog/Planned/1")["document"], true);
    assert_eq!(api.get("/v1/catalog/New/3").0, 404);
    assert_eq!(api.get("/v1/catalog/New/x").0, 400);

    // What comes later is there at once; so does the command say, with and without a host.
    project.append("c", "Late", &json!({}));
    let later = api.ok("/v1/catalog");
    assert_eq!(
        (&later["position"], &find(&later, "Late", 1)["count"]),
        (&json!(7), &json!(1))
    );
    assert_eq!(project.json(&["catalog"]), later);
    host.stop();
    assert_eq!(project.json(&["catalog"]), later);
    let text = project.ok(&["catalog"]);
    assert!(
        text.contains("no deployed projector takes Late 1, Lonely 1, Noise 1")
            && text.contains("news subscribes to Never, and no event of the log is that"),
        "{text}"
    );
}

fn the_asyncapi_document_is_one(database: Database) {
    let project = Project::new(database);
    fs::create_dir(project.path("schemas")).unwrap();
    let placed = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["total"],
        "properties": {"total": {"$ref": "_money.json#/$defs/sum"}, "again": {"$ref": "#/properties/total"}},
    });
    fs::write(
        project.path("schemas/order%2Fplaced%20%E2%98%80.1.json"),
        placed.to_string(),
    )
    .unwrap();
    fs::write(
        project.path("schemas/_money.json"),
        r##"{"$defs": {"sum": {"type": "string", "const": "1.00", "enum": [{"$ref": "#"}, "1.00"]}}}"##,
    )
    .unwrap();
    let host = project.serve();
    let api = Api::of(&project);
    project.append("a", "order/placed ☀", &json!({"total": "1.00"}));
    project.append("a", "Noted", &json!({}));
    let document = api.ok("/v1/asyncapi.json");
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["channels"]["test"]["address"], "streams/test");
    let key = "order_2Fplaced_20_E2_98_80.1";
    let message = &document["components"]["messages"][key];
    assert_eq!(message["name"], "order/placed ☀", "{document:#}");
    // Every reference of ours leads somewhere.
    let mut left = vec![&document];
    let mut references = 0;
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(entries) => {
                for (key, value) in entries {
                    if let ("$ref", Value::String(reference)) = (key.as_str(), value) {
                        if reference == "#" {
                            continue;
                        }
                        let pointer = reference
                            .strip_prefix('#')
                            .unwrap_or_else(|| panic!("{reference}"));
                        assert!(
                            document.pointer(pointer).is_some(),
                            "{reference} leads nowhere: {document:#}"
                        );
                        references += 1;
                    }
                    left.push(value);
                }
            }
            _ => {}
        }
    }
    assert!(references >= 8, "{references}: {document:#}");
    let operations: BTreeMap<&str, &Value> = document["operations"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, operation)| (name.as_str(), &operation["action"]))
        .collect();
    assert_eq!(
        operations,
        BTreeMap::from([
            ("append-test", &json!("send")),
            ("follow-test", &json!("receive"))
        ])
    );
    if let Some(schema) = asyncapi_schema() {
        let schema: Value = serde_json::from_slice(&fs::read(schema).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        assert_eq!(wrong, Vec::<String>::new());
        let mut broken = document.clone();
        broken["channels"]["test"]["adress"] = json!("streams/test");
        assert!(!validator.is_valid(&broken), "the schema sees nothing");
    }
    host.stop();
}

/// The JSON Schema of AsyncAPI 3.0; None, with a loud line, where there is no npm or no registry.
fn asyncapi_schema() -> Option<PathBuf> {
    match xtask::languages::asyncapi_schema() {
        Ok(file) => Some(file),
        Err(why) => {
            assert!(!lamphouse_tests::strict(), "nothing may be skipped, and {why:#}");
            println!("SKIPPED ({why:#}): the AsyncAPI document against its schema");
            None
        }
    }
}

fn of_the_real_log_it_counts_what_the_controls_count(database: Database) {
    let (Some(file), Some(totals)) = (
        log_file::real(),
        xtask::paths::real_data("online_retail_totals.json"),
    ) else {
        println!("SKIPPED (no ../shared/data): the catalog of the real shop's log");
        return;
    };
    let totals: Value = serde_json::from_slice(&fs::read(totals).unwrap()).unwrap();
    let project = Project::new(database);
    project.deploy("order-upcasters-1.0.0", "order-upcasters");
    project.import(&file);
    project.deploy("order-summary-1.0.0", "order-summary");
    project.catch_up();
    let host = project.serve();
    let api = Api::of(&project);
    let began = Instant::now();
    let mut catalog = api.ok("/v1/catalog");
    let first = began.elapsed();
    lamphouse_tests::wait::until("the whole log to be counted", lamphouse_tests::wait::LONG, || {
        catalog = api.ok("/v1/catalog");
        match catalog["position"] == catalog["head"] {
            true => Ok(()),
            false => Err(catalog["position"].to_string()),
        }
    });
    let began = Instant::now();
    api.ok("/v1/catalog");
    println!(
        "the first answer took {first:?}, one of a counted log {:?}",
        began.elapsed()
    );
    assert_eq!(catalog["position"], 567_806);
    let counted: BTreeMap<String, u64> = catalog["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["event_type"].as_str().unwrap().to_owned(),
                one["count"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected: BTreeMap<String, u64> = serde_json::from_value(totals["expected_events"].clone()).unwrap();
    assert_eq!(counted, expected);
    for one in catalog["types"].as_array().unwrap() {
        assert!(
            !takers(one).is_empty(),
            "order-summary takes all of them: {one:#}"
        );
    }
    assert!(
        !find(&catalog, "LineAdded", 1)["lifted_by"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    host.stop();
}
