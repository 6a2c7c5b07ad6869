//! How fast a log takes an import and gives it back. Not run by default: the figures depend on the machine.
//!
//! `cargo test -p lamphouse --lib log::conformance::speed -- --ignored --nocapture --test-threads 1`

use std::time::Instant;

use super::*;
use crate::core::{EventBatch, EventFilter, Position};
use crate::log::{ImportCursor, ImportEvent};

const EVENTS: u64 = 400_000;
const BATCH: u64 = 10_000;

fn line(number: u64) -> ImportEvent {
    let data = format!(
        r#"{{"line_no":{},"sku":"85123A","description":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"unit_price":"2.55","invoice_date":"2010-12-01 08:26:00"}}"#,
        number % 20
    );
    ImportEvent {
        line: number,
        stream_id: format!("order-{}", 536_365 + number / 20),
        stream_type: "order".to_owned(),
        idempotency_key: None,
        event: event("LineAdded", &data),
    }
}

fn measure(place: &Place) {
    let log = place.open();
    let began = Instant::now();
    let mut previous: Option<ImportCursor> = None;
    for batch in 0..EVENTS / BATCH {
        let lines = (batch * BATCH..(batch + 1) * BATCH).map(line).collect();
        let cursor = ImportCursor {
            digest: batch.to_string(),
            bytes: batch,
            lines: batch,
        };
        log.import(lines, previous.as_ref(), &cursor).unwrap();
        previous = Some(cursor);
    }
    let per_second = |events: u64, began: Instant| events as f64 / began.elapsed().as_secs_f64() / 1_000.0;
    eprintln!(
        "import: {:.0} thousand events a second",
        per_second(EVENTS, began)
    );

    let head = log.head().unwrap();
    let mut reader = log.reader(EventFilter::default()).unwrap();
    for _ in 0..3 {
        let (began, mut after, mut events) = (Instant::now(), Position::START, 0);
        let mut batch = EventBatch::default();
        while after < head.position {
            reader.read(after, head, 1_000, 4 << 20, &mut batch).unwrap();
            after = batch.through;
            events += batch.len() as u64;
        }
        assert_eq!(events, EVENTS);
        eprintln!("read: {:.0} thousand events a second", per_second(EVENTS, began));
    }

    let began = Instant::now();
    const SINGLE: u64 = 300;
    for _ in 0..SINGLE {
        log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    }
    eprintln!(
        "append by one client: {:.2} ms each",
        began.elapsed().as_secs_f64() * 1_000.0 / SINGLE as f64
    );
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let log = &log;
            scope.spawn(move || {
                for _ in 0..100 {
                    log.append(append_to(&format!("c{client}"), ExpectedVersion::Any, 1))
                        .unwrap();
                }
            });
        }
    });
    eprintln!(
        "append by 16 clients: {:.2} thousand a second",
        per_second(1_600, began)
    );
    let began = Instant::now();
    for _ in 0..1_000 {
        log.head().unwrap();
    }
    eprintln!("head: {:.1} µs", began.elapsed().as_secs_f64() * 1_000.0);
}

#[test]
#[ignore = "a measurement"]
fn sqlite() {
    measure(&Place::sqlite());
}

#[test]
#[ignore = "a measurement"]
fn postgres() {
    if let Some(place) = Place::postgres("speed") {
        measure(&place);
    }
}
