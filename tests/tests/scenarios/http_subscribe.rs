//! Subscriptions of the real host: nothing lost, nothing twice, nothing out of order, whoever is cut off and however.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lamphouse_tests::{Database, Host, Project, long, on_each_database, puppet, wait};
use serde_json::{Value, json};

use self::client::{Connection, Place};

mod client;
mod load;

on_each_database!(
    a_copy_follows_its_table_through_a_cutover,
    a_place_past_the_retention_says_to_read_again,
    a_killed_host_loses_nothing_that_was_told,
);

/// A host with the puppet, whose table has the text of each `Put` under its stream.
fn puppet_host(project: &Project) -> Host {
    project.deploy_bytes(&puppet::named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    host
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// One event of a stream that is named after its number.
fn append(event_type: &str, stream: &str, data: &Value) -> Value {
    json!({"streams": [{"stream_id": stream, "stream_type": "row", "events": [
        {"event_type": event_type, "data": data, "metadata": {"reason": "appended by a scenario"}}]}]})
}

/// The rows of the puppet's public table by their keys.
fn table(project: &Project) -> BTreeMap<String, (String, String)> {
    let rows = project
        .client()
        .query("SELECT id, note, stamp FROM puppet")
        .unwrap();
    let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
    rows.iter()
        .map(|row| (text(&row[0]), (text(&row[1]), text(&row[2]))))
        .collect()
}

/// Applies a change to a copy of the puppet's table.
fn apply(copy: &mut BTreeMap<String, (String, String)>, data: &Value) {
    let key = data["key"]["id"].as_str().unwrap().to_owned();
    if data["kind"] == "put" {
        let text = |name: &str| data["row"][name].as_str().unwrap().to_owned();
        copy.insert(key, (text("note"), text("stamp")));
    } else {
        assert!(data["kind"] == "remove" && data["row"].is_null(), "{data}");
        copy.remove(&key);
    }
}

/// Appends puts and removes of a few streams at random; gives the position of the last.
async fn churn(appender: &mut client::Appender, random: &mut u64, events: usize) -> u64 {
    let mut last = 0;
    for _ in 0..events {
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (stream, word) = ((*random >> 33) % 20, (*random >> 40) % 4);
        let event_type = if word == 0 { "Remove" } else { "Put" };
        let body = append(event_type, &format!("row-{stream}"), &json!(*random >> 11));
        last = appender.append(&body).await;
    }
    last
}

fn a_copy_follows_its_table_through_a_cutover(database: Database) {
    let project = Project::new(database);
    let host = puppet_host(&project);
    let place = Place::of(&project);
    let runtime = runtime();
    let mut random = 4_711;
    let mut copy = BTreeMap::new();
    let (mut follower, mut appender) = runtime.block_on(async {
        // The table is empty: the changes alone must make it.
        let mut follower = Connection::open(&place, "/v1/changes", None).await;
        assert_eq!(follower.next().await.unwrap().name, "hello");
        let mut appender = client::Appender::open(&place).await;
        churn(&mut appender, &mut random, 300).await;
        (follower, appender)
    });
    host.wait_level("puppet");
    let mut last = 0;
    let mut follow = |follower: &mut Connection, copy: &mut BTreeMap<_, _>, read: &dyn Fn() -> _| {
        let mut generations = BTreeSet::new();
        let end = runtime.block_on(client::sequence(&place));
        while last < end {
            let told = runtime.block_on(follower.next()).expect("the stream goes on");
            assert!(last == 0 || told.id == Some(last + 1), "{told:?} after {last}");
            last = told.id.unwrap();
            match told.name.as_str() {
                "change" => {
                    apply(copy, &told.data);
                    generations.insert(told.data["generation"].as_u64().unwrap());
                }
                "must-refetch" => {
                    assert_eq!(
                        (&told.data["table"], &told.data["reason"]),
                        (&json!("puppet"), &json!("cutover"))
                    );
                    *copy = read();
                    // What comes is of the new one.
                    generations = BTreeSet::from([told.data["generation"].as_u64().unwrap()]);
                }
                what => panic!("{what}"),
            }
        }
        generations
    };
    let read = || table(&project);
    let before = follow(&mut follower, &mut copy, &read);
    assert!(
        !copy.is_empty() && copy == read(),
        "the changes do not make the table"
    );

    // Appends go on while the new version is built and switched to.
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, ended) = (stop.clone(), stopped.clone());
    let writing = runtime.spawn(async move {
        while !told.load(Ordering::Acquire) {
            churn(&mut appender, &mut random, 5).await;
        }
        ended.store(true, Ordering::Release);
        (appender, random)
    });
    project.deploy_bytes(&puppet::named("puppet", "2.0.0", "two"), "puppet");
    host.wait_status("2.0.0 to be live", wait::LONG, |status| {
        lamphouse_tests::host::of(status, "puppet")["live"]["version"] == "2.0.0"
    });
    let after = follow(&mut follower, &mut copy, &read);
    stop.store(true, Ordering::Release);
    let (mut appender, mut random) = runtime.block_on(writing).unwrap();
    assert!(stopped.load(Ordering::Acquire));
    runtime.block_on(churn(&mut appender, &mut random, 100));
    host.wait_level("puppet");
    let at_the_end = follow(&mut follower, &mut copy, &read);
    assert_eq!(copy, read());
    assert!(
        copy.values().all(|(_, stamp)| stamp == "two"),
        "rows of the old version are left"
    );
    assert!(
        before.len() == 1 && after.len() == 1 && before != after,
        "{before:?} {after:?}"
    );
    assert_eq!(at_the_end, after);
    host.stop();
}

fn a_place_past_the_retention_says_to_read_again(database: Database) {
    let project = Project::with_settings(database, "[changes]\nrows_max = 50\n");
    let host = puppet_host(&project);
    let place = Place::of(&project);
    runtime().block_on(async {
        let start = client::sequence(&place).await;
        let mut appender = client::Appender::open(&place).await;
        let mut random = 3;
        churn(&mut appender, &mut random, 200).await;
        // The host trims by itself, a little later.
        let mut at = 0;
        for _ in 0..200 {
            let mut late = Connection::open(&place, "/v1/changes", Some(start)).await;
            assert_eq!(late.next().await.unwrap().id, Some(start));
            let told = late.next().await.unwrap();
            if told.name == "must-refetch" {
                assert_eq!(
                    (&told.data["table"], &told.data["reason"]),
                    (&json!("puppet"), &json!("retention"))
                );
                at = told.id.unwrap();
                // And goes on.
                appender.append(&append("Put", "one-more", &json!(1))).await;
                let mut last = at;
                loop {
                    let told = late.next().await.unwrap();
                    assert_eq!((told.name.as_str(), told.id), ("change", Some(last + 1)));
                    last += 1;
                    if told.data["key"]["id"] == "one-more" {
                        break;
                    }
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(at > start, "nothing was trimmed");
    });
    host.stop();
}

fn a_killed_host_loses_nothing_that_was_told(database: Database) {
    let kills = if long() { 10 } else { 3 };
    let project = Project::new(database);
    let mut host = puppet_host(&project);
    let runtime = runtime();
    let start = runtime.block_on(client::sequence(&Place::of(&project)));
    let (mut position, mut sequence) = (0, start);
    let (mut events, mut copy) = (Vec::new(), BTreeMap::new());
    for kill in 0..=kills {
        let place = Place::of(&project);
        let is_last = kill == kills;
        if is_last {
            host.wait_level("puppet");
        }
        runtime.block_on(async {
            let mut followed = Connection::open(&place, "/v1/events?follow=true", Some(position)).await;
            let mut changed = Connection::open(&place, "/v1/changes", Some(sequence)).await;
            let end = match is_last {
                true => Some((client::last_of(&place, "").await, client::sequence(&place).await)),
                false => None,
            };
            let writer = tokio::spawn({
                let place = place.clone();
                async move {
                    if is_last {
                        return;
                    }
                    let mut appender = client::Appender::open(&place).await;
                    let mut random = 99 + kill as u64;
                    // Until the host is gone.
                    while appender.is_up() {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
                        let stream = format!("row-{}", (random >> 33) % 30);
                        let word = if random >> 61 == 0 { "Remove" } else { "Put" };
                        appender
                            .try_append(&append(word, &stream, &json!(random >> 12)))
                            .await;
                    }
                }
            });
            let until = Instant::now() + Duration::from_millis(if kill % 2 == 0 { 700 } else { 1_300 });
            loop {
                let is_over = match end {
                    Some((head, last)) => position >= head && sequence >= last,
                    None => Instant::now() > until,
                };
                if is_over {
                    break;
                }
                for (connection, is_event) in [(&mut followed, true), (&mut changed, false)] {
                    let Some(told) = connection.next_within(Duration::from_millis(20)).await else {
                        continue;
                    };
                    let id = told.id.unwrap();
                    match told.name.as_str() {
                        "hello" => {}
                        "event" if is_event => {
                            assert_eq!(id, position + 1, "an event is missing, or came twice");
                            position = id;
                            events.push(told.data["id"].as_str().unwrap().to_owned());
                        }
                        "change" if !is_event => {
                            assert_eq!(id, sequence + 1, "a change is missing, or came twice");
                            sequence = id;
                            apply(&mut copy, &told.data);
                        }
                        what => panic!("{what}: {}", told.data),
                    }
                }
            }
            if !is_last {
                // In the middle of it.
                let pid = host.pid().to_string();
                std::process::Command::new("kill")
                    .args(["-9", &pid])
                    .status()
                    .unwrap();
                while connection_goes_on(&mut followed, &mut position, &mut events).await {}
            }
            writer.await.unwrap();
        });
        if !is_last {
            drop(host);
            host = project.serve();
        }
    }
    let log = project.json_lines(&["events", "--limit", "1000000"]);
    let ids: Vec<&str> = log.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(events, ids);
    assert!(
        !copy.is_empty() && copy == table(&project),
        "the changes do not make the table"
    );
    println!(
        "FIGURES: {kills} kills on {}, {} events, {} changes",
        project.database().kind(),
        events.len(),
        sequence - start
    );
    host.stop();
}

/// Takes what was on its way when the host was killed.
async fn connection_goes_on(followed: &mut Connection, position: &mut u64, events: &mut Vec<String>) -> bool {
    let Ok(Some(told)) = followed.try_next().await else {
        return false;
    };
    if told.name == "event" {
        assert_eq!(told.id, Some(*position + 1));
        *position += 1;
        events.push(told.data["id"].as_str().unwrap().to_owned());
    }
    true
}
