//! Where the events go.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for a person.
    #[default]
    Text,
    /// A JSON document a line.
    Json,
}

/// Sends events to standard error. `RUST_LOG` decides what is shown; without it `default` does, for example
/// `info` or `lamphouse=debug,info`; with the latter, each read, upcasting, call and flush is told with its time. A second call in one process changes nothing.
pub fn setup(format: LogFormat, default: &str) {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::new(text),
        _ => EnvFilter::new(default),
    };
    let coloured =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Each stage of a pipeline is a span at the level of debugging, told with its time when it ends.
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .with_ansi(coloured);
    // It only fails when a subscriber is there already, as in a test; then that one goes on.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
}
