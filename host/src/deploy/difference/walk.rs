//! Two generations side by side, in the order of their keys, and where a page of that begins and ends.

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use lamphouse_contract::{Key, Row, TableSchema, Value, packed, semantics};
use serde_json::{Map, Value as Json};

use super::super::operator::OperateError;
use super::{Comparison, RowChange, away, keys};
use crate::tables::{GenerationRecord, TableReader, TableStore, answer};

/// Differences of one page at the most.
const LIMIT_MAX: u64 = 1_000;
/// Rows that are read of each generation at once.
const PAGE_ROWS: usize = 500;
/// Bytes of the differences of one page, about; later ones are left to the next.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// A page ends after this time even where little differs.
const TIME_MAX: Duration = Duration::from_secs(8);

/// One page on its way.
pub(super) struct Walk<'w> {
    store: &'w dyn TableStore,
    from: &'w GenerationRecord,
    to: &'w GenerationRecord,
    limit: usize,
    until: Instant,
    bytes: usize,
    pub(super) rows: Vec<RowChange>,
    /// Rows that were compared.
    pub(super) compared: u64,
}

/// The rows of one table of one generation, in key order.
struct Rows {
    reader: Box<dyn TableReader>,
    table: usize,
    schema: TableSchema,
    page: std::vec::IntoIter<Row>,
    /// The last key that was read; where the next page begins.
    last: Option<Key>,
    is_over: bool,
    /// The next row, with its key in the form that sorts.
    next: Option<(Vec<u8>, Row)>,
}

impl<'w> Walk<'w> {
    /// At its beginning.
    pub(super) fn new(
        store: &'w dyn TableStore,
        (from, to): (&'w GenerationRecord, &'w GenerationRecord),
        limit: u64,
    ) -> Self {
        Self {
            store,
            from,
            to,
            limit: usize::try_from(limit.clamp(1, LIMIT_MAX)).unwrap_or(1),
            until: Instant::now() + TIME_MAX,
            bytes: 0,
            rows: Vec::new(),
            compared: 0,
        }
    }

    /// Goes through the tables; gives where to go on, if that is not the end.
    pub(super) fn tables(&mut self, wanted: &Comparison) -> Result<Option<String>, OperateError> {
        let mut names: Vec<&String> = self
            .from
            .descriptor
            .tables
            .iter()
            .map(|table| &table.name)
            .collect();
        names.extend(self.to.descriptor.tables.iter().map(|table| &table.name));
        names.sort();
        names.dedup();
        if let Some(only) = &wanted.table {
            if !names.contains(&only) {
                let all: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                return Err(OperateError::NotFound(format!(
                    "neither generation has a table '{only}'; there are: {}",
                    all.join(", ")
                )));
            }
            names.retain(|name| *name == only);
        }
        let start = wanted.after.as_deref().map(cursor).transpose()?;
        if let Some((table, _)) = &start
            && !names.contains(&table)
        {
            return Err(wrong_cursor());
        }
        for name in names {
            let after = match &start {
                Some((table, _)) if name < table => continue,
                Some((table, key)) if name == table => key.clone(),
                _ => None,
            };
            if let Some(key) = self.table(name, after)? {
                return Ok(Some(cursor_text(name, key.as_ref())));
            }
        }
        Ok(None)
    }

    /// Compares one table; where the page is full, gives the last key that was dealt with, if there was one.
    fn table(&mut self, name: &str, after: Option<Key>) -> Result<Option<Option<Key>>, OperateError> {
        let place = |record: &GenerationRecord| {
            let mut tables = record.descriptor.tables.iter();
            tables.position(|table| table.name == *name)
        };
        let (old, new) = (place(self.from), place(self.to));
        if let (Some(old), Some(new)) = (old, new)
            && keys(&self.from.descriptor.tables[old]) != keys(&self.to.descriptor.tables[new])
        {
            // The tables' own differences say it.
            return Ok(None);
        }
        let mut old = self.rows_of(self.from, old, after.as_ref())?;
        let mut new = self.rows_of(self.to, new, after.as_ref())?;
        let mut last = after;
        loop {
            // Between two rows, so that a page goes on behind the last one.
            let is_full = self.rows.len() >= self.limit || self.bytes > ANSWER_BYTES_MAX;
            let is_late =
                self.compared > 0 && self.compared.is_multiple_of(64) && Instant::now() >= self.until;
            if is_full || is_late {
                let mut is_left = false;
                for rows in [&mut old, &mut new].into_iter().flatten() {
                    is_left |= rows.peek()?.is_some();
                }
                return Ok(is_left.then_some(last));
            }
            let ahead = |rows: &mut Option<Rows>| match rows {
                Some(rows) => rows.peek().map(|key| key.map(<[u8]>::to_vec)),
                None => Ok(None),
            };
            let order = match (ahead(&mut old)?, ahead(&mut new)?) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.cmp(&new),
            };
            let taken = |rows: &mut Option<Rows>, is_due: bool| {
                let rows = rows.as_mut().filter(|_| is_due)?;
                let row = rows.next.take()?.1;
                Some((rows.schema.clone(), row))
            };
            let was = taken(&mut old, order.is_le());
            let is = taken(&mut new, order.is_ge());
            self.compared += 1;
            let key = match (&was, &is) {
                (Some((schema, row)), _) | (None, Some((schema, row))) => semantics::key_of(schema, row),
                (None, None) => return Ok(None),
            };
            if let Some(change) = change(name, was.as_ref(), is.as_ref()) {
                self.bytes += size(was.as_ref()) + size(is.as_ref());
                self.rows.push(change);
            }
            last = Some(key);
        }
    }

    fn rows_of(
        &self,
        generation: &GenerationRecord,
        table: Option<usize>,
        after: Option<&Key>,
    ) -> Result<Option<Rows>, OperateError> {
        let Some(table) = table else { return Ok(None) };
        let schema = generation.descriptor.tables[table].clone();
        if let Some(key) = after
            && !fits(&schema, key)
        {
            return Err(wrong_cursor());
        }
        Ok(Some(Rows {
            reader: self.store.reader(generation).map_err(away)?,
            table,
            schema,
            page: Vec::new().into_iter(),
            last: after.cloned(),
            is_over: false,
            next: None,
        }))
    }
}

