//! Events through the rules until nothing takes what came out. Pure: how an upcaster is called is passed in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lamphouse_contract::{EventSchema, packed};

use super::graph::Graph;
use crate::core::Class;
use crate::plugin::{CallError, Lifted};

/// Events that one stored event may become. More is a mistake in a rule, and would only be found when memory is gone.
const FORMS_MAX: usize = 10_000;

/// What an event has become: all that an upcaster can change of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form<'a> {
    /// Event type.
    pub event_type: Cow<'a, str>,
    /// Version of its schema.
    pub schema_version: u32,
    /// JSON text.
    pub data: Cow<'a, str>,
    /// JSON object text.
    pub metadata: Cow<'a, str>,
}

/// One upcaster's work on one event, for those who show it.
#[derive(Clone, Debug)]
pub struct Step<'s> {
    /// Which of the given events it began with.
    pub event: usize,
    /// The upcaster's place in the set.
    pub upcaster: usize,
    /// What it was given.
    pub before: &'s packed::Event<'s>,
    /// What it gave.
    pub after: &'s [Lifted],
}

/// An event that could not be lifted.
#[derive(Clone, Debug)]
pub struct LiftError {
    /// Which of the given events; all before it may be sound.
    pub event: usize,
    /// The upcaster's place in the set.
    pub upcaster: usize,
    /// The rule: what it takes.
    pub takes: EventSchema,
    /// Events of the call that failed. More than one where the failure was not one event's, as with a deadline.
    pub events_in_call: usize,
    /// What happened.
    pub error: CallError,
}

/// How an upcaster is called: its place in the set, and the events.
type Call<'c> = dyn FnMut(usize, &[packed::Event<'_>]) -> Result<Vec<Vec<Lifted>>, CallError> + 'c;

/// One event between two rounds.
struct Work<'a> {
    event: usize,
    forms: Vec<Form<'a>>,
}

/// Lifts events. Gives for each what it has become, the siblings in order; None for one that nothing takes. Each round
/// calls each upcaster once at the most, with all the events that are due for it, however many there are.
///
/// # Errors
/// The first event of a call that failed; a failed call is halved down to one event before it is given up, so that
/// the blame falls on that event. Events after it may have been called with or not.
pub fn lift<'a>(
    graph: &Graph,
    events: &[packed::Event<'a>],
    call: &mut Call<'_>,
    show: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Option<Vec<Form<'a>>>>, LiftError> {
    let taken = |event: &packed::Event<'_>| graph.edge(event.event_type, event.schema_version).is_some();
    let mut works: Vec<Work<'a>> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| taken(event))
        .map(|(index, event)| Work {
            event: index,
            forms: vec![Form {
                event_type: event.event_type.into(),
                schema_version: event.schema_version,
                data: event.data.into(),
                metadata: event.metadata.into(),
            }],
        })
        .collect();
    loop {
        // Per upcaster: which form of which work. `part` is the place among the siblings of this round.
        let mut due: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for (place, work) in works.iter().enumerate() {
            for (part, form) in work.forms.iter().enumerate() {
                if let Some(edge) = graph.edge(&form.event_type, form.schema_version) {
                    due.entry(edge.upcaster).or_default().push((place, part));
                }
            }
        }
        if due.is_empty() {
            break;
        }
        let mut results: BTreeMap<(usize, usize), Vec<Lifted>> = BTreeMap::new();
        for (upcaster, places) in due {
            let asked: Vec<packed::Event<'_>> = places
                .iter()
                .map(|&(place, part)| {
                    let work = &works[place];
                    let form = &work.forms[part];
                    packed::Event {
                        part: u32::try_from(part).unwrap_or(u32::MAX),
                        event_type: &form.event_type,
                        schema_version: form.schema_version,
                        data: &form.data,
                        metadata: &form.metadata,
                        ..events[work.event]
                    }
                })
                .collect();
            let lists = ask(graph, upcaster, &asked, 0, call).map_err(|(at, count, error)| LiftError {
                event: works[places[at].0].event,
                upcaster,
                takes: schema_of(&asked[at]),
                events_in_call: count,
                error,
            })?;
            for ((&place, before), list) in places.iter().zip(&asked).zip(lists) {
                show(Step {
                    event: works[place.0].event,
                    upcaster,
                    before,
                    after: &list,
                });
                results.insert(place, list);
            }
        }
        for (place, work) in works.iter_mut().enumerate() {
            let forms = std::mem::take(&mut work.forms);
            for (part, form) in forms.into_iter().enumerate() {
                match results.remove(&(place, part)) {
                    Some(lifted) => work.forms.extend(lifted.into_iter().map(Form::from)),
                    None => work.forms.push(form),
                }
            }
            if work.forms.len() > FORMS_MAX {
                return Err(too_many(graph, &events[work.event], work));
            }
        }
    }
    let mut lifted: Vec<Option<Vec<Form<'a>>>> = events.iter().map(|_| None).collect();
    for work in works {
        lifted[work.event] = Some(work.forms);
    }
    Ok(lifted)
}

