//! What a scrape says is what is.

use std::io::Write as _;
use std::net::TcpStream;

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, Project, on_each_database, wait};
use serde_json::Value;

use super::page::{self, Page};
use super::{Asked, OF_PUPPET, event, files, import, named, stream, token, value};

on_each_database!(a_scrape_tells_the_truth_over_a_rebuild_a_cutover_a_fault_and_dead_letters);

fn applied(page: &Page) -> f64 {
    page.sum("lamphouse_projection_events_applied_total", &[OF_PUPPET])
}

fn a_scrape_tells_the_truth_over_a_rebuild_a_cutover_a_fault_and_dead_letters(database: Database) {
    let settings = "[projection]\non_fault = \"dead-letter\"\n[pipeline]\nbatch_events_max = 200\nflush_events_max = 500\n";
    let project = Project::with_settings(database, settings);
    import(&project, "log", 3_000);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let host = project.serve();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);
    let mut pages = vec![asked.scrape()];
    let first = &pages[0];
    assert_eq!(value(first, "lamphouse_log_head_position", &[]), 3_000.0);
    assert_eq!(
        value(first, "lamphouse_projection_checkpoint_position", &[OF_PUPPET]),
        3_000.0
    );
    assert_eq!(applied(first), 3_000.0);
    assert_eq!(
        value(
            first,
            "lamphouse_projection_state",
            &[OF_PUPPET, ("state", "live")]
        ),
        1.0
    );
    assert_eq!(
        first.sum(
            "lamphouse_projection_cutovers_total",
            &[OF_PUPPET, ("outcome", "done")]
        ),
        1.0
    );
    assert!(first.sum("lamphouse_flush_duration_seconds_count", &[OF_PUPPET]) >= 6.0);
    assert!(first.sum("lamphouse_batch_duration_seconds_count", &[OF_PUPPET]) >= 15.0);
    assert_eq!(
        value(first, "lamphouse_plugin_files", &[("state", "deployed")]),
        1.0
    );

    // Appended here, and no other way: one call of ten, ninety of one.
    let ten: Vec<Value> = (0..10).map(|number| event("Put", number)).collect();
    assert_eq!(asked.append("", &[stream("a-0", &ten)]).status, 200);
    for number in 1..=90 {
        let id = format!("a-{}", number % 7);
        assert_eq!(
            asked.append("", &[stream(&id, &[event("Put", number)])]).status,
            200
        );
    }
    host.wait_level("puppet");
    let page = asked.scrape();
    assert_eq!(value(&page, "lamphouse_appended_events_total", &[]), 100.0);
    assert_eq!(
        value(&page, "lamphouse_appends_total", &[("outcome", "appended")]),
        91.0
    );
    assert_eq!(applied(&page), 3_100.0);
    assert_eq!(
        value(
            &page,
            "lamphouse_projection_events_applied_total",
            &[OF_PUPPET, ("work", "live")]
        ),
        100.0
    );
    let asked_for = [("route", "/v1/append"), ("method", "POST"), ("status", "2xx")];
    assert_eq!(value(&page, "lamphouse_http_requests_total", &asked_for), 91.0);
    pages.push(page);

    // A rebuild while events flow.
    let before = of(&project.status().unwrap(), "puppet")["live"]["generation"].clone();
    project.deploy_bytes(&named("1.1.0"), "puppet");
    let mut flowed = 0;
    wait::until("the cutover", wait::LONG, || {
        assert_eq!(
            asked.append("", &[stream("b", &[event("Put", flowed)])]).status,
            200
        );
        flowed += 1;
        pages.push(asked.scrape());
        let status = project.status()?;
        let live = &of(&status, "puppet")["live"];
        match live["version"] == "1.1.0" && live["generation"] != before {
            true => Ok(()),
            false => Err(format!("{status:#}")),
        }
    });
    host.wait_level("puppet");
    let head = 3_100 + flowed;
    let page = asked.scrape();
    assert_eq!(value(&page, "lamphouse_log_head_position", &[]), head as f64);
    assert_eq!(value(&page, "lamphouse_projection_lag_events", &[OF_PUPPET]), 0.0);
    // The second generation went through the whole log, the first up to the cutover.
    let building = [OF_PUPPET, ("work", "building")];
    let rebuilt = value(&page, "lamphouse_projection_positions_total", &building);
    assert!(rebuilt >= 6_100.0, "{rebuilt}");
    let all = applied(&page);
    assert!(
        (3_000 + head) as f64 <= all && all <= (2 * head) as f64,
        "{all} of {head}"
    );
    assert_eq!(
        page.sum(
            "lamphouse_projection_cutovers_total",
            &[OF_PUPPET, ("outcome", "done")]
        ),
        2.0
    );
    let generations = page.labels("lamphouse_generation_checkpoint_position", "generation");
    assert_eq!(
        generations.len(),
        1,
        "retired ones are not shown: {generations:?}"
    );
    pages.push(page);

    // Five events that are parked, and one at which everything stops.
    let poison = [event("Panic", 1), event("Put", 2), event("Put", 3)];
    assert_eq!(asked.append("", &[stream("p", &poison)]).status, 200);
    let other = [event("Fail", 1), event("Put", 2)];
    assert_eq!(asked.append("", &[stream("q", &other)]).status, 200);
    host.wait_status("five dead letters", wait::LONG, |status| {
        let live = &of(status, "puppet")["live"];
        live["parked_events"] == 5 && live["lag_events"] == 0
    });
    let page = asked.scrape();
    assert_eq!(
        value(&page, "lamphouse_projection_parked_events", &[OF_PUPPET]),
        5.0
    );
    assert_eq!(
        value(&page, "lamphouse_projection_parked_streams", &[OF_PUPPET]),
        2.0
    );
    assert_eq!(
        value(
            &page,
            "lamphouse_dead_letters_total",
            &[OF_PUPPET, ("outcome", "parked")]
        ),
        5.0
    );
    assert_eq!(applied(&page), all, "parked events are not applied");
    assert_eq!(value(&page, "lamphouse_projection_healthy", &[OF_PUPPET]), 0.0);
    pages.push(page);
    let reason = ["--reason", "They were never right"];
    let discard = |what: &[&str]| {
        project.ok(&[&["dead-letters", "discard", "puppet"], what, &reason].concat());
    };
    discard(&["--stream", "q"]);
    // Position of the first of its stream; what waits behind it is replayed.
    let first = (head + 1).to_string();
    discard(&[&first]);
    project.ok(&["dead-letters", "retry", "puppet", "--accept-reorder"]);
    host.wait_level("puppet");
    let page = asked.scrape();
    for (outcome, count) in [("parked", 5.0), ("discarded", 3.0), ("replayed", 2.0)] {
        let labels = [OF_PUPPET, ("outcome", outcome)];
        assert_eq!(
            value(&page, "lamphouse_dead_letters_total", &labels),
            count,
            "{outcome}"
        );
    }
    assert_eq!(
        value(&page, "lamphouse_projection_parked_events", &[OF_PUPPET]),
        0.0
    );
    assert_eq!(
        applied(&page),
        all,
        "what is replayed is counted as such, and nothing twice"
    );
    pages.push(page);

    // Somebody follows, and leaves.
    let mut follower = TcpStream::connect(&asked.address).unwrap();
    let head = format!(
        "GET /v1/changes HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        asked.address
    );
    follower.write_all(head.as_bytes()).unwrap();
    let subscriptions = |count: f64| {
        wait::until("subscriptions to be counted", wait::SHORT, || {
            match value(&asked.scrape(), "lamphouse_http_subscriptions", &[]) {
                found if found == count => Ok(()),
                found => Err(found.to_string()),
            }
        });
    };
    subscriptions(1.0);
    drop(follower);
    subscriptions(0.0);

    let of_plugin = [("plugin", "puppet"), ("kind", "projector")];
    let last = pages.last().unwrap();
    let memory = value(last, "lamphouse_plugin_memory_peak_bytes", &of_plugin);
    assert!((65_536.0..268_435_456.0).contains(&memory), "{memory}");
    let ran = value(last, "lamphouse_plugin_run_seconds_total", &of_plugin);
    assert!(ran > 0.0 && ran < 3_600.0, "{ran}");
    assert!(value(last, "lamphouse_plugin_failed_calls_total", &of_plugin) >= 2.0);

    page::assert_no_count_goes_back(&pages);
    files::every_metric_that_they_name_is_there(last);
    page::assert_python_reads(&asked.get("/metrics").body);
    host.stop();
}
