//! Values, changes and descriptors, from the guest's form to ours and back. The one place where what a guest said
//! becomes something that the host believes.

use lamphouse_contract::{
    Cell, CellChange, Change, Column, ColumnType, Decimal, DecimalError, Descriptor, EventSchema, Row, Rule,
    Subscription, TableSchema, UpcasterDescriptor, Value, packed,
};
use serde_json::value::RawValue;

use super::Lifted;
use super::bindings::{types, upcaster_types};
use super::cut::cut;

/// Bytes of a name in a message before it is known to be one.
const NAME_BYTES_MAX: usize = 60;

/// Values of a row, a key or a prefix from a guest; the error says which is wrong, by its place, and why.
pub(super) fn values_in(values: Vec<types::Value>) -> Result<Row, (usize, String)> {
    let numbered = values.into_iter().enumerate();
    numbered
        .map(|(index, value)| value_in(value).map_err(|why| (index, why)))
        .collect()
}

/// An event for a guest, as a record that borrows.
pub(super) fn event_out<'e>(event: &packed::Event<'e>) -> types::Event<'e> {
    types::Event {
        position: event.position,
        part: event.part,
        id: event.id,
        stream_id: event.stream_id,
        stream_type: event.stream_type,
        stream_version: event.stream_version,
        event_type: event.event_type,
        schema_version: event.schema_version,
        data: event.data,
        metadata: event.metadata,
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
    }
}

/// A row for a guest.
pub(super) fn row_out(row: &[Value]) -> Vec<types::Value> {
    row.iter().map(value_out).collect()
}

/// Cells from a guest; the error says which column's is wrong, and why.
pub(super) fn cells_in(cells: Vec<types::Cell>) -> Result<Vec<Cell>, (u32, String)> {
    let cell_in = |cell: types::Cell| {
        let named = |value| value_in(value).map_err(|why| (cell.column, why));
        let change = match cell.change {
            types::CellChange::Set(value) => CellChange::Set(named(value)?),
            types::CellChange::Add(value) => CellChange::Add(named(value)?),
        };
        Ok(Cell {
            column: cell.column,
            change,
        })
    };
    cells.into_iter().map(cell_in).collect()
}

fn value_in(value: types::Value) -> Result<Value, String> {
    Ok(match value {
        types::Value::Null => Value::Null,
        types::Value::Boolean(value) => Value::Boolean(value),
        types::Value::Integer(value) => Value::Integer(value),
        types::Value::Real(value) => Value::Real(value),
        types::Value::Decimal(text) => Value::Decimal(decimal_in(&text)?),
        types::Value::Text(text) => Value::Text(text.into()),
        types::Value::Bytes(bytes) => Value::Bytes(bytes.into()),
        types::Value::Timestamp(micros) => Value::Timestamp(micros),
        types::Value::Json(text) => Value::Json(text.into()),
    })
}

fn value_out(value: &Value) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Boolean(value) => types::Value::Boolean(*value),
        Value::Integer(value) => types::Value::Integer(*value),
        Value::Real(value) => types::Value::Real(*value),
        Value::Decimal(decimal) => types::Value::Decimal(decimal.to_string()),
        Value::Text(text) => types::Value::Text(text.to_string()),
        Value::Bytes(bytes) => types::Value::Bytes(bytes.to_vec()),
        Value::Timestamp(micros) => types::Value::Timestamp(*micros),
        Value::Json(text) => types::Value::Json(text.to_string()),
    }
}

fn decimal_in(text: &str) -> Result<Decimal, String> {
    let shown: String = text.chars().take(60).collect();
    Decimal::parse(text).map_err(|error| match error {
        DecimalError::Syntax(_) => error.to_string(),
        error => format!("decimal '{shown}' has {error}"),
    })
}

/// What a row weighs: its texts and bytes, and a word for each value.
pub(super) fn row_bytes(row: &[Value]) -> u64 {
    row.iter().map(value_bytes).sum()
}

/// What a change weighs, as a row does.
pub(super) fn change_bytes(change: &Change) -> u64 {
    let cells = |cells: &[Cell]| {
        let of_cell = |cell: &Cell| match &cell.change {
            CellChange::Set(value) | CellChange::Add(value) => value_bytes(value),
        };
        cells.iter().map(of_cell).sum::<u64>()
    };
    match change {
        Change::Put { row, .. } => row_bytes(row),
        Change::Patch {
            key, cells: changed, ..
        }
        | Change::Upsert {
            key, cells: changed, ..
        } => row_bytes(key) + cells(changed),
        Change::Remove { key, .. } => row_bytes(key),
    }
}

