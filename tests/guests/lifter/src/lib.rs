//! An upcaster that does what its script tells it, bad things included. Written against the WIT alone, without an SDK.
//!
//! The script is the puppet's, and is patched as the puppet's is. Its keys:
//! - `name`, `version`.
//! - `rules`: `Old:1>New:1|Both:1>One:1,Two:1|Gone:1>`.
//! - `tag`: a text that is put into every object that it gives, as `lifted`, and into the metadata.
//! - `upcast`: what goes wrong: `trap`, `panic`, `fail`, `spin`, `stray` (gives what no rule names), `short` (a list too
//!   few), `no-json`, `no-object` (as metadata), `flood` (a million events of one).
//! - `when`: only with an event whose data holds this text does it go wrong.
//! - `describe`: `disagree` for another version each time.
//!
//! Data that is `{"parts": [a, b]}` becomes `a` for the first schema that the rule gives and `b` for the second; one
//! that is absent is not given. Other data is given to each.

use core::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

#[allow(dead_code)]
#[path = "../../puppet/src/misbehave.rs"]
mod misbehave;
#[path = "../../puppet/src/script.rs"]
mod script;

wit_bindgen::generate!({ path: "../../../wit", world: "upcaster-plugin" });

use exports::lamphouse::plugin::upcaster::{Event, Failure, Guest, Lifted, UpcasterDescriptor};
use lamphouse::plugin::log::{self, Level};
use lamphouse::plugin::upcaster_types::{Rule, Schema};

struct Lifter;

export!(Lifter);

static DESCRIBED: AtomicU32 = AtomicU32::new(0);

impl Guest for Lifter {
    fn describe() -> UpcasterDescriptor {
        let times = DESCRIBED.fetch_add(1, Ordering::Relaxed);
        let version = match script::is("describe", "disagree") {
            true => format!("{}.{times}", script::get("version")),
            false => script::get("version"),
        };
        UpcasterDescriptor {
            name: script::get("name"),
            version,
            rules: rules(),
            options: vec![],
        }
    }

    fn upcast(events: Vec<Event>) -> Result<Vec<Vec<Lifted>>, Failure> {
        std::panic::set_hook(Box::new(|panic| log::write(Level::Error, &panic.to_string())));
        let rules = rules();
        let mut lists = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let mut list = lift(&rules, event);
            if event.data.contains(&script::get("when")) {
                go_wrong(index, event, &mut list)?;
            }
            lists.push(list);
        }
        let is_short = script::is("upcast", "short");
        if is_short
            && events
                .iter()
                .any(|event| event.data.contains(&script::get("when")))
        {
            lists.pop();
        }
        Ok(lists)
    }
}

fn rules() -> Vec<Rule> {
    let schema = |text: &str| {
        let (event_type, version) = text.split_once(':').expect("TYPE:VERSION");
        Schema {
            event_type: event_type.into(),
            schema_version: version.parse().expect("a version"),
        }
    };
    let script = script::get("rules");
    let rules = script.split('|').filter_map(|rule| rule.split_once('>'));
    rules
        .map(|(takes, gives)| Rule {
            takes: schema(takes),
            gives: gives
                .split(',')
                .filter(|text| !text.is_empty())
                .map(schema)
                .collect(),
        })
        .collect()
}

fn lift(rules: &[Rule], event: &Event) -> Vec<Lifted> {
    let takes = |rule: &&Rule| {
        rule.takes.event_type == event.event_type && rule.takes.schema_version == event.schema_version
    };
    let rule = rules.iter().find(takes).expect("a rule for the event");
    let data: Value = serde_json::from_str(&event.data).expect("JSON");
    let given = rule.gives.iter().enumerate();
    let lifted = given.filter_map(|(place, schema)| {
        let part = match &data["parts"] {
            Value::Array(parts) => Some(parts.get(place)?.clone()),
            _ => None,
        };
        let tag = script::get("tag");
        let tagged = |text: String| -> String {
            let mut value: Value = serde_json::from_str(&text).expect("JSON");
            match &mut value {
                Value::Object(fields) if !tag.is_empty() => {
                    fields.insert("lifted".into(), tag.clone().into());
                    value.to_string()
                }
                _ => text,
            }
        };
        Some(Lifted {
            schema: schema.clone(),
            data: tagged(part.map_or(event.data.clone(), |part| part.to_string())),
            metadata: tagged(event.metadata.clone()),
        })
    });
    lifted.collect()
}

fn go_wrong(index: usize, event: &Event, list: &mut Vec<Lifted>) -> Result<(), Failure> {
    let stray = |event_type: &str, data: &str, metadata: &str| Lifted {
        schema: Schema {
            event_type: event_type.into(),
            schema_version: 9,
        },
        data: data.into(),
        metadata: metadata.into(),
    };
    match script::get("upcast").as_str() {
        "trap" => misbehave::trap(),
        "panic" => panic!("the lifter panics: {}", event.data),
        "spin" => misbehave::spin(),
        "fail" => {
            return Err(Failure {
                index: Some(index as u32),
                message: format!("cannot lift {}", event.data),
                trace: "lifter::upcast".into(),
            });
        }
        "stray" => list.push(stray("Stray", "{}", "{}")),
        "no-json" => list.push(stray("Stray", "{", "{}")),
        "no-object" => list.push(stray("Stray", "{}", "[]")),
        "flood" => {
            let one = list.first().cloned().unwrap_or(stray("Stray", "{}", "{}"));
            list.extend(std::iter::repeat_n(one, 1_000_000));
        }
        _ => {}
    }
    Ok(())
}
