//! Rows as they are against rows as they should be. Pure.

use std::sync::Arc;

use lamphouse_contract::{Descriptor, Row, TableSchema};

use super::super::plugin_check::shown;
use super::node::{Entry, Node, Wrong};
use super::value::Should;
use super::{CellDifference, Problem};

/// What one table should hold.
pub(super) struct ShouldTable<'d> {
    number: usize,
    schema: &'d TableSchema,
    rows: Vec<ShouldRow>,
}

struct ShouldRow {
    /// In the order of the columns.
    cells: Vec<(usize, Should)>,
    /// As the file has it.
    text: String,
}

/// Reads `then:` of a projector's case.
pub(super) fn read<'d>(descriptor: &'d Descriptor, then: &Node) -> Result<Vec<ShouldTable<'d>>, Wrong> {
    let mut tables = Vec::new();
    for Entry { key, value } in then.map("then")? {
        let number = descriptor.tables.iter().position(|table| table.name == *key);
        let Some(number) = number else {
            let names: Vec<&str> = descriptor
                .tables
                .iter()
                .map(|table| table.name.as_str())
                .collect();
            return Err(value.wrong(format!(
                "the projector has no table '{key}'; it has {}",
                names.join(", ")
            )));
        };
        let schema = &descriptor.tables[number];
        let rows = value.list(&format!("table '{key}'"))?;
        tables.push(ShouldTable {
            number,
            schema,
            rows: rows
                .iter()
                .map(|row| of_row(schema, row))
                .collect::<Result<_, _>>()?,
        });
    }
    Ok(tables)
}

fn of_row(schema: &TableSchema, row: &Node) -> Result<ShouldRow, Wrong> {
    let mut cells = Vec::new();
    for Entry { key, value } in row.map("a row")? {
        let Some(number) = schema.columns.iter().position(|column| column.name == *key) else {
            let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(value.wrong(format!(
                "table '{}' has no column '{key}'; it has {}",
                schema.name,
                names.join(", ")
            )));
        };
        cells.push((number, Should::read(&schema.columns[number], value)?));
    }
    cells.sort_by_key(|(number, _)| *number);
    Ok(ShouldRow {
        cells,
        text: super::node::cut(&row.json()),
    })
}

impl ShouldTable<'_> {
    /// Where the rows of a run differ from this.
    pub(super) fn problems(&self, tables: &[Vec<Arc<Row>>]) -> Vec<Problem> {
        let is = &tables[self.number];
        let key: Vec<usize> = self
            .schema
            .primary_key
            .iter()
            .map(|&column| column as usize)
            .collect();
        let by_key = self.rows.iter().all(|row| {
            key.iter()
                .all(|column| row.cells.iter().any(|(number, _)| number == column))
        });
        let pairs = if by_key {
            // A row is meant by its key, whatever else it holds.
            self.pair(is, |cells| {
                cells.filter(|(number, _)| key.contains(number)).collect()
            })
        } else {
            self.pair(is, |cells| cells.collect())
        };
        let mut problems = Vec::new();
        let table = || self.schema.name.clone();
        for (place, should) in self.rows.iter().enumerate() {
            match pairs[place] {
                None => problems.push(Problem::RowMissing {
                    table: table(),
                    row: should.text.clone(),
                }),
                Some(found) => {
                    let row = &is[found];
                    let cells = should
                        .cells
                        .iter()
                        .filter(|(number, cell)| !cell.is_met(&row[*number]));
                    let columns: Vec<CellDifference> = cells
                        .map(|(number, cell)| CellDifference {
                            column: self.schema.columns[*number].name.clone(),
                            is: shown(&row[*number]),
                            should: match cell {
                                Should::Be(value) => shown(value),
                                Should::BeJson(node) => super::node::cut(&node.json()),
                            },
                        })
                        .collect();
                    if !columns.is_empty() {
                        problems.push(Problem::Row {
                            table: table(),
                            key: self.text(row, &key),
                            columns,
                        });
                    }
                }
            }
        }
        let all: Vec<usize> = (0..self.schema.columns.len()).collect();
        for (place, row) in is.iter().enumerate() {
            if !pairs.contains(&Some(place)) {
                problems.push(Problem::RowUnexpected {
                    table: table(),
                    row: self.text(row, &all),
                });
            }
        }
        problems
    }

    fn text(&self, row: &Row, columns: &[usize]) -> String {
        let cells = columns
            .iter()
            .map(|&column| format!("{} = {}", self.schema.columns[column].name, shown(&row[column])));
        cells.collect::<Vec<_>>().join(", ")
    }

    /// For each row that should be there, one that is there and meets these cells; as many pairs as there can be.
    fn pair<'s>(
        &'s self,
        is: &[Arc<Row>],
        counts: impl Fn(&mut dyn Iterator<Item = &'s (usize, Should)>) -> Vec<&'s (usize, Should)>,
    ) -> Vec<Option<usize>> {
        let meets: Vec<Vec<usize>> = self
            .rows
            .iter()
            .map(|should| {
                let cells = counts(&mut should.cells.iter());
                let fits = |row: &Row| cells.iter().all(|(number, cell)| cell.is_met(&row[*number]));
                (0..is.len()).filter(|&place| fits(&is[place])).collect()
            })
            .collect();
        // Whose each row is; a row is handed on where its owner has another to take.
        let mut owner: Vec<Option<usize>> = vec![None; is.len()];
        for place in 0..self.rows.len() {
            find(place, &meets, &mut owner, &mut vec![false; is.len()]);
        }
        let mut pairs = vec![None; self.rows.len()];
        for (row, place) in owner.iter().enumerate() {
            if let Some(place) = place {
                pairs[*place] = Some(row);
            }
        }
        pairs
    }
}

