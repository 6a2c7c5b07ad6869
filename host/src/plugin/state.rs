//! What one call's store holds, and the host functions that a guest may call on it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::{Cell, Change, Descriptor, Key, Row, TableSchema, packed};
use wasmtime_wasi::{WasiCtxView, WasiView};

use super::bindings::{log, tables, types};
use super::determinism::{HasWasi, Wasi};
use super::fault::HostFault;
use super::limits::Usage;
use super::log_book::LogBook;
use super::{GuestTables, convert};
use crate::core::Class;
use crate::core::limits::PluginLimits;

/// Rows that one read may ask for, or find. A guest that needs more asks in parts.
const ROWS_PER_READ_MAX: usize = 100_000;

/// The data of one call's store.
pub(super) struct State {
    /// None in `describe`.
    pub(super) tables: Option<Box<dyn AnyTables>>,
    /// Names the columns in messages; None in `describe`.
    descriptor: Option<Arc<Descriptor>>,
    pub(super) usage: Usage,
    pub(super) log: LogBook,
    /// Spent in the tables on the guest's behalf: not the guest's time.
    pub(super) tables_time: Duration,
    wasi: Wasi,
}

/// What `project` has and `describe` has not.
pub(super) struct ProjectState {
    pub(super) tables: Box<dyn AnyTables>,
    pub(super) descriptor: Arc<Descriptor>,
}

