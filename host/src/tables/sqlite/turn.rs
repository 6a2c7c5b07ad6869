//! Whose turn it is to write: SQLite has one writer at a time, and live work comes first.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// Live turns that may go before a rebuild that waits. Raise it for live latency; lower it so that a rebuild beside
/// very busy live projections moves at all.
const LIVE_TURNS_IN_A_ROW_MAX: u32 = 64;

/// Hands out turns: live before rebuild, and each in the order of asking.
#[derive(Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    taken: bool,
    next_ticket: u64,
    live: VecDeque<u64>,
    rebuild: VecDeque<u64>,
    live_in_a_row: u32,
}

/// A turn; the next one's when it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn.
    pub(super) fn take(&self, live: bool) -> Turn<'_> {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        if live {
            queue.live.push_back(ticket);
        } else {
            queue.rebuild.push_back(ticket);
        }
        while queue.taken || queue.first() != Some(ticket) {
            self.changed.wait(&mut queue);
        }
        queue.start(live);
        Turn(self)
    }
}

impl Queue {
    /// The ticket that is next.
    fn first(&self) -> Option<u64> {
        let rebuild_is_due = self.live_in_a_row >= LIVE_TURNS_IN_A_ROW_MAX;
        match (self.live.front(), self.rebuild.front()) {
            (Some(_), Some(rebuild)) if rebuild_is_due => Some(*rebuild),
            (Some(live), _) => Some(*live),
            (None, rebuild) => rebuild.copied(),
        }
    }

    fn start(&mut self, live: bool) {
        self.taken = true;
        if live {
            self.live.pop_front();
            self.live_in_a_row = if self.rebuild.is_empty() {
                0
            } else {
                self.live_in_a_row + 1
            };
        } else {
            self.rebuild.pop_front();
            self.live_in_a_row = 0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().taken = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Starts a thread that takes a turn, and waits until it is in the queue.
    fn queue_up(turns: &Arc<Turns>, live: bool, name: &'static str, done: &mpsc::Sender<&'static str>) {
        let before = turns.queue.lock().next_ticket;
        let (turns_there, done) = (Arc::clone(turns), done.clone());
        std::thread::spawn(move || {
            let _turn = turns_there.take(live);
            done.send(name).unwrap();
        });
        while turns.queue.lock().next_ticket == before {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn live_goes_first_and_each_in_the_order_of_asking() {
        let turns = Arc::new(Turns::default());
        let (done, order) = mpsc::channel();
        let held = turns.take(false);
        queue_up(&turns, false, "rebuild 1", &done);
        queue_up(&turns, false, "rebuild 2", &done);
        queue_up(&turns, true, "live 1", &done);
        queue_up(&turns, true, "live 2", &done);
        drop(held);
        drop(done);
        let order: Vec<_> = order.iter().collect();
        assert_eq!(order, ["live 1", "live 2", "rebuild 1", "rebuild 2"]);
    }

    #[test]
    fn a_rebuild_is_not_starved_by_live_work() {
        let turns = Arc::new(Turns::default());
        let (done, order) = mpsc::channel();
        let held = turns.take(true);
        queue_up(&turns, false, "rebuild", &done);
        for _ in 0..=LIVE_TURNS_IN_A_ROW_MAX {
            queue_up(&turns, true, "live", &done);
        }
        drop(held);
        drop(done);
        let order: Vec<_> = order.iter().collect();
        let place = order.iter().position(|name| *name == "rebuild").unwrap();
        assert_eq!(place, LIVE_TURNS_IN_A_ROW_MAX as usize);
    }
}
