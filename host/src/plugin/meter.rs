//! What plugins cost, by name: kept with the sandbox, so that a new version goes on where the last one ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::core::measure::{Counter, Peak};

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginKind {
    /// Events to rows.
    Projector,
    /// Old events to newer ones.
    Upcaster,
}

/// What the calls of one plugin cost.
#[derive(Debug, Default)]
pub struct PluginMeter {
    /// Calls, those that failed too.
    pub calls: Counter,
    /// Calls that failed.
    pub failures: Counter,
    /// Time in the guest, in nanoseconds: without the host's work on rows.
    pub time: Counter,
    /// The most memory that one call had, in bytes.
    pub memory: Peak,
}

impl PluginMeter {
    pub(super) fn called(&self, time: Duration, memory_bytes: u64, succeeded: bool) {
        self.calls.add(1);
        self.failures.add(u64::from(!succeeded));
        self.time.add_time(time);
        self.memory.reach(memory_bytes);
    }
}

/// The plugins that a sandbox has loaded since it was made. A name is kept when its plugin goes: there are as many as
/// there were files in the folder.
#[derive(Debug, Default)]
pub struct PluginMeters(RwLock<BTreeMap<(String, PluginKind), Arc<PluginMeter>>>);

impl PluginMeters {
    pub(super) fn of(&self, name: &str, kind: PluginKind) -> Arc<PluginMeter> {
        let mut all = self.0.write();
        all.entry((name.to_owned(), kind)).or_default().clone()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<(String, PluginKind, Arc<PluginMeter>)> {
        let all = self.0.read();
        all.iter()
            .map(|((name, kind), meter)| (name.clone(), *kind, meter.clone()))
            .collect()
    }
}
