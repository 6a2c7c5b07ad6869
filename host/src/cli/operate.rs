//! The verbs that act on one projection, `rebuild`, `pause`, `resume`, `cutover` and `rollback`: ask, then wait until it
//! is done.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use super::interrupt::Interrupt;
use super::output::Output;
use super::place::Place;
use super::progress::Progress;
use super::table::plain_lines;
use super::units;
use crate::deploy::operator::{GenerationStatus, HostStatus, Outcome, Verb};

/// Between two looks at a host that works.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same where the host is in this process: a look costs next to nothing, and a script waits for the last one.
const LOOK_HERE_EVERY: Duration = Duration::from_millis(20);
/// How long a cutover may fail, and be tried again, before a person is told.
const HINDERED_TIME_MAX: Duration = Duration::from_secs(15);

/// Build a projection's tables anew, beside the live ones, and switch to them
///
/// Readers see the old tables until the new ones are level with the log; the switch is one transaction.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse rebuild order-summary
  lamphouse rebuild order-summary --no-wait && lamphouse status --watch")]
pub(super) struct Rebuild {
    #[command(flatten)]
    target: Target,
}

/// Stop applying events to a projection; its tables stay readable
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse pause order-summary --reason 'comparing with the ledger'")]
pub(super) struct Pause {
    #[command(flatten)]
    target: Target,
    /// Why; shown by status
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Go on after a pause or a fault
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse resume order-summary")]
pub(super) struct Resume {
    #[command(flatten)]
    target: Target,
}

/// Switch to the generation that is building or ready, as soon as it is level
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse cutover order-summary
  lamphouse cutover order-summary --breaking      also when columns or tables go or change their type")]
pub(super) struct Cutover {
    #[command(flatten)]
    target: Target,
    /// Allow columns and tables to go or to change their type
    #[arg(long)]
    breaking: bool,
}

/// Switch back to the generation that was live before
///
/// It is brought level first. The choice holds, also over restarts, until other code is deployed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse rollback order-summary")]
pub(super) struct Rollback {
    #[command(flatten)]
    target: Target,
    /// Allow columns and tables to go or to change their type
    #[arg(long)]
    breaking: bool,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,
    /// Return at once; 'lamphouse status' shows how it goes
    #[arg(long)]
    no_wait: bool,
}

impl Rebuild {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        self.target.ask(place, out, Verb::Rebuild)
    }
}

impl Pause {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        self.target.ask(place, out, Verb::Pause { reason: self.reason })
    }
}

impl Resume {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        self.target.ask(place, out, Verb::Resume)
    }
}

impl Cutover {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        self.target.ask(
            place,
            out,
            Verb::Cutover {
                breaking: self.breaking,
            },
        )
    }
}

impl Rollback {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        self.target.ask(
            place,
            out,
            Verb::Rollback {
                breaking: self.breaking,
            },
        )
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    projection: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

impl Target {
    fn ask(self, place: &Place, out: &mut Output, verb: Verb) -> Result<()> {
        let reached = place.reach()?;
        let mut outcome = reached.operator.operate(&self.name, verb.clone())?;
        if !outcome.done && !self.no_wait {
            let advice = if reached.remote {
                "no longer waiting; the host goes on, and 'lamphouse status' shows how (Ctrl-C again ends at once)"
            } else {
                "stopping; what is done stays, and the next host goes on (Ctrl-C again ends at once)"
            };
            let interrupt = Interrupt::listen(place.runtime(), advice);
            let mut progress = Progress::new(self.name.clone(), "events");
            let mut hindered = None;
            outcome.message = loop {
                let status = reached.operator.status()?;
                match look(&status, &self.name, &verb, outcome.generation) {
                    Look::Done(message) => {
                        outcome.done = true;
                        break message;
                    }
                    Look::Failed(message) => return Err(anyhow!(message)),
                    Look::Going { share, text } => progress.at_text(share, &text),
                }
                hindered = hindrance(&status, &self.name)
                    .map(|why| (hindered.map_or_else(Instant::now, first), why));
                if let Some((since, why)) = &hindered
                    && since.elapsed() > HINDERED_TIME_MAX
                {
                    bail!("{why}");
                }
                if interrupt.is_set() {
                    bail!("interrupted; {}", outcome.message);
                }
                std::thread::sleep(if reached.remote {
                    LOOK_EVERY
                } else {
                    LOOK_HERE_EVERY
                });
            };
        }
        if out.json {
            return out.document(&Answer {
                projection: &self.name,
                outcome: &outcome,
            });
        }
        out.line(plain_lines(&outcome.message))
    }
}

fn first<A, B>((first, _): (A, B)) -> A {
    first
}

/// Why a cutover does not happen, while the host tries again.
fn hindrance(status: &HostStatus, name: &str) -> Option<String> {
    let projection = status
        .projections
        .iter()
        .find(|projection| projection.name == name)?;
    projection.hindered.then(|| projection.message.clone())
}

/// What a status says of something that was asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Look {
    Done(String),
    Failed(String),
    Going { share: Option<f64>, text: String },
}

