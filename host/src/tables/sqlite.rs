//! The tables in one SQLite file: `rusqlite` for everything but the migrations.
//!
//! Physical tables and control tables share the file with the public views; a user may add tables and views of their
//! own. WAL, so that readers and the one writer do not wait for each other; `synchronous = NORMAL`, since rows and
//! checkpoint go together: a power cut may take back the last commits, whole, and the events are read again. The file
//! can be deleted whenever no host runs: the tables are built again.
//!
//! Making an index on a large table holds the writer for as long as it takes, and other projections wait. So beside
//! live projections it is made before the table is large. Flushes of a rebuild are kept short, drops go in steps, and
//! the write-ahead log is brought into the file by a thread of its own.

mod changes;
mod connect;
mod control;
mod dead_letters;
mod decimals;
mod migrate;
mod own;
mod query;
mod read;
mod select;
mod switch;
#[cfg(test)]
pub(in crate::tables) mod tests;
mod turn;
mod values;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::Descriptor;
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::connect::{Purpose, fault};
use self::turn::Turns;
use self::write::Failure;
use super::ddl::{self, Dialect, Relation};
use super::select::{Select, SelectError, Selected, ShownTable};
use super::{
    Finish, GenerationRecord, GenerationState, Ownership, PluginRecord, ProjectionRecord, PublicTable,
    QueryAnswer, QueryLimits, StoreError, Switch, TableReader, TableStore, TableWriter, UpcasterRef,
    physical_names,
};
use crate::core::{GenerationId, PluginDigest, PluginName};
use crate::wal::{self, Checkpointer, Checkpoints};

/// How long one step of a drop may hold the writer. Nobody waits for a drop, so that each step is followed by a pause as
/// long as it was, up to [`DROP_PAUSE_MAX`].
const DROP_STEP_TIME: Duration = Duration::from_millis(5);
/// Longest pause between two steps of a drop.
const DROP_PAUSE_MAX: Duration = Duration::from_millis(20);

/// Rows of the first step of a drop; later steps take what fits [`DROP_STEP_TIME`].
const DROP_STEP_ROWS: usize = 500;

/// Pages in the write-ahead log that are worth bringing into the file after a commit of live work: 16 MiB. More need
/// fewer syncs, and whoever syncs something else meanwhile waits longer for the disk.
const CHECKPOINT_PAGES_LIVE: i32 = 4_000;
/// The same after a commit of a rebuild, which writes many pages again and again: 64 MiB.
const CHECKPOINT_PAGES_REBUILD: i32 = 16_000;

/// Pages in the write-ahead log that may be unsynced: 4 MiB, a few milliseconds of the disk's time.
const UNSYNCED_PAGES: i32 = 1_000;

/// Opens the tables in a SQLite file, making it or bringing it up to date.
pub(super) fn open(path: &Path, runtime: tokio::runtime::Handle) -> Result<Arc<dyn TableStore>, StoreError> {
    migrate::run(path, &runtime)?;
    let control = connect::connect(path, Purpose::Control)?;
    wal::leave_to_thread(&control);
    let turns = Arc::<Turns>::default();
    let (opened, last_turn) = (path.to_owned(), Arc::clone(&turns));
    let mut write_ahead_log = path.as_os_str().to_owned();
    write_ahead_log.push("-wal");
    let work = wal::Work {
        name: "tables-checkpoint",
        log: write_ahead_log.into(),
        unsynced_pages: Some(UNSYNCED_PAGES),
        room_pages: CHECKPOINT_PAGES_LIVE,
        connect: move || connect::connect(&opened, Purpose::Control),
        last: move |connection: &Connection| {
            let _turn = last_turn.take(false);
            wal::bring_in(connection).map(drop)
        },
    };
    let (checkpointer, checkpoints) = Checkpointer::start(work)
        .map_err(|error| StoreError::Internal(format!("no thread could be started: {error}")))?;
    Ok(Arc::new(SqliteStore {
        path: path.to_owned(),
        control: Mutex::new(control),
        changes: Mutex::new(None),
        turns,
        checkpoints,
        _checkpointer: checkpointer,
        readers: select::Readers::default(),
    }))
}

/// After how many pages a commit has the write-ahead log brought in.
fn checkpoint_pages(live: bool) -> i32 {
    match live {
        true => CHECKPOINT_PAGES_LIVE,
        false => CHECKPOINT_PAGES_REBUILD,
    }
}

