//! The state of a stream at a time: the rows of now at the head, and those of a log that ends there anywhere else.

use lamphouse_tests::host::of;
use lamphouse_tests::puppet::puppet;
use lamphouse_tests::{Database, Project, log_file, on_each_database};
use serde_json::{Value, json};

use super::Api;

on_each_database!(
    at_the_head_it_is_what_the_live_tables_hold,
    at_each_position_it_is_what_a_log_that_ends_there_gives,
    by_time_it_is_the_events_that_had_occurred_or_were_recorded,
    an_event_that_the_plugin_cannot_take_is_named,
    its_bounds_and_its_words,
    of_the_real_log_it_is_what_the_live_tables_hold,
);

fn state(project: &Project, stream: &str, projector: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["state", stream, "--projector", projector];
    arguments.extend(more);
    project.json(&arguments)
}

/// The live rows of a stream, as `query` gives them.
fn live(project: &Project, table: &str, key: &str, stream: &str) -> Vec<Value> {
    project.json_lines(&[
        "query",
        &format!("SELECT * FROM {table} WHERE {key} = '{stream}'"),
    ])
}

/// Some streams of a log, evenly.
fn some_streams(lines: &[String], count: usize) -> Vec<String> {
    let mut streams: Vec<String> = lines
        .iter()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["stream_id"].as_str().unwrap().to_owned()
        })
        .collect();
    streams.sort();
    streams.dedup();
    let step = (streams.len() / count).max(1);
    streams.into_iter().step_by(step).take(count).collect()
}

fn same_as_live(project: &Project, api: &Api, streams: &[String]) {
    let mut rows = 0;
    for stream in streams {
        let orders = api.ok(&format!("/v1/streams/{stream}/state?projector=order-summary"));
        assert_eq!(orders["partial"], true, "a customer has several orders");
        let live_orders = live(project, "orders", "order_id", stream);
        assert_eq!(orders["tables"]["orders"], json!(live_orders), "{stream}");
        rows += live_orders.len();
        let seal = api.ok(&format!("/v1/streams/{stream}/state?projector=stream-seal"));
        assert_eq!(seal["partial"], false, "it declares partition = stream");
        assert_eq!(
            seal["tables"],
            json!({"stream_seals": live(project, "stream_seals", "stream_id", stream)}),
            "{stream}"
        );
        let events = seal["tables"]["stream_seals"][0]["events"].clone();
        assert_eq!(events, seal["events"], "{stream}");
    }
    assert!(
        rows * 10 > streams.len() * 9,
        "{rows} rows of {} streams: a test of little",
        streams.len()
    );
}

fn at_the_head_it_is_what_the_live_tables_hold(database: Database) {
    let project = Project::new(database);
    let file = log_file::generated(&project.path(""), 3_000, 41);
    let lines = log_file::lines(&file).unwrap();
    project.import(&file);
    project.deploy("order-upcasters-1.0.0", "order-upcasters");
    project.deploy("order-summary-1.0.0", "order-summary");
    project.deploy("stream-seal-1.0.0", "stream-seal");
    let host = project.serve();
    host.wait_level("order-summary");
    host.wait_level("stream-seal");
    let api = Api::of(&project);
    let streams = some_streams(&lines, 20);
    same_as_live(&project, &api, &streams);
    // The command needs no host, and says the same beside one.
    let of_the_api = api.ok(&format!(
        "/v1/streams/{}/state?projector=order-summary",
        streams[0]
    ));
    assert_eq!(state(&project, &streams[0], "order-summary", &[]), of_the_api);
    host.stop();
    assert_eq!(state(&project, &streams[0], "order-summary", &[]), of_the_api);
}

