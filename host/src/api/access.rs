//! Who calls, and what they may do.
//!
//! A handler says what it needs by the type of its argument: [`Appender`], [`Reader`] or [`Admin`]. [`super::guard`] has
//! put the caller there, or has answered 401 already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::problem::Problem;
pub use crate::config::tokens::Role;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

/// Who calls: the token that came with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name; `admin` for the one in the data folder.
    pub name: String,
    /// What it is for.
    pub roles: BTreeSet<Role>,
    /// Stream types that it may append to and read; None: all.
    pub stream_types: Option<BTreeSet<String>>,
    /// Tables that it may read; None: all.
    pub tables: Option<BTreeSet<String>>,
}

impl Caller {
    /// Whoever has the token of the data folder.
    pub fn owner() -> Self {
        Self {
            name: "admin".to_owned(),
            roles: BTreeSet::from([Role::Admin]),
            stream_types: None,
            tables: None,
        }
    }

    /// Whether it is for this, or for everything.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.roles.contains(&Role::Admin)
    }

    /// Whether streams of this type are within its limits.
    pub fn may_use_stream_type(&self, stream_type: &str) -> bool {
        self.stream_types
            .as_ref()
            .is_none_or(|types| types.contains(stream_type))
    }

    /// Why not, where [`Self::may_use_stream_type`] says no.
    pub(super) fn refuse_stream_type(&self, stream_type: &str) -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "the token '{}' is limited to some stream types, and '{stream_type}' is none of them",
                self.name
            ),
        )
    }

    /// Whether this table is within its limits.
    pub fn may_read_table(&self, table: &str) -> bool {
        self.tables.as_ref().is_none_or(|tables| tables.contains(table))
    }
}

/// A caller that may append.
pub(super) struct Appender(pub(super) Arc<Caller>);
/// A caller that may read.
pub(super) struct Reader(pub(super) Arc<Caller>);
/// A caller that may operate the host.
pub(super) struct Admin(pub(super) Arc<Caller>);

impl<S: Sync> FromRequestParts<S> for Appender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        caller(parts, Role::Append).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        caller(parts, Role::Read).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        caller(parts, Role::Admin).map(Self)
    }
}

fn caller(parts: &Parts, role: Role) -> Result<Arc<Caller>, Problem> {
    let Some(caller) = parts.extensions.get::<Arc<Caller>>() else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this path needs a token in the header 'Authorization: Bearer TOKEN'",
        ));
    };
    if caller.has(role) {
        return Ok(caller.clone());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!(
            "the token '{}' has not the role '{}', which this needs",
            caller.name,
            role.as_str()
        ),
    ))
}
