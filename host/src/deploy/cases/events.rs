//! An upcaster's events as they are against events as they should be. Pure.

use super::node::{Kind, Node, Wrong};
use super::read::{fields, schema_version};
use super::{Problem, json};

/// An event that came out of an upcaster.
pub(super) struct Is {
    pub(super) event_type: String,
    pub(super) schema_version: u32,
    pub(super) data: String,
    pub(super) metadata: String,
}

/// An event that should come out.
pub(super) struct ShouldEvent<'n> {
    event_type: String,
    schema_version: u32,
    data: Option<&'n Node>,
    metadata: Option<&'n Node>,
}

/// Reads `then:` of an upcaster's case.
pub(super) fn read(then: &Node) -> Result<Vec<ShouldEvent<'_>>, Wrong> {
    let event = |node| {
        let known = ["event_type", "schema_version", "data", "metadata"];
        let [event_type, version, data, metadata] = fields("an event", node, known)?;
        Ok(ShouldEvent {
            event_type: match event_type {
                Some(node) => node.text("event_type")?.to_owned(),
                None => return Err(node.wrong("an event has no event_type")),
            },
            schema_version: schema_version(version)?,
            data,
            metadata,
        })
    };
    then.list("then").map_err(|wrong| Wrong {
        why: format!(
            "{}: the events that come out of an upcaster, in their order",
            wrong.why
        ),
        ..wrong
    })?;
    then.list("then")?.iter().map(event).collect()
}

/// Where they differ.
pub(super) fn problems(should: &[ShouldEvent<'_>], is: &[Is]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for place in 0..should.len().max(is.len()) {
        let number = place + 1;
        let problem = |what: String| Problem::Event { number, what };
        match (should.get(place), is.get(place)) {
            (Some(should), Some(is)) => {
                problems.extend(differences(should, is).into_iter().map(problem));
            }
            (Some(should), None) => problems.push(problem(format!(
                "{} {} should come out, and nothing does",
                should.event_type, should.schema_version
            ))),
            (None, Some(is)) => problems.push(problem(format!(
                "{} {} comes out, and nothing should: {}",
                is.event_type,
                is.schema_version,
                super::node::cut(&is.data)
            ))),
            (None, None) => {}
        }
    }
    problems
}

fn differences(should: &ShouldEvent<'_>, is: &Is) -> Vec<String> {
    let mut found = Vec::new();
    if (&is.event_type, is.schema_version) != (&should.event_type, should.schema_version) {
        found.push(format!(
            "is {} {}, should be {} {}",
            is.event_type, is.schema_version, should.event_type, should.schema_version
        ));
    }
    for (name, is, should) in [
        ("data", &is.data, should.data),
        ("metadata", &is.metadata, should.metadata),
    ] {
        if let Some(should) = should {
            // What an upcaster gives has been checked to be JSON.
            let is = json::read(is).unwrap_or(Node {
                line: 1,
                kind: Kind::Text(is.clone()),
            });
            is.differences(should, name, &mut found);
        }
    }
    found
}