fn of_the_real_log_it_is_what_the_live_tables_hold(database: Database) {
    let Some(file) = log_file::real() else { return };
    let project = Project::new(database);
    let lines = log_file::lines(&file).unwrap();
    project.import(&file);
    project.deploy("order-summary-1.0.0", "order-summary");
    project.deploy("stream-seal-1.0.0", "stream-seal");
    project.catch_up();
    let host = project.serve();
    host.wait_level("order-summary");
    let api = Api::of(&project);
    same_as_live(&project, &api, &some_streams(&lines, 60));
    // Some streams have hundreds of lines, in more than one page.
    let mut longest = project.client();
    let longest = longest
        .query("SELECT stream_id FROM stream_seals ORDER BY events DESC, stream_id LIMIT 3")
        .unwrap();
    let longest: Vec<String> = longest
        .into_iter()
        .map(|mut row| row.remove(0).unwrap())
        .collect();
    same_as_live(&project, &api, &longest);
    host.stop();
}

/// One order among others, by its own events; `at` each of the log's positions.
fn at_each_position_it_is_what_a_log_that_ends_there_gives(database: Database) {
    let project = Project::new(database);
    let file = log_file::generated(&project.path(""), 400, 7);
    // With ids, which are sealed: those that a log gives are others in each log.
    let lines: Vec<String> = log_file::lines(&file)
        .unwrap()
        .iter()
        .enumerate()
        .map(|(number, line)| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            event["id"] = json!(format!("00000000-0000-7000-8000-{number:012}"));
            event.to_string()
        })
        .collect();
    let of = |line: &String| -> String {
        let event: Value = serde_json::from_str(line).unwrap();
        event["stream_id"].as_str().unwrap().to_owned()
    };
    // An order with several lines, among others'.
    let stream = lines
        .iter()
        .map(of)
        .find(|stream| lines.iter().filter(|line| of(line) == *stream).count() >= 6)
        .expect("an order of some lines");
    let mut positions: Vec<usize> = (1..=lines.len())
        .filter(|position| of(&lines[position - 1]) == stream)
        .collect();
    let first = positions[0];
    positions.extend([first - 1, lines.len()]);
    let mine: Vec<usize> = positions.iter().copied().filter(|at| *at > 0).take(9).collect();
    project.import_lines("all", &lines);
    project.deploy("order-upcasters-1.0.0", "order-upcasters");
    project.deploy("order-summary-1.0.0", "order-summary");
    project.deploy("stream-seal-1.0.0", "stream-seal");
    project.catch_up();
    for at in mine {
        let cut = Project::new(Database::sqlite());
        cut.import_lines("cut", &lines[..at]);
        cut.deploy("order-upcasters-1.0.0", "order-upcasters");
        cut.deploy("order-summary-1.0.0", "order-summary");
        cut.deploy("stream-seal-1.0.0", "stream-seal");
        cut.catch_up();
        let text = at.to_string();
        let orders = state(&project, &stream, "order-summary", &["--at", &text]);
        assert_eq!(orders["at"], at);
        assert_eq!(
            orders["tables"]["orders"],
            json!(live(&cut, "orders", "order_id", &stream)),
            "{stream} at {at}"
        );
        let seals = state(&project, &stream, "stream-seal", &["--at", &text]);
        let live_seals = live(&cut, "stream_seals", "stream_id", &stream);
        assert_eq!(
            seals["tables"]["stream_seals"],
            json!(live_seals),
            "{stream} at {at}"
        );
        let last = (1..=at).rev().find(|position| of(&lines[position - 1]) == stream);
        assert_eq!(seals["position"], json!(last), "{stream} at {at}");
    }
}

