//! Whether a request may go into the log at all: pure, and before any database sees it.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{AppendRequest, ExpectedVersion, IdempotencyKey, ImportEvent, LogError, json};
use crate::core::NewEvent;
use crate::core::event::{RESERVED, is_reserved};
use crate::core::limits::AppendLimits;

/// Years 1 to 9999: what RFC 3339 can write and both databases can store.
const OCCURRED_AT_MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// The scope of keys that import lines carry.
pub(super) const IMPORT_SCOPE: &str = "import";

/// An append that keeps all rules which can be checked without the database. Its events have ids, so that they can be
/// looked up when a commit's outcome is not known.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) streams: Vec<PreparedStream>,
    pub(super) idempotency: Option<(IdempotencyKey, Digest)>,
}

/// SHA-256 of a request in the canonical form of [`digest`].
pub(super) type Digest = [u8; 32];

/// Events for one stream.
#[derive(Debug)]
pub(super) struct PreparedStream {
    pub(super) stream_id: String,
    pub(super) stream_type: String,
    pub(super) expected: ExpectedVersion,
    pub(super) events: Vec<PreparedEvent>,
}

/// One event with its id.
#[derive(Debug)]
pub(super) struct PreparedEvent {
    pub(super) id: Uuid,
    /// Whether the caller gave the id.
    pub(super) id_given: bool,
    pub(super) event_type: String,
    pub(super) schema_version: u32,
    pub(super) data: Box<RawValue>,
    pub(super) metadata: Box<RawValue>,
    /// Microseconds since 1970; the time of recording when absent.
    pub(super) occurred_at: Option<i64>,
}

/// One line of an import.
#[derive(Debug)]
pub(super) struct PreparedLine {
    pub(super) line: u64,
    pub(super) stream_id: String,
    pub(super) stream_type: String,
    pub(super) key: Option<(String, Digest)>,
    pub(super) event: PreparedEvent,
}

impl Prepared {
    /// Bytes of data and metadata, to bound a transaction.
    pub(super) fn bytes_len(&self) -> usize {
        self.events()
            .map(|(_, event)| event.data.get().len() + event.metadata.get().len())
            .sum()
    }

    /// Every event with its stream.
    pub(super) fn events(&self) -> impl Iterator<Item = (&PreparedStream, &PreparedEvent)> {
        self.streams
            .iter()
            .flat_map(|stream| stream.events.iter().map(move |event| (stream, event)))
    }
}

/// Checks an append and gives its events ids.
pub(super) fn append(request: AppendRequest, limits: &AppendLimits) -> Result<Prepared, LogError> {
    for stream in &request.streams {
        // A stream without events is refused below.
        let types = stream.events.iter().map(|event| event.event_type.as_str());
        check_names_free(&stream.stream_id, &stream.stream_type, types)
            .map_err(|wrong| LogError::Invalid(format!("{wrong}: nothing was appended")))?;
    }
    append_own(request, limits)
}

/// As [`append`], where reserved names may be: for the host's own events.
pub(super) fn append_own(request: AppendRequest, limits: &AppendLimits) -> Result<Prepared, LogError> {
    if request.streams.is_empty() {
        return Err(invalid(
            "the append names no stream: give at least one with one event",
        ));
    }
    let count: usize = request.streams.iter().map(|stream| stream.events.len()).sum();
    if count as u64 > limits.events_per_append_max {
        return Err(LogError::Invalid(format!(
            "the append has {count} events, more than {} ([append] events_per_append_max): nothing was appended; split it, or use an import",
            limits.events_per_append_max
        )));
    }
    if let Some(idempotency) = &request.idempotency {
        check_name(
            "the idempotency scope",
            &idempotency.scope,
            limits.idempotency_key_bytes_max,
            "idempotency_key_bytes_max",
        )?;
        check_key(&idempotency.key, limits).map_err(LogError::Invalid)?;
    }
    let mut streams_seen = HashSet::new();
    let mut ids_seen = HashSet::new();
    for stream in &request.streams {
        check_stream(&stream.stream_id, &stream.stream_type, limits).map_err(LogError::Invalid)?;
        let name = &stream.stream_id;
        if !streams_seen.insert(name.as_str()) {
            return Err(LogError::Invalid(format!(
                "stream '{name}' is in the append twice: put its events together"
            )));
        }
        if stream.events.is_empty() {
            return Err(LogError::Invalid(format!(
                "stream '{name}' comes without events: give at least one"
            )));
        }
        for (index, event) in stream.events.iter().enumerate() {
            check_event(event, limits)
                .map_err(|wrong| LogError::Invalid(format!("event {index} of stream '{name}' {wrong}")))?;
            if let Some(id) = event.id
                && !ids_seen.insert(id)
            {
                return Err(LogError::Invalid(format!(
                    "event {index} of stream '{name}' has id {id}, as another event of the append: ids are unique"
                )));
            }
        }
    }
    let digest = request.idempotency.as_ref().map(|_| {
        digest(request.streams.iter().map(|stream| {
            (
                stream.stream_id.as_str(),
                stream.stream_type.as_str(),
                stream.expected_version,
                stream.events.as_slice(),
            )
        }))
    });
    Ok(Prepared {
        idempotency: request.idempotency.zip(digest),
        streams: request
            .streams
            .into_iter()
            .map(|stream| PreparedStream {
                stream_id: stream.stream_id,
                stream_type: stream.stream_type,
                expected: stream.expected_version,
                events: stream.events.into_iter().map(prepare).collect(),
            })
            .collect(),
    })
}