fn find(place: usize, meets: &[Vec<usize>], owner: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for &row in &meets[place] {
        if std::mem::replace(&mut seen[row], true) {
            continue;
        }
        let is_free = match owner[row] {
            None => true,
            Some(other) => find(other, meets, owner, seen),
        };
        if is_free {
            owner[row] = Some(place);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use lamphouse_contract::{Column, ColumnType, Decimal, Value};

    use super::super::yaml;
    use super::*;

    fn descriptor() -> Descriptor {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            nullable: true,
            initial: None,
        };
        Descriptor {
            name: "p".to_owned(),
            version: "1".to_owned(),
            subscriptions: vec![],
            tables: vec![TableSchema {
                name: "orders".to_owned(),
                columns: vec![
                    column("id", ColumnType::Text),
                    column("status", ColumnType::Text),
                    column("total", ColumnType::Decimal(2)),
                ],
                primary_key: vec![0],
                indexes: vec![],
            }],
            options: vec![],
        }
    }

    fn row(id: &str, status: &str, total: &str) -> Arc<Row> {
        Arc::new(Box::new([
            Value::Text(id.into()),
            Value::Text(status.into()),
            Value::Decimal(Decimal::parse(total).expect("a decimal")),
        ]))
    }

    fn problems(then: &str) -> String {
        let descriptor = descriptor();
        let node = yaml::read(then).expect("YAML").remove(0);
        let is = vec![vec![
            row("a", "placed", "1.00"),
            row("b", "shipped", "2.00"),
            row("c", "placed", "3.00"),
        ]];
        match read(&descriptor, &node) {
            Ok(tables) => {
                let found = tables.iter().flat_map(|table| table.problems(&is));
                found
                    .map(|problem| problem.to_string())
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Err(wrong) => format!("{}: {}", wrong.line, wrong.why),
        }
    }

    #[test]
    fn rows_in_any_order_with_the_columns_that_are_named() {
        assert_snapshot!(problems("orders: [{id: c}, {id: a, total: 1}, {id: b, status: shipped}]"), @"");
        assert_snapshot!(problems("{}"), @"");
        // The first of these meets two rows, the last only one of them.
        assert_snapshot!(problems("orders: [{status: placed}, {}, {total: 3}]"), @"");
        assert_snapshot!(problems("orders: [{}, {status: placed}, {status: placed}]"), @"");
    }

    #[test]
    fn what_differs_is_named() {
        assert_snapshot!(problems("orders: [{id: a, status: shipped, total: \"1.50\"}, {id: b}, {id: d}]"), @r#"
        table orders, row id = 'a':
          status  is 'placed', should be 'shipped'
          total   is 1.00, should be 1.50
        table orders: there is no row {"id":"d"}
        table orders: there is a row too many: id = 'c', status = 'placed', total = 3.00
        "#);
        assert_snapshot!(problems("orders: [{status: shipped}, {status: shipped}]"), @r#"
        table orders: there is no row {"status":"shipped"}
        table orders: there is a row too many: id = 'a', status = 'placed', total = 1.00
        table orders: there is a row too many: id = 'c', status = 'placed', total = 3.00
        "#);
        assert_snapshot!(problems("orders: []"), @r#"
        table orders: there is a row too many: id = 'a', status = 'placed', total = 1.00
        table orders: there is a row too many: id = 'b', status = 'shipped', total = 2.00
        table orders: there is a row too many: id = 'c', status = 'placed', total = 3.00
        "#);
    }

    #[test]
    fn names_that_are_not_there_are_mistakes() {
        assert_snapshot!(problems("orders: []\nitems: []"), @"2: the projector has no table 'items'; it has orders");
        assert_snapshot!(problems("orders:\n  - {id: a}\n  - {id: b, sum: 1}"), @"3: table 'orders' has no column 'sum'; it has id, status, total");
        assert_snapshot!(problems("orders: {id: a}"), @"1: table 'orders' is an object, where a list is wanted");
        assert_snapshot!(problems("orders: [{id: 7}]"), @"1: column 'id' is text, and a number stands here; write it in quotes");
    }
}
