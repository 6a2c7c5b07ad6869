//! What turns into what: the graph over event types and versions. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lamphouse_contract::{EventSchema, Subscription, UpcasterDescriptor};

use crate::core::event::{is_reserved, schema_matches};

/// The rules of a set of upcasters: one at the most takes a schema, and no chain comes back to where it was.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// By event type, then by version: most events are of types that nothing takes, and cost one look.
    edges: HashMap<String, Vec<(u32, Edge)>>,
}

/// What happens to events of one schema.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    /// Place of the upcaster in the set.
    pub(super) upcaster: usize,
    pub(super) gives: Vec<EventSchema>,
}

/// Why some upcasters cannot be a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Conflict {
    /// Places of those that are part of it.
    pub upcasters: BTreeSet<usize>,
    /// What is wrong, with the path, and what to do.
    pub message: String,
}

impl Graph {
    /// The graph of a set.
    ///
    /// # Errors
    /// Two rules that take one schema, or a cycle, with its path.
    pub fn new(upcasters: &[Arc<UpcasterDescriptor>]) -> Result<Self, Conflict> {
        let mut graph = Self::default();
        for (upcaster, descriptor) in upcasters.iter().enumerate() {
            for rule in &descriptor.rules {
                let EventSchema {
                    event_type,
                    schema_version,
                } = &rule.takes;
                if let Some(other) = graph.edge(event_type, *schema_version) {
                    let rival = &upcasters[other.upcaster];
                    return Err(Conflict {
                        upcasters: BTreeSet::from([other.upcaster, upcaster]),
                        message: format!(
                            "two upcasters take {}: {} {} gives {}, and {} {} gives {}; an event can go one way only: \
                             take the rule out of one of them",
                            rule.takes,
                            rival.name,
                            rival.version,
                            listed(&other.gives),
                            descriptor.name,
                            descriptor.version,
                            listed(&rule.gives),
                        ),
                    });
                }
                let edge = Edge {
                    upcaster,
                    gives: rule.gives.clone(),
                };
                let versions = graph.edges.entry(event_type.clone()).or_default();
                versions.push((*schema_version, edge));
            }
        }
        match graph.cycle(upcasters) {
            Some(path) => Err(cycle_conflict(&path, upcasters, &graph)),
            None => Ok(graph),
        }
    }

    /// Whether no rule is in it.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// What happens to events of this schema; None: nothing takes them.
    pub(super) fn edge(&self, event_type: &str, schema_version: u32) -> Option<&Edge> {
        let versions = self.edges.get(event_type)?;
        versions
            .iter()
            .find(|(version, _)| *version == schema_version)
            .map(|(_, edge)| edge)
    }

    fn edge_of(&self, schema: &EventSchema) -> Option<&Edge> {
        self.edge(&schema.event_type, schema.schema_version)
    }

    /// Places of the upcasters whose presence or code can change what reaches these subscriptions: those with a rule
    /// that takes what is subscribed to, or whose chain ends in it. The others can be left out of the set.
    pub fn concerning(&self, subscriptions: &[Subscription]) -> BTreeSet<usize> {
        let mut reached = HashMap::new();
        let wants = |schema: &EventSchema| wanted(subscriptions, schema);
        let mut concerning = BTreeSet::new();
        for (event_type, versions) in &self.edges {
            for (version, edge) in versions {
                let takes = EventSchema {
                    event_type: event_type.clone(),
                    schema_version: *version,
                };
                if wants(&takes) || self.ends_in(&takes, &wants, &mut reached) {
                    concerning.insert(edge.upcaster);
                }
            }
        }
        concerning
    }

    /// What is to be read from the log so that these subscriptions are met after upcasting: themselves, and every
    /// schema from which a chain ends in one of them.
    pub fn reads(&self, subscriptions: &[Subscription]) -> Vec<Subscription> {
        let mut more: BTreeMap<(String, Option<String>), BTreeSet<u32>> = BTreeMap::new();
        for subscription in subscriptions {
            let mut reached = HashMap::new();
            let wants = |schema: &EventSchema| {
                schema_matches(subscription, &schema.event_type, schema.schema_version)
            };
            for (event_type, versions) in &self.edges {
                for (version, _) in versions {
                    let takes = EventSchema {
                        event_type: event_type.clone(),
                        schema_version: *version,
                    };
                    if !wants(&takes) && self.ends_in(&takes, &wants, &mut reached) {
                        let place = (event_type.clone(), subscription.stream_type.clone());
                        more.entry(place).or_default().insert(*version);
                    }
                }
            }
        }
        let more = more
            .into_iter()
            .map(|((event_type, stream_type), versions)| Subscription {
                event_type: Some(event_type),
                stream_type,
                schema_versions: versions.into_iter().collect(),
            });
        subscriptions.iter().cloned().chain(more).collect()
    }