/// Checks the lines of an import and gives their events ids.
pub(super) fn import(lines: Vec<ImportEvent>, limits: &AppendLimits) -> Result<Vec<PreparedLine>, LogError> {
    lines
        .into_iter()
        .map(|line| {
            let number = line.line;
            check_line(&line, limits)
                .map_err(|wrong| LogError::Invalid(format!("line {number}: {wrong}")))?;
            let key = line.idempotency_key.map(|key| {
                let stream = (
                    line.stream_id.as_str(),
                    line.stream_type.as_str(),
                    ExpectedVersion::Any,
                    std::slice::from_ref(&line.event),
                );
                let digest = digest(std::iter::once(stream));
                (key, digest)
            });
            Ok(PreparedLine {
                line: number,
                stream_id: line.stream_id,
                stream_type: line.stream_type,
                key,
                event: prepare(line.event),
            })
        })
        .collect()
}

/// Holds a line against the limits, as [`super::EventLog::import`] does first; the error follows "line 7: ". For callers
/// that want to name every bad line of a batch, where the import names the first.
pub fn check_line(line: &ImportEvent, limits: &AppendLimits) -> Result<(), String> {
    check_stream(&line.stream_id, &line.stream_type, limits)?;
    if let Some(key) = &line.idempotency_key {
        check_key(key, limits)?;
    }
    check_event(&line.event, limits)
        .map_err(|wrong| format!("the event of stream '{}' {wrong}", line.stream_id))
}

/// Refuses a line that holds a name of the host's own; the error follows "line 7: ".
pub fn check_not_reserved(line: &ImportEvent) -> Result<(), String> {
    let types = std::iter::once(line.event.event_type.as_str());
    check_names_free(&line.stream_id, &line.stream_type, types)
}

fn check_names_free<'a>(
    stream_id: &'a str,
    stream_type: &'a str,
    event_types: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let names = [("stream type", stream_type), ("stream", stream_id)];
    let event_types = event_types.map(|name| ("event type", name));
    match event_types.chain(names).find(|(_, name)| is_reserved(name)) {
        Some((what, name)) => Err(format!(
            "the {what} '{}' begins with '{RESERVED}', which is reserved for the host's own events; choose another name",
            shortened(name)
        )),
        None => Ok(()),
    }
}

fn prepare(event: NewEvent) -> PreparedEvent {
    PreparedEvent {
        id: event.id.map_or_else(Uuid::now_v7, |id| id.0),
        id_given: event.id.is_some(),
        event_type: event.event_type,
        schema_version: event.schema_version,
        data: event.data,
        metadata: event.metadata,
        occurred_at: event.occurred_at.map(|at| at.timestamp_micros()),
    }
}

fn check_stream(stream_id: &str, stream_type: &str, limits: &AppendLimits) -> Result<(), String> {
    check_text(
        "the stream id",
        stream_id,
        limits.stream_id_bytes_max,
        "stream_id_bytes_max",
    )?;
    check_text(
        "the stream type",
        stream_type,
        limits.type_bytes_max,
        "type_bytes_max",
    )
    .map_err(|wrong| format!("stream '{stream_id}': {wrong}"))
}

fn check_key(key: &str, limits: &AppendLimits) -> Result<(), String> {
    check_text(
        "the idempotency key",
        key,
        limits.idempotency_key_bytes_max,
        "idempotency_key_bytes_max",
    )
}

fn check_name(what: &str, text: &str, bytes_max: u64, knob: &str) -> Result<(), LogError> {
    check_text(what, text, bytes_max, knob).map_err(LogError::Invalid)
}

/// A name: not empty, within its bytes, without control characters.
fn check_text(what: &str, text: &str, bytes_max: u64, knob: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if text.len() as u64 > bytes_max {
        return Err(format!(
            "{what} '{}' has {} bytes, more than {bytes_max} ([append] {knob})",
            shortened(text),
            text.len()
        ));
    }
    match text.char_indices().find(|(_, character)| character.is_control()) {
        Some((at, character)) => Err(format!(
            "{what} '{}' holds the control character U+{:04X} at byte {at}",
            text.escape_debug(),
            u32::from(character)
        )),
        None => Ok(()),
    }
}

