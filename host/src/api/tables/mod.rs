//! `GET /v1/tables` and `GET /v1/tables/{table}`: the read tables, with PostgREST's conventions.
//!
//! *Invariants:* what the caller writes becomes names that are looked up and values that are bound, never SQL
//! ([`crate::tables::select`]). One answer is of one snapshot, and says of which: generation, position, what is parked.
//! A table beyond the token's limits is refused with 403, whether it is there or not.

mod answer;
mod ask;
mod grammar;
mod level;
pub(super) mod list;
mod reach;
pub(super) mod read;
mod window;
mod wishes;

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use self::level::Levels;
use super::access::Caller;
use super::problem::Problem;
use crate::core::bell::Bell;
use crate::tables::TableStore;
use crate::tables::select::SelectError;

/// Reads at once; others wait their turn. Raise it for many slow reads on many cores: each holds a thread and a
/// connection.
const READS_MAX: usize = 32;
/// Bytes of the list of tables in a message.
const LIST_BYTES_MAX: usize = 1_000;

/// What the reads of tables share.
pub(super) struct Reads {
    levels: Arc<Levels>,
    turns: Arc<Semaphore>,
}

impl Reads {
    pub(super) fn new(store: Arc<dyn TableStore>, written: Bell) -> Arc<Self> {
        Arc::new(Self {
            levels: Levels::new(store, written),
            turns: Arc::new(Semaphore::new(READS_MAX)),
        })
    }
}

fn wrong_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn no_table<'a>(caller: &Caller, table: &str, tables: impl Iterator<Item = &'a str>) -> Problem {
    let mut list = String::new();
    for name in tables.filter(|name| caller.may_read_table(name)) {
        if list.len() + name.len() > LIST_BYTES_MAX {
            list.push_str(", …");
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(name);
    }
    let there = match list.as_str() {
        "" => "there is none yet".to_owned(),
        list => format!("there are: {list}"),
    };
    let detail = format!("there is no public table '{}'; {there}", grammar::shown(table));
    Problem::new(StatusCode::NOT_FOUND, detail)
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Self {
        let detail = error.to_string();
        match error {
            SelectError::NoTable(_) => Self::new(StatusCode::NOT_FOUND, detail),
            SelectError::Wrong(_) => wrong_request(detail),
            SelectError::Late(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            SelectError::Store(error) => error.into(),
        }
    }
}