    /// What events of this schema may be once nothing takes them any more: itself where nothing takes it, nothing where it
    /// is dropped.
    pub fn ends(&self, schema: &EventSchema) -> BTreeSet<EventSchema> {
        let mut ends = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut left = vec![schema.clone()];
        while let Some(schema) = left.pop() {
            if !seen.insert(schema.clone()) {
                continue;
            }
            match self.edge_of(&schema) {
                Some(edge) => left.extend(edge.gives.iter().cloned()),
                None => {
                    ends.insert(schema);
                }
            }
        }
        ends
    }

    /// Whether a chain from this schema ends in a wanted one.
    fn ends_in(
        &self,
        schema: &EventSchema,
        wants: &impl Fn(&EventSchema) -> bool,
        known: &mut HashMap<EventSchema, bool>,
    ) -> bool {
        // Children first, without recursion: a chain may be as long as there are rules.
        let mut stack = vec![(schema.clone(), false)];
        while let Some((schema, children_are_known)) = stack.pop() {
            if known.contains_key(&schema) {
                continue;
            }
            match self.edge_of(&schema) {
                None => {
                    let wanted = wants(&schema);
                    known.insert(schema, wanted);
                }
                Some(edge) if children_are_known => {
                    let any = edge.gives.iter().any(|given| known.get(given) == Some(&true));
                    known.insert(schema, any);
                }
                Some(edge) => {
                    let gives = edge.gives.clone();
                    stack.push((schema, true));
                    stack.extend(gives.into_iter().map(|given| (given, false)));
                }
            }
        }
        known.get(schema) == Some(&true)
    }

    /// A path that comes back to its beginning, if there is one; the first and the last are the same.
    fn cycle(&self, upcasters: &[Arc<UpcasterDescriptor>]) -> Option<Vec<EventSchema>> {
        let mut done: BTreeSet<EventSchema> = BTreeSet::new();
        // In the order of the rules, so that the same set always shows the same path.
        let starts = upcasters.iter().flat_map(|upcaster| &upcaster.rules);
        for start in starts.map(|rule| &rule.takes) {
            // The path so far, and which of what each step gives is looked at next.
            let mut path: Vec<(EventSchema, usize)> = vec![(start.clone(), 0)];
            while let Some((schema, next)) = path.last_mut() {
                let given = self
                    .edge_of(schema)
                    .and_then(|edge| edge.gives.get(*next))
                    .cloned();
                *next += 1;
                match given {
                    Some(given) if done.contains(&given) => {}
                    Some(given) => {
                        if let Some(place) = path.iter().position(|(earlier, _)| *earlier == given) {
                            let mut cycle: Vec<EventSchema> =
                                path[place..].iter().map(|(schema, _)| schema.clone()).collect();
                            cycle.push(given);
                            return Some(cycle);
                        }
                        path.push((given, 0));
                    }
                    None => {
                        done.extend(path.pop().map(|(schema, _)| schema));
                    }
                }
            }
        }
        None
    }
}

fn wanted(subscriptions: &[Subscription], schema: &EventSchema) -> bool {
    (subscriptions.is_empty() && !is_reserved(&schema.event_type))
        || subscriptions
            .iter()
            .any(|subscription| schema_matches(subscription, &schema.event_type, schema.schema_version))
}

fn cycle_conflict(path: &[EventSchema], upcasters: &[Arc<UpcasterDescriptor>], graph: &Graph) -> Conflict {
    let mut involved = BTreeSet::new();
    let mut shown = path.first().map(ToString::to_string).unwrap_or_default();
    for step in path.windows(2) {
        let upcaster = graph.edge_of(&step[0]).map_or(0, |edge| edge.upcaster);
        involved.insert(upcaster);
        let UpcasterDescriptor { name, version, .. } = &*upcasters[upcaster];
        shown.push_str(&format!(" → {} (by {name} {version})", step[1]));
    }
    Conflict {
        upcasters: involved,
        message: format!(
            "the upcasters form a cycle, in which an event would never end: {shown}; take one of these rules out"
        ),
    }
}

fn listed(gives: &[EventSchema]) -> String {
    match gives {
        [] => "nothing".to_owned(),
        gives => gives
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" and "),
    }
}
