//! Upcasters: old events in, today's events out.

use lamphouse_contract::{EventSchema, Rule, UpcasterDescriptor};
use serde::Serialize;

use crate::run::Failure;
use crate::{Error, Event, Result};

/// Lifts events of old schemas to newer ones, between the log and the projectors; the log itself stays as it is.
///
/// There is no `self`, and what comes out of an event may depend on that event alone.
///
/// ```
/// use lamphouse_sdk::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// struct Prices;
///
/// // Version 1 had the price as text; version 2 has pence.
/// #[derive(Deserialize)]
/// struct LineV1 {
///     sku: String,
///     price: Decimal,
/// }
///
/// #[derive(Serialize)]
/// struct LineV2 {
///     sku: String,
///     price_minor: i64,
/// }
///
/// impl Upcaster for Prices {
///     fn describe() -> Rules {
///         Rules::new("prices", "1.0.0")
///             .rule(("LineAdded", 1), [("LineAdded", 2)])
///             .rule(("CustomerSignedUp", 1), [("CustomerRegistered", 1)])
///             .drops(("CartViewed", 1))
///     }
///
///     fn upcast(event: &Event<'_>, today: &mut Today<'_>) -> Result<()> {
///         match event.event_type {
///             "LineAdded" => {
///                 let line: LineV1 = event.data()?;
///                 let price_minor = line.price.rescale(2)?.mantissa().try_into()?;
///                 today.give("LineAdded", 2, &LineV2 { sku: line.sku, price_minor })
///             }
///             // Another name, and nothing else.
///             "CustomerSignedUp" => today.rename("CustomerRegistered", 1),
///             // What gives nothing is dropped.
///             _ => Ok(()),
///         }
///     }
/// }
///
/// lamphouse_sdk::export_upcaster!(Prices);
///
/// # fn main() {
/// use lamphouse_sdk::testing::{TestEvent, UpcasterHarness};
/// use serde_json::json;
///
/// let harness = UpcasterHarness::<Prices>::new();
/// let line = TestEvent::new("order-1", "LineAdded", json!({"sku": "A1", "price": "2.5"}));
/// harness.given(&line).then([("LineAdded", 2, json!({"sku": "A1", "price_minor": 250}))]);
/// harness.given(&TestEvent::new("cart-1", "CartViewed", json!({}))).then_nothing();
/// # }
/// ```
pub trait Upcaster: 'static {
    /// Name, version, and what is taken and given. Always the same.
    fn describe() -> Rules;

    /// Gives what one event is today: nothing, one event or several, each of a schema that the rule names. What comes
    /// out is lifted again, by this upcaster or another, until nothing takes it.
    fn upcast(event: &Event<'_>, today: &mut Today<'_>) -> Result<()>;
}

/// What an upcaster says of itself.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) descriptor: UpcasterDescriptor,
}

impl Rules {
    /// Name (lower-case, digits, `-`, at most 48 characters) and version. A new version builds the projections anew
    /// that it reaches: raise it whenever other events would come out.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            descriptor: UpcasterDescriptor {
                name: name.into(),
                version: version.into(),
                rules: Vec::new(),
                options: Vec::new(),
            },
        }
    }

    /// Takes events of this type and version, and gives events of those. Only one upcaster of a host may take a
    /// schema, and no chain of rules may come back to where it was.
    #[must_use]
    pub fn rule<'a>(mut self, takes: (&str, u32), gives: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        self.descriptor.rules.push(Rule {
            takes: schema(takes),
            gives: gives.into_iter().map(schema).collect(),
        });
        self
    }

    /// Takes events of this type and version, and gives none.
    #[must_use]
    pub fn drops(self, takes: (&str, u32)) -> Self {
        self.rule(takes, [])
    }

    /// Sets an option. The host refuses those that it does not know.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.descriptor.options.push((name.into(), value.into()));
        self
    }
}

fn schema((event_type, schema_version): (&str, u32)) -> EventSchema {
    EventSchema {
        event_type: event_type.into(),
        schema_version,
    }
}

/// Takes what an event is today, in order. Position, stream, times and id stay those of the stored event; metadata
/// stays unless it is given too.
pub struct Today<'e> {
    event: Event<'e>,
    pub(crate) given: Vec<Given>,
}

/// One event that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) schema: EventSchema,
    pub(crate) data: String,
    pub(crate) metadata: String,
}

impl<'e> Today<'e> {
    pub(crate) fn new(event: Event<'e>) -> Self {
        Self {
            event,
            given: Vec::new(),
        }
    }

    /// Gives an event with data that serde writes.
    #[track_caller]
    pub fn give(&mut self, event_type: &str, schema_version: u32, data: &impl Serialize) -> Result<()> {
        let data = json(data)?;
        self.give_json(event_type, schema_version, data, self.event.metadata.to_owned());
        Ok(())
    }

    /// Gives an event with data and metadata that serde writes; metadata is to be an object.
    #[track_caller]
    pub fn give_with_metadata(
        &mut self,
        event_type: &str,
        schema_version: u32,
        data: &impl Serialize,
        metadata: &impl Serialize,
    ) -> Result<()> {
        let (data, metadata) = (json(data)?, json(metadata)?);
        self.give_json(event_type, schema_version, data, metadata);
        Ok(())
    }

    /// Gives the event under another type or version; its data and metadata stay as they are, to the letter.
    pub fn rename(&mut self, event_type: &str, schema_version: u32) -> Result<()> {
        let (data, metadata) = (self.event.data.to_owned(), self.event.metadata.to_owned());
        self.give_json(event_type, schema_version, data, metadata);
        Ok(())
    }

    /// Gives an event whose data and metadata are JSON text already.
    pub fn give_json(&mut self, event_type: &str, schema_version: u32, data: String, metadata: String) {
        self.given.push(Given {
            schema: schema((event_type, schema_version)),
            data,
            metadata,
        });
    }
}

#[track_caller]
fn json(value: &impl Serialize) -> Result<String> {
    match serde_json::to_string(value) {
        Ok(text) => Ok(text),
        Err(error) => Err(Error::new(error).context("writing an event as JSON")),
    }
}

/// Lifts one event; `index` is its place in the call.
pub(crate) fn upcast<U: Upcaster>(event: Event<'_>, index: usize) -> Result<Vec<Given>, Failure> {
    let mut today = Today::new(event);
    match U::upcast(&event, &mut today) {
        Ok(()) => Ok(today.given),
        Err(error) => Err(Failure::new(Some(index), &error)),
    }
}