impl Rows {
    /// The key of the next row in the form that sorts.
    fn peek(&mut self) -> Result<Option<&[u8]>, OperateError> {
        if self.next.is_none() && !self.is_over {
            if self.page.as_slice().is_empty() {
                let page = self.reader.scan(self.table, self.last.as_ref(), PAGE_ROWS);
                self.page = page.map_err(away)?.into_iter();
            }
            match self.page.next() {
                Some(row) => {
                    let key = semantics::key_of(&self.schema, &row);
                    let mut ordered = Vec::new();
                    semantics::ordered_key(&key, &mut ordered);
                    self.last = Some(key);
                    self.next = Some((ordered, row));
                }
                None => self.is_over = true,
            }
        }
        Ok(self.next.as_ref().map(|(key, _)| key.as_slice()))
    }
}

type SchemaRow = (TableSchema, Row);

fn change(table: &str, was: Option<&SchemaRow>, is: Option<&SchemaRow>) -> Option<RowChange> {
    let (kind, columns) = match (was, is) {
        (Some((old, was)), Some((new, is))) => {
            let columns = columns_that_differ(old, was, new, is);
            if columns.is_empty() {
                return None;
            }
            ("changed", columns)
        }
        (Some(_), None) => ("only_from", Vec::new()),
        (None, Some(_)) => ("only_to", Vec::new()),
        (None, None) => return None,
    };
    let (schema, row) = was.or(is)?;
    let key = schema.primary_key.iter().filter_map(|place| {
        let place = *place as usize;
        Some((
            schema.columns.get(place)?.name.clone(),
            answer::cell(row.get(place)?),
        ))
    });
    Some(RowChange {
        table: table.to_owned(),
        key: key.collect(),
        kind: kind.to_owned(),
        columns,
        from: was.map(shown),
        to: is.map(shown),
    })
}

/// Columns that both have; what only one has is a difference of the tables.
fn columns_that_differ(old: &TableSchema, was: &Row, new: &TableSchema, is: &Row) -> Vec<String> {
    let mut differ = Vec::new();
    for (column, value) in old.columns.iter().zip(was.iter()) {
        let Some(place) = new.columns.iter().position(|other| other.name == column.name) else {
            continue;
        };
        let Some(other) = is.get(place) else { continue };
        let is_same = match (value, other) {
            // What a database keeps of JSON is the value, not the text.
            (Value::Json(_), Value::Json(_)) => value == other || answer::cell(value) == answer::cell(other),
            _ => value == other,
        };
        if !is_same {
            differ.push(column.name.clone());
        }
    }
    differ
}

fn shown((schema, row): &SchemaRow) -> Map<String, Json> {
    let columns = schema.columns.iter().zip(row.iter());
    columns
        .map(|(column, value)| (column.name.clone(), answer::cell(value)))
        .collect()
}

/// Bytes of a row, about.
fn size(row: Option<&SchemaRow>) -> usize {
    row.map_or(0, |(schema, row)| {
        let names: usize = schema.columns.iter().map(|column| column.name.len() + 16).sum();
        let values = row.iter().map(|value| match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len() * 4 / 3,
            _ => 16,
        });
        names + values.sum::<usize>()
    })
}

fn fits(schema: &TableSchema, key: &Key) -> bool {
    use lamphouse_contract::ColumnType;
    let columns = keys(schema);
    columns.len() == key.len()
        && columns.iter().zip(key.iter()).all(|((_, kind), value)| {
            matches!(
                (kind, value),
                (ColumnType::Boolean, Value::Boolean(_))
                    | (ColumnType::Integer, Value::Integer(_))
                    | (ColumnType::Real, Value::Real(_))
                    | (ColumnType::Decimal(_), Value::Decimal(_))
                    | (ColumnType::Text, Value::Text(_))
                    | (ColumnType::Bytes, Value::Bytes(_))
                    | (ColumnType::Timestamp, Value::Timestamp(_))
                    | (ColumnType::Json, Value::Json(_))
            )
        })
}

/// `orders.92a76f…`: the table, and the packed key in hexadecimal digits; none where the table is at its beginning.
fn cursor_text(table: &str, key: Option<&Key>) -> String {
    let mut bytes = Vec::new();
    if let Some(key) = key {
        packed::write_values(&mut bytes, key);
    }
    format!("{table}.{}", HEXLOWER.encode(&bytes))
}

fn cursor(text: &str) -> Result<(String, Option<Key>), OperateError> {
    let read = || {
        let (table, digits) = text.split_once('.')?;
        if digits.is_empty() {
            return Some((table.to_owned(), None));
        }
        let bytes = HEXLOWER.decode(digits.as_bytes()).ok()?;
        let mut reader = packed::Reader::new(&bytes);
        let key = reader.values().ok()?;
        reader.is_at_end().then(|| (table.to_owned(), Some(key)))
    };
    read().ok_or_else(wrong_cursor)
}

fn wrong_cursor() -> OperateError {
    OperateError::Invalid(
        "'after' is not what a page of these two generations gave as 'next': begin without it".to_owned(),
    )
}
