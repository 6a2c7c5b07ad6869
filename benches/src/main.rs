//! The projector that a team would write first: native code, one sqlx statement a change, 1,000 events a transaction.
//!
//! It makes the same `orders` and `customers` as the example plugin `order-summary`, or with `--workload synthetic` the
//! tables of `benches/guests/shop-orders`. It is given every advantage that
//! costs no cleverness: its events are in memory before the clock starts, commits do not wait for the disk, statements
//! are prepared once, money is a whole number of thousandths.

mod sql;
mod synthetic;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Deserialize;

/// Events of one transaction.
const EVENTS_PER_TRANSACTION: usize = 1_000;

#[derive(Parser)]
struct Arguments {
    /// `postgres://…`, or the path of a new SQLite file
    #[arg(long)]
    database: String,
    /// Which tables to make
    #[arg(long, value_enum, default_value_t = Workload::Retail)]
    workload: Workload,
    /// The log as JSON Lines, compressed with zstd
    #[arg(long)]
    events: PathBuf,
    /// Only the first events
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Workload {
    /// The tables of `plugins/order-summary`.
    Retail,
    /// The tables of `benches/guests/shop-orders`.
    Synthetic,
}

/// The fields of an import line that the projector looks at.
#[derive(Deserialize)]
struct Event {
    stream_id: String,
    event_type: String,
    data: Data,
    occurred_at: String,
}

#[derive(Deserialize)]
struct Data {
    customer_id: Option<String>,
    country: Option<String>,
    quantity: Option<i64>,
    unit_price: Option<String>,
}

/// A change to the tables; each is one statement.
enum Change<'a> {
    OpenOrder {
        order: &'a str,
        customer: Option<&'a str>,
        country: &'a str,
        status: &'a str,
        placed_at: &'a str,
    },
    AddLine {
        order: &'a str,
        quantity: i64,
        total: i64,
    },
    OpenCustomer {
        customer: &'a str,
    },
    AddToCustomer {
        customer: &'a str,
        quantity: i64,
        total: i64,
        ordered: i64,
        returned: i64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let lines = lines(&arguments.events, arguments.limit)?;
    let seconds = match (arguments.workload, arguments.database.starts_with("postgres")) {
        (Workload::Retail, true) => {
            let mut tables = sql::postgres(&arguments.database, sql::SCHEMA).await?;
            run(&mut tables, &lines).await?
        }
        (Workload::Retail, false) => {
            let mut tables = sql::sqlite(Path::new(&arguments.database), sql::SCHEMA).await?;
            run(&mut tables, &lines).await?
        }
        (Workload::Synthetic, true) => {
            let mut tables = sql::postgres(&arguments.database, synthetic::SCHEMA).await?;
            synthetic::run(&mut tables, &lines).await?
        }
        (Workload::Synthetic, false) => {
            let mut tables = sql::sqlite(Path::new(&arguments.database), synthetic::SCHEMA).await?;
            synthetic::run(&mut tables, &lines).await?
        }
    };
    println!(
        "{}",
        serde_json::json!({"events": lines.len(), "seconds": seconds})
    );
    Ok(())
}

fn lines(file: &Path, limit: usize) -> Result<Vec<String>> {
    let opened = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let reader = BufReader::with_capacity(1 << 20, zstd::Decoder::new(opened)?);
    let lines: std::io::Result<Vec<String>> = reader.lines().take(limit).collect();
    lines.with_context(|| format!("cannot read {}", file.display()))
}

async fn run(tables: &mut impl sql::Tables, lines: &[String]) -> Result<f64> {
    let began = Instant::now();
    for batch in lines.chunks(EVENTS_PER_TRANSACTION) {
        tables.begin().await?;
        for line in batch {
            project(tables, &serde_json::from_str(line)?).await?;
        }
        tables.commit().await?;
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn project(tables: &mut impl sql::Tables, event: &Event) -> Result<()> {
    let order = event.stream_id.as_str();
    let status = match event.event_type.as_str() {
        "OrderPlaced" => Some("placed"),
        "OrderCancelled" => Some("credited"),
        "AdjustmentPosted" => Some("adjusted"),
        _ => None,
    };
    if let Some(status) = status {
        let customer = event.data.customer_id.as_deref();
        let country = event
            .data
            .country
            .as_deref()
            .context("an order without a country")?;
        let placed_at = event.occurred_at.as_str();
        tables
            .change(&Change::OpenOrder {
                order,
                customer,
                country,
                status,
                placed_at,
            })
            .await?;
        if let Some(customer) = customer {
            tables.change(&Change::OpenCustomer { customer }).await?;
        }
    }
    let (Some(quantity), Some(price)) = (event.data.quantity, event.data.unit_price.as_deref()) else {
        return Ok(());
    };
    let total = quantity * thousandths(price)?;
    // Lines name no customer: the order's row does.
    let (customer, status) = tables.order(order).await?;
    tables
        .change(&Change::AddLine {
            order,
            quantity,
            total,
        })
        .await?;
    if let Some(customer) = &customer {
        let ordered = if status == "placed" { total } else { 0 };
        let returned = if status == "credited" { total } else { 0 };
        tables
            .change(&Change::AddToCustomer {
                customer,
                quantity,
                total,
                ordered,
                returned,
            })
            .await?;
    }
    Ok(())
}

fn thousandths(price: &str) -> Result<i64> {
    let (sign, digits) = price.strip_prefix('-').map_or((1, price), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part: i64 = format!("{part:0<3}")
        .parse()
        .with_context(|| format!("'{price}' is no price"))?;
    Ok(sign
        * (whole
            .parse::<i64>()
            .with_context(|| format!("'{price}' is no price"))?
            * 1_000
            + part))
}
