//! The files of `docs/monitoring`: they load as they are, and name only what a host has.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lamphouse_tests::strict;
use serde_json::Value;

use super::page::Page;

pub(super) fn folder() -> PathBuf {
    xtask::paths::root().join("docs/monitoring")
}

fn dashboard() -> Value {
    let text = fs::read_to_string(folder().join("grafana-dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every expression of the dashboard's panels.
pub(super) fn of_dashboard() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// Every expression of the alert rules.
fn of_alerts() -> Vec<String> {
    let text = fs::read_to_string(folder().join("alerts.yml")).unwrap();
    let lines = text.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix("expr: "))
        .map(str::to_owned)
        .collect()
}

/// The part of the chapter that Prometheus reads.
pub(super) fn scrape_configuration() -> String {
    let chapter = fs::read_to_string(xtask::paths::root().join("docs/MONITORING.md")).unwrap();
    let block = chapter
        .split("```yaml\n")
        .find(|block| block.starts_with("scrape_configs:"))
        .and_then(|block| block.split("```").next());
    block.expect("the configuration").to_owned()
}

/// The names of our metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("lamphouse_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// `page` is of a host that has done something of everything.
#[track_caller]
pub(super) fn every_metric_that_they_name_is_there(page: &Page) {
    // These are there only while there is something to tell.
    let at_times = [
        "lamphouse_rebuild_progress_ratio",
        "lamphouse_rebuild_remaining_seconds",
        "lamphouse_otlp_exports_total",
    ];
    let (dashboard, alerts) = (of_dashboard(), of_alerts());
    assert!(
        dashboard.len() >= 20 && alerts.len() >= 8,
        "{dashboard:#?}\n{alerts:#?}"
    );
    for expression in dashboard.iter().chain(&alerts) {
        let names = names(expression);
        for name in &names {
            assert!(
                page.has(name) || at_times.contains(&name.as_str()),
                "no host has '{name}': {expression}"
            );
        }
        assert!(
            !names.is_empty() || expression.contains("up{"),
            "about nothing of ours: {expression}"
        );
    }
    // And the list for people names all that there is.
    let chapter = fs::read_to_string(xtask::paths::root().join("docs/MONITORING.md")).unwrap();
    let listed = names(&chapter);
    for name in page.names() {
        let family = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(
            listed.contains(family),
            "docs/MONITORING.md does not list {family}"
        );
    }
}

#[test]
fn the_dashboard_loads_as_it_is() {
    let dashboard = dashboard();
    assert!(dashboard["uid"].as_str().is_some_and(|uid| uid.len() <= 40));
    assert!(dashboard["id"].is_null(), "Grafana gives the number");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(38), "Grafana 10");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(
        variables
            .iter()
            .any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource")
    );
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut places: Vec<[u64; 4]> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: its id is another's"
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let place = [at("x"), at("y"), at("w"), at("h")];
        assert!(place[0] + place[2] <= 24, "{title} is too wide");
        for other in &places {
            let beside = place[0] >= other[0] + other[2] || other[0] >= place[0] + place[2];
            let below = place[1] >= other[1] + other[3] || other[1] >= place[1] + place[3];
            assert!(beside || below, "{title} lies over another");
        }
        places.push(place);
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(
            panel["description"].as_str().is_some_and(|text| text.len() > 20),
            "{title} does not say what it shows"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(
                expression.matches('(').count(),
                expression.matches(')').count(),
                "{expression}"
            );
        }
    }
}

/// Prometheus' own tool takes the rules, and holds them to their tests.
#[test]
fn promtool_takes_the_alert_rules_and_their_tests() {
    let tool = match xtask::promtool::find() {
        Ok(tool) => tool,
        Err(why) => {
            assert!(!strict(), "nothing may be skipped, and {why:#}");
            println!("SKIPPED ({why:#}): the alert rules by promtool");
            return;
        }
    };
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let output = Command::new(&tool)
            .args(arguments)
            .current_dir(folder())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn promtool_takes_the_scrape_configuration_of_the_chapter() {
    let Ok(tool) = xtask::promtool::find() else {
        assert!(!strict(), "nothing may be skipped, and there is no promtool");
        println!("SKIPPED (no promtool): the scrape configuration");
        return;
    };
    let block = scrape_configuration();
    let scratch = tempfile::tempdir().unwrap();
    fs::write(
        scratch.path().join("prometheus.yml"),
        block.replace("/etc/prometheus/", "./"),
    )
    .unwrap();
    fs::write(scratch.path().join("lamphouse-token"), "a-token").unwrap();
    fs::copy(
        folder().join("alerts.yml"),
        scratch.path().join("lamphouse-alerts.yml"),
    )
    .unwrap();
    let output = Command::new(&tool)
        .args(["check", "config", "prometheus.yml"])
        .current_dir(scratch.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
