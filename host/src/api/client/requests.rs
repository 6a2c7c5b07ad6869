//! What is asked of a host, a function each.

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::RemoteOperator;
use crate::core::address::encoded;
use crate::core::{PluginName, Position, StoredEvent, StreamVersion};
use crate::deploy::detail::ProjectionDetail;
use crate::deploy::difference::{Comparison, Difference};
use crate::deploy::operator::{HostStatus, OperateError, Operator, Outcome, Verb};
use crate::deploy::plugins::{Condition, Installed, PluginDetail, PluginStatus, Removed};
use crate::deploy::story::LetterDetail;
use crate::deploy::uploads::Received;
use crate::deploy::{By, CatalogDocument, Explanation, StreamState};
use crate::log::{AppendRequest, Appended, EventQuery};
use crate::tables::{DeadLetter, Discard};

/// Some events of the log.
#[derive(Debug, Deserialize)]
pub struct EventPage {
    /// In order.
    pub events: Vec<StoredEvent>,
    /// Where to go on.
    pub next: Option<Position>,
}

/// Some events of a stream.
#[derive(Debug, Deserialize)]
pub struct StreamPage {
    /// Version of its last event.
    pub version: StreamVersion,
    /// In order.
    pub events: Vec<StoredEvent>,
    /// Where to go on.
    pub next: Option<Position>,
}

/// Some dead letters.
#[derive(Debug, Deserialize)]
pub struct DeadLetterPage {
    /// In the order of the log.
    pub dead_letters: Vec<DeadLetter>,
    /// Where to go on.
    pub next: Option<String>,
}

/// Some decisions.
#[derive(Debug, Deserialize)]
pub struct DiscardPage {
    /// In the order of the log.
    pub discarded: Vec<Discard>,
    /// Where to go on.
    pub next: Option<String>,
}

/// Every plugin.
#[derive(Debug, Deserialize)]
pub struct PluginPage {
    /// The files, then what is deployed without one.
    pub plugins: Vec<PluginStatus>,
}

/// A plugin file to deploy.
#[derive(Clone, Copy, Debug)]
pub struct Push<'p> {
    /// What its file is to be named, without `.wasm`.
    pub name: &'p PluginName,
    /// The file.
    pub bytes: &'p [u8],
    /// Why, for the record.
    pub reason: Option<&'p str>,
}

/// A path with a query.
struct Asked {
    path: String,
    separator: char,
}

impl Asked {
    fn new(path: String) -> Self {
        Self { path, separator: '?' }
    }

    fn with(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.path.push(self.separator);
            self.path.push_str(name);
            self.path.push('=');
            self.path.push_str(&encoded(&value.to_string()));
            self.separator = '&';
        }
        self
    }
}

impl RemoteOperator {
    /// Appends; the key's scope is the token.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn append(&self, request: &AppendRequest) -> Result<Appended, OperateError> {
        let key = request.idempotency.as_ref();
        let headers: Vec<(&str, &str)> = key
            .iter()
            .map(|key| ("Idempotency-Key", key.key.as_str()))
            .collect();
        self.post_with("/v1/append", &headers, &json!({ "streams": request.streams }))
    }

    /// A page of events.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn events(&self, query: &EventQuery) -> Result<EventPage, OperateError> {
        let time = |micros: Option<i64>| {
            let time = micros.and_then(chrono::DateTime::from_timestamp_micros);
            time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
        };
        let types = query.event_types.join(",");
        let asked = Asked::new("/v1/events".to_owned())
            .with("event_type", Some(types).filter(|types| !types.is_empty()))
            .with("stream_type", query.stream_type.as_ref())
            .with("stream_id", query.stream_id.as_ref())
            .with("recorded_from", time(query.recorded_from))
            .with("recorded_before", time(query.recorded_before))
            .with("after", query.after)
            .with("backward", query.backward.then_some("true"))
            .with("limit", Some(query.limit));
        self.get(&asked.path)
    }

    /// Everything that is known of dead letters, a page at a time.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn dead_letters(
        &self,
        projection: Option<&str>,
        stream_id: Option<&str>,
        generation: Option<i64>,
        retired: bool,
        after: Option<&str>,
        limit: u64,
    ) -> Result<DeadLetterPage, OperateError> {
        let asked = Asked::new("/v1/dead-letters".to_owned())
            .with("projection", projection)
            .with("stream_id", stream_id)
            .with("generation", generation)
            .with("retired", retired.then_some("true"))
            .with("after", after)
            .with("limit", Some(limit));
        self.get(&asked.path)
    }

    /// What was discarded, a page at a time.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn discards(
        &self,
        projection: Option<&str>,
        stream_id: Option<&str>,
        after: Option<&str>,
        limit: u64,
    ) -> Result<DiscardPage, OperateError> {
        let asked = Asked::new("/v1/discards".to_owned())
            .with("projection", projection)
            .with("stream_id", stream_id)
            .with("after", after)
            .with("limit", Some(limit));
        self.get(&asked.path)
    }

    /// The event types of the log.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn catalog(&self) -> Result<CatalogDocument, OperateError> {
        self.get("/v1/catalog")
    }

    /// What a stream looked like; `at` is a position, or a time that `by` goes with.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn state(
        &self,
        stream_id: &str,
        projector: &str,
        at: Option<&str>,
        by: Option<By>,
        generation: Option<i64>,
    ) -> Result<StreamState, OperateError> {
        let asked = Asked::new(format!("/v1/streams/{}/state", encoded(stream_id)))
            .with("projector", Some(projector))
            .with("at", at)
            .with("by", by)
            .with("generation", generation);
        self.get(&asked.path)
    }

    /// A page of what two generations differ in.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn diff(&self, projection: &str, wanted: &Comparison) -> Result<Difference, OperateError> {
        let path = format!("/v1/projections/{}/diff", encoded(projection));
        let asked = Asked::new(path)
            .with("from", wanted.from)
            .with("to", wanted.to)
            .with("table", wanted.table.as_ref())
            .with("after", wanted.after.as_ref())
            .with("limit", Some(wanted.limit));
        self.get(&asked.path)
    }

    /// Every plugin.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn plugins(&self) -> Result<Vec<PluginStatus>, OperateError> {
        let page: PluginPage = self.get("/v1/plugins")?;
        Ok(page.plugins)
    }

    /// Deploys a plugin's file.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn push(&self, push: Push<'_>, condition: &Condition) -> Result<Installed, OperateError> {
        let path = format!("/v1/plugins/{}", push.name);
        let mut headers = vec![("Content-Type", "application/wasm".to_owned())];
        headers.extend(push.reason.map(|reason| ("Lamphouse-Reason", encoded(reason))));
        headers.extend(header(condition));
        self.send(Method::PUT, &path, &borrowed(&headers), push.bytes)
    }

    /// Removes a plugin's file.
    ///
    /// # Errors
    /// The host's, or that it is away.
    pub fn remove(
        &self,
        name: &str,
        reason: Option<&str>,
        condition: &Condition,
    ) -> Result<Removed, OperateError> {
        let path = format!("/v1/plugins/{}", encoded(name));
        let mut headers: Vec<(&str, String)> = header(condition).into_iter().collect();
        headers.extend(reason.map(|reason| ("Lamphouse-Reason", encoded(reason))));
        self.send(Method::DELETE, &path, &borrowed(&headers), ())
    }
}

