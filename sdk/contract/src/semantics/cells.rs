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
            conform_cell(table, column, &mut cell)?;
            Ok(cell)
        })
        .collect()
}

fn conform_cell(table: &TableSchema, column: usize, cell: &mut Cell) -> Result<(), Violation> {
    match &mut cell.change {
        CellChange::Set(value) => conform(table, column, value),
        CellChange::Add(value) => {
            // What it would make of nothing is what it adds, in the column's form.
            let mut sum = Value::Null;
            add(table, column, &mut sum, value)?;
            *value = sum;
            Ok(())
        }
    }
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

/// Makes one list of two: the same row comes of it as of `earlier` and then `later`. `earlier` must be conformed;
/// `later` is checked on the way, and on a violation both are of no use.
///
/// Gives back, conformed, those of `later` that do not merge, for the row must be known: two sums of reals (their order
/// counts), and sums that overflow.
pub fn merge_cells(
    table: &TableSchema,
    earlier: &mut Vec<Cell>,
    later: impl IntoIterator<Item = Cell>,
) -> Result<Vec<Cell>, Violation> {
    let mut seen = Seen::default();
    let mut left = Vec::new();
    for (place, mut cell) in later.into_iter().enumerate() {
        let column = seen.column(table, cell.column)?;
        // Changes of one row mostly name the same columns in the same order.
        let same = |before: &Cell| before.column == cell.column;
        let at = match earlier.get(place) {
            Some(before) if same(before) => Some(place),
            _ => earlier.iter().position(same),
        };
        let Some(at) = at else {
            conform_cell(table, column, &mut cell)?;
            earlier.push(cell);
            continue;
        };
        let CellChange::Add(more) = &cell.change else {
            conform_cell(table, column, &mut cell)?;
            earlier[at].change = cell.change;
            continue;
        };
        let before = match &mut earlier[at].change {
            // Two sums of reals depend on their order.
            CellChange::Add(_) if table.columns[column].kind == ColumnType::Real => None,
            CellChange::Set(value) | CellChange::Add(value) => Some(value),
        };
        if before.is_none_or(|before| add(table, column, before, more).is_err()) {
            conform_cell(table, column, &mut cell)?;
            left.push(cell);
        }
    }
    Ok(left)
}
