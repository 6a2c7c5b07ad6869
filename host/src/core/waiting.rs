//! A runtime for a connection that one thread uses.
//!
//! On a runtime that is shared, an answer of the server wakes one of its threads, which then wakes the one that waits:
//! that is most of the time of a small statement. Here the thread that waits looks at the socket itself.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

/// Drives what the thread that calls it waits for, and nothing while nobody waits.
pub struct Waiting(Option<Runtime>);

impl Waiting {
    /// Makes it ready.
    ///
    /// # Errors
    /// The system gives no more file handles.
    pub fn new() -> io::Result<Self> {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .map(Some)
            .map(Self)
    }

    /// Waits until the work is done. Not for async code, as all waiting.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        let runtime = self.0.as_ref();
        runtime
            .expect("invariant: the runtime is there until drop")
            .block_on(work)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Also where a thread of another runtime drops it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
