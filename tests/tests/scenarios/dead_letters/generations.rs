//! Dead letters and new generations: a mended version, and one that parks more.

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, on_each_database, wait};
use serde_json::json;

use super::{
    DEAD_LETTER, deployed, incomplete, letters, live_generation, named, rows, says, wait_incomplete,
};

on_each_database!(
    a_mended_version_builds_everything_at_its_place,
    a_new_generation_that_parks_more_waits_for_a_person,
);

fn a_mended_version_builds_everything_at_its_place(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-1", "Fail", 2),
        ("s-1", "Put", 3),
        ("s-1", "Count", 4),
    ];
    let project = deployed(database, DEAD_LETTER, &[], &log);
    let host = project.serve();
    wait_incomplete(&host, "3 events of 1 stream are parked");
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    // Rehearsed before: the one would not do, the other would, and no row changes.
    let file = project.path("candidate.wasm");
    std::fs::write(&file, named("1.0.1", &[("stamp", "x")])).unwrap();
    let told = project.fails(&["rehearse", file.to_str().unwrap()]);
    says(&told, &["1 event would still fail"]);
    let mended = named("1.0.1", &[("events", "Put,Count")]);
    std::fs::write(&file, &mended).unwrap();
    let rehearsed = project.json(&["rehearse", file.to_str().unwrap()]);
    assert_eq!(
        (&rehearsed[0]["passed"], &rehearsed[0]["on_its_rows"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(letters(&project)[0]["attempts"], 1);
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    project.deploy_bytes(&mended, "puppet");
    let status = host.wait_version("puppet", "1.0.1");
    let ignored = &project.json(&["explain", "2"])["projections"][0];
    assert_eq!(ignored["outcome"], "not_subscribed");
    says(
        ignored["message"].as_str().unwrap(),
        &["it is Fail 1", "takes Put, Count"],
    );
    assert_eq!(
        (incomplete(&status), &of(&status, "puppet")["healthy"]),
        ("", &json!(true))
    );
    assert_eq!(rows(&project), ["s-1 3 4 1.75"]);
    // What the retired generation has parked is not what waits now.
    says(
        &project.ok(&["dead-letters", "list", "puppet"]),
        &["no dead letters (--retired lists those of retired generations)"],
    );
    for filter in [
        ["--retired"].as_slice(),
        &["--generation", "g1"],
        &["--generation", "1"],
    ] {
        let arguments = [["dead-letters", "list", "puppet"].as_slice(), filter].concat();
        let listed = project.json(&arguments);
        assert_eq!(listed["dead_letters"].as_array().unwrap().len(), 3);
    }
    says(
        &project.ok(&["dead-letters", "list", "--generation", "2"]),
        &["no dead letters"],
    );
    says(
        &project.fails(&["dead-letters", "list", "puppet", "--generation", "9"]),
        &["there is no generation g9 of puppet; there are: g1, g2"],
    );
    // Back to the old one: it still knows what it had parked, and parks what has come since.
    project.append("s-1", "Put", &json!(5));
    host.wait_level("puppet");
    project.ok(&["rollback", "puppet"]);
    wait_incomplete(&host, "4 events of 1 stream are parked");
    assert_eq!(rows(&project), ["s-1 1 1 1.50"]);
    project.ok(&["cutover", "puppet"]);
    let status = host.wait_version("puppet", "1.0.1");
    assert_eq!(incomplete(&status), "");
    assert_eq!(rows(&project), ["s-1 5 5 1.50"]);
    host.stop();
}

fn a_new_generation_that_parks_more_waits_for_a_person(database: Database) {
    let log = [
        ("s-1", "Put", 1),
        ("s-2", "Trap", 2),
        ("s-1", "Fail", 3),
        ("s-1", "Put", 4),
        ("s-3", "Put", 5),
    ];
    let project = deployed(database, DEAD_LETTER, &[("events", "Put,Count,Trap")], &log);
    let host = project.serve();
    let first = live_generation(&wait_incomplete(&host, "1 event of 1 stream is parked"));
    // It parks the trap too, but also what the public one takes.
    project.deploy_bytes(&named("1.1.0", &[]), "puppet");
    let status = host.wait_status("the wait to be said", wait::LONG, |status| {
        of(status, "puppet")["message"]
            .as_str()
            .unwrap_or_default()
            .contains("has parked what the public one has not")
    });
    let one = of(&status, "puppet");
    says(
        one["message"].as_str().unwrap(),
        &[
            "position 3",
            "stream s-1",
            "and 1 more",
            "`lamphouse cutover puppet`",
        ],
    );
    assert_eq!(one["others"][0]["parked_events"], 3);
    assert_eq!(live_generation(&status), first);
    assert_eq!(rows(&project), ["s-1 4 3 1.50", "s-3 5 1 1.50"]);
    // Not by a restart either, nor by a command that brings everything level.
    host.kill();
    project.catch_up();
    let status = project.status().unwrap();
    assert_eq!(live_generation(&status), first);
    let host = project.serve();
    project.append("s-3", "Put", &json!(6));
    host.wait_status("the live one to go on", wait::LONG, |status| {
        of(status, "puppet")["live"]["checkpoint"] == 6
    });
    project.ok(&["cutover", "puppet"]);
    let status = wait_incomplete(&host, "3 events of 2 streams are parked");
    assert!(live_generation(&status) > first);
    assert_eq!(rows(&project), ["s-1 1 1 1.50", "s-3 6 2 1.50"]);
    // One that parks no more than this is switched to by itself.
    project.deploy_bytes(&named("1.2.0", &[]), "puppet");
    host.wait_version("puppet", "1.2.0");
    host.stop();
}
