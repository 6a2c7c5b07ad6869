//! A project of the benchmark, and the host's own way to append to its log.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use lamphouse::config::{Config, DatabaseUrl};
use lamphouse::core::NewEvent;
use lamphouse::core::clock::Clock;
use lamphouse::log::{AppendRequest, EventLog, ExpectedVersion, StreamAppend};
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use crate::database::Database;

/// Why an event was appended; every event says so.
const METADATA: &str = r#"{"reason":"Appended by the benchmark"}"#;

/// Its configuration and its log, opened in this process.
pub(crate) struct Project {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn EventLog>,
    /// Drives the log's connections; dropped after it.
    runtime: Runtime,
}

impl Project {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let config = Config::load(folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("no runtime")?;
        let log = lamphouse::log::open(
            &config.log,
            &config.append,
            Clock::system(),
            runtime.handle().clone(),
        )?;
        log.watch()?;
        Ok(Self { config, log, runtime })
    }

    pub(crate) fn runtime(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// A connection to the read tables.
    pub(crate) fn tables(&self) -> Result<Database> {
        Database::open(&url(&self.config.tables))
    }
}

pub(crate) fn url(database: &DatabaseUrl) -> String {
    match database {
        DatabaseUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
        DatabaseUrl::Postgres(url) => url.clone(),
    }
}

/// One event for one stream; durable on return.
pub(crate) fn append(log: &dyn EventLog, stream: &str, event_type: &str, data: String) -> Result<()> {
    let raw = |text: String| RawValue::from_string(text).context("not JSON");
    let event = NewEvent {
        id: None,
        event_type: event_type.to_owned(),
        schema_version: 1,
        data: raw(data)?,
        metadata: raw(METADATA.to_owned())?,
        occurred_at: None,
    };
    log.append(AppendRequest {
        streams: vec![StreamAppend {
            stream_id: stream.to_owned(),
            stream_type: "order".to_owned(),
            expected_version: ExpectedVersion::Any,
            events: vec![event],
        }],
        idempotency: None,
    })?;
    Ok(())
}

/// An order that every projector of the benchmark takes.
pub(crate) fn order() -> String {
    r#"{"customer_id":"customer-of-the-benchmark","country":"Norway","channel":"web"}"#.to_owned()
}

/// A line of 183 bytes, as in the synthetic log.
pub(crate) fn line(number: u64) -> String {
    let mut data = format!(
        r#"{{"order_no":1,"customer_id":"customer-of-the-benchmark","line_no":{number},"sku":"SKU-04711","quantity":2,"unit_price":"12.50","channel":"web","note":""#
    );
    while data.len() < 181 {
        data.push('.');
    }
    data.push_str("\"}");
    data
}
