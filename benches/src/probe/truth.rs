//! What the tables must hold, by a plain fold over the log's lines in memory: written apart from every competitor.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::Workload;
use crate::digest::{Digest, tables, thousandths};

#[derive(Deserialize)]
struct Event {
    stream_id: String,
    event_type: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    customer_id: Option<String>,
    country: Option<String>,
    quantity: Option<i64>,
    unit_price: Option<String>,
}

#[derive(Default)]
struct Order {
    customer: Option<String>,
    country: String,
    status: &'static str,
    lines: i64,
    quantity: i64,
    total: i64,
}

#[derive(Default)]
struct Customer {
    orders: i64,
    lines: i64,
    quantity: i64,
    net: i64,
    ordered: i64,
    returned: i64,
    cancelled: i64,
}

/// The digests after each of `limits` events, ascending; a limit beyond the end stands for the whole log.
pub(crate) fn after(
    workload: Workload,
    file: &Path,
    limits: &[u64],
) -> Result<Vec<BTreeMap<&'static str, Digest>>> {
    let opened = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut lines = BufReader::with_capacity(1 << 20, zstd::Decoder::new(opened)?).lines();
    let mut tables = Tables {
        workload,
        orders: HashMap::new(),
        customers: HashMap::new(),
    };
    let (mut digests, mut done) = (Vec::new(), 0);
    for limit in limits {
        for line in lines.by_ref().take(usize::try_from(limit.saturating_sub(done))?) {
            tables.take(serde_json::from_str(&line?)?)?;
        }
        done = *limit;
        digests.push(tables.digest()?);
    }
    Ok(digests)
}

struct Tables {
    workload: Workload,
    orders: HashMap<String, Order>,
    customers: HashMap<String, Customer>,
}

impl Tables {
    fn take(&mut self, event: Event) -> Result<()> {
        let kind = event.event_type.as_str();
        if matches!(kind, "OrderPlaced" | "OrderCancelled" | "AdjustmentPosted") && !self.cancels(kind) {
            if let Some(customer) = &event.data.customer_id {
                self.customers.entry(customer.clone()).or_default().orders += 1;
            }
            let order = Order {
                customer: event.data.customer_id.clone(),
                country: event.data.country.unwrap_or_default(),
                status: match kind {
                    "OrderPlaced" => "placed",
                    "OrderCancelled" => "credited",
                    _ => "adjusted",
                },
                ..Order::default()
            };
            self.orders.insert(event.stream_id.clone(), order);
        }
        let order = self
            .orders
            .get_mut(&event.stream_id)
            .context("an event before its order")?;
        let mut nobody = Customer::default();
        let customer = match &order.customer {
            Some(customer) => self.customers.entry(customer.clone()).or_default(),
            None => &mut nobody,
        };
        if let (Some(quantity), Some(price)) = (event.data.quantity, &event.data.unit_price) {
            let value = quantity * thousandths(price);
            order.lines += 1;
            order.quantity += quantity;
            order.total += value;
            customer.lines += 1;
            customer.quantity += quantity;
            customer.net += value;
            match order.status {
                "placed" => customer.ordered += value,
                "credited" => customer.returned += value,
                _ => {}
            }
            return Ok(());
        }
        if matches!(self.workload, Workload::Synthetic) {
            match kind {
                "OrderPlaced" => {}
                "OrderPaid" => order.status = "paid",
                "OrderShipped" => order.status = "shipped",
                "OrderCancelled" => {
                    order.status = "cancelled";
                    customer.net -= order.total;
                    customer.cancelled += 1;
                }
                other => bail!("what is a {other}?"),
            }
        }
        Ok(())
    }

    /// In the synthetic log this ends an order; in the retail one it begins a credit note.
    fn cancels(&self, kind: &str) -> bool {
        matches!(self.workload, Workload::Synthetic) && kind == "OrderCancelled"
    }

    fn digest(&self) -> Result<BTreeMap<&'static str, Digest>> {
        let [orders, customers] = tables(self.workload);
        let (mut of_orders, mut of_customers) = (Digest::default(), Digest::default());
        for (key, order) in &self.orders {
            let numbers = [order.lines, order.quantity, order.total].map(|number| Some(number.to_string()));
            let status = Some(order.status.to_owned());
            let head = match self.workload {
                Workload::Retail => vec![
                    Some(key.clone()),
                    order.customer.clone(),
                    Some(order.country.clone()),
                    status,
                ],
                Workload::Synthetic => vec![Some(key.clone()), order.customer.clone(), status],
            };
            of_orders.add(orders, &[&head[..], &numbers[..]].concat())?;
        }
        for (key, customer) in &self.customers {
            let Customer {
                orders,
                lines,
                quantity,
                net,
                ordered,
                returned,
                cancelled,
            } = *customer;
            let numbers = match self.workload {
                Workload::Retail => vec![orders, lines, quantity, net, ordered, returned],
                Workload::Synthetic => vec![orders, lines, quantity, net, cancelled],
            };
            let mut cells = vec![Some(key.clone())];
            cells.extend(numbers.iter().map(|number| Some(number.to_string())));
            of_customers.add(customers, &cells)?;
        }
        Ok(BTreeMap::from([
            (orders.name, of_orders),
            (customers.name, of_customers),
        ]))
    }
}
