//! Lifts a shop's old events to the form that today's projectors read. The log keeps what it has.
//!
//! | stored | today |
//! |---|---|
//! | `LineAdded` 1: `unit_price` in pounds, as text | `LineAdded` 2: `unit_price_minor` in pence, and `currency` |
//! | `OrderCancelled` 1 | `CreditNoteIssued` 1, otherwise the same |
//! | `AdjustmentPosted` 1: header and line in one | `AdjustmentOpened` 1, then `LineAdjusted` 1 |
//! | `CartViewed` 1 | nothing |

use std::borrow::Cow;

use lamphouse_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Version 1 knew one currency, and did not say which.
const CURRENCY: &str = "GBP";
/// Digits of a pound after the point.
const SCALE: u8 = 2;

/// Fields that version 1 and version 2 share. Texts are borrowed from the event.
#[derive(Deserialize, Serialize)]
struct Line<'a> {
    line_no: u32,
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    quantity: i64,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    invoice_date: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct LineV1<'a> {
    #[serde(flatten, borrow)]
    line: Line<'a>,
    unit_price: Decimal,
}

#[derive(Serialize)]
struct LineV2<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    unit_price_minor: i64,
    currency: &'static str,
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
    let LineV1 { line, unit_price } = event.data()?;
    let pence = unit_price
        .rescale(SCALE)
        .with_context(|| format!("unit_price {unit_price} is no whole number of pence"))?;
    Ok(LineV2 {
        line,
        unit_price_minor: pence.mantissa().try_into()?,
        currency: CURRENCY,
    })
}

lamphouse_sdk::export_upcaster!(OrderUpcasters);
