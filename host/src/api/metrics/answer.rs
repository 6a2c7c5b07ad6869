//! The request, and the page that answers it.

use std::fmt::Error;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use super::families;
use super::page::Page;
use super::process::Process;
use crate::api::body::blocking;
use crate::api::problem::Problem;
use crate::api::ready::{self, Found};
use crate::api::server::Shared;

/// The format, as Prometheus asks for it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long the status may take. Prometheus waits for ten seconds; with a database away, what is known without it is
/// worth more than an answer that comes too late.
const STATUS_TIME_MAX: Duration = Duration::from_secs(4);

/// How everything goes, for Prometheus
///
/// Any token will do, whatever its role and limits: there are names and numbers here, and no data. `[host] metrics_open`
/// lets everybody in who reaches the address.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "watch",
    responses((status = 200, description = "Metrics in the text format of OpenMetrics 1.0", body = String,
        content_type = "application/openmetrics-text"))
)]
pub(in crate::api) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    let asked = shared.clone();
    let asking = tokio::time::timeout(STATUS_TIME_MAX, blocking(move || ready::ask(&asked)));
    let found = asking.await.ok().and_then(Result::ok);
    let text = blocking(move || page(shared, found)).await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

fn page(shared: Shared, found: Option<Found>) -> Result<String, Problem> {
    let (mut text, http) = (String::new(), shared.watch.http.clone());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { shared, found }));
    encode_registry(&mut text, &registry)
        .and_then(|()| encode_registry(&mut text, http.registry()))
        .and_then(|()| encode_eof(&mut text))
        .map_err(|Error| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics could not be written, which is a bug of ours",
            )
        })?;
    Ok(text)
}

/// Everything at one moment.
struct Scrape {
    shared: Shared,
    /// None where it could not be had in time.
    found: Option<Found>,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page(encoder);
        let watch = &self.shared.watch;
        let silent = watch.projections.since_beat();
        families::process(&mut page, silent)?;
        families::appends(&mut page, self.shared.log.meter())?;
        families::work(&mut page, &watch.projections.all())?;
        families::plugins(&mut page, &watch.plugins.all())?;
        families::traces(&mut page)?;
        let is_ready = self
            .found
            .as_ref()
            .is_some_and(|found| ready::reasons(found, &watch.ready, silent).is_empty());
        let status = self.found.as_ref().map(|found| &found.status);
        families::host(&mut page, status, is_ready)?;
        if let Some(status) = status {
            families::projections(&mut page, status)?;
            families::generations(&mut page, status)?;
        }
        Process::now().write(&mut page)
    }
}
