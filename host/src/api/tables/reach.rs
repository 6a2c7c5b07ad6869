//! `min_position`: the wait of one request, and what it is told when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::level::{Levels, Waited};
use super::{no_table, wrong_request};
use crate::api::access::Caller;
use crate::api::body::blocking;
use crate::api::problem::Problem;
use crate::api::server::Shared;
use crate::core::{PluginName, Position};
use crate::tables::select::ShownTable;
use crate::tables::{GenerationRecord, GenerationState, StoreError};

/// How long nobody asks whether a position can come at all: nearly every wait is over before.
const DOUBT_AFTER: Duration = Duration::from_millis(100);

/// Waits until the table reflects the position, or says why it does not.
pub(super) async fn wait(
    shared: &Shared,
    levels: &Arc<Levels>,
    caller: &Caller,
    table: &str,
    least: Position,
    until: Instant,
) -> Result<(), Problem> {
    if levels.is_level(table, least) {
        return Ok(());
    }
    let soon = until.min(Instant::now() + DOUBT_AFTER);
    let mut waited = levels.wait(table, least, soon, false).await;
    if matches!(waited, Waited::Late | Waited::Absent) {
        let log = shared.log.clone();
        let head = blocking(move || log.head()).await?.position;
        if least > head {
            return Err(wrong_request(format!(
                "min_position is {least}, and the log ends at {head}: give the position that an append has answered"
            )));
        }
        if let Found::Nothing(tables) = look(shared, table).await? {
            return Err(no_table(caller, table, tables.iter().map(String::as_str)));
        }
        waited = levels.wait(table, least, until, true).await;
    }
    if waited == Waited::Level {
        return Ok(());
    }
    if waited == Waited::Crowded {
        let detail = "too many requests wait for a position at the moment; try again";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let (projection, reached, position) = match look(shared, table).await? {
        Found::Public(shown) if shown.position >= least => return Ok(()),
        Found::Public(shown) => {
            let reached = format!("table '{table}' reflects position {}", shown.position);
            (shown.projection, reached, shown.position)
        }
        Found::Coming(projection) => {
            let reached = format!("table '{table}' is being built and not public yet");
            (projection, reached, Position::START)
        }
        Found::Nothing(tables) => return Err(no_table(caller, table, tables.iter().map(String::as_str))),
    };
    let operator = shared.operator.clone();
    let status = tokio::task::spawn_blocking(move || operator.status()).await;
    let state = match status {
        Ok(Ok(status)) => {
            let mut all = status.projections.into_iter();
            let found = all.find(|status| status.name == projection.as_str());
            found.map_or_else(|| "unknown".to_owned(), |status| status.state)
        }
        _ => "unknown".to_owned(),
    };
    let detail = format!(
        "{reached}, and min_position is {least}: projection '{projection}' is {state}; try again, or see \
         `lamphouse projection show {projection}`"
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .with("position", position.0)
        .with("min_position", least.0)
        .with("projection", projection.as_str())
        .with("state", state))
}

/// What there is of a name.
enum Found {
    /// It is public.
    Public(ShownTable),
    /// A generation of this projection that is being built has it.
    Coming(PluginName),
    /// Nothing. The names that are public.
    Nothing(Vec<String>),
}

async fn look(shared: &Shared, table: &str) -> Result<Found, Problem> {
    let (store, table) = (shared.store.clone(), table.to_owned());
    let find = move || -> Result<Found, StoreError> {
        let tables = store.shown_tables()?;
        if let Some(shown) = tables.iter().find(|shown| shown.name == table) {
            return Ok(Found::Public(shown.clone()));
        }
        let is_coming = |generation: &&GenerationRecord| {
            matches!(
                generation.state,
                GenerationState::Building | GenerationState::Ready
            ) && generation
                .descriptor
                .tables
                .iter()
                .any(|declared| declared.name == table)
        };
        let generations = store.generations()?;
        Ok(match generations.iter().find(is_coming) {
            Some(generation) => Found::Coming(generation.projection.clone()),
            None => Found::Nothing(tables.into_iter().map(|shown| shown.name).collect()),
        })
    };
    blocking(find).await
}
