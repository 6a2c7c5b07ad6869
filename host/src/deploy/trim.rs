//! Keeps the table of row changes at its bound: in short steps, on a thread of its own, so that no flush does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::core::signal::Signal;
use crate::tables::TableStore;

/// Time between two looks. Changes beyond the bound stay for about this long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two steps, in which others write.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// A thread that trims; ends when dropped.
pub(crate) struct Trimmer {
    stop: Arc<AtomicBool>,
    wake: Arc<Signal>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Trimmer {
    pub(crate) fn start(store: Arc<dyn TableStore>) -> std::io::Result<Self> {
        let (stop, wake) = (Arc::<AtomicBool>::default(), Arc::<Signal>::default());
        let (told, woken) = (stop.clone(), wake.clone());
        let thread = std::thread::Builder::new()
            .name("trimmer".to_owned())
            .spawn(move || {
                let seen = woken.seen();
                while !told.load(Ordering::Acquire) {
                    match store.trim_changes() {
                        Ok(true) => {
                            woken.wait(seen, STEP_PAUSE);
                        }
                        Ok(false) => {
                            woken.wait(seen, LOOK_EVERY);
                        }
                        Err(error) => {
                            // The database is away, which those who write say loudly.
                            tracing::debug!(%error, "row changes are trimmed later");
                            woken.wait(seen, LOOK_EVERY);
                        }
                    }
                }
            })?;
        Ok(Self {
            stop,
            wake,
            thread: Some(thread),
        })
    }
}

impl Drop for Trimmer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake.bump();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}
