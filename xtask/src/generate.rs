//! An invented shop's order log: realistic in shape and size, the same for the same seed on every machine.
//!
//! Event types and fields are those of the example plugins: orders with their lines, credit notes with their returned
//! lines, and a rare adjustment. A few hundred orders are open at any time, so that streams interleave; customers,
//! products and quantities are skewed as in a real shop; some orders have no customer.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::seeded::Seeded;

/// Orders that are being entered at the same time. Raise it to spread a stream's events wider over the log.
const OPEN_ORDERS_MAX: usize = 200;
/// 2024-01-02 08:00:00 UTC, in seconds since 1970.
const OPENING: i64 = 1_704_182_400;

const COUNTRIES: &[(&str, f64)] = &[
    ("United Kingdom", 62.0),
    ("Germany", 74.0),
    ("France", 82.0),
    ("Ireland", 86.0),
    ("Netherlands", 89.0),
    ("Belgium", 91.0),
    ("Spain", 93.0),
    ("Italy", 94.5),
    ("Sweden", 95.5),
    ("Norway", 96.5),
    ("Portugal", 97.3),
    ("Japan", 98.0),
    ("Canada", 98.6),
    ("Iceland", 99.1),
    ("New Zealand", 99.5),
    ("Türkiye", 99.8),
    ("Malta", 100.0),
];
const FINISHES: &[&str] = &[
    "OAK", "COPPER", "LINEN", "ENAMEL", "WICKER", "SLATE", "BRASS", "CORK", "FELT", "GLASS", "MARBLE", "TIN",
];
const STYLES: &[&str] = &[
    "STRIPED", "DOTTED", "TALL", "FOLDING", "MINI", "GARDEN", "HARBOUR", "WINTER", "NORDIC", "PLAIN", "CAFÉ",
];
const THINGS: &[&str] = &[
    "LANTERN",
    "TRAY",
    "JUG",
    "BASKET",
    "CANDLE",
    "CLOCK",
    "MUG",
    "APRON",
    "TIN BOX",
    "COAT HOOK",
    "BUNTING",
    "VASE",
    "CUSHION",
    "LUNCH BAG",
    "BIRD FEEDER",
    "NOTEBOOK",
    "TEA TOWEL",
    "\"WELCOME\" SIGN",
];
const QUANTITIES: &[u32] = &[
    1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 6, 6, 8, 10, 12, 12, 12, 24, 24, 48, 100,
];

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Lines of the log.
    pub events: u64,
    /// The same seed gives the same log.
    pub seed: u64,
}

struct Order {
    id: String,
    kind: Kind,
    customer: Option<u64>,
    country: &'static str,
    lines_left: u64,
    line: u64,
    opened: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sale,
    Credit,
    Adjustment,
}

/// Writes the log as JSON Lines, one event a line, in time order.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(plan: Plan, out: &mut impl Write) -> Result<()> {
    let mut shop = Shop::new(plan);
    let mut line = String::with_capacity(1024);
    for _ in 0..plan.events {
        line.clear();
        shop.next_event(&mut line);
        line.push('\n');
        out.write_all(line.as_bytes())
            .context("cannot write the generated log")?;
    }
    Ok(())
}

/// Writes the log to a file; compressed when its name ends in `.zst`.
///
/// # Errors
/// When the file cannot be made or written.
pub fn write_file(plan: Plan, file: &Path) -> Result<()> {
    let made = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, made);
    if file.extension().is_some_and(|extension| extension == "zst") {
        let mut packed = zstd::Encoder::new(&mut out, 3).context("cannot start to compress")?;
        write(plan, &mut packed)?;
        packed.finish().context("cannot finish to compress")?;
    } else {
        write(plan, &mut out)?;
    }
    out.flush()
        .with_context(|| format!("cannot write {}", file.display()))
}

struct Shop {
    random: Seeded,
    customers: u64,
    /// Micro-seconds would be false precision: orders are stamped to the second.
    now: i64,
    next_number: u64,
    open: Vec<Order>,
}

impl Shop {
    fn new(plan: Plan) -> Self {
        // A real shop of half a million lines had 4,372 customers.
        let customers = (plan.events / 120).max(20);
        Self {
            random: Seeded::new(plan.seed),
            customers,
            now: OPENING,
            next_number: 100_001,
            open: Vec::new(),
        }
    }

