//! The byte format of `wit/PACKED.md`.

/// One event, borrowed.
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
    /// JSON text.
    pub data: &'a str,
    /// JSON object text.
    pub metadata: &'a str,
    /// Microseconds since 1970.
    pub occurred_at: i64,
    /// Microseconds since 1970.
    pub recorded_at: i64,
}

/// Bytes that are not what `wit/PACKED.md` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedError(pub String);

/// Writes one event.
pub fn write_event(out: &mut Vec<u8>, event: &Event<'_>) {
    let _ = (out, event);
    todo!()
}
/// Reads a sequence of events.
pub fn events(bytes: &[u8]) -> impl Iterator<Item = Result<Event<'_>, PackedError>> {
    let _ = bytes;
    std::iter::from_fn(|| todo!())
}
/// Writes one change.
pub fn write_change(out: &mut Vec<u8>, change: &crate::Change) {
    let _ = (out, change);
    todo!()
}
/// Reads a sequence of changes.
pub fn changes(bytes: &[u8]) -> impl Iterator<Item = Result<crate::Change, PackedError>> {
    let _ = bytes;
    std::iter::from_fn(|| todo!())
}
/// Writes one read: a table and a key.
pub fn write_read(out: &mut Vec<u8>, table: u32, key: &[crate::Value]) {
    let _ = (out, table, key);
    todo!()
}
/// Reads a sequence of reads.
pub fn reads(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, crate::Key), PackedError>> {
    let _ = bytes;
    std::iter::from_fn(|| todo!())
}
/// Writes one answer: a row, or nil.
pub fn write_answer(out: &mut Vec<u8>, row: Option<&[crate::Value]>) {
    let _ = (out, row);
    todo!()
}
/// Reads a sequence of answers.
pub fn answers(bytes: &[u8]) -> impl Iterator<Item = Result<Option<crate::Row>, PackedError>> {
    let _ = bytes;
    std::iter::from_fn(|| todo!())
}
