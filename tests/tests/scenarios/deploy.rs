//! What may lie in the plugin folder: in every bad case the old version goes on, and `status` says why.

use std::fs;

use lamphouse_tests::host::{Host, of};
use lamphouse_tests::{Database, Project, log_file, on_each_database, puppet, wait};
use serde_json::Value;

on_each_database!(
    bad_files_never_become_the_active_version,
    a_new_file_a_replaced_file_and_a_renamed_file_are_taken_up,
    a_removed_file_retires_its_projection_and_its_tables_stay,
    a_folder_that_is_missing_or_suddenly_empty_retires_nothing,
    a_rollback_survives_a_restart,
    a_rollback_past_an_appended_column_needs_nothing_said,
    a_paused_projection_stays_paused_and_goes_on_where_it_stopped,
    manual_cutover_waits_for_the_command,
);

fn project(database: Database) -> Project {
    let project = Project::new(database);
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &Value::from(number));
    project.import_lines("rows", (0..20).map(line));
    project
}

/// The file's entry in the status.
fn file(status: &Value, name: &str) -> Value {
    let files = status["files"].as_array().cloned().unwrap_or_default();
    files
        .into_iter()
        .find(|file| file["file"] == name)
        .unwrap_or(Value::Null)
}

#[track_caller]
fn wait_file(host: &Host, name: &str, state: &str) -> Value {
    let what = format!("{name} to be {state}");
    file(
        &host.wait_status(&what, wait::LONG, |status| file(status, name)["state"] == state),
        name,
    )
}

#[track_caller]
fn refused(host: &Host, name: &str, words: &[&str]) {
    let message = wait_file(host, name, "refused")["message"].to_string();
    for word in words {
        assert!(
            message.contains(word),
            "the message about {name} should say '{word}': {message}"
        );
    }
}

/// The old version is public, healthy, and takes new events.
#[track_caller]
fn goes_on(project: &Project, host: &Host, version: &str) {
    project.append("one-more", "Count", &Value::Null);
    let status = host.wait_version("puppet", version);
    assert_eq!(
        of(&status, "puppet")["healthy"],
        true,
        "{:#}",
        of(&status, "puppet")
    );
}

fn bad_files_never_become_the_active_version(database: Database) {
    let project = project(database);
    let good = puppet::named("puppet", "1.0.0", "one");
    project.deploy_bytes(&good, "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");

    project.deploy_bytes(b"this is no plugin", "text");
    refused(&host, "text.wasm", &["WebAssembly"]);
    project.deploy_bytes(b"", "empty");
    refused(&host, "empty.wasm", &[]);
    // Half of the new version over the old one: not valid, so the old one goes on.
    let next = puppet::named("puppet", "2.0.0", "two");
    project.deploy_bytes(&next[..next.len() / 2], "puppet");
    refused(&host, "puppet.wasm", &[]);
    goes_on(&project, &host, "1.0.0");
    // A component that is no plugin, and one that wants the network.
    project.deploy_bytes(&wat("(component)"), "other-world");
    refused(&host, "other-world.wasm", &["lamphouse:plugin"]);
    let network = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    project.deploy_bytes(&wat(network), "network");
    refused(&host, "network.wasm", &["wasi:http/outgoing-handler"]);
    project.undeploy("network");
    // Two files that claim one name, then one table.
    project.deploy_bytes(&good, "puppet");
    host.wait_version("puppet", "1.0.0");
    project.deploy_bytes(&next, "second-puppet");
    let both = host.wait_status("the second claim to be refused", wait::LONG, |status| {
        file(status, "second-puppet.wasm")["state"] == "refused"
    });
    assert!(both.to_string().contains("second-puppet.wasm"), "{both:#}");
    goes_on(&project, &host, "1.0.0");
    project.undeploy("second-puppet");
    project.deploy_bytes(
        &puppet::puppet(&[("name", "thief"), ("table", "puppet")]),
        "thief",
    );
    refused(&host, "thief.wasm", &["puppet", "table"]);
    // New bytes under the same version.
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "changed"), "puppet");
    refused(&host, "puppet.wasm", &["1.0.0", "version"]);
    goes_on(&project, &host, "1.0.0");
    host.kill();

    // A restart does not change its mind.
    let host = project.serve();
    goes_on(&project, &host, "1.0.0");
    refused(&host, "text.wasm", &[]);
    let stamps = project
        .client()
        .query("SELECT DISTINCT stamp FROM puppet")
        .unwrap();
    assert_eq!(stamps, vec![vec![Some("one".to_owned())]]);
    host.stop();
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text of a component")
}

