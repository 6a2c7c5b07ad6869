//! Ctrl-C: the first asks for a clean end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use super::progress::say;

/// Set once a person or a supervisor asked for the end.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. `advice` is said at the first Ctrl-C.
    pub(super) fn listen(runtime: &Handle, advice: &'static str) -> Self {
        let interrupt = Self::default();
        let flag = interrupt.0.clone();
        runtime.spawn(async move {
            stop_asked().await;
            flag.store(true, Ordering::Release);
            if !advice.is_empty() {
                say(advice);
            }
            stop_asked().await;
            std::process::exit(130);
        });
        interrupt
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Waits for SIGINT or SIGTERM; gives its name in words.
pub(super) async fn stop_asked() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupted, terminated) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupted), Ok(mut terminated)) = (interrupted, terminated) else {
        // Without handlers the signals keep their default effect, which ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupted.recv() => "interrupted",
        _ = terminated.recv() => "terminated",
    }
}
