//! The byte format of `wit/PACKED.md`.
//!
//! Written in the shortest form; read in every valid form. Bytes from a guest are not trusted: whatever they are, the
//! readers here give values or a [`PackedError`], never a panic, and reserve memory as values come, not as heads promise.

mod read;
mod write;

pub use read::Reader;
pub use write::{write_array, write_int, write_str, write_uint, write_value, write_value_ref, write_values};

use crate::fields::{Entries, Entry};
use crate::{Cell, CellChange, CellRef, Change, ChangeRef, Key, Operation, Row, Value};

/// One event, borrowed. Where it comes with declared fields, entries that the projector does not read are empty texts
/// and zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Place in the log.
    pub position: u64,
    /// Among the siblings made of one stored event, from 0.
    pub part: u32,
    /// Identity, as text.
    pub id: &'a str,
    /// The stream.
    pub stream_id: &'a str,
    /// Its type.
    pub stream_type: &'a str,
    /// Place in the stream.
    pub stream_version: u64,
    /// For example `OrderPlaced`.
    pub event_type: &'a str,
    /// Version of the event type's schema.
    pub schema_version: u32,
    /// JSON text; empty where `fields` are given instead.
    pub data: &'a str,
    /// JSON object text; empty where `fields` are given instead.
    pub metadata: &'a str,
    /// Microseconds since 1970.
    pub occurred_at: i64,
    /// Microseconds since 1970.
    pub recorded_at: i64,
    /// The values of the fields that the projector declares of such events, one after the other, packed; None where
    /// the event comes whole. See [`crate::fields`].
    pub fields: Option<&'a [u8]>,
}

/// One event that an upcaster gives, borrowed; the rest of it is the stored event's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifted<'a> {
    /// Its event type.
    pub event_type: &'a str,
    /// Version of its schema.
    pub schema_version: u32,
    /// JSON text; None: as in the event that was given.
    pub data: Option<&'a str>,
    /// JSON object text; None: as in the event that was given.
    pub metadata: Option<&'a str>,
}

/// Bytes that are not what `wit/PACKED.md` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedError(pub String);

impl std::fmt::Display for PackedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PackedError {}

const EVENT_ENTRIES: usize = 12;
const LIFTED_FIELDS: usize = 4;
const NIL: u8 = 0xc0;
const PUT: u64 = 0;
const PATCH: u64 = 1;
const UPSERT: u64 = 2;
const REMOVE: u64 = 3;
const SET: u64 = 0;
const ADD: u64 = 1;

/// A sequence of pieces of one kind, one after the other; ends at the first error.
#[derive(Clone, Debug)]
pub struct Sequence<'a, T> {
    reader: Reader<'a>,
    read: fn(&mut Reader<'a>) -> Result<T, PackedError>,
}

impl<'a, T> Sequence<'a, T> {
    fn new(bytes: &'a [u8], read: fn(&mut Reader<'a>) -> Result<T, PackedError>) -> Self {
        Self {
            reader: Reader::new(bytes),
            read,
        }
    }

    /// Bytes read so far: where the next piece begins.
    pub fn position(&self) -> usize {
        self.reader.position()
    }
}

impl<T> Iterator for Sequence<'_, T> {
    type Item = Result<T, PackedError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_at_end() {
            return None;
        }
        let piece = (self.read)(&mut self.reader);
        if piece.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(piece)
    }
}

/// Writes one event.
#[inline]
pub fn write_event(out: &mut Vec<u8>, event: &Event<'_>) {
    write_event_with(out, event, Entries::ALL);
}

/// Writes one event; where it has declared fields, with these entries alone.
#[inline]
pub fn write_event_with(out: &mut Vec<u8>, event: &Event<'_>, entries: Entries) {
    let is_nil = |entry| event.fields.is_some() && !entries.has(entry);
    // One growth instead of twelve; the fixed part of an event is below 80 bytes.
    let texts = event.id.len()
        + event.stream_id.len()
        + event.stream_type.len()
        + event.event_type.len()
        + event.data.len()
        + event.metadata.len();
    out.reserve(texts + event.fields.map_or(0, <[u8]>::len) + 80);
    write_array(out, EVENT_ENTRIES + usize::from(event.fields.is_some()));
    write_uint(out, event.position);
    write_uint(out, u64::from(event.part));
    match is_nil(Entry::Id) {
        true => out.push(NIL),
        false => write_str(out, event.id),
    }
    write_str(out, event.stream_id);
    match is_nil(Entry::StreamType) {
        true => out.push(NIL),
        false => write_str(out, event.stream_type),
    }
    match is_nil(Entry::StreamVersion) {
        true => out.push(NIL),
        false => write_uint(out, event.stream_version),
    }
    write_str(out, event.event_type);
    match is_nil(Entry::SchemaVersion) {
        true => out.push(NIL),
        false => write_uint(out, u64::from(event.schema_version)),
    }
    for text in [event.data, event.metadata] {
        if event.fields.is_some() && text.is_empty() {
            out.push(NIL);
        } else {
            write_str(out, text);
        }
    }
    for (entry, time) in [
        (Entry::OccurredAt, event.occurred_at),
        (Entry::RecordedAt, event.recorded_at),
    ] {
        match is_nil(entry) {
            true => out.push(NIL),
            false => write_int(out, time),
        }
    }
    if let Some(fields) = event.fields {
        write::write_bin(out, fields);
    }
}

