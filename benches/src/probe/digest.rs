//! What the tables of a workload hold, in a few numbers: equal numbers are equal rows, whoever made them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Workload;
use crate::database::Database;

/// One table of a workload. Key first; times are left out, for each competitor keeps them as it likes.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    columns: &'static [(&'static str, Kind)],
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Money,
}

use Kind::{Money, Number, Text};

/// The tables of a workload.
pub(crate) fn tables(workload: Workload) -> &'static [Table; 2] {
    match workload {
        Workload::Retail => &[
            Table {
                name: "orders",
                columns: &[
                    ("order_id", Text),
                    ("customer_id", Text),
                    ("country", Text),
                    ("status", Text),
                    ("lines", Number),
                    ("quantity", Number),
                    ("total", Money),
                ],
            },
            Table {
                name: "customers",
                columns: &[
                    ("customer_id", Text),
                    ("orders", Number),
                    ("lines", Number),
                    ("quantity", Number),
                    ("net", Money),
                    ("ordered", Money),
                    ("returned", Money),
                ],
            },
        ],
        Workload::Synthetic => &[
            Table {
                name: "shop_orders",
                columns: &[
                    ("order_id", Text),
                    ("customer_id", Text),
                    ("status", Text),
                    ("lines", Number),
                    ("quantity", Number),
                    ("total", Money),
                ],
            },
            Table {
                name: "shop_customers",
                columns: &[
                    ("customer_id", Text),
                    ("orders", Number),
                    ("lines", Number),
                    ("quantity", Number),
                    ("net", Money),
                    ("cancelled", Number),
                ],
            },
        ],
    }
}

/// One table's rows: how many, the sum of each column of numbers (money in thousandths), and a hash over all rows that
/// does not depend on their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Digest {
    rows: u64,
    sums: BTreeMap<&'static str, i64>,
    hash: u64,
}

impl Digest {
    /// Adds a row: its cells in the order of the columns, money in thousandths.
    pub(crate) fn add(&mut self, table: &Table, cells: &[Option<String>]) -> Result<()> {
        let mut line = String::with_capacity(128);
        for ((column, kind), cell) in table.columns.iter().zip(cells) {
            line.push_str(cell.as_deref().unwrap_or("-"));
            line.push('|');
            if *kind != Text {
                let number: i64 = cell
                    .as_deref()
                    .and_then(|cell| cell.parse().ok())
                    .with_context(|| format!("{}.{column} holds {cell:?}", table.name))?;
                *self.sums.entry(column).or_default() += number;
            }
        }
        self.rows += 1;
        self.hash = self.hash.wrapping_add(fnv(line.as_bytes()));
        Ok(())
    }
}

/// Reads both tables. `in_thousandths`: money is kept as whole numbers. `suffix` stands behind each table's name.
pub(crate) fn read(
    database: &mut Database,
    workload: Workload,
    suffix: &str,
    in_thousandths: bool,
) -> Result<BTreeMap<&'static str, Digest>> {
    let mut digests = BTreeMap::new();
    for table in tables(workload) {
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|(column, _)| format!("CAST({column} AS TEXT)"))
            .collect();
        let sql = format!("SELECT {} FROM {}{suffix}", columns.join(", "), table.name);
        let mut digest = Digest::default();
        let mut wrong = None;
        database.rows(&sql, |cells| {
            let cells: Vec<Option<String>> = table
                .columns
                .iter()
                .zip(cells)
                .map(|((_, kind), cell)| match kind {
                    Money if !in_thousandths => cell.as_deref().map(|cell| thousandths(cell).to_string()),
                    _ => cell.clone(),
                })
                .collect();
            if let Err(error) = digest.add(table, &cells) {
                wrong.get_or_insert(error);
            }
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        digests.insert(table.name, digest);
    }
    Ok(digests)
}

/// Thousandths of a decimal's text; what is not one shows up as a sum that no other has.
pub(crate) fn thousandths(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let number = |text: &str| text.parse::<i64>().unwrap_or(i64::MAX / 10_000);
    sign * (number(whole) * 1_000 + number(&part))
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(thousandths("12.5"), 12_500);
        assert_eq!(thousandths("-0.01"), -10);
        assert_eq!(thousandths("7"), 7_000);
        assert_eq!(thousandths("1.2340"), 1_234);
    }

    #[test]
    fn one_other_cell_or_a_missing_row_is_another_digest_and_another_order_is_not() {
        let table = &tables(Workload::Synthetic)[1];
        let row = |key: &str, net: &str| {
            [key, "1", "2", "3", net, "0"]
                .map(|cell| Some(cell.to_owned()))
                .to_vec()
        };
        let digest = |rows: &[Vec<Option<String>>]| {
            let mut digest = Digest::default();
            for row in rows {
                digest.add(table, row).expect("numbers");
            }
            digest
        };
        let (a, b) = (row("a", "10"), row("b", "20"));
        let both = digest(&[a.clone(), b.clone()]);
        assert_eq!(both, digest(&[b.clone(), a.clone()]));
        assert_eq!(both.sums["net"], 30);
        assert_ne!(both, digest(std::slice::from_ref(&a)));
        // The same sums, in other rows.
        assert_ne!(both, digest(&[row("a", "20"), row("b", "10")]));
    }
}
