//! Errors as problem documents.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::deploy::operator::OperateError;

/// A problem document.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) status: u16,
    /// What failed, why, and what to do.
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self {
            title,
            status: status.as_u16(),
            detail: detail.into(),
        }
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        let status = match error {
            OperateError::NotFound(_) => StatusCode::NOT_FOUND,
            OperateError::Refused(_) => StatusCode::CONFLICT,
            OperateError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).expect("invariant: two texts and a number are JSON");
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
