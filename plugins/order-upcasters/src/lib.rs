//! Lifts a shop's old events to the form that today's projectors read. The log keeps what it has.
//!
//! | stored | today |
//! |---|---|
//! | `LineAdded` 1: `unit_price` in pounds, as text | `LineAdded` 2: `unit_price_minor` in pence, and `currency`; a price of part of a penny keeps its digits, and says how many: `minor_digits` |
//! | `OrderCancelled` 1 | `CreditNoteIssued` 1, otherwise the same |
//! | `AdjustmentPosted` 1: header and line in one | `AdjustmentOpened` 1, then `LineAdjusted` 1 |
//! | `CartViewed` 1 | nothing |

use std::borrow::Cow;

use lamphouse_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Version 1 knew one currency, and did not say which.
const CURRENCY: &str = "GBP";
/// Digits of a pound after the point, down to pence.
const SCALE: u8 = 2;

/// A line as it was. Texts are borrowed from the event.
#[derive(Deserialize)]
struct LineV1<'a> {
    line_no: u32,
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    quantity: i64,
    unit_price: Decimal,
    #[serde(borrow)]
    invoice_date: Option<Cow<'a, str>>,
}

/// A line as it is today.
#[derive(Serialize)]
struct LineV2<'a> {
    line_no: u32,
    sku: Cow<'a, str>,
    description: Option<Cow<'a, str>>,
    quantity: i64,
    unit_price_minor: i64,
    /// Digits after the point, where pence are too coarse: nothing is rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    minor_digits: Option<u8>,
    currency: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice_date: Option<Cow<'a, str>>,
}

/// `AdjustmentPosted`, and the first of the two that it becomes.
#[derive(Deserialize, Serialize)]
struct Header<'a> {
    #[serde(borrow)]
    adjustment_no: Cow<'a, str>,
    #[serde(borrow)]
    customer_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    country: Cow<'a, str>,
}

/// The upcaster.
pub struct OrderUpcasters;

impl Upcaster for OrderUpcasters {
    fn describe() -> Rules {
        Rules::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .rule(("LineAdded", 1), [("LineAdded", 2)])
            .rule(("OrderCancelled", 1), [("CreditNoteIssued", 1)])
            .rule(
                ("AdjustmentPosted", 1),
                [("AdjustmentOpened", 1), ("LineAdjusted", 1)],
            )
            .drops(("CartViewed", 1))
    }

    fn upcast(event: &Event<'_>, today: &mut Today<'_>) -> Result<()> {
        match event.event_type {
            "LineAdded" => today.give("LineAdded", 2, &line(event)?),
            "OrderCancelled" => today.rename("CreditNoteIssued", 1),
            "AdjustmentPosted" => {
                let header: Header = event.data()?;
                today.give("AdjustmentOpened", 1, &header)?;
                today.give("LineAdjusted", 1, &line(event)?)
            }
            // A view changes nothing that anybody keeps.
            "CartViewed" => Ok(()),
            other => fault!("event type {other} was not asked for"),
        }
    }
}

fn line<'a>(event: &Event<'a>) -> Result<LineV2<'a>> {
    let line: LineV1 = event.data()?;
    let minor = match line.unit_price.rescale(SCALE) {
        Ok(pence) => pence,
        Err(_) => line.unit_price,
    };
    Ok(LineV2 {
        line_no: line.line_no,
        sku: line.sku,
        description: line.description,
        quantity: line.quantity,
        unit_price_minor: minor.mantissa().try_into()?,
        minor_digits: (minor.scale() != SCALE).then_some(minor.scale()),
        currency: CURRENCY,
        invoice_date: line.invoice_date,
    })
}

lamphouse_sdk::export_upcaster!(OrderUpcasters);
