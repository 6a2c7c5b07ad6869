//! What `orders`, `customers` and `countries` must hold: from the real shop's control totals, which were computed from
//! its source rows and not from events, and from a plain fold over a log's lines.
//!
//! Money is compared as exact numbers, whatever the number of written places.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::Client;

/// Key of a row to its other columns, as text; money normalised, NULL as `-`.
pub type Table = BTreeMap<String, Vec<String>>;

/// The read tables of `order-summary`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// `customer_id, country, lines, quantity, total, status`.
    pub orders: Table,
    /// `orders, lines, quantity, net, ordered, returned`.
    pub customers: Table,
    /// `orders, lines, quantity, net`.
    pub countries: Table,
}

const ORDERS: &str = "SELECT order_id, customer_id, country, lines, quantity, total, status FROM orders";
const CUSTOMERS: &str = "SELECT customer_id, orders, lines, quantity, net, ordered, returned FROM customers";
const COUNTRIES: &str = "SELECT country, orders, lines, quantity, net FROM countries";

/// One order while folding.
struct Order {
    customer: Option<String>,
    country: String,
    lines: i64,
    quantity: i64,
    micros: i128,
    status: &'static str,
}

impl Truth {
    /// Folds a log's lines, in memory, with nothing of the host's.
    ///
    /// # Panics
    /// When a line is not of a shop's log.
    pub fn of_lines<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Self {
        let mut orders: BTreeMap<String, Order> = BTreeMap::new();
        for line in lines {
            let event: Value = serde_json::from_str(line.as_ref()).expect("a line of a shop's log");
            let (data, stream) = (&event["data"], event["stream_id"].as_str().expect("a stream"));
            let status = match event["event_type"].as_str().expect("a type") {
                "OrderPlaced" => Some("placed"),
                "OrderCancelled" => Some("credited"),
                "AdjustmentPosted" => Some("adjusted"),
                _ => None,
            };
            if let Some(status) = status {
                let customer = data["customer_id"].as_str().map(str::to_owned);
                let country = data["country"].as_str().expect("a country").to_owned();
                let order = Order {
                    customer,
                    country,
                    lines: 0,
                    quantity: 0,
                    micros: 0,
                    status,
                };
                assert!(
                    orders.insert(stream.to_owned(), order).is_none(),
                    "{stream} begins twice"
                );
            }
            if let Some(quantity) = data["quantity"].as_i64() {
                let order = orders.get_mut(stream).expect("an order before its lines");
                order.lines += 1;
                order.quantity += quantity;
                order.micros += i128::from(quantity) * micros(data["unit_price"].as_str().expect("a price"));
            }
        }
        Self::of_orders(&orders)
    }

    fn of_orders(orders: &BTreeMap<String, Order>) -> Self {
        let mut truth = Self::default();
        let mut customers: BTreeMap<&str, ([i64; 3], [i128; 3])> = BTreeMap::new();
        let mut countries: BTreeMap<&str, ([i64; 3], i128)> = BTreeMap::new();
        for (id, order) in orders {
            let counts = [1, order.lines, order.quantity];
            let country = countries.entry(&order.country).or_default();
            country.0 = std::array::from_fn(|index| country.0[index] + counts[index]);
            country.1 += order.micros;
            if let Some(customer) = &order.customer {
                let (ordered, returned) = match order.status {
                    "placed" => (order.micros, 0),
                    "credited" => (0, order.micros),
                    _ => (0, 0),
                };
                let sums = [order.micros, ordered, returned];
                let row = customers.entry(customer).or_default();
                row.0 = std::array::from_fn(|index| row.0[index] + counts[index]);
                row.1 = std::array::from_fn(|index| row.1[index] + sums[index]);
            }
            let cells = vec![
                order.customer.clone().unwrap_or_else(|| "-".to_owned()),
                order.country.clone(),
                order.lines.to_string(),
                order.quantity.to_string(),
                plain(order.micros),
                order.status.to_owned(),
            ];
            truth.orders.insert(id.clone(), cells);
        }
        let row = |counts: &[i64], sums: &[i128]| -> Vec<String> {
            counts
                .iter()
                .map(i64::to_string)
                .chain(sums.iter().map(|sum| plain(*sum)))
                .collect()
        };
        truth.customers = customers
            .iter()
            .map(|(id, (counts, sums))| ((*id).to_owned(), row(counts, sums)))
            .collect();
        truth.countries = countries
            .iter()
            .map(|(id, (counts, sum))| ((*id).to_owned(), row(counts, &[*sum])))
            .collect();
        truth
    }