/// Reads one event.
#[inline]
pub fn read_event<'a>(reader: &mut Reader<'a>) -> Result<Event<'a>, PackedError> {
    let entries = reader.array()?;
    let has_fields = entries == EVENT_ENTRIES + 1;
    if entries != EVENT_ENTRIES && !has_fields {
        return Err(reader.error(format_args!(
            "an event has {entries} entries instead of {EVENT_ENTRIES}, or one more with declared fields"
        )));
    }
    // Most entries may be nil where fields are declared, and most are then: no call is made for these.
    macro_rules! or_nil {
        ($read:ident) => {
            match has_fields && reader.nil() {
                true => Default::default(),
                false => reader.$read()?,
            }
        };
    }
    Ok(Event {
        position: reader.uint()?,
        part: reader.uint32()?,
        id: or_nil!(str),
        stream_id: reader.str()?,
        stream_type: or_nil!(str),
        stream_version: or_nil!(uint),
        event_type: reader.str()?,
        schema_version: or_nil!(uint32),
        data: or_nil!(str),
        metadata: or_nil!(str),
        occurred_at: or_nil!(int),
        recorded_at: or_nil!(int),
        fields: if has_fields { Some(reader.bin()?) } else { None },
    })
}

/// Reads a sequence of events.
pub fn events(bytes: &[u8]) -> Sequence<'_, Event<'_>> {
    Sequence::new(bytes, read_event)
}

/// Opens the list of what one event became; so many [`write_lifted`] are to follow.
#[inline]
pub fn write_lifted_count(out: &mut Vec<u8>, count: usize) {
    write_array(out, count);
}

/// Writes one event that an upcaster gives.
#[inline]
pub fn write_lifted(out: &mut Vec<u8>, lifted: &Lifted<'_>) {
    write_array(out, LIFTED_FIELDS);
    write_str(out, lifted.event_type);
    write_uint(out, u64::from(lifted.schema_version));
    for text in [lifted.data, lifted.metadata] {
        match text {
            Some(text) => write_str(out, text),
            None => out.push(NIL),
        }
    }
}

fn read_lifted<'a>(reader: &mut Reader<'a>) -> Result<Vec<Lifted<'a>>, PackedError> {
    let count = reader.array()?;
    reader.plausible(count)?;
    let mut list = Vec::with_capacity(count.min(read::RESERVE_MAX));
    for _ in 0..count {
        let fields = reader.array()?;
        if fields != LIFTED_FIELDS {
            return Err(reader.error(format_args!(
                "a lifted event has {fields} entries instead of {LIFTED_FIELDS}"
            )));
        }
        list.push(Lifted {
            event_type: reader.str()?,
            schema_version: reader.uint32()?,
            data: reader.str_or_nil()?,
            metadata: reader.str_or_nil()?,
        });
    }
    Ok(list)
}

/// Reads a sequence of what events became, a list for each.
pub fn lifted(bytes: &[u8]) -> Sequence<'_, Vec<Lifted<'_>>> {
    Sequence::new(bytes, read_lifted)
}

/// Writes one change.
pub fn write_change(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Put { table, row } => {
            write_put(out, *table);
            write_values(out, row);
        }
        Change::Patch { table, key, cells } => write_patch(out, *table, key, cells),
        Change::Upsert { table, key, cells } => write_upsert(out, *table, key, cells),
        Change::Remove { table, key } => write_remove(out, *table, key),
    }
}

/// Writes a patch.
pub fn write_patch(out: &mut Vec<u8>, table: u32, key: &[Value], cells: &[Cell]) {
    write_cells(out, PATCH, table, key, cells);
}

/// Writes an upsert.
pub fn write_upsert(out: &mut Vec<u8>, table: u32, key: &[Value], cells: &[Cell]) {
    write_cells(out, UPSERT, table, key, cells);
}

