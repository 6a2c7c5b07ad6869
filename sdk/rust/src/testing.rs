//! Tests of a plugin on the developer's machine: given events, then rows; given an event, then today's events
//! ([`UpcasterHarness`]). No Wasm, no database, no host.
//!
//! The harness keeps the tables in memory, with the same code that the host applies changes with.
//!
//! ```
//! # use lamphouse_sdk::prelude::*;
//! # #[derive(Row, Debug, PartialEq)]
//! # #[row(table = "counters")]
//! # struct Counter { #[row(key)] name: String, #[row(initial = 0)] count: i64 }
//! # struct Clicks;
//! # impl Projector for Clicks {
//! #     fn describe() -> Plugin { Plugin::new("clicks", "1.0.0").on("Clicked").table::<Counter>() }
//! #     fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
//! #         tables.upsert(event.stream_id, [Counter::COUNT.add(1)])
//! #     }
//! # }
//! use lamphouse_sdk::testing::Harness;
//! use serde_json::json;
//!
//! let mut harness = Harness::<Clicks>::new();
//! harness.given("button-1", "Clicked", json!({}));
//! harness.given("button-1", "Clicked", json!({}));
//! assert_eq!(harness.row("button-1"), Some(Counter { name: "button-1".into(), count: 2 }));
//! harness.assert_same_at_any_batch_size();
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use lamphouse_contract::{
    Change, Descriptor, Key, Row as Values, TableSchema, Value, fields, packed, semantics,
};

use crate::host::Host;
use crate::log::Level;
use crate::row::{IntoKey, IntoPrefix};
use crate::run::{Failure, Projector, run};
pub use crate::upcaster_testing::{Lifted, TodayEvent, UpcasterHarness};
use crate::{Error, Index, Plugin, Result, Row, Timestamp};

/// Events of one call, unless [`Harness::batch_size`] says otherwise: as many as the host gives.
const BATCH_EVENTS: usize = 1_000;

thread_local! {
    /// What the projector under test wrote to its log.
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn write_log(level: Level, message: String) {
    LOG.with_borrow_mut(|log| log.push((level, message)));
}

/// An event to give to a [`Harness`].
#[derive(Clone, Debug)]
pub struct TestEvent {
    /// The stream.
    pub stream_id: String,
    /// Its type: by default what stands before the first `-` of the stream's id.
    pub stream_type: String,
    /// The event's type.
    pub event_type: String,
    /// Version of the event type's schema; 1.
    pub schema_version: u32,
    /// JSON text.
    pub data: String,
    /// JSON text of an object; by default only a reason.
    pub metadata: String,
    /// By default one second after the event before, from 2024-01-01T00:00:00Z on.
    pub occurred_at: Option<Timestamp>,
}

impl TestEvent {
    /// An event with data that serde writes: `serde_json::json!({…})` or a struct.
    pub fn new(stream_id: &str, event_type: &str, data: impl serde::Serialize) -> Self {
        Self {
            stream_id: stream_id.into(),
            stream_type: stream_id.split('-').next().unwrap_or_default().into(),
            event_type: event_type.into(),
            schema_version: 1,
            data: serde_json::to_string(&data).expect("the data of a test's event can be written as JSON"),
            metadata: r#"{"reason":"given by a test"}"#.into(),
            occurred_at: None,
        }
    }

    /// When it happened: `2011-08-12T13:50:00Z`.
    #[must_use]
    pub fn at(mut self, occurred_at: &str) -> Self {
        self.occurred_at =
            Some(Timestamp::parse(occurred_at).expect("the time of a test's event is RFC 3339"));
        self
    }

    /// Version of the event type's schema.
    #[must_use]
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// An event as `lamphouse export` writes it and `lamphouse import` reads it: one line of JSON.
    pub fn from_line(line: &str) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Line<'a> {
            stream_id: String,
            stream_type: String,
            event_type: String,
            schema_version: Option<u32>,
            #[serde(borrow)]
            data: &'a serde_json::value::RawValue,
            #[serde(borrow)]
            metadata: Option<&'a serde_json::value::RawValue>,
            occurred_at: Option<Timestamp>,
        }
        let line: Line<'_> = serde_json::from_str(line)?;
        Ok(Self {
            stream_id: line.stream_id,
            stream_type: line.stream_type,
            event_type: line.event_type,
            schema_version: line.schema_version.unwrap_or(1),
            data: line.data.get().into(),
            metadata: line.metadata.map_or("{}", |metadata| metadata.get()).into(),
            occurred_at: line.occurred_at,
        })
    }
}