    /// The real shop's control totals. None where they are absent. `countries` is left empty.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn real() -> Result<Option<Self>> {
        let (Some(orders), Some(customers)) = (
            rows("online_retail_orders_truth.csv.gz")?,
            rows("online_retail_customers_truth.csv.gz")?,
        ) else {
            return Ok(None);
        };
        let mut truth = Self::default();
        for row in orders {
            let [id, _, _, lines, quantity, value, customer, country] = take(row)?;
            let status = match id.strip_prefix("order-").and_then(|number| number.chars().next()) {
                Some('C') => "credited",
                Some('A') => "adjusted",
                _ => "placed",
            };
            let customer = if customer.is_empty() {
                "-".to_owned()
            } else {
                customer
            };
            let cells = vec![
                customer,
                country,
                lines,
                quantity,
                plain(micros(&value)),
                status.to_owned(),
            ];
            truth.orders.insert(id, cells);
        }
        for row in customers {
            let [id, lines, quantity, net, ordered, returned, streams] = take(row)?;
            if !id.is_empty() {
                let money = [net, ordered, returned].map(|text| plain(micros(&text)));
                truth
                    .customers
                    .insert(id, [streams, lines, quantity].into_iter().chain(money).collect());
            }
        }
        Ok(Some(truth))
    }

    /// What the read tables hold now; `countries` only where version 2 made it.
    ///
    /// # Errors
    /// The database's own.
    pub fn of_tables(client: &mut Client, with_countries: bool) -> Result<Self> {
        Ok(Self {
            orders: table(client, ORDERS, &[5])?,
            customers: table(client, CUSTOMERS, &[4, 5, 6])?,
            countries: if with_countries {
                table(client, COUNTRIES, &[4])?
            } else {
                Table::new()
            },
        })
    }

    /// The same without `countries`, for version 1.
    pub fn version_1(&self) -> Self {
        Self {
            countries: Table::new(),
            ..self.clone()
        }
    }

    /// Compares every row and every penny.
    ///
    /// # Panics
    /// With the first differing rows of each table.
    #[track_caller]
    pub fn assert_equals(&self, found: &Self, when: &str) {
        let pairs = [
            ("orders", &self.orders, &found.orders),
            ("customers", &self.customers, &found.customers),
            ("countries", &self.countries, &found.countries),
        ];
        let mut said = String::new();
        for (name, wanted, found) in pairs {
            let mut keys: Vec<&String> = wanted.keys().chain(found.keys()).collect();
            keys.sort();
            keys.dedup();
            let wrong: Vec<_> = keys
                .into_iter()
                .filter(|key| wanted.get(*key) != found.get(*key))
                .collect();
            if !wrong.is_empty() {
                said.push_str(&format!(
                    "{name}: {} rows differ ({} wanted, {} found)\n",
                    wrong.len(),
                    wanted.len(),
                    found.len()
                ));
            }
            for key in wrong.iter().take(3) {
                said.push_str(&format!(
                    "  {key}: wanted {:?}, found {:?}\n",
                    wanted.get(*key),
                    found.get(*key)
                ));
            }
        }
        assert!(said.is_empty(), "{when}:\n{said}");
    }
}

fn table(client: &mut Client, sql: &str, money: &[usize]) -> Result<Table> {
    let mut rows = Table::new();
    for row in client.query(sql)? {
        let mut cells: Vec<String> = row
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
            .collect();
        for index in money {
            cells[*index] = plain(micros(&cells[*index]));
        }
        let key = cells.remove(0);
        anyhow::ensure!(
            rows.insert(key.clone(), cells).is_none(),
            "two rows have the key {key} in: {sql}"
        );
    }
    Ok(rows)
}

/// Millionths of an exact decimal text.
///
/// # Panics
/// When it is no decimal of at most six places.
pub fn micros(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part_number: i128 = format!("{part:0<6}")
        .parse()
        .unwrap_or_else(|_| panic!("'{text}' is no decimal"));
    assert!(part.len() <= 6, "'{text}' has more than six places");
    let whole: i128 = whole.parse().unwrap_or_else(|_| panic!("'{text}' is no decimal"));
    sign * (whole * 1_000_000 + part_number)
}

fn plain(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let text = format!(
        "{sign}{}.{:06}",
        micros.abs() / 1_000_000,
        micros.abs() % 1_000_000
    );
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn rows(name: &str) -> Result<Option<Vec<csv::StringRecord>>> {
    let Some(file) = xtask::paths::real_data(name) else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let opened = std::fs::File::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
    flate2::read::GzDecoder::new(opened)
        .read_to_end(&mut text)
        .context("cannot unpack it")?;
    let rows: Result<Vec<_>, _> = csv::Reader::from_reader(text.as_slice()).into_records().collect();
    Ok(Some(
        rows.with_context(|| format!("cannot read {}", file.display()))?,
    ))
}

fn take<const WIDTH: usize>(row: csv::StringRecord) -> Result<[String; WIDTH]> {
    let cells: Vec<String> = row.iter().map(str::to_owned).collect();
    cells
        .try_into()
        .map_err(|cells| anyhow::anyhow!("a row of another width: {cells:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_and_compared_by_value() {
        assert_eq!(plain(micros("139.120")), "139.12");
        assert_eq!(plain(micros("-0.001")), "-0.001");
        assert_eq!(plain(micros("-5")), "-5");
        assert_eq!(plain(0), "0");
    }

    #[test]
    fn the_fold_over_the_real_log_equals_the_totals_of_its_source_rows() {
        let (Some(file), Some(truth)) = (crate::log_file::real(), Truth::real().unwrap()) else {
            return;
        };
        let folded = Truth::of_lines(crate::log_file::lines(&file).unwrap());
        assert_eq!(truth.orders.len(), 25_900);
        assert_eq!(truth.customers.len(), 4_372);
        truth.assert_equals(&folded.version_1(), "the fold over the real log");
        assert_eq!(folded.countries.len(), 38);
    }
}