fn value_bytes(value: &Value) -> u64 {
    const WORD: u64 = 8;
    match value {
        Value::Text(text) | Value::Json(text) => WORD + text.len() as u64,
        Value::Bytes(bytes) => WORD + bytes.len() as u64,
        _ => WORD,
    }
}

/// A descriptor from a guest, as it stands; the errors are of values that are none.
pub(super) fn descriptor_in(descriptor: types::Descriptor) -> Result<Descriptor, Vec<String>> {
    let mut problems = Vec::new();
    let tables = descriptor
        .tables
        .into_iter()
        .map(|table| table_in(table, &mut problems))
        .collect();
    let subscription_in = |subscription: types::Subscription| Subscription {
        event_type: subscription.event_type,
        stream_type: subscription.stream_type,
        schema_versions: subscription.schema_versions,
    };
    let descriptor = Descriptor {
        name: descriptor.name,
        version: descriptor.version,
        subscriptions: descriptor
            .subscriptions
            .into_iter()
            .map(subscription_in)
            .collect(),
        tables,
        options: descriptor.options,
    };
    if problems.is_empty() {
        Ok(descriptor)
    } else {
        Err(problems)
    }
}

/// What an upcaster says of itself, not yet checked.
pub(super) fn upcaster_descriptor_in(descriptor: upcaster_types::UpcasterDescriptor) -> UpcasterDescriptor {
    UpcasterDescriptor {
        name: descriptor.name,
        version: descriptor.version,
        rules: descriptor
            .rules
            .into_iter()
            .map(|rule| Rule {
                takes: schema_in(rule.takes),
                gives: rule.gives.into_iter().map(schema_in).collect(),
            })
            .collect(),
        options: descriptor.options,
    }
}

fn schema_in(schema: upcaster_types::Schema) -> EventSchema {
    EventSchema {
        event_type: schema.event_type,
        schema_version: schema.schema_version,
    }
}

/// An event out of an upcaster; the error says what no event may hold.
pub(super) fn lifted_in(lifted: upcaster_types::Lifted) -> Result<Lifted, String> {
    is_data(&lifted.data)?;
    is_metadata(&lifted.metadata)?;
    Ok(Lifted {
        schema: schema_in(lifted.schema),
        data: lifted.data,
        metadata: lifted.metadata,
    })
}

/// An event out of an upcaster of the packed lane, made of `given`; the error says what no event may hold.
pub(super) fn packed_lifted_in(
    lifted: &packed::Lifted<'_>,
    given: &packed::Event<'_>,
) -> Result<Lifted, String> {
    lifted.data.map_or(Ok(()), is_data)?;
    lifted.metadata.map_or(Ok(()), is_metadata)?;
    Ok(Lifted {
        schema: EventSchema {
            event_type: lifted.event_type.to_owned(),
            schema_version: lifted.schema_version,
        },
        data: lifted.data.unwrap_or(given.data).to_owned(),
        metadata: lifted.metadata.unwrap_or(given.metadata).to_owned(),
    })
}

fn is_data(text: &str) -> Result<(), String> {
    is_json("data", text)
}

fn is_metadata(text: &str) -> Result<(), String> {
    is_json("metadata", text)?;
    match text.trim_start().starts_with('{') {
        true => Ok(()),
        false => Err("its metadata is JSON, but no object".to_owned()),
    }
}

fn is_json(what: &str, text: &str) -> Result<(), String> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("its {what} is not JSON: {error}")),
    }
}

fn table_in(table: types::TableSchema, problems: &mut Vec<String>) -> TableSchema {
    let mut column_in = |column: types::Column| {
        let initial = column.initial.map(value_in).transpose().unwrap_or_else(|why| {
            problems.push(format!(
                "table '{}', column '{}': initial: {why}",
                cut(&table.name, NAME_BYTES_MAX),
                cut(&column.name, NAME_BYTES_MAX)
            ));
            None
        });
        Column {
            kind: kind_in(column.kind),
            nullable: column.nullable,
            initial,
            name: column.name,
        }
    };
    TableSchema {
        columns: table.columns.into_iter().map(&mut column_in).collect(),
        name: table.name,
        primary_key: table.primary_key,
        indexes: table.indexes,
    }
}

fn kind_in(kind: types::ColumnType) -> ColumnType {
    match kind {
        types::ColumnType::Boolean => ColumnType::Boolean,
        types::ColumnType::Integer => ColumnType::Integer,
        types::ColumnType::Real => ColumnType::Real,
        types::ColumnType::Decimal(scale) => ColumnType::Decimal(scale),
        types::ColumnType::Text => ColumnType::Text,
        types::ColumnType::Bytes => ColumnType::Bytes,
        types::ColumnType::Timestamp => ColumnType::Timestamp,
        types::ColumnType::Json => ColumnType::Json,
    }
}
