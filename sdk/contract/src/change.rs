use crate::{Key, Row, Value};

/// What happens to one cell.
#[derive(Clone, Debug, PartialEq)]
pub enum CellChange {
    /// Replace it.
    Set(Value),
    /// Add to it: integer, real or decimal; null counts as 0; overflow faults.
    Add(Value),
}

/// A change of one non-key column.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Index into [`crate::TableSchema::columns`].
    pub column: u32,
    /// What happens to it.
    pub change: CellChange,
}

/// A change of one row. `table` is an index into [`crate::Descriptor::tables`].
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Insert or replace a whole row.
    Put {
        /// Which table.
        table: u32,
        /// All columns.
        row: Row,
    },
    /// Change cells of a row that must exist.
    Patch {
        /// Which table.
        table: u32,
        /// Which row.
        key: Key,
        /// What changes.
        cells: Vec<Cell>,
    },
    /// Change cells of a row; an absent one starts from each column's `initial`.
    Upsert {
        /// Which table.
        table: u32,
        /// Which row.
        key: Key,
        /// What changes.
        cells: Vec<Cell>,
    },
    /// Remove a row; an absent one: no effect.
    Remove {
        /// Which table.
        table: u32,
        /// Which row.
        key: Key,
    },
}
