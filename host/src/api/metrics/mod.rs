//! `GET /metrics`: how everything goes, in the text of OpenMetrics.
//!
//! What may fall (lags, sizes, states) is looked up when somebody asks; what only grows is counted where it happens, and
//! kept as long as the process lives. *Invariants:* names follow Prometheus' conventions (base units, `_total`); labels
//! are projections, plugins, generations that are public or on their way, route templates and fixed words, never what
//! somebody sent.

pub(super) mod answer;
mod families;
mod http;
mod page;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::http::{HttpMeter, Open, Subscription};
pub(super) use self::http::{REQUEST_ID, observe};
pub use super::ready::Readiness;
use crate::plugin::PluginMeters;
use crate::projection::Meters;

/// What a host is watched by.
#[derive(Clone, Default)]
pub struct Watch {
    /// What its projections did.
    pub projections: Arc<Meters>,
    /// What its plugins cost.
    pub plugins: Arc<PluginMeters>,
    /// What was asked of it over HTTP.
    pub http: Arc<HttpMeter>,
    /// What was last found out of that.
    pub readiness: Readiness,
    /// When it is ready.
    pub ready: ReadyPolicy,
    /// Whether `/metrics` needs no token.
    pub metrics_open: bool,
}

/// What `/readyz` asks of the projections.
#[derive(Clone, Debug)]
pub struct ReadyPolicy {
    /// Events that public tables may be behind.
    pub lag_events_max: u64,
    /// How long an event may have waited for its effects, in milliseconds.
    pub lag_ms_max: u64,
    /// Whether a projection is waited for that is not in `by_name`.
    pub waits: bool,
    /// The same of some projections.
    pub by_name: BTreeMap<String, bool>,
}

impl Default for ReadyPolicy {
    fn default() -> Self {
        Self {
            lag_events_max: 10_000,
            lag_ms_max: 60_000,
            waits: true,
            by_name: BTreeMap::new(),
        }
    }
}

impl ReadyPolicy {
    /// Whether it is waited for.
    pub(super) fn waits_for(&self, projection: &str) -> bool {
        self.by_name.get(projection).copied().unwrap_or(self.waits)
    }
}
