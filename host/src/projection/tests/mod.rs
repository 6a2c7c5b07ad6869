//! The row cache against a model, with random changes, flushes, evictions, undone batches and every size of budget; and
//! what is parked, with random poison and crashes; the end of the log, read once for many; whole rebuilds.

mod faults;
mod parking;
mod rebuild;
mod rows;
mod tail;
