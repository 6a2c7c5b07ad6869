//! Which rows an event is about: its generation's own code is run on it once more, in memory, over the rows of now.

use std::sync::Arc;
use std::time::Instant;

use lamphouse_contract::{Descriptor, Key, TableSchema, semantics};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::Explainer;
use crate::deploy::host::HostError;
use crate::deploy::rehearse::projector;
use crate::projection::Replay;
use crate::tables::{GenerationRecord, TableFlush, answer};

/// Rows that are named; of more, the number is said.
const ROWS_NAMED_MAX: usize = 100;

/// The rows that an applied event changes when its generation's code applies it to the rows of now. Other events may
/// have changed what it did: these need not be the ones that it changed then.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Rows {
    /// The first hundred, by table and key.
    pub rows: Vec<NamedRow>,
    /// How many there are.
    pub total: u64,
    /// Why they are not known: applied once more, the event fails, or its code does not run here any more.
    pub unknown: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedRow {
    /// The public name of its table.
    pub table: String,
    /// Its key: key columns to values, as `query` gives them.
    #[schema(value_type = Object)]
    pub key: Map<String, Json>,
    /// Whether it is there now; a later event may have removed it.
    pub exists: bool,
}

impl Explainer<'_> {
    /// The rows of an event that a generation has applied.
    pub(super) fn rows(&self, generation: &GenerationRecord) -> Rows {
        match self.run_once_more(generation) {
            Ok(rows) => rows,
            Err(error) => Rows {
                unknown: Some(error.to_string()),
                ..Rows::default()
            },
        }
    }

    fn run_once_more(&self, generation: &GenerationRecord) -> Result<Rows, HostError> {
        let plugin = projector(&self.sandbox()?, &**self.store, generation)?;
        let replay = Replay {
            log: self.log.clone(),
            store: self.store.clone(),
            generation: generation.clone(),
            plugin,
            upcasters: Some(self.upcasters(generation)?),
            stream_id: None,
            reorders: false,
            until: Instant::now(),
        };
        let changed = match replay.try_one(self.event)? {
            Ok(changed) => changed,
            Err(stop) => {
                return Ok(Rows {
                    unknown: Some(format!(
                        "applied once more to the rows of now, it fails: {}",
                        stop.message
                    )),
                    ..Rows::default()
                });
            }
        };
        let mut reader = self.store.reader(generation)?;
        let mut rows = Rows::default();
        for flush in changed {
            let Some(schema) = generation.descriptor.tables.get(flush.table) else {
                continue;
            };
            let mut keys = keys(&generation.descriptor, &flush);
            rows.total += keys.len() as u64;
            keys.truncate(ROWS_NAMED_MAX - rows.rows.len());
            let stored = reader.get_many(flush.table, &keys)?;
            let named = keys.iter().zip(stored).map(|(key, row)| NamedRow {
                table: schema.name.clone(),
                key: shown(schema, key),
                exists: row.is_some(),
            });
            rows.rows.extend(named);
        }
        Ok(rows)
    }
}

/// The keys of all rows of a flush, in key order.
fn keys(descriptor: &Arc<Descriptor>, flush: &TableFlush) -> Vec<Key> {
    let schema = &descriptor.tables[flush.table];
    let written = flush.inserts.iter().chain(&flush.upserts);
    let mut keys: Vec<Key> = written.map(|row| semantics::key_of(schema, row)).collect();
    keys.extend(flush.removes.iter().cloned());
    keys.sort_by_cached_key(|key| {
        let mut ordered = Vec::new();
        semantics::ordered_key(key, &mut ordered);
        ordered
    });
    keys
}

fn shown(schema: &TableSchema, key: &Key) -> Map<String, Json> {
    let columns = schema
        .primary_key
        .iter()
        .filter_map(|&column| schema.columns.get(column as usize));
    columns
        .zip(key)
        .map(|(column, value)| (column.name.clone(), answer::cell(value)))
        .collect()
}
