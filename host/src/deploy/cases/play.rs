//! A case through the plugin, in the sandbox and with the row cache of the real pipeline.

use std::sync::Arc;

use lamphouse_contract::{Descriptor, packed};

use super::super::plugin_check::first_difference;
use super::events::{self, Is};
use super::node::Wrong;
use super::read::{Case, Outcome};
use super::{Problem, rows};
use crate::core::{EventBatch, EventFilter, StoredEvent};
use crate::plugin::Plugin;
use crate::projection::{DryRunFault, dry_run};
use crate::upcast::{LiftFault, Upcasters};

/// How the two runs of a case are called.
const RUNS: [&str; 2] = ["event by event", "all events in one call"];

/// What is wrong with the rows of a projector's case; the error is a mistake in the file.
pub(super) fn of_projector(plugin: &Arc<Plugin>, case: &Case) -> Result<Vec<Problem>, Wrong> {
    let descriptor: &Descriptor = plugin.descriptor();
    let should = match &case.should {
        Outcome::Then(then) => Some(rows::read(descriptor, then)?),
        Outcome::Fails(_) => None,
    };
    let batch = Arc::new(batch(&case.given, descriptor));
    let runs = [1, usize::MAX].map(|size| dry_run(plugin, &batch, size.min(batch.len().max(1))));
    let mut made = Vec::new();
    let mut problems = Vec::new();
    for (run, name) in runs.into_iter().zip(RUNS) {
        match (run, &case.should) {
            (Ok(tables), Outcome::Then(_)) => made.push((name.to_owned(), tables)),
            (Err(fault), Outcome::Then(_)) => problems.push(of_fault(&fault, case, None)),
            (Ok(_), Outcome::Fails(part)) => problems.push(Problem::NoFault { should: part.clone() }),
            (Err(fault), Outcome::Fails(part)) if fault.error.message.contains(part) => {}
            (Err(fault), Outcome::Fails(part)) => problems.push(of_fault(&fault, case, Some(part))),
        }
        if !problems.is_empty() {
            // The other run mostly says the same.
            return Ok(problems);
        }
    }
    for table in should.iter().flatten() {
        problems.extend(made.first().iter().flat_map(|(_, tables)| table.problems(tables)));
    }
    problems.extend(
        first_difference(descriptor, &made).map(|difference| Problem::Batches {
            table: difference.table,
            key: difference.key,
        }),
    );
    Ok(problems)
}

/// The events that the projector asks for, at the positions that they have among all.
fn batch(given: &[StoredEvent], descriptor: &Descriptor) -> EventBatch {
    let filter = EventFilter {
        any_of: descriptor.subscriptions.clone(),
        ..EventFilter::default()
    };
    let mut batch = EventBatch::default();
    for event in given {
        if filter.matches(&event.event_type, event.schema_version, &event.stream_type) {
            let id = event.id.to_string();
            batch.push_event(event.position, event.id, &event.borrowed(&id));
        }
    }
    batch
}

fn of_fault(fault: &DryRunFault, case: &Case, should: Option<&str>) -> Problem {
    let place = usize::try_from(fault.position.0).unwrap_or(usize::MAX);
    Problem::Fault {
        event: event_name(case, place.wrapping_sub(1)),
        message: fault.error.message.clone(),
        trace: fault.error.trace.clone(),
        should: should.map(str::to_owned),
        log: fault.log.clone(),
    }
}

/// `LineAdded of order-1, event 2`.
fn event_name(case: &Case, place: usize) -> String {
    match case.given.get(place) {
        Some(event) => format!("{} of {}, event {}", event.event_type, event.stream_id, place + 1),
        None => String::new(),
    }
}

/// What is wrong with what comes out of an upcaster; the error is a mistake in the file.
pub(super) fn of_upcaster(alone: &Upcasters, case: &Case) -> Result<Vec<Problem>, Wrong> {
    let should = match &case.should {
        Outcome::Then(then) => Some(events::read(then)?),
        Outcome::Fails(_) => None,
    };
    let mut first: Option<Vec<Is>> = None;
    for size in [1, case.given.len().max(1)] {
        let lifted = lift(alone, &case.given, size);
        let is = match (lifted, &case.should) {
            (Ok(is), Outcome::Then(_)) => is,
            (Ok(_), Outcome::Fails(part)) => {
                return Ok(vec![Problem::NoFault { should: part.clone() }]);
            }
            (Err((_, fault)), Outcome::Fails(part)) if fault.message.contains(part) => continue,
            (Err((place, fault)), outcome) => {
                return Ok(vec![Problem::Fault {
                    event: event_name(case, place),
                    message: fault.message,
                    trace: fault.trace,
                    should: match outcome {
                        Outcome::Fails(part) => Some(part.clone()),
                        Outcome::Then(_) => None,
                    },
                    log: fault.log,
                }]);
            }
        };
        match &first {
            None => first = Some(is),
            Some(first) => {
                let form = |is: &Is| {
                    format!(
                        "{} {} {} {}",
                        is.event_type, is.schema_version, is.data, is.metadata
                    )
                };
                let differs = (0..first.len().max(is.len()))
                    .find(|&place| first.get(place).map(form) != is.get(place).map(form));
                if let Some(place) = differs {
                    return Ok(vec![Problem::Event {
                        number: place + 1,
                        what: "is another when all events come in one call; what comes out of an event may depend on \
                               that event alone"
                            .to_owned(),
                    }]);
                }
            }
        }
    }
    Ok(match (should, first) {
        (Some(should), Some(is)) => events::problems(&should, &is),
        _ => Vec::new(),
    })
}

/// All events that come out, in calls of so many given ones.
fn lift(alone: &Upcasters, given: &[StoredEvent], size: usize) -> Result<Vec<Is>, (usize, LiftFault)> {
    let ids: Vec<String> = given.iter().map(|event| event.id.to_string()).collect();
    let events: Vec<packed::Event<'_>> = given
        .iter()
        .zip(&ids)
        .map(|(event, id)| event.borrowed(id))
        .collect();
    let mut out = Vec::new();
    for (number, chunk) in events.chunks(size).enumerate() {
        let lifted = alone
            .show(chunk, &Arc::default(), &mut |_| {})
            .map_err(|(place, fault)| (number * size + place, fault))?;
        for (event, forms) in chunk.iter().zip(lifted) {
            match forms {
                // Nothing takes it: it is today's as it is.
                None => out.push(Is {
                    event_type: event.event_type.to_owned(),
                    schema_version: event.schema_version,
                    data: event.data.to_owned(),
                    metadata: event.metadata.to_owned(),
                }),
                Some(forms) => out.extend(forms.into_iter().map(|form| Is {
                    event_type: form.event_type.into_owned(),
                    schema_version: form.schema_version,
                    data: form.data.into_owned(),
                    metadata: form.metadata.into_owned(),
                })),
            }
        }
    }
    Ok(out)
}
