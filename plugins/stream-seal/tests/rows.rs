//! What single events make of the rows.

#![allow(clippy::unwrap_used)]

use lamphouse_sdk::testing::Harness;
use serde_json::json;
use stream_seal::{Seal, StreamSeal};

fn sealed(history: &[(&str, &str, i64)]) -> Harness<StreamSeal> {
    let mut harness = Harness::<StreamSeal>::new();
    for (stream, event_type, number) in history {
        harness.given(stream, event_type, json!({ "number": number }));
    }
    harness
}

#[test]
fn a_seal_is_of_the_whole_history_of_one_stream() {
    let mut harness = sealed(&[("a-1", "Opened", 1), ("a-2", "Opened", 1), ("a-1", "Closed", 2)]);
    let seal: Seal = harness.row("a-1").unwrap();
    assert_eq!((seal.events, seal.seal.len()), (2, 64));
    assert!(seal.first_at < seal.last_at);
    let other: Seal = harness.row("a-2").unwrap();
    assert_eq!(other.events, 1);
    assert_ne!(seal.seal, other.seal);
    harness.assert_same_at_any_batch_size();
}

#[test]
fn another_history_has_another_seal() {
    let seal = |history: &[(&str, &str, i64)]| sealed(history).row::<Seal>("a-1").unwrap().seal;
    let whole = seal(&[("a-1", "Opened", 1), ("a-1", "Closed", 2)]);
    assert_eq!(whole, seal(&[("a-1", "Opened", 1), ("a-1", "Closed", 2)]));
    assert_ne!(whole, seal(&[("a-1", "Opened", 1)]), "one event fewer");
    assert_ne!(
        whole,
        seal(&[("a-1", "Opened", 1), ("a-1", "Closed", 3)]),
        "other data"
    );
    assert_ne!(
        whole,
        seal(&[("a-1", "Closed", 2), ("a-1", "Opened", 1)]),
        "another order"
    );
}