fn by_time_it_is_the_events_that_had_occurred_or_were_recorded(database: Database) {
    let project = Project::new(database);
    let line = |event_type: &str, occurred: &str, data: Value| {
        let mut line: Value = serde_json::from_str(&log_file::line("order-1", event_type, &data)).unwrap();
        line["occurred_at"] = json!(occurred);
        line.to_string()
    };
    let added = |number: u64, quantity: u64| json!({"line_no": number, "sku": "A", "description": "a lamp", "quantity": quantity, "unit_price": "2.00"});
    let placed = json!({"invoice_no": "1", "customer_id": "18", "country": "Malta", "currency": "GBP"});
    // The third was told late: it had happened before the second.
    project.import_lines(
        "orders",
        [
            line("OrderPlaced", "2026-03-10T09:00:00Z", placed),
            line("LineAdded", "2026-03-20T09:00:00Z", added(1, 10)),
            line("LineAdded", "2026-03-15T23:59:59.999999Z", added(2, 1)),
            line("LineAdded", "2026-03-16T00:00:00Z", added(3, 100)),
        ],
    );
    project.deploy("order-summary-1.0.0", "order-summary");
    project.catch_up();
    let quantity = |at: &str, by: &str| {
        let state = state(&project, "order-1", "order-summary", &["--at", at, "--by", by]);
        assert_eq!(state["by"], by);
        let rows = state["tables"]["orders"].as_array().unwrap();
        (
            rows.first().map(|row| row["quantity"].clone()),
            state["events"].clone(),
            state["position"].clone(),
        )
    };
    assert_eq!(
        quantity("2026-03-15", "occurred"),
        (Some(json!(1)), json!(2), json!(3)),
        "what did this order look like on 15 March?"
    );
    assert_eq!(
        quantity("2026-03-15T10:00:00Z", "occurred"),
        (Some(json!(0)), json!(1), json!(1))
    );
    assert_eq!(
        quantity("2026-03-20T10:00:00+01:00", "occurred"),
        (Some(json!(111)), json!(4), json!(4))
    );
    assert_eq!(
        quantity("2026-03-09", "occurred"),
        (None, json!(0), Value::Null),
        "nothing had happened"
    );
    assert_eq!(
        quantity("2026-03-15", "recorded"),
        (None, json!(0), Value::Null),
        "nothing was known"
    );
    let recorded: Vec<String> = project
        .json_lines(&["stream", "order-1"])
        .iter()
        .map(|event| event["recorded_at"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        quantity(&recorded[3], "recorded"),
        (Some(json!(111)), json!(4), json!(4))
    );
}

fn an_event_that_the_plugin_cannot_take_is_named(database: Database) {
    let project = Project::with_settings(database, "[projection]\non_fault = \"dead-letter\"\n");
    project.deploy_bytes(&puppet(&[("name", "things"), ("table", "things")]), "things");
    let host = project.serve();
    project.append("a", "Put", &json!({"n": 1}));
    project.append("a", "Panic", &json!("no"));
    project.append("a", "Put", &json!({"n": 3}));
    host.wait_status("the dead letters", lamphouse_tests::wait::LONG, |status| {
        of(status, "things")["live"]["parked_events"] == 2
    });
    let api = Api::of(&project);
    let before = api.ok("/v1/streams/a/state?projector=things&at=1");
    assert_eq!(before["tables"]["things"].as_array().unwrap().len(), 1);
    let (status, problem) = api.get("/v1/streams/a/state?projector=things");
    assert_eq!(status, 422, "{problem:#}");
    assert_eq!(problem["position"], 2, "{problem:#}");
    let event = &project.json_lines(&["stream", "a"])[1];
    assert_eq!(problem["event_id"], event["id"]);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the puppet panics"), "{problem:#}");
    assert!(!problem["trace"].as_str().unwrap().is_empty(), "{problem:#}");
    let failed = project.run(&["state", "a", "--projector", "things"]);
    let said = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the puppet panics") && said.contains("at position 2"),
        "{said}"
    );
    // Left out by a person's decision, it is left out here too.
    let id = event["id"].as_str().unwrap();
    project.ok(&[
        "dead-letters",
        "discard",
        "things",
        id,
        "--reason",
        "an event of a test",
    ]);
    let after = api.ok("/v1/streams/a/state?projector=things");
    assert_eq!(after["events"], 2, "{after:#}");
    host.stop();
}

fn its_bounds_and_its_words(database: Database) {
    let settings = "[state]\nevents_max = 5\nrows_max = 2\nruns_max = 1\n[limits]\ncall_ms_max = 1_500\n";
    let project = Project::with_settings(database, settings);
    project.deploy_bytes(
        &puppet(&[
            ("name", "things"),
            ("table", "things"),
            ("project", "record"),
            ("events", "Note"),
        ]),
        "things",
    );
    let spinner = puppet(&[("name", "spinner"), ("table", "spinner"), ("events", "Spin")]);
    project.deploy_bytes(&spinner, "spinner");
    let host = project.serve();
    for number in 1..=3 {
        project.append("three", "Note", &json!({"n": number}));
    }
    for _ in 1..=6 {
        project.append("six", "Unseen", &json!({}));
    }
    host.wait_level("things");
    host.wait_level("spinner");
    let api = Api::of(&project);
    let problem = |path: &str| {
        let (status, problem) = api.get(path);
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        (status, detail)
    };
    let refused = |path: &str, status: u16, word: &str| {
        let (is, detail) = problem(path);
        assert!(is == status && detail.contains(word), "{path}: {is} {detail}");
    };
    refused("/v1/streams/none/state?projector=things", 404, "no stream 'none'");
    refused(
        "/v1/streams/three/state?projector=none",
        404,
        "no projector 'none'",
    );
    refused(
        "/v1/streams/three/state?projector=things&generation=99",
        404,
        "no generation 99",
    );
    refused("/v1/streams/three/state", 400, "projector");
    refused("/v1/streams/three/state?projector=things&when=1", 400, "when");
    refused(
        "/v1/streams/three/state?projector=things&at=",
        400,
        "neither a position",
    );
    refused(
        "/v1/streams/three/state?projector=things&at=1000",
        400,
        "ends at 9",
    );
    refused(
        "/v1/streams/three/state?projector=things&at=2026-03-15T12:00:00Z",
        400,
        "by=occurred",
    );
    refused(
        "/v1/streams/three/state?projector=things&at=1&by=recorded",
        400,
        "leave by out",
    );
    refused(
        "/v1/streams/three/state?projector=things&by=recorded",
        400,
        "give at",
    );
    refused("/v1/streams/three/state?projector=things&at=1&by=told", 400, "by");
    refused(
        "/v1/streams/three/state?projector=things",
        422,
        "[state] rows_max",
    );
    refused(
        "/v1/streams/six/state?projector=things",
        422,
        "[state] events_max",
    );
    let generation = of(&project.status().unwrap(), "things")["live"]["generation"].clone();
    let two = api.ok(&format!(
        "/v1/streams/three/state?projector=things&at=2&generation={generation}"
    ));
    assert_eq!(two["tables"]["things"].as_array().unwrap().len(), 2, "{two:#}");
    assert_eq!(
        (&two["generation"], &two["version"]),
        (&generation, &json!("1.0.0"))
    );
    let five = api.ok("/v1/streams/six/state?projector=things&at=8");
    assert_eq!(
        five["events"], 0,
        "the projector does not subscribe to them: {five:#}"
    );
    assert_eq!(five["tables"]["things"], json!([]));

    // A run that spins has the only place until its call is ended.
    host.stop();
    project.ok(&["pause", "spinner", "--reason", "events that spin"]);
    let host = project.serve();
    let api = Api::of(&project);
    project.append("spins", "Spin", &json!({}));
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| {
            loop {
                let answer = api.get("/v1/streams/spins/state?projector=spinner");
                // Whoever asks below may have had the place.
                if !answer.1["detail"]
                    .as_str()
                    .unwrap_or_default()
                    .contains("runs_max")
                {
                    return answer;
                }
            }
        });
        let busy = lamphouse_tests::wait::until(
            "the place to be taken",
            lamphouse_tests::wait::SHORT,
            || match api.get("/v1/streams/three/state?projector=things&at=1") {
                (503, problem) => Ok(problem),
                other => Err(format!("{other:?}")),
            },
        );
        assert!(
            busy["detail"].as_str().unwrap().contains("[state] runs_max"),
            "{busy:#}"
        );
        let (status, problem) = spinning.join().unwrap();
        assert_eq!(status, 503, "how long a call takes depends on load: {problem:#}");
        assert!(
            problem["detail"].as_str().unwrap().contains("call_ms_max"),
            "{problem:#}"
        );
    });
    api.ok("/v1/streams/three/state?projector=things&at=1");
    host.stop();
}
