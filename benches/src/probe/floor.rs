//! The floor of a rebuild: one thread that reads the log's own table and parses each event's data, and does no more.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use futures_util::TryStreamExt as _;
use serde::Deserialize;

use crate::Timed;
use crate::database::Database;

/// What a projector of either workload looks at; texts are borrowed where nothing is escaped.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    customer_id: Option<std::borrow::Cow<'a, str>>,
    quantity: Option<i64>,
    #[serde(borrow)]
    unit_price: Option<std::borrow::Cow<'a, str>>,
}

/// Reads the columns that a projector needs, in order, in the fastest way that we know of the database.
pub(crate) fn run(log: &str) -> Result<Timed> {
    let mut database = Database::open(log)?;
    let began = Instant::now();
    let (events, seen) = match &mut database {
        Database::Sqlite(connection) => sqlite(connection)?,
        Database::Postgres(runtime, connection) => runtime.block_on(postgres(connection))?,
    };
    let seconds = began.elapsed().as_secs_f64();
    // So that no compiler leaves the parsing out.
    ensure!(seen > 0, "no event had a quantity");
    Ok(Timed { events, seconds })
}

fn look(data: &str) -> serde_json::Result<u64> {
    let data: Data = serde_json::from_str(data)?;
    let seen = data.quantity.is_some() && (data.unit_price.is_some() || data.customer_id.is_some());
    Ok(u64::from(seen))
}

fn sqlite(connection: &mut rusqlite::Connection) -> Result<(u64, u64)> {
    let sql = "SELECT position, stream_id, event_type, data, occurred_at FROM events ORDER BY position";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let (mut events, mut seen, mut bytes) = (0, 0, 0);
    while let Some(row) = rows.next()? {
        let position = row.get_ref(0)?.as_i64()?;
        let occurred_at = row.get_ref(4)?.as_i64()?;
        bytes += row.get_ref(1)?.as_str()?.len() + row.get_ref(2)?.as_str()?.len();
        seen += look(row.get_ref(3)?.as_str()?)?;
        events += u64::from(position > 0 && occurred_at > 0);
    }
    ensure!(bytes > 0, "the log is empty");
    Ok((events, seen))
}

async fn postgres(connection: &mut sqlx::PgConnection) -> Result<(u64, u64)> {
    let sql = "COPY (SELECT position, stream_id, event_type, data, occurred_at FROM lamphouse.events ORDER BY position) \
               TO STDOUT (FORMAT binary)";
    let mut pieces = connection.copy_out_raw(sql).await?;
    let (mut events, mut seen, mut first) = (0, 0, true);
    // The server sends one message a row, the header and the end included; sqlx hands messages on whole.
    while let Some(piece) = pieces.try_next().await? {
        let row = if std::mem::take(&mut first) {
            piece.get(19..).unwrap_or_default()
        } else {
            &piece[..]
        };
        let Some((count, mut fields)) = row.split_first_chunk::<2>() else {
            continue;
        };
        match i16::from_be_bytes(*count) {
            -1 => continue,
            5 => {}
            other => bail!("a row of {other} columns"),
        }
        let mut columns = [&fields[..0]; 5];
        for column in &mut columns {
            let Some((length, rest)) = fields.split_first_chunk::<4>() else {
                bail!("a row that ends early");
            };
            let length = usize::try_from(i32::from_be_bytes(*length))?;
            ensure!(rest.len() >= length, "a column that ends early");
            (*column, fields) = rest.split_at(length);
        }
        std::str::from_utf8(columns[1])?;
        std::str::from_utf8(columns[2])?;
        seen += look(std::str::from_utf8(columns[3])?)?;
        events += 1;
    }
    Ok((events, seen))
}
