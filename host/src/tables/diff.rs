//! What readers of the public names notice when one descriptor's tables replace another's. Pure.

use lamphouse_contract::TableSchema;
use lamphouse_contract::semantics::type_name;

/// The difference between two generations, as seen through the public names.
///
/// Keys, indexes, nullability and `initial` are not seen through a view, so they make no difference here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaDiff {
    /// The same tables, with the same columns in the same order.
    Equal,
    /// Only more: new tables, or new columns after the old ones. Each in words.
    Appended(Vec<String>),
    /// Something is removed, retyped or in another place: readers may break. Each such change in words.
    Breaking(Vec<String>),
}

impl SchemaDiff {
    /// Compares what is public with what is to be public.
    pub fn between(old: &[TableSchema], new: &[TableSchema]) -> Self {
        let mut appended = Vec::new();
        let mut breaking = Vec::new();
        for table in old {
            match new.iter().find(|candidate| candidate.name == table.name) {
                Some(replacement) => columns(table, replacement, &mut appended, &mut breaking),
                None => breaking.push(format!("table '{}' is removed", table.name)),
            }
        }
        for table in new {
            if !old.iter().any(|candidate| candidate.name == table.name) {
                appended.push(format!("table '{}' is new", table.name));
            }
        }
        match (appended.is_empty(), breaking.is_empty()) {
            (_, false) => Self::Breaking(breaking),
            (false, true) => Self::Appended(appended),
            (true, true) => Self::Equal,
        }
    }

    /// Whether readers may break.
    pub fn is_breaking(&self) -> bool {
        matches!(self, Self::Breaking(_))
    }
}

fn columns(old: &TableSchema, new: &TableSchema, appended: &mut Vec<String>, breaking: &mut Vec<String>) {
    let table = &old.name;
    for (place, column) in old.columns.iter().enumerate() {
        let name = &column.name;
        match new.columns.iter().position(|candidate| candidate.name == *name) {
            None => breaking.push(format!("column '{table}.{name}' is removed")),
            Some(now) if new.columns[now].kind != column.kind => breaking.push(format!(
                "column '{table}.{name}' was {}, is {}",
                type_name(column.kind),
                type_name(new.columns[now].kind)
            )),
            // A column that only moved because an earlier one went is not named: the earlier one is.
            Some(now) if now != place && !follows_a_removal(old, new, place, now) => breaking.push(format!(
                "column '{table}.{name}' moved from place {} to {}",
                place + 1,
                now + 1
            )),
            Some(_) => {}
        }
    }
    for column in &new.columns {
        if !old.columns.iter().any(|candidate| candidate.name == column.name) {
            appended.push(format!("column '{table}.{}' is new", column.name));
        }
    }
}

fn follows_a_removal(old: &TableSchema, new: &TableSchema, place: usize, now: usize) -> bool {
    let gone = old.columns[..place]
        .iter()
        .filter(|column| !new.columns.iter().any(|candidate| candidate.name == column.name))
        .count();
    gone > 0 && place - gone == now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::sample::{column, table};
    use lamphouse_contract::ColumnType;

    fn check(old: &[TableSchema], new: &[TableSchema], expected: SchemaDiff) {
        assert_eq!(SchemaDiff::between(old, new), expected);
    }

    fn orders(columns: &[(&str, ColumnType)]) -> TableSchema {
        let columns = columns.iter().map(|(name, kind)| column(name, *kind)).collect();
        table("orders", columns, &[0], &[])
    }

    #[test]
    fn more_columns_and_tables_are_appended() {
        use ColumnType::{Integer, Text};
        let one = orders(&[("id", Text)]);
        let two = orders(&[("id", Text), ("lines", Integer)]);
        let more = table("countries", vec![column("country", Text)], &[0], &[]);
        check(
            std::slice::from_ref(&one),
            std::slice::from_ref(&one),
            SchemaDiff::Equal,
        );
        check(
            &[one],
            &[more, two],
            SchemaDiff::Appended(vec![
                "column 'orders.lines' is new".to_owned(),
                "table 'countries' is new".to_owned(),
            ]),
        );
    }

    #[test]
    fn what_goes_changes_type_or_moves_is_breaking() {
        use ColumnType::{Decimal, Integer, Text};
        let old = orders(&[("id", Text), ("lines", Integer), ("total", Decimal(2))]);
        check(
            std::slice::from_ref(&old),
            &[],
            SchemaDiff::Breaking(vec!["table 'orders' is removed".to_owned()]),
        );
        check(
            std::slice::from_ref(&old),
            &[orders(&[("id", Text), ("total", Decimal(3))])],
            SchemaDiff::Breaking(vec![
                "column 'orders.lines' is removed".to_owned(),
                "column 'orders.total' was decimal(2), is decimal(3)".to_owned(),
            ]),
        );
        check(
            std::slice::from_ref(&old),
            &[orders(&[("id", Text), ("total", Decimal(2))])],
            SchemaDiff::Breaking(vec!["column 'orders.lines' is removed".to_owned()]),
        );
        check(
            std::slice::from_ref(&old),
            &[orders(&[
                ("id", Text),
                ("new", Text),
                ("lines", Integer),
                ("total", Decimal(2)),
            ])],
            SchemaDiff::Breaking(vec![
                "column 'orders.lines' moved from place 2 to 3".to_owned(),
                "column 'orders.total' moved from place 3 to 4".to_owned(),
            ]),
        );
    }

    #[test]
    fn what_a_view_does_not_show_makes_no_difference() {
        let old = orders(&[("id", ColumnType::Text), ("at", ColumnType::Timestamp)]);
        let mut new = old.clone();
        new.columns[1].nullable = true;
        new.indexes = vec![vec![1]];
        check(&[old], &[new], SchemaDiff::Equal);
    }
}