fn a_new_file_a_replaced_file_and_a_renamed_file_are_taken_up(database: Database) {
    let project = project(database);
    let host = project.serve();
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    host.wait_version("puppet", "1.0.0");
    // Written in pieces, in place, as some tools do.
    let next = puppet::named("puppet", "2.0.0", "two");
    {
        use std::io::Write as _;
        let mut open = fs::File::create(project.path("plugins/puppet.wasm")).unwrap();
        for piece in next.chunks(next.len() / 4 + 1) {
            open.write_all(piece).unwrap();
            open.flush().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
    }
    let status = host.wait_version("puppet", "2.0.0");
    assert_eq!(file(&status, "puppet.wasm")["state"], "deployed");
    // The dance of editors: the old file aside, the new one in, the old one away.
    let (file_path, aside) = (
        project.path("plugins/puppet.wasm"),
        project.path("plugins/puppet.wasm~"),
    );
    fs::rename(&file_path, &aside).unwrap();
    fs::write(&file_path, puppet::named("puppet", "3.0.0", "three")).unwrap();
    fs::remove_file(&aside).unwrap();
    host.wait_version("puppet", "3.0.0");
    // Another name for the same bytes changes nothing.
    let before = of(&project.status().unwrap(), "puppet")["live"]["generation"].clone();
    fs::rename(&file_path, project.path("plugins/renamed.wasm")).unwrap();
    wait_file(&host, "renamed.wasm", "deployed");
    let after = host.wait_version("puppet", "3.0.0");
    assert_eq!(
        of(&after, "puppet")["live"]["generation"],
        before,
        "a rename is no new version"
    );
    host.stop();
}

fn a_removed_file_retires_its_projection_and_its_tables_stay(database: Database) {
    let project = project(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    project.deploy_bytes(&puppet::named("other", "1.0.0", "one"), "other");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    host.wait_version("other", "1.0.0");
    let rows = project.client().number("SELECT count(*) FROM puppet").unwrap();
    project.undeploy("puppet");
    host.wait_status("the projection to be removed", wait::LONG, |status| {
        of(status, "puppet")["state"] == "removed"
    });
    project.append("later", "Put", &Value::Null);
    host.wait_version("other", "1.0.0");
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        rows,
        "its rows stay as they were"
    );
    // It comes back, and catches up.
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    host.wait_version("puppet", "1.0.0");
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        rows + 1
    );
    host.stop();
}

