//! Whatever the rules: reading with the wider filter, through the upcasters that concern a projection, gives what a log
//! would give that had been rewritten beforehand.

use lamphouse_contract::{EventSchema, Subscription, UpcasterDescriptor};
use proptest::prelude::*;

use super::*;
use crate::core::EventFilter;
use crate::upcast::{Graph, lift_events};

const TYPES: u32 = 5;
const VERSIONS: u32 = 3;

fn nth(number: u32) -> EventSchema {
    EventSchema {
        event_type: format!("T{}", number / VERSIONS),
        schema_version: number % VERSIONS + 1,
    }
}

/// Rules that lead upwards only, dealt out to three upcasters.
fn sets() -> impl Strategy<Value = Vec<Arc<UpcasterDescriptor>>> {
    let count = TYPES * VERSIONS;
    let rule = prop::option::weighted(0.5, (prop::collection::btree_set(1..count, 0..3), 0..3_usize));
    prop::collection::vec(rule, count as usize).prop_map(move |rules| {
        let mut dealt: [Vec<String>; 3] = Default::default();
        for (takes, rule) in (0..count).zip(rules) {
            let Some((gives, upcaster)) = rule else { continue };
            let gives: Vec<String> = gives
                .into_iter()
                .filter(|given| *given > takes)
                .map(|given| nth(given).to_string())
                .collect();
            dealt[upcaster].push(format!("{} > {}", nth(takes), gives.join(", ")));
        }
        let named = ["one", "two", "three"].iter().zip(dealt);
        named
            .map(|(name, rules)| upcaster(name, &rules.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect()
    })
}

fn subscriptions() -> impl Strategy<Value = Vec<Subscription>> {
    let one = (
        prop::option::weighted(0.8, 0..TYPES),
        prop::option::of(0..2_u8),
        prop::collection::vec(1..=VERSIONS, 0..2),
    );
    let one = one.prop_map(|(event_type, stream, schema_versions)| Subscription {
        event_type: event_type.map(|number| format!("T{number}")),
        stream_type: stream.map(|number| format!("s{number}")),
        schema_versions,
    });
    prop::collection::vec(one, 1..3)
}

/// Position, part, schema, data.
type Came = (u64, u32, EventSchema, String);

/// One event rewritten by hand: depth first, one rule at a time.
fn rewritten(
    set: &[Arc<UpcasterDescriptor>],
    schema: &EventSchema,
    data: &str,
    out: &mut Vec<(EventSchema, String)>,
) {
    let rules = set.iter().flat_map(|upcaster| &upcaster.rules);
    match rules.into_iter().find(|rule| rule.takes == *schema) {
        None => out.push((schema.clone(), data.to_owned())),
        Some(rule) => {
            for given in &rule.gives {
                rewritten(set, given, &format!("{data}>{given}"), out);
            }
        }
    }
}

proptest! {
    #[test]
    fn lifting_what_concerns_equals_rewriting_everything(
        set in sets(),
        subscriptions in subscriptions(),
        log in prop::collection::vec((0..TYPES * VERSIONS, 0..2_u8), 0..40),
        batch in 1..9_usize,
    ) {
        let wanted = EventFilter { any_of: subscriptions.clone(), ..EventFilter::default() };
        let stream = |number: u8| format!("s{number}");

        let mut truth: Vec<Came> = Vec::new();
        for (position, (number, stream_type)) in (1..).zip(&log) {
            let mut siblings = Vec::new();
            rewritten(&set, &nth(*number), "", &mut siblings);
            for (part, (schema, data)) in (0..).zip(siblings) {
                if wanted.matches(&schema.event_type, schema.schema_version, &stream(*stream_type)) {
                    truth.push((position, part, schema, data));
                }
            }
        }

        let graph = Graph::new(&set).unwrap();
        let concerning = graph.concerning(&subscriptions).into_iter();
        let some: Vec<_> = concerning.map(|place| set[place].clone()).collect();
        let graph = Graph::new(&some).unwrap();
        let read = EventFilter { any_of: graph.reads(&subscriptions), ..EventFilter::default() };
        let schemas: Vec<EventSchema> = log.iter().map(|(number, _)| nth(*number)).collect();
        let streams: Vec<String> = log.iter().map(|(_, number)| stream(*number)).collect();
        let events: Vec<packed::Event<'_>> = (1..).zip(&schemas).zip(&streams)
            .map(|((position, schema), stream_type)| packed::Event { stream_type, ..event(position, schema, "") })
            .filter(|event| read.matches(event.event_type, event.schema_version, event.stream_type))
            .collect();
        let mut came: Vec<Came> = Vec::new();
        for events in events.chunks(batch) {
            let lifted = lift_events(&graph, events, &mut |upcaster, events| {
                Ok(events.iter().map(|event| given(&some, upcaster, event)).collect())
            }, &mut |_| {}).unwrap();
            for (event, forms) in events.iter().zip(lifted) {
                let Some(forms) = forms else {
                    let schema = EventSchema { event_type: event.event_type.to_owned(), schema_version: event.schema_version };
                    prop_assert!(wanted.matches(&schema.event_type, schema.schema_version, event.stream_type), "read for nothing: {schema}");
                    came.push((event.position, 0, schema, event.data.to_owned()));
                    continue;
                };
                for (part, form) in (0..).zip(forms) {
                    if wanted.matches(&form.event_type, form.schema_version, event.stream_type) {
                        let schema = EventSchema { event_type: form.event_type.into_owned(), schema_version: form.schema_version };
                        came.push((event.position, part, schema, form.data.into_owned()));
                    }
                }
            }
        }
        // A sibling's part counts those that upcasters made which do not concern this projection, too: only the order
        // among those that came is the same without them.
        let without_parts = |all: &[Came]| all.iter().map(|(at, _, schema, data)| (*at, schema.clone(), data.clone())).collect::<Vec<_>>();
        prop_assert_eq!(without_parts(&came), without_parts(&truth));
    }
}
