//! What single events become.

use lamphouse_sdk::testing::{TestEvent, UpcasterHarness};
use order_upcasters::OrderUpcasters;
use serde_json::{Value, json};

fn line_v1(unit_price: &str) -> Value {
    json!({"line_no": 1, "sku": "22423", "description": "CAKE \"STAND\"", "quantity": 3, "unit_price": unit_price})
}

fn line_v2(unit_price_minor: i64) -> Value {
    json!({"line_no": 1, "sku": "22423", "description": "CAKE \"STAND\"", "quantity": 3,
           "unit_price_minor": unit_price_minor, "currency": "GBP"})
}

#[test]
fn a_price_in_pounds_becomes_pence_and_a_currency() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    for (pounds, pence) in [("2.55", 255), ("2.5", 250), ("12", 1_200), ("0.01", 1)] {
        let line = TestEvent::new("order-1", "LineAdded", line_v1(pounds));
        harness.given(&line).then([("LineAdded", 2, line_v2(pence))]);
    }
}

#[test]
fn a_price_of_part_of_a_penny_keeps_its_digits() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    let mut lifted = line_v2(1);
    lifted["minor_digits"] = 3.into();
    let line = TestEvent::new("order-1", "LineAdded", line_v1("0.001"));
    harness.given(&line).then([("LineAdded", 2, lifted)]);
}

#[test]
fn a_price_without_end_fails_and_says_so() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    let failure = harness.run(&TestEvent::new("order-1", "LineAdded", line_v1("1e9")));
    let message = failure.expect_err("no decimal").message;
    assert!(message.starts_with("data of LineAdded: "), "{message}");
}

#[test]
fn today_s_lines_stay_as_they_are() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    let line = TestEvent::new("order-1", "LineAdded", line_v2(255)).schema_version(2);
    harness.given(&line).then([("LineAdded", 2, line_v2(255))]);
}

#[test]
fn a_cancelled_order_is_a_credit_note_with_the_same_data_and_metadata() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    let data = json!({"credit_note_no": "C1", "customer_id": null, "country": "EIRE"});
    let lifted = harness.given(&TestEvent::new("order-C1", "OrderCancelled", &data));
    lifted.then([("CreditNoteIssued", 1, data)]);
    assert_eq!(lifted.events[0].metadata, json!({"reason": "given by a test"}));
}

#[test]
fn an_adjustment_is_opened_and_then_has_its_line() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    let header = json!({"adjustment_no": "A1", "customer_id": "17", "country": "Malta"});
    let mut posted = header.clone();
    let fields = line_v1("-11062.06");
    for (key, value) in fields.as_object().into_iter().flatten() {
        posted[key] = value.clone();
    }
    harness
        .given(&TestEvent::new("order-A1", "AdjustmentPosted", posted))
        .then([
            ("AdjustmentOpened", 1, header),
            ("LineAdjusted", 1, line_v2(-1_106_206)),
        ]);
}

#[test]
fn a_view_of_a_cart_is_dropped() {
    let harness = UpcasterHarness::<OrderUpcasters>::new();
    harness
        .given(&TestEvent::new("cart-1", "CartViewed", json!({"sku": "22423"})))
        .then_nothing();
}
