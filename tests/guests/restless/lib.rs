//! Writes its chance, fails, and breaks. Rust for `wasm32-unknown-unknown` has neither a clock nor a random source: a
//! plugin that asks for the time panics.

use lamphouse_sdk::prelude::*;

/// What was read.
#[derive(Row)]
#[row(table = "readings")]
pub struct Reading {
    #[row(key)]
    pub stream_id: String,
    pub clock: String,
    pub chance: String,
}

/// The projector.
pub struct Restless;

impl Projector for Restless {
    fn describe() -> Plugin {
        Plugin::new("restless", "0.1.0")
            .on("Ticked")
            .on("Erred")
            .on("Broke")
            .table::<Reading>()
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        match event.event_type {
            "Ticked" => tables.put(Reading {
                stream_id: event.stream_id.into(),
                clock: event.occurred_at().to_string(),
                chance: event.random().uuid(),
            }),
            "Erred" => fault!("the weather in {} is bad", event.stream_id),
            _ => deeper(None),
        }
    }
}

fn deeper(reading: Option<u8>) -> Result<()> {
    assert_eq!(reading.expect("a reading that is gone"), 7);
    Ok(())
}

lamphouse_sdk::export!(Restless);
