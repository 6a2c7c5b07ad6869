//! A projector over some events in memory, with no database: for checks, and for the state of a stream at a time.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lamphouse_contract::{Key, Row, Value};

use super::rows::Rows;
use crate::core::{Class, EventBatch, EventId, Position};
use crate::plugin::{Call, CallError, LogLine, Plugin};
use crate::tables::{StoreError, TableReader};

/// A call that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the events from position {position} failed: {}", error.message)]
pub struct DryRunFault {
    /// Of the event that failed, or of the call's first one where the plugin did not say which.
    pub position: Position,
    /// Id of that event.
    pub event_id: EventId,
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
    let mut scratch = Scratch::new(plugin, Arc::default());
    scratch.apply(events, batch_events, &mut |_| true)?;
    Ok(scratch.into_rows())
}

/// Tables in memory that one plugin fills from empty, a batch of events after the other.
pub struct Scratch {
    plugin: Arc<Plugin>,
    /// None only while a call has them.
    rows: Option<Rows>,
    stop: Arc<AtomicBool>,
}

impl Scratch {
    /// Empty tables. Once `stop` is set, a call under way ends soon, with [`crate::core::Class::Retryable`].
    pub fn new(plugin: &Arc<Plugin>, stop: Arc<AtomicBool>) -> Self {
        Self {
            plugin: plugin.clone(),
            rows: Some(Rows::new(plugin.descriptor(), Box::new(Nothing), true)),
            stop,
        }
    }

    /// Applies events in calls of `batch_events`. Before each call, `goes_on` is asked with the bytes of all rows; at its
    /// no, this ends early.
    ///
    /// # Errors
    /// The first call that failed; what it changed is undone, and what those before it did stays.
    pub fn apply(
        &mut self,
        events: &Arc<EventBatch>,
        batch_events: usize,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), DryRunFault> {
        self.apply_from(0, events, batch_events, goes_on)
            .map_err(|(_, fault)| fault)
    }

    /// As [`Self::apply`], but where a call with several events fails and does not say at which, they are applied one by
    /// one, so that the fault is that of one event.
    ///
    /// # Errors
    /// The first event that failed.
    pub fn apply_to_the_fault(
        &mut self,
        events: &Arc<EventBatch>,
        batch_events: usize,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), DryRunFault> {
        match self.apply_from(0, events, batch_events, goes_on) {
            Err((from, fault)) if fault.error.class == Class::Fault && fault.error.index.is_none() => self
                .apply_from(from, events, 1, goes_on)
                .map_err(|(_, fault)| fault),
            result => result.map_err(|(_, fault)| fault),
        }
    }

    /// The error says where the call that failed begins.
    fn apply_from(
        &mut self,
        mut from: usize,
        events: &Arc<EventBatch>,
        batch_events: usize,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), (usize, DryRunFault)> {
        while from < events.len() && goes_on(self.rows().bytes()) {
            let until = from.saturating_add(batch_events.max(1)).min(events.len());
            self.call(events, from..until).map_err(|fault| (from, fault))?;
            from = until;
        }
        Ok(())
    }

    /// Bytes of all rows.
    pub fn bytes(&mut self) -> usize {
        self.rows().bytes()
    }

    /// The rows of each table, in key order.
    pub fn into_rows(mut self) -> Vec<Vec<Arc<Row>>> {
        let count = self.plugin.descriptor().tables.len();
        let mut tables: Vec<Vec<Arc<Row>>> = (0..count).map(|_| Vec::new()).collect();
        for flush in self.rows().take_flush() {
            // There was nothing before, so every row is new.
            tables[flush.table] = flush.inserts;
        }
        tables
    }

    fn call(&mut self, events: &Arc<EventBatch>, range: Range<usize>) -> Result<(), DryRunFault> {
        let call = Call {
            batch: events.clone(),
            range: range.clone(),
            deadline_factor: 1,
            stop: self.stop.clone(),
        };
        let mut rows = self.rows.take().expect("invariant: no call is under way");
        rows.begin(events, range.clone());
        let (rows, report, result) = self.plugin.project(&call, rows);
        let rows = self.rows.insert(rows);
        let Err(error) = result else {
            rows.keep_batch();
            return Ok(());
        };
        rows.undo_batch();
        let index = range.start + error.index.map_or(0, |index| index as usize);
        let index = index.min(range.end - 1);
        Err(DryRunFault {
            position: events.position(index),
            event_id: events.id(index),
            error,
            log: report.log,
        })
    }

    fn rows(&mut self) -> &mut Rows {
        self.rows.as_mut().expect("invariant: no call is under way")
    }
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