/// Runs a projector on given events and shows its rows. See the [module](self) for an example.
///
/// Events wait until rows are asked for; then they are projected in batches, as the host does it. A failure panics
/// with the projector's message; a test that expects one calls [`Harness::run`].
pub struct Harness<P> {
    plugin: Plugin,
    tables: Memory,
    batch_size: usize,
    /// Packed; empty for one that the projector does not take.
    events: Vec<Vec<u8>>,
    projected: usize,
    versions: HashMap<String, u64>,
    clock: i64,
    of: PhantomData<fn() -> P>,
}

impl<P: Projector> Default for Harness<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Projector> Harness<P> {
    /// Empty tables. Panics where the host would refuse what the projector declares.
    pub fn new() -> Self {
        let plugin = P::describe();
        let mut errors = semantics::check(&plugin.descriptor);
        let descriptor = plugin.clone().into_descriptor();
        errors.extend(fields::check(&descriptor.options));
        assert!(
            errors.is_empty(),
            "the host would refuse this projector:\n- {}",
            errors.join("\n- ")
        );
        Self {
            tables: Memory::new(&plugin.descriptor),
            plugin,
            batch_size: BATCH_EVENTS,
            events: Vec::new(),
            projected: 0,
            versions: HashMap::new(),
            clock: 1_704_067_200_000_000,
            of: PhantomData,
        }
    }

    /// What the host is told of the projector.
    pub fn descriptor(&self) -> Descriptor {
        self.plugin.clone().into_descriptor()
    }

    /// How many events a call gets. No size may change a row: see [`Harness::assert_same_at_any_batch_size`].
    #[must_use]
    pub fn batch_size(mut self, events: usize) -> Self {
        self.batch_size = events.max(1);
        self
    }

    /// Gives one event.
    pub fn given(&mut self, stream_id: &str, event_type: &str, data: impl serde::Serialize) -> &mut Self {
        self.given_event(&TestEvent::new(stream_id, event_type, data))
    }

    /// Gives one event. One that the projector does not subscribe to takes its place in the log, and is not projected.
    pub fn given_event(&mut self, event: &TestEvent) -> &mut Self {
        let version = self.versions.entry(event.stream_id.clone()).or_default();
        *version += 1;
        self.clock = event
            .occurred_at
            .map_or(self.clock + 1_000_000, Timestamp::micros);
        let mut bytes = Vec::new();
        if self.plugin.takes(event) {
            let number = self.events.len() + 1;
            packed::write_event(
                &mut bytes,
                &packed::Event {
                    position: number as u64,
                    part: 0,
                    id: &format!("00000000-0000-7000-8000-{number:012x}"),
                    stream_id: &event.stream_id,
                    stream_type: &event.stream_type,
                    stream_version: *version,
                    event_type: &event.event_type,
                    schema_version: event.schema_version,
                    data: &event.data,
                    metadata: &event.metadata,
                    occurred_at: self.clock,
                    recorded_at: self.clock,
                    fields: None,
                },
            );
        }
        self.events.push(bytes);
        self
    }

    /// Projects the events that wait. On a failure, the rows are as they were after the last batch that went well.
    pub fn run(&mut self) -> Result<(), Failure> {
        while self.projected < self.events.len() {
            let end = (self.projected + self.batch_size).min(self.events.len());
            let batch = self.events[self.projected..end].concat();
            self.tables.project::<P>(&self.plugin, &batch)?;
            self.projected = end;
        }
        Ok(())
    }

