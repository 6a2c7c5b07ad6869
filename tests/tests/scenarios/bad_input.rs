//! Wrong input gets a clear error, a non-zero exit or a refused request; nothing is lost.

use std::fs;

use lamphouse_tests::{Database, Project, log_check, log_file, on_each_database, puppet};
use serde_json::Value;

on_each_database!(
    bad_events_are_refused_by_name_and_nothing_of_them_stays,
    bad_lines_of_an_import_are_named_with_their_numbers,
    a_query_can_only_read,
);

#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(
            message.contains(word),
            "the message should say '{word}': {message}"
        );
    }
}

#[track_caller]
fn refused(project: &Project, arguments: &[String], words: &[&str]) {
    says(
        &project.fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
        words,
    );
}

fn bad_events_are_refused_by_name_and_nothing_of_them_stays(database: Database) {
    let project = Project::new(database);
    project.append("row-1", "Put", &Value::Null);
    let long_id = "x".repeat(10_000);
    refused(
        &project,
        &project.append_arguments(&long_id, "Put", "{}"),
        &["stream_id_bytes_max", "512"],
    );
    refused(
        &project,
        &project.append_arguments("row-2", "Put", "{\"a\":"),
        &["JSON"],
    );
    refused(
        &project,
        &project.append_arguments("row-2", "Put", "\"\\u0000\""),
        &["0000"],
    );
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    refused(
        &project,
        &project.append_arguments("row-2", "Put", &deep),
        &["128"],
    );
    let mut short = project.append_arguments("row-2", "Put", "{}");
    let at = short.iter().position(|text| text == "--reason").unwrap();
    short[at + 1] = "because".to_owned();
    refused(&project, &short, &["reason", "10"]);
    short.drain(at..at + 2);
    refused(&project, &short, &["reason"]);
    let huge = log_file::line("row-2", "Put", &Value::from("x".repeat(50 << 20)));
    let file = project.path("huge.jsonl");
    log_file::write(&file, [log_file::line("row-3", "Put", &Value::Null), huge]);
    says(
        &project.fails(&["import", file.to_str().unwrap()]),
        &["line 2", "event_bytes_max"],
    );
    log_check::assert_whole(&project, project.head() as usize);
    assert!(
        project.head() <= 2,
        "only what came before the bad line may be there"
    );
}

fn bad_lines_of_an_import_are_named_with_their_numbers(database: Database) {
    let project = Project::new(database);
    let good = |number: usize| log_file::line(&format!("row-{number}"), "Put", &Value::from(number));
    for (name, bad, words) in [
        ("json", "{\"stream_id\":", ["line 4", "JSON"]),
        ("field", "{\"stream_id\":\"a\",\"what\":1}", ["line 4", "what"]),
        ("text", "hello", ["line 4", "JSON"]),
    ] {
        let file = project.path(&format!("{name}.jsonl"));
        log_file::write(
            &file,
            (1..4).map(good).chain([bad.to_owned()]).chain((4..6).map(good)),
        );
        says(&project.fails(&["import", file.to_str().unwrap()]), &words);
        assert_eq!(project.head(), 0, "{name}: nothing of a failed batch stays");
    }
    assert!(
        project
            .fails(&["import", "no-such-file.jsonl"])
            .contains("no-such-file.jsonl")
    );
    // The same file, mended, goes in once.
    let file = project.path("json.jsonl");
    log_file::write(&file, (1..6).map(good));
    project.import(&file);
    project.import(&file);
    log_check::assert_whole(&project, 5);
}

fn a_query_can_only_read(database: Database) {
    let project = Project::new(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    project.append("row-1", "Put", &Value::Null);
    project.catch_up();
    assert!(
        project
            .ok(&["query", "SELECT id, stamp FROM puppet", "--json"])
            .contains("row-1")
    );
    for sql in [
        "DELETE FROM puppet",
        "SELECT 1; DROP VIEW puppet",
        "UPDATE puppet SET stamp = 'x'",
        "CREATE TABLE mine (a integer)",
        "SELECT * FROM no_such_table",
        "SELEC 1",
        "",
    ] {
        assert!(!project.fails(&["query", sql]).is_empty(), "{sql}");
    }
    assert_eq!(project.client().number("SELECT count(*) FROM puppet").unwrap(), 1);
}

#[test]
fn a_configuration_with_mistakes_names_them_all_with_their_lines() {
    let project = Project::new(Database::sqlite());
    fs::write(
        project.path("lamphouse.toml"),
        "[host]\nlisten = \"0.0.0.0:80\"\n[pipeline]\nbatch_evnets_max = 5\n",
    )
    .unwrap();
    for verb in ["serve", "status", "catch-up"] {
        says(&project.fails(&[verb]), &["line 2", "line 4", "batch_events_max"]);
    }
    fs::remove_file(project.path("lamphouse.toml")).unwrap();
    says(&project.fails(&["serve"]), &["lamphouse init"]);
}

#[test]
fn a_database_that_is_away_a_port_in_use_and_a_missing_folder_are_said_plainly() {
    let project = Project::new(Database::sqlite());
    let closed = xtask::postgres::free_port().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{closed}/nothing");
    fs::write(
        project.path("lamphouse.toml"),
        format!("[log]\nurl = \"{url}\"\n[tables]\nurl = \"{url}\"\n"),
    )
    .unwrap();
    says(
        &project.fails(&[
            "append",
            "--stream",
            "a",
            "--stream-type",
            "t",
            "--type",
            "T",
            "--reason",
            "a good reason",
        ]),
        &[&closed.to_string()],
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    fs::write(
        project.path("lamphouse.toml"),
        format!("[host]\nlisten = \"127.0.0.1:{port}\"\n"),
    )
    .unwrap();
    says(&project.fails(&["serve"]), &[&port.to_string(), "in use"]);

    fs::write(
        project.path("lamphouse.toml"),
        "[plugins]\nfolder = \"nowhere\"\n[host]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    says(&project.fails(&["catch-up"]), &["nowhere"]);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let project = Project::new(Database::sqlite());
    project.append("row-1", "Put", &Value::Null);
    let mut log = project.log_client();
    let applied = "SELECT count(*) FROM _sqlx_migrations";
    assert!(log.number(applied).unwrap() >= 1);
    log.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99990101000000, 'of the future', 1, x'00', 0)",
    )
    .unwrap();
    drop(log);
    let arguments = project.append_arguments("row-2", "Put", "{}");
    let message = project.fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    says(&message, &["newer"]);
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let project = Project::new(Database::sqlite());
    project.append("row-1", "Put", &Value::Null);
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &Value::from("x".repeat(4_000)));
    let file = project.path("much.jsonl");
    log_file::write(&file, (2..3_000).map(line));
    // A limit on file sizes stands in for a full disk: writes fail half way.
    let binary = lamphouse_tests::project::host_binary();
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(binary)
        .arg("--project")
        .arg(project.path(""))
        .arg("import")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        lamphouse_tests::project::said(&output)
    );
    assert!(!output.stderr.is_empty());
    let head = project.head() as usize;
    assert!(
        (1..2_999).contains(&head),
        "the limit came too late to matter: {head}"
    );
    log_check::assert_whole(&project, head);
    project.import(&file);
    log_check::assert_whole(&project, 2_999);
}
