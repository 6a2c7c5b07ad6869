//! Many writers and many readers at once, some of whom are cut off again and again, and some of whom do not read.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lamphouse_tests::{Database, Project, long, on_each_database, wait};
use serde_json::{Value, json};

use super::super::http_watch::metric;
use super::client::{self, Connection, Place, Told};
use super::{append, puppet_host, runtime};

on_each_database!(readers_lose_nothing_and_see_nothing_twice_under_load);

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
