//! Sums in one cell.

use super::{Violation, at, described, no_decimal, type_name};
use crate::{ColumnType, Decimal, TableSchema, Value};

/// Adds to one value; null counts as 0.
#[inline]
pub(super) fn add(
    table: &TableSchema,
    column: usize,
    old: &mut Value,
    value: &Value,
) -> Result<(), Violation> {
    match add_quickly(table.columns[column].kind, old, value) {
        true => Ok(()),
        false => add_any(table, column, old, value),
    }
}

/// What nearly every sum is: both there, in the column's form, and both fit. False: nothing was done.
#[inline]
fn add_quickly(kind: ColumnType, old: &mut Value, value: &Value) -> bool {
    match (kind, old, value) {
        (ColumnType::Integer, Value::Integer(sum), Value::Integer(more)) => {
            let total = sum.checked_add(*more);
            *sum = total.unwrap_or(*sum);
            total.is_some()
        }
        (ColumnType::Decimal(scale), Value::Decimal(sum), Value::Decimal(more)) => {
            sum.scale() == scale && more.scale() == scale && sum.add_word(more)
        }
        _ => false,
    }
}

fn add_any(table: &TableSchema, column: usize, old: &mut Value, value: &Value) -> Result<(), Violation> {
    let kind = table.columns[column].kind;
    let overflow = || {
        Violation(format!(
            "{}: the sum does not fit {}",
            at(table, column),
            type_name(kind)
        ))
    };
    *old = match (kind, &*old, value) {
        (ColumnType::Integer, Value::Null, Value::Integer(more)) => Value::Integer(*more),
        (ColumnType::Integer, Value::Integer(sum), Value::Integer(more)) => {
            Value::Integer(sum.checked_add(*more).ok_or_else(overflow)?)
        }
        (ColumnType::Real, old @ (Value::Null | Value::Real(_)), Value::Real(more)) => {
            let sum = if let Value::Real(sum) = old {
                sum + more
            } else {
                *more
            };
            // 0.0 is added, so that -0 becomes 0.
            if sum.is_finite() {
                Value::Real(sum + 0.0)
            } else {
                return Err(overflow());
            }
        }
        (ColumnType::Decimal(scale), old @ (Value::Null | Value::Decimal(_)), more) => {
            let more = match more {
                Value::Integer(more) => Decimal::from(*more),
                Value::Decimal(more) => *more,
                other => return Err(not_addable(table, column, other)),
            };
            let more = more
                .rescale(scale)
                .map_err(|error| no_decimal(table, column, &more, error))?;
            let sum = match old {
                Value::Decimal(sum) => sum.checked_add(&more).map_err(|_| overflow())?,
                _ => more,
            };
            Value::Decimal(sum)
        }
        (_, _, other) => return Err(not_addable(table, column, other)),
    };
    Ok(())
}

#[cold]
fn not_addable(table: &TableSchema, column: usize, value: &Value) -> Violation {
    let kind = table.columns[column].kind;
    Violation(match kind {
        ColumnType::Integer | ColumnType::Real | ColumnType::Decimal(_) => {
            format!(
                "{}: cannot add {} to a column of type {}",
                at(table, column),
                described(value),
                type_name(kind)
            )
        }
        _ => format!(
            "{}: the column is {}, which is only set, never added to",
            at(table, column),
            type_name(kind)
        ),
    })
}
