//! What `cargo xtask bench` asks for: each command measures one thing and prints one line of JSON.

mod appends;
mod database;
mod digest;
mod floor;
mod host;
mod live;
mod pipeline;
mod project;
mod sql;
mod truth;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde::Serialize;

use database::Database;

/// The host's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Which log and which tables.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Workload {
    /// Online Retail, or a log that resembles it, and the tables of `plugins/order-summary`.
    Retail,
    /// The log of `xtask/src/synthetic.rs` and the tables of `benches/guests/shop-orders`.
    Synthetic,
}

/// Some events, and the seconds that they took.
#[derive(Serialize)]
struct Timed {
    events: u64,
    seconds: f64,
}

#[derive(Subcommand)]
enum Command {
    /// What the tables must hold after so many events
    Truth {
        #[arg(long, value_enum)]
        workload: Workload,
        /// JSON Lines, compressed with zstd
        #[arg(long)]
        events: PathBuf,
        /// After how many events, ascending
        #[arg(long, value_delimiter = ',')]
        limits: Vec<u64>,
    },
    /// What the tables hold
    Rows {
        #[arg(long, value_enum)]
        workload: Workload,
        /// `sqlite:PATH` or `postgres://…`
        #[arg(long)]
        database: String,
        /// The schema on PostgreSQL
        #[arg(long)]
        schema: Option<String>,
        /// Money is whole numbers of thousandths
        #[arg(long)]
        thousandths: bool,
        /// Stands behind each table's name
        #[arg(long, default_value = "")]
        suffix: String,
    },
    /// Read and parse the log on one thread
    Floor {
        #[arg(long)]
        log: String,
        /// What is read and parsed of each event
        #[arg(long, value_enum)]
        form: floor::Form,
    },
    /// Copy the log into a table with jsonb
    SqlPrepare {
        #[arg(long)]
        log: String,
    },
    /// Rebuild in SQL, from that copy, into the schema `bench_run`
    Sql {
        #[arg(long, value_enum)]
        workload: Workload,
        #[arg(long, value_enum)]
        way: sql::Way,
        #[arg(long)]
        log: String,
        /// Only the first events, for the trigger
        #[arg(long, default_value_t = u64::MAX >> 1)]
        limit: u64,
    },
    /// Append events one by one at a rate, and wait for each in the table `shop_orders` of a running host
    Live {
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        events: usize,
        /// Events a second; without it, each is appended when the one before it was seen
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Append single events without pause, from several threads
    Appends {
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        writers: usize,
        #[arg(long)]
        seconds: f64,
    },
    /// Append an order, start a host, and wait for the order in these tables
    Start {
        #[arg(long)]
        host: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long, value_delimiter = ',')]
        tables: Vec<String>,
    },
    /// Put a plugin file in place under a running host, and wait for its generation
    Deploy {
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        projection: String,
        #[arg(long)]
        version: String,
    },
    /// Rebuild through the host's pipeline in this process, by the guest or by native code in its place
    Pipeline {
        #[arg(long, value_enum)]
        workload: Workload,
        #[arg(long)]
        project: PathBuf,
        /// The guest; the native code has its name and tables
        #[arg(long)]
        plugin: PathBuf,
        #[arg(long)]
        native: bool,
    },
    /// Run statements
    Execute {
        #[arg(long)]
        database: String,
        #[arg(long)]
        sql: String,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Truth {
            workload,
            events,
            limits,
        } => print(&truth::after(workload, &events, &limits)?),
        Command::Rows {
            workload,
            database,
            schema,
            thousandths,
            suffix,
        } => {
            let mut database = Database::open(&database)?;
            if let Some(schema) = schema {
                database.execute(&format!("SET search_path = {schema}"))?;
            }
            print(&digest::read(&mut database, workload, &suffix, thousandths)?)
        }
        Command::Floor { log, form } => print(&floor::run(&log, form)?),
        Command::SqlPrepare { log } => sql::prepare(&log),
        Command::Sql {
            workload,
            way,
            log,
            limit,
        } => print(&sql::rebuild(&log, workload, way, limit)?),
        Command::Live {
            project,
            events,
            rate,
        } => print(&live::run(&project, events, rate)?),
        Command::Appends {
            project,
            writers,
            seconds,
        } => print(&appends::run(&project, writers, seconds)?),
        Command::Start {
            host,
            project,
            tables,
        } => print(&host::start(&host, &project, &tables)?),
        Command::Deploy {
            project,
            file,
            projection,
            version,
        } => print(&host::deploy(&project, &file, &projection, &version)?),
        Command::Pipeline {
            workload,
            project,
            plugin,
            native,
        } => print(&pipeline::run(&project, workload, &plugin, native)?),
        Command::Execute { database, sql } => Database::open(&database)?.execute(&sql),
    }
}

fn print(answer: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}
