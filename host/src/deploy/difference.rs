//! What differs between the rows of two generations of a projection.
//!
//! Both are walked side by side in the order of their keys, a bounded page at a time, so that no table is ever held
//! whole; a page ends after so many differences, rows or seconds, and says where to go on. *Deliberately not here:* one
//! snapshot of both: generations move on while they are read, so the answer says at which checkpoints each stood.

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use lamphouse_contract::{Key, Row, TableSchema, Value, packed, semantics};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::operator::OperateError;
use super::plan::state_word;
use crate::core::GenerationId;
use crate::tables::diff::SchemaDiff;
use crate::tables::{GenerationRecord, GenerationState, StoreError, TableReader, TableStore, answer};

/// Differences of one page at the most.
const LIMIT_MAX: u64 = 1_000;
/// Rows that are read of each generation at once.
const PAGE_ROWS: usize = 500;
/// Bytes of the differences of one page, about; later ones are left to the next.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// A page ends after this time even where little differs.
const TIME_MAX: Duration = Duration::from_secs(8);

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The one generation; None: see [`difference`].
    pub from: Option<i64>,
    /// The other.
    pub to: Option<i64>,
    /// Only this table.
    pub table: Option<String>,
    /// `next` of the page before.
    pub after: Option<String>,
    /// Differences at the most, from 1 to 1,000.
    pub limit: u64,
}

/// A page of what differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The projection.
    pub projection: String,
    /// The one generation.
    pub from: Side,
    /// The other.
    pub to: Side,
    /// How their tables differ as such, a sentence each.
    pub tables: Vec<String>,
    /// The rows that differ, by table and key.
    pub rows: Vec<RowChange>,
    /// Rows of both that this page looked at.
    pub compared: u64,
    /// What to give as `after` to go on; null when all was compared.
    pub next: Option<String>,
}

/// One of two generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Side {
    /// Its number: 7 for `g7`.
    pub generation: i64,
    /// The projector's version.
    pub version: String,
    /// `building`, `ready`, `live`, `retired`, `failed`.
    pub state: String,
    /// Position of the last event in its tables before this page was read.
    pub checkpoint: u64,
    /// The same after it was read: where it is another, the rows are of positions between the two.
    pub checkpoint_after: u64,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RowChange {
    /// The public name of its table.
    pub table: String,
    /// Its key: key columns to values.
    #[schema(value_type = Object)]
    pub key: Map<String, Json>,
    /// `only_from`, `only_to` or `changed`.
    pub kind: String,
    /// The columns that differ, of a changed row.
    pub columns: Vec<String>,
    /// The row in the one generation; null where it is not there.
    #[schema(value_type = Option<Object>)]
    pub from: Option<Map<String, Json>>,
    /// The row in the other.
    #[schema(value_type = Option<Object>)]
    pub to: Option<Map<String, Json>>,
}

/// Compares the rows of two generations, a page of it.
///
/// Where none is named, they are the public generation and the one on its way; where none is on its way, the last retired
/// one and the public one. Where one is named, the other is the public one, or, where that is the public one itself, as
/// without a name.
///
/// # Errors
/// [`OperateError::NotFound`] of a projection, generation or table that is not there, or is gone in the middle;
/// [`OperateError::Invalid`] of a wrong cursor.
pub fn difference(
    store: &dyn TableStore,
    projection: &str,
    wanted: &Comparison,
) -> Result<Difference, OperateError> {
    let all = own_generations(store, projection)?;
    let (from, to) = sides(projection, &all, wanted)?;
    let mut walk = Walk {
        store,
        from,
        to,
        limit: usize::try_from(wanted.limit.clamp(1, LIMIT_MAX)).unwrap_or(1),
        until: Instant::now() + TIME_MAX,
        rows: Vec::new(),
        bytes: 0,
        compared: 0,
    };
    let next = match walk.tables(wanted) {
        Ok(next) => next,
        Err(error) => {
            // It may have been dropped in the middle of it.
            let left = own_generations(store, projection)?;
            let is_there = |id: GenerationId| left.iter().any(|one| one.id == id);
            let gone = [from.id, to.id].into_iter().find(|id| !is_there(*id));
            return Err(gone.map_or(error, |id| {
                OperateError::NotFound(format!(
                    "generation {id} of {projection} was dropped in the meantime"
                ))
            }));
        }
    };
    let Walk { rows, compared, .. } = walk;
    let after = own_generations(store, projection)?;
    let side = |record: &GenerationRecord| {
        let after = after.iter().find(|one| one.id == record.id).unwrap_or(record);
        Side {
            generation: record.id.0,
            version: record.version.clone(),
            state: state_word(record.state).to_owned(),
            checkpoint: record.checkpoint.position.0,
            checkpoint_after: after.checkpoint.position.0,
        }
    };
    Ok(Difference {
        projection: projection.to_owned(),
        from: side(from),
        to: side(to),
        tables: shapes(from, to),
        rows,
        compared,
        next,
    })
}

