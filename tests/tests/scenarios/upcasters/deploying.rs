//! Which projections are built anew when an upcaster comes, changes or goes, and what goes on meanwhile.

use lamphouse_tests::host::{Host, of};
use lamphouse_tests::puppet::lifter;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::{Value, json};

use super::{RULES, came, live_generation, recorder};

on_each_database!(
    a_new_upcaster_builds_anew_exactly_what_it_reaches_and_status_says_why,
    until_cutover_and_after_a_rollback_each_generation_runs_with_its_own_upcasters,
    a_removed_upcaster_waits_for_a_person_and_one_that_is_back_changes_nothing,
    cycles_forks_and_new_bytes_are_refused_while_the_old_goes_on,
);

#[track_caller]
fn wait_refused(host: &Host, file: &str, words: &[&str]) {
    let what = format!("{file} to be refused with the words {words:?}");
    host.wait_status(&what, wait::LONG, |status| {
        let entry = entry(status, file);
        let message = entry["message"].as_str().unwrap_or_default();
        entry["state"] == "refused" && words.iter().all(|word| message.contains(word))
    });
}

fn entry(status: &Value, file: &str) -> Value {
    let files = status["files"].as_array().cloned().unwrap_or_default();
    let found = files.into_iter().find(|one| one["file"] == file);
    found.unwrap_or(Value::Null)
}

/// Waits until a generation is ready that is not public, and gives the projection's status.
#[track_caller]
fn wait_ready(host: &Host, projection: &str) -> Value {
    let status = host.wait_status(
        &format!("{projection} to have a generation ready"),
        wait::LONG,
        |status| {
            let others = of(status, projection)["others"].as_array();
            let is_ready = |other: &Value| other["state"] == "ready" && other["lag_events"] == 0;
            others.is_some_and(|others| others.iter().any(is_ready))
        },
    );
    of(&status, projection).clone()
}

fn a_new_upcaster_builds_anew_exactly_what_it_reaches_and_status_says_why(database: Database) {
    let settings = "[projections.news]\ncutover = \"manual\"\n";
    let project = Project::with_settings(database, settings);
    let line = |number: u64| {
        let event_type = ["Old", "New", "Other"][number as usize % 3];
        log_file::line(&format!("s-{number}"), event_type, &json!({ "n": number }))
    };
    project.import_lines("log", (0..30).map(line));
    for (name, events) in [
        ("news", "New"),
        ("olds", "Old"),
        ("others", "Other"),
        ("everything", ""),
    ] {
        project.deploy_bytes(&recorder(name, events), name);
    }
    let host = project.serve();
    for name in ["news", "olds", "others", "everything"] {
        host.wait_level(name);
    }
    let before = project.status().unwrap();
    assert_eq!(came(&project, "news").len(), 10);

    // New: it takes what `olds` has, gives what `news` has, and concerns whoever takes everything.
    project.deploy_bytes(&lifter("lift", "1.0.0", &[RULES]), "lift");
    let news = wait_ready(&host, "news");
    let ready = &news["others"][0];
    assert_eq!(ready["because"], json!(["upcaster lift 1.0.0 is new"]));
    assert_eq!(ready["upcasters"][0]["name"], "lift");
    assert_eq!(
        came(&project, "news").len(),
        10,
        "the public generation goes on as it was"
    );
    project.ok(&["cutover", "news"]);
    let status = host.wait_status("three new generations", wait::LONG, |status| {
        ["news", "olds", "everything"]
            .iter()
            .all(|name| live_generation(status, name) > live_generation(&before, name))
    });
    assert_eq!(
        live_generation(&status, "others"),
        live_generation(&before, "others"),
        "it does not reach this one"
    );
    assert_eq!(came(&project, "news").len(), 20);
    assert_eq!(came(&project, "olds").len(), 0, "they are called New now");
    assert_eq!(came(&project, "everything").len(), 30);
    let upcaster = &status["upcasters"][0];
    assert_eq!(
        upcaster["projections"],
        json!(["everything", "news", "olds"]),
        "{upcaster:#}"
    );

    // Changed: what it reaches is said of the very version.
    project.deploy_bytes(&lifter("lift", "2.0.0", &[RULES, ("tag", "two")]), "lift");
    let news = wait_ready(&host, "news");
    assert_eq!(
        news["others"][0]["because"],
        json!(["upcaster lift 2.0.0 replaces 1.0.0"])
    );
    project.ok(&["cutover", "news"]);
    let tagged = |table: &str| {
        came(&project, table)
            .iter()
            .filter(|line| line.contains("\"two\""))
            .count()
    };
    host.wait_status("the rows of the second version", wait::LONG, |status| {
        status["upcasters"].as_array().is_some_and(|all| all.len() == 1)
            && tagged("news") == 10
            && tagged("everything") == 10
    });
    // An upcaster that reaches nobody builds nothing.
    let settled = host.wait_level("everything");
    let apart = lifter("apart", "1.0.0", &[("rules", "Strange:1>Stranger:1")]);
    project.deploy_bytes(&apart, "apart");
    let status = host.wait_status("the upcaster that reaches nobody", wait::LONG, |status| {
        entry(status, "apart.wasm")["state"] == "deployed"
    });
    // It concerns whoever takes every event, and nobody else.
    host.wait_status("everything to be built anew", wait::LONG, |status| {
        live_generation(status, "everything") > live_generation(&settled, "everything")
    });
    for name in ["news", "olds", "others"] {
        assert_eq!(
            live_generation(&status, name),
            live_generation(&settled, name),
            "{name}"
        );
    }
    host.stop();
}

