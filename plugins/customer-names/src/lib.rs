//! Keeps each order with its customer's current name: when a customer is renamed, all of the customer's orders are
//! found by a declared index and follow.

use std::borrow::Cow;

use lamphouse_sdk::prelude::*;
use serde::Deserialize;

/// One row an order.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "order_names")]
pub struct OrderName {
    #[row(key)]
    pub order_id: String,
    /// The index is `OrderName::BY_CUSTOMER_ID`.
    #[row(index)]
    pub customer_id: Option<String>,
    /// As it is now, not as it was when the order was placed. Null while nobody has told it.
    pub customer_name: Option<String>,
    pub placed_at: Timestamp,
}

/// One row a customer: what an order that comes later is to be called.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "customer_names")]
pub struct CustomerName {
    #[row(key)]
    pub customer_id: String,
    pub name: String,
    #[row(initial = 0)]
    pub renames: i64,
}

#[derive(Deserialize)]
struct Placed<'a> {
    #[serde(borrow)]
    customer_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    customer_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// Orders that one page of a rename changes.
const PAGE_ORDERS: u32 = 500;

/// The projector.
pub struct CustomerNames;

impl Projector for CustomerNames {
    fn describe() -> Plugin {
        Plugin::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .on("OrderPlaced")
            .on("CustomerRegistered")
            .on("CustomerRenamed")
            .table::<OrderName>()
            .table::<CustomerName>()
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        match event.event_type {
            "OrderPlaced" => placed(event, tables),
            "CustomerRegistered" => named(&event.data()?, 0, tables),
            "CustomerRenamed" => named(&event.data()?, 1, tables),
            other => fault!("event type {other} was not asked for"),
        }
    }
}

fn placed(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
    let placed: Placed = event.data()?;
    let customer_name = match placed.customer_id.as_deref() {
        Some(customer) => tables
            .get::<CustomerName>(customer)?
            .map(|customer| customer.name),
        None => None,
    };
    tables.put(OrderName {
        order_id: event.stream_id.into(),
        customer_id: placed.customer_id.map(Into::into),
        customer_name,
        placed_at: event.occurred_at(),
    })
}

/// A customer has a name, or another one: so have all orders of that customer, those from before it was known too.
fn named(named: &Named<'_>, renames: i64, tables: &mut Tables<'_>) -> Result<()> {
    let customer = &*named.customer_id;
    tables.upsert(
        customer,
        [
            CustomerName::NAME.set(&*named.name),
            CustomerName::RENAMES.add(renames),
        ],
    )?;
    // A customer may have very many orders, so they come a page at a time.
    let mut last: Option<OrderName> = None;
    loop {
        let mut page = tables.find_page(OrderName::BY_CUSTOMER_ID, customer, last.as_ref(), PAGE_ORDERS)?;
        for order in &page {
            tables.patch(&*order.order_id, [OrderName::CUSTOMER_NAME.set(&*named.name)])?;
        }
        match page.pop() {
            Some(order) => last = Some(order),
            None => return Ok(()),
        }
    }
}

lamphouse_sdk::export!(CustomerNames);

#[cfg(test)]
mod tests {
    use lamphouse_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    fn name(harness: &mut Harness<CustomerNames>, order: &str) -> Option<String> {
        harness.row::<OrderName>(order).unwrap().customer_name
    }

    #[test]
    fn an_order_has_its_customers_name() {
        let mut harness = Harness::<CustomerNames>::new();
        harness.given(
            "customer-7",
            "CustomerRegistered",
            json!({"customer_id": "7", "name": "Ada"}),
        );
        harness.given("order-1", "OrderPlaced", json!({"customer_id": "7"}));
        harness.given("order-2", "OrderPlaced", json!({"customer_id": "8"}));
        harness.given("order-3", "OrderPlaced", json!({"customer_id": null}));
        assert_eq!(name(&mut harness, "order-1").as_deref(), Some("Ada"));
        assert_eq!(name(&mut harness, "order-2"), None);
        assert_eq!(name(&mut harness, "order-3"), None);
    }

    #[test]
    fn a_name_reaches_orders_from_before_it_was_known() {
        let mut harness = Harness::<CustomerNames>::new();
        harness.given("order-1", "OrderPlaced", json!({"customer_id": "7"}));
        harness.given(
            "customer-7",
            "CustomerRegistered",
            json!({"customer_id": "7", "name": "Ada"}),
        );
        assert_eq!(name(&mut harness, "order-1").as_deref(), Some("Ada"));
    }

    #[test]
    fn a_rename_reaches_all_orders_of_that_customer_and_no_other() {
        let mut harness = Harness::<CustomerNames>::new();
        for customer in ["7", "8"] {
            harness.given(
                &format!("customer-{customer}"),
                "CustomerRegistered",
                json!({"customer_id": customer, "name": format!("Old {customer}")}),
            );
        }
        // More than two pages, with the other customer's orders in between.
        for order in 0..2_600 {
            let customer = if order % 2 == 0 { "7" } else { "8" };
            harness.given(
                &format!("order-{order:05}"),
                "OrderPlaced",
                json!({"customer_id": customer}),
            );
        }
        harness.given(
            "customer-7",
            "CustomerRenamed",
            json!({"customer_id": "7", "name": "New \"7\""}),
        );
        harness.given("order-after", "OrderPlaced", json!({"customer_id": "7"}));
        harness.given(
            "customer-7",
            "CustomerRenamed",
            json!({"customer_id": "7", "name": "Newest 7"}),
        );

        let renamed = harness.find(OrderName::BY_CUSTOMER_ID, "7");
        assert_eq!(renamed.len(), 1_301);
        assert!(
            renamed
                .iter()
                .all(|order| order.customer_name.as_deref() == Some("Newest 7"))
        );
        let others = harness.find(OrderName::BY_CUSTOMER_ID, "8");
        assert_eq!(others.len(), 1_300);
        assert!(
            others
                .iter()
                .all(|order| order.customer_name.as_deref() == Some("Old 8"))
        );
        assert_eq!(harness.row::<CustomerName>("7").unwrap().renames, 2);
        harness.assert_same_at_any_batch_size();
    }
}
