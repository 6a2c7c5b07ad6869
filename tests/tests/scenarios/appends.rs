//! Many clients append at once: gapless, in commit order, stream versions right, conflicts reported.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lamphouse_tests::{Client, Database, Project, log_check, long, on_each_database};
use serde_json::Value;

on_each_database!(
    sixteen_clients_append_gapless_and_a_poller_sees_every_event_once,
    a_conflict_says_which_stream_and_what_is_there,
    a_repeated_append_gives_the_first_answer,
);

const CLIENTS: usize = 16;

/// Polls `position > last` until it is told to stop, then once more; gives the positions in the order it saw them.
fn poll(mut client: Client, stop: &AtomicBool) -> Vec<i64> {
    let mut seen = Vec::new();
    loop {
        let last = seen.last().copied().unwrap_or(0);
        let end = stop.load(Ordering::Relaxed);
        let rows = client.query(&format!(
            "SELECT position FROM events WHERE position > {last} ORDER BY position"
        ));
        seen.extend(
            rows.unwrap()
                .into_iter()
                .map(|row| row[0].as_deref().unwrap().parse::<i64>().unwrap()),
        );
        if end {
            return seen;
        }
    }
}

fn sixteen_clients_append_gapless_and_a_poller_sees_every_event_once(database: Database) {
    let each = if long() { 60 } else { 12 };
    let project = Project::new(database);
    project.append("first", "Count", &Value::Null);
    let stop = Arc::new(AtomicBool::new(false));
    let poller = {
        let (client, stop) = (project.log_client(), stop.clone());
        std::thread::spawn(move || poll(client, &stop))
    };
    let (acknowledged, conflicts) = (Arc::new(Mutex::new(vec![1])), Arc::new(Mutex::new(0_usize)));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (project, acknowledged, conflicts) = (&project, acknowledged.clone(), conflicts.clone());
            // On PostgreSQL every second client is a service that appends in its own transaction.
            let sql = project.database().url().filter(|_| number % 2 == 1);
            scope.spawn(move || {
                let client = sql.map(|_| project.log_client());
                let (positions, refused) = match client {
                    Some(client) => by_sql(client, number, each),
                    None => by_command(project, number, each),
                };
                acknowledged.lock().unwrap().extend(positions);
                *conflicts.lock().unwrap() += refused;
            });
        }
    });
    stop.store(true, Ordering::Relaxed);
    let seen = poller.join().unwrap();
    let mut acknowledged = acknowledged.lock().unwrap().clone();
    acknowledged.sort_unstable();
    let wanted: Vec<i64> = (1..=acknowledged.len() as i64).collect();
    assert_eq!(
        acknowledged, wanted,
        "each acknowledged position once, without a gap"
    );
    assert_eq!(seen, wanted, "what the poller saw");
    log_check::assert_whole(&project, acknowledged.len());
    let conflicts = *conflicts.lock().unwrap();
    assert!(conflicts > 0, "the clients never met on the contended stream");
    println!(
        "FIGURES: {CLIENTS} clients appended {} events on {}; {conflicts} conflicts",
        wanted.len(),
        project.database().kind()
    );
}

/// Its own stream at exact versions; now and then the stream that all clients want at the same version.
fn by_command(project: &Project, number: usize, each: usize) -> (Vec<i64>, usize) {
    let (mut positions, mut refused, mut version) = (Vec::new(), 0, 0);
    for round in 0..each {
        let contended = round % 4 == 3;
        let (stream, expected) = match contended {
            // Everybody's guess is wrong but one's.
            true => ("contended".to_owned(), (round / 4).to_string()),
            false => (format!("client-{number}"), version.to_string()),
        };
        let expected = if expected == "0" {
            "no-stream".to_owned()
        } else {
            expected
        };
        let mut arguments = project.append_arguments(&stream, "Count", "{}");
        arguments.extend(["--expected-version".to_owned(), expected, "--json".to_owned()]);
        let output = project.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        if output.status.success() {
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            positions.push(answer["position"].as_i64().unwrap());
            version += u64::from(!contended);
        } else {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                contended && message.contains("contended"),
                "client {number}: {message}"
            );
            refused += 1;
        }
    }
    (positions, refused)
}

/// `lamphouse.append` in the client's own transactions, a third of which are rolled back.
fn by_sql(mut client: Client, number: usize, each: usize) -> (Vec<i64>, usize) {
    let (mut positions, mut refused, mut version) = (Vec::new(), 0, 0);
    for round in 0..each {
        let contended = round % 4 == 3;
        let (stream, expected) = if contended {
            ("contended".to_owned(), round / 4)
        } else {
            (format!("client-{number}"), version)
        };
        let sql = format!(
            "SELECT lamphouse.append('{stream}', 'test', 'Count', '{{}}', \
             '{{\"reason\": \"Appended by plain SQL\"}}', expected_version => {expected})"
        );
        client.execute("BEGIN").unwrap();
        let answer = client.query(&sql);
        let position = match answer {
            Ok(rows) => rows[0][0].as_deref().unwrap().parse::<i64>().unwrap(),
            Err(error) => {
                assert!(contended, "client {number}: {error:#}");
                client.execute("ROLLBACK").unwrap();
                refused += 1;
                continue;
            }
        };
        if round % 3 == 2 && !contended {
            client.execute("ROLLBACK").unwrap();
        } else {
            client.execute("COMMIT").unwrap();
            positions.push(position);
            version += usize::from(!contended);
        }
    }
    (positions, refused)
}

fn a_conflict_says_which_stream_and_what_is_there(database: Database) {
    let project = Project::new(database);
    project.append("order-1", "Count", &Value::Null);
    project.append("order-1", "Count", &Value::Null);
    let mut arguments = project.append_arguments("order-1", "Count", "{}");
    arguments.extend(["--expected-version".to_owned(), "1".to_owned()]);
    let message = project.fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        message.contains("order-1") && message.contains("version 2") && message.contains('1'),
        "{message}"
    );
    log_check::assert_whole(&project, 2);
}

fn a_repeated_append_gives_the_first_answer(database: Database) {
    let project = Project::new(database);
    let mut arguments = project.append_arguments("order-1", "Count", "{}");
    arguments.extend(["--idempotency-key", "job-17", "--json"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let first: Value = serde_json::from_str(&project.ok(&arguments)).unwrap();
    project.append("order-2", "Count", &Value::Null);
    let second: Value = serde_json::from_str(&project.ok(&arguments)).unwrap();
    assert_eq!(
        (&first["position"], &first["streams"]),
        (&second["position"], &second["streams"])
    );
    assert_eq!(second["repeated"], true);
    let other: Vec<&str> = arguments
        .iter()
        .map(|text| if *text == "order-1" { "order-9" } else { text })
        .collect();
    let message = project.fails(&other);
    assert!(message.contains("job-17"), "{message}");
    log_check::assert_whole(&project, 2);
}