/// [`GuestTables`] that can be given back as what they were.
pub(super) trait AnyTables: GuestTables {
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: GuestTables> AnyTables for T {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl State {
    /// The state of one call: of `project` on these tables, or of `describe`.
    pub(super) fn new(limits: &PluginLimits, log: LogBook, project: Option<ProjectState>) -> Self {
        let (tables, descriptor) = project
            .map(|project| (project.tables, project.descriptor))
            .unzip();
        Self {
            tables,
            descriptor,
            usage: Usage::new(limits),
            wasi: Wasi::new(log.clone()),
            log,
            tables_time: Duration::ZERO,
        }
    }

    /// Makes a state that was made without tables that of a call of `project`.
    pub(super) fn give(&mut self, project: ProjectState) {
        self.tables = Some(project.tables);
        self.descriptor = Some(project.descriptor);
    }

    /// Runs `work` on the tables, on the host's time.
    fn on_tables<R>(
        &mut self,
        function: &'static str,
        work: impl FnOnce(&mut dyn AnyTables) -> Result<R, super::TablesError>,
    ) -> wasmtime::Result<R> {
        let tables = self.tables.as_deref_mut().ok_or_else(|| {
            HostFault::rule(
                function,
                "describe must be pure: it may not call the tables; only project may",
            )
        })?;
        let began = Instant::now();
        let result = work(tables);
        self.tables_time += began.elapsed();
        Ok(result.map_err(|error| HostFault::of_tables(function, error))?)
    }

    /// Applies packed changes, counting each against the limits.
    pub(super) fn apply(&mut self, function: &'static str, bytes: &[u8]) -> wasmtime::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // Apart from `self`, which the tables are in.
        let mut usage = std::mem::take(&mut self.usage);
        let applied = self.on_tables(function, |tables| {
            tables.change_packed(bytes, &mut |bytes| usage.change(bytes))
        });
        self.usage = usage;
        applied
    }

    /// Makes the changes that still wait for their rows.
    pub(super) fn settle(&mut self) -> wasmtime::Result<()> {
        self.on_tables("the changes of this call", |tables| tables.settle())
    }

    /// A column for a message: `orders.total`, or its number where the guest means a table or column that is none.
    fn column(&self, table: u32, column: u32) -> String {
        let declared = self
            .schema(table)
            .and_then(|schema| Some((schema, schema.columns.get(column as usize)?)));
        match declared {
            Some((schema, column)) => format!("{}.{}", schema.name, column.name),
            None => format!("table {table}, column {column}"),
        }
    }

    fn schema(&self, table: u32) -> Option<&TableSchema> {
        self.descriptor.as_ref()?.tables.get(table as usize)
    }

    fn row_in(&self, function: &'static str, table: u32, values: Values) -> Result<Row, HostFault> {
        convert::values_in(values).map_err(|(index, why)| {
            let column = self.column(table, u32::try_from(index).unwrap_or(u32::MAX));
            HostFault::rule(function, format_args!("{column}: {why}"))
        })
    }

    /// Values of these columns: of a key, or of an index.
    fn values_in(
        &self,
        function: &'static str,
        table: u32,
        columns: impl FnOnce(&TableSchema) -> Option<&Vec<u32>>,
        values: Values,
    ) -> Result<Key, HostFault> {
        convert::values_in(values).map_err(|(index, why)| {
            let column = self
                .schema(table)
                .and_then(columns)
                .and_then(|columns| columns.get(index));
            let column = self.column(table, column.copied().unwrap_or(u32::MAX));
            HostFault::rule(function, format_args!("{column}: {why}"))
        })
    }

    fn key_in(&self, function: &'static str, table: u32, values: Values) -> Result<Key, HostFault> {
        self.values_in(function, table, |schema| Some(&schema.primary_key), values)
    }

    fn cells_in(
        &self,
        function: &'static str,
        table: u32,
        cells: Vec<types::Cell>,
    ) -> Result<Vec<Cell>, HostFault> {
        convert::cells_in(cells).map_err(|(column, why)| {
            HostFault::rule(function, format_args!("{}: {why}", self.column(table, column)))
        })
    }

    /// Reads rows by key.
    fn rows(
        &mut self,
        function: &'static str,
        table: u32,
        keys: Vec<Key>,
    ) -> wasmtime::Result<Vec<Option<Arc<Row>>>> {
        let count = keys.len();
        let rows = self.on_tables(function, |tables| tables.get_many(table, keys))?;
        if rows.len() != count {
            let message = format!(
                "{function}: {count} keys were asked for and {} answers came",
                rows.len()
            );
            return Err(HostFault {
                class: Class::Bug,
                message,
            }
            .into());
        }
        Ok(rows)
    }

    /// Refuses an answer that the guest has no memory for, before it is built: a key may be named any number of times.
    fn fits(&self, function: &'static str, rows: &[Option<Arc<Row>>]) -> wasmtime::Result<()> {
        let bytes: u64 = rows.iter().flatten().map(|row| convert::row_bytes(row)).sum();
        Ok(self
            .usage
            .fits_memory(bytes)
            .map_err(|why| HostFault::rule(function, why))?)
    }

    fn change(&mut self, function: &'static str, change: Change) -> wasmtime::Result<()> {
        let counted = self.usage.change(convert::change_bytes(&change));
        counted.map_err(|why| HostFault::rule(function, why))?;
        self.on_tables(function, |tables| tables.change(change))
    }
}

impl HasWasi for State {
    fn wasi(&mut self) -> &mut Wasi {
        &mut self.wasi
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.view()
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.log.write(level, &message);
        Ok(())
    }
}

/// Holds one read to [`ROWS_PER_READ_MAX`].
fn few_enough(function: &'static str, rows: usize) -> wasmtime::Result<()> {
    if rows > ROWS_PER_READ_MAX {
        let why = format!("more than {ROWS_PER_READ_MAX} rows in one read; read them in parts");
        return Err(HostFault::rule(function, why).into());
    }
    Ok(())
}

type Values = Vec<types::Value>;

impl tables::Host for State {
    fn get(&mut self, table: u32, key_values: Values) -> wasmtime::Result<Option<Values>> {
        let key = self.key_in("tables.get", table, key_values)?;
        let rows = self.rows("tables.get", table, vec![key])?;
        Ok(rows[0].as_deref().map(|row| convert::row_out(row)))
    }

    fn get_many(&mut self, table: u32, keys: Vec<Values>) -> wasmtime::Result<Vec<Option<Values>>> {
        const NAME: &str = "tables.get-many";
        few_enough(NAME, keys.len())?;
        let keys = keys.into_iter().map(|values| self.key_in(NAME, table, values));
        let keys = keys.collect::<Result<Vec<Key>, HostFault>>()?;
        let rows = self.rows(NAME, table, keys)?;
        self.fits(NAME, &rows)?;
        Ok(rows
            .iter()
            .map(|row| row.as_deref().map(|row| convert::row_out(row)))
            .collect())
    }

    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: Values,
        after: Option<Values>,
        limit: u32,
    ) -> wasmtime::Result<Vec<Values>> {
        const NAME: &str = "tables.find";
        let prefix = self
            .values_in(NAME, table, |schema| schema.indexes.get(index as usize), prefix)?
            .into_vec();
        let after = after.map(|values| self.key_in(NAME, table, values)).transpose()?;
        // One more than is given, to know that there are more.
        let limit = limit.min(ROWS_PER_READ_MAX as u32 + 1);
        let rows = self.on_tables(NAME, |tables| tables.find(table, index, prefix, after, limit))?;
        few_enough(NAME, rows.len())?;
        let rows: Vec<_> = rows.into_iter().map(Some).collect();
        self.fits(NAME, &rows)?;
        Ok(rows.iter().flatten().map(|row| convert::row_out(row)).collect())
    }

    fn put(&mut self, table: u32, row: Values) -> wasmtime::Result<()> {
        let row = self.row_in("tables.put", table, row)?;
        self.change("tables.put", Change::Put { table, row })
    }

    fn patch(&mut self, table: u32, key_values: Values, changed: Vec<types::Cell>) -> wasmtime::Result<()> {
        let key = self.key_in("tables.patch", table, key_values)?;
        let cells = self.cells_in("tables.patch", table, changed)?;
        self.change("tables.patch", Change::Patch { table, key, cells })
    }

    fn upsert(&mut self, table: u32, key_values: Values, changed: Vec<types::Cell>) -> wasmtime::Result<()> {
        let key = self.key_in("tables.upsert", table, key_values)?;
        let cells = self.cells_in("tables.upsert", table, changed)?;
        self.change("tables.upsert", Change::Upsert { table, key, cells })
    }

    fn remove(&mut self, table: u32, key_values: Values) -> wasmtime::Result<()> {
        let key = self.key_in("tables.remove", table, key_values)?;
        self.change("tables.remove", Change::Remove { table, key })
    }

    fn apply(&mut self, changes: Vec<u8>) -> wasmtime::Result<()> {
        State::apply(self, "tables.apply", &changes)
    }

    fn read(&mut self, keys: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        const NAME: &str = "tables.read";
        // By table, so that each table's rows are read together; the answer is in the order of the question.
        let mut by_table: BTreeMap<u32, (Vec<usize>, Vec<Key>)> = BTreeMap::new();
        let mut count = 0;
        for read in packed::reads(&keys) {
            let (table, key) = read.map_err(|error| {
                HostFault::rule(
                    NAME,
                    format_args!("read {} is not what PACKED.md says: {}", count + 1, error.0),
                )
            })?;
            let (places, keys) = by_table.entry(table).or_default();
            places.push(count);
            keys.push(key);
            count += 1;
            few_enough(NAME, count)?;
        }
        let mut rows = vec![None; count];
        for (table, (places, keys)) in by_table {
            let found = self.rows(NAME, table, keys)?;
            for (place, row) in places.into_iter().zip(found) {
                rows[place] = row;
            }
        }
        self.fits(NAME, &rows)?;
        let mut answer = Vec::new();
        for row in &rows {
            packed::write_answer(&mut answer, row.as_deref().map(|row| &row[..]));
        }
        Ok(answer)
    }
}