/// A generation as a person names it: `3` or `g3`.
pub fn generation_number(text: &str) -> Result<i64, String> {
    let number = text.strip_prefix('g').unwrap_or(text).parse();
    number
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "a generation is a number: 3 or g3".to_owned())
}

fn own_generations(store: &dyn TableStore, projection: &str) -> Result<Vec<GenerationRecord>, OperateError> {
    let mut all = store.generations().map_err(away)?;
    let mut names: Vec<String> = all.iter().map(|one| one.projection.to_string()).collect();
    all.retain(|one| one.projection.as_str() == projection);
    if all.is_empty() {
        names.sort();
        names.dedup();
        let there = match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        return Err(OperateError::NotFound(format!(
            "there is no projection '{projection}'; there are: {there}"
        )));
    }
    Ok(all)
}

fn sides<'a>(
    projection: &str,
    all: &'a [GenerationRecord],
    wanted: &Comparison,
) -> Result<(&'a GenerationRecord, &'a GenerationRecord), OperateError> {
    let find = |number: i64| {
        all.iter().find(|one| one.id.0 == number).ok_or_else(|| {
            let there: Vec<String> = all.iter().map(|one| one.id.to_string()).collect();
            OperateError::NotFound(format!(
                "there is no generation g{number} of {projection}; there are: {}",
                there.join(", ")
            ))
        })
    };
    let live = all.iter().find(|one| one.state == GenerationState::Live);
    let coming = all
        .iter()
        .rev()
        .find(|one| matches!(one.state, GenerationState::Building | GenerationState::Ready));
    let retired = all
        .iter()
        .filter(|one| one.state == GenerationState::Retired)
        .max_by_key(|one| (one.retired_at, one.id));
    let default = || match (live, coming, retired) {
        (Some(live), Some(coming), _) => Ok((live, coming)),
        (Some(live), None, Some(retired)) => Ok((retired, live)),
        _ => Err(OperateError::Refused(format!(
            "{projection} has one generation and no other to compare it with: none is being built, and none was kept"
        ))),
    };
    let (from, to) = match (wanted.from, wanted.to) {
        (Some(from), Some(to)) => (find(from)?, find(to)?),
        (None, None) => default()?,
        (Some(from), None) => match (find(from)?, live) {
            (from, Some(live)) if live.id != from.id => (from, live),
            (from, _) => {
                let (one, other) = default()?;
                (from, if one.id == from.id { other } else { one })
            }
        },
        (None, Some(to)) => match (find(to)?, live) {
            (to, Some(live)) if live.id != to.id => (live, to),
            (to, _) => {
                let (one, other) = default()?;
                (if one.id == to.id { other } else { one }, to)
            }
        },
    };
    if from.id == to.id {
        return Err(OperateError::Invalid(format!(
            "both sides are generation {}: name two",
            from.id
        )));
    }
    Ok((from, to))
}

fn away(error: StoreError) -> OperateError {
    OperateError::Unavailable(error.to_string())
}

/// What differs between the tables themselves.
fn shapes(from: &GenerationRecord, to: &GenerationRecord) -> Vec<String> {
    let (old, new) = (&from.descriptor.tables, &to.descriptor.tables);
    let mut words = match SchemaDiff::between(old, new) {
        SchemaDiff::Equal => Vec::new(),
        SchemaDiff::Appended(words) => words,
        SchemaDiff::Breaking(words) => words,
    };
    for table in old {
        if let Some(other) = new.iter().find(|other| other.name == table.name)
            && keys(table) != keys(other)
        {
            words.push(format!(
                "table '{}' has another key, so that its rows cannot be compared",
                table.name
            ));
        }
    }
    words
}

fn keys(table: &TableSchema) -> Vec<(&str, lamphouse_contract::ColumnType)> {
    let columns = table
        .primary_key
        .iter()
        .filter_map(|place| table.columns.get(*place as usize));
    columns
        .map(|column| (column.name.as_str(), column.kind))
        .collect()
}

/// One page on its way.
struct Walk<'w> {
    store: &'w dyn TableStore,
    from: &'w GenerationRecord,
    to: &'w GenerationRecord,
    limit: usize,
    until: Instant,
    rows: Vec<RowChange>,
    bytes: usize,
    compared: u64,
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

impl Walk<'_> {
    /// Goes through the tables; gives where to go on, if that is not the end.
    fn tables(&mut self, wanted: &Comparison) -> Result<Option<String>, OperateError> {
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

#[cfg(test)]
mod tests;
