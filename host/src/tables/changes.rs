//! Row changes of the public tables, written in the transaction of the rows, for those who subscribe to them.
//!
//! *Invariants:* flushes of public generations write them, and nobody else; one sequence over all tables, whose order is
//! that of the commits, so that who has seen N misses nothing up to N. The sequence leaves numbers out only where what was
//! seen may not be resumed: after a time without changes being written, or a crash that may have taken commits back. So
//! whoever asks for what comes after N and does not get N + 1 has to read the tables again.

use lamphouse_contract::semantics::key_of;
use lamphouse_contract::{Descriptor, TableSchema, Value};

use super::{Flush, StoreError, TableFlush, answer};
use crate::core::{GenerationId, PluginName, Position};

/// Row changes of one flush that are written; a larger one (an import that live tables catch up with) writes one mark a
/// table: whoever follows reads the tables again, which is less work. Raise it for large flushes that are wanted row by row.
pub(super) const FLUSH_ROWS_MAX: usize = 5_000;

/// The same in bytes of the rows' values.
pub(super) const FLUSH_BYTES_MAX: usize = 8 << 20;

/// Numbers that are left out where what was seen cannot be resumed: more than a database can have lost in a crash.
pub(super) const JUMP: u64 = 1_000_000;

/// Changes that one step of trimming takes.
pub(super) const TRIM_STEP_ROWS: u64 = 1_000;

/// Bytes of one page of changes; at least one change comes.
pub(super) const PAGE_BYTES_MAX: u64 = 4 << 20;

/// One change of a public table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Its place among all changes of all tables.
    pub sequence: u64,
    /// The projection.
    pub projection: PluginName,
    /// The generation whose table it is, which was public then.
    pub generation: GenerationId,
    /// Public name of the table.
    pub table: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The row's key as a JSON object; None of [`ChangeKind::MustRefetch`].
    pub key: Option<String>,
    /// The row as a JSON object, in the conventions of [`answer`]; None where it is gone.
    pub row: Option<String>,
    /// The checkpoint of the flush that it is of.
    pub position: Position,
    /// Microseconds since 1970.
    pub recorded_at: i64,
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The row is new, or replaced.
    Put,
    /// The row is gone.
    Remove,
    /// More changed than is told row by row.
    MustRefetch(Refetch),
}

/// Why a table has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refetch {
    /// Another generation is public, or the table is new or gone.
    Cutover,
    /// One flush changed more rows than are told.
    TooMany,
}

impl ChangeKind {
    /// The words of the columns `kind` and `reason`.
    pub(super) fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Put => ("put", None),
            Self::Remove => ("remove", None),
            Self::MustRefetch(reason) => ("must-refetch", Some(reason.word())),
        }
    }

    pub(super) fn read(kind: &str, reason: Option<&str>) -> Result<Self, StoreError> {
        match (kind, reason) {
            ("put", None) => Ok(Self::Put),
            ("remove", None) => Ok(Self::Remove),
            ("must-refetch", Some("cutover")) => Ok(Self::MustRefetch(Refetch::Cutover)),
            ("must-refetch", Some("too-many")) => Ok(Self::MustRefetch(Refetch::TooMany)),
            _ => Err(StoreError::Internal(format!(
                "a change is called '{kind}' ({reason:?}), which is none of ours: was the table of changes edited by hand?"
            ))),
        }
    }
}

impl Refetch {
    /// As it is stored and handed out.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cutover => "cutover",
            Self::TooMany => "too-many",
        }
    }
}

/// Where the changes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeHead {
    /// The last sequence that was given.
    pub sequence: u64,
    /// Changes that are kept; 0: none are written.
    pub rows_max: u64,
}

/// Some changes, in order.
#[derive(Clone, Debug)]
pub struct ChangePage {
    /// Where the changes stood just before these were read.
    pub head: ChangeHead,
    /// Changes after the one that was asked for.
    pub changes: Vec<RowChange>,
}

/// The part of a table store that keeps row changes.
pub trait Changes {
    /// From now on keeps about so many changes; 0 writes none. For the owner, before anything is written.
    fn keep_changes(&self, rows_max: u64) -> Result<(), StoreError>;

    /// Where they stand.
    fn change_head(&self) -> Result<ChangeHead, StoreError>;

    /// Changes after this sequence, at most `limit`; fewer where they are large.
    fn changes(&self, after: u64, limit: u64) -> Result<ChangePage, StoreError>;

    /// Deletes some of those that are too many, in a short transaction; says whether there are more.
    fn trim_changes(&self) -> Result<bool, StoreError>;
}

/// One change as a flush writes it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) table: &'a str,
    pub(super) kind: ChangeKind,
    pub(super) key: Option<String>,
    pub(super) row: Option<String>,
}

impl<'a> Entry<'a> {
    /// Says that a table has to be read again.
    pub(super) fn mark(table: &'a str, reason: Refetch) -> Self {
        Self {
            table,
            kind: ChangeKind::MustRefetch(reason),
            key: None,
            row: None,
        }
    }
}

/// How many entries [`entries`] makes of a flush, without making them.
pub(super) fn count(flush: &Flush) -> usize {
    if is_too_much(flush) {
        flush.tables.iter().filter(|table| rows(table) > 0).count()
    } else {
        flush.tables.iter().map(rows).sum()
    }
}

