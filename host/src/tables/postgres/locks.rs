//! Locks that readers are in the way of: how long each is waited for, and how often it is asked for.
//!
//! A lock that waits stops every later reader of the view behind it. So it waits shortly and lets readers pass in
//! between; only where that does not help, since one long transaction follows the other, it waits longer.

use std::time::{Duration, Instant};

use rand::Rng as _;
use sqlx::{Executor as _, PgConnection};

use super::session::{Failure, Session, own};
use super::views;
use crate::tables::StoreError;

/// How long a lock is waited for at first.
const WAIT: Duration = Duration::from_millis(150);
/// How long it is waited for at last. Only a wait that spans the moment between two long transactions succeeds: raise it
/// to get past longer ones sooner; lower it to hold readers up less.
const WAIT_MAX: Duration = Duration::from_millis(2_400);
/// So many tries wait for [`WAIT`]; then each waits twice as long as the one before.
const SHORT_TRIES: u32 = 6;

/// How long a lock is tried for in all.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// A projection is held still meanwhile, or somebody's wish may have to wait behind this.
    Short,
    /// Nothing else waits.
    Long,
}

impl Patience {
    fn tries_max(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(8),
            Self::Long => Duration::from_secs(20),
        }
    }
}

/// Sets how long the open transaction waits for each lock from now on.
pub(super) async fn wait_for_locks(connection: &mut PgConnection, wait: Duration) -> Result<(), sqlx::Error> {
    let sql = format!("SET LOCAL lock_timeout = '{}ms'", wait.as_millis());
    connection.execute(own(sql)).await?;
    Ok(())
}

/// Does work that waits for locks as long as it is told, again and again, until it succeeds or too much time has passed.
/// `view` is for saying who is in the way.
pub(super) fn retrying<T>(
    session: &mut Session,
    what: &str,
    patience: Patience,
    view: Option<&str>,
    work: impl AsyncFn(&mut PgConnection, Duration) -> Result<T, Failure>,
) -> Result<T, StoreError> {
    let started = Instant::now();
    for tries in 1.. {
        let wait = wait_of(tries);
        let failure = match session.attempt(what, async |connection| work(connection, wait).await)? {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if !failure.is_lock() {
            return Err(session.database().explain(what, failure));
        }
        if started.elapsed() >= patience.tries_max() {
            break;
        }
        // Readers get as much time as they were held up for; by chance a little more or less, so as not to meet the
        // same reader at the same place again and again.
        std::thread::sleep(wait.mul_f64(rand::rng().random_range(0.7..1.3)));
    }
    let holders = match view {
        Some(view) => session.run(what, async |connection| {
            views::lock_holders(connection, view).await
        })?,
        None => "readers of the public tables".to_owned(),
    };
    Err(StoreError::Unavailable(format!(
        "{what} waits for a lock that others hold: {holders}. It is tried again; ending their transactions lets it go on"
    )))
}

/// How long try number `tries`, from 1, waits for a lock.
fn wait_of(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(SHORT_TRIES).min(16);
    (WAIT * (1 << doublings)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_short_at_first_and_never_longer_than_readers_can_bear() {
        assert_eq!([1, SHORT_TRIES].map(wait_of), [WAIT; 2]);
        assert_eq!(wait_of(SHORT_TRIES + 1), WAIT * 2);
        assert_eq!(wait_of(SHORT_TRIES + 4), WAIT_MAX);
        assert_eq!(wait_of(u32::MAX), WAIT_MAX);
    }
}