struct SqliteStore {
    path: PathBuf,
    /// For control records and DDL; rows go by connections of their own.
    control: Mutex<Connection>,
    /// For reading row changes; opened when somebody does.
    changes: Mutex<Option<Connection>>,
    turns: Arc<Turns>,
    checkpoints: Checkpoints,
    // Ends its thread when dropped.
    _checkpointer: Checkpointer,
    /// For reads of public tables.
    readers: select::Readers,
}

impl SqliteStore {
    fn look<T>(
        &self,
        doing: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.control.lock()).map_err(|error| fault(&self.path, doing, &error))
    }

    /// One transaction in its turn. Short ones go as live work, so that a rebuild does not hold up the control plane.
    fn change<T>(
        &self,
        doing: &str,
        live: bool,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let _turn = self.turns.take(live);
        let connection = self.control.lock();
        let run = || -> Result<T, Failure> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            self.checkpoints.committed(checkpoint_pages(live));
            Ok(done)
        };
        run().map_err(|failure| failure.told(&self.path, doing))
    }

    /// Deletes a table's rows in steps, then drops it.
    fn drop_table(&self, name: &str, schema: &lamphouse_contract::TableSchema) -> Result<(), StoreError> {
        let relation = Relation::named(name);
        if !self.look("look for a table", |connection| exists(connection, name))? {
            return Ok(());
        }
        let mut rows = DROP_STEP_ROWS;
        loop {
            let start = Instant::now();
            let deleted = self.change("drop a table", false, |connection| {
                Ok(write::delete_some(connection, relation, schema, rows)?)
            })?;
            if deleted < rows {
                break;
            }
            let took = start.elapsed();
            rows = next_step(rows, took);
            std::thread::sleep(took.min(DROP_PAUSE_MAX));
        }
        self.change("drop a table", false, |connection| {
            Ok(connection.execute_batch(&format!("DROP TABLE IF EXISTS {relation}"))?)
        })
    }
}

/// Twice as much while a step is quick, half as much when it was slow.
fn next_step(rows: usize, took: Duration) -> usize {
    if took < DROP_STEP_TIME / 2 {
        rows * 2
    } else if took > DROP_STEP_TIME {
        (rows / 2).max(100)
    } else {
        rows
    }
}

fn exists(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
}

fn unknown(generation: GenerationId) -> Failure {
    Failure::Store(StoreError::Invalid(format!(
        "there is no generation {generation}"
    )))
}

impl TableStore for SqliteStore {
    fn try_own(&self) -> Result<Option<Box<dyn Ownership>>, StoreError> {
        own::try_own(&self.path)
    }

    fn owner_address(&self) -> Result<Option<String>, StoreError> {
        own::address(&self.path)
    }

    fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError> {
        self.look("read projections", control::projections)
    }

    fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        self.look("read generations", control::generations)
    }

    fn public_tables(&self) -> Result<Vec<PublicTable>, StoreError> {
        self.look("read the public tables", control::public_tables)
    }

    fn save_projection(&self, record: &ProjectionRecord) -> Result<(), StoreError> {
        self.change("save a projection", true, |connection| {
            Ok(control::save_projection(connection, record)?)
        })
    }

    fn save_plugin(&self, record: &PluginRecord) -> Result<(), StoreError> {
        self.change("keep a plugin", true, |connection| {
            Ok(control::save_plugin(connection, record)?)
        })
    }

    fn plugin(&self, digest: &PluginDigest) -> Result<Option<PluginRecord>, StoreError> {
        self.look("read a plugin", |connection| control::plugin(connection, digest))
    }

    fn create_generation(
        &self,
        projection: &PluginName,
        digest: &PluginDigest,
        version: &str,
        descriptor: &Arc<Descriptor>,
        upcasters: &[UpcasterRef],
        now: i64,
    ) -> Result<GenerationRecord, StoreError> {
        let internal = |error: serde_json::Error| {
            StoreError::Internal(format!("a descriptor cannot be stored: {error}"))
        };
        let text = serde_json::to_string(&**descriptor).map_err(internal)?;
        let set = serde_json::to_string(upcasters).map_err(internal)?;
        self.change("make a generation", true, |connection| {
            let id = control::insert_generation(connection, projection, digest, version, &text, &set, now)?;
            let names = physical_names(id, &descriptor.tables)?;
            for (table, name) in descriptor.tables.iter().zip(&names) {
                connection.execute_batch(&ddl::create_table(
                    Dialect::Sqlite,
                    Relation::named(name),
                    table,
                ))?;
            }
            control::generation(connection, id)?.ok_or_else(|| unknown(id))
        })
    }

    fn set_state(
        &self,
        generation: GenerationId,
        state: GenerationState,
        error: Option<&serde_json::Value>,
    ) -> Result<(), StoreError> {
        if matches!(state, GenerationState::Live | GenerationState::Dropped) {
            let word = control::state_word(state);
            return Err(StoreError::Internal(format!(
                "generation {generation} cannot just be called {word}: that takes a switch or a drop"
            )));
        }
        self.change("set a generation's state", true, |connection| {
            if control::set_state(connection, generation, state, error)? {
                return Ok(());
            }
            let found = control::generation(connection, generation)?;
            match found.map(|record| record.state) {
                // What is public stays live until a switch: else the public names would show nobody's tables.
                Some(GenerationState::Live) => Err(Failure::Store(StoreError::Internal(format!(
                    "generation {generation} is public: only a switch changes its state"
                )))),
                _ => Err(unknown(generation)),
            }
        })
    }

    fn making_indexes_stops_writers(&self) -> bool {
        true
    }

    fn create_indexes(&self, generation: &GenerationRecord) -> Result<(), StoreError> {
        let tables = &generation.descriptor.tables;
        let names = physical_names(generation.id, tables)?;
        for (table, name) in tables.iter().zip(&names) {
            for index in 0..table.indexes.len() {
                let index_name = ddl::index_name(name, index);
                if self.look("look for an index", |connection| exists(connection, &index_name))? {
                    continue;
                }
                let sql = ddl::create_index(Dialect::Sqlite, Relation::named(name), table, index);
                self.change("make an index", false, |connection| {
                    Ok(connection.execute_batch(&sql)?)
                })?;
            }
        }
        Ok(())
    }

    fn prepare_switch(&self, _switch: &Switch) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish_switch(&self, _projection: &PluginName) -> Result<Finish, StoreError> {
        Ok(Finish::Done)
    }

    fn drop_generation(&self, generation: GenerationId) -> Result<(), StoreError> {
        // Called dropped first: nobody may roll back to tables that are half gone.
        self.change("drop a generation", true, |connection| {
            let record = control::generation(connection, generation)?.ok_or_else(|| unknown(generation))?;
            if record.state == GenerationState::Live {
                return Err(Failure::Store(StoreError::Invalid(format!(
                    "generation {generation} of '{}' is public and cannot be dropped",
                    record.projection
                ))));
            }
            connection.execute(
                "UPDATE lamphouse_generations SET state = 'dropped' WHERE id = ?1",
                [generation.0],
            )?;
            Ok(dead_letters::forget(connection, generation)?)
        })?;
        // With it go those whose drop was cut short by the end of a host.
        for leftover in self.look("read generations", control::leftovers)? {
            let tables = &leftover.descriptor.tables;
            for (table, name) in tables.iter().zip(&physical_names(leftover.id, tables)?) {
                self.drop_table(name, table)?;
            }
            self.change("drop a generation", true, |connection| {
                let gone = "UPDATE lamphouse_generations SET tables_exist = 0 WHERE id = ?1";
                Ok(connection.execute(gone, [leftover.id.0]).map(drop)?)
            })?;
        }
        Ok(())
    }

    fn writer(&self, generation: &GenerationRecord) -> Result<Box<dyn TableWriter>, StoreError> {
        let writer = write::Writer::open(
            self.path.clone(),
            Arc::clone(&self.turns),
            self.checkpoints.clone(),
            generation,
        )?;
        Ok(Box::new(writer))
    }

    fn reader(&self, generation: &GenerationRecord) -> Result<Box<dyn TableReader>, StoreError> {
        Ok(Box::new(read::Reader::open(self.path.clone(), generation)?))
    }

    fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryAnswer, StoreError> {
        query::run(&self.path, sql, limits)
    }

    fn shown_tables(&self) -> Result<Vec<ShownTable>, StoreError> {
        self.readers.shown(&self.path)
    }

    fn select(&self, select: &Select, time_max: Duration) -> Result<Selected, SelectError> {
        self.readers.select(&self.path, select, time_max)
    }
}
