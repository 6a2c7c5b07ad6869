//! What admins do, on record: who asked for what, on what, why, and what came of it.
//!
//! Every admin action goes through [`audited`]. Two events of reserved types are in the stream [`STREAM`]:
//! `lamphouse.AdminActionRequested` before the action, and after it the action's own type (`lamphouse.PluginUploaded`) or
//! `lamphouse.AdminActionFailed`. Both have the same data (`by`, `action`, `on`, `details`), the second also `outcome`
//! and `message`, and the first one's id as `metadata.causation_id`. `metadata.reason` is why, `metadata.user_id` who.
//!
//! *Invariant:* what cannot be put on record is not done: without the first event nothing happens. An action whose
//! second event is missing has an open outcome: the host died in it, or the log was away when it was over, which the
//! host's own log then tells.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::access::Caller;
use super::body::blocking;
use super::problem::Problem;
use super::server::Shared;
use crate::core::limits::AppendLimits;
use crate::core::{EventId, NewEvent};
use crate::log::{AppendRequest, EventLog, ExpectedVersion, LogError, StreamAppend};
use crate::telemetry::Event;
use crate::telemetry::events::AuditIncomplete;

/// The stream of what admins did, and its type.
const STREAM: &str = "lamphouse.audit";
/// An admin asked for something.
const REQUESTED: &str = "lamphouse.AdminActionRequested";
/// It was not done; the data say why.
const FAILED: &str = "lamphouse.AdminActionFailed";
/// The header in which an admin says why; percent-encoded UTF-8 where it is not ASCII.
pub(super) const REASON: &str = "lamphouse-reason";

/// Something that an admin asks for.
pub(super) struct Action {
    /// Type of the event when it is done, in the past tense: `lamphouse.ProjectionOperated`.
    pub(super) done: &'static str,
    /// What, as a person would type it: `cutover --breaking`.
    pub(super) action: String,
    /// On what: `{"projection": "orders"}`.
    pub(super) on: Value,
    /// What else was asked for: the request's body, a file's digest. No secrets, and no whole files.
    pub(super) details: Value,
    /// Why, where the request itself says it and the header does not.
    pub(super) reason: Option<String>,
}

/// Does what an admin asked for, with both events around it.
///
/// `act` runs on a thread that may block, and ends also when the client goes away; `said` makes one sentence of what
/// came of it. Long work is started in `act`, whose answer then says that it was started.
///
/// # Errors
/// 400 when the reason is no reason, 503 when the log cannot take the first event (then nothing is done), and what `act`
/// fails with.
pub(super) async fn audited<T, E>(
    shared: &Shared,
    caller: &Arc<Caller>,
    headers: &HeaderMap,
    action: Action,
    said: impl FnOnce(&T) -> String + Send + 'static,
    act: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    let limits = shared.log.limits();
    let by = caller.name.clone();
    let reason = match reason_given(headers, limits)? {
        Some(reason) => reason,
        None => reason_otherwise(action.reason.as_deref(), &by, limits),
    };
    let record = Record { by, reason, action };
    let log = shared.log.clone();
    blocking(move || {
        let requested = record.requested(&*log).map_err(|error| {
            let mut problem = Problem::from(error);
            problem.detail = format!(
                "nothing was done, because it cannot be put on record in the event log: {}",
                problem.detail
            );
            problem
        })?;
        let acted = catch_unwind(AssertUnwindSafe(act));
        let (done, message) = match &acted {
            Ok(Ok(value)) => (true, said(value)),
            Ok(Err(_)) => (false, String::new()),
            Err(_) => (false, "the host failed on it, which is a bug of ours".to_owned()),
        };
        let answer = match acted {
            Ok(answer) => answer.map_err(Into::into),
            Err(panic) => {
                record.over(&*log, requested, false, &message);
                resume_unwind(panic)
            }
        };
        let message = match &answer {
            Ok(_) => message,
            Err(problem) => problem.detail.clone(),
        };
        record.over(&*log, requested, done, &message);
        answer
    })
    .await
}

/// What both events say.
struct Record {
    by: String,
    reason: String,
    action: Action,
}

impl Record {
    fn requested(&self, log: &dyn EventLog) -> Result<EventId, LogError> {
        self.append(log, REQUESTED, None, Map::new())
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

/// The reason of the header, held against what a reason of this log may be.
pub(super) fn reason_given(headers: &HeaderMap, limits: &AppendLimits) -> Result<Option<String>, Problem> {
    let Some(given) = headers.get(REASON) else {
        return Ok(None);
    };
    let wrong = |why: String| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the header Lamphouse-Reason {why}"),
        )
    };
    let reason = String::from_utf8(percent_decode(given.as_bytes()).collect())
        .map_err(|_| wrong("is not UTF-8; percent-encode what is not ASCII".to_owned()))?;
    let (min, max) = (limits.reason_chars_min, limits.reason_chars_max);
    let chars = reason.chars().count() as u64;
    if chars < min || chars > max {
        return Err(wrong(format!(
            "has {chars} characters; say why in {min} to {max} ([append] reason_chars_min, reason_chars_max)"
        )));
    }
    if reason.chars().any(char::is_control) {
        return Err(wrong("holds control characters".to_owned()));
    }
    Ok(Some(reason))
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

/// What a projection was asked to do.
pub(super) fn operate(projection: &str, verb: &crate::deploy::operator::Verb) -> Action {
    use crate::deploy::operator::Verb;
    let reason = match verb {
        Verb::Pause { reason } | Verb::DiscardDeadLetters { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    Action {
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn given(value: &[u8]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(REASON, HeaderValue::from_bytes(value).expect("a header"));
        reason_given(&headers, &AppendLimits::default()).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_reason_may_be_in_any_language() {
        for (value, reason) in [
            (&b"the ledger differs"[..], "the ledger differs"),
            (b"Gr%C3%BC%C3%9Fe aus K%c3%b6ln", "Grüße aus Köln"),
            ("Grüße aus Köln".as_bytes(), "Grüße aus Köln"),
            (b"it is 100% sure, %zz", "it is 100% sure, %zz"),
            (b"it is %31%30%25 less", "it is 10% less"),
        ] {
            assert_eq!(given(value), Ok(Some(reason.to_owned())));
        }
        assert_eq!(
            reason_given(&HeaderMap::new(), &AppendLimits::default()).ok(),
            Some(None)
        );
    }

    #[test]
    fn what_is_no_reason_is_refused() {
        assert!(given(b"short").unwrap_err().contains("10 to 500"));
        assert!(given(&[b'x'; 501]).unwrap_err().contains("501 characters"));
        assert!(given(b"a broken %ff text").unwrap_err().contains("UTF-8"));
        assert!(given(b"two lines%0Aof text").unwrap_err().contains("control"));
    }

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
