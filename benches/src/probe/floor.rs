//! The floor of a rebuild: one thread that reads the log's own table and parses each event's data, and does no more.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use futures_util::TryStreamExt as _;
use rusqlite::types::ValueRef;
use serde::Deserialize;

use crate::Timed;
use crate::database::Database;

/// What a binary COPY begins with: signature, flags, no extension.
const HEADER_BYTES: usize = 19;

/// What the thread does with an event.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Reads all of it, and parses its data into a struct that owns every field, as a consumer of events holds it.
    Whole,
    /// Reads all of it, and parses of its data what these projectors look at, texts borrowed.
    Borrowed,
    /// The same with the five columns that they look at; on SQLite in one query.
    Least,
}

/// The fields of both workloads' data.
#[derive(Deserialize)]
#[allow(dead_code)] // Read by nobody, but parsed: that is what is measured.
struct Whole {
    // Synthetic.
    order_no: Option<u64>,
    channel: Option<String>,
    note: Option<String>,
    // Both.
    customer_id: Option<String>,
    line_no: Option<u64>,
    sku: Option<String>,
    quantity: Option<i64>,
    unit_price: Option<String>,
    // Retail.
    invoice_no: Option<String>,
    invoice_date: Option<String>,
    country: Option<String>,
    currency: Option<String>,
    description: Option<String>,
}

/// What a projector of either workload looks at; texts are borrowed where nothing is escaped.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    customer_id: Option<std::borrow::Cow<'a, str>>,
    quantity: Option<i64>,
    #[serde(borrow)]
    unit_price: Option<std::borrow::Cow<'a, str>>,
}

/// Events of one query on SQLite, as a reader that hands on batches has to do it.
const BATCH_EVENTS: i64 = 1_000;
/// Whole events, as a projector is given them.
const WHOLE: [&str; 11] = [
    "position",
    "stream_id",
    "event_type",
    "data",
    "occurred_at",
    "id",
    "stream_type",
    "stream_version",
    "schema_version",
    "metadata",
    "recorded_at",
];

/// Reads the log in order, in the fastest way that we know of the database.
pub(crate) fn run(log: &str, form: Form) -> Result<Timed> {
    let mut database = Database::open(log)?;
    let least = form == Form::Least;
    let columns = if least { &WHOLE[..5] } else { &WHOLE[..] };
    let began = Instant::now();
    let (events, seen) = match &mut database {
        Database::Sqlite(connection) => {
            let batch = if least { i64::MAX } else { BATCH_EVENTS };
            sqlite(connection, columns, batch, form)?
        }
        Database::Postgres(runtime, connection) => runtime.block_on(postgres(connection, columns, form))?,
    };
    let seconds = began.elapsed().as_secs_f64();
    // So that no compiler leaves the parsing out.
    ensure!(seen > 0, "no event had a quantity");
    Ok(Timed { events, seconds })
}

fn look(data: &str, form: Form) -> serde_json::Result<u64> {
    if form == Form::Whole {
        let data: Whole = std::hint::black_box(serde_json::from_str(data)?);
        let seen = data.quantity.is_some() && (data.unit_price.is_some() || data.customer_id.is_some());
        return Ok(u64::from(seen));
    }
    let data: Data = serde_json::from_str(data)?;
    let seen = data.quantity.is_some() && (data.unit_price.is_some() || data.customer_id.is_some());
    Ok(u64::from(seen))
}

fn sqlite(
    connection: &mut rusqlite::Connection,
    columns: &[&str],
    batch: i64,
    form: Form,
) -> Result<(u64, u64)> {
    let sql = format!(
        "SELECT {} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2",
        columns.join(", ")
    );
    let mut statement = connection.prepare(&sql)?;
    let (mut events, mut seen, mut bytes, mut after) = (0, 0, 0, 0);
    loop {
        let before = events;
        let mut rows = statement.query([after, batch])?;
        while let Some(row) = rows.next()? {
            after = row.get_ref(0)?.as_i64()?;
            seen += look(row.get_ref(3)?.as_str()?, form)?;
            for column in 1..columns.len() {
                bytes += match row.get_ref(column)? {
                    ValueRef::Text(text) => std::str::from_utf8(text)?.len(),
                    ValueRef::Blob(bytes) => bytes.len(),
                    _ => 8,
                };
            }
            events += 1;
        }
        if events == before {
            break;
        }
    }
    ensure!(bytes > 0, "the log is empty");
    Ok((events, seen))
}

async fn postgres(connection: &mut sqlx::PgConnection, columns: &[&str], form: Form) -> Result<(u64, u64)> {
    let sql = format!(
        "COPY (SELECT {} FROM lamphouse.events ORDER BY position) TO STDOUT (FORMAT binary)",
        columns.join(", ")
    );
    let mut pieces = connection.copy_out_raw(&sql).await?;
    let (mut events, mut seen, mut first) = (0, 0, true);
    // The server sends one message a row, the header and the end included; sqlx hands messages on whole.
    while let Some(piece) = pieces.try_next().await? {
        let row = if std::mem::take(&mut first) {
            piece.get(HEADER_BYTES..).unwrap_or_default()
        } else {
            &piece[..]
        };
        let Some((count, mut fields)) = row.split_first_chunk::<2>() else {
            continue;
        };
        let count = match i16::from_be_bytes(*count) {
            -1 => continue,
            count => usize::try_from(count)?,
        };
        ensure!(count == columns.len(), "a row of {count} columns");
        for column in columns {
            let Some((length, rest)) = fields.split_first_chunk::<4>() else {
                bail!("a row that ends early");
            };
            let length = usize::try_from(i32::from_be_bytes(*length))?;
            ensure!(rest.len() >= length, "a column that ends early");
            let (field, rest) = rest.split_at(length);
            fields = rest;
            match *column {
                "data" => seen += look(std::str::from_utf8(field)?, form)?,
                "stream_id" | "event_type" | "stream_type" | "metadata" => {
                    std::str::from_utf8(field)?;
                }
                _ => {}
            }
        }
        events += 1;
    }
    Ok((events, seen))
}
