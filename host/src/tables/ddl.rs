//! The SQL text that makes physical tables, indexes and public views, for both databases. Pure.
//!
//! | declared | SQLite | PostgreSQL |
//! |---|---|---|
//! | boolean | `BOOLEAN` (0 or 1) | `boolean` |
//! | integer | `INTEGER` | `bigint` |
//! | real | `REAL` | `double precision` |
//! | decimal(s) | `DECIMAL_TEXT(38,s)`: canonical text | `numeric(38,s)` |
//! | text | `TEXT` | `text COLLATE "C"` |
//! | bytes | `BLOB` | `bytea` |
//! | timestamp | `TIMESTAMP_TEXT`: `2026-01-31T23:59:59.000001Z` | `timestamptz` |
//! | json | `JSON_TEXT` | `json` |
//!
//! On SQLite the declared names are ours, and their endings give the affinity that SQLite derives from them; they tell
//! a reader of the view what a text means. A timestamp's text has a fixed width, so that it sorts as time does, and is
//! what SQLite's date functions take. There are no CHECKs: the host is the only writer, and its values are typed.
//!
//! On PostgreSQL, `json` and not `jsonb`: the text that a projector wrote comes back byte for byte, and U+0000 escapes
//! and numbers of any size are kept. Text compares by its bytes, as the contract orders keys.

use std::fmt::{self, Write as _};

