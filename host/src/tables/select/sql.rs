//! The statements, for both databases. Identifiers come from the schema and are quoted; values are bound.

use std::fmt::Write as _;

use lamphouse_contract::{Column, ColumnType, Decimal, Value};

use super::Comparison;
use super::check::{Checked, Condition, Term};
use crate::tables::ddl::{self, Dialect, Relation};

/// A collation of SQLite's that orders texts by number; see the folder for SQLite.
const DECIMAL: &str = " COLLATE lamphouse_decimal";

/// A function of SQLite's: `like(PATTERN, TEXT, ANY_CASE)`.
const LIKE: &str = "lamphouse_like";

/// A statement and what is bound to it, in order.
#[derive(Debug, PartialEq)]
pub(in crate::tables) struct Statement {
    pub(in crate::tables) text: String,
    pub(in crate::tables) values: Vec<Bound>,
}

/// One parameter.
#[derive(Debug, PartialEq)]
pub(in crate::tables) enum Bound {
    /// One value.
    One(ColumnType, Value),
    /// A list in one parameter; PostgreSQL alone.
    Many(ColumnType, Vec<Value>),
}

/// The rows: one more than the limit, which says whether there are more.
pub(in crate::tables) fn rows(dialect: Dialect, relation: Relation<'_>, checked: &Checked<'_>) -> Statement {
    let mut writer = Writer::new(dialect);
    let columns: Vec<String> = checked
        .columns
        .iter()
        .map(|(place, _)| name(&checked.schema.columns[*place]))
        .collect();
    let _ = write!(writer.text, "SELECT {} FROM {relation} AS t", columns.join(", "));
    writer.filter(checked);
    let terms: Vec<String> = checked
        .order
        .iter()
        .map(|term| writer.term(checked, term))
        .collect();
    let _ = write!(writer.text, " ORDER BY {}", terms.join(", "));
    writer.text.push_str(" LIMIT ");
    writer.number(checked.limit.saturating_add(1));
    writer.text.push_str(" OFFSET ");
    writer.number(checked.offset);
    writer.end()
}

/// The number of rows that meet the filter.
pub(in crate::tables) fn count(dialect: Dialect, relation: Relation<'_>, checked: &Checked<'_>) -> Statement {
    let mut writer = Writer::new(dialect);
    let _ = write!(writer.text, "SELECT count(*) FROM {relation} AS t");
    writer.filter(checked);
    writer.end()
}

fn name(column: &Column) -> String {
    format!("t.{}", ddl::quote(&column.name))
}

struct Writer {
    dialect: Dialect,
    text: String,
    values: Vec<Bound>,
}

