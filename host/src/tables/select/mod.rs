//! Reads of one public table that are made of parts and not of text: what `GET /v1/tables/{table}` asks.
//!
//! A [`Select`] names columns and holds values as they were typed. `check` holds it against the table's declared
//! columns, in the snapshot that is read, and turns every value into one of its column's kind; `sql` makes the
//! statement of it for each database. Both are pure.
//!
//! *Invariants:* no text of the asker's becomes part of a statement: columns are named by place in the schema, values
//! are bound. Both databases give the same rows in the same order: text goes by its bytes, decimals by number, nulls
//! come last unless the order is turned round, and the key breaks every tie. Deliberately absent: joins, sums, casts.

mod check;
mod descriptors;
mod literal;
mod pattern;
mod rows;
mod sql;
#[cfg(test)]
mod tests;

use lamphouse_contract::{ColumnType, Row};

pub(super) use self::check::Checked;
pub(super) use self::descriptors::Descriptors;
pub(super) use self::pattern::Pattern;
pub(super) use self::rows::Rows;
pub(super) use self::sql::{Bound, Statement, count, rows as rows_of};
use super::StoreError;
use crate::core::{GenerationId, PluginName, Position};

/// Bytes of an answer's values, about; later rows are left out and are to be asked for. Raise it for larger pages:
/// `rows_max` alone does not bound memory.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is asked of one public table.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Its public name.
    pub table: String,
    /// What is shown, in this order; empty is every column.
    pub columns: Vec<Chosen>,
    /// Which rows.
    pub filter: Filter,
    /// In which order; the key follows by itself.
    pub order: Vec<OrderBy>,
    /// Rows to leave out at the beginning.
    pub offset: u64,
    /// Rows at the most.
    pub limit: u64,
    /// Whether all rows that meet the filter are counted.
    pub count: bool,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Every column.
    All,
    /// One, perhaps under another name.
    One {
        /// The column.
        column: String,
        /// What it is called in the answer, if not by its name.
        alias: Option<String>,
    },
}

/// Which rows. As in SQL, what is compared with null is neither true nor false, and [`Filter::Not`] leaves it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of these; true where there are none.
    All(Vec<Filter>),
    /// One of these at least.
    Any(Vec<Filter>),
    /// The opposite.
    Not(Box<Filter>),
    /// About one column.
    Test {
        /// The column.
        column: String,
        /// What must hold.
        test: Test,
    },
}

/// What must hold for one column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Compared with a value, as it was typed.
    Compare(Comparison, String),
    /// One of these, as they were typed.
    In(Vec<String>),
    /// Matches a pattern: `%` and `*` are any text, `_` is one character, `\` takes the next character as it is.
    Like {
        /// The pattern.
        pattern: String,
        /// Whether `a` to `z` and `A` to `Z` are the same; other letters differ.
        any_case: bool,
    },
    /// Is one of the values that cannot be compared with.
    Is(Is),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// What a value may be that is compared with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// There is none.
    Null,
    /// There is one.
    NotNull,
    /// True; of booleans.
    True,
    /// False; of booleans.
    False,
    /// Neither true nor false; of booleans.
    Unknown,
}

/// One term of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Whether nulls come first; if not given, last, and first where the largest come first.
    pub nulls_first: Option<bool>,
}

/// What one snapshot had.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// Whose rows they are.
    pub shown: ShownTable,
    /// Names in the answer and kinds.
    pub columns: Vec<(String, ColumnType)>,
    /// In order.
    pub rows: Vec<Row>,
    /// Whether there are rows after these.
    pub more: bool,
    /// Rows that meet the filter, if they were to be counted.
    pub total: Option<u64>,
}

/// What a public name shows, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownTable {
    /// The public name.
    pub name: String,
    /// Its projection.
    pub projection: PluginName,
    /// The generation that it shows.
    pub generation: GenerationId,
    /// Last position whose effects are in it.
    pub position: Position,
    /// Counts what was replayed and discarded: rows change by it while the position stays.
    pub revision: u64,
    /// Events that are parked: the table lacks their effects.
    pub parked_events: u64,
}

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// No such table is public.
    #[error("there is no public table '{0}'")]
    NoTable(String),
    /// The table has no such column, or a value is none of its column's.
    #[error("{0}")]
    Wrong(String),
    /// It took too long and was stopped.
    #[error("{0}")]
    Late(String),
    /// The database's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Filter {
    /// Every row.
    pub fn everything() -> Self {
        Self::All(Vec::new())
    }
}

impl Comparison {
    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }
}

/// What a query that is stopped says.
pub(super) fn late(time_ms: u128) -> SelectError {
    SelectError::Late(format!(
        "the read was stopped after {time_ms} ms: ask for less (a filter on the key or on a declared index, a smaller \
         limit, no count), or raise time_ms_max under [query]"
    ))
}
