use std::sync::Arc;

use lamphouse_contract::{EventSchema, UpcasterDescriptor, packed};

use super::*;
use crate::core::Class;
use crate::plugin::CallError;
use crate::upcast::{Graph, lift_events};

/// What an event of this schema becomes, as `schema: way` a line; and how many calls it took.
fn becomes(set: &[Arc<UpcasterDescriptor>], stored: &str) -> (String, usize) {
    let stored = schema(stored);
    let data = stored.to_string();
    let events = [event(7, &stored, &data)];
    let graph = Graph::new(set).unwrap();
    let mut calls = 0;
    let lifted = lift_events(
        &graph,
        &events,
        &mut |upcaster, events| {
            calls += 1;
            Ok(events.iter().map(|event| given(set, upcaster, event)).collect())
        },
        &mut |_| {},
    )
    .unwrap();
    let text = match &lifted[0] {
        None => "untouched".to_owned(),
        Some(forms) => {
            let line = |form: &crate::upcast::Form<'_>| {
                format!("{} {}: {}", form.event_type, form.schema_version, form.data)
            };
            forms.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    };
    (text, calls)
}

#[test]
fn one_to_one() {
    let set = [upcaster("lift", &["A 1 > A 2"])];
    assert_eq!(becomes(&set, "A 1"), ("A 2: A 1>A 2".to_owned(), 1));
}

#[test]
fn what_nothing_takes_passes_without_a_call() {
    let set = [upcaster("lift", &["A 1 > A 2"])];
    assert_eq!(becomes(&set, "A 2"), ("untouched".to_owned(), 0));
    assert_eq!(becomes(&set, "B 1"), ("untouched".to_owned(), 0));
}

#[test]
fn one_to_many_in_order() {
    let set = [upcaster("split", &["A 1 > B 1, C 1"])];
    assert_eq!(becomes(&set, "A 1"), ("B 1: A 1>B 1\nC 1: A 1>C 1".to_owned(), 1));
}

#[test]
fn dropped() {
    let set = [upcaster("drop", &["A 1 >"])];
    assert_eq!(becomes(&set, "A 1"), (String::new(), 1));
}

#[test]
fn renamed() {
    let set = [upcaster("rename", &["Old 3 > New 1"])];
    assert_eq!(becomes(&set, "Old 3"), ("New 1: Old 3>New 1".to_owned(), 1));
}

#[test]
fn three_steps_by_two_upcasters() {
    let set = [
        upcaster("one", &["A 1 > A 2", "A 3 > B 1"]),
        upcaster("two", &["A 2 > A 3"]),
    ];
    assert_eq!(becomes(&set, "A 1"), ("B 1: A 1>A 2>A 3>B 1".to_owned(), 3));
    assert_eq!(becomes(&set, "A 3"), ("B 1: A 3>B 1".to_owned(), 1));
}

#[test]
fn siblings_keep_their_order_when_only_some_go_on() {
    let set = [
        upcaster("split", &["A 1 > B 1, C 1, D 1"]),
        upcaster("more", &["C 1 > E 1, F 1", "D 1 >"]),
    ];
    assert_eq!(
        becomes(&set, "A 1"),
        ("B 1: A 1>B 1\nE 1: A 1>C 1>E 1\nF 1: A 1>C 1>F 1".to_owned(), 2)
    );
}

