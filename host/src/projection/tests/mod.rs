//! The row cache against a model: random changes, flushes, evictions and undone batches, with every size of budget.

mod rows;
