//! Errors as problem documents.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::core::Class;
use crate::deploy::operator::OperateError;
use crate::deploy::{HostError, StateError};
use crate::log::LogError;
use crate::schemas::Violations;
use crate::tables::StoreError;

/// What went wrong, as RFC 9457 has it.
#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// The status in words.
    pub(super) title: String,
    /// The status again.
    pub(super) status: u16,
    /// What failed, why, and what to do.
    pub(super) detail: String,
    /// More of it for programs: of a conflict `stream_id`, `expected` and `actual`.
    #[serde(flatten)]
    pub(super) more: Box<Map<String, Value>>,
    /// Seconds after which it may be tried again; goes into the header `Retry-After`.
    #[serde(skip)]
    pub(super) retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self {
            title,
            status: status.as_u16(),
            detail: detail.into(),
            more: Box::default(),
            retry_after: None,
        }
    }

    /// May be tried again after so many seconds.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same, with one more member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        let status = match error {
            OperateError::NotFound(_) => StatusCode::NOT_FOUND,
            OperateError::Refused(_) => StatusCode::CONFLICT,
            OperateError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OperateError::Changed(_) => StatusCode::PRECONDITION_FAILED,
            OperateError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        let detail = error.to_string();
        match error {
            LogError::Conflict {
                stream_id,
                expected,
                actual,
            } => Self::new(StatusCode::CONFLICT, detail)
                .with("stream_id", stream_id)
                .with("expected", expected)
                .with("actual", actual.0),
            LogError::KeyReused { key } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("idempotency_key", key)
            }
            LogError::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, detail),
            LogError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            LogError::Internal(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        }
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let detail = error.to_string();
        match error {
            HostError::Log(error) => error.into(),
            HostError::Tables(error) => StateError::Tables(error).into(),
            _ => Self::new(StatusCode::CONFLICT, detail),
        }
    }
}

impl From<Violations> for Problem {
    fn from(violations: Violations) -> Self {
        let detail = violations.to_string();
        match violations {
            Violations::Unusable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            Violations::Found {
                listed,
                total,
                events,
            } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                .with("violations", serde_json::to_value(&listed).unwrap_or_default())
                .with("total", total)
                .with("events", events),
        }
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        let detail = error.to_string();
        match error {
            StateError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, detail),
            StateError::BadPoint(_) => Self::new(StatusCode::BAD_REQUEST, detail),
            StateError::Refused(_) => Self::new(StatusCode::CONFLICT, detail),
            StateError::TooLarge(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            StateError::Fault(fault) => {
                let log = serde_json::to_value(&fault.log).unwrap_or_default();
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                    .with("position", fault.position.0)
                    .with("event_id", fault.event_id.map(|id| id.to_string()))
                    .with("trace", fault.trace)
                    .with("log", log)
            }
            StateError::Busy(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            StateError::Log(error) => error.into(),
            StateError::Tables(error) if error.class() == Class::Retryable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
            StateError::Tables(_) | StateError::Bug(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Unavailable(_)
            | StoreError::CheckpointMoved { .. }
            | StoreError::LettersMoved { .. } => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::SwitchRefused(_) => StatusCode::CONFLICT,
            StoreError::Invalid(_) => StatusCode::BAD_REQUEST,
            StoreError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// Seconds after which a request that came at a bad time is worth another try.
const RETRY_AFTER_S: u32 = 1;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Who tells of the problem tells by this which request it was.
        let named = match super::metrics::REQUEST_ID.try_with(|id| id.to_string()) {
            Ok(id) => self.with("request_id", id),
            Err(_) => self,
        };
        let soon = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S);
        let retry_after = named.retry_after.or(soon);
        let body = serde_json::to_string(&named).expect("invariant: texts and numbers are JSON");
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
