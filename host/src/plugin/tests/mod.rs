//! The sandbox against guests that behave, and against guests that do not.

mod cache;
mod calls;
mod descriptors;
mod determinism;
mod evil;
mod files;
mod limits;
mod speed;
mod wat_guest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use lamphouse_contract::{Change, Descriptor, Key, Row, Value, packed, semantics};

use super::*;
use crate::core::limits::PluginLimits;
use crate::core::{EventId, Position};

mod patch {
    include!("../../../../tests/guests/puppet/patch.rs");
}

use patch::patch_puppet;

/// Tables in memory that behave as the row cache does.
#[derive(Debug)]
struct Tables {
    descriptor: Arc<Descriptor>,
    rows: BTreeMap<(u32, Vec<u8>), Arc<Row>>,
    calls: u64,
    /// What every call answers instead, if set.
    answer: Option<TablesError>,
    /// How long every read takes.
    read_time: std::time::Duration,
}

impl Tables {
    fn of(plugin: &Plugin) -> Self {
        Self {
            descriptor: plugin.descriptor().clone(),
            rows: BTreeMap::new(),
            calls: 0,
            answer: None,
            read_time: std::time::Duration::ZERO,
        }
    }

    /// The rows as text, one a line.
    fn text(&self) -> String {
        let lines: Vec<String> = self.rows.values().map(|row| format!("{row:?}")).collect();
        lines.join("\n")
    }

    fn table(&mut self, table: u32) -> Result<Arc<Descriptor>, TablesError> {
        self.calls += 1;
        if let Some(answer) = &self.answer {
            return Err(answer.clone());
        }
        if table as usize >= self.descriptor.tables.len() {
            let count = self.descriptor.tables.len();
            return Err(TablesError::Violation(format!(
                "table {table} is not declared; there are {count}"
            )));
        }
        Ok(self.descriptor.clone())
    }
}

fn place(table: u32, key: &[Value]) -> (u32, Vec<u8>) {
    let mut bytes = Vec::new();
    semantics::ordered_key(key, &mut bytes);
    (table, bytes)
}

fn violation(violation: semantics::Violation) -> TablesError {
    TablesError::Violation(violation.0)
}

impl GuestTables for Tables {
    fn get_many(&mut self, table: u32, keys: Vec<Key>) -> Result<Vec<Option<Arc<Row>>>, TablesError> {
        let descriptor = self.table(table)?;
        std::thread::sleep(self.read_time);
        let schema = &descriptor.tables[table as usize];
        keys.into_iter()
            .map(|key| {
                let key = semantics::conform_key(schema, key).map_err(violation)?;
                Ok(self.rows.get(&place(table, &key)).cloned())
            })
            .collect()
    }

    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: Vec<Value>,
        _after: Option<Key>,
        limit: u32,
    ) -> Result<Vec<Arc<Row>>, TablesError> {
        let descriptor = self.table(table)?;
        let schema = &descriptor.tables[table as usize];
        let prefix = semantics::conform_prefix(schema, index, prefix).map_err(violation)?;
        let columns = &schema.indexes[index as usize];
        let matches = |row: &&Arc<Row>| {
            prefix
                .iter()
                .zip(columns)
                .all(|(value, &column)| row[column as usize] == *value)
        };
        let of_table = self
            .rows
            .iter()
            .filter(|((of, _), _)| *of == table)
            .map(|(_, row)| row);
        Ok(of_table.filter(matches).take(limit as usize).cloned().collect())
    }

    fn change(&mut self, change: Change) -> Result<(), TablesError> {
        let (Change::Put { table, .. }
        | Change::Patch { table, .. }
        | Change::Upsert { table, .. }
        | Change::Remove { table, .. }) = change;
        let descriptor = self.table(table)?;
        let schema = &descriptor.tables[table as usize];
        match change {
            Change::Put { row, .. } => {
                let row = semantics::conform_row(schema, row).map_err(violation)?;
                self.rows
                    .insert(place(table, &semantics::key_of(schema, &row)), Arc::new(row));
            }
            Change::Patch { key, cells, .. } => {
                let key = semantics::conform_key(schema, key).map_err(violation)?;
                let Some(row) = self.rows.get_mut(&place(table, &key)) else {
                    return Err(TablesError::Violation(format!(
                        "patch of a row that is not there: {key:?}"
                    )));
                };
                semantics::patch(schema, Arc::make_mut(row), cells).map_err(violation)?;
            }
            Change::Upsert { key, cells, .. } => {
                let key = semantics::conform_key(schema, key).map_err(violation)?;
                let old = self.rows.get(&place(table, &key)).map(|row| &**row);
                let row = semantics::upsert(schema, old, &key, cells).map_err(violation)?;
                self.rows.insert(place(table, &key), Arc::new(row));
            }
            Change::Remove { key, .. } => {
                let key = semantics::conform_key(schema, key).map_err(violation)?;
                self.rows.remove(&place(table, &key));
            }
        }
        Ok(())
    }

    fn change_packed(&mut self, changes: &[u8], count: Count<'_>) -> Result<(), TablesError> {
        unpack(changes, count, |change| self.change(change.to_change()))
    }

    fn settle(&mut self) -> Result<(), TablesError> {
        Ok(())
    }
}

