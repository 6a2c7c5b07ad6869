//! What admins do over HTTP is put on record; see [`crate::deploy::audit`].

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;

use super::access::Caller;
use super::body::blocking;
use super::problem::Problem;
use super::server::Shared;
use crate::core::limits::AppendLimits;
use crate::deploy::audit::{Action, Record, Unrecorded};

/// The header in which an admin says why; percent-encoded UTF-8 where it is not ASCII.
pub(super) const REASON: &str = "lamphouse-reason";

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
    let reason = reason_given(headers, limits)?;
    let record = Record::new(caller.name.clone(), reason, action, limits);
    let log = shared.log.clone();
    blocking(move || {
        record.around(
            &*log,
            said,
            |problem: &Problem| problem.detail.clone(),
            || act().map_err(Into::into),
        )
    })
    .await
}

impl From<Unrecorded> for Problem {
    fn from(error: Unrecorded) -> Self {
        let detail = error.to_string();
        Self {
            detail,
            ..error.0.into()
        }
    }
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
}
