//! The example plugins in every language: the same rows and the same events as those of the Rust ones.

use std::fs;

use lamphouse_tests::host::of;
use lamphouse_tests::languages::{build_bare, build_restless, plugin};
use lamphouse_tests::project::said;
use lamphouse_tests::truth::Truth;
use lamphouse_tests::{Database, Project, log_file, long, wait};
use serde_json::json;
use xtask::languages::Language;

/// Makes a module of tests for each language.
macro_rules! in_each_language {
    ($($module:ident: $language:ident),+ $(,)?) => {$(
        mod $module {
            use super::*;

            #[test]
            fn the_real_log_gives_its_control_totals() {
                real_log(Language::$language, Database::sqlite());
                // The database does not know a plugin's language.
                if let Some(database) = long().then(Database::postgres).flatten() {
                    real_log(Language::$language, database);
                }
            }

            #[test]
            fn any_batch_size_gives_the_same_rows() {
                any_batch_size(Language::$language);
            }

            #[test]
            fn a_restless_plugin_gives_the_same_rows_twice_and_fails_with_its_own_words() {
                restless(Some(Language::$language));
            }
        }
    )+};
}

#[test]
fn a_restless_plugin_in_rust_gives_the_same_rows_twice_and_fails_with_its_own_words() {
    restless(None);
}

in_each_language!(typescript: TypeScript, python: Python, go: Go, c: C);

fn real_log(language: Language, database: Database) {
    let (Some(file), Some(truth)) = (log_file::real(), Truth::real().unwrap()) else {
        return;
    };
    let Some(plugin) = plugin("order-summary", language) else {
        return;
    };
    let project = Project::new(database);
    project.import(&file);
    project.deploy_bytes(&fs::read(plugin).unwrap(), "order-summary");
    project.catch_up();
    truth.assert_equals(&project.tables(false), language.name());
}

/// Stored events and lifted ones, as `plugin check` replays them.
fn any_batch_size(language: Language) {
    let Some(plugin) = plugin("order-summary", language) else {
        return;
    };
    let project = Project::new(Database::sqlite());
    project.import(&log_file::generated(&project.path(""), 1_000, 3));
    let said = project.ok(&["plugin", "check", plugin.to_str().unwrap()]);
    assert!(said.contains("it may be deployed"), "{said}");
    project.deploy("order-upcasters-1.0.0", "order-upcasters");
    let said = project.ok(&["plugin", "check", plugin.to_str().unwrap()]);
    assert!(said.contains("it may be deployed"), "{said}");
}

/// Whoever has no SDK has `wit/` and a bindings generator: typed records, one host call a change.
#[test]
fn a_projector_that_knows_the_contract_alone_counts_right() {
    let Some(plugin) = build_bare() else { return };
    let project = Project::new(Database::sqlite());
    project.import(&log_file::generated(&project.path(""), 2_000, 5));
    project.deploy_bytes(&plugin, "bare-c");
    project.catch_up();
    let counted = |sql: &str| project.json_lines(&["query", "--limit", "1000", sql]);
    let rows = counted("SELECT event_type, events FROM event_types ORDER BY event_type");
    let mut by_type = std::collections::BTreeMap::new();
    for line in log_file::lines(&project.path("generated-2000-5.jsonl.zst")).unwrap() {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        *by_type
            .entry(event["event_type"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    let truth: Vec<_> = by_type
        .iter()
        .map(|(event_type, events)| json!({"event_type": event_type, "events": events}))
        .collect();
    assert_eq!(rows, truth);
    let streams =
        counted("SELECT last_type, count(*) AS streams FROM streams GROUP BY last_type ORDER BY last_type");
    let at_it = counted(
        "SELECT event_type AS last_type, streams_at_it AS streams FROM event_types WHERE streams_at_it > 0 ORDER BY event_type",
    );
    assert_eq!(streams, at_it);
    let said = project.ok(&[
        "plugin",
        "check",
        project.path("plugins/bare-c.wasm").to_str().unwrap(),
    ]);
    assert!(
        said.contains("bare-c 1.0.0 (projector)") && said.contains("it may be deployed"),
        "{said}"
    );
}

#[test]
fn the_upcaster_in_typescript_gives_the_events_of_the_one_in_rust() {
    lifts_as_rust_does(Language::TypeScript);
}

#[test]
fn the_upcaster_in_python_gives_the_events_of_the_one_in_rust() {
    lifts_as_rust_does(Language::Python);
}

fn lifts_as_rust_does(language: Language) {
    let Some(plugin) = plugin("order-upcasters", language) else {
        return;
    };
    let project = Project::new(Database::sqlite());
    let file = log_file::generated(&project.path(""), 5_000, 17);
    project.import(&file);
    let lifted = |bytes: &[u8]| {
        project.deploy_bytes(bytes, "upcasters");
        let out = project.path("today.jsonl");
        project.ok(&["export", "--upcast", "--output", out.to_str().unwrap(), "--force"]);
        let lines = log_file::lines(&out).unwrap();
        lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .collect::<Vec<_>>()
    };
    let rust = fs::read(xtask::paths::guest("order-upcasters-1.0.0").unwrap()).unwrap();
    let (by_rust, by_other) = (lifted(&rust), lifted(&fs::read(&plugin).unwrap()));
    assert!(
        by_rust
            .iter()
            .any(|event| event["data"]["unit_price_minor"].is_number()),
        "nothing was lifted"
    );
    assert_eq!(by_rust, by_other);

    // And the tables are as they are without an upcaster.
    let truth = Truth::of_lines(log_file::lines(&file).unwrap()).version_1();
    project.deploy("order-summary-1.0.0", "order-summary");
    project.catch_up();
    truth.assert_equals(&project.tables(false), language.name());
}

/// Clock and chance are the host's own, fixed ones: two builds of the tables are the same. What fails, fails with the
/// message, and the place in the author's own file.
fn restless(language: Option<Language>) {
    let Some(plugin) = build_restless(language) else {
        return;
    };
    let project = Project::with_settings(Database::sqlite(), "[pipeline]\nbatch_events_max = 100\n");
    let ticks = (0..900).map(|number| log_file::line(&format!("clock-{number}"), "Ticked", &json!({})));
    project.import_lines("ticks", ticks);
    project.deploy_bytes(&plugin.bytes, "restless");
    project.catch_up();
    let sql = "SELECT stream_id, clock, chance FROM readings ORDER BY stream_id";
    let first = project.ok(&["query", "--json", "--limit", "1000", sql]);
    assert_eq!(first.lines().count(), 900);
    project.ok(&["rebuild", "restless"]);
    project.catch_up();
    let again = project.ok(&["query", "--json", "--limit", "1000", sql]);
    assert!(first == again, "a second build gave other rows");

    let erred = ["the weather in clock-1 is bad", plugin.source];
    for (event_type, words) in [("Erred", erred), ("Broke", plugin.last_words)] {
        let project = Project::new(Database::sqlite());
        project.import_lines("bad", [log_file::line("clock-1", event_type, &json!({}))]);
        project.deploy_bytes(&plugin.bytes, "restless");
        let ended = project.run(&["catch-up"]);
        let told = said(&ended);
        assert_eq!(ended.status.code(), Some(1), "{told}");
        let host = project.serve();
        let status = host.wait_status("the fault", wait::LONG, |status| {
            !of(status, "restless")["others"][0]["fault"].is_null()
        });
        host.stop();
        for told in [told, of(&status, "restless").to_string()] {
            for words in words {
                assert!(told.contains(words), "{event_type}: no '{words}' in {told}");
            }
        }
    }
}