/// Whether it is done. `generation` is the one that the host named in its answer.
pub(super) fn look(status: &HostStatus, name: &str, verb: &Verb, generation: Option<i64>) -> Look {
    let Some(projection) = status
        .projections
        .iter()
        .find(|projection| projection.name == name)
    else {
        return Look::Failed(format!("the projection {name} is gone"));
    };
    if let Some(why) = &projection.refused {
        return Look::Failed(why.clone());
    }
    let going = |text: String| Look::Going { share: None, text };
    match verb {
        Verb::Pause { .. } if projection.paused.is_some() => return Look::Done(format!("{name} is paused")),
        Verb::Pause { .. } => return going("finishing what is under way".to_owned()),
        Verb::Resume if !projection.healthy => return Look::Failed(projection.message.clone()),
        Verb::Resume if projection.paused.is_none() => return Look::Done(format!("{name} goes on")),
        Verb::Resume => return going("starting".to_owned()),
        Verb::RetryDeadLetters { .. } | Verb::DiscardDeadLetters { .. } => {
            return Look::Done(projection.message.clone());
        }
        Verb::Rebuild | Verb::Cutover { .. } | Verb::Rollback { .. } => {}
    }
    let mut generations = projection.live.iter().chain(&projection.others);
    let Some(target) = generations.find(|candidate| Some(candidate.generation) == generation) else {
        return match generation {
            Some(number) => Look::Failed(format!(
                "generation g{number} of {name} is gone: {}",
                projection.message
            )),
            None => going(projection.message.clone()),
        };
    };
    match target.state.as_str() {
        "live" => {
            let at = units::count(target.checkpoint);
            Look::Done(format!(
                "{name} shows g{} (version {}) at position {at}",
                target.generation, target.version
            ))
        }
        "failed" => Look::Failed(failure(target, &projection.message)),
        _ if target
            .fault
            .as_ref()
            .is_some_and(|fault| fault.class != "retryable") =>
        {
            Look::Failed(failure(target, &projection.message))
        }
        // The message says which decision of a person's is missing.
        _ if projection.needs_decision => match verb {
            Verb::Rebuild => Look::Done(projection.message.clone()),
            _ => Look::Failed(projection.message.clone()),
        },
        _ => {
            let head = status.log.head.max(1);
            let mut parts = vec![
                format!("g{} {}", target.generation, target.activity),
                format!(
                    "{} of {} events",
                    units::count(target.checkpoint),
                    units::count(status.log.head)
                ),
            ];
            parts.extend(target.events_per_second.map(units::rate));
            parts.extend(
                target
                    .time_left_ms
                    .map(|ms| format!("{} left", units::duration(ms))),
            );
            Look::Going {
                share: Some(target.checkpoint as f64 / head as f64),
                text: parts.join(" · "),
            }
        }
    }
}

