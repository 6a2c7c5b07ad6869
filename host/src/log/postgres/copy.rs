//! One large range of the log as binary COPY, and its bytes as events.
//!
//! A task of the runtime owns the connection and collects rows into chunks; the reader's thread decodes them, so that
//! both work at once.

use futures_util::StreamExt as _;
use lamphouse_contract::packed;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Server;
use crate::core::{EventBatch, EventId, Position};
use crate::log::query::{Columns, column};

/// Bytes collected before they go to the reader's thread. A hand-over costs some microseconds.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait. More smooth out a jittery server; each costs its bytes.
const CHUNKS_MAX: usize = 4;
/// What every binary COPY begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Columns of a row.
const FIELDS: usize = 11;
/// PostgreSQL counts from 2000-01-01, in microseconds.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

/// A connection that copies ranges out, one after the other.
pub(super) struct Copier {
    ranges: mpsc::UnboundedSender<String>,
    chunks: mpsc::Receiver<Chunk>,
    task: JoinHandle<()>,
}

/// Some bytes of a range, its end, or its failure.
pub(super) enum Chunk {
    Bytes(Vec<u8>),
    End,
    Failed(sqlx::Error),
}

impl Copier {
    pub(super) fn start(server: &Server) -> Self {
        let (ranges, wanted) = mpsc::unbounded_channel();
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let task = server.runtime.spawn(copy(server.clone(), wanted, sender));
        Self { ranges, chunks, task }
    }

    /// Asks for a range; its chunks follow.
    pub(super) fn ask(&self, copy_statement: String) {
        // When the task has ended, the next chunk says so.
        let _ = self.ranges.send(copy_statement);
    }

    pub(super) async fn next(&mut self) -> Result<Chunk, sqlx::Error> {
        self.chunks.recv().await.ok_or(sqlx::Error::WorkerCrashed)
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(server: Server, mut wanted: mpsc::UnboundedReceiver<String>, chunks: mpsc::Sender<Chunk>) {
    let result: Result<(), sqlx::Error> = async {
        let mut connection = server.connect().await?;
        while let Some(statement) = wanted.recv().await {
            let mut rows = connection.copy_out_raw(&statement).await?;
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2));
            while let Some(bytes) = rows.next().await {
                chunk.extend_from_slice(&bytes?);
                if chunk.len() >= CHUNK_BYTES {
                    let full =
                        std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2)));
                    if chunks.send(Chunk::Bytes(full)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            if chunks.send(Chunk::Bytes(chunk)).await.is_err() || chunks.send(Chunk::End).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = result {
        // Whoever waits for the chunk is told; nobody else wants to know.
        let _ = chunks.send(Chunk::Failed(error)).await;
    }
}

/// Decodes a binary COPY that arrives in pieces.
#[derive(Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    at: usize,
    in_rows: bool,
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One event was added to the batch.
    Event,
    /// The event at this position is not as declared, was not added, and is to be read whole.
    ReadAgain(Position),
    /// The bytes end inside something.
    More,
    /// The copy ends here.
    End,
}

impl Decoder {
    /// Takes more bytes; what was decoded is dropped.
    pub(super) fn feed(&mut self, bytes: Vec<u8>) {
        if self.at == self.bytes.len() {
            self.bytes = bytes;
        } else {
            self.bytes.drain(..self.at);
            self.bytes.extend_from_slice(&bytes);
        }
        self.at = 0;
    }

    /// Decodes the next event, of which these columns were copied, into the batch.
    pub(super) fn step(&mut self, columns: Columns, batch: &mut EventBatch) -> Result<Step, String> {
        let rest = &self.bytes[self.at..];
        if !self.in_rows {
            let Some(header) = header(rest)? else {
                return Ok(Step::More);
            };
            self.at += header;
            self.in_rows = true;
            return self.step(columns, batch);
        }
        let Some(count) = rest.first_chunk::<2>() else {
            return Ok(Step::More);
        };
        match i16::from_be_bytes(*count) {
            -1 => return Ok(Step::End),
            11 => {}
            other => return Err(format!("a row of {other} columns")),
        }
        let Some((fields, end)) = fields(rest)? else {
            return Ok(Step::More);
        };
        let step = push(&fields, columns, batch)?;
        self.at += end;
        Ok(step)
    }
}

/// Length of the header; None if it is not all there.
fn header(bytes: &[u8]) -> Result<Option<usize>, String> {
    let fixed = SIGNATURE.len() + 8;
    if bytes.len() < fixed {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err("no binary COPY".to_owned());
    }
    let extension = u32::from_be_bytes(fixed_size(&bytes[fixed - 4..fixed])?);
    let end = fixed + usize::try_from(extension).map_err(|error| error.to_string())?;
    Ok((bytes.len() >= end).then_some(end))
}

/// The columns of one row.
type Fields<'a> = [&'a [u8]; FIELDS];

/// The fields of a row and its length; None if it is not all there.
fn fields(row: &[u8]) -> Result<Option<(Fields<'_>, usize)>, String> {
    let mut fields = [&row[..0]; FIELDS];
    let mut at = 2;
    for (index, field) in fields.iter_mut().enumerate() {
        let Some(length) = row.get(at..at + 4) else {
            return Ok(None);
        };
        let length = usize::try_from(i32::from_be_bytes(fixed_size(length)?))
            .map_err(|_| format!("a null in column {index}"))?;
        let Some(bytes) = row.get(at + 4..at + 4 + length) else {
            return Ok(None);
        };
        *field = bytes;
        at += 4 + length;
    }
    Ok(Some((fields, at)))
}

fn push(fields: &Fields<'_>, columns: Columns, batch: &mut EventBatch) -> Result<Step, String> {
    let big = |index: usize| match columns.has(index) {
        true => Ok::<_, String>(i64::from_be_bytes(fixed_size(fields[index])?)),
        false => Ok(0),
    };
    // What is not wanted was copied as an empty text.
    let text = |index: usize| std::str::from_utf8(fields[index]).map_err(|error| error.to_string());
    let position = Position::from_i64(big(0)?);
    let id = Uuid::from_bytes(fixed_size(fields[1])?);
    let mut id_text = Uuid::encode_buffer();
    let event = packed::Event {
        position: position.0,
        part: 0,
        id: match columns.has(column::ID) {
            true => id.hyphenated().encode_lower(&mut id_text),
            false => "",
        },
        stream_id: text(2)?,
        stream_type: text(column::STREAM_TYPE)?,
        stream_version: big(column::STREAM_VERSION)?.unsigned_abs(),
        event_type: text(5)?,
        schema_version: match columns.has(column::SCHEMA_VERSION) {
            true => i32::from_be_bytes(fixed_size(fields[column::SCHEMA_VERSION])?).unsigned_abs(),
            false => 0,
        },
        data: text(column::DATA)?,
        metadata: text(column::METADATA)?,
        occurred_at: big(column::OCCURRED_AT)? + EPOCH_2000_MICROS,
        recorded_at: big(column::RECORDED_AT)? + EPOCH_2000_MICROS,
        fields: None,
    };
    if columns == Columns::ALL {
        batch.push_event(position, EventId(id), &event);
    } else if !batch.push_lean(position, EventId(id), &event) {
        return Ok(Step::ReadAgain(position));
    }
    Ok(Step::Event)
}

fn fixed_size<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes
        .try_into()
        .map_err(|_| format!("{} bytes where {N} belong", bytes.len()))
}
