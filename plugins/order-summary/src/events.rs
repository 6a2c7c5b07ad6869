//! What the events carry, as far as this projector looks at it. Texts are borrowed from the event.

use std::borrow::Cow;

use lamphouse_sdk::prelude::*;
use serde::Deserialize;

/// Digits of a pound after the point.
const PENCE_DIGITS: u8 = 2;

/// `OrderPlaced`, `OrderCancelled` (`CreditNoteIssued`), and the head of `AdjustmentPosted` (`AdjustmentOpened`).
#[derive(Deserialize)]
pub(crate) struct Header<'a> {
    /// None for sales to nobody in particular.
    #[serde(borrow)]
    pub(crate) customer_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) country: Cow<'a, str>,
}

/// `LineAdded`, `LineReturned` (its quantity is negative), and the line of `AdjustmentPosted` (`LineAdjusted`).
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) quantity: i64,
    /// In pounds: the stored form.
    unit_price: Option<Decimal>,
    /// In pence: what `order-upcasters` makes of it.
    unit_price_minor: Option<i64>,
    /// Digits after the point of `unit_price_minor`, where they are not two.
    minor_digits: Option<u8>,
}

impl Line {
    /// Price of one piece, in pounds.
    pub(crate) fn unit_price(&self) -> Result<Decimal> {
        match (self.unit_price, self.unit_price_minor) {
            (Some(pounds), _) => Ok(pounds),
            (None, Some(minor)) => {
                let digits = self.minor_digits.unwrap_or(PENCE_DIGITS);
                Ok(Decimal::new(i128::from(minor), digits)?)
            }
            (None, None) => fault!("a line has neither unit_price nor unit_price_minor"),
        }
    }
}
