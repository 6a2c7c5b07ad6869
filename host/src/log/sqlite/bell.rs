//! Tells other processes that something was committed.
//!
//! The kernel tells them when the write-ahead log is written to, but a commit can be seen only after the sync that
//! follows. So whoever has committed touches the file's times: that word comes when there is something to see. It is a
//! courtesy that saves the others from looking again and again; nothing depends on it.

use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::SystemTime;

/// Rings for everybody who watches one write-ahead log.
pub(super) struct Bell {
    /// None where it cannot be rung: the others look now and then.
    file: Option<File>,
}

impl Bell {
    /// For a write-ahead log that is there, and that a connection of this process keeps.
    pub(super) fn new(write_ahead_log: &Path) -> Self {
        Self {
            file: File::open(write_ahead_log).ok(),
        }
    }

    /// Says that something was committed. Costs some microseconds.
    pub(super) fn ring(&mut self) {
        let now = SystemTime::now();
        // Both times: only then it is no word of a read or a write.
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        if let Some(file) = &self.file
            && let Err(error) = file.set_times(times)
        {
            tracing::debug!(%error, "The write-ahead log's times cannot be set; other processes notice appends a little later");
            self.file = None;
        }
    }
}
