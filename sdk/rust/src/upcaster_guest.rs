//! The sandbox's side of upcasters: the bindings of world `packed-upcaster-plugin`, and what
//! [`crate::export_upcaster!`] needs of them.

use lamphouse_contract::EventSchema;

use crate::log::Level;
use crate::{Result, Upcaster};

#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "packed-upcaster-plugin",
        pub_export_macro: true,
        default_bindings_module: "lamphouse_sdk::upcaster_guest::bindings",
    });
}

pub use bindings::exports::lamphouse::plugin::packed_upcaster::Guest;
pub use bindings::lamphouse::plugin::types::Failure;
pub use bindings::lamphouse::plugin::upcaster_types::UpcasterDescriptor;
use bindings::lamphouse::plugin::upcaster_types::{Rule, Schema};

/// What the exported `describe` gives.
pub fn describe<U: Upcaster>() -> UpcasterDescriptor {
    let descriptor = U::describe().descriptor;
    UpcasterDescriptor {
        name: descriptor.name,
        version: descriptor.version,
        rules: descriptor
            .rules
            .into_iter()
            .map(|rule| Rule {
                takes: to_wit(rule.takes),
                gives: rule.gives.into_iter().map(to_wit).collect(),
            })
            .collect(),
        options: descriptor.options,
    }
}

/// What the exported `upcast` does.
pub fn upcast<U: Upcaster>(events: &[u8]) -> Result<Vec<u8>, Failure> {
    // A trap tells the host where, but not why: that is in the panic's message.
    std::panic::set_hook(Box::new(|panic| {
        crate::guest::write_log(Level::Error, &panic.to_string())
    }));
    crate::upcaster::upcast_all::<U>(events).map_err(|failure| Failure {
        index: failure.index,
        message: failure.message,
        trace: failure.trace,
    })
}

fn to_wit(schema: EventSchema) -> Schema {
    Schema {
        event_type: schema.event_type,
        schema_version: schema.schema_version,
    }
}
