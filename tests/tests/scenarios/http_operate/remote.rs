//! The commands on a host elsewhere: an empty folder, an address and a token.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lamphouse_tests::host::of;
use lamphouse_tests::project::{host_binary, said};
use lamphouse_tests::{Database, Project, log_file, on_each_database, puppet, wait};
use serde_json::{Value, json};

use super::Api;

on_each_database!(
    every_command_that_takes_a_url_does_what_it_does_at_home,
    what_is_wrong_with_a_host_elsewhere_is_said,
);

/// Somebody with nothing but an address and a token.
struct Visitor {
    folder: tempfile::TempDir,
    url: String,
    token: PathBuf,
}

impl Visitor {
    fn of(project: &Project) -> Self {
        let api = Api::of(project);
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, format!("{}\n", api.token)).unwrap();
        Self {
            folder,
            url: format!("http://{}", api.address),
            token,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_binary());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("NO_COLOR", "1")
            .env_remove("LAMPHOUSE_PROJECT")
            .env_remove("LAMPHOUSE_URL")
            .env_remove("LAMPHOUSE_TOKEN")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        let token = self.token.to_str().unwrap();
        all.extend(["--url", &self.url, "--token-file", token]);
        self.command(&all).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    /// Fails, and says these words; gives the exit code.
    #[track_caller]
    fn fails(&self, arguments: &[&str], words: &[&str]) -> i32 {
        failed(&self.run(arguments), words)
    }
}

#[track_caller]
fn failed(output: &Output, words: &[&str]) -> i32 {
    let text = said(output);
    assert!(!output.status.success() && !text.contains("panicked"), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing: {text}");
    }
    output.status.code().unwrap()
}

fn every_command_that_takes_a_url_does_what_it_does_at_home(database: Database) {
    let settings = "[projection]\non_fault = \"dead-letter\"\n";
    let project = Project::with_settings(database, settings);
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &Value::from(number));
    project.import_lines("rows", (0..1_200).map(line));
    let host = project.serve();
    let there = Visitor::of(&project);
    let file = there.folder.path().join("my_puppet.wasm");
    let push = |version: &str| {
        let settings = [
            ("version", version),
            ("stamp", version),
            ("options", "partition:stream"),
            ("index", "none"),
        ];
        fs::write(&file, puppet::puppet(&settings)).unwrap();
        there.ok(&[
            "plugin",
            "push",
            file.to_str().unwrap(),
            "--reason",
            "pushed by a scenario",
        ])
    };
    let told = push("1.0.0");
    assert!(told.contains("puppet shows g1 (version 1.0.0)"), "{told}");
    assert!(project.path("plugins/my-puppet.wasm").exists());
    assert!(
        push("2.0.0").contains("puppet shows g2 (version 2.0.0)"),
        "it is waited for"
    );
    assert!(push("2.0.0").contains("deployed already"));
    let listed = there.json(&["plugin", "list"]);
    assert_eq!(listed["plugins"][0]["name"], "my-puppet", "{listed:#}");
    assert_eq!(there.json(&["status"])["projections"][0]["name"], "puppet");
    let shown = there.json(&["projection", "show", "puppet"]);
    assert_eq!(shown["generations"][0]["tables"][0]["name"], "puppet");
    let differ = there.ok(&["diff", "puppet", "--limit", "1200", "--json"]);
    assert_eq!(differ.lines().count(), 1_200, "the stamps of all rows");

    let event = [
        "--stream",
        "row-1",
        "--stream-type",
        "test",
        "--reason",
        "from elsewhere",
    ];
    let append = |event_type: &str, more: &[&str]| {
        there.json(&[&["append", "--type", event_type], &event[..], more].concat())
    };
    let first = append("Put", &["--idempotency-key", "one"]);
    let again = append("Put", &["--idempotency-key", "one"]);
    assert_eq!(
        (&again["position"], &again["repeated"]),
        (&first["position"], &json!(true))
    );
    let conflict = [
        &["append", "--type", "Put", "--expected-version", "no-stream"],
        &event[..],
    ]
    .concat();
    there.fails(&conflict, &["row-1", "409", &there.url]);
    let lines = there.ok(&["events", "--all", "--json", "--type", "Put"]);
    assert_eq!(lines.lines().count(), 1_201, "over several pages");
    assert_eq!(
        there
            .ok(&["events", "--limit", "3", "--backward", "--json"])
            .lines()
            .count(),
        3
    );
    assert_eq!(there.ok(&["stream", "row-1", "--json"]).lines().count(), 2);
    there.fails(&["stream", "nobody"], &["there is no stream 'nobody'"]);

    there.ok(&["pause", "puppet", "--reason", "to look at it"]);
    assert_eq!(
        of(&project.status().unwrap(), "puppet")["paused"],
        "to look at it"
    );
    there.ok(&["resume", "puppet"]);
    let told = there.ok(&["rebuild", "puppet"]);
    assert!(told.contains("puppet shows g3"), "{told}");
    let told = there.ok(&["rollback", "puppet"]);
    assert!(told.contains("(version"), "{told}");
    there.ok(&["cutover", "puppet"]);

    append("Fail", &[]);
    append("Put", &[]);
    host.wait_status("the events to be parked", wait::LONG, |status| {
        of(status, "puppet")["live"]["parked_events"] == 2
    });
    let letters = there.json(&["dead-letters", "list", "puppet", "--stream", "row-1"]);
    assert_eq!(
        letters,
        project.json(&["dead-letters", "list", "puppet", "--stream", "row-1"])
    );
    let position = letters["dead_letters"][0]["position"].to_string();
    let shown = there.ok(&["dead-letters", "show", "puppet", &position]);
    assert_eq!(shown, project.ok(&["dead-letters", "show", "puppet", &position]));
    assert_eq!(
        there.json(&["explain", &position]),
        project.json(&["explain", &position])
    );
    let state = ["state", "row-2", "--projector", "puppet", "--at", "1000"];
    assert_eq!(there.json(&state), project.json(&state));
    there.fails(&["state", "row-1", "--projector", "nobody"], &["nobody", "404"]);
    let types = |catalog: &Value| catalog["types"].clone();
    assert_eq!(
        types(&there.json(&["catalog"])),
        types(&project.json(&["catalog"]))
    );
    there.fails(
        &["explain", "nothing"],
        &["neither a position nor an event id", "422"],
    );
    there.fails(&["dead-letters", "retry", "puppet"], &["still fails"]);
    let told = there.ok(&[
        "dead-letters",
        "discard",
        "puppet",
        &position,
        "--reason",
        "it was made to fail",
    ]);
    assert!(told.contains("leaves out"), "{told}");
    assert_eq!(there.json(&["dead-letters", "retry", "puppet"])["replayed"], 1);
    let discarded = there.json(&["dead-letters", "list", "--discarded"]);
    assert_eq!(discarded["discarded"][0]["reason"], "it was made to fail");

    let told = there.ok(&[
        "plugin",
        "remove",
        "my-puppet",
        "--reason",
        "removed by a scenario",
    ]);
    assert!(told.contains("its tables stay"), "{told}");
    assert_eq!(
        there.json(&["projection", "show", "puppet"])["projection"]["state"],
        "removed"
    );
    assert_eq!(
        fs::read_dir(there.folder.path()).unwrap().count(),
        2,
        "nothing was made here but the token and the plugin"
    );
    host.stop();
}

