use crate::{Key, Row, Value, ValueRef};

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

/// Which change it is: as it is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Insert or replace a whole row.
    #[default]
    Put = 0,
    /// Change cells of a row that must exist.
    Patch = 1,
    /// Change cells of a row; an absent one starts from each column's `initial`.
    Upsert = 2,
    /// Remove a row; an absent one: no effect.
    Remove = 3,
}

/// A [`Cell`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellRef<'a> {
    /// Index into [`crate::TableSchema::columns`].
    pub column: u32,
    /// Added to the cell; else it replaces it.
    pub adds: bool,
    /// The value.
    pub value: ValueRef<'a>,
}

impl CellRef<'_> {
    /// The same with a value of its own.
    #[inline]
    pub fn to_cell(self) -> Cell {
        let value = self.value.to_value();
        Cell {
            column: self.column,
            change: if self.adds {
                CellChange::Add(value)
            } else {
                CellChange::Set(value)
            },
        }
    }
}

/// A [`Change`], borrowed. Its lists are kept from one change to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeRef<'a> {
    /// Which change.
    pub operation: Operation,
    /// Which table.
    pub table: u32,
    /// The row of a put, the key of any other.
    pub values: Vec<ValueRef<'a>>,
    /// Of a patch or an upsert: what changes.
    pub cells: Vec<CellRef<'a>>,
}

impl<'a> ChangeRef<'a> {
    /// A change, borrowed.
    pub fn of(change: &'a Change) -> Self {
        let nothing: &[Cell] = &[];
        let (operation, table, values, cells) = match change {
            Change::Put { table, row } => (Operation::Put, table, row, nothing),
            Change::Patch { table, key, cells } => (Operation::Patch, table, key, &cells[..]),
            Change::Upsert { table, key, cells } => (Operation::Upsert, table, key, &cells[..]),
            Change::Remove { table, key } => (Operation::Remove, table, key, nothing),
        };
        let cell = |cell: &'a Cell| {
            let (CellChange::Set(value) | CellChange::Add(value)) = &cell.change;
            CellRef {
                column: cell.column,
                adds: matches!(cell.change, CellChange::Add(_)),
                value: value.borrow(),
            }
        };
        Self {
            operation,
            table: *table,
            values: values.iter().map(Value::borrow).collect(),
            cells: cells.iter().map(cell).collect(),
        }
    }

    /// The row of a put, the key of any other, with values of its own.
    pub fn to_values(&self) -> Box<[Value]> {
        self.values.iter().map(|value| value.to_value()).collect()
    }

    /// What changes, with values of its own.
    pub fn to_cells(&self) -> impl Iterator<Item = Cell> {
        self.cells.iter().map(|cell| cell.to_cell())
    }

    /// The same with values of its own.
    pub fn to_change(&self) -> Change {
        let (table, values) = (self.table, self.to_values());
        match self.operation {
            Operation::Put => Change::Put { table, row: values },
            Operation::Patch => Change::Patch {
                table,
                key: values,
                cells: self.to_cells().collect(),
            },
            Operation::Upsert => Change::Upsert {
                table,
                key: values,
                cells: self.to_cells().collect(),
            },
            Operation::Remove => Change::Remove { table, key: values },
        }
    }
}
