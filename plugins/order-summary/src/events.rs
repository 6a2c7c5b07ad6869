//! What the events carry, as far as this projector looks at it. Texts are borrowed from the event.

use std::borrow::Cow;

use lamphouse_sdk::Decimal;
use serde::Deserialize;

/// `OrderPlaced`, `OrderCancelled`, and the head of `AdjustmentPosted`.
#[derive(Deserialize)]
pub(crate) struct Header<'a> {
    /// None for sales to nobody in particular.
    #[serde(borrow)]
    pub(crate) customer_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) country: Cow<'a, str>,
}

/// `LineAdded`, `LineReturned` (its quantity is negative), and the line of `AdjustmentPosted`.
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) quantity: i64,
    pub(crate) unit_price: Decimal,
}