fn until_cutover_and_after_a_rollback_each_generation_runs_with_its_own_upcasters(database: Database) {
    let settings = "[projections.seen]\ncutover = \"manual\"\n";
    let project = Project::with_settings(database, settings);
    project.import_lines(
        "log",
        (0..20).map(|number| log_file::line("s-1", "Old", &json!({ "n": number }))),
    );
    project.deploy_bytes(&recorder("seen", "New"), "seen");
    project.deploy_bytes(&lifter("lift", "1.0.0", &[RULES, ("tag", "one")]), "lift");
    let host = project.serve();
    host.wait_level("seen");
    project.deploy_bytes(&lifter("lift", "2.0.0", &[RULES, ("tag", "two")]), "lift");
    wait_ready(&host, "seen");
    // Killed while one generation is public with the one set and another is ready with the other.
    host.kill();
    let host = project.serve();
    let ready = wait_ready(&host, "seen");
    assert_eq!(
        ready["others"].as_array().map(Vec::len),
        Some(1),
        "a restart builds nothing more: {ready:#}"
    );
    assert_eq!(ready["live"]["upcasters"][0]["version"], "1.0.0");
    assert_eq!(ready["others"][0]["upcasters"][0]["version"], "2.0.0");
    let tags = |expected: usize, tag: &str| {
        let what = format!("{expected} rows lifted by {tag}");
        let word = format!("\"lifted\":\"{tag}\"");
        wait::until(&what, wait::LONG, || {
            let rows = came(&project, "seen");
            let all = rows.len() == expected && rows.iter().all(|row| row.contains(&word));
            if all { Ok(()) } else { Err(format!("{rows:?}")) }
        });
    };
    project.append("s-2", "Old", &json!({"n": 20}));
    tags(21, "one");
    project.ok(&["cutover", "seen"]);
    tags(21, "two");
    project.append("s-2", "Old", &json!({"n": 21}));
    tags(22, "two");
    project.ok(&["rollback", "seen"]);
    tags(22, "one");
    // What was rolled back from is held back, also after a restart; and the old code goes on from its kept bytes.
    host.kill();
    let host = project.serve();
    project.append("s-2", "Old", &json!({"n": 22}));
    tags(23, "one");
    let status = host.wait_status("the projector's file to be held", wait::LONG, |status| {
        entry(status, "seen.wasm")["state"] == "held"
    });
    let held = of(&status, "seen")["held"].to_string();
    assert!(held.contains("and its upcasters"), "{held}");
    project.ok(&["cutover", "seen"]);
    tags(23, "two");
    host.stop();
}

