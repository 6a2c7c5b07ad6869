//! Where the events go.

use std::io::IsTerminal;

use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::traces;
use crate::core::limits::TraceExport;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for a person.
    #[default]
    Text,
    /// A JSON document a line.
    Json,
}

/// Sends events to standard error, and spans to a collector where one is named. `RUST_LOG` decides what is shown; without
/// it `default` does, for example `info` or `lamphouse=debug,info`; with the latter, each request, and each read,
/// upcasting, call and flush, is told with its time. A second call in one process changes nothing.
///
/// # Errors
/// When nothing can be sent to that collector at all. One that is away is no error.
pub fn setup(format: LogFormat, default: &str, export: Option<&TraceExport>) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => told(&text),
        _ => told(default),
    };
    let coloured =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        // Each stage of a pipeline is a span at the level of debugging, told with its time when it ends.
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .with_ansi(coloured);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = export.map(traces::layer).transpose()?;
    // It only fails when a subscriber is there already, as in a test; then that one goes on.
    let _ = Registry::default()
        .with(traces)
        .with(lines.with_filter(filter))
        .try_init();
    Ok(())
}

/// What is told in lines.
fn told<S>(filter: &str) -> impl Filter<S> + use<S> {
    // A request is told in one line when it was answered; its span is for the collector.
    let others = FilterFn::new(|metadata| !(metadata.is_span() && metadata.target() == traces::REQUEST));
    // Without a hint, whatever libraries could tell is made and asked about: a third of the time of a compilation.
    FilterExt::<S>::and(
        EnvFilter::new(filter),
        others.with_max_level_hint(LevelFilter::TRACE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_is_not_even_made() {
        assert_eq!(told::<Registry>("info").max_level_hint(), Some(LevelFilter::INFO));
        let by_name = told::<Registry>("lamphouse=debug,warn");
        assert_eq!(by_name.max_level_hint(), Some(LevelFilter::DEBUG));
    }
}
