//! The same events through the same plugin in another process of ours, which shares nothing with this one: what differs
//! between processes (addresses, seeds, time) shows in rows that differ.
//!
//! What goes in: a line of JSON ([`Order`]), then the events, packed. What comes out: 0 and the rows, packed as
//! `[table, row]` each; or 1 and why there are none.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use lamphouse_contract::{Row, packed};
use serde::{Deserialize, Serialize};

use super::HostError;
use super::rows::Rows;
use crate::core::limits::PluginLimits;
use crate::core::{EventBatch, EventId, PluginDigest, Position};
use crate::plugin::{Plugin, Sandbox};
use crate::projection::dry_run;

/// What the other process is to do.
#[derive(Serialize, Deserialize)]
struct Order {
    limits: PluginLimits,
    digest: String,
    cache: Option<PathBuf>,
    batch_events: usize,
}

const ROWS: u8 = 0;
const FAILED: u8 = 1;

/// Has another process of this executable replay the events; the error says at which position the plugin failed there.
pub(super) fn replay(
    file: &Path,
    plugin: &Plugin,
    limits: &PluginLimits,
    cache: Option<&Path>,
    events: &EventBatch,
    batch_events: usize,
) -> Result<Result<Rows, String>, HostError> {
    let failed = |why: &dyn std::fmt::Display| {
        HostError::Refused(format!(
            "the second process that the replay needs could not be run: {why}"
        ))
    };
    let order = Order {
        limits: limits.clone(),
        digest: plugin.digest().to_string(),
        cache: cache.map(Path::to_owned),
        batch_events,
    };
    let mut input = serde_json::to_vec(&order).map_err(|error| failed(&error))?;
    input.push(b'\n');
    input.extend_from_slice(events.packed(0..events.len()));
    let mut child = std::env::current_exe()
        .and_then(|executable| {
            Command::new(executable)
                .args(["plugin", "check", "--replay"])
                .arg(file)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        })
        .map_err(|error| failed(&error))?;
    // It reads all before it writes. Where it ends early, its own words are worth more than the broken pipe.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(&input));
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    if let Some(Err(error)) = written {
        return Err(failed(&error));
    }
    match output.stdout.split_first() {
        Some((&ROWS, rows)) => unpack(plugin, rows).map(Ok).map_err(|error| failed(&error)),
        Some((&FAILED, why)) => Ok(Err(String::from_utf8_lossy(why).into_owned())),
        _ => Err(failed(&"it gave no answer")),
    }
}

/// The other process's side: reads an order, writes the answer.
///
/// # Errors
/// The order cannot be read, or the file is not the plugin that it is about.
pub fn replay_for_another(
    file: &Path,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), HostError> {
    let refused = |why: String| HostError::Refused(why);
    let mut bytes = Vec::new();
    input
        .read_to_end(&mut bytes)
        .map_err(|error| refused(format!("standard input: {error}")))?;
    let line = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let order: Order = serde_json::from_slice(&bytes[..line])
        .map_err(|error| refused(format!("standard input holds no order to replay: {error}")))?;
    let module = std::fs::read(file)
        .map_err(|error| refused(format!("{} cannot be read: {error}", file.display())))?;
    if PluginDigest::of(&module).to_string() != order.digest {
        return Err(refused(format!(
            "{} was changed while it was checked",
            file.display()
        )));
    }
    let plugin = Sandbox::with_cache(order.limits, order.cache.as_deref())?.load_projector(&module)?;
    let events = batch(bytes.get(line + 1..).unwrap_or_default()).map_err(|error| refused(error.0))?;
    let answer = match dry_run(&plugin, &Arc::new(events), order.batch_events) {
        Ok(rows) => pack(&rows),
        Err(fault) => [&[FAILED], fault.to_string().as_bytes()].concat(),
    };
    output
        .write_all(&answer)
        .and_then(|()| output.flush())
        .map_err(|error| refused(format!("standard output: {error}")))
}

/// A batch of packed events.
fn batch(bytes: &[u8]) -> Result<EventBatch, packed::PackedError> {
    let mut batch = EventBatch::default();
    let mut events = packed::events(bytes);
    let mut start = 0;
    while let Some(event) = events.next() {
        let event = event?;
        let end = events.position();
        let id = event
            .id
            .parse()
            .map(EventId)
            .unwrap_or(EventId(uuid::Uuid::nil()));
        batch.push(Position(event.position), id, |out| {
            out.extend_from_slice(&bytes[start..end]);
        });
        start = end;
    }
    Ok(batch)
}

fn pack(tables: &[Vec<Arc<Row>>]) -> Vec<u8> {
    let mut out = vec![ROWS];
    for (table, rows) in (0_u32..).zip(tables) {
        for row in rows {
            packed::write_read(&mut out, table, row);
        }
    }
    out
}

fn unpack(plugin: &Plugin, bytes: &[u8]) -> Result<Rows, packed::PackedError> {
    let mut tables: Rows = plugin.descriptor().tables.iter().map(|_| Vec::new()).collect();
    for row in packed::reads(bytes) {
        let (table, row) = row?;
        match tables.get_mut(table as usize) {
            Some(rows) => rows.push(Arc::new(row)),
            None => return Err(packed::PackedError(format!("there is no table {table}"))),
        }
    }
    Ok(tables)
}
