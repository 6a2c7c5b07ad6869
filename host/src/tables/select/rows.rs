//! Rows as they come, within the bounds of an answer.

use lamphouse_contract::{Row, TableSchema};

use super::{ANSWER_BYTES_MAX, Checked};

/// Collects the rows of one answer.
pub(in crate::tables) struct Rows {
    rows: Vec<Row>,
    limit: usize,
    bytes: usize,
    more: bool,
}

impl Rows {
    /// For at most so many; one more than that is asked of the database.
    pub(in crate::tables) fn new(limit: u64) -> Self {
        Self {
            rows: Vec::new(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            bytes: 0,
            more: false,
        }
    }

    /// Takes a row; false says that it is one too many, and that no more are wanted.
    pub(in crate::tables) fn take(&mut self, row: Row) -> bool {
        // One row comes in any case, so that whoever goes on from page to page gets on.
        let is_too_large = self.bytes > ANSWER_BYTES_MAX && !self.rows.is_empty();
        if self.rows.len() >= self.limit || is_too_large {
            self.more = true;
            return false;
        }
        let of_row: usize = row
            .iter()
            .map(|value| size_of_val(value) + value.heap_bytes())
            .sum();
        self.bytes += of_row;
        self.rows.push(row);
        true
    }

    /// The rows, and whether there are more.
    pub(in crate::tables) fn end(self) -> (Vec<Row>, bool) {
        (self.rows, self.more)
    }
}

/// The columns that a statement gives, as a table of their own: what decodes rows takes one.
pub(super) fn shape(checked: &Checked<'_>) -> TableSchema {
    TableSchema {
        name: checked.schema.name.clone(),
        columns: checked
            .columns
            .iter()
            .map(|(place, _)| checked.schema.columns[*place].clone())
            .collect(),
        primary_key: Vec::new(),
        indexes: Vec::new(),
    }
}

impl Checked<'_> {
    /// The columns of the answer, as a table of their own.
    pub(in crate::tables) fn shape(&self) -> TableSchema {
        shape(self)
    }
}
