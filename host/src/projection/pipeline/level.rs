//! The projecting thread of a live projection that is level with the head: it reads by itself what comes.
//!
//! *Invariant:* the reader is in one place: with its own thread, in a message, or here. While it is here, the queue of
//! what was read is empty or holds what this thread has just read, so that a step never waits for room in it.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use crate::log::EventLog;
use crate::projection::reading::{POLL, Reader, Step};

pub(super) struct Level {
    appended: Receiver<()>,
    give_back: Sender<Box<Reader>>,
    /// The reader while it is here, and when it last read.
    here: Option<(Box<Reader>, Instant)>,
}

impl Level {
    pub(super) fn new(log: &dyn EventLog, give_back: Sender<Box<Reader>>) -> Self {
        Self {
            appended: log.signal().hear(),
            give_back,
            here: None,
        }
    }

    /// Has a word in it when something may have been appended; None while that is for another thread.
    pub(super) fn appended(&self) -> Option<&Receiver<()>> {
        self.here.as_ref().map(|_| &self.appended)
    }

    /// Reads from now on.
    pub(super) fn take(&mut self, reader: Box<Reader>) {
        self.here = Some((reader, Instant::now()));
    }

    /// Reads what came; it is in the queue then.
    pub(super) fn read(&mut self) {
        let Some((reader, when)) = &mut self.here else {
            return;
        };
        *when = Instant::now();
        match reader.step() {
            Ok(Step::More | Step::AtHead) => {}
            // Its last message says why.
            Ok(Step::Over) => self.here = None,
            // Its own thread meets the same, and knows what to do about it.
            Err(_) => self.give_back(),
        }
    }

    /// Reads where no word has come for long: one that was lost costs no more than this.
    pub(super) fn read_in_time(&mut self) {
        if self.here.as_ref().is_some_and(|(_, when)| when.elapsed() >= POLL) {
            self.read();
        }
    }

    /// Leaves the reading to the reader's thread.
    pub(super) fn give_back(&mut self) {
        if let Some((reader, _)) = self.here.take() {
            // If that thread has ended, the host is going down.
            let _ = self.give_back.send(reader);
        }
    }
}