fn borrowed<'h>(headers: &'h [(&'h str, String)]) -> Vec<(&'h str, &'h str)> {
    headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn header(condition: &Condition) -> Option<(&'static str, String)> {
    match condition {
        Condition::None => None,
        Condition::Present => Some(("If-Match", "*".to_owned())),
        Condition::Absent => Some(("If-None-Match", "*".to_owned())),
        Condition::OneOf(digests) => {
            let tags: Vec<String> = digests.iter().map(|digest| format!("\"{digest}\"")).collect();
            Some(("If-Match", tags.join(", ")))
        }
    }
}

impl Operator for RemoteOperator {
    fn status(&self) -> Result<HostStatus, OperateError> {
        self.get("/v1/status")
    }

    fn operate(&self, projection: &str, verb: Verb) -> Result<Outcome, OperateError> {
        // A valid name is safe in a path; any other names no projection.
        let name = PluginName::new(projection).map_err(|error| {
            OperateError::NotFound(format!("there is no projection '{projection}': {error}"))
        })?;
        let order = |verb: &str, body: Value| self.post(&format!("/v1/projections/{name}/{verb}"), &body);
        let letters = |verb: &str, body: Value| self.post(&format!("/v1/dead-letters/{name}/{verb}"), &body);
        match verb {
            Verb::Rebuild => order("rebuild", json!({})),
            Verb::Pause { reason } => order("pause", json!({ "reason": reason })),
            Verb::Resume => order("resume", json!({})),
            Verb::Cutover { breaking } => order("cutover", json!({ "breaking": breaking })),
            Verb::Rollback { breaking } => order("rollback", json!({ "breaking": breaking })),
            Verb::RetryDeadLetters {
                stream_id,
                accept_reorder,
            } => letters(
                "retry",
                json!({ "stream_id": stream_id, "accept_reorder": accept_reorder }),
            ),
            Verb::DiscardDeadLetters {
                event_id,
                stream_id,
                reason,
                by,
            } => letters(
                "discard",
                json!({ "event_id": event_id, "stream_id": stream_id, "reason": reason, "by": by }),
            ),
        }
    }

    fn projection(&self, name: &str) -> Result<ProjectionDetail, OperateError> {
        self.get(&format!("/v1/projections/{}", encoded(name)))
    }

    fn dead_letter(&self, projection: &str, event: &str) -> Result<LetterDetail, OperateError> {
        let (projection, event) = (encoded(projection), encoded(event));
        self.get(&format!("/v1/dead-letters/{projection}/{event}"))
    }

    fn explain(&self, event: &str) -> Result<Explanation, OperateError> {
        self.get(&format!("/v1/explain/{}", encoded(event)))
    }

    fn plugin(&self, name: &str) -> Result<PluginDetail, OperateError> {
        self.get(&format!("/v1/plugins/{}", encoded(name)))
    }

    fn install(
        &self,
        name: &PluginName,
        received: Received,
        condition: &Condition,
    ) -> Result<Installed, OperateError> {
        let bytes = received
            .read()
            .map_err(|error| OperateError::Unavailable(format!("the upload cannot be read back: {error}")))?;
        let push = Push {
            name,
            bytes: &bytes,
            reason: None,
        };
        self.push(push, condition)
    }

    fn remove_plugin(&self, name: &str, condition: &Condition) -> Result<Removed, OperateError> {
        self.remove(name, None, condition)
    }
}
