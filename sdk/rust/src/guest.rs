//! The sandbox's side: the bindings of world `packed-projector-plugin`, and what [`crate::export!`] needs of them.

use lamphouse_contract as contract;

use crate::host::Host;
use crate::log::Level;
use crate::{Projector, Result};

#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "packed-projector-plugin",
        pub_export_macro: true,
        default_bindings_module: "lamphouse_sdk::guest::bindings",
    });
}

pub use bindings::exports::lamphouse::plugin::packed_projector::Guest;
use bindings::lamphouse::plugin::{log, tables, types};
pub use types::{Descriptor, Failure};

struct Sandbox;

impl Host for Sandbox {
    fn apply(&mut self, changes: &[u8]) -> Result<()> {
        tables::apply(changes);
        Ok(())
    }

    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>> {
        Ok(tables::read(reads))
    }

    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: &[contract::Value],
        after: Option<&contract::Key>,
        limit: u32,
    ) -> Result<Vec<contract::Row>> {
        let prefix: Vec<types::Value> = prefix.iter().map(to_wit).collect();
        let after: Option<Vec<types::Value>> = after.map(|key| key.iter().map(to_wit).collect());
        let rows = tables::find(table, index, &prefix, after.as_deref(), limit);
        rows.into_iter()
            .map(|row| row.into_iter().map(from_wit).collect())
            .collect()
    }
}

pub(crate) fn write_log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message);
}

/// What the exported `describe` gives.
pub fn describe<P: Projector>() -> Descriptor {
    let contract::Descriptor {
        name,
        version,
        subscriptions,
        tables,
        options,
    } = P::describe().into_descriptor();
    Descriptor {
        name,
        version,
        subscriptions: subscriptions
            .into_iter()
            .map(|subscription| types::Subscription {
                event_type: subscription.event_type,
                stream_type: subscription.stream_type,
                schema_versions: subscription.schema_versions,
            })
            .collect(),
        tables: tables.into_iter().map(table_to_wit).collect(),
        options,
    }
}

/// Memory that a call needs for each byte of its events: what is read of them, the rows, and what goes back.
const ROOM_PER_BYTE: usize = 4;
/// Most that is asked for ahead; a call of more than a mebibyte has large events, of which less is kept.
const ROOM_BYTES_MAX: usize = 4 << 20;

/// Has the memory grow once, for all that a call of so many bytes will need: else it grows in steps of 64 KiB, each a call
/// of the system by the host. Where it may not grow so far, nothing is lost.
fn make_room(bytes: usize) {
    let mut room: Vec<u8> = Vec::new();
    let wanted = bytes.saturating_mul(ROOM_PER_BYTE).min(ROOM_BYTES_MAX);
    // The allocator keeps what it was given. A compiler that sees that nobody uses it would leave it out.
    let _ = std::hint::black_box(&mut room).try_reserve_exact(wanted);
}

/// What the exported `project` does.
pub fn project<P: Projector>(events: &[u8]) -> Result<Vec<u8>, Failure> {
    make_room(events.len());
    // A trap tells the host where, but not why: that is in the panic's message.
    std::panic::set_hook(Box::new(|panic| write_log(Level::Error, &panic.to_string())));
    crate::run::run::<P>(&P::describe(), events, &mut Sandbox).map_err(|failure| Failure {
        index: failure.index,
        message: failure.message,
        trace: failure.trace,
    })
}

fn table_to_wit(table: contract::TableSchema) -> types::TableSchema {
    types::TableSchema {
        name: table.name,
        columns: table
            .columns
            .into_iter()
            .map(|column| types::Column {
                name: column.name,
                kind: match column.kind {
                    contract::ColumnType::Boolean => types::ColumnType::Boolean,
                    contract::ColumnType::Integer => types::ColumnType::Integer,
                    contract::ColumnType::Real => types::ColumnType::Real,
                    contract::ColumnType::Decimal(scale) => types::ColumnType::Decimal(scale),
                    contract::ColumnType::Text => types::ColumnType::Text,
                    contract::ColumnType::Bytes => types::ColumnType::Bytes,
                    contract::ColumnType::Timestamp => types::ColumnType::Timestamp,
                    contract::ColumnType::Json => types::ColumnType::Json,
                },
                nullable: column.nullable,
                initial: column.initial.as_ref().map(to_wit),
            })
            .collect(),
        primary_key: table.primary_key,
        indexes: table.indexes,
    }
}

fn to_wit(value: &contract::Value) -> types::Value {
    match value {
        contract::Value::Null => types::Value::Null,
        contract::Value::Boolean(value) => types::Value::Boolean(*value),
        contract::Value::Integer(value) => types::Value::Integer(*value),
        contract::Value::Real(value) => types::Value::Real(*value),
        contract::Value::Decimal(value) => types::Value::Decimal(value.to_string()),
        contract::Value::Text(value) => types::Value::Text(value.to_string()),
        contract::Value::Bytes(value) => types::Value::Bytes(value.to_vec()),
        contract::Value::Timestamp(value) => types::Value::Timestamp(*value),
        contract::Value::Json(value) => types::Value::Json(value.to_string()),
    }
}

fn from_wit(value: types::Value) -> Result<contract::Value> {
    Ok(match value {
        types::Value::Null => contract::Value::Null,
        types::Value::Boolean(value) => contract::Value::Boolean(value),
        types::Value::Integer(value) => contract::Value::Integer(value),
        types::Value::Real(value) => contract::Value::Real(value),
        types::Value::Decimal(value) => contract::Value::Decimal(contract::Decimal::parse(&value)?),
        types::Value::Text(value) => contract::Value::Text(value.into_boxed_str()),
        types::Value::Bytes(value) => contract::Value::Bytes(value.into_boxed_slice()),
        types::Value::Timestamp(value) => contract::Value::Timestamp(value),
        types::Value::Json(value) => contract::Value::Json(value.into_boxed_str()),
    })
}