fn what_is_wrong_with_a_host_elsewhere_is_said(database: Database) {
    let project = Project::new(database);
    let host = project.serve();
    let there = Visitor::of(&project);
    let with = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = there.command(arguments);
        command.envs(environment.iter().copied());
        command.output().unwrap()
    };
    // By the environment alone.
    let token = fs::read_to_string(&there.token).unwrap();
    let token = token.trim();
    let good = with(
        &["status"],
        &[("LAMPHOUSE_URL", &there.url), ("LAMPHOUSE_TOKEN", token)],
    );
    assert!(good.status.success(), "{}", said(&good));
    // Commands for a folder say so, and do nothing.
    for command in [
        &["query", "SELECT 1"][..],
        &["import", "rows.jsonl"],
        &["export"],
        &["catch-up"],
        &["serve"],
        &["init"],
        &["plugin", "check", "a.wasm"],
    ] {
        let code = there.fails(command, &["works on a project folder; --url is not for it"]);
        assert_eq!(code, 2, "{command:?}");
    }
    let environment = [("LAMPHOUSE_URL", there.url.as_str()), ("LAMPHOUSE_TOKEN", token)];
    assert_eq!(
        failed(
            &with(&["query", "SELECT 1"], &environment),
            &["LAMPHOUSE_URL", "--project"]
        ),
        2
    );
    let code = failed(
        &with(&["status", "--url", &there.url], &[]),
        &["LAMPHOUSE_TOKEN", "--token-file"],
    );
    assert_eq!(code, 2);
    let both = ["status", "--project", ".", "--url", &there.url];
    assert_eq!(failed(&with(&both, &[]), &["two places"]), 2);
    for (url, words) in [
        ("lamp.example:7117", "https://HOST:7117"),
        ("http://lamp.example:7117", "for everybody to read"),
        ("https://me:secret@lamp.example", "no user or password"),
    ] {
        let output = with(&["status", "--url", url, "--token", "a-token"], &[]);
        assert_eq!(failed(&output, &[words]), 2);
        assert!(!said(&output).contains("secret"));
    }
    let wrong = with(&["status", "--url", &there.url, "--token", "a-wrong-token"], &[]);
    failed(&wrong, &["401", "/v1/status", &there.url, "token"]);
    assert!(!said(&wrong).contains("a-wrong-token"));
    there.fails(&["rebuild", "nobody"], &["no projection 'nobody'", "404"]);
    there.fails(
        &["plugin", "push", "nothing.wasm"],
        &["nothing.wasm cannot be read"],
    );
    there.fails(&["plugin", "push", "token"], &["422", "not WebAssembly"]);
    there.fails(
        &["plugin", "push", "token", "--name", "../x"],
        &["lower-case ASCII"],
    );
    there.fails(&["status", "--ca", "token"], &["no certificate"]);
    // To a port that serves plain http, over TLS.
    let tls = there.url.replace("http://", "https://");
    let over_tls = with(&["status", "--url", &tls, "--token", token], &[]);
    failed(&over_tls, &[&tls, "whether it serves https"]);
    host.stop();
    there.fails(&["status"], &[&there.url, "see whether a host runs there"]);
}