/// Writes a remove.
pub fn write_remove(out: &mut Vec<u8>, table: u32, key: &[Value]) {
    write_array(out, 3);
    write_uint(out, REMOVE);
    write_uint(out, u64::from(table));
    write_values(out, key);
}

/// Opens a put; the row is to follow ([`write_values`], or [`write_array`] and each value).
#[inline]
pub fn write_put(out: &mut Vec<u8>, table: u32) {
    write_array(out, 3);
    write_uint(out, PUT);
    write_uint(out, u64::from(table));
}

fn write_cells(out: &mut Vec<u8>, operation: u64, table: u32, key: &[Value], cells: &[Cell]) {
    write_array(out, 4);
    write_uint(out, operation);
    write_uint(out, u64::from(table));
    write_values(out, key);
    write_array(out, cells.len() * 3);
    for cell in cells {
        write_uint(out, u64::from(cell.column));
        match &cell.change {
            CellChange::Set(value) => {
                write_uint(out, SET);
                write_value(out, value);
            }
            CellChange::Add(value) => {
                write_uint(out, ADD);
                write_value(out, value);
            }
        }
    }
}

/// Reads one change.
pub fn read_change(reader: &mut Reader<'_>) -> Result<Change, PackedError> {
    let mut change = ChangeRef::default();
    read_change_ref(reader, &mut change)?;
    Ok(change.to_change())
}

/// Reads one change without copying its values; what was in `into` is forgotten.
#[inline]
pub fn read_change_ref<'a>(reader: &mut Reader<'a>, into: &mut ChangeRef<'a>) -> Result<(), PackedError> {
    let entries = reader.array()?;
    let (operation, due) = match reader.uint()? {
        PUT => (Operation::Put, 3),
        PATCH => (Operation::Patch, 4),
        UPSERT => (Operation::Upsert, 4),
        REMOVE => (Operation::Remove, 3),
        other => return Err(reader.error(format_args!("operation {other} is unknown"))),
    };
    if entries != due {
        return Err(reader.error(format_args!("a change has {entries} entries instead of {due}")));
    }
    into.operation = operation;
    into.table = reader.uint32()?;
    into.values.clear();
    into.cells.clear();
    let count = reader.array()?;
    // A value takes at least one byte, so a count beyond the bytes that are left is a lie.
    reader.plausible(count)?;
    for _ in 0..count {
        into.values.push(reader.value()?);
    }
    if due == 4 {
        read_cells(reader, &mut into.cells)?;
    }
    Ok(())
}

fn read_cells<'a>(reader: &mut Reader<'a>, cells: &mut Vec<CellRef<'a>>) -> Result<(), PackedError> {
    let entries = reader.array()?;
    if entries % 3 != 0 {
        return Err(reader.error(format_args!("cells have {entries} entries, not three a cell")));
    }
    reader.plausible(entries)?;
    for _ in 0..entries / 3 {
        let column = reader.uint32()?;
        let adds = match reader.uint()? {
            SET => false,
            ADD => true,
            change => return Err(reader.error(format_args!("cell change {change} is unknown"))),
        };
        let value = reader.value()?;
        cells.push(CellRef { column, adds, value });
    }
    Ok(())
}

/// Reads a sequence of changes.
pub fn changes(bytes: &[u8]) -> Sequence<'_, Change> {
    Sequence::new(bytes, read_change)
}

/// Writes one read: a table and a key.
pub fn write_read(out: &mut Vec<u8>, table: u32, key: &[Value]) {
    write_array(out, 2);
    write_uint(out, u64::from(table));
    write_values(out, key);
}

fn read_read(reader: &mut Reader<'_>) -> Result<(u32, Key), PackedError> {
    let entries = reader.array()?;
    if entries != 2 {
        return Err(reader.error(format_args!("a read has {entries} entries instead of 2")));
    }
    Ok((reader.uint32()?, reader.values()?))
}

/// Reads a sequence of reads.
pub fn reads(bytes: &[u8]) -> Sequence<'_, (u32, Key)> {
    Sequence::new(bytes, read_read)
}

/// Writes one answer: a row, or nil.
pub fn write_answer(out: &mut Vec<u8>, row: Option<&[Value]>) {
    match row {
        Some(row) => write_values(out, row),
        None => out.push(NIL),
    }
}

fn read_answer(reader: &mut Reader<'_>) -> Result<Option<Row>, PackedError> {
    match reader.array_or_nil()? {
        Some(count) => reader.values_of(count).map(Some),
        None => Ok(None),
    }
}

/// Reads a sequence of answers.
pub fn answers(bytes: &[u8]) -> Sequence<'_, Option<Row>> {
    Sequence::new(bytes, read_answer)
}
