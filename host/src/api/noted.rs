//! What is wrong with the API's own files while it runs, for `status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Problems by what they are about; shared by whoever finds and whoever shows them.
///
/// They are not a reason to be unhealthy: the host goes on with what it had, and would not start again with what is there.
#[derive(Clone, Debug, Default)]
pub struct Noted(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Noted {
    /// Says how it stands with this; None: all is well.
    pub(super) fn set(&self, about: &'static str, problem: Option<String>) {
        let mut problems = self.0.lock();
        match problem {
            Some(problem) => problems.insert(about, problem),
            None => problems.remove(about),
        };
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().values().cloned().collect()
    }
}
