//! Keeps what a shop wants to know of its orders: one row an order, one a customer, and from version 2 on one a country.
//!
//! It takes the events as they are stored, and in the form that `order-upcasters` lifts them to: with or without it the
//! rows are the same.
//!
//! Credit notes and adjustments are streams of their own and have rows of their own. A line names no customer, so the
//! projector looks at the row of the line's order.

mod events;
mod tables;

use lamphouse_sdk::prelude::*;

#[cfg(feature = "countries")]
pub use tables::Country;
pub use tables::{Customer, Order};

/// The projector.
pub struct OrderSummary;

/// What kind of stream a row stands for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Order,
    CreditNote,
    Adjustment,
}

impl Kind {
    fn status(self) -> &'static str {
        match self {
            Self::Order => "placed",
            Self::CreditNote => "credited",
            Self::Adjustment => "adjusted",
        }
    }
}

impl Projector for OrderSummary {
    fn describe() -> Plugin {
        let version = match (cfg!(feature = "countries"), cfg!(feature = "wrapped")) {
            (true, _) => "2.0.0",
            (false, true) => "1.0.1",
            (false, false) => env!("CARGO_PKG_VERSION"),
        };
        let plugin = events::subscribe(Plugin::new(env!("CARGO_PKG_NAME"), version))
            .table::<Order>()
            .table::<Customer>();
        #[cfg(feature = "countries")]
        let plugin = plugin.table::<Country>();
        plugin
    }

    fn prefetch(event: &Event<'_>, wanted: &mut Wanted<'_>) {
        if matches!(event.event_type, "LineAdded" | "LineReturned" | "LineAdjusted") {
            wanted.row::<Order>(event.stream_id);
        }
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        match event.event_type {
            "OrderPlaced" => open(event, Kind::Order, tables),
            "OrderCancelled" | "CreditNoteIssued" => open(event, Kind::CreditNote, tables),
            "LineAdded" => line(event, Kind::Order, tables),
            "LineReturned" => line(event, Kind::CreditNote, tables),
            // One event that is header and line in one.
            "AdjustmentPosted" => {
                open(event, Kind::Adjustment, tables)?;
                line(event, Kind::Adjustment, tables)
            }
            "AdjustmentOpened" => open(event, Kind::Adjustment, tables),
            "LineAdjusted" => line(event, Kind::Adjustment, tables),
            other => fault!("event type {other} was not asked for"),
        }
    }
}

/// A stream begins: its row, and one more stream of its customer.
fn open(event: &Event<'_>, kind: Kind, tables: &mut Tables<'_>) -> Result<()> {
    let header = events::header(event)?;
    if let Some(customer) = header.customer_id.as_deref() {
        tables.upsert(customer, [Customer::ORDERS.add(1)])?;
    }
    #[cfg(feature = "countries")]
    tables.upsert(&*header.country, [Country::ORDERS.add(1)])?;
    tables.put(Order {
        order_id: event.stream_id.into(),
        customer_id: header.customer_id.map(Into::into),
        country: header.country.into(),
        lines: 0,
        quantity: 0,
        total: Decimal::ZERO,
        status: kind.status().into(),
        placed_at: event.occurred_at(),
    })
}

/// A line: counted for its order, and for the order's customer where it is known.
fn line(event: &Event<'_>, kind: Kind, tables: &mut Tables<'_>) -> Result<()> {
    let line = events::line(event)?;
    let value = line
        .unit_price()?
        .checked_mul(line.quantity)
        .context("value of the line")?;

    let order = tables
        .look::<Order>(event.stream_id)?
        .context("a line came before its order")?;
    let customer = order.get(Order::CUSTOMER_ID)?.map(str::to_owned);
    #[cfg(feature = "countries")]
    let country = order.get(Order::COUNTRY)?.to_owned();

    tables.patch(
        event.stream_id,
        [
            Order::LINES.add(1),
            Order::QUANTITY.add(line.quantity),
            Order::TOTAL.add(value),
        ],
    )?;
    #[cfg(feature = "countries")]
    tables.upsert(
        country,
        [
            Country::LINES.add(1),
            Country::QUANTITY.add(line.quantity),
            Country::NET.add(value),
        ],
    )?;
    let Some(customer) = customer else { return Ok(()) };
    let always = [
        Customer::LINES.add(1),
        Customer::QUANTITY.add(line.quantity),
        Customer::NET.add(value),
    ];
    let by_kind = match kind {
        Kind::Order => Some(Customer::ORDERED.add(value)),
        Kind::CreditNote => Some(Customer::RETURNED.add(value)),
        Kind::Adjustment => None,
    };
    tables.upsert(customer, always.into_iter().chain(by_kind))
}

lamphouse_sdk::export!(OrderSummary);
