//! What the nearest existing systems get wrong.

use std::time::Duration;

use lamphouse_tests::database::own_server;
use lamphouse_tests::host::of;
use lamphouse_tests::{Database, Project, log_file, on_each_database, puppet, wait};
use serde_json::{Value, json};
use xtask::postgres::Stop;

on_each_database!(
    a_connection_opened_before_a_cutover_works_after_it,
    a_version_that_cannot_describe_or_project_leaves_the_old_one_serving_also_after_a_restart,
    a_spinning_guest_is_stopped_and_status_is_not_healthy_while_it_spins,
    a_fault_whose_cause_is_gone_resumes_with_the_same_version,
    a_guests_log_lines_and_panic_message_are_on_status_and_in_the_hosts_log,
);

fn serving_version_1(database: Database, settings: &str) -> (Project, lamphouse_tests::Host) {
    let project = Project::with_settings(database, settings);
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &Value::from(number));
    project.import_lines("rows", (0..50).map(line));
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    (project, host)
}

fn a_connection_opened_before_a_cutover_works_after_it(database: Database) {
    let (project, host) = serving_version_1(database, "");
    let mut old = project.client();
    let sql = "SELECT CAST(count(*) AS text), min(stamp) FROM puppet";
    assert_eq!(old.query_prepared(sql).unwrap()[0][1].as_deref(), Some("one"));
    project.deploy_bytes(&puppet::named("puppet", "2.0.0", "two"), "puppet");
    host.wait_version("puppet", "2.0.0");
    assert_eq!(old.query_prepared(sql).unwrap()[0][1].as_deref(), Some("two"));
    project.ok(&["rebuild", "puppet"]);
    host.wait_level("puppet");
    assert_eq!(old.query_prepared(sql).unwrap()[0][0].as_deref(), Some("50"));
    host.stop();
}

fn a_version_that_cannot_describe_or_project_leaves_the_old_one_serving_also_after_a_restart(
    database: Database,
) {
    let (project, host) = serving_version_1(database, "");
    for (number, (when, how)) in [
        ("describe", "trap"),
        ("describe", "panic"),
        ("project", "trap"),
        ("project", "panic"),
        ("project", "fail"),
    ]
    .into_iter()
    .enumerate()
    {
        let version = format!("2.0.{number}");
        project.deploy_bytes(&puppet::puppet(&[("version", &version), (when, how)]), "puppet");
        host.wait_status(&format!("{when}={how} to be reported"), wait::LONG, |status| {
            // A file that cannot describe itself has no version that could be shown.
            let refused = status["files"][0]["state"] == "refused"
                && status["files"][0]["message"].as_str().is_some_and(|why| {
                    why.contains("describe") && (how != "panic" || why.contains("nothing to say"))
                });
            let faulted = format!("{}", of(status, "puppet")["message"]).contains(&version);
            if when == "describe" { refused } else { faulted }
        });
        project.append("more", "Count", &Value::Null);
        host.wait_status("version 1 to go on", wait::LONG, |status| {
            let live = &of(status, "puppet")["live"];
            live["version"] == "1.0.0"
                && live["checkpoint"] == status["log"]["head"]
                && live["fault"].is_null()
        });
    }
    host.kill();
    let host = project.serve();
    project.append("more", "Count", &Value::Null);
    host.wait_status("version 1 to go on after the restart", wait::LONG, |status| {
        let live = &of(status, "puppet")["live"];
        live["version"] == "1.0.0" && live["checkpoint"] == status["log"]["head"] && live["fault"].is_null()
    });
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        51
    );
    // And a version that works is taken at once.
    project.deploy_bytes(&puppet::named("puppet", "3.0.0", "three"), "puppet");
    host.wait_version("puppet", "3.0.0");
    host.stop();
}

fn a_spinning_guest_is_stopped_and_status_is_not_healthy_while_it_spins(database: Database) {
    let (project, host) = serving_version_1(database, "[limits]\ncall_ms_max = 600\n");
    project.append("row-1", "Spin", &Value::Null);
    // First try 0.6 s, second try 6 s: in between, status answers and is not healthy.
    host.wait_status("a status that is not healthy", wait::SHORT, |status| {
        of(status, "puppet")["healthy"] == false
    });
    let status = host.wait_status("a fault", wait::SHORT, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let fault = &of(&status, "puppet")["live"]["fault"];
    assert_eq!(fault["class"], "time_limit", "{fault:#}");
    // Its threads have let go: the host ends in order, its locks are free, and the next one starts.
    host.stop();
    let host = project.serve();
    host.wait_status("the fault after a restart", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        50
    );
    host.stop();
}

fn a_fault_whose_cause_is_gone_resumes_with_the_same_version(database: Database) {
    let (project, host) = serving_version_1(database, "[limits]\nchanges_per_call_max = 5000\n");
    project.append("row-1", "MillionChanges", &Value::Null);
    project.append("later", "Put", &Value::Null);
    host.wait_status("a fault", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    host.stop();
    // The knob that the message named.
    project.set_settings("[limits]\nchanges_per_call_max = 2000000\ncall_ms_max = 60000\n");
    let host = project.serve();
    let status = project.status().unwrap();
    if of(&status, "puppet")["state"] == "faulted" {
        project.ok(&["resume", "puppet"]);
    }
    host.wait_version("puppet", "1.0.0");
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        1_000_051
    );
    host.stop();
}

fn a_guests_log_lines_and_panic_message_are_on_status_and_in_the_hosts_log(database: Database) {
    let (project, host) = serving_version_1(database, "");
    project.append("row-1", "Log", &json!("the guest says hello"));
    host.wait_status("the guest's line", wait::LONG, |status| {
        of(status, "puppet")["live"]["log"]
            .to_string()
            .contains("the guest says hello")
    });
    project.append("row-1", "Panic", &json!("a reason to panic"));
    let status = host.wait_status("a fault", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let fault = of(&status, "puppet")["live"]["fault"].to_string();
    assert!(fault.contains("a reason to panic"), "{fault}");
    let log = host.log();
    assert!(
        log.contains("the guest says hello") && log.contains("a reason to panic"),
        "{log}"
    );
    host.stop();
}

#[test]
fn the_logs_database_restarts_and_projection_resumes_by_itself() {
    let Some(mut server) = own_server("a restart of the log's database") else {
        return;
    };
    let (project, mut host) = serving_version_1(Database::on_server(&server.url(), false), "");
    for (round, how) in [Stop::Fast, Stop::Immediate].into_iter().enumerate() {
        server.stop(how).unwrap();
        std::thread::sleep(Duration::from_secs(3));
        assert!(
            host.is_running(),
            "the host ended with its database:\n{}",
            host.log()
        );
        server.start_again().unwrap();
        let arguments = project.append_arguments(&format!("after-{round}"), "Put", "1");
        wait::until("an append after the restart", wait::SHORT, || {
            let output = project.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            if output.status.success() {
                Ok(())
            } else {
                Err(lamphouse_tests::project::said(&output))
            }
        });
        let status = host.wait_version("puppet", "1.0.0");
        assert_eq!(of(&status, "puppet")["healthy"], true);
    }
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        52
    );
    host.stop();
}
