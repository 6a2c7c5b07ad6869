//! What admins do, on record: who asked for what, on what, why, and what came of it.
//!
//! Every admin action goes through [`Record::around`]: over HTTP by way of the API's own `audit`, and from a command where
//! no host runs. Two events of reserved types are in the stream `lamphouse.audit`: `lamphouse.AdminActionRequested` before
//! the action, and after it the action's own type (`lamphouse.PluginUploaded`) or `lamphouse.AdminActionFailed`. Both have
//! the same data (`by`, `action`, `on`, `details`), the second also `outcome` and `message`, and the first one's id as
//! `metadata.causation_id`. `metadata.reason` is why, `metadata.user_id` who.
//!
//! *Invariant:* what cannot be put on record is not done: without the first event nothing happens. An action whose
//! second event is missing has an open outcome: the host died in it, or the log was away when it was over, which the
//! host's own log then tells.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::operator::{OperateError, Verb};
use super::uploads::Received;
use crate::core::limits::AppendLimits;
use crate::core::{EventId, NewEvent, PluginName};
use crate::log::{AppendRequest, EventLog, ExpectedVersion, LogError, StreamAppend};
use crate::telemetry::Event;
use crate::telemetry::events::AuditIncomplete;

/// The stream of what admins did, and its type.
const STREAM: &str = "lamphouse.audit";
/// An admin asked for something.
const REQUESTED: &str = "lamphouse.AdminActionRequested";
/// It was not done; the data say why.
const FAILED: &str = "lamphouse.AdminActionFailed";

/// Something that an admin asks for.
pub struct Action {
    /// Type of the event when it is done, in the past tense: `lamphouse.ProjectionOperated`.
    pub done: &'static str,
    /// What, as a person would type it: `cutover --breaking`.
    pub action: String,
    /// On what: `{"projection": "orders"}`.
    pub on: Value,
    /// What else was asked for: the request's body, a file's digest. No secrets, and no whole files.
    pub details: Value,
    /// Why, where the request itself says it and the header does not.
    pub reason: Option<String>,
}

