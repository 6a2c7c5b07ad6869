//! Subscriptions of the real host: nothing lost, nothing twice, nothing out of order, whoever is cut off and however.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lamphouse_tests::{Database, Host, Project, long, on_each_database, puppet, wait};
use serde_json::{Value, json};

use self::client::{Connection, Place, Told};
use super::http_watch::metric;

mod client;

on_each_database!(
    readers_lose_nothing_and_see_nothing_twice_under_load,
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

/// When something was sent, and how long it took to come; in microseconds.
type Sample = (u64, u32);

/// Times of what came.
#[derive(Default)]
struct Times(Mutex<Vec<Sample>>);

impl Times {
    fn add(&self, mut samples: Vec<Sample>) {
        self.0.lock().unwrap().append(&mut samples);
    }

    /// How many, and milliseconds at 50 % and 99 %, of what was sent before the noise and of what was sent with it.
    fn shown(&self, noise_at: u64) -> String {
        let all = self.0.lock().unwrap();
        let of = |is_it: &dyn Fn(u64) -> bool| {
            let mut some: Vec<u32> = all
                .iter()
                .filter(|(sent, _)| is_it(*sent))
                .map(|(_, time)| *time)
                .collect();
            assert!(!some.is_empty(), "nothing was measured");
            some.sort_unstable();
            let at = |percent: usize| f64::from(some[(some.len() - 1) * percent / 100]) / 1_000.0;
            format!(
                "{} received, p50 {:.1} ms, p99 {:.1} ms",
                some.len(),
                at(50),
                at(99)
            )
        };
        let (before, with) = (of(&|sent| sent < noise_at), of(&|sent| sent >= noise_at));
        format!("{before} (beside much noise: {with})")
    }
}

/// What all of the load scenario share.
struct Load {
    place: Place,
    began: Instant,
    /// Writers and their readers go on.
    goes_on: AtomicBool,
    /// Set when all is appended and level: readers read up to here.
    end_position: AtomicU64,
    end_sequence: AtomicU64,
    reconnects: AtomicUsize,
    dropped: AtomicUsize,
    events: Times,
    changes: Times,
}

impl Load {
    /// Microseconds since it began.
    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }
}

/// Which stream a reader reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `Put` events.
    Events,
    Changes,
}

/// Reads from the beginning to the end, is cut off at random moments, and goes on. Gives the streams of the events that it
/// saw, each once and in order.
async fn reader(load: Arc<Load>, kind: Kind, number: u64, start: u64) -> BTreeSet<String> {
    let mut random = number * 7_919 + 13;
    let mut below = |max: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % max
    };
    let (path, name, end, times) = match kind {
        Kind::Events => (
            "/v1/events?follow=true&event_type=Put",
            "event",
            &load.end_position,
            &load.events,
        ),
        Kind::Changes => (
            "/v1/changes?tables=puppet",
            "change",
            &load.end_sequence,
            &load.changes,
        ),
    };
    let longest = if long() { 20_000 } else { 4_000 };
    let (mut last, mut seen, mut samples) = (start, BTreeSet::new(), Vec::new());
    loop {
        let opened = load.micros();
        let mut connection = Connection::open(&load.place, path, Some(last)).await;
        let until = Instant::now() + Duration::from_millis(500 + below(longest));
        loop {
            let end = end.load(Ordering::Acquire);
            if end > 0 && last >= end {
                times.add(samples);
                return seen;
            }
            if end == 0 && Instant::now() > until {
                // Cut off in the middle of whatever comes.
                load.reconnects.fetch_add(1, Ordering::Relaxed);
                break;
            }
            let Some(told) = connection.next_within(Duration::from_millis(100)).await else {
                continue;
            };
            let Told { name: what, id, data } = told;
            match what.as_str() {
                "hello" => assert_eq!(id, Some(last)),
                "position" => {
                    assert!(id.unwrap() > last);
                    last = id.unwrap();
                }
                "dropped" => {
                    load.dropped.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                what if what == name => {
                    let id = id.unwrap();
                    assert!(id > last, "{what} {id} came after {last}");
                    if kind == Kind::Changes {
                        assert_eq!(id, last + 1, "changes are missing");
                    }
                    last = id;
                    let (stream, sent) = match kind {
                        Kind::Events => (&data["stream_id"], data["data"].as_u64()),
                        Kind::Changes => (
                            &data["key"]["id"],
                            data["row"]["note"].as_str().and_then(|note| note.parse().ok()),
                        ),
                    };
                    let stream = stream.as_str().unwrap().to_owned();
                    assert!(seen.insert(stream), "{what} {id} came twice: {data}");
                    // Of what was appended before it came back, the time would say how long it was away.
                    let (sent, received) = (sent.unwrap(), load.micros());
                    if sent > opened {
                        samples.push((sent, u32::try_from(received.saturating_sub(sent)).unwrap()));
                    }
                }
                _ => panic!("{what}: {data}"),
            }
        }
    }
}

