//! Waiting with a deadline.

use std::time::{Duration, Instant};

/// Long enough for two busy cores in CI; a wait that succeeds never takes it.
pub const LONG: Duration = Duration::from_secs(180);
/// For what should take a second or two.
pub const SHORT: Duration = Duration::from_secs(45);

/// Asks until there is an answer.
///
/// # Panics
/// When the time is over; says what was waited for and what `look` said last.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(10);
    loop {
        match look() {
            Ok(found) => return found,
            Err(said) if Instant::now() >= end => panic!("waited {limit:?} for {what}; at the end: {said}"),
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}
