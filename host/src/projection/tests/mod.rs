//! The row cache against a model, with random changes, flushes, evictions, undone batches and every size of budget; and
//! what is parked, with random poison and crashes; the end of the log, read once for many.

mod faults;
mod parking;
mod rows;
mod tail;
