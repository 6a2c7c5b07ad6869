//! A counter that threads wait on: "something may have happened".

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::{Condvar, Mutex};

/// Wakes waiting threads. A bump between a look and a wait is never missed, because the waiter says what it has seen.
#[derive(Default)]
pub struct Signal {
    count: Mutex<u64>,
    changed: Condvar,
    told: Mutex<Vec<Sender<()>>>,
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
        // One word is enough until it is heard.
        let listens = |listener: &Sender<()>| listener.try_send(()) != Err(TrySendError::Disconnected(()));
        self.told.lock().retain(listens);
    }

    /// For who waits for other things too: has a word in it after each bump from now on, until it is taken.
    pub fn hear(&self) -> Receiver<()> {
        let (tell, told) = bounded(1);
        self.told.lock().push(tell);
        told
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bumps_are_heard_until_taken_and_nobody_is_told_who_is_gone() {
        let signal = Signal::default();
        signal.bump();
        let (first, second) = (signal.hear(), signal.hear());
        assert!(first.try_recv().is_err(), "a bump from before was heard");
        signal.bump();
        signal.bump();
        assert!(first.try_recv().is_ok());
        assert!(first.try_recv().is_err(), "two bumps are one word");
        drop(first);
        signal.bump();
        assert_eq!(signal.told.lock().len(), 1);
        assert!(second.try_recv().is_ok());
    }
}