impl Action {
    /// What a projection is asked to do.
    pub fn operate(projection: &str, verb: &Verb) -> Self {
        let reason = match verb {
            Verb::Pause { reason } | Verb::DiscardDeadLetters { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        Self {
            done: match verb {
                Verb::RetryDeadLetters { .. } => "lamphouse.DeadLettersRetried",
                Verb::DiscardDeadLetters { .. } => "lamphouse.DeadLettersDiscarded",
                _ => "lamphouse.ProjectionOperated",
            },
            action: verb.to_string(),
            on: json!({ "projection": projection }),
            details: serde_json::to_value(verb).unwrap_or_default(),
            reason,
        }
    }

    /// An upload is to be put into the plugin folder.
    pub fn install(name: &PluginName, received: &Received) -> Self {
        Self {
            done: "lamphouse.PluginUploaded",
            action: "plugin push".to_owned(),
            on: json!({ "plugin": name.as_str() }),
            details: json!({ "digest": received.digest(), "bytes": received.len() }),
            reason: None,
        }
    }

    /// A file of the plugin folder is to be removed. The name may be anything.
    pub fn remove_plugin(name: &str) -> Self {
        let shortened: String = name.chars().filter(|sign| *sign != '\0').take(100).collect();
        Self {
            done: "lamphouse.PluginRemoved",
            action: "plugin remove".to_owned(),
            on: json!({ "plugin": shortened }),
            details: json!({}),
            reason: None,
        }
    }
}

/// The log did not take the first event, so nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("nothing was done, because it cannot be put on record in the event log: {0}")]
pub struct Unrecorded(pub LogError);

impl From<Unrecorded> for OperateError {
    fn from(error: Unrecorded) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What both events say.
pub struct Record {
    by: String,
    reason: String,
    action: Action,
}

impl Record {
    /// Of what `by` asks for. Without a reason that the log would take there is a sentence that says so.
    pub fn new(by: String, reason: Option<String>, action: Action, limits: &AppendLimits) -> Self {
        let reason = reason.unwrap_or_else(|| reason_otherwise(action.reason.as_deref(), &by, limits));
        Self { by, reason, action }
    }

    /// Does it, with both events around it. `said` makes one sentence of what came of it, `why` of why it failed.
    ///
    /// # Errors
    /// The log cannot take the first event (then nothing is done), or what `act` fails with.
    pub fn around<T, E: From<Unrecorded>>(
        &self,
        log: &dyn EventLog,
        said: impl FnOnce(&T) -> String,
        why: impl FnOnce(&E) -> String,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let requested = self
            .append(log, REQUESTED, None, Map::new())
            .map_err(Unrecorded)?;
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(answer) => {
                let message = match &answer {
                    Ok(value) => said(value),
                    Err(error) => why(error),
                };
                self.over(log, requested, answer.is_ok(), &message);
                answer
            }
            Err(panic) => {
                self.over(
                    log,
                    requested,
                    false,
                    "the host failed on it, which is a bug of ours",
                );
                resume_unwind(panic)
            }
        }
    }

    /// The second event. The action is over, so its answer stays whatever becomes of this.
    fn over(&self, log: &dyn EventLog, requested: EventId, done: bool, message: &str) {
        let more = Map::from_iter([
            ("outcome".to_owned(), if done { "done" } else { "failed" }.into()),
            ("message".to_owned(), message.into()),
        ]);
        let event_type = if done { self.action.done } else { FAILED };
        if let Err(error) = self.append(log, event_type, Some(requested), more) {
            AuditIncomplete {
                by: &self.by,
                action: &self.action.action,
                outcome: message,
                error: &error.to_string(),
            }
            .emit();
        }
    }

    fn append(
        &self,
        log: &dyn EventLog,
        event_type: &str,
        cause: Option<EventId>,
        more: Map<String, Value>,
    ) -> Result<EventId, LogError> {
        let id = EventId(uuid::Uuid::now_v7());
        let mut data = Map::from_iter([
            ("by".to_owned(), Value::from(self.by.as_str())),
            ("action".to_owned(), self.action.action.as_str().into()),
            ("on".to_owned(), self.action.on.clone()),
            ("details".to_owned(), self.action.details.clone()),
        ]);
        data.extend(more);
        let mut metadata = Map::from_iter([
            ("reason".to_owned(), Value::from(self.reason.as_str())),
            ("user_id".to_owned(), self.by.as_str().into()),
        ]);
        if let Some(cause) = cause {
            metadata.insert("causation_id".to_owned(), cause.to_string().into());
        }
        let event = NewEvent {
            id: Some(id),
            event_type: event_type.to_owned(),
            schema_version: 1,
            data: raw(data)?,
            metadata: raw(metadata)?,
            occurred_at: None,
        };
        log.append_own(AppendRequest {
            streams: vec![StreamAppend {
                stream_id: STREAM.to_owned(),
                stream_type: STREAM.to_owned(),
                expected_version: ExpectedVersion::Any,
                events: vec![event],
            }],
            idempotency: None,
        })?;
        Ok(id)
    }
}

fn raw(object: Map<String, Value>) -> Result<Box<RawValue>, LogError> {
    serde_json::value::to_raw_value(&object).map_err(|error| LogError::Internal(error.to_string()))
}

/// Why, where the header does not say it: what the request says if that is a reason, else a sentence that is one.
fn reason_otherwise(said: Option<&str>, by: &str, limits: &AppendLimits) -> String {
    let (min, max) = (limits.reason_chars_min, limits.reason_chars_max);
    if let Some(said) = said
        && (min..=max).contains(&(said.chars().count() as u64))
    {
        return said.to_owned();
    }
    let mut reason = match said.filter(|said| !said.is_empty()) {
        Some(said) => format!("'{by}' asked for it: {said}"),
        None => format!("'{by}' asked for it and gave no reason"),
    };
    while (reason.chars().count() as u64) < min {
        reason.push_str(" (no more was said)");
    }
    reason
        .chars()
        .take(usize::try_from(max).unwrap_or(usize::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_reason_there_is_one_within_the_limits() {
        let limits = |reason_chars_min, reason_chars_max| AppendLimits {
            reason_chars_min,
            reason_chars_max,
            ..AppendLimits::default()
        };
        assert_eq!(
            reason_otherwise(None, "ops", &limits(10, 500)),
            "'ops' asked for it and gave no reason"
        );
        assert_eq!(
            reason_otherwise(Some("a look at the rows"), "ops", &limits(10, 500)),
            "a look at the rows"
        );
        assert_eq!(
            reason_otherwise(Some("a look"), "ops", &limits(10, 500)),
            "'ops' asked for it: a look"
        );
        for (min, max) in [(1, 5), (200, 210), (40, 40)] {
            let chars = reason_otherwise(None, "ops", &limits(min, max)).chars().count() as u64;
            assert!((min..=max).contains(&chars), "{chars} for {min} to {max}");
        }
    }
}