/// Does not read until it is told to: what it then finds is in order and without a gap, and ends with the reason.
async fn slow_reader(load: Arc<Load>, read_on: Arc<tokio::sync::Notify>) {
    let mut connection = Connection::open_narrow(&load.place, "/v1/events?follow=true", Some(0)).await;
    assert_eq!(connection.next().await.unwrap().name, "hello");
    read_on.notified().await;
    let mut last = 0;
    loop {
        let told = connection.next().await.expect("a last word");
        match told.name.as_str() {
            "event" => {
                assert_eq!(told.id, Some(last + 1));
                last += 1;
            }
            "dropped" => {
                assert!(
                    told.data["reason"].as_str().unwrap().contains("too slowly"),
                    "{}",
                    told.data
                );
                assert!(
                    connection.next().await.is_none(),
                    "something came after the last word"
                );
                return;
            }
            what => panic!("{what} after {last}: {}", told.data),
        }
    }
}

fn readers_lose_nothing_and_see_nothing_twice_under_load(database: Database) {
    const WRITERS: u64 = 64;
    const READERS: u64 = 200;
    const SLOW: usize = 3;
    let time = Duration::from_secs(if long() { 60 } else { 6 });
    // Each writer waits for its answer, then for this: the readers get a hundred times what the writers write.
    let pause = Duration::from_millis(if long() { 400 } else { 600 });
    let project = Project::new(database);
    let host = puppet_host(&project);
    let load = Arc::new(Load {
        place: Place::of(&project),
        began: Instant::now(),
        goes_on: AtomicBool::new(true),
        end_position: AtomicU64::new(0),
        end_sequence: AtomicU64::new(0),
        reconnects: AtomicUsize::new(0),
        dropped: AtomicUsize::new(0),
        events: Times::default(),
        changes: Times::default(),
    });
    let runtime = runtime();
    runtime.block_on(async {
        let start = client::sequence(&load.place).await;
        let read_on = Arc::new(tokio::sync::Notify::new());
        let slow: Vec<_> = (0..SLOW)
            .map(|_| tokio::spawn(slow_reader(load.clone(), read_on.clone())))
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (kind, start) = match number % 2 {
                    0 => (Kind::Events, 0),
                    _ => (Kind::Changes, start),
                };
                tokio::spawn(reader(load.clone(), kind, number, start))
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let load = load.clone();
                tokio::spawn(async move {
                    let mut connection = client::Appender::open(&load.place).await;
                    let mut streams = BTreeSet::new();
                    tokio::time::sleep(pause * u32::try_from(writer).unwrap() / 64).await;
                    while load.goes_on.load(Ordering::Acquire) {
                        let stream = format!("row-{writer}-{}", streams.len());
                        connection.append(&append("Put", &stream, &json!(load.micros()))).await;
                        streams.insert(stream);
                        tokio::time::sleep(pause).await;
                    }
                    streams
                })
            })
            .collect();
        // Much that only the slow ones want, and that no queue holds. Late enough: who leaves an answer unread for half a
        // minute is cut without a last word.
        let noise_at = (time / 2).max(time.saturating_sub(Duration::from_secs(10)));
        tokio::time::sleep(noise_at).await;
        let noise_began = load.micros();
        let mut noise = client::Appender::open(&load.place).await;
        let long = "x".repeat(8 << 10);
        for _ in 0..40 {
            let events: Vec<Value> = (0..100)
                .map(|_| json!({"event_type": "Noise", "data": long, "metadata": {"reason": "appended by a scenario"}}))
                .collect();
            noise
                .append(&json!({"streams": [{"stream_id": "noise", "stream_type": "row", "events": events}]}))
                .await;
        }
        tokio::time::sleep(time - noise_at).await;
        load.goes_on.store(false, Ordering::Release);
        let mut all = BTreeSet::new();
        for writer in writers {
            all.append(&mut writer.await.unwrap());
        }
        let (slow_began, slow_count) = (Instant::now(), slow.len());
        read_on.notify_waiters();
        for slow in slow {
            slow.await.unwrap();
        }
        let slow_took = slow_began.elapsed();
        let project = project.clone();
        let wait_for = tokio::task::spawn_blocking(move || {
            wait::until("the table to be level", wait::LONG, || {
                let status = project.status()?;
                let head = status["log"]["head"].as_u64().unwrap();
                let live = lamphouse_tests::host::of(&status, "puppet")["live"]["checkpoint"].as_u64();
                if live == Some(head) { Ok(head) } else { Err(format!("{status}")) }
            })
        });
        let head = wait_for.await.unwrap();
        load.end_sequence
            .store(client::sequence(&load.place).await, Ordering::Release);
        // The last is noise or not: a reader of some types is told how far it was looked.
        load.end_position
            .store(client::last_of(&load.place, "Put").await, Ordering::Release);
        for reader in readers {
            let seen = reader.await.unwrap();
            assert_eq!(seen.len(), all.len());
            assert!(seen == all, "a reader saw other events than were appended");
        }
        assert_eq!(load.dropped.load(Ordering::Relaxed), 0, "a reader that reads was dropped");
        println!(
            "FIGURES: {WRITERS} writers, {READERS} readers, {} s: {} events of {head}, {} cuts; events: {}; changes: {}; \
             {slow_count} slow readers dropped, which read to their end in {slow_took:.1?}",
            time.as_secs(),
            all.len(),
            load.reconnects.load(Ordering::Relaxed),
            load.events.shown(noise_began),
            load.changes.shown(noise_began)
        );
    });
    assert!(host.log().contains("A subscriber is dropped"), "{}", host.log());
    let dropped = metric(&project, &host, "lamphouse_http_subscriptions_dropped_total");
    assert_eq!(dropped, SLOW as f64);
    host.stop();
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
