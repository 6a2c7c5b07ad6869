//! Whether the host can run what a plugin declares. Pure.

use lamphouse_contract::fields;
use lamphouse_contract::{ColumnType, Descriptor, TableSchema, UpcasterDescriptor, semantics};

use super::cut::cut;
use super::inspect::Lane;
use crate::core::{PluginName, TableName};

/// Options of one plugin: more than there will ever be.
const OPTIONS_MAX: usize = 32;

/// Everything that is wrong, a sentence each; empty when all is right.
pub(super) fn problems(descriptor: &Descriptor, lane: Lane) -> Vec<String> {
    let mut problems = semantics::check(descriptor);
    // The same rules as the host's own types have; asked again, so that a name that passed here makes a `TableName`.
    if problems.is_empty() {
        let names = descriptor
            .tables
            .iter()
            .map(|table| TableName::new(&table.name).err());
        problems.extend(names.chain([PluginName::new(&descriptor.name).err()]).flatten());
    }
    problems.extend(option_problems(&descriptor.options));
    if descriptor.is_partitioned_by_stream() {
        problems.extend(partition_problems(descriptor));
    }
    problems.extend(field_problems(descriptor, lane));
    problems
}

/// Fields that could never be handed over.
fn field_problems(descriptor: &Descriptor, lane: Lane) -> Vec<String> {
    let Some(plan) = descriptor.field_plan() else {
        return Vec::new();
    };
    if lane == Lane::Typed {
        return vec![
            "option 'fields' is of the packed lane: an event of `projector` has no place for values; export \
             `packed-projector`, or leave the option out"
                .to_owned(),
        ];
    }
    let is_taken = |event_type: &&str| {
        let mut wanted = descriptor
            .subscriptions
            .iter()
            .map(|taken| taken.event_type.as_deref());
        wanted.any(|wanted| wanted.is_none_or(|wanted| wanted == *event_type))
    };
    let missed = plan.event_types().filter(|event_type| !is_taken(event_type));
    missed
        .map(|event_type| {
            format!(
                "option 'fields' declares fields of event type '{}', which no subscription takes",
                shown(event_type)
            )
        })
        .collect()
}

/// A row is its stream's by the first column of its key.
fn partition_problems(descriptor: &Descriptor) -> impl Iterator<Item = String> {
    let is_text = |table: &&TableSchema| {
        let first = table.primary_key.first().copied().unwrap_or_default();
        let column = table.columns.get(first as usize);
        column.is_none_or(|column| column.kind == ColumnType::Text)
    };
    let wrong = descriptor.tables.iter().filter(move |table| !is_text(table));
    wrong.map(|table| {
        format!(
            "table '{}': the first key column is no text; with the option partition = stream it is the stream's id",
            table.name
        )
    })
}

/// Everything that is wrong with what an upcaster declares, by itself; empty when all is right.
pub(super) fn upcaster_problems(descriptor: &UpcasterDescriptor) -> Vec<String> {
    let mut problems = semantics::check_upcaster(descriptor);
    if problems.is_empty() {
        problems.extend(PluginName::new(&descriptor.name).err());
    }
    let unknown = descriptor.options.iter().take(OPTIONS_MAX);
    problems.extend(unknown.map(|(key, _)| {
        format!(
            "option '{}' is unknown to this host, which knows none of upcasters",
            shown(key)
        )
    }));
    problems
}

/// Unknown options are refused, so that later ones can mean something.
fn option_problems(options: &[(String, String)]) -> Vec<String> {
    let mut problems = fields::check(options);
    if options.len() > OPTIONS_MAX {
        problems.push(format!(
            "{} options are given; at most {OPTIONS_MAX} are allowed",
            options.len()
        ));
    }
    for (index, (key, value)) in options.iter().take(OPTIONS_MAX).enumerate() {
        match (key.as_str(), value.as_str()) {
            ("partition", "stream") => {}
            (fields::OPTION | fields::ENTRIES_OPTION, _) => {}
            ("partition", value) => {
                problems.push(format!(
                    "option 'partition' is '{}'; this host knows 'stream'",
                    shown(value)
                ));
            }
            (key, _) => problems.push(format!(
                "option '{}' is unknown to this host; it knows 'entries', 'fields' and 'partition'",
                shown(key)
            )),
        }
        if options[..index].iter().any(|(earlier, _)| earlier == key) {
            problems.push(format!("option '{}' is given twice", shown(key)));
        }
    }
    problems
}

/// Says where two answers of an upcaster's `describe` differ.
pub(super) fn upcaster_difference(first: &UpcasterDescriptor, second: &UpcasterDescriptor) -> String {
    disagreed(&if first.name != second.name {
        format!("name '{}', then '{}'", shown(&first.name), shown(&second.name))
    } else if first.version != second.version {
        format!(
            "version '{}', then '{}'",
            shown(&first.version),
            shown(&second.version)
        )
    } else if first.rules != second.rules {
        "other rules the second time".to_owned()
    } else {
        "other options the second time".to_owned()
    })
}

/// Says where two answers of `describe` differ.
pub(super) fn difference(first: &Descriptor, second: &Descriptor) -> String {
    disagreed(&if first.name != second.name {
        format!("name '{}', then '{}'", shown(&first.name), shown(&second.name))
    } else if first.version != second.version {
        format!(
            "version '{}', then '{}'",
            shown(&first.version),
            shown(&second.version)
        )
    } else if first.tables != second.tables {
        "other tables the second time".to_owned()
    } else if first.subscriptions != second.subscriptions {
        "other subscriptions the second time".to_owned()
    } else {
        "other options the second time".to_owned()
    })
}

fn disagreed(what: &str) -> String {
    format!(
        "describe was called twice and disagreed with itself: {what}. It must give the same answer every time"
    )
}

/// A guest's word, fit for a message.
fn shown(text: &str) -> String {
    cut(text, 100)
}