/// The beginning of a long text, for a message.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut start: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        start.push('…');
    }
    start
}

/// Says what is wrong with an event, to follow "event 3 of stream 'x' ".
fn check_event(event: &NewEvent, limits: &AppendLimits) -> Result<(), String> {
    check_text(
        "event type",
        &event.event_type,
        limits.type_bytes_max,
        "type_bytes_max",
    )
    .map_err(|wrong| format!("cannot be stored: its {wrong}"))?;
    if event.schema_version == 0 || i32::try_from(event.schema_version).is_err() {
        return Err(format!(
            "has schema_version {}; versions are from 1 to {}",
            event.schema_version,
            i32::MAX
        ));
    }
    if event.id.is_some_and(|id| id.0.is_nil()) {
        return Err("has the nil UUID as its id; leave the id out to be given one".to_owned());
    }
    let (data, metadata) = (event.data.get(), event.metadata.get());
    let bytes = data.len() + metadata.len();
    if bytes as u64 > limits.event_bytes_max {
        return Err(format!(
            "has {bytes} bytes of data and metadata, more than {} ([append] event_bytes_max)",
            limits.event_bytes_max
        ));
    }
    if let Some(at) = event.occurred_at
        && !OCCURRED_AT_MICROS.contains(&at.timestamp_micros())
    {
        return Err(format!("occurred_at {at}, which is outside the years 1 to 9999"));
    }
    json::check(data, limits.json_depth_max)
        .map_err(|wrong| format!("cannot be stored: its data {wrong}"))?;
    json::check(metadata, limits.json_depth_max)
        .map_err(|wrong| format!("cannot be stored: its metadata {wrong}"))?;
    check_metadata(metadata, limits)
}

fn check_metadata(metadata: &str, limits: &AppendLimits) -> Result<(), String> {
    let keys: Metadata<'_> = serde_json::from_str(metadata).map_err(|error| {
        if error.is_data() && !metadata.trim_start().starts_with('{') {
            "has metadata that is not a JSON object; give one such as {\"reason\":\"why this happened\"}"
                .to_owned()
        } else {
            format!("has metadata that cannot be used: {error}")
        }
    })?;
    let (min, max) = (limits.reason_chars_min, limits.reason_chars_max);
    let Some(reason) = keys.reason else {
        if limits.reason_required {
            return Err(format!(
                "has no metadata.reason: say why it happened, in {min} to {max} characters ([append] reason_required)"
            ));
        }
        return Ok(());
    };
    let chars = reason.chars().count() as u64;
    if chars < min || chars > max {
        return Err(format!(
            "has a metadata.reason of {chars} characters; {min} to {max} are needed ([append] reason_chars_min, reason_chars_max)"
        ));
    }
    Ok(())
}

/// The metadata object; names are unique, because databases disagree on which of two would count.
struct Metadata<'a> {
    reason: Option<std::borrow::Cow<'a, str>>,
}

impl<'de> serde::Deserialize<'de> for Metadata<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Metadata<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut names = HashSet::new();
                let mut reason = None;
                while let Some(Text(name)) = map.next_key()? {
                    if name == "reason" {
                        reason = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                    if let Some(twice) = names.replace(name) {
                        return Err(serde::de::Error::custom(format_args!("it names '{twice}' twice")));
                    }
                }
                Ok(Metadata { reason })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A string that borrows where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

/// The digest of a request: SHA-256 over its fields as netstrings (`<bytes>:<text>,`). The SQL function
/// `lamphouse.append` makes the same, so that a key is one key, whoever uses it.
fn digest<'a>(
    streams: impl ExactSizeIterator<Item = (&'a str, &'a str, ExpectedVersion, &'a [NewEvent])>,
) -> Digest {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update(format!("{}:", text.len()));
        hash.update(text);
        hash.update(",");
    };
    field(&streams.len().to_string());
    for (stream_id, stream_type, expected, events) in streams {
        field(stream_id);
        field(stream_type);
        match expected {
            ExpectedVersion::Any => field("any"),
            ExpectedVersion::NoStream => field("0"),
            ExpectedVersion::Exact(version) => field(&version.to_string()),
        }
        field(&events.len().to_string());
        for event in events {
            field(&event.id.map(|id| id.to_string()).unwrap_or_default());
            field(&event.event_type);
            field(&event.schema_version.to_string());
            field(event.data.get());
            field(event.metadata.get());
            field(
                &event
                    .occurred_at
                    .map(|at| at.timestamp_micros().to_string())
                    .unwrap_or_default(),
            );
        }
    }
    hash.finalize().into()
}

fn invalid(message: &str) -> LogError {
    LogError::Invalid(message.to_owned())
}
