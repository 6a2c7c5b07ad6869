//! Cells whose row is not at hand: checked by themselves, and merged, so that many changes of a row become one.

use super::{Seen, Violation, add, conform};
use crate::{Cell, CellChange, ColumnType, TableSchema, Value};

/// Checks and canonicalises the cells of one change, as far as that goes without their row: an `add` may still
/// overflow there.
pub fn conform_cells(
    table: &TableSchema,
    cells: impl IntoIterator<Item = Cell>,
) -> Result<Vec<Cell>, Violation> {
    let mut seen = Seen::default();
    cells
        .into_iter()
        .map(|mut cell| {
            let column = seen.column(table, cell.column)?;
            match &mut cell.change {
                CellChange::Set(value) => conform(table, column, value)?,
                CellChange::Add(value) => {
                    // What it would make of nothing is what it adds, in the column's form.
                    let mut sum = Value::Null;
                    add(table, column, &mut sum, std::mem::replace(value, Value::Null))?;
                    *value = sum;
                }
            }
            Ok(cell)
        })
        .collect()
}

/// Whether these cells name every column that a new row must be given: not nullable, without an initial value.
pub fn names_all_required(table: &TableSchema, cells: &[Cell]) -> bool {
    table.columns.iter().enumerate().all(|(index, column)| {
        let index = index as u32;
        column.nullable
            || column.initial.is_some()
            || table.primary_key.contains(&index)
            || cells.iter().any(|cell| cell.column == index)
    })
}

/// Makes one list of two: the same row comes of it as of `earlier` and then `later`. Both must be conformed.
///
/// Gives back those of `later` that do not merge, for the row must be known: two sums of reals (their order counts),
/// and sums that overflow.
pub fn merge_cells(table: &TableSchema, earlier: &mut Vec<Cell>, later: Vec<Cell>) -> Vec<Cell> {
    let mut left = Vec::new();
    for cell in later {
        let Some(before) = earlier.iter_mut().find(|before| before.column == cell.column) else {
            earlier.push(cell);
            continue;
        };
        let column = cell.column as usize;
        match (&mut before.change, cell.change) {
            (before, CellChange::Set(value)) => *before = CellChange::Set(value),
            (CellChange::Add(_), CellChange::Add(more)) if table.columns[column].kind == ColumnType::Real => {
                left.push(Cell {
                    column: cell.column,
                    change: CellChange::Add(more),
                });
            }
            (CellChange::Set(value) | CellChange::Add(value), CellChange::Add(more)) => {
                if add(table, column, value, more.clone()).is_err() {
                    left.push(Cell {
                        column: cell.column,
                        change: CellChange::Add(more),
                    });
                }
            }
        }
    }
    left
}
