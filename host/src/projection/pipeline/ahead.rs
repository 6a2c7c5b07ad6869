//! The pipeline while its workers are ahead of each other: what they tell, and how that comes to an end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::Pipeline;
use crate::projection::runner::Control;
use crate::projection::workers::{Heard, News};
use crate::tables::TableFlush;

/// How long workers that are ahead may finish what was dealt to them, once the run is told to stop. Higher would lose
/// less work of slow plugins; lower would stop sooner.
const FINISH_WAIT: Duration = Duration::from_secs(1);

/// A run ended because a worker that was ahead of others failed.
pub(crate) struct FellApart {
    /// What the worker said.
    pub(crate) why: String,
    /// What the run was asked to do and did not.
    pub(crate) orders: Vec<Control>,
}

impl Pipeline<'_> {
    /// Sends the flush that was waiting for its rows.
    pub(super) fn send(&mut self, tables: Vec<TableFlush>) {
        if let Some(mut write) = self.marked.take() {
            write.flush.tables = tables;
            // If the writer has ended, `run` sees it.
            let _ = self.to_write.send(write);
        }
    }

    /// Takes in what a worker that is ahead has to tell.
    pub(super) fn heard(&mut self, news: News) {
        match self.workers.heard(news) {
            Heard::Flush(tables) => self.send(tables),
            Heard::Failed(why) => self.fell_apart = Some(why),
            Heard::Nothing | Heard::Parts(_) => {}
        }
    }

    /// Whether there is time left for workers that are ahead, should this be the end.
    pub(super) fn may_wait_for_workers(&mut self) -> bool {
        if !self.workers.are_ahead() || !self.stop.load(Ordering::Acquire) {
            return true;
        }
        self.told.get_or_insert_with(Instant::now).elapsed() < FINISH_WAIT
    }

    /// Near the head there is little to deal out, and nobody is to wait for it.
    pub(super) fn gather(&mut self) {
        let (stop, mut told) = (self.stop.clone(), self.told);
        let gathered = self.workers.gather(|| {
            !stop.load(Ordering::Acquire) || told.get_or_insert_with(Instant::now).elapsed() < FINISH_WAIT
        });
        match gathered {
            Ok(Some(tables)) => self.send(tables),
            Ok(None) => {}
            Err(why) => self.fell_apart = Some(why),
        }
    }

    /// The end of this run, with what was asked of it and is not done.
    pub(super) fn fall_apart(self, why: String) -> FellApart {
        let mut orders: Vec<Control> = self.hold_replies.into_iter().map(Control::Hold).collect();
        if self.held && orders.is_empty() {
            // It is answered already; nobody listens.
            orders.push(Control::Hold(bounded(1).0));
        }
        // What has reached the writer may have been done; the store knows.
        let marked = self.in_flight.filter(|_| self.marked.is_some());
        let switch = self.switch.or(marked.and_then(|(_, _, _, request)| request));
        orders.extend(switch.map(Control::Switch));
        FellApart { why, orders }
    }
}
