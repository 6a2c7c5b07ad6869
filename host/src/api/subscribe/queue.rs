//! What waits for one client.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Lines that may wait for one client. Raise it for clients that pause; lower it to save memory.
pub(super) const LINES_MAX: usize = 2_048;
/// Bytes that may wait for one client; the lines are shared by all who wait for them. One larger line may wait alone.
pub(super) const BYTES_MAX: usize = 8 << 20;

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It did not keep up.
    Slow,
    /// The host stops.
    Closing,
}

/// One or more events for a client.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The id of the last of them: what is behind somebody who has them.
    pub(super) at: u64,
    /// Whether it says that the sequence goes on elsewhere, so that it counts whatever was seen before.
    pub(super) resets: bool,
    pub(super) text: Bytes,
}

/// Lines on their way from the feed to one client.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    ready: Notify,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<Line>,
    bytes: usize,
    /// What the feed has passed: everything up to here that is for this client is or was in the queue.
    passed: u64,
    end: Option<End>,
    /// Nobody takes any more.
    is_gone: bool,
}

/// What a client takes at once.
pub(super) struct Taken {
    pub(super) lines: Vec<Line>,
    /// Set when nothing is left.
    pub(super) end: Option<End>,
    /// As the feed had passed it; of use when nothing is left.
    pub(super) passed: u64,
    pub(super) is_empty: bool,
}

impl Queue {
    /// Adds a line. False: there is no place, and the client is dropped; or it has ended already.
    pub(super) fn push(&self, line: Line) -> bool {
        let mut inner = self.inner.lock();
        if inner.end.is_some() || inner.is_gone {
            return false;
        }
        let bytes = inner.bytes + line.text.len();
        if inner.lines.len() >= LINES_MAX || (bytes > BYTES_MAX && !inner.lines.is_empty()) {
            inner.end = Some(End::Slow);
            drop(inner);
            self.ready.notify_one();
            return false;
        }
        inner.bytes = bytes;
        inner.lines.push_back(line);
        true
    }

    /// The feed has handed out all up to here.
    pub(super) fn pass(&self, through: u64) {
        let mut inner = self.inner.lock();
        inner.passed = through;
        let wake = !inner.lines.is_empty();
        drop(inner);
        if wake {
            self.ready.notify_one();
        }
    }

    /// Ends it; what is queued still goes out.
    pub(super) fn end(&self, why: End) {
        self.inner.lock().end.get_or_insert(why);
        self.ready.notify_one();
    }

    /// The client is gone: what waits is let go.
    pub(super) fn leave(&self) {
        let mut inner = self.inner.lock();
        inner.is_gone = true;
        inner.lines = VecDeque::new();
    }

    /// Whether the feed may forget it.
    pub(super) fn is_over(&self) -> bool {
        let inner = self.inner.lock();
        inner.is_gone || inner.end.is_some()
    }

    /// Why it ends, if it does.
    pub(super) fn ended(&self) -> Option<End> {
        self.inner.lock().end
    }

    /// Whether more than half of its places are taken.
    pub(super) fn is_half_full(&self) -> bool {
        let inner = self.inner.lock();
        !inner.is_gone
            && inner.end.is_none()
            && (inner.lines.len() > LINES_MAX / 2 || inner.bytes > BYTES_MAX / 2)
    }

    /// Takes lines of about so many bytes.
    pub(super) fn take(&self, bytes_max: usize) -> Taken {
        let mut inner = self.inner.lock();
        let mut lines = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(line) = inner.lines.pop_front()
        {
            bytes += line.text.len();
            lines.push(line);
        }
        inner.bytes -= bytes;
        let is_empty = inner.lines.is_empty();
        Taken {
            lines,
            end: inner.end.filter(|_| is_empty),
            passed: inner.passed,
            is_empty,
        }
    }

    /// Waits until there is something to take, or the end.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, bytes: usize) -> Line {
        Line {
            at,
            resets: false,
            text: vec![b'x'; bytes].into(),
        }
    }

    #[test]
    fn a_full_queue_ends_after_what_is_in_it() {
        let queue = Queue::default();
        for at in 0..LINES_MAX as u64 {
            assert!(queue.push(line(at, 1)), "{at}");
        }
        assert!(queue.ended().is_none() && queue.is_half_full());
        assert!(!queue.push(line(9_999, 1)));
        assert!(queue.is_over());
        let first = queue.take(100);
        assert_eq!((first.lines.len(), first.end), (100, None));
        let rest = queue.take(usize::MAX);
        assert_eq!((rest.lines.len(), rest.end), (LINES_MAX - 100, Some(End::Slow)));
    }

    #[test]
    fn large_lines_are_bounded_by_their_bytes_and_one_always_fits() {
        let queue = Queue::default();
        assert!(queue.push(line(1, BYTES_MAX + 1)));
        assert!(!queue.push(line(2, 1)));
        let queue = Queue::default();
        assert!(queue.push(line(1, BYTES_MAX - 1)));
        assert!(queue.push(line(2, 1)));
        assert!(!queue.push(line(3, 1)));
    }

    #[tokio::test]
    async fn the_end_wakes_who_waits() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.ready().await }
        });
        queue.end(End::Closing);
        waiting.await.expect("woken");
        assert_eq!(queue.take(1).end, Some(End::Closing));
    }
}
