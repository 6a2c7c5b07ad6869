//! The event types as an AsyncAPI 3.0 document. Pure.
//!
//! It is written as a client of the host sees it: it sends by `POST /v1/append`, and receives by following
//! `GET /v1/events`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::deploy::{CatalogDocument, CatalogType};
use crate::schemas::Set;

/// The document, for a host that is reached by `http` or `https`. `with_parts`: also the schema files that others refer to and that no message needs.
pub(super) fn document(
    catalog: &CatalogDocument,
    schemas: &Set,
    with_parts: bool,
    scheme: &str,
    host: &str,
) -> Value {
    let mut channels: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut messages = Map::new();
    let mut files = BTreeSet::new();
    for one in &catalog.types {
        let key = message_key(one);
        let file = schemas
            .schema(&one.event_type, one.schema_version)
            .map(|schema| schema.file.as_str());
        files.extend(file);
        messages.insert(key.clone(), message(one, file));
        for of in &one.stream_types {
            channels.entry(&of.stream_type).or_default().insert(key.clone());
        }
    }
    let documents = schemas.documents();
    if !with_parts {
        files = reached(schemas, files);
    }
    let components: Map<String, Value> = documents
        .iter()
        .filter(|(file, _)| with_parts || files.contains(file.as_str()))
        .map(|(file, document)| (key_of(file), linked(document, file, schemas)))
        .collect();
    let mut channel_objects = Map::new();
    let mut operations = Map::new();
    for (stream_type, keys) in channels {
        let key = key_of(stream_type);
        let refers = |key: &String| {
            (
                key.clone(),
                json!({"$ref": format!("#/components/messages/{key}")}),
            )
        };
        channel_objects.insert(
            key.clone(),
            json!({
                "address": format!("streams/{stream_type}"),
                "title": format!("Streams of type {stream_type}"),
                "messages": keys.iter().map(refers).collect::<Map<_, _>>(),
            }),
        );
        let channel = json!({"$ref": format!("#/channels/{key}")});
        let refers = |message: &String| json!({"$ref": format!("#/channels/{key}/messages/{message}")});
        let of_channel: Vec<Value> = keys.iter().map(refers).collect();
        operations.insert(
            format!("append-{key}"),
            json!({
                "action": "send",
                "channel": channel,
                "summary": "Append events",
                "description": "POST /v1/append: all or nothing, with expected versions and an Idempotency-Key.",
                "messages": of_channel,
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            }),
        );
        operations.insert(
            format!("follow-{key}"),
            json!({
                "action": "receive",
                "channel": channel,
                "summary": "Follow events",
                "description": "GET /v1/events?follow=true, as Server-Sent Events; stream_type chooses the channel.",
                "messages": of_channel,
                "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lamphouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "The event types of this log up to position {}, as a client sends and receives them.",
                catalog.position
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "lamphouse": {
                "host": host,
                "protocol": scheme,
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            },
        },
        "channels": channel_objects,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn message(one: &CatalogType, file: Option<&str>) -> Value {
    let payload = match file {
        Some(file) => json!({"$ref": format!("#/components/schemas/{}", key_of(file))}),
        // Anything: nobody has said more.
        None => json!({}),
    };
    json!({
        "name": one.event_type,
        "title": format!("{} {}", one.event_type, one.schema_version),
        "contentType": "application/json",
        "payload": payload,
        "headers": {
            "type": "object",
            "description": "The event's metadata",
            "properties": {"reason": {"type": "string"}},
        },
        "x-schema-version": one.schema_version,
        "x-count": one.count,
    })
}

fn message_key(one: &CatalogType) -> String {
    format!("{}.{}", key_of(&one.event_type), one.schema_version)
}

/// A key of a component: letters, digits, `.`, `-`, `_`. Any other byte is `_XX`, and so is `_` itself.
fn key_of(name: &str) -> String {
    let mut key = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => key.push(char::from(byte)),
            byte => key.push_str(&format!("_{byte:02X}")),
        }
    }
    key
}

/// Files that these refer to, and they themselves.
fn reached<'s>(schemas: &'s Set, files: BTreeSet<&'s str>) -> BTreeSet<&'s str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = files.into_iter().collect();
    while let Some(file) = left.pop() {
        let Some((file, document)) = schemas.documents().get_key_value(file) else {
            continue;
        };
        if reached.insert(file.as_str()) {
            references(document, &mut |reference| {
                let name = reference.split('#').next().unwrap_or_default();
                if let Some((file, _)) = schemas.documents().get_key_value(name) {
                    left.push(file);
                }
            });
        }
    }
    reached
}

fn references(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, each)),
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) if key == "$ref" => each(text),
                    value => references(value, each),
                }
            }
        }
        _ => {}
    }
}

/// A schema whose references by file name, and those within it, lead to where the files are in this document.
fn linked(value: &Value, file: &str, schemas: &Set) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| linked(item, file, schemas)).collect(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    ("$ref", Value::String(reference)) => Value::String(link(reference, file, schemas)),
                    // Data, in which a `$ref` is none.
                    ("const" | "enum" | "default" | "examples", value) => value.clone(),
                    (_, value) => linked(value, file, schemas),
                };
                (key.clone(), value)
            });
            Value::Object(entries.collect())
        }
        other => other.clone(),
    }
}

fn link(reference: &str, file: &str, schemas: &Set) -> String {
    let (name, pointer) = reference.split_once('#').unwrap_or((reference, ""));
    let target = match name {
        "" => file,
        name if schemas.documents().contains_key(name) => name,
        _ => return reference.to_owned(),
    };
    // An anchor is no pointer; nothing in this document has it.
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return reference.to_owned();
    }
    format!("#/components/schemas/{}{pointer}", key_of(target))
}
