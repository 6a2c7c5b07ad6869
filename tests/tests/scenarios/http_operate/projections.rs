//! What is ordered of projections over HTTP, what two generations differ in, and dead letters.

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, Project, log_file, on_each_database, puppet, wait};
use serde_json::{Value, json};

use super::Api;

on_each_database!(
    each_order_is_done_and_is_on_record,
    what_two_generations_differ_in_is_given_page_by_page,
    dead_letters_are_listed_retried_and_discarded,
);

fn import(project: &Project, name: &str, events: &[(String, &str)]) {
    let line = |(number, (stream, event_type)): (usize, &(String, &str))| {
        log_file::line(stream, event_type, &json!(number))
    };
    project.import_lines(name, events.iter().enumerate().map(line));
}

#[track_caller]
fn wait_projection(api: &Api, what: &str, good: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, wait::LONG, || {
        let shown = api.get("/v1/projections/puppet").body["projection"].clone();
        match good(&shown) {
            true => Ok(shown),
            false => Err(format!("{shown:#}")),
        }
    })
}

fn each_order_is_done_and_is_on_record(database: Database) {
    let project = Project::with_settings(database, "[projection]\ncutover = \"manual\"\n");
    import(&project, "rows", &[("row-1".to_owned(), "Put")]);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    let api = Api::of(&project);
    let order = |verb: &str, body: &Value, status: u16| {
        let answer = api.post(&format!("/v1/projections/puppet/{verb}"), body);
        assert_eq!(answer.status, status, "{verb}: {:#}", answer.body);
        if status == 202 {
            assert_eq!(answer.header("location"), "/v1/projections/puppet");
            assert_eq!(answer.body["done"], false);
        }
        answer.body
    };
    wait_projection(&api, "version 1 to be live", |shown| {
        shown["live"]["version"] == "1.0.0"
    });
    assert_eq!(api.post("/v1/projections/nobody/pause", &json!({})).status, 404);
    order("rollback", &json!({}), 409);
    order("pause", &json!({"reason": "a look at the rows"}), 200);
    assert_eq!(
        api.ok("/v1/projections/puppet")["projection"]["paused"],
        "a look at the rows"
    );
    order("rebuild", &json!({}), 409);
    order("resume", &json!({"reason": "the rows are right"}), 200);
    host.wait_level("puppet");
    // A version that breaks what readers rely on waits for somebody who says so.
    let breaking = puppet::puppet(&[
        ("version", "2.0.0"),
        ("stamp", "two"),
        ("count", "text"),
        ("index", "none"),
    ]);
    assert_eq!(api.put("puppet", &breaking).status, 202);
    let shown = wait_projection(&api, "version 2 to be ready", |shown| {
        shown["needs_decision"] == true
    });
    assert!(shown["message"].to_string().contains("breaking"), "{shown:#}");
    let problem = order("cutover", &json!({}), 409);
    assert!(
        problem["detail"].to_string().contains("puppet.count"),
        "{problem:#}"
    );
    order(
        "cutover",
        &json!({"breaking": true, "reason": "the readers are told"}),
        202,
    );
    let shown = wait_projection(&api, "version 2 to be live", |shown| {
        shown["live"]["version"] == "2.0.0"
    });
    assert_eq!(shown["needs_decision"], false, "{shown:#}");
    order("rollback", &json!({"breaking": true}), 202);
    wait_projection(&api, "version 1 to be back", |shown| {
        shown["live"]["version"] == "1.0.0"
    });
    let held = api.put("puppet", &breaking);
    assert_eq!(
        (held.status, &held.body["state"]),
        (202, &json!("held")),
        "{:#}",
        held.body
    );
    let rebuilt = order("rebuild", &json!({"reason": "to be sure of it"}), 202);
    wait_projection(&api, "the new generation to be live", |shown| {
        shown["live"]["generation"] == rebuilt["generation"]
    });
    let all = api.ok("/v1/projections");
    assert_eq!(all["projections"][0]["name"], "puppet");
    let tables = api.ok("/v1/projections/puppet")["generations"].clone();
    assert_eq!(tables[0]["tables"][0]["columns"][0]["name"], "id", "{tables:#}");

    let record: Vec<[String; 3]> = api.on_record();
    let done: Vec<(&str, &str)> = record
        .iter()
        .filter(|[what, ..]| what == "lamphouse.ProjectionOperated")
        .map(|[_, action, reason]| (action.as_str(), reason.as_str()))
        .collect();
    let none = "'admin' asked for it and gave no reason";
    assert_eq!(
        done,
        [
            ("pause", "a look at the rows"),
            ("resume", "the rows are right"),
            ("cutover --breaking", "the readers are told"),
            ("rollback --breaking", none),
            ("rebuild", "to be sure of it"),
        ]
    );
    let failed = record
        .iter()
        .filter(|[what, ..]| what == "lamphouse.AdminActionFailed");
    assert_eq!(failed.count(), 4, "{record:#?}");
    host.stop();
}