use lamphouse_contract::{ColumnType, TableSchema};

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A table or view by name; displays as quoted SQL: `"lamphouse"."orders__g7"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its schema; None takes the connection's default.
    pub schema: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Relation<'a> {
    /// A name in the connection's default schema.
    pub fn named(name: &'a str) -> Self {
        Self { schema: None, name }
    }

    /// A name in a schema.
    pub fn within(schema: &'a str, name: &'a str) -> Self {
        Self {
            schema: Some(schema),
            name,
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = self.schema {
            write!(f, "{}.", quote(schema))?;
        }
        f.write_str(&quote(self.name))
    }
}

/// An identifier in double quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The SQL type of a column.
pub fn column_type(dialect: Dialect, kind: ColumnType) -> String {
    let name = match (dialect, kind) {
        (Dialect::Sqlite, ColumnType::Boolean) => "BOOLEAN",
        (Dialect::Sqlite, ColumnType::Integer) => "INTEGER",
        (Dialect::Sqlite, ColumnType::Real) => "REAL",
        (Dialect::Sqlite, ColumnType::Decimal(scale)) => return format!("DECIMAL_TEXT(38,{scale})"),
        (Dialect::Sqlite, ColumnType::Text) => "TEXT",
        (Dialect::Sqlite, ColumnType::Bytes) => "BLOB",
        (Dialect::Sqlite, ColumnType::Timestamp) => "TIMESTAMP_TEXT",
        (Dialect::Sqlite, ColumnType::Json) => "JSON_TEXT",
        (Dialect::Postgres, ColumnType::Boolean) => "boolean",
        (Dialect::Postgres, ColumnType::Integer) => "bigint",
        (Dialect::Postgres, ColumnType::Real) => "double precision",
        (Dialect::Postgres, ColumnType::Decimal(scale)) => return format!("numeric(38,{scale})"),
        (Dialect::Postgres, ColumnType::Text) => "text COLLATE \"C\"",
        (Dialect::Postgres, ColumnType::Bytes) => "bytea",
        (Dialect::Postgres, ColumnType::Timestamp) => "timestamptz",
        (Dialect::Postgres, ColumnType::Json) => "json",
    };
    name.to_owned()
}

/// `CREATE TABLE` of a physical table, with its key and without secondary indexes.
pub fn create_table(dialect: Dialect, relation: Relation<'_>, table: &TableSchema) -> String {
    let mut sql = format!("CREATE TABLE {relation} (");
    for column in &table.columns {
        let _ = write!(
            sql,
            "{} {}",
            quote(&column.name),
            column_type(dialect, column.kind)
        );
        sql.push_str(if column.nullable { ", " } else { " NOT NULL, " });
    }
    let _ = write!(sql, "PRIMARY KEY ({}))", key_columns(table));
    if dialect == Dialect::Sqlite && !is_rowid_table(table) {
        sql.push_str(" WITHOUT ROWID");
    }
    sql
}

/// Whether SQLite keeps the rows under a rowid of their own. One integer key is the rowid itself; rows that may be
/// large (json, bytes) belong in the leaves of a rowid table; all others are quicker kept in the key's own tree.
pub fn is_rowid_table(table: &TableSchema) -> bool {
    let integer_key = match table.primary_key.as_slice() {
        [one] => table.columns[*one as usize].kind == ColumnType::Integer,
        _ => false,
    };
    let large = |kind| matches!(kind, ColumnType::Json | ColumnType::Bytes);
    integer_key || table.columns.iter().any(|column| large(column.kind))
}

/// Name of a declared index of a physical table.
pub fn index_name(physical: &str, index: usize) -> String {
    format!("{physical}__i{index}")
}

/// `CREATE INDEX IF NOT EXISTS` of a declared index.
pub fn create_index(dialect: Dialect, relation: Relation<'_>, table: &TableSchema, index: usize) -> String {
    let name = index_name(relation.name, index);
    format!(
        "CREATE INDEX IF NOT EXISTS {} ON {relation} ({})",
        quote(&name),
        index_columns(dialect, table, index)
    )
}

/// The columns of a declared index. On SQLite the key follows, so that `find` gets its rows in key order. (Not on
/// PostgreSQL, where an index entry of an indexed text and a key together could be too large.)
pub fn index_columns(dialect: Dialect, table: &TableSchema, index: usize) -> String {
    let mut columns = table.indexes[index].clone();
    if dialect == Dialect::Sqlite {
        for column in &table.primary_key {
            if !columns.contains(column) {
                columns.push(*column);
            }
        }
    }
    names(table, &columns)
}

/// The key columns: `"a", "b"`.
pub fn key_columns(table: &TableSchema) -> String {
    names(table, &table.primary_key)
}

/// All columns in their order: `"a", "b", "c"`.
pub fn all_columns(table: &TableSchema) -> String {
    let all: Vec<u32> = (0u32..).take(table.columns.len()).collect();
    names(table, &all)
}

/// `SELECT` of all columns of one physical table.
pub fn select_all(source: Relation<'_>, table: &TableSchema) -> String {
    format!("SELECT {} FROM {source}", all_columns(table))
}

/// `CREATE VIEW` of a public name that shows one physical table.
pub fn create_view(view: Relation<'_>, source: Relation<'_>, table: &TableSchema) -> String {
    format!("CREATE VIEW {view} AS {}", select_all(source, table))
}

fn names(table: &TableSchema, columns: &[u32]) -> String {
    let quoted: Vec<String> = columns
        .iter()
        .map(|column| quote(&table.columns[*column as usize].name))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::sample;

    #[test]
    fn both_dialects_have_their_text() {
        let orders = sample::orders();
        let of = |dialect, relation| {
            [
                create_table(dialect, relation, &orders),
                create_index(dialect, relation, &orders, 0),
            ]
            .join("\n")
        };
        insta::assert_snapshot!(of(Dialect::Sqlite, Relation::named("orders__g7")), @r##"
    CREATE TABLE "orders__g7" ("order_id" TEXT NOT NULL, "customer_id" TEXT, "country" TEXT NOT NULL, "lines" INTEGER NOT NULL, "total" DECIMAL_TEXT(38,2) NOT NULL, "placed_at" TIMESTAMP_TEXT NOT NULL, PRIMARY KEY ("order_id")) WITHOUT ROWID
    CREATE INDEX IF NOT EXISTS "orders__g7__i0" ON "orders__g7" ("customer_id", "order_id")
    "##);
        insta::assert_snapshot!(of(Dialect::Postgres, Relation::within("lamphouse", "orders__g7")), @r##"
    CREATE TABLE "lamphouse"."orders__g7" ("order_id" text COLLATE "C" NOT NULL, "customer_id" text COLLATE "C", "country" text COLLATE "C" NOT NULL, "lines" bigint NOT NULL, "total" numeric(38,2) NOT NULL, "placed_at" timestamptz NOT NULL, PRIMARY KEY ("order_id"))
    CREATE INDEX IF NOT EXISTS "orders__g7__i0" ON "lamphouse"."orders__g7" ("customer_id")
    "##);
        insta::assert_snapshot!(
            create_view(Relation::named("orders"), Relation::within("lamphouse", "orders__g7"), &orders), @r#"CREATE VIEW "orders" AS SELECT "order_id", "customer_id", "country", "lines", "total", "placed_at" FROM "lamphouse"."orders__g7""#);
    }

    #[test]
    fn every_type_has_a_name_in_both_dialects() {
        let all = sample::everything();
        insta::assert_snapshot!(create_table(Dialect::Sqlite, Relation::named("everything__g1"), &all), @r#"CREATE TABLE "everything__g1" ("part" INTEGER NOT NULL, "name" TEXT NOT NULL, "flag" BOOLEAN, "count" INTEGER, "ratio" REAL, "price" DECIMAL_TEXT(38,4), "note" TEXT, "data" BLOB, "at" TIMESTAMP_TEXT, "doc" JSON_TEXT, PRIMARY KEY ("part", "name"))"#);
        insta::assert_snapshot!(create_table(Dialect::Postgres, Relation::named("everything__g1"), &all), @r#"CREATE TABLE "everything__g1" ("part" bigint NOT NULL, "name" text COLLATE "C" NOT NULL, "flag" boolean, "count" bigint, "ratio" double precision, "price" numeric(38,4), "note" text COLLATE "C", "data" bytea, "at" timestamptz, "doc" json, PRIMARY KEY ("part", "name"))"#);
    }

    #[test]
    fn a_quote_in_an_identifier_stays_inside_it() {
        assert_eq!(quote("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
