//! What a team that lives in SQL would do: a row trigger, or one INSERT … SELECT … GROUP BY a table.

use std::time::Instant;

use anyhow::Result;

use crate::database::Database;
use crate::{Timed, Workload};

/// The schema that each rebuild makes anew.
const SCHEMA: &str = "bench_run";

/// Events of one transaction of the replay through a trigger.
const REPLAY_EVENTS: usize = 1_000;

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Way {
    /// Replay by one INSERT … SELECT into a table with a PL/pgSQL row trigger.
    Trigger,
    /// The same in transactions of a thousand events, into tables with room for new versions of their rows.
    TriggerTuned,
    /// One INSERT … SELECT … GROUP BY over jsonb for each table, as one writes it.
    Set,
    /// Rewritten until it was fastest.
    Tuned,
}

/// Makes the log's copy in jsonb, once for all rebuilds.
pub(crate) fn prepare(log: &str) -> Result<()> {
    let mut database = Database::open(log)?;
    // One by one, because VACUUM wants no transaction around it.
    for statement in include_str!("../../sql/log.sql").split_inclusive(';') {
        if statement.contains(';') {
            database.execute(statement)?;
        }
    }
    Ok(())
}

/// The statements of one workload.
struct Statements {
    tables: &'static str,
    trigger: &'static str,
    set: &'static str,
    tuned: &'static str,
}

fn statements(workload: Workload) -> Statements {
    match workload {
        Workload::Retail => Statements {
            tables: include_str!("../../sql/retail-tables.sql"),
            trigger: include_str!("../../sql/retail-trigger.sql"),
            set: include_str!("../../sql/retail-set.sql"),
            tuned: include_str!("../../sql/retail-tuned.sql"),
        },
        Workload::Synthetic => Statements {
            tables: include_str!("../../sql/synthetic-tables.sql"),
            trigger: include_str!("../../sql/synthetic-trigger.sql"),
            set: include_str!("../../sql/synthetic-set.sql"),
            tuned: include_str!("../../sql/synthetic-tuned.sql"),
        },
    }
}

/// Rebuilds the tables of the first `limit` events; only the triggers know less than all.
pub(crate) fn rebuild(log: &str, workload: Workload, way: Way, limit: u64) -> Result<Timed> {
    let statements = statements(workload);
    let mut database = Database::open(log)?;
    database.execute(&format!(
        "DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}"
    ))?;
    // What the documentation recommends for bulk loads that can be done again; the hash tables fit in memory.
    database.execute(
        "SET synchronous_commit = off; SET work_mem = '256MB'; SET maintenance_work_mem = '256MB'",
    )?;
    let mut events = 0;
    database.rows("SELECT CAST(count(*) AS TEXT) FROM bench_log.log", |row| {
        events = row[0]
            .as_deref()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
    })?;
    let all = match way {
        Way::Trigger => {
            events = events.min(limit);
            database.execute(statements.tables)?;
            database.execute(statements.trigger)?;
            vec![replay(0, events)]
        }
        Way::TriggerTuned => {
            events = events.min(limit);
            // Room for new versions of a row beside the old ones: half again as fast.
            let tables = statements.tables.replace(");\n", ") WITH (fillfactor = 50);\n");
            database.execute(&tables)?;
            database.execute(statements.trigger)?;
            in_batches(events)
        }
        Way::Set => {
            database.execute(statements.tables)?;
            vec![statements.set.to_owned()]
        }
        Way::Tuned => {
            database.execute(statements.tables)?;
            vec![statements.tuned.to_owned()]
        }
    };
    // What others left to be written is written before the clock starts.
    database.execute("CHECKPOINT")?;
    let began = Instant::now();
    for statement in &all {
        database.execute(statement)?;
    }
    Ok(Timed {
        events,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// One INSERT … SELECT for each thousand events, in a transaction of its own. One for all of them is slower, because no
/// version of a row can be cleared away before its end: a third of the rate at 100,000 events.
fn in_batches(events: u64) -> Vec<String> {
    let batches = (0..events).step_by(REPLAY_EVENTS);
    batches
        .map(|from| replay(from, (from + REPLAY_EVENTS as u64).min(events)))
        .collect()
}

/// Hands the events after `from` up to `until` to the trigger.
fn replay(from: u64, until: u64) -> String {
    format!(
        "INSERT INTO events SELECT * FROM bench_log.log WHERE position > {from} AND position <= {until} ORDER BY position"
    )
}
