//! The tables. Prices have up to three digits after the point, so sums do too.

use lamphouse_sdk::prelude::*;

/// One row a stream: an order, a credit note or an adjustment.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "orders")]
pub struct Order {
    #[row(key)]
    pub order_id: String,
    pub customer_id: Option<String>,
    pub country: String,
    pub lines: i64,
    pub quantity: i64,
    #[row(scale = 3)]
    pub total: Decimal,
    /// `placed`, `credited` or `adjusted`.
    pub status: String,
    pub placed_at: Timestamp,
}

/// One row a known customer.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "customers")]
pub struct Customer {
    #[row(key)]
    pub customer_id: String,
    /// Streams: orders, credit notes and adjustments.
    #[row(initial = 0)]
    pub orders: i64,
    #[row(initial = 0)]
    pub lines: i64,
    #[row(initial = 0)]
    pub quantity: i64,
    #[row(scale = 3, initial = 0)]
    pub net: Decimal,
    /// The lines of orders.
    #[row(scale = 3, initial = 0)]
    pub ordered: Decimal,
    /// The lines of credit notes: negative.
    #[row(scale = 3, initial = 0)]
    pub returned: Decimal,
}

/// One row a country.
#[cfg(feature = "countries")]
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "countries")]
pub struct Country {
    #[row(key)]
    pub country: String,
    #[row(initial = 0)]
    pub orders: i64,
    #[row(initial = 0)]
    pub lines: i64,
    #[row(initial = 0)]
    pub quantity: i64,
    #[row(scale = 3, initial = 0)]
    pub net: Decimal,
}
