//! What the events carry, as far as this projector looks at it: declared, so that the host takes it out of the JSON.

use std::borrow::Cow;

use lamphouse_sdk::prelude::*;

#[cfg(feature = "wrapped")]
pub(crate) use wrapped::{header, line, subscribe};

/// Digits of a pound after the point.
const PENCE_DIGITS: u8 = 2;

/// `OrderPlaced`, `OrderCancelled` (`CreditNoteIssued`), and the head of `AdjustmentPosted` (`AdjustmentOpened`).
#[derive(EventFields)]
#[cfg_attr(feature = "wrapped", derive(serde::Deserialize))]
pub(crate) struct Header<'a> {
    /// None for sales to nobody in particular.
    #[cfg_attr(feature = "wrapped", serde(borrow))]
    pub(crate) customer_id: Option<Cow<'a, str>>,
    #[cfg_attr(feature = "wrapped", serde(borrow))]
    pub(crate) country: Cow<'a, str>,
}

/// `LineAdded`, `LineReturned` (its quantity is negative), and the line of `AdjustmentPosted` (`LineAdjusted`).
#[derive(EventFields)]
#[cfg_attr(feature = "wrapped", derive(serde::Deserialize))]
pub(crate) struct Line {
    pub(crate) quantity: i64,
    /// In pounds: the stored form.
    unit_price: Option<Decimal>,
    /// In pence: what `order-upcasters` makes of it.
    unit_price_minor: Option<i64>,
    /// Digits after the point of `unit_price_minor`, where they are not two.
    minor_digits: Option<u8>,
}

/// `AdjustmentPosted`: header and line in one.
#[cfg(not(feature = "wrapped"))]
#[derive(EventFields)]
struct Adjustment<'a> {
    customer_id: Option<Cow<'a, str>>,
    country: Cow<'a, str>,
    quantity: i64,
    unit_price: Option<Decimal>,
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

/// The events that this projector takes.
#[cfg(not(feature = "wrapped"))]
pub(crate) fn subscribe(plugin: Plugin) -> Plugin {
    plugin
        .on_fields::<Header>("OrderPlaced")
        .on_fields::<Line>("LineAdded")
        .on_fields::<Header>("OrderCancelled")
        .on_fields::<Line>("LineReturned")
        .on_fields::<Adjustment>("AdjustmentPosted")
        .on_fields::<Header>("CreditNoteIssued")
        .on_fields::<Header>("AdjustmentOpened")
        .on_fields::<Line>("LineAdjusted")
        .entries([Entry::OccurredAt])
}

/// The header that an event is, or has.
#[cfg(not(feature = "wrapped"))]
#[track_caller]
pub(crate) fn header<'e>(event: &Event<'e>) -> Result<Header<'e>> {
    if event.event_type != "AdjustmentPosted" {
        return event.fields();
    }
    let Adjustment {
        customer_id, country, ..
    } = event.fields()?;
    Ok(Header { customer_id, country })
}

/// The line that an event is, or has.
#[cfg(not(feature = "wrapped"))]
#[track_caller]
pub(crate) fn line(event: &Event<'_>) -> Result<Line> {
    if event.event_type != "AdjustmentPosted" {
        return event.fields();
    }
    let Adjustment {
        quantity, unit_price, ..
    } = event.fields()?;
    Ok(Line {
        quantity,
        unit_price,
        unit_price_minor: None,
        minor_digits: None,
    })
}

/// Data as a faulty producer once wrote it: the same in a `payload`. Either form may come, so that the data is parsed
/// here.
#[cfg(feature = "wrapped")]
mod wrapped {
    use lamphouse_sdk::prelude::*;
    use serde::Deserialize;

    use super::{Header, Line};

    #[derive(Deserialize)]
    struct Wrapped<T> {
        payload: T,
    }

    pub(crate) fn subscribe(plugin: Plugin) -> Plugin {
        [
            "OrderPlaced",
            "LineAdded",
            "OrderCancelled",
            "LineReturned",
            "AdjustmentPosted",
            "CreditNoteIssued",
            "AdjustmentOpened",
            "LineAdjusted",
        ]
        .into_iter()
        .fold(plugin, Plugin::on)
    }

    #[track_caller]
    pub(crate) fn header<'e>(event: &Event<'e>) -> Result<Header<'e>> {
        data(event)
    }

    #[track_caller]
    pub(crate) fn line(event: &Event<'_>) -> Result<Line> {
        data(event)
    }

    #[track_caller]
    fn data<'e, T: Deserialize<'e>>(event: &Event<'e>) -> Result<T> {
        event.data().or_else(|fault| match event.data::<Wrapped<T>>() {
            Ok(wrapped) => Ok(wrapped.payload),
            Err(_) => Err(fault),
        })
    }
}