/// A batch of events of these types; stream `s` and the event's number, data `{}` unless given after a `=`.
fn batch(event_types: &[&str]) -> Call {
    let mut batch = EventBatch::default();
    for (number, event_type) in (1_u64..).zip(event_types) {
        let (event_type, data) = event_type.split_once('=').unwrap_or((event_type, "{}"));
        let id = EventId(uuid::Uuid::from_u128(u128::from(number)));
        let stream = format!("s{number}");
        batch.push(Position(number), id, |out| {
            packed::write_event(
                out,
                &packed::Event {
                    position: number,
                    part: 0,
                    id: &id.to_string(),
                    stream_id: &stream,
                    stream_type: "test",
                    stream_version: 1,
                    event_type,
                    schema_version: 1,
                    data,
                    metadata: "{}",
                    occurred_at: 1_000_000,
                    recorded_at: 2_000_000,
                    fields: None,
                },
            );
        });
    }
    Call {
        range: 0..batch.len(),
        batch: Arc::new(batch),
        deadline_factor: 1,
        stop: Arc::default(),
    }
}

/// Limits that tests reach quickly.
fn small_limits() -> PluginLimits {
    PluginLimits {
        memory_bytes_max: 16 << 20,
        call_ms_max: 20_000,
        stack_bytes_max: 256 << 10,
        changes_per_call_max: 1_000,
        ..PluginLimits::default()
    }
}

fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    SANDBOX
        .get_or_init(|| Sandbox::new(small_limits(), None).unwrap())
        .clone()
}

/// A sandbox of little patience, for guests that never end.
fn hasty_sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let hasty = || {
        Sandbox::new(
            PluginLimits {
                call_ms_max: 200,
                ..small_limits()
            },
            None,
        )
        .unwrap()
    };
    SANDBOX.get_or_init(hasty).clone()
}

/// The puppet with these settings, in the shared sandbox.
fn puppet(settings: &[(&str, &str)]) -> Arc<Plugin> {
    sandbox()
        .load_projector(&patch_puppet(puppet_file(), settings))
        .unwrap()
}

/// Runs one call on fresh tables.
fn call(plugin: &Plugin, event_types: &[&str]) -> (Tables, CallReport, Result<(), CallError>) {
    plugin.project(&batch(event_types), Tables::of(plugin))
}

/// The error of a call that has to fail.
fn fault_of(plugin: &Plugin, event_types: &[&str]) -> CallError {
    call(plugin, event_types).2.unwrap_err()
}

fn puppet_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| guest_file("puppet", &[]))
}

fn packed_puppet_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| guest_file("puppet-packed", &["--features", "packed"]))
}

fn wasi_puppet_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| guest_file("puppet-wasi", &["--features", "wasi"]))
}

/// `target/guests/NAME.wasm`, built if it is not there or older than its source.
fn guest_file(name: &str, flags: &[&str]) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = root.join(format!("target/guests/{name}.wasm"));
    let source = root.join("tests/guests/puppet");
    let modified = |path: PathBuf| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let files = |folder: &str| std::fs::read_dir(source.join(folder)).unwrap().flatten();
    let newest = files("src")
        .chain(files("src/typed"))
        .filter_map(|file| modified(file.path()))
        .max();
    if modified(built.clone()) < newest {
        let made = root.join("target/guests-build").join(name);
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--target", "wasm32-unknown-unknown"])
            .args(flags)
            .current_dir(&source)
            .env("CARGO_TARGET_DIR", &made)
            .env_remove("RUSTFLAGS")
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the guest '{name}' does not build; see above");
        std::fs::create_dir_all(built.parent().unwrap()).unwrap();
        // Another test process may build it too: a whole file or none.
        let unfinished = built.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::copy(
            made.join("wasm32-unknown-unknown/release/puppet.wasm"),
            &unfinished,
        )
        .unwrap();
        std::fs::rename(&unfinished, &built).unwrap();
    }
    std::fs::read(&built).unwrap()
}