fn a_removed_upcaster_waits_for_a_person_and_one_that_is_back_changes_nothing(database: Database) {
    let project = Project::new(database);
    project.import_lines(
        "log",
        (0..10).map(|number| log_file::line("s-1", ["Old", "New"][number % 2], &json!(number))),
    );
    project.deploy_bytes(&recorder("seen", "New"), "seen");
    let bytes = lifter("lift", "1.0.0", &[RULES]);
    project.deploy_bytes(&bytes, "lift");
    let host = project.serve();
    let first = live_generation(&host.wait_level("seen"), "seen");
    assert_eq!(came(&project, "seen").len(), 10);
    project.undeploy("lift");
    let seen = wait_ready(&host, "seen");
    let status = host.wait_status("the wait to be said", wait::LONG, |status| {
        of(status, "seen")["message"].to_string().contains("was removed")
    });
    let message = of(&status, "seen")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("without upcaster lift 1.0.0"), "{message}");
    assert!(message.contains("`lamphouse cutover seen`"), "{message}");
    assert_eq!(
        seen["others"][0]["because"],
        json!(["upcaster lift 1.0.0 is no longer there"])
    );
    // It waits through a restart, and the public generation goes on with the upcaster's kept bytes.
    host.kill();
    let host = project.serve();
    project.append("s-1", "Old", &json!(10));
    wait::until("the live generation to lift the new event", wait::LONG, || {
        let rows = came(&project, "seen").len();
        if rows == 11 {
            Ok(())
        } else {
            Err(format!("{rows} rows"))
        }
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(live_generation(&project.status().unwrap(), "seen"), first);
    // Back again: nothing is to be done, and what was built without it goes.
    project.deploy_bytes(&bytes, "lift");
    let status = host.wait_status("what was built without it to go", wait::LONG, |status| {
        of(status, "seen")["others"].as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!(
        (
            live_generation(&status, "seen"),
            of(&status, "seen")["state"].as_str()
        ),
        (first, Some("live"))
    );
    // Removed for good: a person says so.
    project.undeploy("lift");
    wait_ready(&host, "seen");
    project.ok(&["cutover", "seen"]);
    host.wait_status("the cutover", wait::LONG, |status| {
        live_generation(status, "seen") > first
    });
    assert_eq!(came(&project, "seen").len(), 5, "the stored New ones");
    host.stop();
}

fn cycles_forks_and_new_bytes_are_refused_while_the_old_goes_on(database: Database) {
    let project = Project::new(database);
    project.import_lines(
        "log",
        (0..10).map(|number| log_file::line("s-1", "Old", &json!(number))),
    );
    project.deploy_bytes(&recorder("seen", "New"), "seen");
    let bytes = lifter("lift", "1.0.0", &[RULES]);
    project.deploy_bytes(&bytes, "lift");
    let host = project.serve();
    let first = live_generation(&host.wait_level("seen"), "seen");
    let mut rows = came(&project, "seen").len();
    let mut goes_on = || {
        rows += 1;
        project.append("s-1", "Old", &json!("one more"));
        let status = host.wait_level("seen");
        assert_eq!(came(&project, "seen").len(), rows);
        assert_eq!(live_generation(&status, "seen"), first, "nothing was built anew");
    };
    let back = lifter("back", "1.0.0", &[("rules", "New:1>Newer:1|Newer:1>Old:1")]);
    project.deploy_bytes(&back, "back");
    wait_refused(
        &host,
        "back.wasm",
        &["New 1 → Newer 1 (by back 1.0.0) → Old 1 (by back 1.0.0) → New 1 (by lift 1.0.0)"],
    );
    goes_on();
    project.undeploy("back");
    let rival = lifter("rival", "1.0.0", &[("rules", "Old:1>Newest:1")]);
    project.deploy_bytes(&rival, "rival");
    wait_refused(
        &host,
        "rival.wasm",
        &[
            "two upcasters take Old 1",
            "lift 1.0.0 gives New 1",
            "rival 1.0.0 gives Newest 1",
        ],
    );
    goes_on();
    project.undeploy("rival");
    // Two files of one name: the deployed one keeps it.
    project.deploy_bytes(&lifter("lift", "1.1.0", &[RULES, ("tag", "x")]), "lift-copy");
    wait_refused(&host, "lift-copy.wasm", &["claim the one plugin name 'lift'"]);
    goes_on();
    project.undeploy("lift-copy");
    // Other bytes under the version that tables were built with.
    project.deploy_bytes(&lifter("lift", "1.0.0", &[RULES, ("tag", "x")]), "lift");
    wait_refused(&host, "lift.wasm", &["raise the version"]);
    goes_on();
    // A file that is no plugin may be anybody's: nothing is taken for removed.
    project.deploy_bytes(b"half a file", "lift");
    wait_refused(&host, "lift.wasm", &["not WebAssembly"]);
    goes_on();
    project.deploy_bytes(&bytes, "lift");
    host.wait_status("the file to be taken again", wait::LONG, |status| {
        entry(status, "lift.wasm")["state"] == "deployed"
    });
    goes_on();
    host.stop();
}