impl Writer {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            text: String::new(),
            values: Vec::new(),
        }
    }

    fn end(self) -> Statement {
        Statement {
            text: self.text,
            values: self.values,
        }
    }

    fn filter(&mut self, checked: &Checked<'_>) {
        if checked.filter != Condition::All(Vec::new()) {
            self.text.push_str(" WHERE ");
            self.condition(checked, &checked.filter);
        }
    }

    fn condition(&mut self, checked: &Checked<'_>, condition: &Condition) {
        let column = |place: &usize| &checked.schema.columns[*place];
        match condition {
            Condition::All(all) => self.joined(checked, all, " AND ", "1 = 1"),
            Condition::Any(any) => self.joined(checked, any, " OR ", "1 = 0"),
            Condition::Not(not) => {
                self.text.push_str("NOT (");
                self.condition(checked, not);
                self.text.push(')');
            }
            Condition::Compare(place, comparison, value) => self.compare(column(place), *comparison, value),
            Condition::In(place, values) => self.is_one_of(column(place), values),
            Condition::Like(place, pattern, any_case) => self.like(column(place), pattern, *any_case),
            Condition::IsNull(place) => {
                let _ = write!(self.text, "{} IS NULL", name(column(place)));
            }
            Condition::Is(place, value) => {
                let word = if *value { "TRUE" } else { "FALSE" };
                let _ = write!(self.text, "{} IS {word}", name(column(place)));
            }
        }
    }

    fn joined(&mut self, checked: &Checked<'_>, all: &[Condition], word: &str, nothing: &str) {
        if all.is_empty() {
            self.text.push_str(nothing);
            return;
        }
        for (place, one) in all.iter().enumerate() {
            self.text.push_str(if place == 0 { "(" } else { word });
            self.condition(checked, one);
        }
        self.text.push(')');
    }

    fn compare(&mut self, column: &Column, comparison: Comparison, value: &Value) {
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let values = std::slice::from_ref(value);
        let operand = self.operand(column, is_equality, values);
        let _ = write!(self.text, "{operand} {} ", comparison.sign());
        self.bind(column.kind, value.clone());
    }

    fn is_one_of(&mut self, column: &Column, values: &[Value]) {
        let operand = self.operand(column, true, values);
        if self.dialect == Dialect::Postgres {
            let list = values.iter().map(|value| as_text(column.kind, value.clone()).1);
            self.values
                .push(Bound::Many(as_text(column.kind, Value::Null).0, list.collect()));
            let _ = write!(
                self.text,
                "{operand} = ANY (${}::{}[])",
                self.values.len(),
                cast(column.kind)
            );
            return;
        }
        let _ = write!(self.text, "{operand} IN (");
        for (place, value) in values.iter().enumerate() {
            self.text.push_str(if place == 0 { "" } else { ", " });
            self.bind(column.kind, value.clone());
        }
        self.text.push(')');
    }

    fn like(&mut self, column: &Column, pattern: &str, any_case: bool) {
        let operand = self.operand(column, false, &[]);
        let pattern = Value::Text(pattern.into());
        match self.dialect {
            Dialect::Postgres => {
                let word = if any_case { "ILIKE" } else { "LIKE" };
                let _ = write!(self.text, "{operand} {word} ");
                self.bind(ColumnType::Text, pattern);
            }
            Dialect::Sqlite => {
                let _ = write!(self.text, "{LIKE}(");
                self.bind(ColumnType::Text, pattern);
                let _ = write!(self.text, ", {operand}, {})", u8::from(any_case));
            }
        }
    }

    /// The column as it is compared. On PostgreSQL, JSON is compared as the text that it is; there is no `=` for it. On
    /// SQLite, decimals are texts in one form for each number of the column's scale: equality with such a one is
    /// equality of texts, by which an index is found; all else goes by number.
    fn operand(&self, column: &Column, is_equality: bool, values: &[Value]) -> String {
        let name = name(column);
        match (self.dialect, column.kind) {
            (Dialect::Postgres, ColumnType::Json) => format!("{name}::text COLLATE \"C\""),
            (Dialect::Sqlite, ColumnType::Decimal(scale)) => {
                let is_of_scale =
                    |value: &Value| matches!(value, Value::Decimal(number) if has_scale(number, scale));
                if is_equality && values.iter().all(is_of_scale) {
                    name
                } else {
                    format!("{name}{DECIMAL}")
                }
            }
            _ => name,
        }
    }

    /// One term of the order. Only a nullable column says where its nulls go, so that an index serves the others.
    fn term(&self, checked: &Checked<'_>, term: &Term) -> String {
        let column = &checked.schema.columns[term.column];
        let mut text = self.operand(column, false, &[]);
        if term.descending {
            text.push_str(" DESC");
        }
        if column.nullable {
            text.push_str(if term.nulls_first {
                " NULLS FIRST"
            } else {
                " NULLS LAST"
            });
        }
        text
    }

    fn bind(&mut self, kind: ColumnType, value: Value) {
        let (kind, value) = as_text(kind, value);
        self.values.push(Bound::One(kind, value));
        match self.dialect {
            Dialect::Sqlite => self.text.push('?'),
            Dialect::Postgres => {
                let _ = write!(self.text, "${}::{}", self.values.len(), cast(kind));
            }
        }
    }

    /// A count of rows; beyond what a database can count, as much as it can.
    fn number(&mut self, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.bind(ColumnType::Integer, Value::Integer(number));
    }
}

/// JSON is compared as the text that it is.
fn as_text(kind: ColumnType, value: Value) -> (ColumnType, Value) {
    let kind = if kind == ColumnType::Json {
        ColumnType::Text
    } else {
        kind
    };
    match value {
        Value::Json(text) => (kind, Value::Text(text)),
        value => (kind, value),
    }
}

fn has_scale(number: &Decimal, scale: u8) -> bool {
    number.scale() == scale
}

/// The type of a parameter, as PostgreSQL calls it.
fn cast(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "bigint",
        ColumnType::Real => "double precision",
        ColumnType::Decimal(_) => "numeric",
        ColumnType::Text | ColumnType::Json => "text",
        ColumnType::Bytes => "bytea",
        ColumnType::Timestamp => "timestamptz",
    }
}
