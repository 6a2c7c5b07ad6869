//! What a transaction will write: pure. Given the members of a group and what the database says of the streams, keys
//! and ids that they touch, decides who goes in, who gets an earlier answer and who conflicts, and gives positions and
//! stream versions.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::validate::{Digest, IMPORT_SCOPE, Prepared, PreparedEvent, PreparedLine};
use super::{Appended, AppendedStream, ExpectedVersion, LogError};
use crate::core::{Position, StreamVersion};

/// What to read under the lock of the counter row, before deciding.
#[derive(Debug, Default)]
pub(super) struct Ask<'a> {
    /// Scope and key.
    pub(super) keys: Vec<(&'a str, &'a str)>,
    pub(super) streams: Vec<&'a str>,
    pub(super) ids: Vec<Uuid>,
}

/// What is there, of what was asked for.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By scope and key.
    pub(super) keys: HashMap<(String, String), KnownKey>,
    /// By stream id.
    pub(super) streams: HashMap<String, KnownStream>,
    pub(super) ids: HashMap<Uuid, KnownEvent>,
}

/// The answer that an idempotency key got.
#[derive(Clone, Debug)]
pub(super) struct KnownKey {
    pub(super) digest: Vec<u8>,
    pub(super) position: i64,
    /// JSON of the [`AppendedStream`]s.
    pub(super) answer: String,
}

/// A stream's last event.
#[derive(Clone, Debug)]
pub(super) struct KnownStream {
    pub(super) version: i64,
    pub(super) stream_type: String,
}

/// An event that is in the log.
#[derive(Clone, Debug)]
pub(super) struct KnownEvent {
    pub(super) position: i64,
    pub(super) stream_id: String,
    pub(super) stream_type: String,
    pub(super) stream_version: i64,
    pub(super) event_type: String,
    pub(super) schema_version: i64,
    pub(super) data: String,
    pub(super) metadata: String,
}

/// The counter row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    /// Of the last event; 0 for an empty log.
    pub(super) position: i64,
    /// Of the last event, in microseconds since 1970.
    pub(super) recorded_at: i64,
}

/// What to write in one transaction.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) rows: Vec<Row<'a>>,
    pub(super) keys: Vec<NewKey<'a>>,
    /// The counter row as it will be.
    pub(super) counter: Counter,
}

/// One row of `events`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) position: i64,
    pub(super) id: Uuid,
    pub(super) stream_id: &'a str,
    pub(super) stream_type: &'a str,
    pub(super) stream_version: i64,
    pub(super) event_type: &'a str,
    pub(super) schema_version: u32,
    pub(super) data: &'a str,
    pub(super) metadata: &'a str,
    pub(super) occurred_at: i64,
    pub(super) recorded_at: i64,
}

/// One row of `idempotency`.
#[derive(Debug)]
pub(super) struct NewKey<'a> {
    pub(super) scope: &'a str,
    pub(super) key: &'a str,
    pub(super) digest: &'a Digest,
    pub(super) position: i64,
    pub(super) answer: String,
}

/// What to read for these appends. With `maybe_committed`, also every event id: an earlier commit's outcome is not
/// known.
pub(super) fn ask_appends<'a>(members: &[&'a Prepared], maybe_committed: bool) -> Ask<'a> {
    let mut ask = Ask::default();
    for member in members {
        ask.keys.extend(
            member
                .idempotency
                .iter()
                .map(|(name, _)| (name.scope.as_str(), name.key.as_str())),
        );
        ask.streams
            .extend(member.streams.iter().map(|stream| stream.stream_id.as_str()));
        ask.ids.extend(
            member
                .events()
                .filter(|(_, event)| maybe_committed || event.id_given)
                .map(|(_, event)| event.id),
        );
    }
    ask.deduplicated()
}

/// What to read for these lines.
pub(super) fn ask_import(lines: &[PreparedLine]) -> Ask<'_> {
    Ask {
        keys: lines
            .iter()
            .filter_map(|line| line.key.as_ref())
            .map(|(key, _)| (IMPORT_SCOPE, key.as_str()))
            .collect(),
        streams: lines.iter().map(|line| line.stream_id.as_str()).collect(),
        ids: lines
            .iter()
            .filter(|line| line.event.id_given)
            .map(|line| line.event.id)
            .collect(),
    }
    .deduplicated()
}

impl Ask<'_> {
    fn deduplicated(mut self) -> Self {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.streams.sort_unstable();
        self.streams.dedup();
        self.ids.sort_unstable();
        self.ids.dedup();
        self
    }
}

