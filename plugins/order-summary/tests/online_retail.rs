//! A year of a real shop: 567,806 events against totals that were computed from its invoices, every row and every penny.
//!
//! The data is not part of the project; without it, this says so and passes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use lamphouse_sdk::Decimal;
use lamphouse_sdk::testing::{Harness, TestEvent};
use order_summary::{Customer, Order, OrderSummary};

fn data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    assert_ne!(
        std::env::var("LAMPHOUSE_TEST_STRICT").as_deref(),
        Ok("1"),
        "{} is absent",
        path.display()
    );
    eprintln!("SKIPPED (no {}): the real log was not compared", path.display());
    None
}

fn truth(name: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(data(name)?).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let rows = csv::Reader::from_reader(text.as_bytes());
    Some(
        rows.into_records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
            .map(|row| (row[0].clone(), row))
            .collect(),
    )
}

fn money(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

#[test]
fn every_row_of_a_real_year_is_right() {
    let Some(log) = data("online_retail.jsonl.zst") else {
        return;
    };
    let Some(orders_truth) = truth("online_retail_orders_truth.csv.gz") else {
        return;
    };
    let Some(mut customers_truth) = truth("online_retail_customers_truth.csv.gz") else {
        return;
    };

    let mut harness = Harness::<OrderSummary>::new();
    let lines = BufReader::new(zstd::Decoder::new(std::fs::File::open(log).unwrap()).unwrap()).lines();
    let mut events = 0;
    for line in lines {
        harness.given_event(&TestEvent::from_line(&line.unwrap()).unwrap());
        events += 1;
    }
    assert_eq!(events, 567_806);
    let started = std::time::Instant::now();
    harness.run().unwrap();
    eprintln!("{events} events natively in {:?}", started.elapsed());

    let orders: Vec<Order> = harness.rows();
    assert_eq!(orders.len(), orders_truth.len());
    for order in &orders {
        let truth = &orders_truth[&order.order_id];
        assert_eq!(order.lines.to_string(), truth[3], "{order:?}");
        assert_eq!(order.quantity.to_string(), truth[4], "{order:?}");
        assert_eq!(order.total, money(&truth[5]), "{order:?}");
        assert_eq!(
            order.customer_id.as_deref().unwrap_or_default(),
            truth[6],
            "{order:?}"
        );
        assert_eq!(order.country, truth[7], "{order:?}");
        let status = match order.order_id.as_bytes()["order-".len()] {
            b'C' => "credited",
            b'A' => "adjusted",
            _ => "placed",
        };
        assert_eq!(order.status, status, "{order:?}");
    }

    // The row without a name is of the lines that nobody is known for.
    customers_truth.remove("").unwrap();
    let customers: Vec<Customer> = harness.rows();
    assert_eq!(customers.len(), customers_truth.len());
    for customer in &customers {
        let truth = &customers_truth[&customer.customer_id];
        assert_eq!(customer.lines.to_string(), truth[1], "{customer:?}");
        assert_eq!(customer.quantity.to_string(), truth[2], "{customer:?}");
        assert_eq!(customer.net, money(&truth[3]), "{customer:?}");
        assert_eq!(customer.ordered, money(&truth[4]), "{customer:?}");
        assert_eq!(customer.returned, money(&truth[5]), "{customer:?}");
        assert_eq!(customer.orders.to_string(), truth[6], "{customer:?}");
    }
    countries(&mut harness);
}

#[cfg(not(feature = "countries"))]
fn countries(_: &mut Harness<OrderSummary>) {}

#[cfg(feature = "countries")]
fn countries(harness: &mut Harness<OrderSummary>) {
    let Some(totals) = data("online_retail_totals.json") else {
        return;
    };
    let totals: serde_json::Value = serde_json::from_slice(&std::fs::read(totals).unwrap()).unwrap();
    let truth = totals["per_country"].as_object().unwrap();
    let countries: Vec<order_summary::Country> = harness.rows();
    assert_eq!(countries.len(), truth.len());
    for country in &countries {
        let truth = &truth[&country.country];
        assert_eq!(Some(country.orders), truth["streams"].as_i64(), "{country:?}");
        assert_eq!(Some(country.lines), truth["lines"].as_i64(), "{country:?}");
        assert_eq!(Some(country.quantity), truth["quantity"].as_i64(), "{country:?}");
        assert_eq!(
            country.net,
            money(truth["value_gbp"].as_str().unwrap()),
            "{country:?}"
        );
    }
}
