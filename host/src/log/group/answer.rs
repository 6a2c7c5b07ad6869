//! The answer to one who waits.
//!
//! A channel would do, but whoever waits on one looks for a while before it sleeps. An answer here takes a sync of the
//! disk, and with many who wait their looking takes the cores from the one who works.

use std::sync::Arc;
use std::thread::Thread;

use parking_lot::Mutex;

/// Gives the answer, once; dropped before that, it says that there is none.
pub(super) struct Answer<T>(Arc<Slot<T>>);

/// Waits for the answer.
pub(super) struct Asked<T>(Arc<Slot<T>>);

struct Slot<T> {
    state: Mutex<State<T>>,
    asker: Thread,
}

enum State<T> {
    Open,
    Answered(T),
    /// There is, or will be, nothing to take.
    Over,
}

/// For a question of this thread.
pub(super) fn ask<T>() -> (Answer<T>, Asked<T>) {
    let slot = Arc::new(Slot {
        state: Mutex::new(State::Open),
        asker: std::thread::current(),
    });
    (Answer(slot.clone()), Asked(slot))
}

impl<T> Answer<T> {
    /// Answers. A second answer is not heard.
    pub(super) fn send(&self, answer: T) {
        self.settle(State::Answered(answer));
    }

    fn settle(&self, settled: State<T>) {
        {
            let mut state = self.0.state.lock();
            if !matches!(*state, State::Open) {
                return;
            }
            *state = settled;
        }
        self.0.asker.unpark();
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.settle(State::Over);
    }
}

impl<T> Asked<T> {
    /// Waits, in the thread that asked; None when nobody will answer.
    pub(super) fn wait(self) -> Option<T> {
        loop {
            let mut state = self.0.state.lock();
            match std::mem::replace(&mut *state, State::Over) {
                State::Answered(answer) => return Some(answer),
                State::Over => return None,
                State::Open => *state = State::Open,
            }
            drop(state);
            // Also ends for other reasons, and at once where the answer has come meanwhile.
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_heard_once_from_any_thread() {
        let (answer, asked) = ask();
        std::thread::spawn(move || {
            answer.send(7);
            answer.send(8);
        });
        assert_eq!(asked.wait(), Some(7));
    }

    #[test]
    fn an_answer_that_came_before_is_heard() {
        let (answer, asked) = ask();
        answer.send("there");
        drop(answer);
        assert_eq!(asked.wait(), Some("there"));
    }

    #[test]
    fn who_will_never_be_answered_is_told() {
        let (answer, asked) = ask::<u8>();
        std::thread::spawn(move || drop(answer));
        assert_eq!(asked.wait(), None);
    }
}
