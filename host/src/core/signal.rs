//! A counter that threads wait on: "something may have happened".

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Wakes waiting threads. A bump between a look and a wait is never missed, because the waiter says what it has seen.
#[derive(Default)]
pub struct Signal {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// The present count; take it before you look at what the signal is about.
    pub fn seen(&self) -> u64 {
        *self.count.lock()
    }

    /// Wakes every waiter.
    pub fn bump(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until the count differs from `seen`, or the time is over; gives the count.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let mut count = self.count.lock();
        if *count == seen {
            self.changed
                .wait_while_for(&mut count, |count| *count == seen, timeout);
        }
        *count
    }
}