    fn next_event(&mut self, out: &mut String) {
        if self.random.chance(9.0) {
            self.now += self.random.below(240) as i64;
        }
        if self.open.is_empty() || (self.open.len() < OPEN_ORDERS_MAX && self.random.chance(6.0)) {
            let order = self.new_order();
            self.open.push(order);
        }
        // Mostly one order's lines run on; now and then another order comes between.
        let last = self.open.len() - 1;
        let chosen = if self.random.chance(60.0) {
            last
        } else {
            self.random.below(last as u64 + 1) as usize
        };
        let mut order = self.open.swap_remove(chosen);
        self.write_event(&mut order, out);
        if order.lines_left > 0 {
            self.open.push(order);
        }
    }

    fn new_order(&mut self) -> Order {
        let random = &mut self.random;
        let share = random.unit() * 100.0;
        let kind = match share {
            share if share < 0.2 => Kind::Adjustment,
            share if share < 14.0 => Kind::Credit,
            _ => Kind::Sale,
        };
        let known = kind != Kind::Adjustment && !random.chance(14.0);
        let customer = known.then(|| random.skewed(self.customers, 2.2));
        // A customer's country is nearly always the same one.
        let draw = match customer {
            Some(customer) if !random.chance(0.3) => Seeded::new(customer).unit() * 100.0,
            _ => random.unit() * 100.0,
        };
        let country = COUNTRIES
            .iter()
            .find(|(_, up_to)| draw < *up_to)
            .map_or("United Kingdom", |(name, _)| name);
        let lines_left = match kind {
            Kind::Sale => 1 + (random.unit().powi(3) * 90.0) as u64,
            Kind::Credit => 1 + random.skewed(6, 2.0),
            Kind::Adjustment => 1,
        };
        let letter = match kind {
            Kind::Sale => "",
            Kind::Credit => "C",
            Kind::Adjustment => "A",
        };
        self.next_number += 1;
        let id = format!("{letter}{}", self.next_number);
        Order {
            id,
            kind,
            customer,
            country,
            lines_left,
            line: 0,
            opened: false,
        }
    }

