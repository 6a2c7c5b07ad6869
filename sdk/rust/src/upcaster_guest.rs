//! The sandbox's side of upcasters: the bindings of world `upcaster-plugin`, and what [`crate::export_upcaster!`] needs
//! of them.

use lamphouse_contract::{EventSchema, packed};

use crate::log::Level;
use crate::upcaster::upcast as upcast_one;
use crate::{Event, Result, Upcaster};

#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "upcaster-plugin",
        pub_export_macro: true,
        default_bindings_module: "lamphouse_sdk::upcaster_guest::bindings",
    });
}

pub use bindings::exports::lamphouse::plugin::upcaster::{
    Event as StoredEvent, Failure, Guest, Lifted, UpcasterDescriptor,
};
use bindings::exports::lamphouse::plugin::upcaster::{Rule, Schema};

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
pub fn upcast<U: Upcaster>(events: &[StoredEvent]) -> Result<Vec<Vec<Lifted>>, Failure> {
    // A trap tells the host where, but not why: that is in the panic's message.
    std::panic::set_hook(Box::new(|panic| {
        crate::guest::write_log(Level::Error, &panic.to_string())
    }));
    let events = events.iter().enumerate();
    let lifted = events.map(|(index, event)| {
        let event = Event(packed::Event {
            position: event.position,
            part: event.part,
            id: &event.id,
            stream_id: &event.stream_id,
            stream_type: &event.stream_type,
            stream_version: event.stream_version,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            data: &event.data,
            metadata: &event.metadata,
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
        });
        let given = upcast_one::<U>(event, index).map_err(|failure| Failure {
            index: failure.index,
            message: failure.message,
            trace: failure.trace,
        })?;
        Ok(given
            .into_iter()
            .map(|given| Lifted {
                schema: to_wit(given.schema),
                data: given.data,
                metadata: given.metadata,
            })
            .collect())
    });
    lifted.collect()
}

fn to_wit(schema: EventSchema) -> Schema {
    Schema {
        event_type: schema.event_type,
        schema_version: schema.schema_version,
    }
}
