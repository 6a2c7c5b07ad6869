//! Tables for the tests of this folder.

use std::sync::Arc;

use lamphouse_contract::{Column, ColumnType, Descriptor, TableSchema};

/// A column that is never null.
pub(crate) fn column(name: &str, kind: ColumnType) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        nullable: false,
        initial: None,
    }
}

/// A column that may be null.
pub(crate) fn nullable(name: &str, kind: ColumnType) -> Column {
    Column {
        nullable: true,
        ..column(name, kind)
    }
}

/// A table.
pub(crate) fn table(name: &str, columns: Vec<Column>, key: &[u32], indexes: &[&[u32]]) -> TableSchema {
    TableSchema {
        name: name.to_owned(),
        columns,
        primary_key: key.to_vec(),
        indexes: indexes.iter().map(|columns| columns.to_vec()).collect(),
    }
}

/// `orders(order_id key, customer_id null, country, lines, total, placed_at)`, indexed by customer and by
/// country and lines.
pub(crate) fn orders() -> TableSchema {
    use ColumnType::{Decimal, Integer, Text, Timestamp};
    let columns = vec![
        column("order_id", Text),
        nullable("customer_id", Text),
        column("country", Text),
        column("lines", Integer),
        column("total", Decimal(2)),
        column("placed_at", Timestamp),
    ];
    table("orders", columns, &[0], &[&[1], &[2, 3]])
}

/// `customers(customer_id key, orders, net)`.
pub(crate) fn customers() -> TableSchema {
    use ColumnType::{Decimal, Integer, Text};
    let columns = vec![
        column("customer_id", Text),
        column("orders", Integer),
        column("net", Decimal(2)),
    ];
    table("customers", columns, &[0], &[])
}

/// One column of every type, null and not null, under a key of two columns.
pub(crate) fn everything() -> TableSchema {
    use ColumnType::{Boolean, Bytes, Decimal, Integer, Json, Real, Text, Timestamp};
    let columns = vec![
        column("part", Integer),
        column("name", Text),
        nullable("flag", Boolean),
        nullable("count", Integer),
        nullable("ratio", Real),
        nullable("price", Decimal(4)),
        nullable("note", Text),
        nullable("data", Bytes),
        nullable("at", Timestamp),
        nullable("doc", Json),
    ];
    table("everything", columns, &[0, 1], &[&[1], &[4]])
}

/// A descriptor of these tables.
pub(crate) fn descriptor(name: &str, version: &str, tables: Vec<TableSchema>) -> Arc<Descriptor> {
    Arc::new(Descriptor {
        name: name.to_owned(),
        version: version.to_owned(),
        subscriptions: Vec::new(),
        tables,
        options: Vec::new(),
    })
}