impl<'a> Write<'a> {
    fn new(counter: Counter, now: i64) -> Self {
        Self {
            rows: Vec::new(),
            keys: Vec::new(),
            counter: Counter {
                position: counter.position,
                recorded_at: now.max(counter.recorded_at),
            },
        }
    }

    /// Gives an event the next position.
    fn push(
        &mut self,
        stream_id: &'a str,
        stream_type: &'a str,
        stream_version: i64,
        event: &'a PreparedEvent,
    ) {
        self.counter.position += 1;
        self.rows.push(Row {
            position: self.counter.position,
            id: event.id,
            stream_id,
            stream_type,
            stream_version,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            data: event.data.get(),
            metadata: event.metadata.get(),
            occurred_at: event.occurred_at.unwrap_or(self.counter.recorded_at),
            recorded_at: self.counter.recorded_at,
        });
    }
}

/// Decides on a group of appends: each member's answer, good once the write is committed, and the write.
pub(super) fn decide_appends<'a>(
    members: &[&'a Prepared],
    maybe_committed: bool,
    mut known: Known,
    counter: Counter,
    now: i64,
) -> (Vec<Result<Appended, LogError>>, Write<'a>) {
    let mut write = Write::new(counter, now);
    let answers = members
        .iter()
        .map(|member| decide_append(member, maybe_committed, &mut known, &mut write))
        .collect();
    (answers, write)
}

fn decide_append<'a>(
    member: &'a Prepared,
    maybe_committed: bool,
    known: &mut Known,
    write: &mut Write<'a>,
) -> Result<Appended, LogError> {
    if maybe_committed && let Some(appended) = found(member, known) {
        return Ok(appended);
    }
    if let Some((name, digest)) = &member.idempotency
        && let Some(earlier) = known.keys.get(&(name.scope.clone(), name.key.clone()))
    {
        return repeat(earlier, digest, &name.key);
    }
    check(member, known)?;

    let mut streams = Vec::with_capacity(member.streams.len());
    for stream in &member.streams {
        let at = known
            .streams
            .entry(stream.stream_id.clone())
            .or_insert_with(|| KnownStream {
                version: 0,
                stream_type: stream.stream_type.clone(),
            });
        for event in &stream.events {
            at.version += 1;
            write.push(&stream.stream_id, &stream.stream_type, at.version, event);
            if event.id_given {
                let row = write.rows.last().expect("invariant: a row was pushed");
                known.ids.insert(event.id, KnownEvent::of(row));
            }
        }
        streams.push(AppendedStream {
            stream_id: stream.stream_id.clone(),
            version: version(at.version),
        });
    }
    let position = write.counter.position;
    if let Some((name, digest)) = &member.idempotency {
        let answer = answer_text(&streams);
        write.keys.push(NewKey {
            scope: &name.scope,
            key: &name.key,
            digest,
            position,
            answer: answer.clone(),
        });
        let earlier = KnownKey {
            digest: digest.to_vec(),
            position,
            answer,
        };
        known.keys.insert((name.scope.clone(), name.key.clone()), earlier);
    }
    Ok(Appended {
        position: Position::from_i64(position),
        streams,
        repeated: false,
    })
}

/// Whether the streams and ids are as the member wants them.
fn check(member: &Prepared, known: &Known) -> Result<(), LogError> {
    for stream in &member.streams {
        let there = known.streams.get(&stream.stream_id);
        if let Some(there) = there
            && there.stream_type != stream.stream_type
        {
            return Err(LogError::Invalid(other_type(
                &stream.stream_id,
                &there.stream_type,
                &stream.stream_type,
            )));
        }
        let actual = version(there.map_or(0, |there| there.version));
        let expected = match stream.expected {
            ExpectedVersion::Any => continue,
            ExpectedVersion::NoStream => StreamVersion(0),
            ExpectedVersion::Exact(expected) => expected,
        };
        if expected != actual {
            return Err(LogError::Conflict {
                stream_id: stream.stream_id.clone(),
                expected: if expected.0 == 0 {
                    "no stream".to_owned()
                } else {
                    expected.to_string()
                },
                actual,
            });
        }
    }
    for (stream, event) in member.events() {
        if event.id_given
            && let Some(there) = known.ids.get(&event.id)
        {
            return Err(LogError::Invalid(format!(
                "event id {} for stream '{}' is in the log already, at position {} in stream '{}': nothing was appended; \
                 to repeat an append safely, give it an idempotency key",
                event.id, stream.stream_id, there.position, there.stream_id
            )));
        }
    }
    Ok(())
}

fn other_type(stream_id: &str, is: &str, given: &str) -> String {
    format!(
        "stream '{stream_id}' is of type '{is}', not '{given}': a stream's type is fixed by its first event; nothing was appended"
    )
}