fn what_two_generations_differ_in_is_given_page_by_page(database: Database) {
    let project = Project::with_settings(database, "[projection]\ncutover = \"manual\"\n");
    let mut events: Vec<(String, &str)> = (0..1_300).map(|row| (format!("row-{row:04}"), "Put")).collect();
    for (stream, event_type) in [
        ("changed-1", "Put"),
        ("changed-1", "Count"),
        ("row-0700", "Count"),
        ("only-old", "GetAfterPut"),
        ("only-new", "Count"),
        ("removed", "Put"),
        ("removed", "Remove"),
    ] {
        events.push((stream.to_owned(), event_type));
    }
    import(&project, "rows", &events);
    let version = |version: &str, events: &str| {
        puppet::puppet(&[("version", version), ("stamp", "same"), ("events", events)])
    };
    project.deploy_bytes(&version("1.0.0", "Put,Remove,GetAfterPut"), "puppet");
    let host = project.serve();
    let api = Api::of(&project);
    host.wait_version("puppet", "1.0.0");
    let alone = api.get("/v1/projections/puppet/diff");
    assert!(
        alone.status == 409 && alone.detail().contains("no other"),
        "{}",
        alone.detail()
    );
    assert_eq!(api.put("puppet", &version("2.0.0", "Put,Count")).status, 202);
    let shown = wait_projection(&api, "version 2 to be ready", |shown| {
        shown["needs_decision"] == true
    });
    let (old, new) = (&shown["live"]["generation"], &shown["others"][0]["generation"]);

    let pages = |query: &str, limit: u64| {
        let (mut rows, mut count, mut after) = (Vec::new(), 0, String::new());
        loop {
            let page = api.ok(&format!(
                "/v1/projections/puppet/diff?limit={limit}{query}{after}"
            ));
            let found = page["rows"].as_array().unwrap().clone();
            assert!(found.len() as u64 <= limit, "{page:#}");
            rows.extend(found);
            count += 1;
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return (rows, count),
            }
        }
    };
    let told = |rows: &[Value]| -> Vec<String> {
        let one = |row: &Value| {
            let columns: Vec<&str> = row["columns"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let text = format!(
                "{} {} {}",
                row["key"]["id"].as_str().unwrap(),
                row["kind"].as_str().unwrap(),
                columns.join(",")
            );
            text.trim().to_owned()
        };
        rows.iter().map(one).collect()
    };
    let expected = [
        "changed-1 changed count,amount",
        "only-new only_to",
        "only-old only_from",
        "removed only_to",
        "row-0700 changed count,amount",
    ];
    // A full page does not know yet whether anything follows.
    for (limit, count) in [(100, 1), (5, 2), (2, 3), (1, 6)] {
        let (rows, pages) = pages("", limit);
        assert_eq!(
            (told(&rows), pages),
            (expected.map(str::to_owned).to_vec(), count),
            "{limit}"
        );
    }
    let (rows, _) = pages(&format!("&from=g{new}&to={old}"), 100);
    let turned: Vec<String> = told(&rows);
    assert_eq!(
        (turned[1].as_str(), turned[2].as_str()),
        ("only-new only_from", "only-old only_to")
    );
    assert_eq!(
        (&rows[0]["from"]["amount"], &rows[0]["to"]["amount"]),
        (&json!("1.75"), &json!("1.50"))
    );
    let page = api.ok("/v1/projections/puppet/diff");
    assert_eq!(
        (&page["from"]["generation"], &page["to"]["generation"]),
        (old, new)
    );
    assert_eq!(
        (&page["from"]["state"], &page["to"]["state"]),
        (&json!("live"), &json!("ready"))
    );
    assert_eq!(page["from"]["checkpoint"], page["to"]["checkpoint"]);
    assert_eq!(page["compared"], 1_304);
    assert_eq!(
        api.get(&format!("/v1/projections/puppet/diff?from=g{old}&to={old}"))
            .status,
        422
    );
    assert_eq!(api.get("/v1/projections/puppet/diff?after=puppet.zz").status, 422);
    assert_eq!(api.get("/v1/projections/puppet/diff?to=999").status, 404);
    // The same by the command, with and without the host.
    let lines = project.json_lines(&["diff", "puppet"]);
    assert_eq!(told(&lines), expected);
    let said = project.ok(&["diff", "puppet", "--limit", "1"]);
    assert!(said.contains("changed-1") && !said.contains("only-new"), "{said}");

    // After the switch, the same question is about what the switch has changed.
    assert_eq!(api.post("/v1/projections/puppet/cutover", &json!({})).status, 202);
    wait_projection(&api, "version 2 to be live", |shown| {
        shown["live"]["version"] == "2.0.0"
    });
    let page = api.ok("/v1/projections/puppet/diff");
    assert_eq!(
        (&page["from"]["generation"], &page["to"]["generation"]),
        (old, new)
    );
    host.stop();
    assert_eq!(project.json_lines(&["diff", "puppet"]).len(), 5);
}