#[test]
fn one_call_takes_all_events_of_a_round() {
    let set = [upcaster("lift", &["A 1 > A 2", "B 1 > A 1"])];
    let graph = Graph::new(&set).unwrap();
    let schemas = [schema("A 1"), schema("B 1"), schema("A 2"), schema("A 1")];
    let events: Vec<_> = schemas
        .iter()
        .zip(1..)
        .map(|(schema, at)| event(at, schema, "x"))
        .collect();
    let mut sizes = Vec::new();
    lift_events(
        &graph,
        &events,
        &mut |upcaster, events| {
            sizes.push(events.iter().map(|event| event.position).collect::<Vec<_>>());
            Ok(events.iter().map(|event| given(&set, upcaster, event)).collect())
        },
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(sizes, [vec![1, 2, 4], vec![2]]);
}

#[test]
fn the_stored_event_s_place_and_the_part_are_given_to_the_next_upcaster() {
    let set = [
        upcaster("split", &["A 1 > B 1, B 2"]),
        upcaster("more", &["B 2 > C 1"]),
    ];
    let graph = Graph::new(&set).unwrap();
    let stored = schema("A 1");
    let events = [event(42, &stored, "x")];
    let mut seen = Vec::new();
    lift_events(
        &graph,
        &events,
        &mut |upcaster, events| {
            let place = |event: &packed::Event<'_>| {
                (
                    event.position,
                    event.part,
                    event.stream_version,
                    event.occurred_at,
                )
            };
            seen.extend(events.iter().map(place));
            Ok(events.iter().map(|event| given(&set, upcaster, event)).collect())
        },
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(seen, [(42, 0, 42, 1), (42, 1, 42, 1)]);
}

fn cannot(class: Class) -> CallError {
    CallError {
        class,
        message: "cannot".to_owned(),
        trace: String::new(),
        index: None,
    }
}

#[test]
fn a_call_that_fails_is_halved_down_to_the_event() {
    let set = [upcaster("lift", &["A 1 > A 2"])];
    let graph = Graph::new(&set).unwrap();
    let stored = schema("A 1");
    let data: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let events: Vec<_> = data
        .iter()
        .zip(1..)
        .map(|(data, at)| event(at, &stored, data))
        .collect();
    let mut calls = 0;
    let error = lift_events(
        &graph,
        &events,
        &mut |upcaster, events| {
            calls += 1;
            if events
                .iter()
                .any(|event| event.data == "63" || event.data == "90")
            {
                return Err(cannot(Class::Fault));
            }
            Ok(events.iter().map(|event| given(&set, upcaster, event)).collect())
        },
        &mut |_| {},
    )
    .unwrap_err();
    assert_eq!((error.event, error.events_in_call), (63, 1));
    assert_eq!(error.takes, stored);
    assert!(calls < 16, "{calls} calls");
}

#[test]
fn a_deadline_is_not_one_event_s() {
    let set = [upcaster("lift", &["A 1 > A 2"])];
    let graph = Graph::new(&set).unwrap();
    let stored = schema("A 1");
    let events: Vec<_> = (1..=10).map(|at| event(at, &stored, "x")).collect();
    let mut calls = 0;
    let error = lift_events(
        &graph,
        &events,
        &mut |_, _| {
            calls += 1;
            Err(cannot(Class::TimeLimit))
        },
        &mut |_| {},
    )
    .unwrap_err();
    assert_eq!((error.event, error.events_in_call, calls), (0, 10, 1));
}

#[test]
fn a_result_that_the_rule_does_not_name_faults() {
    let set = [upcaster("lift", &["A 1 > A 2", "B 1 > C 1"])];
    let graph = Graph::new(&set).unwrap();
    let stored = schema("A 1");
    let events = [event(1, &stored, "x")];
    // Named by another rule, which does not count.
    let error = lift_events(
        &graph,
        &events,
        &mut |_, _| {
            Ok(vec![vec![Lifted {
                schema: schema("C 1"),
                data: "{}".to_owned(),
                metadata: "{}".to_owned(),
            }]])
        },
        &mut |_| {},
    )
    .unwrap_err();
    insta::assert_snapshot!(error.error.message, @"it gave C 1, which the rule does not name: describe says that it gives A 2");
}

#[test]
fn an_event_cannot_become_any_number_of_events() {
    let many: Vec<String> = (1..=100).map(|n| format!("B {n}")).collect();
    let next: Vec<String> = (1..=101).map(|n| format!("C {n}")).collect();
    let mut rules = vec![format!("A 1 > {}", many.join(", "))];
    rules.extend(many.iter().map(|takes| format!("{takes} > {}", next.join(", "))));
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let set = [upcaster("burst", &rules)];
    let graph = Graph::new(&set).unwrap();
    let stored: EventSchema = schema("A 1");
    let events = [event(1, &stored, "x")];
    let error = lift_events(
        &graph,
        &events,
        &mut |upcaster, events| Ok(events.iter().map(|event| given(&set, upcaster, event)).collect()),
        &mut |_| {},
    )
    .unwrap_err();
    insta::assert_snapshot!(error.error.message, @"the event became 10100 events, and 10000 are allowed");
}
