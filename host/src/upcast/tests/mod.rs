//! Chains of made-up rules, and real upcasters over batches.

mod batches;
mod chains;
mod graphs;
mod rewriting;

use std::sync::Arc;

use lamphouse_contract::{EventSchema, Rule, UpcasterDescriptor, packed};

use crate::plugin::Lifted;

/// `A 1`.
fn schema(text: &str) -> EventSchema {
    let (event_type, version) = text.split_once(' ').unwrap();
    EventSchema {
        event_type: event_type.to_owned(),
        schema_version: version.parse().unwrap(),
    }
}

/// An upcaster with rules as `A 1 > A 2, B 1`.
fn upcaster(name: &str, rules: &[&str]) -> Arc<UpcasterDescriptor> {
    let rule = |text: &&str| {
        let (takes, gives) = text.split_once('>').unwrap();
        Rule {
            takes: schema(takes.trim()),
            gives: gives
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(schema)
                .collect(),
        }
    };
    Arc::new(UpcasterDescriptor {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        rules: rules.iter().map(rule).collect(),
        options: vec![],
    })
}

/// An event of this schema at a position, whose data is its own name.
fn event<'a>(position: u64, schema: &'a EventSchema, data: &'a str) -> packed::Event<'a> {
    packed::Event {
        position,
        part: 0,
        id: "01890a5d-ac96-774b-bcce-b302099a8057",
        stream_id: "order-1",
        stream_type: "order",
        stream_version: position,
        event_type: &schema.event_type,
        schema_version: schema.schema_version,
        data,
        metadata: r#"{"reason":"a test"}"#,
        occurred_at: 1,
        recorded_at: 2,
        fields: None,
    }
}

/// What a made-up upcaster gives: everything that its rule names, with the way in the data.
fn given(set: &[Arc<UpcasterDescriptor>], upcaster: usize, event: &packed::Event<'_>) -> Vec<Lifted> {
    let takes = |rule: &&Rule| {
        rule.takes.event_type == event.event_type && rule.takes.schema_version == event.schema_version
    };
    let rule = set[upcaster].rules.iter().find(takes).unwrap();
    let lifted = |schema: &EventSchema| Lifted {
        schema: schema.clone(),
        data: format!("{}>{schema}", event.data),
        metadata: event.metadata.to_owned(),
    };
    rule.gives.iter().map(lifted).collect()
}
