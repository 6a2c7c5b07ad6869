//! Rebuilds that are dealt out to several workers: the same rows, the same order within a stream, and no row of another's
//! stream.

use std::process::Stdio;
use std::time::Instant;

use lamphouse_tests::host::of;
use lamphouse_tests::puppet::puppet;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::{Value, json};
use xtask::seeded::Seeded;

on_each_database!(
    any_number_of_workers_makes_the_same_rows,
    a_poisoned_stream_is_parked_in_order_whoever_works_on_it,
    a_fault_is_stopped_at_however_far_others_have_gone,
    killed_at_any_moment_workers_make_the_same_rows,
    a_row_of_another_stream_is_refused_by_name,
    a_first_key_column_that_is_no_text_is_refused_at_deploy,
);

/// More of them than there are cores: then there is one a core.
const WORKERS: [u64; 2] = [1, 64];

fn settings(workers: u64, more: &str) -> String {
    format!("[pipeline]\nrebuild_workers_max = {workers}\n{more}")
}

fn rows(project: &Project, sql: &str) -> Vec<Vec<Option<String>>> {
    project.client().query(sql).unwrap()
}

fn any_number_of_workers_makes_the_same_rows(database: Database) {
    let project = Project::new(database);
    let file = log_file::generated(&project.path(""), 30_000, 17);
    project.import(&file);
    project.deploy("stream-seal-1.0.0", "stream-seal");
    const SEALS: &str = "SELECT stream_id, events, seal FROM stream_seals ORDER BY stream_id";
    let mut seals = Vec::new();
    // A cache that holds everything, and one that must read its rows back.
    for more in [
        "",
        "batch_events_max = 777\nflush_events_max = 2000\ncache_bytes_max = 100000\n",
    ] {
        for workers in WORKERS {
            project.set_settings(&settings(workers, more));
            if !seals.is_empty() {
                project.ok(&["rebuild", "stream-seal"]);
            }
            project.catch_up();
            seals.push(rows(&project, SEALS));
        }
    }
    let events: u64 = seals[0]
        .iter()
        .map(|row| row[1].as_deref().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(events, 30_000);
    assert!(seals[0].len() > 1_000, "too few streams to deal out");
    assert!(seals.windows(2).all(|two| two[0] == two[1]), "other rows");
    // What follows the log goes on from them.
    let host = project.serve();
    project.ok(&["rebuild", "stream-seal"]);
    project.import_lines(
        "more",
        (0..500).map(|number| log_file::line(&format!("late-{}", number % 7), "Late", &json!(number))),
    );
    host.wait_level("stream-seal");
    let late = rows(
        &project,
        "SELECT sum(events) FROM stream_seals WHERE stream_id LIKE 'late-%'",
    );
    assert_eq!(late[0][0].as_deref(), Some("500"));
    host.stop();
}

/// The generation that was made last.
fn newest(status: &Value, projection: &str) -> Value {
    let one = of(status, projection);
    let others = one["others"].as_array().into_iter().flatten();
    let all = others.chain([&one["live"]]);
    let newest = all.max_by_key(|one| one["generation"].as_u64());
    newest.cloned().unwrap_or_default()
}

/// A puppet whose rows are keyed by stream, and that says so.
fn by_stream(script: &[(&str, &str)]) -> Vec<u8> {
    let says = [("name", "puppet"), ("options", "partition:stream")];
    puppet(&[&says, script].concat())
}

fn a_poisoned_stream_is_parked_in_order_whoever_works_on_it(database: Database) {
    let project = Project::new(database);
    // 40 streams of 25 events; the tenth event of every fourth stream is poison.
    let lines = (0..1_000).map(|number: usize| {
        let (stream, nth) = (number % 40, number / 40);
        let is_poison = stream % 4 == 0 && nth == 9;
        let event_type = if is_poison { "Trap" } else { "Count" };
        log_file::line(&format!("s-{stream}"), event_type, &json!({ "n": nth }))
    });
    project.import_lines("log", lines);
    project.deploy_bytes(&by_stream(&[("version", "1.0.0")]), "puppet");
    let mut outcomes = Vec::new();
    for workers in WORKERS {
        project.set_settings(&format!(
            "{}[projection]\non_fault = \"dead-letter\"\n",
            settings(workers, "")
        ));
        if !outcomes.is_empty() {
            project.ok(&["rebuild", "puppet"]);
        }
        project.catch_up();
        let status = project.status().unwrap();
        let live = &of(&status, "puppet")["live"];
        // Ten streams: the poisoned event and the fifteen behind it.
        assert_eq!(
            (&live["parked_streams"], &live["parked_events"]),
            (&json!(10), &json!(160))
        );
        let letters = project.json(&["dead-letters", "list", "puppet", "--limit", "1000"]);
        let positions: Vec<_> = letters["dead_letters"]
            .as_array()
            .unwrap_or_else(|| panic!("{letters:#}"))
            .iter()
            .filter(|letter| letter["generation"] == live["generation"])
            .map(|letter| letter["position"].clone())
            .collect();
        outcomes.push((positions, rows(&project, "SELECT * FROM puppet ORDER BY 1")));
    }
    assert!(outcomes[0] == outcomes[1], "{outcomes:?}");
}

fn a_fault_is_stopped_at_however_far_others_have_gone(database: Database) {
    let project = Project::new(database);
    const STREAMS: usize = 40;
    const POISON: usize = 12_344;
    // One stream's poison in the midst; small calls, so that many are dealt out when it is met.
    let lines = (0..20_000).map(|number: usize| {
        let event_type = if number == POISON { "Trap" } else { "Count" };
        log_file::line(&format!("s-{}", number % STREAMS), event_type, &json!(number))
    });
    project.import_lines("log", lines);
    project.deploy_bytes(&by_stream(&[("version", "1.0.0")]), "puppet");
    let small = "batch_events_max = 50\nflush_events_max = 3000\n";
    let mut outcomes = Vec::new();
    for workers in WORKERS {
        project.set_settings(&settings(workers, small));
        let host = project.serve();
        if !outcomes.is_empty() {
            // It says what became of it.
            let rebuild = project.command(&["rebuild", "puppet"]).output().unwrap();
            assert!(!rebuild.status.success());
        }
        let stopped = host.wait_status("the projection to stop", wait::LONG, |status| {
            let newest = newest(status, "puppet");
            newest["state"] == "failed" && newest["fault"]["position"] == json!(POISON + 1)
        });
        // Everything before it, and nothing behind it, whoever made it.
        assert_eq!(newest(&stopped, "puppet")["checkpoint"], json!(POISON));
        host.stop();
        let parks = "[projection]\non_fault = \"dead-letter\"\ncutover = \"auto\"\n";
        project.set_settings(&format!("{}{parks}", settings(workers, small)));
        let host = project.serve();
        project.ok(&["resume", "puppet"]);
        host.wait_level("puppet");
        host.stop();
        outcomes.push(rows(&project, "SELECT * FROM puppet ORDER BY 1"));
    }
    assert!(
        outcomes[0].len() == STREAMS && outcomes[0] == outcomes[1],
        "{outcomes:?}"
    );
}

fn killed_at_any_moment_workers_make_the_same_rows(database: Database) {
    let more = "batch_events_max = 100\nflush_events_max = 1000\ncache_bytes_max = 300000\n";
    let project = Project::with_settings(database, &settings(1, more));
    project.import(&log_file::generated(&project.path(""), 30_000, 23));
    project.deploy("stream-seal-1.0.0", "stream-seal");
    const SEALS: &str = "SELECT stream_id, events, seal FROM stream_seals ORDER BY stream_id";
    project.catch_up();
    let alone = rows(&project, SEALS);
    project.set_settings(&settings(64, more));
    // What will be killed, by the compiled code that is in the cache now.
    let began = Instant::now();
    project.ok(&["rebuild", "stream-seal"]);
    let build = began.elapsed();
    let mut random = Seeded::new(11);
    let (mut tries, mut in_its_midst) = (0, 0);
    while in_its_midst < 3 && tries < 30 {
        tries += 1;
        let mut rebuild = project.command(&["rebuild", "stream-seal"]);
        let rebuild = rebuild.stdout(Stdio::null()).stderr(Stdio::null());
        let mut rebuild = rebuild.spawn().unwrap();
        std::thread::sleep(build.mul_f64(random.unit()));
        let _ = rebuild.kill();
        rebuild.wait().unwrap();
        let newest = newest(&project.status().unwrap(), "stream-seal");
        let reached = newest["checkpoint"].as_u64().unwrap_or(0);
        in_its_midst += u32::from(newest["state"] == "building" && (1..30_000).contains(&reached));
        // Goes on where it was killed, or is done already.
        project.catch_up();
        assert!(rows(&project, SEALS) == alone, "other rows after kill {tries}");
    }
    assert!(
        in_its_midst >= 3,
        "only {in_its_midst} of {tries} kills fell into a build"
    );
}

fn a_row_of_another_stream_is_refused_by_name(database: Database) {
    let project = Project::with_settings(database, &settings(64, ""));
    let line = |number: usize| log_file::line(&format!("s-{}", number % 40), "Count", &json!(number));
    project.import_lines("log", (0..1_000).map(line));
    project.import_lines("foreign", [log_file::line("s-1", "MillionChanges", &json!({}))]);
    project.deploy_bytes(&by_stream(&[("version", "1.0.0")]), "puppet");
    let host = project.serve();
    let status = host.wait_status("the projection to stop", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let message = of(&status, "puppet")["message"].as_str().unwrap().to_owned();
    for words in [
        "position 1001",
        "declares `partition = stream`",
        "key begins with '0'",
    ] {
        assert!(message.contains(words), "{message}");
    }
    host.stop();
}

fn a_first_key_column_that_is_no_text_is_refused_at_deploy(database: Database) {
    let project = Project::new(database);
    let bytes = by_stream(&[("version", "1.0.0"), ("key", "2")]);
    project.deploy_bytes(&bytes, "puppet");
    let host = project.serve();
    let status = host.wait_status("the file to be refused", wait::LONG, |status| {
        status["files"][0]["state"] == "refused"
    });
    let message = status["files"][0]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("table 'puppet': the first key column is no text"),
        "{message}"
    );
    host.stop();
}