    fn write_event(&mut self, order: &mut Order, out: &mut String) {
        let opens = !order.opened && order.kind != Kind::Adjustment;
        order.opened = true;
        let (event_type, number_name, reason) = match (order.kind, opens) {
            (Kind::Sale, true) => (
                "OrderPlaced",
                "invoice_no",
                "Customer order invoiced (generated shop)",
            ),
            (Kind::Sale, false) => ("LineAdded", "", "Invoice line recorded (generated shop)"),
            (Kind::Credit, true) => (
                "OrderCancelled",
                "credit_note_no",
                "Credit note issued (generated shop)",
            ),
            (Kind::Credit, false) => ("LineReturned", "", "Credit note line recorded (generated shop)"),
            (Kind::Adjustment, _) => (
                "AdjustmentPosted",
                "adjustment_no",
                "Adjustment posted (generated shop)",
            ),
        };
        let customer = order.customer.map(|number| 20_001 + number);
        let mut text = |arguments: std::fmt::Arguments<'_>| {
            out.write_fmt(arguments)
                .expect("invariant: writing to a String does not fail");
        };
        text(format_args!(
            r#"{{"stream_id":"order-{}","stream_type":"order","event_type":"{event_type}","schema_version":1,"data":{{"#,
            order.id
        ));
        if !number_name.is_empty() {
            text(format_args!(r#""{number_name}":"{}","customer_id":"#, order.id));
            match customer {
                Some(customer) => text(format_args!(r#""{customer}""#)),
                None => text(format_args!("null")),
            }
            text(format_args!(r#","country":"{}","currency":"GBP""#, order.country));
        }
        if !opens {
            order.line += 1;
            order.lines_left -= 1;
            if !number_name.is_empty() {
                text(format_args!(","));
            }
            let line = Line::new(&mut self.random, order.kind);
            let Line {
                sku, quantity, pence, ..
            } = line;
            text(format_args!(
                r#""line_no":{},"sku":"{sku}","description":"#,
                order.line
            ));
            match &line.description {
                Some(description) => text(format_args!(r#""{description}""#)),
                None => text(format_args!("null")),
            }
            let sign = if pence < 0 { "-" } else { "" };
            let (pounds, rest) = (pence.abs() / 100, pence.abs() % 100);
            text(format_args!(
                r#","quantity":{quantity},"unit_price":"{sign}{pounds}.{rest:02}","invoice_date":""#
            ));
            text(format_args!("{}\"", stamp(self.now, ' ')));
        }
        text(format_args!(r#"}},"metadata":{{"reason":"{reason}","user_id":""#));
        match customer {
            Some(customer) => text(format_args!("customer-{customer}")),
            None => text(format_args!("unknown")),
        }
        text(format_args!(r#""}},"occurred_at":"{}Z"}}"#, stamp(self.now, 'T')));
    }
}

struct Line {
    sku: String,
    description: Option<String>,
    quantity: i64,
    pence: i64,
}

impl Line {
    fn new(random: &mut Seeded, kind: Kind) -> Self {
        if kind == Kind::Adjustment {
            let pence = random.below(1_000_000) as i64 - 500_000;
            return Self {
                sku: "B".to_owned(),
                description: Some("Adjust bad debt".to_owned()),
                quantity: 1,
                pence,
            };
        }
        let product = random.skewed(4_000, 1.8);
        // A product's name and price follow from its number.
        let mut about = Seeded::new(product ^ 0x5eed);
        let (finish, style, thing) = (about.pick(FINISHES), about.pick(STYLES), about.pick(THINGS));
        let description = format!("{finish} {style} {thing}").replace('"', "\\\"");
        let usual = 19 + (about.unit().powi(3) * 1_500.0) as i64;
        let odd = random.chance(0.5);
        let quantity = i64::from(*random.pick(QUANTITIES)) * if random.chance(0.3) { 10 } else { 1 };
        Self {
            sku: format!(
                "{}{}",
                20_000 + product,
                if product.is_multiple_of(7) { "B" } else { "" }
            ),
            description: (!random.chance(0.3)).then_some(description),
            quantity: if kind == Kind::Credit || random.chance(0.25) {
                -quantity
            } else {
                quantity
            },
            pence: if odd { 0 } else { usual },
        }
    }
}

/// `2024-01-02 08:00:00` from seconds since 1970 (the civil-from-days algorithm).
pub(crate) fn stamp(seconds: i64, between: char) -> String {
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn generated(events: u64, seed: u64) -> Vec<serde_json::Value> {
        let mut bytes = Vec::new();
        write(Plan { events, seed }, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_time_is_written_as_a_date() {
        assert_eq!(stamp(OPENING, ' '), "2024-01-02 08:00:00");
        assert_eq!(stamp(951_782_399, 'T'), "2000-02-28T23:59:59");
        assert_eq!(stamp(951_782_400, 'T'), "2000-02-29T00:00:00");
    }

    #[test]
    fn the_same_seed_gives_the_same_log_and_another_one_does_not() {
        assert_eq!(generated(3_000, 7), generated(3_000, 7));
        assert_ne!(generated(3_000, 7), generated(3_000, 8));
    }

    #[test]
    fn a_log_has_every_event_type_and_looks_like_a_shop() {
        let events = generated(40_000, 7);
        let mut types: HashMap<&str, usize> = HashMap::new();
        let mut opened = HashSet::new();
        let mut returns_to_an_earlier_stream = 0;
        let mut last = String::new();
        let mut before = "";
        for event in &events {
            let (stream, kind) = (
                event["stream_id"].as_str().unwrap(),
                event["event_type"].as_str().unwrap(),
            );
            *types.entry(kind).or_default() += 1;
            let opens = matches!(kind, "OrderPlaced" | "OrderCancelled" | "AdjustmentPosted");
            assert_eq!(opened.insert(stream), opens, "{kind} of {stream}");
            returns_to_an_earlier_stream += usize::from(!opens && stream != last);
            last = stream.to_owned();
            let at = event["occurred_at"].as_str().unwrap();
            assert!(before <= at, "time goes back at {stream}");
            before = at;
        }
        assert_eq!(types.len(), 5, "{types:?}");
        assert!(types["LineAdded"] > 34_000, "{types:?}");
        assert!(opened.len() > 1_200, "{} streams", opened.len());
        assert!(returns_to_an_earlier_stream > 2_000, "streams hardly interleave");
    }
}
