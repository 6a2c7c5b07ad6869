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

/// Data as a faulty producer once wrote it.
#[cfg(feature = "wrapped")]
#[derive(Deserialize)]
struct Wrapped<T> {
    payload: T,
}

/// An event's data.
#[cfg(not(feature = "wrapped"))]
#[track_caller]
pub(crate) fn data<'e, T: Deserialize<'e>>(event: &Event<'e>) -> Result<T> {
    event.data()
}

/// An event's data, also where it lies in a `payload`.
#[cfg(feature = "wrapped")]
#[track_caller]
pub(crate) fn data<'e, T: Deserialize<'e>>(event: &Event<'e>) -> Result<T> {
    event.data().or_else(|fault| match event.data::<Wrapped<T>>() {
        Ok(wrapped) => Ok(wrapped.payload),
        Err(_) => Err(fault),
    })
}