/// The answer of an append whose commit went in although nobody heard of it.
fn found(member: &Prepared, known: &Known) -> Option<Appended> {
    let mut position = 0;
    let mut streams = Vec::with_capacity(member.streams.len());
    for stream in &member.streams {
        let last = known.ids.get(&stream.events.last()?.id)?;
        position = position.max(last.position);
        streams.push(AppendedStream {
            stream_id: stream.stream_id.clone(),
            version: version(last.stream_version),
        });
    }
    Some(Appended {
        position: Position::from_i64(position),
        streams,
        repeated: false,
    })
}

/// The earlier answer under a key, if it was for the same request.
fn repeat(earlier: &KnownKey, digest: &Digest, key: &str) -> Result<Appended, LogError> {
    if earlier.digest != digest {
        return Err(LogError::KeyReused { key: key.to_owned() });
    }
    let streams = serde_json::from_str(&earlier.answer).map_err(|error| {
        LogError::Internal(format!(
            "the answer kept under idempotency key '{key}' cannot be read: {error}"
        ))
    })?;
    Ok(Appended {
        position: Position::from_i64(earlier.position),
        streams,
        repeated: true,
    })
}

/// Decides on an import: lines that are in the log already are left out.
pub(super) fn decide_import(
    lines: &[PreparedLine],
    mut known: Known,
    counter: Counter,
    now: i64,
) -> Result<Write<'_>, LogError> {
    let mut write = Write::new(counter, now);
    // Lines whose keys are in the log, and from here on those of this batch.
    let mut keys_used: HashSet<String> = known.keys.drain().map(|((_, key), _)| key).collect();
    for line in lines {
        if let Some((key, _)) = &line.key
            && !keys_used.insert(key.clone())
        {
            continue;
        }
        if line.event.id_given
            && let Some(there) = known.ids.get(&line.event.id)
        {
            if there.is(line) {
                continue;
            }
            return Err(LogError::Invalid(format!(
                "line {}: event id {} is in the log already, at position {}, with other content: nothing of this batch was imported",
                line.line, line.event.id, there.position
            )));
        }
        let at = match known.streams.get_mut(&line.stream_id) {
            Some(at) if at.stream_type != line.stream_type => {
                return Err(LogError::Invalid(format!(
                    "line {}: {}",
                    line.line,
                    other_type(&line.stream_id, &at.stream_type, &line.stream_type)
                )));
            }
            Some(at) => at,
            None => known
                .streams
                .entry(line.stream_id.clone())
                .or_insert_with(|| KnownStream {
                    version: 0,
                    stream_type: line.stream_type.clone(),
                }),
        };
        at.version += 1;
        let stream_version = at.version;
        write.push(&line.stream_id, &line.stream_type, stream_version, &line.event);
        if line.event.id_given {
            let row = write.rows.last().expect("invariant: a row was pushed");
            known.ids.insert(line.event.id, KnownEvent::of(row));
        }
        if let Some((key, digest)) = &line.key {
            let answer = answer_text(&[AppendedStream {
                stream_id: line.stream_id.clone(),
                version: version(stream_version),
            }]);
            let position = write.counter.position;
            write.keys.push(NewKey {
                scope: IMPORT_SCOPE,
                key,
                digest,
                position,
                answer,
            });
        }
    }
    Ok(write)
}

impl KnownEvent {
    fn of(row: &Row<'_>) -> Self {
        Self {
            position: row.position,
            stream_id: row.stream_id.to_owned(),
            stream_type: row.stream_type.to_owned(),
            stream_version: row.stream_version,
            event_type: row.event_type.to_owned(),
            schema_version: i64::from(row.schema_version),
            data: row.data.to_owned(),
            metadata: row.metadata.to_owned(),
        }
    }

    /// Whether a line says the same. JSON may be written differently: a file that passed through other tools has
    /// other white space.
    fn is(&self, line: &PreparedLine) -> bool {
        self.stream_id == line.stream_id
            && self.stream_type == line.stream_type
            && self.event_type == line.event.event_type
            && self.schema_version == i64::from(line.event.schema_version)
            && same_json(&self.data, line.event.data.get())
            && same_json(&self.metadata, line.event.metadata.get())
    }
}

fn same_json(a: &str, b: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    a == b || value(a).is_some_and(|a| Some(a) == value(b))
}

fn answer_text(streams: &[AppendedStream]) -> String {
    serde_json::to_string(streams).expect("invariant: names and numbers are JSON")
}

fn version(version: i64) -> StreamVersion {
    StreamVersion(u64::try_from(version).unwrap_or(0))
}