    /// A row by its key.
    #[track_caller]
    pub fn row<R: Row>(&mut self, key: impl IntoKey<R::Key>) -> Option<R> {
        let table = self.settle::<R>();
        let mut values = Vec::new();
        key.into_key(&mut values);
        let key = semantics::conform_key(&self.plugin.descriptor.tables[table], values.into())
            .unwrap_or_else(|violation| panic!("{violation}"));
        let values = self.tables.rows[table].get(&sorted(&key))?;
        Some(R::from_values(values).unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// All rows of a table, in the order of their keys.
    #[track_caller]
    pub fn rows<R: Row>(&mut self) -> Vec<R> {
        let table = self.settle::<R>();
        let rows = self.tables.rows[table].values();
        rows.map(|values| R::from_values(values).unwrap_or_else(|error| panic!("{error:?}")))
            .collect()
    }

    /// The rows that a `find` would give.
    #[track_caller]
    pub fn find<R: Row, C>(&mut self, index: Index<R, C>, values: impl IntoPrefix<C>) -> Vec<R> {
        let table = self.settle::<R>();
        let found = self
            .tables
            .find(table as u32, index.index, &values.into_prefix(), None, u32::MAX);
        let rows = found.and_then(|rows| rows.iter().map(|values| R::from_values(values)).collect());
        rows.unwrap_or_else(|error: Error| panic!("{error:?}"))
    }

    /// What the projector wrote to its log on this thread since this was last called.
    pub fn log(&mut self) -> Vec<(Level, String)> {
        LOG.take()
    }

    /// Projects all events anew in batches of 1, 7 and 1,000: panics if any table differs. The host refuses a
    /// projector whose rows depend on how its events are cut.
    #[track_caller]
    pub fn assert_same_at_any_batch_size(&self) {
        let mut first: Option<Memory> = None;
        for size in [1, 7, 1_000] {
            let mut tables = Memory::new(&self.plugin.descriptor);
            for batch in self.events.chunks(size) {
                if let Err(failure) = tables.project::<P>(&self.plugin, &batch.concat()) {
                    panic!("in batches of {size}: {} {}", failure.message, failure.trace);
                }
            }
            match &first {
                None => first = Some(tables),
                Some(first) => {
                    for (number, schema) in self.plugin.descriptor.tables.iter().enumerate() {
                        let (one, other) = (&first.rows[number], &tables.rows[number]);
                        assert!(
                            one == other,
                            "table '{}' differs in batches of {size} from batches of 1: {:?}",
                            schema.name,
                            one.iter()
                                .find(|(key, row)| other.get(*key) != Some(row))
                                .or_else(|| { other.iter().find(|(key, _)| !one.contains_key(*key)) })
                        );
                    }
                }
            }
        }
    }

    #[track_caller]
    fn settle<R: Row>(&mut self) -> usize {
        if let Err(failure) = self.run() {
            let index = failure.index.map_or(String::new(), |index| {
                format!("event {} of the test: ", self.projected as u32 + index + 1)
            });
            panic!("{index}{} {}", failure.message, failure.trace);
        }
        let table = self
            .plugin
            .rows
            .iter()
            .position(|row| *row == std::any::TypeId::of::<R>());
        table.unwrap_or_else(|| panic!("describe() does not name table '{}'", R::schema().name))
    }
}

impl Plugin {
    fn takes(&self, event: &TestEvent) -> bool {
        self.descriptor.subscriptions.iter().any(|subscription| {
            subscription
                .event_type
                .as_ref()
                .is_none_or(|kind| *kind == event.event_type)
                && subscription
                    .stream_type
                    .as_ref()
                    .is_none_or(|kind| *kind == event.stream_type)
                && (subscription.schema_versions.is_empty()
                    || subscription.schema_versions.contains(&event.schema_version))
        })
    }
}

/// Tables in memory, each by the bytes of its keys that sort.
#[derive(Clone)]
struct Memory {
    schemas: Vec<TableSchema>,
    rows: Vec<BTreeMap<Vec<u8>, Values>>,
}

fn sorted(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    semantics::ordered_key(key, &mut bytes);
    bytes
}

impl Memory {
    fn new(descriptor: &Descriptor) -> Self {
        Self {
            schemas: descriptor.tables.clone(),
            rows: vec![BTreeMap::new(); descriptor.tables.len()],
        }
    }

    /// One call: all of its changes, or none.
    fn project<P: Projector>(&mut self, plugin: &Plugin, batch: &[u8]) -> Result<(), Failure> {
        let mut call = Call {
            tables: self,
            undo: Vec::new(),
        };
        let result = run::<P>(plugin, batch, &mut call).and_then(|changes| {
            call.apply(&changes).map_err(|error| Failure {
                index: None,
                message: error.to_string(),
                trace: String::new(),
            })
        });
        if result.is_err() {
            for (table, key, row) in std::mem::take(&mut call.undo).into_iter().rev() {
                self.set(table, key, row);
            }
        }
        result
    }

    fn set(&mut self, table: usize, key: Vec<u8>, row: Option<Values>) -> Option<Values> {
        match row {
            Some(row) => self.rows[table].insert(key, row),
            None => self.rows[table].remove(&key),
        }
    }

    fn find(
        &self,
        table: u32,
        index: u32,
        prefix: &[Value],
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Values>> {
        let schema = &self.schemas[table as usize];
        let prefix = semantics::conform_prefix(schema, index, prefix.to_vec())?;
        let columns = &schema.indexes[index as usize];
        let after = after.map(|key| sorted(key));
        let rows = self.rows[table as usize].iter();
        Ok(rows
            .filter(|(key, row)| {
                after.as_ref().is_none_or(|after| *key > after)
                    && prefix
                        .iter()
                        .zip(columns)
                        .all(|(value, &column)| row[column as usize] == *value)
            })
            .map(|(_, row)| row.clone())
            .take(limit as usize)
            .collect())
    }
}

/// One call on the tables, with what undoes it.
struct Call<'m> {
    tables: &'m mut Memory,
    undo: Vec<(usize, Vec<u8>, Option<Values>)>,
}

impl Call<'_> {
    fn set(&mut self, table: u32, key: Vec<u8>, row: Option<Values>) {
        let old = self.tables.set(table as usize, key.clone(), row);
        self.undo.push((table as usize, key, old));
    }

    fn change(&mut self, change: Change) -> Result<()> {
        let schema = |table: u32| {
            self.tables
                .schemas
                .get(table as usize)
                .ok_or_else(|| Error::new(format_args!("there is no table {table}")))
        };
        match change {
            Change::Put { table, row } => {
                let row = semantics::conform_row(schema(table)?, row)?;
                let key = sorted(&semantics::key_of(schema(table)?, &row));
                self.set(table, key, Some(row));
            }
            Change::Remove { table, key } => {
                let key = semantics::conform_key(schema(table)?, key)?;
                self.set(table, sorted(&key), None);
            }
            Change::Patch { table, key, cells } => {
                let key = semantics::conform_key(schema(table)?, key)?;
                let sorted = sorted(&key);
                let Some(mut row) = self.tables.rows[table as usize].get(&sorted).cloned() else {
                    return Err(Error::new(format_args!(
                        "table '{}' has no row with key {key:?} to patch (upsert makes one)",
                        schema(table)?.name
                    )));
                };
                semantics::patch(schema(table)?, &mut row, cells)?;
                self.set(table, sorted, Some(row));
            }
            Change::Upsert { table, key, cells } => {
                let key = semantics::conform_key(schema(table)?, key)?;
                let sorted = sorted(&key);
                let old = self.tables.rows[table as usize].get(&sorted);
                let row = semantics::upsert(schema(table)?, old, &key, cells)?;
                self.set(table, sorted, Some(row));
            }
        }
        Ok(())
    }
}

impl Host for Call<'_> {
    fn apply(&mut self, changes: &[u8]) -> Result<()> {
        packed::changes(changes).try_for_each(|change| self.change(change?))
    }

    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>> {
        let mut answers = Vec::new();
        for read in packed::reads(reads) {
            let (table, key) = read?;
            let row = self.tables.rows[table as usize].get(&sorted(&key));
            packed::write_answer(&mut answers, row.map(|row| &**row));
        }
        Ok(answers)
    }

    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: &[Value],
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Values>> {
        self.tables.find(table, index, prefix, after, limit)
    }
}
