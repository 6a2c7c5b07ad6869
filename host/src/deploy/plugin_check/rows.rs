//! Where the rows of several runs differ. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use lamphouse_contract::{Descriptor, Row, TableSchema, Value, semantics};
use serde::{Deserialize, Serialize};

/// Rows of each table, in key order.
pub(in crate::deploy) type Rows = Vec<Vec<Arc<Row>>>;

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 120;

/// The first row that is not the same in all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDifference {
    /// The table.
    pub table: String,
    /// Its key: `order_id = 'o-1', line = 3`.
    pub key: String,
    /// The columns whose values differ; all but the key's where the row is not there in some run.
    pub columns: Vec<String>,
    /// What each run made of it.
    pub runs: Vec<RunRow>,
}

/// What one run made of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Which run: `batches of 7`.
    pub run: String,
    /// The values of [`RowDifference::columns`], cut short; None where the row is not there.
    pub values: Option<Vec<String>>,
}

/// The first row, by table and key, that is not the same in all runs.
pub(in crate::deploy) fn first_difference(
    descriptor: &Descriptor,
    runs: &[(String, Rows)],
) -> Option<RowDifference> {
    for (number, table) in descriptor.tables.iter().enumerate() {
        let mut by_key: BTreeMap<Vec<u8>, Vec<Option<&Row>>> = BTreeMap::new();
        for (run, (_, tables)) in runs.iter().enumerate() {
            for row in &tables[number] {
                let mut place = Vec::new();
                semantics::ordered_key(&semantics::key_of(table, row), &mut place);
                by_key.entry(place).or_insert_with(|| vec![None; runs.len()])[run] = Some(&**row);
            }
        }
        let differs = |of_runs: &&Vec<Option<&Row>>| of_runs.iter().any(|row| *row != of_runs[0]);
        if let Some(of_runs) = by_key.values().find(differs) {
            return Some(difference(table, runs, of_runs));
        }
    }
    None
}

fn difference(table: &TableSchema, runs: &[(String, Rows)], of_runs: &[Option<&Row>]) -> RowDifference {
    let key_columns = &table.primary_key;
    let present = of_runs.iter().flatten().next();
    let key = key_columns.iter().map(|&column| {
        let value = present
            .map(|row| shown(&row[column as usize]))
            .unwrap_or_default();
        format!("{} = {value}", table.columns[column as usize].name)
    });
    let everywhere = of_runs.iter().all(Option::is_some);
    let is_shown = |column: &usize| {
        if everywhere {
            let mut values = of_runs.iter().flatten().map(|row| &row[*column]);
            let first = values.next();
            values.any(|value| Some(value) != first)
        } else {
            !key_columns.contains(&u32::try_from(*column).unwrap_or(u32::MAX))
        }
    };
    let columns: Vec<usize> = (0..table.columns.len()).filter(is_shown).collect();
    let of_run = |(row, (run, _)): (&Option<&Row>, &(String, Rows))| RunRow {
        run: run.clone(),
        values: row.map(|row| columns.iter().map(|&column| shown(&row[column])).collect()),
    };
    RowDifference {
        table: table.name.clone(),
        key: key.collect::<Vec<_>>().join(", "),
        columns: columns
            .iter()
            .map(|&column| table.columns[column].name.clone())
            .collect(),
        runs: of_runs.iter().zip(runs).map(of_run).collect(),
    }
}

/// A value as a person writes it.
pub(in crate::deploy) fn shown(value: &Value) -> String {
    let whole = match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Decimal(value) => value.to_string(),
        Value::Text(text) => format!("'{text}'"),
        Value::Json(text) => text.to_string(),
        Value::Bytes(bytes) => {
            let first = &bytes[..bytes.len().min(VALUE_CHARS_MAX)];
            format!("x'{}'", HEXLOWER.encode(first))
        }
        Value::Timestamp(micros) => chrono::DateTime::from_timestamp_micros(*micros).map_or_else(
            || format!("{micros} microseconds since 1970"),
            |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        ),
    };
    match whole.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use lamphouse_contract::{Column, ColumnType};

    use super::*;

    fn descriptor() -> Descriptor {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            nullable: true,
            initial: None,
        };
        let table = |name: &str| TableSchema {
            name: name.to_owned(),
            columns: vec![
                column("note", ColumnType::Text),
                column("id", ColumnType::Integer),
                column("count", ColumnType::Integer),
            ],
            primary_key: vec![1],
            indexes: vec![],
        };
        Descriptor {
            name: "p".to_owned(),
            version: "1".to_owned(),
            subscriptions: vec![],
            tables: vec![table("first"), table("second")],
            options: vec![],
        }
    }

    fn row(id: i64, note: &str, count: i64) -> Arc<Row> {
        Arc::new(Box::new([
            Value::Text(note.into()),
            Value::Integer(id),
            Value::Integer(count),
        ]))
    }

    fn of(runs: [Vec<Arc<Row>>; 3]) -> Option<RowDifference> {
        let names = ["a", "b", "c"].map(str::to_owned);
        let runs: Vec<(String, Rows)> = names
            .into_iter()
            .zip(runs.map(|rows| vec![vec![row(1, "same", 1)], rows]))
            .collect();
        first_difference(&descriptor(), &runs)
    }

    #[test]
    fn the_same_rows_do_not_differ() {
        let rows = || vec![row(1, "x", 1), row(2, "y", 2)];
        assert_eq!(of([rows(), rows(), rows()]), None);
        assert_eq!(of([vec![], vec![], vec![]]), None);
    }

    #[test]
    fn the_first_row_by_key_is_shown_with_the_columns_that_differ() {
        let found = of([
            vec![row(1, "x", 1), row(2, "x", 2), row(3, "x", 3)],
            vec![row(1, "x", 1), row(2, "x", 5), row(3, "y", 3)],
            vec![row(1, "x", 1), row(2, "x", 5), row(3, "y", 3)],
        ])
        .expect("a difference");
        assert_eq!((found.table.as_str(), found.key.as_str()), ("second", "id = 2"));
        assert_eq!(found.columns, ["count"]);
        let values: Vec<_> = found
            .runs
            .iter()
            .map(|run| (run.run.as_str(), run.values.clone()))
            .collect();
        let one = |value: &str| Some(vec![value.to_owned()]);
        assert_eq!(values, [("a", one("2")), ("b", one("5")), ("c", one("5"))]);
    }

    #[test]
    fn a_row_that_is_not_in_every_run_is_shown_whole() {
        let long = "ä".repeat(500);
        let found = of([
            vec![row(9, "x", 1)],
            vec![row(8, &long, -1), row(9, "x", 1)],
            vec![row(9, "x", 1)],
        ])
        .expect("a difference");
        assert_eq!(
            (found.key.as_str(), &found.columns[..]),
            ("id = 8", &["note".to_owned(), "count".to_owned()][..])
        );
        assert_eq!(found.runs[0].values, None);
        let values = found.runs[1].values.as_ref().expect("a row");
        assert_eq!(
            (values[0].chars().count(), values[1].as_str()),
            (VALUE_CHARS_MAX + 1, "-1")
        );
    }
}