/// What a flush of a public generation writes: table by table, first what is gone.
pub(super) fn entries<'a>(descriptor: &'a Descriptor, flush: &Flush) -> Vec<Entry<'a>> {
    let too_much = is_too_much(flush);
    let mut entries = Vec::with_capacity(count(flush));
    for changed in &flush.tables {
        // A table that is not declared fails the flush where its rows are written.
        let Some(schema) = descriptor.tables.get(changed.table) else {
            continue;
        };
        if too_much {
            if rows(changed) > 0 {
                entries.push(Entry::mark(&schema.name, Refetch::TooMany));
            }
            continue;
        }
        for key in &changed.removes {
            entries.push(Entry {
                table: &schema.name,
                kind: ChangeKind::Remove,
                key: Some(key_json(schema, key)),
                row: None,
            });
        }
        for row in changed.inserts.iter().chain(&changed.upserts) {
            entries.push(Entry {
                table: &schema.name,
                kind: ChangeKind::Put,
                key: Some(key_json(schema, &key_of(schema, row))),
                row: Some(row_json(schema, row)),
            });
        }
    }
    entries
}

fn rows(table: &TableFlush) -> usize {
    table.inserts.len() + table.upserts.len() + table.removes.len()
}

fn is_too_much(flush: &Flush) -> bool {
    if flush.tables.iter().map(rows).sum::<usize>() > FLUSH_ROWS_MAX {
        return true;
    }
    let mut bytes = 0;
    flush
        .tables
        .iter()
        .flat_map(|table| table.inserts.iter().chain(&table.upserts))
        .any(|row| {
            bytes += row.iter().map(size).sum::<usize>();
            bytes > FLUSH_BYTES_MAX
        })
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len() * 4 / 3,
        _ => 8,
    }
}

/// A key as an object of its columns.
fn key_json(schema: &TableSchema, key: &[Value]) -> String {
    let names = schema
        .primary_key
        .iter()
        .map(|place| schema.columns[*place as usize].name.as_str());
    object(names.zip(key))
}

/// A row as an object of its columns.
fn row_json(schema: &TableSchema, row: &[Value]) -> String {
    object(schema.columns.iter().map(|column| column.name.as_str()).zip(row))
}

fn object<'v>(members: impl Iterator<Item = (&'v str, &'v Value)>) -> String {
    let mut text = String::with_capacity(128);
    text.push('{');
    for (place, (name, value)) in members.enumerate() {
        if place > 0 {
            text.push(',');
        }
        push_text(name, &mut text);
        text.push(':');
        push(value, &mut text);
    }
    text.push('}');
    text
}

/// Appends a value as JSON, in one line.
fn push(value: &Value, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a text cannot fail.
    let _ = match value {
        Value::Null => out.write_str("null"),
        Value::Boolean(value) => write!(out, "{value}"),
        Value::Integer(value) => write!(out, "{}", answer::integer(*value)),
        Value::Real(value) => write!(out, "{}", answer::real(*value)),
        Value::Decimal(value) => write!(out, "\"{value}\""),
        Value::Text(text) => {
            push_text(text, out);
            Ok(())
        }
        Value::Json(text) => write!(out, "{}", answer::json(text)),
        Value::Bytes(bytes) => write!(out, "{}", answer::bytes(bytes)),
        Value::Timestamp(micros) => write!(out, "\"{}\"", timestamp(*micros)),
    };
}

fn push_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("invariant: a text is JSON"));
}

fn timestamp(micros: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        // Beyond the years that the calendar has: nobody writes such a time.
        None => format!("{micros} microseconds since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lamphouse_contract::Row;

    use super::*;
    use crate::tables::{Checkpoint, sample};

    fn flush(rows: usize, bytes: usize) -> Flush {
        let row = |number: usize| -> Arc<Row> {
            let id = format!("{number} {}", "x".repeat(bytes));
            Arc::new(Box::new([Value::Text(id.into())]))
        };
        Flush {
            from: Checkpoint::default(),
            to: Checkpoint::default(),
            tables: vec![TableFlush {
                upserts: (0..rows).map(row).collect(),
                ..TableFlush::default()
            }],
            letters: None,
        }
    }

    #[test]
    fn a_large_flush_writes_a_mark_in_place_of_rows() {
        let table = sample::table(
            "notes",
            vec![sample::column("id", lamphouse_contract::ColumnType::Text)],
            &[0],
            &[],
        );
        let descriptor = sample::descriptor("notes", "1.0.0", vec![table]);
        let kinds = |flush: &Flush| -> Vec<ChangeKind> {
            let entries = entries(&descriptor, flush);
            assert_eq!(entries.len(), count(flush));
            entries.iter().map(|entry| entry.kind).collect()
        };
        assert_eq!(kinds(&flush(0, 1)), []);
        assert_eq!(
            kinds(&flush(FLUSH_ROWS_MAX, 4)),
            vec![ChangeKind::Put; FLUSH_ROWS_MAX]
        );
        let mark = [ChangeKind::MustRefetch(Refetch::TooMany)];
        assert_eq!(kinds(&flush(FLUSH_ROWS_MAX + 1, 4)), mark);
        assert_eq!(kinds(&flush(9, 1 << 20)), mark);
    }

    #[test]
    fn a_row_is_one_line_of_json() {
        let mut out = String::new();
        for value in [
            Value::Json("{\n \"a\": [1,\r\n 2]}".into()),
            Value::Text("two\nlines \u{2028} \"quoted\"".into()),
            Value::Json("1e400".into()),
            Value::Real(f64::MAX),
        ] {
            push(&value, &mut out);
            out.push(' ');
        }
        assert!(!out.contains(['\n', '\r']), "{out}");
        assert!(out.starts_with("{\"a\":[1,2]} \"two\\nlines"), "{out}");
    }
}
