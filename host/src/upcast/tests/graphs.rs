use std::collections::BTreeSet;

use lamphouse_contract::Subscription;

use super::*;
use crate::upcast::Graph;

fn on(event_type: &str, versions: &[u32]) -> Subscription {
    Subscription {
        event_type: Some(event_type.to_owned()),
        stream_type: None,
        schema_versions: versions.to_vec(),
    }
}

#[test]
fn a_fork_is_refused_with_both_ways() {
    let conflict = Graph::new(&[
        upcaster("one", &["A 1 > A 2"]),
        upcaster("other", &["B 1 > B 2"]),
        upcaster("two", &["A 1 >"]),
    ])
    .unwrap_err();
    assert_eq!(conflict.upcasters, BTreeSet::from([0, 2]));
    insta::assert_snapshot!(conflict, @"two upcasters take A 1: one 1.0.0 gives A 2, and two 1.0.0 gives nothing; an event can go one way only: take the rule out of one of them");
}

#[test]
fn a_cycle_is_refused_with_its_path() {
    let conflict = Graph::new(&[
        upcaster("one", &["Z 1 > A 1", "A 1 > A 2, X 1"]),
        upcaster("two", &["A 2 > B 1"]),
        upcaster("three", &["B 1 > C 1, A 1"]),
    ])
    .unwrap_err();
    assert_eq!(conflict.upcasters, BTreeSet::from([0, 1, 2]));
    insta::assert_snapshot!(conflict, @"the upcasters form a cycle, in which an event would never end: A 1 → A 2 (by one 1.0.0) → B 1 (by two 1.0.0) → A 1 (by three 1.0.0); take one of these rules out");
    let itself = Graph::new(&[upcaster("one", &["A 1 > A 1"])]).unwrap_err();
    insta::assert_snapshot!(itself, @"the upcasters form a cycle, in which an event would never end: A 1 → A 1 (by one 1.0.0); take one of these rules out");
}

#[test]
fn two_ways_to_one_schema_are_no_cycle() {
    Graph::new(&[upcaster("one", &["A 1 > B 1, C 1", "B 1 > D 1", "C 1 > D 1"])]).unwrap();
}

#[test]
fn a_long_chain_is_fine() {
    let rules: Vec<String> = (1..1_000).map(|n| format!("A {n} > A {}", n + 1)).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let graph = Graph::new(&[upcaster("long", &rules)]).unwrap();
    assert_eq!(graph.reads(&[on("A", &[1_000])]).len(), 2);
}

#[test]
fn what_is_read_is_every_schema_from_which_a_chain_ends_in_a_subscribed_one() {
    let graph = Graph::new(&[
        upcaster("one", &["Old 1 > Old 2", "Old 2 > New 1, Note 1", "Gone 1 >"]),
        upcaster("two", &["Note 1 > Remark 1"]),
    ])
    .unwrap();
    let reads = |subscription: Subscription| {
        let all = graph.reads(&[subscription]);
        let shown = all.iter().map(|one| {
            let stream = one.stream_type.as_deref().unwrap_or("*");
            let name = one.event_type.as_deref().unwrap_or("*");
            format!("{stream}/{name}{:?}", one.schema_versions)
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(reads(on("New", &[])), "*/New[] */Old[1, 2]");
    assert_eq!(reads(on("Remark", &[1])), "*/Remark[1] */Note[1] */Old[1, 2]");
    assert_eq!(reads(on("Remark", &[2])), "*/Remark[2]");
    assert_eq!(
        reads(on("Note", &[])),
        "*/Note[]",
        "no chain ends there: something takes it"
    );
    let in_orders = Subscription {
        stream_type: Some("order".to_owned()),
        ..on("New", &[])
    };
    assert_eq!(
        reads(in_orders),
        "order/New[] order/Old[1, 2]",
        "the stream's type stays"
    );
    let all = Subscription {
        event_type: None,
        ..on("", &[])
    };
    assert_eq!(reads(all), "*/*[]");
}

#[test]
fn an_upcaster_concerns_those_that_its_chain_reaches_and_those_from_whom_it_takes() {
    let graph = Graph::new(&[
        upcaster("first", &["A 1 > B 1"]),
        upcaster("second", &["B 1 > C 1"]),
        upcaster("apart", &["X 1 > Y 1"]),
    ])
    .unwrap();
    let concerning = |event_type: &str| {
        graph
            .concerning(&[on(event_type, &[])])
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(concerning("C"), [0, 1]);
    assert_eq!(
        concerning("B"),
        [1],
        "it takes what would come; what the first gives never stays"
    );
    assert_eq!(concerning("A"), [0]);
    assert_eq!(concerning("Y"), [2]);
    assert!(concerning("Unrelated").is_empty());
    let everything = Subscription {
        event_type: None,
        ..on("", &[])
    };
    assert_eq!(graph.concerning(&[everything]).len(), 3);
}
