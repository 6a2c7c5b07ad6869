//! Read your own writes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lamphouse_contract::ColumnType;
use serde_json::json;

use super::super::log::one;
use super::{Host, on_each};
use crate::tables::sample::{column, table};

/// Appends so many events to the host's log.
fn append(host: &Host, count: u64) {
    for _ in 0..count {
        assert_eq!(host.append(None, &one("order-1", "OrderPlaced")).0, 200);
    }
}

#[test]
fn a_read_waits_for_its_position_by_parameter_or_header() {
    on_each(|host, filled| {
        append(host, 3);
        let read = |query: &str, headers: &[(&str, &str)]| {
            let start = Instant::now();
            let answer = host.ask("GET", &format!("/v1/tables/people?select=id&{query}"), headers);
            (
                answer.status,
                answer.header("lamphouse-position").map(str::to_owned),
                start.elapsed(),
            )
        };
        let quick = Duration::from_secs(2);
        let (status, position, took) = read("min_position=1", &[]);
        assert_eq!((status, position.as_deref()), (200, Some("1")));
        assert!(took < quick, "{took:?}");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| read("min_position=2", &[]));
            let by_header = scope.spawn(|| read("", &[("Lamphouse-Min-Position", "2")]));
            std::thread::sleep(Duration::from_millis(300));
            assert!(!waiting.is_finished() && !by_header.is_finished());
            filled.advance(1, 2);
            host.written.ring();
            for reader in [waiting, by_header] {
                let (status, position, took) = reader.join().unwrap();
                assert_eq!((status, position.as_deref()), (200, Some("2")));
                assert!(took < quick, "{took:?}");
            }
            // Nobody rings where another host owns the tables.
            let waiting = scope.spawn(|| read("min_position=3", &[("Lamphouse-Min-Position", "2")]));
            std::thread::sleep(Duration::from_millis(100));
            filled.advance(2, 3);
            let (status, position, took) = waiting.join().unwrap();
            assert_eq!((status, position.as_deref()), (200, Some("3")));
            assert!(took < quick, "{took:?}");
        });
    });
}

#[test]
fn a_wait_that_is_over_says_how_far_the_table_is() {
    on_each(|host, _| {
        append(host, 2);
        let start = Instant::now();
        let late = host.read("/v1/tables/people?min_position=2&min_position_wait_ms=200");
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert_eq!(
            (late.status, late.header("retry-after")),
            (503, Some("1")),
            "{}",
            late.body
        );
        let problem = late.json();
        assert_eq!(
            (
                &problem["position"],
                &problem["min_position"],
                &problem["projection"],
                &problem["state"]
            ),
            (&json!(1), &json!(2), &json!("shop"), &json!("unknown"))
        );
        assert!(
            late.detail()
                .contains("reflects position 1, and min_position is 2"),
            "{}",
            late.body
        );

        let beyond = host.read("/v1/tables/people?min_position=3");
        assert!(
            beyond.status == 400 && beyond.detail().contains("the log ends at 2"),
            "{} {}",
            beyond.status,
            beyond.body
        );
        let nowhere = host.read("/v1/tables/nowhere?min_position=2");
        assert!(
            nowhere.status == 404 && nowhere.detail().contains("there are: people"),
            "{}",
            nowhere.body
        );
        for query in [
            "min_position=-1",
            "min_position=9007199254740992",
            "min_position_wait_ms=20001",
        ] {
            assert_eq!(
                host.read(&format!("/v1/tables/people?{query}")).status,
                400,
                "{query}"
            );
        }
    });
}

#[test]
fn a_table_that_is_being_built_is_waited_for() {
    on_each(|host, filled| {
        append(host, 1);
        let later = table("later", vec![column("id", ColumnType::Integer)], &[0], &[]);
        let publish = filled.begin(&later);
        assert_eq!(host.read("/v1/tables/later").status, 404);
        let early = host.read("/v1/tables/later?min_position=1&min_position_wait_ms=200");
        assert!(
            early.status == 503 && early.detail().contains("being built and not public yet"),
            "{}",
            early.body
        );
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| host.read("/v1/tables/later?min_position=1"));
            std::thread::sleep(Duration::from_millis(300));
            assert!(!waiting.is_finished());
            publish();
            let answer = waiting.join().unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
        });
    });
}

#[test]
fn hundreds_who_wait_are_all_woken() {
    const READERS: usize = 300;
    on_each(|host, filled| {
        append(host, 2);
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                let builder = std::thread::Builder::new().stack_size(256 << 10);
                builder
                    .spawn_scoped(scope, || {
                        let answer = host.read(
                            "/v1/tables/people?select=id&limit=1&min_position=2&min_position_wait_ms=20000",
                        );
                        assert_eq!(
                            (answer.status, answer.header("lamphouse-position")),
                            (200, Some("2"))
                        );
                        done.fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap();
            }
            std::thread::sleep(Duration::from_millis(500));
            assert_eq!(done.load(Ordering::Relaxed), 0);
            filled.advance(1, 2);
            host.written.ring();
        });
        assert_eq!(done.load(Ordering::Relaxed), READERS);
    });
}
