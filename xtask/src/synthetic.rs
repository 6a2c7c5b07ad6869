//! The synthetic workload's log: a million orders' events of 183 bytes of JSON each, the same for the same seed.
//!
//! Ten events an order, two hundred orders open at any time, each event with its customer's name. Read by the
//! projector in `benches/guests/shop-orders`; the log that resembles a shop's is that of [`crate::generate`].

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::seeded::Seeded;

/// Bytes of each event's `data`.
pub const DATA_BYTES: usize = 183;
/// Orders that are being entered at the same time.
const OPEN_ORDERS_MAX: usize = 200;
/// Events for each customer of the log.
const EVENTS_PER_CUSTOMER: u64 = 200;
/// What fills an event up to its size.
const FILLER: &str = "leave the parcel with the neighbours on the left, or behind the blue gate beside the shed; ring \
                      twice, for the dog is old and hears little; thank you, and greetings to all of you there";

struct Order {
    number: u64,
    customer: u64,
    /// Lines that are still to come.
    lines_left: u64,
    line: u64,
    paid: bool,
}

/// Writes the first `events` events as JSON Lines, one event a line. The number of customers follows from `events`, so
/// that the tables grow with the log.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(events: u64, seed: u64, out: &mut impl Write) -> Result<()> {
    let mut random = Seeded::new(seed);
    let customers = (events / EVENTS_PER_CUSTOMER).max(10);
    let mut open: Vec<Order> = Vec::new();
    let mut next = 1;
    let mut line = String::with_capacity(512);
    for number in 0..events {
        line.clear();
        let begins = open.is_empty() || (open.len() < OPEN_ORDERS_MAX && random.chance(30.0));
        let place = random.below(open.len() as u64) as usize;
        if begins {
            let order = Order {
                number: next,
                customer: random.below(customers),
                // Seven on average: with the header, the payment and the end, ten events.
                lines_left: 3 + random.below(9),
                line: 0,
                paid: false,
            };
            next += 1;
            event(&mut line, &order, "OrderPlaced", number, "", &mut random);
            open.push(order);
        } else if open[place].lines_left > 0 {
            let order = &mut open[place];
            order.lines_left -= 1;
            order.line += 1;
            let (quantity, cents) = (1 + random.below(12), 99 + random.below(4_900));
            let sku = random.below(5_000);
            let fields = format!(
                r#""line_no":{},"sku":"SKU-{sku:05}","quantity":{quantity},"unit_price":"{}.{:02}","#,
                order.line,
                cents / 100,
                cents % 100
            );
            event(&mut line, order, "LineAdded", number, &fields, &mut random);
        } else if !open[place].paid {
            open[place].paid = true;
            event(
                &mut line,
                &open[place],
                "OrderPaid",
                number,
                r#""method":"card","#,
                &mut random,
            );
        } else {
            let order = open.swap_remove(place);
            let kind = if random.chance(10.0) {
                "OrderCancelled"
            } else {
                "OrderShipped"
            };
            event(&mut line, &order, kind, number, "", &mut random);
        }
        out.write_all(line.as_bytes())
            .context("cannot write the generated log")?;
    }
    Ok(())
}

/// Writes the log to a file, compressed with zstd.
///
/// # Errors
/// When the file cannot be made or written.
pub fn write_file(events: u64, seed: u64, file: &Path) -> Result<()> {
    let made = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    let mut packed =
        zstd::Encoder::new(BufWriter::with_capacity(1 << 20, made), 1).context("cannot start to compress")?;
    write(events, seed, &mut packed)?;
    let mut out = packed.finish().context("cannot finish to compress")?;
    out.flush()
        .with_context(|| format!("cannot write {}", file.display()))
}

fn event(out: &mut String, order: &Order, kind: &str, number: u64, fields: &str, random: &mut Seeded) {
    let mut data = format!(
        r#"{{"order_no":{},"customer_id":"customer-{:06}",{fields}"channel":"{}","note":""#,
        order.number,
        order.customer,
        random.pick(&["web", "shop", "phone"])
    );
    let filler = DATA_BYTES - data.len() - r#""}"#.len();
    data.push_str(&FILLER[..filler]);
    data.push_str(r#""}"#);
    // Half a second an event, from the start of 2026 on.
    let (second, half) = (number / 2, if number.is_multiple_of(2) { 0 } else { 5 });
    let day = crate::generate::stamp(1_767_225_600 + second as i64, 'T');
    writeln!(
        out,
        r#"{{"stream_id":"order-{:08}","stream_type":"order","event_type":"{kind}","schema_version":1,"data":{data},"metadata":{{"reason":"Synthetic order"}},"occurred_at":"{day}.{half}Z"}}"#,
        order.number
    )
    .expect("invariant: writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn lines(events: u64, seed: u64) -> Vec<serde_json::Value> {
        let mut bytes = Vec::new();
        write(events, seed, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines() {
            let data = line
                .split_once(r#""data":"#)
                .unwrap()
                .1
                .split_once(r#","metadata""#)
                .unwrap()
                .0;
            assert_eq!(data.len(), DATA_BYTES, "{data}");
        }
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_log() {
        assert_eq!(lines(2_000, 7), lines(2_000, 7));
        assert_ne!(lines(2_000, 7), lines(2_000, 8));
    }

    #[test]
    fn an_order_has_ten_events_and_begins_with_its_header() {
        let events = lines(40_000, 7);
        let mut types: HashMap<&str, u64> = HashMap::new();
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for event in &events {
            let (stream, kind) = (
                event["stream_id"].as_str().unwrap(),
                event["event_type"].as_str().unwrap(),
            );
            *types.entry(kind).or_default() += 1;
            let before = seen.insert(stream, kind);
            assert_eq!(before.is_none(), kind == "OrderPlaced", "{stream}");
            assert!(
                !matches!(before, Some("OrderShipped" | "OrderCancelled")),
                "{stream} goes on after its end"
            );
        }
        let orders = types["OrderPlaced"];
        assert!((3_800..4_400).contains(&orders), "{orders} orders");
        let cancelled = types["OrderCancelled"];
        assert!((200..700).contains(&cancelled), "{cancelled} cancelled");
    }
}
