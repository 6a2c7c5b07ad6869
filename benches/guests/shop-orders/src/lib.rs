//! The projector of the synthetic workload: an order's row and its customer's sums, in the SDK's natural style.
//!
//! Every event names its customer, so that only a cancellation reads a row: one event in a hundred.

use lamphouse_sdk::prelude::*;

/// One row an order.
#[derive(Row, Clone, Debug, PartialEq)]
#[cfg_attr(not(any(feature = "b", feature = "c")), row(table = "shop_orders"))]
#[cfg_attr(feature = "b", row(table = "shop_orders_b"))]
#[cfg_attr(feature = "c", row(table = "shop_orders_c"))]
pub struct Order {
    #[row(key)]
    pub order_id: String,
    #[row(index)]
    pub customer_id: String,
    /// `placed`, `paid`, `shipped` or `cancelled`.
    pub status: String,
    pub lines: i64,
    pub quantity: i64,
    #[row(scale = 2)]
    pub total: Decimal,
    pub placed_at: Timestamp,
}

/// One row a customer.
#[derive(Row, Clone, Debug, PartialEq)]
#[cfg_attr(not(any(feature = "b", feature = "c")), row(table = "shop_customers"))]
#[cfg_attr(feature = "b", row(table = "shop_customers_b"))]
#[cfg_attr(feature = "c", row(table = "shop_customers_c"))]
pub struct Customer {
    #[row(key)]
    pub customer_id: String,
    #[row(initial = 0)]
    pub orders: i64,
    #[row(initial = 0)]
    pub lines: i64,
    #[row(initial = 0)]
    pub quantity: i64,
    /// Without what was cancelled.
    #[row(scale = 2, initial = 0)]
    pub net: Decimal,
    #[row(initial = 0)]
    pub cancelled: i64,
}

#[derive(EventFields)]
struct Header<'a> {
    customer_id: &'a str,
}

#[derive(EventFields)]
struct Line<'a> {
    customer_id: &'a str,
    quantity: i64,
    unit_price: Decimal,
}

/// The projector.
pub struct ShopOrders;

impl Projector for ShopOrders {
    fn describe() -> Plugin {
        let name = match () {
            () if cfg!(feature = "b") => "shop-orders-b",
            () if cfg!(feature = "c") => "shop-orders-c",
            () => "shop-orders",
        };
        Plugin::new(name, env!("CARGO_PKG_VERSION"))
            .on_fields::<Header>("OrderPlaced")
            .on_fields::<Line>("LineAdded")
            .on_without_data("OrderPaid")
            .on_without_data("OrderShipped")
            .on_fields::<Header>("OrderCancelled")
            .entries([Entry::OccurredAt])
            .table::<Order>()
            .table::<Customer>()
    }

    fn prefetch(event: &Event<'_>, wanted: &mut Wanted<'_>) {
        if event.event_type == "OrderCancelled" {
            wanted.row::<Order>(event.stream_id);
        }
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        match event.event_type {
            "LineAdded" => line(event, tables),
            "OrderPlaced" => placed(event, tables),
            "OrderPaid" => status(event, "paid", tables),
            "OrderShipped" => status(event, "shipped", tables),
            "OrderCancelled" => cancelled(event, tables),
            other => fault!("event type {other} was not asked for"),
        }
    }
}

fn placed(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
    let header: Header = event.fields()?;
    tables.upsert(header.customer_id, [Customer::ORDERS.add(1)])?;
    tables.put(Order {
        order_id: event.stream_id.into(),
        customer_id: header.customer_id.into(),
        status: "placed".into(),
        lines: 0,
        quantity: 0,
        total: Decimal::ZERO,
        placed_at: event.occurred_at(),
    })
}

fn line(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
    let line: Line = event.fields()?;
    let value = line
        .unit_price
        .checked_mul(line.quantity)
        .context("value of the line")?;
    tables.patch(
        event.stream_id,
        [
            Order::LINES.add(1),
            Order::QUANTITY.add(line.quantity),
            Order::TOTAL.add(value),
        ],
    )?;
    tables.upsert(
        line.customer_id,
        [
            Customer::LINES.add(1),
            Customer::QUANTITY.add(line.quantity),
            Customer::NET.add(value),
        ],
    )
}

fn status(event: &Event<'_>, status: &str, tables: &mut Tables<'_>) -> Result<()> {
    tables.patch(event.stream_id, [Order::STATUS.set(status)])
}

/// What was ordered no longer counts, so the order's total has to be known.
fn cancelled(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
    let header: Header = event.fields()?;
    let order = tables
        .get::<Order>(event.stream_id)?
        .context("a cancellation came before its order")?;
    let less = order.total.checked_mul(-1).context("what was cancelled")?;
    tables.upsert(
        header.customer_id,
        [Customer::NET.add(less), Customer::CANCELLED.add(1)],
    )?;
    status(event, "cancelled", tables)
}

lamphouse_sdk::export!(ShopOrders);
