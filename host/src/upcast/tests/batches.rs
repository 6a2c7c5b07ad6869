//! Real upcasters over batches.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use lamphouse_contract::{Subscription, packed};
use uuid::Uuid;

use crate::core::limits::PluginLimits;
use crate::core::{Class, EventBatch, EventFilter, EventId, Position};
use crate::plugin::{Sandbox, Upcaster};
use crate::upcast::{LiftFault, Lifting, Said, Upcasters};

mod patch {
    #![allow(unreachable_pub, reason = "the file is shared with tests outside this crate")]
    include!("../../../../tests/guests/puppet/patch.rs");
}
use patch::patch_puppet;

fn sandbox() -> &'static Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    SANDBOX.get_or_init(|| {
        let limits = PluginLimits {
            call_ms_max: 200,
            ..PluginLimits::default()
        };
        Sandbox::new(limits, None).unwrap()
    })
}

fn lifter(settings: &[(&str, &str)]) -> Arc<Upcaster> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/lifter.wasm");
    let bytes = std::fs::read(file).expect("target/guests/lifter.wasm: run `cargo xtask guests`");
    let mut all = vec![("name", "lifter")];
    all.extend(settings);
    sandbox().load_upcaster(&patch_puppet(&bytes, &all)).unwrap()
}

fn set(settings: &[(&str, &str)]) -> Arc<Upcasters> {
    Arc::new(Upcasters::new(vec![lifter(settings)]).unwrap())
}

fn id(position: u64) -> EventId {
    EventId(Uuid::from_u128(position.into()))
}

/// Events at positions 10, 20, … of these types, version 1; the batch goes through to 1,000.
fn batch(events: &[(&str, &str)]) -> Arc<EventBatch> {
    let mut batch = EventBatch::default();
    for ((event_type, data), position) in events.iter().zip((10..).step_by(10)) {
        let id = id(position);
        batch.push(Position(position), id, |out| {
            packed::write_event(
                out,
                &packed::Event {
                    position,
                    part: 0,
                    id: &id.to_string(),
                    stream_id: "s-1",
                    stream_type: "s",
                    stream_version: position,
                    event_type,
                    schema_version: 1,
                    data,
                    metadata: "{}",
                    occurred_at: 1,
                    recorded_at: 2,
                    fields: None,
                },
            );
        });
    }
    batch.through = Position(1_000);
    batch.through_id = Some(id(1_000));
    Arc::new(batch)
}

/// Each batch that comes out as `position.part type data …@through`.
fn lifted(
    set: &Upcasters,
    batch: &Arc<EventBatch>,
    types: &[&str],
    events_max: usize,
) -> (Vec<String>, Option<LiftFault>, Vec<Said>) {
    let on = |event_type: &&str| Subscription {
        event_type: Some((*event_type).to_owned()),
        stream_type: None,
        schema_versions: vec![],
    };
    let mut said = Vec::new();
    let mut lifting = Lifting {
        filter: &EventFilter {
            any_of: types.iter().map(on).collect(),
            ..EventFilter::default()
        },
        fields: None,
        events_max,
        bytes_max: usize::MAX,
        stop: &Arc::default(),
        said: &mut |lines| said.push(lines),
    };
    let (batches, fault) = set.lift(batch, &mut lifting);
    let shown = batches.iter().map(|batch| {
        let events = packed::events(batch.packed(0..batch.len())).map(|event| {
            let event = event.unwrap();
            let packed::Event {
                position,
                part,
                event_type,
                data,
                ..
            } = event;
            format!("{position}.{part} {event_type} {data}")
        });
        let mut text = events.collect::<Vec<_>>().join(", ");
        text.push_str(&format!(" @{}", batch.through));
        assert_eq!(batch.through_id, Some(id(batch.through.0)));
        text
    });
    (shown.collect(), fault, said)
}

const RULES: (&str, &str) = ("rules", "Old:1>New:1|Both:1>One:1,Two:1|Gone:1>");

#[test]
fn a_batch_that_nothing_takes_is_handed_on_as_it_is() {
    let batch = batch(&[("New", "1"), ("Other", "2")]);
    let mut lifting = Lifting {
        filter: &EventFilter::default(),
        fields: None,
        events_max: 1,
        bytes_max: 1,
        stop: &Arc::default(),
        said: &mut |_| {},
    };
    let (batches, fault) = set(&[RULES]).lift(&batch, &mut lifting);
    assert!(fault.is_none());
    assert!(
        Arc::ptr_eq(&batches[0], &batch) && batches.len() == 1,
        "not even copied"
    );
}

