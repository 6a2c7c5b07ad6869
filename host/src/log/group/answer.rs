//! The answer to one who waits.
//!
//! A channel would do, but whoever waits on one looks for a while before it sleeps. An answer here takes a sync of the
//! disk, and with many who wait their looking takes the cores from the one who works.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    Answered(T, Option<Arc<Sleepers>>),
    /// There is, or will be, nothing to take.
    Over,
}

/// Those who were answered together.
///
/// To wake one takes some microseconds: whoever is woken first wakes others, so that the one who answers can go on with
/// the next group.
struct Sleepers {
    askers: Vec<Thread>,
    /// Those before it were woken.
    next: AtomicUsize,
}

/// How many each wakes. With one, the last would hear late; more would keep the first from what they want to do.
const EACH_WAKES: usize = 2;

impl Sleepers {
    fn wake_some(&self) {
        for _ in 0..EACH_WAKES {
            // Each place is given out once; who comes late finds nobody.
            match self.askers.get(self.next.fetch_add(1, Ordering::Relaxed)) {
                Some(asker) => asker.unpark(),
                None => return,
            }
        }
    }
}

/// Answers many at once.
pub(super) fn send_all<'a, T: 'a>(answers: impl Iterator<Item = (&'a Answer<T>, T)>) {
    let (open, told): (Vec<&Answer<T>>, Vec<T>) = answers.unzip();
    let sleepers = Arc::new(Sleepers {
        askers: open.iter().map(|answer| answer.0.asker.clone()).collect(),
        next: AtomicUsize::new(0),
    });
    for (answer, told) in open.into_iter().zip(told) {
        answer.settle(State::Answered(told, Some(sleepers.clone())));
    }
    sleepers.wake_some();
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
        if self.settle(State::Answered(answer, None)) {
            self.0.asker.unpark();
        }
    }

    /// False where that was done before.
    fn settle(&self, settled: State<T>) -> bool {
        let mut state = self.0.state.lock();
        let is_open = matches!(*state, State::Open);
        if is_open {
            *state = settled;
        }
        is_open
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if self.settle(State::Over) {
            self.0.asker.unpark();
        }
    }
}

impl<T> Asked<T> {
    /// Waits, in the thread that asked; None when nobody will answer.
    pub(super) fn wait(self) -> Option<T> {
        loop {
            let mut state = self.0.state.lock();
            match std::mem::replace(&mut *state, State::Over) {
                State::Answered(answer, sleepers) => {
                    drop(state);
                    if let Some(sleepers) = sleepers {
                        sleepers.wake_some();
                    }
                    return Some(answer);
                }
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
    fn many_who_are_answered_at_once_all_hear() {
        for count in [1, 2, 3, 64] {
            let (questions, asked) = crossbeam_channel::unbounded();
            let askers: Vec<_> = (0..count)
                .map(|number| {
                    let questions = questions.clone();
                    std::thread::spawn(move || {
                        let (answer, asked) = ask();
                        questions.send((answer, number)).unwrap();
                        assert_eq!(asked.wait(), Some(number));
                    })
                })
                .collect();
            let open: Vec<(Answer<i32>, i32)> = asked.iter().take(count as usize).collect();
            send_all(open.iter().map(|(answer, number)| (answer, *number)));
            for asker in askers {
                asker.join().unwrap();
            }
        }
    }

    #[test]
    fn who_will_never_be_answered_is_told() {
        let (answer, asked) = ask::<u8>();
        std::thread::spawn(move || drop(answer));
        assert_eq!(asked.wait(), None);
    }
}
