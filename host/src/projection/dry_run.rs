//! A projector over some events in memory, with no database: for checks.

use std::sync::Arc;

use lamphouse_contract::{Key, Row, Value};

use super::rows::Rows;
use crate::core::{EventBatch, Position};
use crate::plugin::{Call, CallError, LogLine, Plugin};
use crate::tables::{StoreError, TableReader};

/// A call that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the events from position {position} failed: {}", error.message)]
pub struct DryRunFault {
    /// Of the event that failed, or of the call's first one where the plugin did not say which.
    pub position: Position,
    /// Why.
    pub error: CallError,
    /// What the plugin wrote to its log in that call.
    pub log: Vec<LogLine>,
}

/// The rows of each table, in key order, that a plugin makes of these events in calls of `batch_events`.
///
/// # Errors
/// The first call that failed.
pub fn dry_run(
    plugin: &Arc<Plugin>,
    events: &Arc<EventBatch>,
    batch_events: usize,
) -> Result<Vec<Vec<Arc<Row>>>, DryRunFault> {
    let descriptor = plugin.descriptor();
    let mut rows = Rows::new(descriptor, Box::new(Nothing), true);
    let mut from = 0;
    while from < events.len() {
        let until = (from + batch_events.max(1)).min(events.len());
        let call = Call {
            batch: events.clone(),
            range: from..until,
            deadline_factor: 1,
            stop: Arc::default(),
        };
        rows.begin(events, from..until);
        let (after, report, result) = plugin.project(&call, rows);
        rows = after;
        if let Err(error) = result {
            let index = from + error.index.map_or(0, |index| index as usize);
            return Err(DryRunFault {
                position: events.position(index.min(until - 1)),
                error,
                log: report.log,
            });
        }
        rows.keep_batch();
        from = until;
    }
    let mut tables: Vec<Vec<Arc<Row>>> = descriptor.tables.iter().map(|_| Vec::new()).collect();
    for flush in rows.take_flush() {
        // There was nothing before, so every row is new.
        tables[flush.table] = flush.inserts;
    }
    Ok(tables)
}

/// A database with nothing in it.
pub(super) struct Nothing;

impl TableReader for Nothing {
    fn get_many(&mut self, _table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        Ok(keys.iter().map(|_| None).collect())
    }

    fn find(
        &mut self,
        _table: usize,
        _index: usize,
        _prefix: &[Value],
        _after: Option<&Key>,
        _limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }

    fn scan(&mut self, _table: usize, _after: Option<&Key>, _limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
}
