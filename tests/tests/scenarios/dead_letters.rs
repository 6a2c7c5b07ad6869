//! Events that a plugin cannot take: they are parked with what comes behind them, the rest goes on, and a person decides.

mod explaining;
mod generations;
mod killing;
mod parking;
mod real_log;
mod rehearsing;
mod settling;

use lamphouse_tests::host::{Host, of};
use lamphouse_tests::puppet::puppet;
use lamphouse_tests::{Database, Project, log_file, wait};
use serde_json::{Value, json};

const DEAD_LETTER: &str = "[projection]\non_fault = \"dead-letter\"\n";
/// Room for the rows of `HugeRow`, which fail without it.
const ROOM: &str = "[limits]\nbytes_per_change_max = 16_777_216\n";

/// Stream, event type, data.
type Line<'l> = (&'l str, &'l str, u64);

/// A project on these settings with this log, and with a puppet of these settings deployed as version 1.0.0.
fn deployed(database: Database, settings: &str, plugin: &[(&str, &str)], log: &[Line<'_>]) -> Project {
    let project = Project::with_settings(database, settings);
    import(&project, "log", log);
    project.deploy_bytes(&named("1.0.0", plugin), "puppet");
    project
}

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

/// Leaves out the event at a position; gives what was said.
#[track_caller]
fn discard(project: &Project, position: &str, reason: &str) -> String {
    project.ok(&["dead-letters", "discard", "puppet", position, "--reason", reason])
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is missing:\n{text}");
    }
}

/// The seed of this run's random moments; said, so that they can be had again.
fn seed() -> u64 {
    let given = std::env::var("LAMPHOUSE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    println!("LAMPHOUSE_TEST_SEED={seed} gives the same moments again");
    seed
}
