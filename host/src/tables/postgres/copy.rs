//! COPY in PostgreSQL's binary form: the quickest way into an empty table.

use std::sync::Arc;

use lamphouse_contract::{Row, TableSchema};
use sqlx::PgConnection;

use super::session::Failure;
use super::values;
use crate::tables::StoreError;
use crate::tables::ddl::{self, Relation};

/// Bytes gathered before they are sent. More gains nothing; the server reads in far smaller pieces.
const CHUNK_BYTES: usize = 256 << 10;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Loads rows into a table that has none of their keys, within the open transaction.
pub(super) async fn load(
    connection: &mut PgConnection,
    relation: Relation<'_>,
    table: &TableSchema,
    rows: &[Arc<Row>],
) -> Result<(), Failure> {
    let statement = format!(
        "COPY {relation} ({}) FROM STDIN (FORMAT binary)",
        ddl::all_columns(table)
    );
    let mut copy = connection.copy_in_raw(&statement).await?;
    let mut buffer = Vec::with_capacity(CHUNK_BYTES + (16 << 10));
    buffer.extend_from_slice(HEADER);
    for row in rows {
        if let Err(error) = append(table, row, &mut buffer) {
            copy.abort("the host could not encode a row").await?;
            return Err(error.into());
        }
        if buffer.len() >= CHUNK_BYTES {
            copy.send(buffer.as_slice()).await?;
            buffer.clear();
        }
    }
    buffer.extend_from_slice(&TRAILER);
    copy.send(buffer.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}

fn append(table: &TableSchema, row: &Row, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let columns = i16::try_from(row.len())
        .ok()
        .filter(|_| row.len() == table.columns.len())
        .ok_or_else(|| StoreError::Internal(format!("a row of {} has {} values", table.name, row.len())))?;
    out.extend_from_slice(&columns.to_be_bytes());
    for (column, value) in table.columns.iter().zip(row.iter()) {
        values::encode(column.kind, value, out)?;
    }
    Ok(())
}
