//! Plugins over HTTP: what a good one needs, and that no bad one harms what runs.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, Host, Project, log_file, on_each_database, puppet, wait};
use serde_json::{Value, json};

use super::Api;

on_each_database!(
    an_upload_is_deployed_and_its_table_is_read,
    what_may_not_be_deployed_never_replaces_what_runs,
    a_host_that_is_killed_in_an_upload_leaves_the_folder_as_it_was,
    a_removed_plugin_keeps_its_tables_also_the_last_one,
    uploads_at_once_are_compiled_one_by_one,
    an_upcaster_says_whom_it_concerns,
);

fn project(database: Database) -> Project {
    let project = Project::with_settings(database, "[limits]\nplugin_bytes_max = 4_194_304\n");
    let line = |number| log_file::line(&format!("row-{number}"), "Put", &Value::from(number));
    project.import_lines("rows", (0..20).map(line));
    project
}

/// The files of the plugin folder, hidden ones too.
fn folder(project: &Project) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(project.path("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// As CI waits: until the plugin is deployed with this digest and its projection shows it.
#[track_caller]
fn wait_live(api: &Api, name: &str, digest: &str) -> Value {
    wait::until(&format!("{name} to be live"), wait::LONG, || {
        let plugin = api.ok(&format!("/v1/plugins/{name}"));
        if plugin["digest"] != digest || plugin["state"] != "deployed" {
            return Err(plugin.to_string());
        }
        let shown = api.ok(&format!("/v1/projections/{}", plugin["plugin"].as_str().unwrap()));
        match shown["projection"]["live"]["digest"] == digest {
            true => Ok(shown),
            false => Err(shown.to_string()),
        }
    })
}

fn digest(answer: &Value) -> String {
    answer["digest"].as_str().unwrap().to_owned()
}

fn an_upload_is_deployed_and_its_table_is_read(database: Database) {
    let project = project(database);
    let host = project.serve();
    let api = Api::of(&project);
    let one = puppet::named("puppet", "1.0.0", "one");
    let answer = api.put_with("puppet", "Lamphouse-Reason: the first version\r\n", &one);
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    assert_eq!(answer.header("location"), "/v1/plugins/puppet");
    assert_eq!(answer.header("etag"), format!("\"{}\"", digest(&answer.body)));
    let body = &answer.body;
    assert_eq!(
        (&body["kind"], &body["plugin"], &body["version"], &body["watch"]),
        (
            &json!("projector"),
            &json!("puppet"),
            &json!("1.0.0"),
            &json!(["/v1/projections/puppet"])
        )
    );
    wait_live(&api, "puppet", &digest(body));
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        20
    );
    assert_eq!(fs::read(project.path("plugins/puppet.wasm")).unwrap(), one);
    assert_eq!(folder(&project), ["puppet.wasm"], "nothing of the upload is left");

    let again = api.put("puppet", &one);
    assert_eq!((again.status, &again.body["state"]), (200, &json!("deployed")));
    // A new version in its place, by someone who knows what is there.
    let two = puppet::named("puppet", "2.0.0", "two");
    let wrong = api.put_with("puppet", &format!("If-Match: \"{}\"\r\n", "0".repeat(64)), &two);
    assert_eq!(wrong.status, 412, "{}", wrong.detail());
    assert_eq!(api.put_with("puppet", "If-None-Match: *\r\n", &two).status, 412);
    let tag = api.get("/v1/plugins/puppet").header("etag").to_owned();
    let answer = api.put_with("puppet", &format!("If-Match: {tag}\r\n"), &two);
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    wait_live(&api, "puppet", &digest(&answer.body));
    // An older version is a version like any other.
    let answer = api.put("puppet", &one);
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    wait_live(&api, "puppet", &digest(&answer.body));

    let shown = api.ok("/v1/plugins/puppet");
    let contents = &shown["contents"];
    assert_eq!(contents["bytes"], json!(one.len()));
    assert_eq!(contents["tables"][0]["name"], "puppet");
    assert_eq!(contents["tables"][0]["columns"][0]["key"], true);
    assert!(
        contents["imports"].to_string().contains("lamphouse:plugin/"),
        "{contents:#}"
    );
    let listed = api.ok("/v1/plugins");
    assert_eq!(
        listed["plugins"][0]["projections"],
        json!(["puppet"]),
        "{listed:#}"
    );
    let record = api.on_record();
    let done = record
        .iter()
        .filter(|[what, ..]| what == "lamphouse.PluginUploaded")
        .count();
    assert_eq!(done, 4, "{record:#?}");
    assert_eq!(record[0][2], "the first version");
    // A restart runs what was uploaded.
    host.kill();
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    host.stop();
}

/// The old version is public, healthy, and takes new events.
#[track_caller]
fn goes_on(project: &Project, host: &Host, bytes: &[u8]) {
    project.append("one-more", "Count", &Value::Null);
    let status = host.wait_version("puppet", "1.0.0");
    assert_eq!(
        of(&status, "puppet")["healthy"],
        true,
        "{:#}",
        of(&status, "puppet")
    );
    assert_eq!(fs::read(project.path("plugins/puppet.wasm")).unwrap(), bytes);
}

fn what_may_not_be_deployed_never_replaces_what_runs(database: Database) {
    let project = project(database);
    let one = puppet::named("puppet", "1.0.0", "one");
    project.deploy_bytes(&one, "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    let api = Api::of(&project);
    let two = puppet::named("puppet", "2.0.0", "two");
    let network = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    let thief = puppet::puppet(&[("name", "thief"), ("table", "puppet")]);
    let loops = puppet::named("puppet", "1.0.0", "changed");
    for (name, bytes, status, words) in [
        ("puppet", &b"this is no plugin"[..], 422, "WebAssembly"),
        ("puppet", b"", 422, "empty"),
        ("puppet", &two[..two.len() / 2], 422, "cut short"),
        (
            "puppet",
            &wat::parse_str("(component)").unwrap(),
            422,
            "lamphouse:plugin",
        ),
        (
            "puppet",
            &wat::parse_str(network).unwrap(),
            422,
            "wasi:http/outgoing-handler",
        ),
        ("puppet", &loops, 422, "raise the version"),
        ("puppet", &vec![0; (4 << 20) + 1], 413, "plugin_bytes_max"),
        (
            "puppet",
            &puppet::named("other", "1.0.0", "one"),
            409,
            "another name",
        ),
        ("second-puppet", &two, 422, "claim the one plugin name"),
        (
            "thief",
            &thief,
            422,
            "table 'puppet' belongs to projection 'puppet'",
        ),
        ("..%2Fputtet", &two, 400, "lower-case ASCII"),
        (".hidden", &two, 400, "lower-case ASCII"),
        ("%C3%A9clair", &two, 400, "lower-case ASCII"),
        (&"a".repeat(300), &two, 400, "at most 48"),
        ("a%2Fb", &two, 400, "lower-case ASCII"),
    ] {
        let answer = api.put(name, bytes);
        assert!(
            answer.status == status && answer.detail().contains(words),
            "{name}: {} {:#}",
            answer.status,
            answer.body
        );
    }
    // The same words as the folder's.
    let text = project.path("lamphouse.toml");
    let said = project.fails(&["plugin", "check", text.to_str().unwrap()]);
    let answer = api.put("puppet", &fs::read(project.path("lamphouse.toml")).unwrap());
    let reason = answer.detail().trim_start_matches("puppet.wasm: ");
    assert!(said.contains(reason), "{said} should say {reason}");
    assert_eq!(folder(&project), ["puppet.wasm"]);
    goes_on(&project, &host, &one);
    let record = api.on_record();
    assert!(
        record
            .iter()
            .all(|[what, ..]| what == "lamphouse.AdminActionFailed")
            && record.len() == 10,
        "{record:#?}"
    );
    host.stop();
}

fn a_host_that_is_killed_in_an_upload_leaves_the_folder_as_it_was(database: Database) {
    let project = project(database);
    let one = puppet::named("puppet", "1.0.0", "one");
    project.deploy_bytes(&one, "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    let api = Api::of(&project);
    let two = puppet::named("puppet", "2.0.0", "two");
    let mut stream = TcpStream::connect(&api.address).unwrap();
    let head = api.head(
        "PUT /v1/plugins/puppet",
        "Content-Type: application/wasm\r\n",
        two.len(),
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&two[..two.len() / 2]).unwrap();
    wait::until("the upload to be received", wait::SHORT, || {
        match folder(&project).len() {
            2 => Ok(()),
            _ => Err(format!("{:?}", folder(&project))),
        }
    });
    host.kill();
    drop(stream);
    let host = project.serve();
    goes_on(&project, &host, &one);
    assert_eq!(folder(&project), ["puppet.wasm"], "what was half there is gone");
    let answer = Api::of(&project).put("puppet", &two);
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    host.wait_version("puppet", "2.0.0");
    host.stop();
}

fn a_removed_plugin_keeps_its_tables_also_the_last_one(database: Database) {
    let project = project(database);
    let host = project.serve();
    let api = Api::of(&project);
    for name in ["puppet", "other"] {
        let answer = api.put(name, &puppet::named(name, "1.0.0", "one"));
        assert_eq!(answer.status, 202, "{:#}", answer.body);
        wait_live(&api, name, &digest(&answer.body));
    }
    let delete = |name: &str, headers: &str| api.ask(&format!("DELETE /v1/plugins/{name}"), headers, b"");
    let wrong = format!("If-Match: \"{}\"\r\n", "0".repeat(64));
    assert_eq!(delete("puppet", &wrong).status, 412);
    assert_eq!(delete("..%2Flamphouse.toml", "").status, 404);
    assert_eq!(delete("nothing", "").status, 404);
    for name in ["puppet", "other"] {
        let answer = delete(name, "Lamphouse-Reason: nobody reads it any more\r\n");
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        assert_eq!(answer.body["projections"], json!([name]));
        assert_eq!(
            api.ok(&format!("/v1/projections/{name}"))["projection"]["state"],
            "removed"
        );
        assert_eq!(delete(name, "").status, 404, "it is gone");
        assert_eq!(api.ok(&format!("/v1/plugins/{name}"))["state"], "removed");
    }
    assert!(folder(&project).is_empty());
    assert!(project.path("lamphouse.toml").exists());
    project.append("later", "Put", &Value::Null);
    // An empty folder that was emptied by name is no mistake, after a restart neither.
    host.kill();
    let host = project.serve();
    let status = host.wait_status("the folder to be judged", wait::LONG, |status| {
        of(status, "other")["state"] == "removed"
    });
    assert_eq!(status["problems"], json!([]));
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        20
    );
    // It comes back, and catches up.
    let api = Api::of(&project);
    let answer = api.put("puppet", &puppet::named("puppet", "1.0.0", "one"));
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    host.wait_version("puppet", "1.0.0");
    assert_eq!(
        project.client().number("SELECT count(*) FROM puppet").unwrap(),
        21
    );
    let record = api.on_record();
    let removed = record
        .iter()
        .filter(|[what, ..]| what == "lamphouse.PluginRemoved");
    let reasons: Vec<&str> = removed.map(|[.., reason]| reason.as_str()).collect();
    assert_eq!(reasons, ["nobody reads it any more"; 2]);
    host.stop();
}

fn uploads_at_once_are_compiled_one_by_one(database: Database) {
    let project = project(database);
    let host = project.serve();
    let api = Api::of(&project);
    let names = ["one", "two", "three", "four"];
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let put = |name: &'static str| {
            let api = &api;
            scope.spawn(move || api.put(name, &puppet::named(name, "1.0.0", name)).status)
        };
        let threads: Vec<_> = names.into_iter().map(put).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses, [202; 4]);
    for name in names {
        host.wait_version(name, "1.0.0");
    }
    // The same name at once: one of the two is what is there in the end, whole.
    let versions = ["2.0.0", "3.0.0"];
    let bytes = versions.map(|version| puppet::named("one", version, version));
    std::thread::scope(|scope| {
        for bytes in &bytes {
            let api = &api;
            scope.spawn(move || {
                let answer = api.put("one", bytes);
                assert_eq!(answer.status, 202, "{:#}", answer.body);
            });
        }
    });
    let there = fs::read(project.path("plugins/one.wasm")).unwrap();
    let place = bytes
        .iter()
        .position(|bytes| *bytes == there)
        .expect("one of the two");
    host.wait_version("one", versions[place]);
    host.stop();
}

fn an_upcaster_says_whom_it_concerns(database: Database) {
    let project = project(database);
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    let api = Api::of(&project);
    let lifter = puppet::lifter("lift", "1.0.0", &[("rules", "Put:1>Put:2")]);
    let answer = api.put("lift", &lifter);
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    assert_eq!(
        (&answer.body["kind"], &answer.body["projections"]),
        (&json!("upcaster"), &json!(["puppet"]))
    );
    wait::until("the tables to be built with it", wait::LONG, || {
        let shown = api.ok("/v1/projections/puppet");
        match shown["projection"]["live"]["upcasters"][0]["name"] == "lift" {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
    let shown = api.ok("/v1/plugins/lift");
    assert_eq!(shown["contents"]["rules"][0]["takes"], "Put 1", "{shown:#}");
    let same = puppet::lifter("lift", "1.0.0", &[("rules", "Put:1>Put:3")]);
    let answer = api.put("lift", &same);
    assert!(
        answer.status == 422 && answer.detail().contains("raise the version"),
        "{:#}",
        answer.body
    );
    host.stop();
}
