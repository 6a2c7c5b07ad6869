//! A bell that async work waits for: "something may have happened". [`super::signal::Signal`] is the same for threads.

use tokio::sync::watch;

/// Rings for everybody who has a [`Hearing`]. Costs next to nothing where nobody listens.
#[derive(Clone, Debug)]
pub struct Bell(watch::Sender<()>);

/// Hears a bell. A ring between a look and [`Self::rung`] is never missed: several count as one.
#[derive(Clone, Debug)]
pub struct Hearing(watch::Receiver<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Bell {
    /// Wakes everybody who waits.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears every ring from now on.
    pub fn hear(&self) -> Hearing {
        Hearing(self.0.subscribe())
    }
}

impl Hearing {
    /// Waits for a ring that came after the last one that was waited for. Never ends once the bell is gone.
    pub async fn rung(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_ring_before_the_wait_is_heard_and_only_once() {
        let bell = Bell::default();
        bell.ring();
        let mut hearing = bell.hear();
        bell.ring();
        bell.ring();
        hearing.rung().await;
        let again = tokio::time::timeout(Duration::from_millis(20), hearing.rung()).await;
        assert!(again.is_err(), "an old ring was heard again");
        drop(bell);
        let gone = tokio::time::timeout(Duration::from_millis(20), hearing.rung()).await;
        assert!(gone.is_err(), "a bell that is gone rang");
    }
}
