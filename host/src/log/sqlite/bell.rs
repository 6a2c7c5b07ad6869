//! Tells other processes that something was committed.
//!
//! The kernel tells them when the write-ahead log is written to, but a commit can be seen only after the sync that
//! follows, and each commit writes many times. So whoever has committed touches the times of a file beside the log: that
//! word comes once, when there is something to see. It is a courtesy that saves the others from looking again and again;
//! nothing depends on it, and the file may be removed.

use std::fs::{File, FileTimes, OpenOptions};
use std::path::Path;
use std::time::SystemTime;

/// Rings for everybody who watches one log.
pub(super) struct Bell {
    /// None where it cannot be rung: the others look now and then.
    file: Option<File>,
}

impl Bell {
    /// At this path; the file is made where there is none.
    pub(super) fn new(path: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path);
        if let Err(error) = &file {
            tracing::debug!(path = %path.display(), %error, "other processes notice appends a little later: the bell cannot be made");
        }
        Self { file: file.ok() }
    }

    /// Says that something was committed. Costs some microseconds.
    pub(super) fn ring(&mut self) {
        let now = SystemTime::now();
        // Both times: only then it is no word of a read or a write.
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        if let Some(file) = &self.file
            && let Err(error) = file.set_times(times)
        {
            tracing::debug!(%error, "the bell's times cannot be set; other processes notice appends a little later");
            self.file = None;
        }
    }
}
