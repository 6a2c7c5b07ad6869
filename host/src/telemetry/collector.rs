//! The collector that spans are sent to, over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use parking_lot::Mutex;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::core::measure::Counter;

/// A collector that takes longer is away. Raise it for one that is far; lower it to stop sooner at the end.
pub(super) const EXPORT_TIME_MAX: Duration = Duration::from_secs(5);
/// At the end of the process, what still waits is sent for so long.
pub(super) const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read; a good one is empty.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// A collector that stays away is told of so often.
const SAY_EVERY: Duration = Duration::from_secs(300);

/// What became of the batches of spans.
#[derive(Debug, Default)]
pub struct Exports {
    /// The collector has them.
    pub done: Counter,
    /// They are lost.
    pub failed: Counter,
}

/// Sends on the thread that calls, which is the exporter's own.
#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    url: String,
    exports: &'static Exports,
    away: Mutex<Option<Away>>,
}

/// Since when it is away, and what was said of it.
#[derive(Debug)]
struct Away {
    since: Instant,
    said: Instant,
    batches: u64,
}

impl Collector {
    pub(super) fn new(url: &str) -> Self {
        static EXPORTS: OnceLock<Exports> = OnceLock::new();
        let mut agent = Agent::config_builder()
            .timeout_global(Some(EXPORT_TIME_MAX))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::PlatformVerifier)
                    .build(),
            );
        if is_loopback(url) {
            // A proxy is for the outside world.
            agent = agent.proxy(None);
        }
        Self {
            agent: agent.build().new_agent(),
            url: url.to_owned(),
            exports: EXPORTS.get_or_init(Exports::default),
            away: Mutex::new(None),
        }
    }

    pub(super) fn exports(&self) -> &'static Exports {
        self.exports
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.agent.run(request.map(|body| body.to_vec()));
        let answer = answer.map_err(HttpError::from).and_then(|mut answer| {
            let body = answer
                .body_mut()
                .with_config()
                .limit(ANSWER_BYTES_MAX)
                .read_to_vec()?;
            Ok(answer.map(|_| Bytes::from(body)))
        });
        match &answer {
            Ok(answer) if answer.status().is_success() => self.took(),
            Ok(answer) => self.failed(&format!("it answered {}", answer.status())),
            Err(error) => self.failed(&error.to_string()),
        }
        answer
    }

    fn took(&self) {
        self.exports.done.add(1);
        if let Some(away) = self.away.lock().take() {
            let after_s = away.since.elapsed().as_secs();
            let lost = away.batches;
            tracing::info!(url = self.url, after_s, lost, "The collector takes traces again");
        }
    }

    fn failed(&self, why: &str) {
        self.exports.failed.add(1);
        let mut away = self.away.lock();
        let now = Instant::now();
        let is_news = away
            .as_ref()
            .is_none_or(|away| now.duration_since(away.said) >= SAY_EVERY);
        let away = away.get_or_insert(Away {
            since: now,
            said: now,
            batches: 0,
        });
        away.batches += 1;
        if is_news {
            away.said = now;
            let (url, lost) = (&self.url, away.batches);
            tracing::warn!(
                url,
                why,
                lost,
                "Traces cannot be sent: they are lost until the collector is back, and nothing waits for it"
            );
        }
    }
}

/// The trait is written with `async_trait`; this is what that makes of it.
impl HttpClient for Collector {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { self.send(request) })
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|start| host.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_away_is_told_of_once_and_counted_each_time() {
        // Nothing listens on a port that was just given back.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let url = format!("http://127.0.0.1:{port}/v1/traces");
        let collector = Collector::new(&url);
        let before = collector.exports().failed.get();
        for _ in 0..3 {
            let request = Request::post(&url).body(Bytes::new()).expect("a request");
            assert!(collector.send(request).is_err());
        }
        assert!(collector.exports().failed.get() >= before + 3);
        let away = collector.away.lock();
        let away = away.as_ref().expect("it is away");
        assert_eq!((away.batches, away.said), (3, away.since));
    }
}