fn failure(target: &GenerationStatus, message: &str) -> String {
    let why = target
        .fault
        .as_ref()
        .map_or(message, |fault| fault.message.as_str());
    format!("g{} failed: {why}", target.generation)
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{generation, projection, status};
    use super::*;
    use crate::deploy::operator::FaultReport;

    fn rebuilding(state: &str, others: GenerationStatus) -> HostStatus {
        let mut orders = projection("orders", state, Some(generation(3, "1.0.0", "live", 567_806)));
        orders.message = "it is as it is".to_owned();
        orders.others.push(others);
        status(vec![orders])
    }

    #[test]
    fn a_rebuild_is_done_when_its_generation_is_live() {
        let going = rebuilding("building", generation(4, "1.0.0", "building", 283_903));
        let Look::Going {
            share: Some(share),
            text,
        } = look(&going, "orders", &Verb::Rebuild, Some(4))
        else {
            panic!("it goes on")
        };
        assert!((share - 0.5).abs() < 1e-9);
        assert_eq!(text, "g4 following · 283,903 of 567,806 events");
        let done = status(vec![projection(
            "orders",
            "live",
            Some(generation(4, "1.0.0", "live", 567_806)),
        )]);
        let said = look(&done, "orders", &Verb::Rebuild, Some(4));
        assert_eq!(
            said,
            Look::Done("orders shows g4 (version 1.0.0) at position 567,806".to_owned())
        );
    }

    #[test]
    fn a_fault_ends_the_wait_and_a_retry_does_not() {
        let mut broken = generation(4, "1.0.0", "building", 7);
        let fault = |class: &str| FaultReport {
            class: class.to_owned(),
            message: "it trapped at position 8".to_owned(),
            position: Some(8),
            event_id: None,
            trace: String::new(),
            log: Vec::new(),
            at: 0,
            attempts: 1,
        };
        broken.fault = Some(fault("fault"));
        let said = look(
            &rebuilding("building", broken.clone()),
            "orders",
            &Verb::Rebuild,
            Some(4),
        );
        assert_eq!(
            said,
            Look::Failed("g4 failed: it trapped at position 8".to_owned())
        );
        broken.fault = Some(fault("retryable"));
        let said = look(&rebuilding("building", broken), "orders", &Verb::Rebuild, Some(4));
        assert!(matches!(said, Look::Going { .. }));
    }

    #[test]
    fn a_decision_that_is_missing_ends_the_wait() {
        let mut ready = rebuilding("waiting", generation(4, "2.0.0", "ready", 567_806));
        assert!(matches!(
            look(&ready, "orders", &Verb::Rebuild, Some(4)),
            Look::Going { .. }
        ));
        ready.projections[0].needs_decision = true;
        ready.projections[0].message = "it is breaking".to_owned();
        assert!(
            matches!(look(&ready, "orders", &Verb::Rebuild, Some(4)), Look::Done(text) if text.contains("breaking"))
        );
        let cutover = Verb::Cutover { breaking: false };
        assert!(
            matches!(look(&ready, "orders", &cutover, Some(4)), Look::Failed(text) if text.contains("breaking"))
        );
    }

    #[test]
    fn what_is_gone_ends_the_wait() {
        assert!(matches!(
            look(&status(Vec::new()), "orders", &Verb::Resume, None),
            Look::Failed(_)
        ));
        let other = rebuilding("building", generation(5, "1.0.0", "building", 7));
        assert!(
            matches!(look(&other, "orders", &Verb::Rebuild, Some(4)), Look::Failed(text) if text.contains("g4"))
        );
    }

    #[test]
    fn pause_and_resume_follow_the_projection() {
        let mut orders = projection("orders", "paused", None);
        orders.paused = Some(String::new());
        let pause = Verb::Pause {
            reason: String::new(),
        };
        let paused = status(vec![orders.clone()]);
        assert!(matches!(look(&paused, "orders", &pause, None), Look::Done(_)));
        assert!(matches!(
            look(&paused, "orders", &Verb::Resume, None),
            Look::Going { .. }
        ));
        orders.paused = None;
        assert!(matches!(
            look(&status(vec![orders]), "orders", &Verb::Resume, None),
            Look::Done(_)
        ));
    }
}
