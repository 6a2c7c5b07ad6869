//! What single events make of the rows.

#![allow(clippy::unwrap_used)]

use lamphouse_sdk::testing::Harness;
use order_summary::{Customer, Order, OrderSummary};
use serde_json::{Value, json};

fn header(customer: Option<&str>) -> Value {
    json!({"invoice_no": "1", "customer_id": customer, "country": "EIRE", "currency": "GBP"})
}

fn line(quantity: i64, unit_price: &str) -> Value {
    json!({"line_no": 1, "sku": "22423", "description": "CAKE \"STAND\"", "quantity": quantity, "unit_price": unit_price})
}

fn customer(harness: &mut Harness<OrderSummary>, id: &str) -> (i64, i64, i64, [String; 3]) {
    let row: Customer = harness.row(id).unwrap();
    (
        row.orders,
        row.lines,
        row.quantity,
        [row.net, row.ordered, row.returned].map(|money| money.to_string()),
    )
}

#[test]
fn an_order_and_its_credit_note_are_two_rows_of_one_customer() {
    let mut harness = Harness::<OrderSummary>::new();
    harness.given("order-1", "OrderPlaced", header(Some("17850")));
    harness.given("order-1", "LineAdded", line(6, "2.55"));
    harness.given("order-1", "LineAdded", line(1, "0.001"));
    harness.given("order-C2", "OrderCancelled", header(Some("17850")));
    harness.given("order-C2", "LineReturned", line(-2, "2.55"));

    let order: Order = harness.row("order-1").unwrap();
    assert_eq!(
        (order.lines, order.quantity, order.total.to_string()),
        (2, 7, "15.301".to_owned())
    );
    assert_eq!(
        (order.status.as_str(), order.placed_at.to_string().as_str()),
        ("placed", "2024-01-01T00:00:01Z")
    );
    let note: Order = harness.row("order-C2").unwrap();
    assert_eq!(
        (note.status.as_str(), note.total.to_string()),
        ("credited", "-5.100".to_owned())
    );
    let sums = ["10.201", "15.301", "-5.100"].map(str::to_owned);
    assert_eq!(customer(&mut harness, "17850"), (2, 3, 5, sums));
    harness.assert_same_at_any_batch_size();
}

#[test]
fn lifted_events_give_the_same_rows_as_stored_ones() {
    let stored = {
        let mut harness = Harness::<OrderSummary>::new();
        harness.given("order-1", "OrderPlaced", header(Some("17850")));
        harness.given("order-1", "LineAdded", line(6, "2.55"));
        harness.given("order-1", "LineAdded", line(1, "0.001"));
        harness.given("order-C2", "OrderCancelled", header(Some("17850")));
        let mut posted = header(None);
        posted["quantity"] = 1.into();
        posted["unit_price"] = "-11062.06".into();
        harness.given("order-A3", "AdjustmentPosted", posted);
        (harness.rows::<Order>(), harness.rows::<Customer>())
    };
    let lifted = {
        let mut harness = Harness::<OrderSummary>::new();
        harness.given("order-1", "OrderPlaced", header(Some("17850")));
        let two = json!({"quantity": 6, "unit_price_minor": 255, "currency": "GBP"});
        harness.given("order-1", "LineAdded", two);
        let fine = json!({"quantity": 1, "unit_price_minor": 1, "minor_digits": 3, "currency": "GBP"});
        harness.given("order-1", "LineAdded", fine);
        harness.given("order-C2", "CreditNoteIssued", header(Some("17850")));
        harness.given("order-A3", "AdjustmentOpened", header(None));
        let adjusted = json!({"quantity": 1, "unit_price_minor": -1_106_206, "currency": "GBP"});
        harness.given("order-A3", "LineAdjusted", adjusted);
        (harness.rows::<Order>(), harness.rows::<Customer>())
    };
    assert_eq!(format!("{stored:?}"), format!("{lifted:?}"));
}

#[test]
fn sales_to_nobody_in_particular_have_an_order_and_no_customer() {
    let mut harness = Harness::<OrderSummary>::new();
    harness.given("order-1", "OrderPlaced", header(None));
    harness.given("order-1", "LineAdded", line(1, "2.00"));
    assert_eq!(harness.rows::<Order>().len(), 1);
    assert_eq!(harness.rows::<Customer>(), []);
}

#[test]
fn an_adjustment_is_header_and_line_in_one() {
    let mut harness = Harness::<OrderSummary>::new();
    let mut both = header(Some("c"));
    both.as_object_mut()
        .unwrap()
        .extend(line(1, "-11062.06").as_object().unwrap().clone());
    harness.given("order-A1", "AdjustmentPosted", both);
    let row: Order = harness.row("order-A1").unwrap();
    assert_eq!(
        (row.status.as_str(), row.lines, row.total.to_string()),
        ("adjusted", 1, "-11062.060".to_owned())
    );
    let sums = ["-11062.060", "0.000", "0.000"].map(str::to_owned);
    assert_eq!(customer(&mut harness, "c"), (1, 1, 1, sums));
}

#[test]
fn a_line_before_its_order_is_a_failure_that_says_so() {
    let mut harness = Harness::<OrderSummary>::new();
    harness.given("order-1", "OrderPlaced", header(None));
    harness.given("order-2", "LineAdded", line(1, "2.00"));
    let failure = harness.run().unwrap_err();
    assert_eq!(
        (failure.index, failure.message.as_str()),
        (Some(1), "a line came before its order")
    );
    assert!(failure.trace.starts_with("at src/lib.rs:"), "{}", failure.trace);
}

#[test]
fn a_price_that_is_no_decimal_is_named() {
    let mut harness = Harness::<OrderSummary>::new();
    harness.given("order-1", "OrderPlaced", header(None));
    harness.given("order-1", "LineAdded", line(1, "2,00"));
    let message = harness.run().unwrap_err().message;
    assert!(
        message.starts_with("data of LineAdded: '2,00' is not a decimal"),
        "{message}"
    );
}

#[test]
fn wrapped_data_is_for_the_version_that_knows_it() {
    let mut harness = Harness::<OrderSummary>::new();
    harness.given("order-1", "OrderPlaced", header(None));
    harness.given("order-1", "LineAdded", json!({"payload": line(3, "2.00")}));
    if cfg!(feature = "wrapped") {
        let order: Order = harness.row("order-1").unwrap();
        assert_eq!((order.quantity, order.total.to_string()), (3, "6.000".to_owned()));
    } else {
        let message = harness.run().unwrap_err().message;
        assert!(
            message.starts_with("data of LineAdded: missing field"),
            "{message}"
        );
    }
}