#[test]
fn rename_split_drop_and_pass_in_the_order_of_the_log() {
    let events = [
        ("Old", "1"),
        ("New", "2"),
        ("Both", r#"{"parts":[3,4]}"#),
        ("Gone", "5"),
        ("Both", r#"{"parts":[6]}"#),
    ];
    let set = set(&[RULES]);
    let (batches, fault, _) = lifted(&set, &batch(&events), &["New", "One", "Two"], 100);
    assert!(fault.is_none());
    assert_eq!(
        batches,
        ["10.0 New 1, 20.0 New 2, 30.0 One 3, 30.1 Two 4, 50.0 One 6 @1000"]
    );
    let (batches, ..) = lifted(&set, &batch(&events), &["Two"], 100);
    assert_eq!(
        batches,
        ["20.0 New 2, 30.1 Two 4 @1000"],
        "the part counts siblings that nobody wants; what nothing takes was asked for, or would not be here"
    );
}

#[test]
fn large_results_are_cut_between_stored_events() {
    let events = [
        ("Both", "1"),
        ("Both", "2"),
        ("Gone", "3"),
        ("Gone", "4"),
        ("Old", "5"),
    ];
    let (batches, ..) = lifted(&set(&[RULES]), &batch(&events), &["New", "One", "Two"], 1);
    assert_eq!(
        batches,
        [
            "10.0 One 1, 10.1 Two 1 @10",
            "20.0 One 2, 20.1 Two 2 @20",
            "50.0 New 5 @1000"
        ]
    );
}

#[test]
fn what_comes_before_an_event_that_fails_comes_and_the_fault_names_it() {
    let events = [("Old", "1"), ("New", "2"), ("Old", "\"poison\""), ("Old", "4")];
    let failing = set(&[RULES, ("upcast", "panic"), ("when", "poison")]);
    let (batches, fault, said) = lifted(&failing, &batch(&events), &["New"], 100);
    assert_eq!(batches, ["10.0 New 1, 20.0 New 2 @20"]);
    let fault = fault.unwrap();
    assert_eq!(
        (fault.class, fault.position, fault.event_id),
        (Class::Fault, Position(30), Some(id(30)))
    );
    let short = failing.plugins()[0].digest().short();
    assert!(
        fault.message.starts_with(&format!(
            "upcaster lifter 1.0.0 ({short}) failed at position 30 (event {}), in its rule for Old 1: ",
            id(30)
        )),
        "{}",
        fault.message
    );
    assert!(
        fault.message.contains("the lifter panics: \"poison\""),
        "{}",
        fault.message
    );
    assert!(
        fault.log[0].message.contains("the lifter panics"),
        "{:?}",
        fault.log
    );
    assert!(!said.is_empty(), "the log lines went on");
    let (batches, fault, _) = lifted(&failing, &batch(&events[2..]), &["New"], 100);
    assert!(
        batches.is_empty() && fault.is_some(),
        "nothing came before it: {batches:?}"
    );
}

#[test]
fn an_event_that_fails_in_a_later_round_before_another_one_is_the_one() {
    // The first round fails at position 20; the second at position 10.
    let set = Upcasters::new(vec![
        lifter(&[
            ("rules", "A:1>B:1|C:1>D:1"),
            ("upcast", "fail"),
            ("when", "first"),
        ]),
        lifter(&[
            ("name", "second"),
            ("rules", "B:1>E:1"),
            ("upcast", "fail"),
            ("when", "later"),
        ]),
    ])
    .unwrap();
    let events = [("A", "\"later\""), ("C", "\"first\"")];
    let (batches, fault, _) = lifted(&set, &batch(&events), &["D", "E"], 100);
    assert!(batches.is_empty());
    insta::assert_snapshot!(
        fault.unwrap().message.split_once(") failed ").unwrap().1,
        @"at position 10 (event 00000000-0000-0000-0000-00000000000a), in its rule for B 1: cannot lift \"later\""
    );
}

#[test]
fn misdeeds_are_faults_with_words() {
    for (misdeed, words) in [
        ("trap", "unreachable"),
        ("stray", "it gave Stray 9, which the rule does not name"),
        ("short", "was given 1 events and gave 0 lists"),
        ("no-json", "its data is not JSON"),
        ("no-object", "its metadata is JSON, but no object"),
        ("flood", ""),
    ] {
        let set = set(&[RULES, ("upcast", misdeed), ("when", "poison")]);
        let events = [("Old", "1"), ("Old", "\"poison\"")];
        let (batches, fault, _) = lifted(&set, &batch(&events), &["New"], 100);
        let fault = fault.unwrap_or_else(|| panic!("{misdeed} went through: {batches:?}"));
        assert_eq!(
            (fault.class, fault.position),
            (Class::Fault, Position(20)),
            "{misdeed}"
        );
        assert!(fault.message.contains(words), "{misdeed}: {}", fault.message);
        assert_eq!(batches, ["10.0 New 1 @10"], "{misdeed}");
    }
}

#[test]
fn a_spinning_upcaster_is_tried_with_more_time_and_then_stopped() {
    let set = set(&[RULES, ("upcast", "spin")]);
    let (_, fault, _) = lifted(&set, &batch(&[("Old", "1")]), &["New"], 100);
    let fault = fault.unwrap();
    assert_eq!((fault.class, fault.attempts), (Class::TimeLimit, 2));
    assert!(
        fault.message.contains("2000 ms (a second try"),
        "{}",
        fault.message
    );
    assert!(fault.event_id.is_some());
    // Which of several events it was is not known, so none is named to be left out.
    let two = batch(&[("Old", "1"), ("Old", "2")]);
    let (_, fault, _) = lifted(&set, &two, &["New"], 100);
    assert_eq!(fault.unwrap().event_id, None);
}

#[test]
fn an_upcaster_that_disagrees_with_itself_is_refused() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/lifter.wasm");
    let bytes = std::fs::read(file).unwrap();
    let load = |settings: &[(&str, &str)]| sandbox().load(&patch_puppet(&bytes, settings)).unwrap_err();
    let error = load(&[("name", "lifter"), RULES, ("describe", "disagree")]);
    insta::assert_snapshot!(error, @"describe was called twice and disagreed with itself: version '1.0.0.0', then '1.0.0.1'. It must give the same answer every time");
    let error = load(&[("name", "Lifter"), ("rules", "A:0>B:1|A:1>B:1,B:1|A:1>")]);
    insta::assert_snapshot!(error, @r"
    the plugin's descriptor is not valid:
    - plugin name 'Lifter' must be lower-case ASCII: a letter first, then letters, digits, '_' and '-'
    - the rule that takes A 0: 'A' has schema version 0 (they count from 1)
    - the rule that takes A 1 names B 1 twice among what it gives
    - two rules take A 1
    ");
    let error = load(&[("name", "lifter")]);
    insta::assert_snapshot!(error, @"the plugin's descriptor is not valid: no rule is declared, so no event would ever come");
}

#[test]
fn two_projections_with_one_set_lift_each_event_once() {
    // The lifter writes nothing when it is well; a poisoned event tells of each call.
    let set = set(&[RULES, ("tag", "t")]);
    let events: Vec<(&str, &str)> = (0..50).map(|_| ("Old", r#"{"a":1}"#)).collect();
    let batch = batch(&events);
    let alone = lifted(&set, &batch, &["New"], 100).0;
    let (one, other) = (set.join(), set.join());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (set, batch) = (one.set().clone(), batch.clone());
            std::thread::spawn(move || lifted(&set, &batch, &["New"], 100).0)
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), alone);
    }
    assert_eq!(other.set().calls_for_test(), 2, "one alone, one for all four");
}

#[test]
fn a_fault_is_each_projection_s_own_and_stops_nobody_else() {
    let failing = set(&[RULES, ("upcast", "fail"), ("when", "poison")]);
    let (one, other) = (failing.join(), failing.join());
    let events = [("Old", "1"), ("Old", "\"poison\""), ("Old", "3")];
    for set in [one.set(), other.set()] {
        let (batches, fault, _) = lifted(set, &batch(&events), &["New"], 100);
        assert_eq!(batches, ["10.0 New 1 @10"]);
        assert_eq!(fault.unwrap().position, Position(20));
    }
    let after = batch(&[("Old", "1")]);
    assert!(lifted(one.set(), &after, &["New"], 100).1.is_none());
}
