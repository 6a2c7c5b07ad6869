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
pub struct Today<'t> {
    given: &'t mut Vec<Given>,
}

/// One event that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) schema: EventSchema,
    /// None: as in the event that was given.
    pub(crate) data: Option<String>,
    /// None: as in the event that was given.
    pub(crate) metadata: Option<String>,
}

impl Today<'_> {
    /// Gives an event with data that serde writes.
    #[track_caller]
    pub fn give(&mut self, event_type: &str, schema_version: u32, data: &impl Serialize) -> Result<()> {
        let data = json(data)?;
        self.push(event_type, schema_version, Some(data), None);
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
        self.push(event_type, schema_version, None, None);
        Ok(())
    }

    /// Gives an event whose data and metadata are JSON text already.
    pub fn give_json(&mut self, event_type: &str, schema_version: u32, data: String, metadata: String) {
        self.push(event_type, schema_version, Some(data), Some(metadata));
    }

    fn push(
        &mut self,
        event_type: &str,
        schema_version: u32,
        data: Option<String>,
        metadata: Option<String>,
    ) {
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
pub(crate) fn upcast<U: Upcaster>(
    event: Event<'_>,
    index: usize,
    given: &mut Vec<Given>,
) -> Result<(), Failure> {
    U::upcast(&event, &mut Today { given }).map_err(|error| Failure::new(Some(index), &error))
}

/// Lifts a call's packed events; gives what they became, packed.
#[cfg(any(target_family = "wasm", test))]
pub(crate) fn upcast_all<U: Upcaster>(events: &[u8]) -> Result<Vec<u8>, Failure> {
    use lamphouse_contract::packed;

    // What comes out is mostly as long as what went in.
    let mut out = Vec::with_capacity(events.len());
    let mut given = Vec::new();
    for (index, event) in packed::events(events).enumerate() {
        let event = event.map_err(|error| Failure::new(Some(index), &Error::from(error)))?;
        upcast::<U>(Event::new(event, None), index, &mut given)?;
        packed::write_lifted_count(&mut out, given.len());
        for given in given.drain(..) {
            packed::write_lifted(
                &mut out,
                &packed::Lifted {
                    event_type: &given.schema.event_type,
                    schema_version: given.schema.schema_version,
                    data: given.data.as_deref(),
                    metadata: given.metadata.as_deref(),
                },
            );
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lamphouse_contract::packed;

    use super::*;
    use crate::fault;

    struct Shop;

    impl Upcaster for Shop {
        fn describe() -> Rules {
            Rules::new("shop", "1.0.0")
        }

        fn upcast(event: &Event<'_>, today: &mut Today<'_>) -> Result<()> {
            match event.event_type {
                "Old" => today.rename("New", 1),
                "Both" => {
                    today.give("One", 1, &1)?;
                    today.give_json("Two", 2, "2".to_owned(), "{\"by\":\"us\"}".to_owned());
                    Ok(())
                }
                "Gone" => Ok(()),
                other => fault!("no {other}"),
            }
        }
    }

    fn events(types: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event_type in types {
            let event = packed::Event {
                position: 1,
                part: 0,
                id: "",
                stream_id: "s-1",
                stream_type: "s",
                stream_version: 1,
                event_type,
                schema_version: 1,
                data: "{}",
                metadata: "{}",
                occurred_at: 0,
                recorded_at: 0,
                fields: None,
            };
            packed::write_event(&mut bytes, &event);
        }
        bytes
    }

    #[test]
    fn each_event_has_its_list_in_order() {
        let bytes = upcast_all::<Shop>(&events(&["Gone", "Both", "Old"])).unwrap();
        let lists: Vec<_> = packed::lifted(&bytes).map(Result::unwrap).collect();
        let lifted = |event_type, schema_version, data, metadata| packed::Lifted {
            event_type,
            schema_version,
            data,
            metadata,
        };
        assert_eq!(
            lists,
            [
                vec![],
                vec![
                    lifted("One", 1, Some("1"), None),
                    lifted("Two", 2, Some("2"), Some("{\"by\":\"us\"}"))
                ],
                vec![lifted("New", 1, None, None)],
            ]
        );
    }

    #[test]
    fn a_failure_names_the_event() {
        let failure = upcast_all::<Shop>(&events(&["Old", "Stray"])).unwrap_err();
        assert_eq!((failure.index, failure.message.as_str()), (Some(1), "no Stray"));
        let cut = &events(&["Old", "Old"])[..20];
        assert_eq!(upcast_all::<Shop>(cut).unwrap_err().index, Some(0));
    }
}