fn dead_letters_are_listed_retried_and_discarded(database: Database) {
    let settings = "[projection]\non_fault = \"dead-letter\"\n";
    let project = Project::with_settings(database, settings);
    let events = [
        ("s-1", "Put"),
        ("s-1", "Fail"),
        ("s-1", "Put"),
        ("s-2", "Fail"),
        ("s-2", "Put"),
        ("s-3", "Put"),
    ];
    let events = events.map(|(stream, event_type)| (stream.to_owned(), event_type));
    import(&project, "rows", &events);
    project.deploy_bytes(
        &puppet::puppet(&[
            ("version", "1.0.0"),
            ("options", "partition:stream"),
            ("index", "none"),
        ]),
        "puppet",
    );
    let host = project.serve();
    let api = Api::of(&project);
    host.wait_status("the events to be parked", wait::LONG, |status| {
        of(status, "puppet")["live"]["parked_events"] == 4
    });
    let (mut positions, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.ok(&format!("/v1/dead-letters?projection=puppet&limit=1{after}"));
        let found = page["dead_letters"].as_array().unwrap();
        positions.extend(found.iter().map(|letter| letter["position"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(positions, [2, 3, 4, 5]);
    let of_stream = api.ok("/v1/dead-letters?stream_id=s-2");
    let first = of_stream["dead_letters"][0].clone();
    assert_eq!((&first["position"], &first["attempts"]), (&json!(4), &json!(1)));
    assert!(
        first["parked_at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{first:#}"
    );
    assert_eq!(of_stream["dead_letters"][1]["behind"], 4);

    let shown = api.ok("/v1/dead-letters/puppet/4");
    assert_eq!(shown["story"]["event"]["event_type"], "Fail", "{shown:#}");
    assert_eq!(
        api.ok(&format!(
            "/v1/dead-letters/puppet/{}",
            first["event_id"].as_str().unwrap()
        )),
        shown
    );
    assert_eq!(shown, project.json(&["dead-letters", "show", "puppet", "4"]));
    assert_eq!(
        api.get("/v1/dead-letters/puppet/1").status,
        404,
        "it is in the tables"
    );
    assert_eq!(api.get("/v1/dead-letters/nobody/4").status, 404);
    assert_eq!(api.get("/v1/dead-letters/puppet/four").status, 422);
    let explained = api.ok("/v1/explain/5");
    assert_eq!(explained["projections"][0]["outcome"], "behind", "{explained:#}");
    assert_eq!(explained, project.json(&["explain", "5"]));
    let applied = api.ok("/v1/explain/6");
    assert_eq!(
        applied["projections"][0]["changes"]["rows"][0]["key"]["id"], "s-3",
        "{applied:#}"
    );
    assert_eq!(api.get("/v1/explain/9007199254740993").status, 404);
    let retried = api.post(
        "/v1/dead-letters/puppet/retry",
        &json!({"stream_id": "s-2", "reason": "to see it fail"}),
    );
    assert_eq!(retried.status, 200, "{:#}", retried.body);
    assert_eq!(retried.body["letters"]["failed"][0]["position"], 4);
    let discard = |body: &Value| api.post("/v1/dead-letters/puppet/discard", body);
    assert_eq!(
        discard(&json!({"event_id": first["event_id"], "reason": "short"})).status,
        409
    );
    let unknown =
        json!({"event_id": "0195f3a8-7c1e-7d3f-8b5a-000000000001", "reason": "there is no such event"});
    assert_eq!(discard(&unknown).status, 404);
    let done = discard(&json!({"event_id": first["event_id"], "reason": "it was a test order"}));
    assert_eq!(done.status, 200, "{:#}", done.body);
    let done = discard(&json!({"stream_id": "s-1", "reason": "the stream is a duplicate", "by": "Ada"}));
    assert_eq!(done.status, 200, "{:#}", done.body);
    let retried = api.post("/v1/dead-letters/puppet/retry", &json!({}));
    assert_eq!(retried.body["letters"]["replayed"], 1, "{:#}", retried.body);
    assert_eq!(api.ok("/v1/dead-letters")["dead_letters"], json!([]));
    let decided = |page: &Value| -> Vec<(u64, String)> {
        let of = |one: &Value| {
            (
                one["position"].as_u64().unwrap(),
                one["by"].as_str().unwrap().to_owned(),
            )
        };
        page["discarded"].as_array().unwrap().iter().map(of).collect()
    };
    let page = api.ok("/v1/discards?limit=2");
    assert_eq!(decided(&page), [(2, "Ada".to_owned()), (3, "Ada".to_owned())]);
    let rest = api.ok(&format!(
        "/v1/discards?limit=2&after={}",
        page["next"].as_str().unwrap()
    ));
    assert_eq!(
        (decided(&rest), &rest["next"]),
        (vec![(4, "admin".to_owned())], &Value::Null)
    );
    let record = api.on_record();
    let types: Vec<&str> = record
        .iter()
        .filter_map(|[what, ..]| what.strip_prefix("lamphouse."))
        .collect();
    let (retried, discarded, failed) = ("DeadLettersRetried", "DeadLettersDiscarded", "AdminActionFailed");
    assert_eq!(
        types,
        [retried, failed, failed, discarded, discarded, retried],
        "{record:#?}"
    );
    host.stop();
}
