//! Tables over HTTP, on the real host: read your own writes, and requests that Schemathesis makes up.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lamphouse_tests::{Database, Http, Project, long, on_each_database, puppet, wait};
use serde_json::{Value, json};

on_each_database!(
    a_write_is_read_at_once_right_across_cutovers,
    a_position_that_does_not_concern_a_table_is_reached_too,
    made_up_reads_of_a_table_are_answered_as_the_document_says,
);

/// Clients at once, each with a stream of its own.
const CLIENTS: u64 = 64;
/// Switches that must fall among the pairs.
const SWITCHES_MIN: usize = 2;

fn one(stream: &str, event_type: &str, data: &Value) -> Value {
    json!({"streams": [{"stream_id": stream, "stream_type": "test", "events": [
        {"event_type": event_type, "data": data, "metadata": {"reason": "appended by a scenario"}}]}]})
}

/// The exact version of its own row is what a client reads after each append, whatever is switched to in between: an
/// answer that is one write behind has another number.
fn a_write_is_read_at_once_right_across_cutovers(database: Database) {
    let pairs_min: u64 = if long() { 10_000 } else { 1_000 };
    let project = Project::new(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    let http = Http::to(&project);
    let pairs = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let generations = Mutex::new(BTreeSet::new());
    let times = Mutex::new(Vec::new());
    let start = Instant::now();
    let time_max = if long() {
        wait::LONG
    } else {
        Duration::from_secs(60)
    };
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (http, pairs, is_over) = (&http, &pairs, &is_over);
            let (generations, times) = (&generations, &times);
            scope.spawn(move || {
                let mut http = http.another();
                let stream = format!("client-{client}");
                let (mut last, mut waits) = (0, Vec::new());
                while !is_over.load(Ordering::Acquire) {
                    let appended = http.post("/v1/append", &one(&stream, "Put", &json!({"n": client})));
                    assert_eq!(appended.status, 200, "{appended:?}");
                    let appended = appended.json();
                    let position = appended["position"].as_u64().expect("a position");
                    let asked = Instant::now();
                    // Either way of saying it.
                    let path = format!(
                        "/v1/tables/puppet?select=id,count&id=eq.{stream}&min_position_wait_ms=20000"
                    );
                    let read = match position % 2 {
                        0 => http.get(&format!("{path}&min_position={position}")),
                        _ => http.ask(
                            "GET",
                            &path,
                            &[("Lamphouse-Min-Position", &position.to_string())],
                            None,
                        ),
                    };
                    waits.push(asked.elapsed());
                    let rows = json!([{"id": stream, "count": appended["streams"][0]["version"]}]);
                    assert_eq!((read.status, read.json()), (200, rows), "at {position}: {read:?}");
                    let header = |name| {
                        read.header(name)
                            .and_then(|value| value.parse::<u64>().ok())
                            .expect("a number")
                    };
                    let reflected = header("lamphouse-position");
                    assert!(
                        reflected >= position && reflected >= last,
                        "{last} {position}: {read:?}"
                    );
                    last = reflected;
                    generations.lock().unwrap().insert(header("lamphouse-generation"));
                    pairs.fetch_add(1, Ordering::AcqRel);
                }
                times.lock().unwrap().extend(waits);
            });
        }
        let (project, pairs, generations, is_over) = (&project, &pairs, &generations, &is_over);
        scope.spawn(move || {
            // Whatever fails ends the clients too.
            let _over = Over(is_over);
            let mut http = Http::to(project);
            loop {
                let switched = generations.lock().unwrap().len();
                let done = pairs.load(Ordering::Acquire);
                if done >= pairs_min && switched > SWITCHES_MIN {
                    break;
                }
                assert!(
                    start.elapsed() < time_max,
                    "{done} pairs over {switched} generations in {time_max:?}"
                );
                let asked = http.post("/v1/projections/puppet/rebuild", &json!({}));
                assert!(matches!(asked.status, 200 | 202), "{asked:?}");
                // Another rebuild would begin anew: only when readers have seen this one.
                while generations.lock().unwrap().len() == switched && start.elapsed() < time_max {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
    });
    let mut times = times.into_inner().unwrap();
    times.sort();
    let ms = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1_000.0;
    println!(
        "FIGURES: {} append-then-read pairs of {CLIENTS} clients in {:.1} s on {} over {} generations, none stale; \
         reads took {:.1} ms (p50), {:.1} ms (p99)",
        times.len(),
        start.elapsed().as_secs_f64(),
        project.database().kind(),
        generations.into_inner().unwrap().len(),
        ms(50),
        ms(99),
    );
    host.stop();
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Events of other types move a table's position like any others; a projection that does not move says why.
fn a_position_that_does_not_concern_a_table_is_reached_too(database: Database) {
    let project = Project::new(database);
    project.deploy("order-summary-1.0.0", "order-summary");
    let host = project.serve();
    host.wait_level("order-summary");
    let mut http = Http::to(&project);
    for round in 0..20 {
        let appended = http.post(
            "/v1/append",
            &one(&format!("other-{round}"), "NothingOfTheirs", &json!({})),
        );
        let position = appended.json()["position"].as_u64().expect("a position");
        let start = Instant::now();
        let read = http.get(&format!("/v1/tables/orders?min_position={position}"));
        assert_eq!((read.status, read.body.as_str()), (200, "[]"), "{read:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
    let paused = http.post(
        "/v1/projections/order-summary/pause",
        &json!({"reason": "a look at the rows"}),
    );
    assert!(matches!(paused.status, 200 | 202), "{paused:?}");
    host.wait_status("the pause", wait::SHORT, |status| {
        lamphouse_tests::host::of(status, "order-summary")["state"] == "paused"
    });
    let before = http.get("/v1/tables/orders");
    let appended = http.post("/v1/append", &one("other-1", "NothingOfTheirs", &json!({})));
    let position = appended.json()["position"].as_u64().expect("a position");
    let read = http.get(&format!(
        "/v1/tables/orders?min_position={position}&min_position_wait_ms=300"
    ));
    let problem = read.json();
    assert_eq!(
        (read.status, &problem["state"], read.header("retry-after")),
        (503, &json!("paused"), Some("1")),
        "{read:?}"
    );
    assert_eq!(
        before
            .header("lamphouse-position")
            .and_then(|position| position.parse().ok()),
        problem["position"].as_u64()
    );
    http.post("/v1/projections/order-summary/resume", &json!({}));
    let read = http.get(&format!(
        "/v1/tables/orders?min_position={position}&min_position_wait_ms=20000"
    ));
    assert_eq!(read.status, 200, "{read:?}");
    let beyond = http.get(&format!("/v1/tables/orders?min_position={}", position + 1_000));
    assert_eq!(beyond.status, 400, "{beyond:?}");
    host.stop();
}

/// The document's one table is one that is there, with rows: made-up parameters reach the database.
fn made_up_reads_of_a_table_are_answered_as_the_document_says(database: Database) {
    let Some(python) = super::http::schemathesis() else {
        return;
    };
    let project = Project::new(database);
    project.deploy("order-summary-1.0.0", "order-summary");
    let host = project.serve();
    host.wait_level("order-summary");
    let mut http = Http::to(&project);
    let placed = json!({"invoice_no": "2", "customer_id": "18", "country": "Malta", "currency": "GBP"});
    for round in 0..5 {
        let appended = http.post(
            "/v1/append",
            &one(&format!("order-{round}"), "OrderPlaced", &placed),
        );
        assert_eq!(appended.status, 200, "{appended:?}");
    }
    let mut document = http.get("/v1/openapi.json").json();
    let paths = document["paths"].as_object_mut().expect("paths");
    paths.retain(|path, _| path.starts_with("/v1/tables"));
    let table = &mut paths["/v1/tables/{table}"]["get"]["parameters"];
    let names = table.as_array_mut().expect("parameters").iter_mut();
    for name in names.filter(|parameter| parameter["in"] == "path") {
        name["schema"]["enum"] = json!(["orders"]);
    }
    std::fs::write(project.path("tables.json"), document.to_string()).unwrap();
    let output = Command::new(python)
        .args(["-m", "schemathesis.cli", "run", "tables.json"])
        .args(["--url", &format!("http://{}", http.address())])
        .args(["--header", &format!("Authorization: Bearer {}", http.token())])
        // A condition is of a column that the table has, which the schema does not know.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "60"])
        .args(["--seed", "1", "--request-timeout", "25"])
        .current_dir(project.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(" passed") && !said.contains(" failed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        http.get("/v1/tables/orders?select=order_id")
            .json()
            .as_array()
            .map(Vec::len),
        Some(5)
    );
    host.stop();
}
