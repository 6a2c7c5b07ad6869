//! `lamphouse append`: events into the log, all or nothing.

use std::io::Read;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::UsageError;
use super::output::Output;
use super::place::Place;
use super::progress::say;
use super::table::plain;
use super::units;
use crate::core::{EventId, NewEvent};
use crate::log::{AppendRequest, ExpectedVersion, IdempotencyKey, StreamAppend};
use crate::schemas::{Schemas, Violations};

/// Who appends, for idempotency keys.
const SCOPE: &str = "cli";
/// Bytes that are read from standard input; larger batches are an import.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Append events to the log, all or nothing
///
/// Events are held to the JSON Schemas of [schemas] folder in lamphouse.toml, where there are some for their types.
/// One event is given by options. Several events, also of several streams, are given as a JSON document on standard
/// input, when --stream is absent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse append --stream order-1 --stream-type order --type OrderPlaced \\
      --data '{\"total\":\"9.50\"}' --reason 'the customer confirmed' --expected-version no-stream
  lamphouse append --idempotency-key job-17 <<'END'
  {\"streams\":[{\"stream_id\":\"order-1\",\"stream_type\":\"order\",\"expected_version\":1,\"events\":[
     {\"event_type\":\"OrderPaid\",\"data\":{},\"metadata\":{\"reason\":\"the payment arrived\"}}]}]}
  END")]
pub(super) struct Append {
    /// Stream of the one event; without it a document is read from standard input
    #[arg(long, value_name = "ID", requires_all = ["stream_type", "event_type"])]
    stream: Option<String>,
    /// Type of the stream, for example order
    #[arg(long, value_name = "TYPE", requires = "stream")]
    stream_type: Option<String>,
    /// Type of the event, for example OrderPlaced
    #[arg(long = "type", value_name = "TYPE", requires = "stream", id = "event_type")]
    event_type: Option<String>,
    /// The event's data as JSON; - reads it from standard input [default: {}]
    #[arg(long, value_name = "JSON", requires = "stream", allow_hyphen_values = true)]
    data: Option<String>,
    /// Version of the event type's schema
    #[arg(long, value_name = "N", requires = "stream", default_value_t = 1)]
    schema_version: u32,
    /// Metadata as a JSON object, which holds "reason"
    #[arg(long, value_name = "JSON", requires = "stream")]
    metadata: Option<String>,
    /// Why it happened, in 10 to 500 characters; goes into the metadata
    #[arg(long, value_name = "TEXT", requires = "stream")]
    reason: Option<String>,
    /// When it happened, as RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", requires = "stream")]
    occurred_at: Option<DateTime<Utc>>,
    /// Identity of the event, a UUID [default: a new one]
    #[arg(long, value_name = "UUID", requires = "stream")]
    id: Option<uuid::Uuid>,
    /// What the stream must be at: any, no-stream, or its last version
    #[arg(long, value_name = "VERSION", requires = "stream", default_value = "any", value_parser = expected)]
    expected_version: ExpectedVersion,
    /// Makes a repeated append return the first answer and add nothing
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// The document on standard input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    streams: Vec<StreamAppend>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl Append {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let request = self.request(&mut std::io::stdin().lock())?;
        let appended = match place {
            Place::Project(session) => {
                let config = &session.config;
                let schemas = Schemas::load(&config.schemas, config.unknown_types);
                if let Err(violations) = schemas.check(request.events()) {
                    return refused(&violations);
                }
                session.log()?.append(request)?
            }
            // The host there holds it to its own.
            Place::Host(remote) => remote.operator.append(&request)?,
        };
        if out.json {
            return out.document(&appended);
        }
        let said = if appended.repeated {
            "was appended before, under the same key, at"
        } else {
            "appended at"
        };
        out.line(format!("{said} position {}", units::count(appended.position.0)))?;
        appended.streams.iter().try_for_each(|stream| {
            out.line(format!(
                "  {} is at version {}",
                plain(&stream.stream_id),
                units::count(stream.version.0)
            ))
        })
    }

    fn request(self, stdin: &mut dyn Read) -> Result<AppendRequest> {
        let key = |key| IdempotencyKey {
            scope: SCOPE.to_owned(),
            key,
        };
        let Some(stream_id) = self.stream else {
            let text = read(stdin)?;
            let document: Document = serde_json::from_str(&text).context(
                "standard input is not an append document; give {\"streams\":[…]}, or one event by --stream",
            )?;
            if self.idempotency_key.is_some() && document.idempotency_key.is_some() {
                bail!(UsageError(
                    "the idempotency key is given twice: as an option and in the document".to_owned()
                ));
            }
            let idempotency = self.idempotency_key.or(document.idempotency_key).map(key);
            return Ok(AppendRequest {
                streams: document.streams,
                idempotency,
            });
        };
        let data = match self.data.as_deref() {
            Some("-") => read(stdin)?,
            Some(text) => text.to_owned(),
            None => "{}".to_owned(),
        };
        let event = NewEvent {
            id: self.id.map(EventId),
            event_type: self.event_type.unwrap_or_default(),
            schema_version: self.schema_version,
            data: json("--data", data)?,
            metadata: metadata(self.metadata, self.reason)?,
            occurred_at: self.occurred_at,
        };
        let stream = StreamAppend {
            stream_id,
            stream_type: self.stream_type.unwrap_or_default(),
            expected_version: self.expected_version,
            events: vec![event],
        };
        Ok(AppendRequest {
            streams: vec![stream],
            idempotency: self.idempotency_key.map(key),
        })
    }
}

/// Violations that are printed; HTTP lists more of them.
const VIOLATIONS_SHOWN_MAX: usize = 20;

fn refused(violations: &Violations) -> Result<()> {
    let Violations::Found { listed, .. } = violations else {
        bail!("{violations}");
    };
    // The message has the first.
    for violation in listed.iter().take(VIOLATIONS_SHOWN_MAX).skip(1) {
        say(&plain(&violation.to_string()));
    }
    bail!("{violations}")
}

fn expected(text: &str) -> Result<ExpectedVersion, String> {
    let value = match text.parse::<u64>() {
        Ok(version) => serde_json::Value::from(version),
        Err(_) => serde_json::Value::from(text),
    };
    serde_json::from_value(value).map_err(|_| "give any, no-stream, or a version number".to_owned())
}

fn read(stdin: &mut dyn Read) -> Result<String> {
    let mut text = String::new();
    stdin
        .take(DOCUMENT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .context("standard input cannot be read")?;
    if text.len() as u64 > DOCUMENT_BYTES_MAX {
        bail!("standard input has more than {DOCUMENT_BYTES_MAX} bytes; use 'lamphouse import' for so much");
    }
    Ok(text)
}

fn json(what: &str, text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).with_context(|| format!("{what} is not JSON"))
}

/// The metadata with the reason in it.
fn metadata(metadata: Option<String>, reason: Option<String>) -> Result<Box<RawValue>> {
    let Some(reason) = reason else {
        return json("--metadata", metadata.unwrap_or_else(|| "{}".to_owned()));
    };
    let mut object: serde_json::Map<String, serde_json::Value> = match metadata {
        Some(text) => serde_json::from_str(&text).context("--metadata is not a JSON object")?,
        None => serde_json::Map::new(),
    };
    if object.insert("reason".to_owned(), reason.into()).is_some() {
        bail!(UsageError(
            "the reason is given twice: by --reason and in --metadata".to_owned()
        ));
    }
    json("--metadata", serde_json::to_string(&object)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::core::StreamVersion;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        append: Append,
    }

    fn request(args: &[&str], stdin: &str) -> Result<AppendRequest> {
        let command = Command::try_parse_from(std::iter::once("append").chain(args.iter().copied()))?;
        command.append.request(&mut stdin.as_bytes())
    }

    #[test]
    fn options_make_one_event() {
        let args = [
            "--stream",
            "o-1",
            "--stream-type",
            "order",
            "--type",
            "Placed",
            "--data",
            "{\"a\": 1.0}",
        ];
        let rest = [
            "--reason",
            "because it is so",
            "--expected-version",
            "3",
            "--idempotency-key",
            "k",
        ];
        let request = request(&[&args[..], &rest[..]].concat(), "").expect("a request");
        let stream = &request.streams[0];
        assert_eq!(stream.expected_version, ExpectedVersion::Exact(StreamVersion(3)));
        assert_eq!(stream.events[0].data.get(), "{\"a\": 1.0}");
        assert_eq!(
            stream.events[0].metadata.get(),
            r#"{"reason":"because it is so"}"#
        );
        assert_eq!(
            request.idempotency,
            Some(IdempotencyKey {
                scope: "cli".to_owned(),
                key: "k".to_owned()
            })
        );
    }

    #[test]
    fn a_document_comes_from_standard_input() {
        let document = r#"{"idempotency_key":"k","streams":[{"stream_id":"a","stream_type":"t","expected_version":"no-stream",
            "events":[{"event_type":"E","data":{},"metadata":{"reason":"because it is so"}}]}]}"#;
        let request = request(&[], document).expect("a request");
        assert_eq!(request.streams[0].expected_version, ExpectedVersion::NoStream);
        assert_eq!(request.idempotency.map(|key| key.key), Some("k".to_owned()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let usage =
            |args: &[&str], stdin: &str| request(args, stdin).expect_err("refused").is::<UsageError>();
        assert!(usage(
            &["--idempotency-key", "j"],
            r#"{"idempotency_key":"k","streams":[]}"#
        ));
        let event = ["--stream", "o-1", "--stream-type", "order", "--type", "Placed"];
        let twice = ["--metadata", r#"{"reason":"one"}"#, "--reason", "another"];
        assert!(usage(&[&event[..], &twice[..]].concat(), ""));
        assert!(request(&["--stream", "o-1"], "").is_err());
        assert!(request(&["--data", "{}"], "").is_err());
        assert!(request(&[&event[..], &["--data", "{"]].concat(), "").is_err());
        assert!(request(&[&event[..], &["--expected-version", "none"]].concat(), "").is_err());
        assert!(request(&[], r#"{"streams":[],"stream":1}"#).is_err());
    }
}