fn a_folder_that_is_missing_or_suddenly_empty_retires_nothing(database: Database) {
    let project = project(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    project.deploy_bytes(&puppet::named("other", "1.0.0", "one"), "other");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    host.wait_version("other", "1.0.0");
    fs::rename(project.path("plugins"), project.path("away")).unwrap();
    let status = host.wait_status("a problem with the folder", wait::LONG, |status| {
        status["problems"]
            .as_array()
            .is_some_and(|problems| !problems.is_empty())
    });
    assert!(
        status["problems"].to_string().contains("plugins"),
        "{}",
        status["problems"]
    );
    goes_on(&project, &host, "1.0.0");
    fs::create_dir(project.path("plugins")).unwrap();
    host.wait_status("a problem with the empty folder", wait::LONG, |status| {
        status["problems"].to_string().contains("empty")
            || status["problems"].to_string().contains("no plugin")
    });
    goes_on(&project, &host, "1.0.0");
    fs::remove_dir(project.path("plugins")).unwrap();
    fs::rename(project.path("away"), project.path("plugins")).unwrap();
    host.wait_status("no problem any more", wait::LONG, |status| {
        status["problems"].as_array().is_some_and(Vec::is_empty)
    });
    goes_on(&project, &host, "1.0.0");
    host.stop();
}

fn a_rollback_survives_a_restart(database: Database) {
    let project = project(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    project.deploy_bytes(&puppet::named("puppet", "2.0.0", "two"), "puppet");
    host.wait_version("puppet", "2.0.0");
    project.append("between", "Put", &Value::Null);
    host.wait_version("puppet", "2.0.0");
    project.ok(&["rollback", "puppet"]);
    let status = host.wait_status("version 1 to be live again", wait::LONG, |status| {
        of(status, "puppet")["live"]["version"] == "1.0.0"
    });
    assert!(
        of(&status, "puppet")["held"].to_string().contains("1.0.0"),
        "{:#}",
        of(&status, "puppet")
    );
    let sql = "SELECT count(*), min(stamp), max(stamp) FROM puppet";
    let rows = project.client().query(sql).unwrap();
    assert_eq!(
        (rows[0][1].as_deref(), rows[0][2].as_deref()),
        (Some("one"), Some("one"))
    );
    host.kill();
    let host = project.serve();
    goes_on(&project, &host, "1.0.0");
    std::thread::sleep(std::time::Duration::from_secs(2));
    goes_on(&project, &host, "1.0.0");
    // A version that was not rolled back from is deployed again.
    project.deploy_bytes(&puppet::named("puppet", "3.0.0", "three"), "puppet");
    host.wait_version("puppet", "3.0.0");
    host.stop();
}

fn a_paused_projection_stays_paused_and_goes_on_where_it_stopped(database: Database) {
    let project = project(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    project.ok(&["pause", "puppet", "--reason", "the auditors are here"]);
    host.wait_status("a pause", wait::LONG, |status| {
        of(status, "puppet")["state"] == "paused"
    });
    let rows = project.client().number("SELECT count(*) FROM puppet").unwrap();
    project.append("while-paused", "Put", &Value::Null);
    host.stop();
    let host = project.serve();
    let status = host.wait_status("the pause after a restart", wait::LONG, |status| {
        of(status, "puppet")["state"] == "paused"
    });
    assert_eq!(of(&status, "puppet")["paused"], "the auditors are here");
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        rows
    );
    project.ok(&["resume", "puppet"]);
    goes_on(&project, &host, "1.0.0");
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        rows + 2
    );
    host.stop();
}

fn manual_cutover_waits_for_the_command(database: Database) {
    let project = project(database);
    project.set_settings("[projection]\ncutover = \"manual\"\n");
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    project.deploy_bytes(&puppet::named("puppet", "2.0.0", "two"), "puppet");
    host.wait_status("version 2 to be ready", wait::LONG, |status| {
        let others = of(status, "puppet")["others"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        others
            .iter()
            .any(|one| one["version"] == "2.0.0" && one["state"] == "ready")
    });
    assert_eq!(
        of(&project.status().unwrap(), "puppet")["live"]["version"],
        "1.0.0"
    );
    project.ok(&["cutover", "puppet"]);
    host.wait_version("puppet", "2.0.0");
    host.stop();
}

fn a_rollback_past_an_appended_column_needs_nothing_said(database: Database) {
    let project = project(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    let settings = [("version", "2.0.0"), ("stamp", "two"), ("extra", "colour")];
    project.deploy_bytes(&puppet::puppet(&settings), "puppet");
    host.wait_version("puppet", "2.0.0");
    let stamps = "SELECT DISTINCT stamp FROM puppet";
    for (verb, version, stamp) in [("rollback", "1.0.0", "one"), ("cutover", "2.0.0", "two")] {
        project.ok(&[verb, "puppet"]);
        host.wait_version("puppet", version);
        assert_eq!(
            project.client().query(stamps).unwrap(),
            vec![vec![Some(stamp.to_owned())]]
        );
    }
    assert!(project.client().query("SELECT colour FROM puppet").is_ok());
    host.stop();
}
