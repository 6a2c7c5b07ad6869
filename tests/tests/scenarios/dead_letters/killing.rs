//! Killed at random moments with poison in the log.

use lamphouse_tests::{Database, Project, log_file, long, on_each_database};
use serde_json::{Value, json};
use xtask::seeded::Seeded;

use super::{DEAD_LETTER, ROOM, incomplete, letters, named, rows, seed};

on_each_database!(killed_at_any_moment_with_poison_in_the_log_nothing_else_is_wrong,);

/// Each project needs a database of its own.
fn again(database: &Database) -> Database {
    match database {
        Database::Sqlite => Database::sqlite(),
        Database::Postgres(_) => Database::postgres().expect("the server of a moment ago"),
    }
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
    let mut random = Seeded::new(seed());
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
