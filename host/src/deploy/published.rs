//! The last view that the conductor has published, for who asks and who waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::view::View;
use crate::core::signal::Signal;

/// Time between two looks at the same view, of which checkpoints move by themselves.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The view, and word of each new one.
#[derive(Default)]
pub(crate) struct Published {
    view: RwLock<Arc<View>>,
    changed: Signal,
}

impl Published {
    /// Shows a new view.
    pub(crate) fn set(&self, view: View) {
        *self.view.write() = Arc::new(view);
        self.changed.bump();
    }

    /// The last view.
    pub(crate) fn get(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Waits until a view is as wanted; gives the last one when that took longer than `time_max`.
    pub(crate) fn wait_for(&self, time_max: Duration, is_wanted: impl Fn(&View) -> bool) -> Arc<View> {
        let until = Instant::now() + time_max;
        loop {
            let seen = self.changed.seen();
            let view = self.get();
            let left = until.saturating_duration_since(Instant::now());
            if is_wanted(&view) || left.is_zero() {
                return view;
            }
            self.changed.wait(seen, left.min(LOOK_EVERY));
        }
    }
}