/// A failed call: the place of its first event, how many it had, and why.
type Failed = (usize, usize, CallError);

/// Asks an upcaster about events; halves what fails. `from` is the place of the first of them.
fn ask(
    graph: &Graph,
    upcaster: usize,
    events: &[packed::Event<'_>],
    from: usize,
    call: &mut Call<'_>,
) -> Result<Vec<Vec<Lifted>>, Failed> {
    let error = match call(upcaster, events) {
        Ok(lists) => match undeclared(graph, events, &lists) {
            None => return Ok(lists),
            Some((at, error)) => return Err((from + at, 1, error)),
        },
        Err(error) => error,
    };
    if error.class != Class::Fault || events.len() <= 1 {
        return Err((from, events.len(), error));
    }
    // An upcaster does nothing but answer, so that what the other half gave is as good as before.
    let (first, second) = events.split_at(events.len() / 2);
    let mut lists = ask(graph, upcaster, first, from, call)?;
    lists.extend(ask(graph, upcaster, second, from + first.len(), call)?);
    Ok(lists)
}

/// The first result that its rule does not name.
fn undeclared(
    graph: &Graph,
    events: &[packed::Event<'_>],
    lists: &[Vec<Lifted>],
) -> Option<(usize, CallError)> {
    let fault = |message: String| CallError {
        class: Class::Fault,
        message,
        trace: String::new(),
        index: None,
    };
    for (at, (event, list)) in events.iter().zip(lists).enumerate() {
        let edge = graph.edge(event.event_type, event.schema_version)?;
        if let Some(stray) = list.iter().find(|lifted| !edge.gives.contains(&lifted.schema)) {
            let gives: Vec<String> = edge.gives.iter().map(ToString::to_string).collect();
            let declared = if gives.is_empty() {
                "nothing".to_owned()
            } else {
                gives.join(", ")
            };
            return Some((
                at,
                fault(format!(
                    "it gave {}, which the rule does not name: describe says that it gives {declared}",
                    stray.schema
                )),
            ));
        }
    }
    None
}

fn too_many(graph: &Graph, event: &packed::Event<'_>, work: &Work<'_>) -> LiftError {
    LiftError {
        event: work.event,
        upcaster: graph
            .edge(event.event_type, event.schema_version)
            .map_or(0, |edge| edge.upcaster),
        takes: schema_of(event),
        events_in_call: 1,
        error: CallError {
            class: Class::Fault,
            message: format!(
                "the event became {} events, and {FORMS_MAX} are allowed",
                work.forms.len()
            ),
            trace: String::new(),
            index: None,
        },
    }
}

fn schema_of(event: &packed::Event<'_>) -> EventSchema {
    EventSchema {
        event_type: event.event_type.to_owned(),
        schema_version: event.schema_version,
    }
}

impl From<Lifted> for Form<'_> {
    fn from(lifted: Lifted) -> Self {
        Self {
            event_type: lifted.schema.event_type.into(),
            schema_version: lifted.schema.schema_version,
            data: lifted.data.into(),
            metadata: lifted.metadata.into(),
        }
    }
}
