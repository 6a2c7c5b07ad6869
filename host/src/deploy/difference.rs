//! What differs between the rows of two generations of a projection.
//!
//! Both are walked side by side in the order of their keys, a bounded page at a time, so that no table is ever held
//! whole; a page ends after so many differences, rows or seconds, and says where to go on. *Deliberately not here:* one
//! snapshot of both: generations move on while they are read, so the answer says at which checkpoints each stood.

mod walk;

use lamphouse_contract::TableSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use self::walk::Walk;
use super::operator::OperateError;
use super::plan::state_word;
use crate::core::GenerationId;
use crate::tables::diff::SchemaDiff;
use crate::tables::{GenerationRecord, GenerationState, StoreError, TableStore};

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
    let mut walk = Walk::new(store, (from, to), wanted.limit);
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

#[cfg(test)]
mod tests;
