//! Which traces are begun. What belongs to a trace that somebody else began follows their decision.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
use parking_lot::Mutex;

use crate::core::limits::TraceExport;

/// Decides on the first span of a trace: requests by their share, and what projections do by how much there was of it in
/// this second. A rebuild makes thousands of such spans a second, and a quiet host one a minute; both are worth a look.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    requests: Sampler,
    pipeline: Arc<PerSecond>,
}

impl Roots {
    pub(super) fn new(settings: &TraceExport) -> Self {
        Self {
            requests: Sampler::TraceIdRatioBased(settings.sample_percent as f64 / 100.0),
            pipeline: Arc::new(PerSecond::new(settings.pipeline_spans_per_second_max)),
        }
    }
}

impl ShouldSample for Roots {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if *kind == SpanKind::Server {
            return self
                .requests
                .should_sample(parent, trace_id, name, kind, attributes, links);
        }
        SamplingResult {
            decision: match self.pipeline.takes(Instant::now()) {
                true => SamplingDecision::RecordAndSample,
                false => SamplingDecision::Drop,
            },
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}

/// Takes so many in each second.
#[derive(Debug)]
struct PerSecond {
    max: u64,
    /// When the present second began, and how many were taken in it.
    second: Mutex<Option<(Instant, u64)>>,
}

impl PerSecond {
    fn new(max: u64) -> Self {
        Self {
            max,
            second: Mutex::new(None),
        }
    }

    fn takes(&self, now: Instant) -> bool {
        if self.max == 0 {
            return false;
        }
        let mut second = self.second.lock();
        let is_over = |began: Instant| now.duration_since(began) >= Duration::from_secs(1);
        match &mut *second {
            Some((began, taken)) if !is_over(*began) => {
                *taken += 1;
                *taken <= self.max
            }
            other => {
                *other = Some((now, 1));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_as_many_as_it_may_and_the_next_again() {
        let some = PerSecond::new(3);
        let began = Instant::now();
        let at = |ms| some.takes(began + Duration::from_millis(ms));
        let taken: Vec<bool> = [0, 10, 20, 30, 999, 1_000, 1_001].map(at).to_vec();
        assert_eq!(taken, [true, true, true, false, false, true, true]);
        assert!(!PerSecond::new(0).takes(began), "none at all");
    }

    #[test]
    fn requests_and_pipelines_have_limits_of_their_own() {
        let roots = Roots::new(&TraceExport {
            traces_url: String::new(),
            sample_percent: 0,
            pipeline_spans_per_second_max: 1,
        });
        let decide = |kind| {
            let id = TraceId::from_bytes([7; 16]);
            roots.should_sample(None, id, "a", &kind, &[], &[]).decision
        };
        assert_eq!(decide(SpanKind::Server), SamplingDecision::Drop);
        assert_eq!(decide(SpanKind::Internal), SamplingDecision::RecordAndSample);
        assert_eq!(decide(SpanKind::Internal), SamplingDecision::Drop);
    }
}
