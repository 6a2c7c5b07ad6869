//! A [`Select`] held against the declared columns of its table.

use lamphouse_contract::{Column, ColumnType, TableSchema, Value};

use super::{Chosen, Comparison, Filter, Is, Pattern, Select, Test, literal};

/// Bytes of a pattern. One that is long takes its length's time at each place of a long text, which nothing interrupts.
const PATTERN_BYTES_MAX: usize = 1_000;
/// Characters of a value that a message repeats.
const SHOWN_MAX: usize = 60;
/// Bytes of a list of names in a message.
const LIST_BYTES_MAX: usize = 1_000;

/// A select whose columns are there and whose values are of their kinds.
#[derive(Debug)]
pub(in crate::tables) struct Checked<'a> {
    pub(super) schema: &'a TableSchema,
    /// Places of the columns, and what they are called in the answer.
    pub(super) columns: Vec<(usize, String)>,
    pub(super) filter: Condition,
    /// The whole order, with the key at its end.
    pub(super) order: Vec<Term>,
    pub(super) offset: u64,
    pub(super) limit: u64,
}

/// A filter of places and values.
#[derive(Debug, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare(usize, Comparison, Value),
    In(usize, Vec<Value>),
    /// The pattern is as PostgreSQL takes it.
    Like(usize, String, bool),
    IsNull(usize),
    Is(usize, bool),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) column: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

impl<'a> Checked<'a> {
    /// Finds the columns and reads the values; the error is for the asker.
    pub(in crate::tables) fn new(select: &Select, schema: &'a TableSchema) -> Result<Self, String> {
        Ok(Self {
            schema,
            columns: columns(schema, &select.columns)?,
            filter: condition(schema, &select.filter)?,
            order: order(schema, select)?,
            offset: select.offset,
            limit: select.limit,
        })
    }

    /// Names in the answer and kinds, in order.
    pub(in crate::tables) fn names(&self) -> Vec<(String, ColumnType)> {
        let name = |(place, name): &(usize, String)| (name.clone(), self.schema.columns[*place].kind);
        self.columns.iter().map(name).collect()
    }
}

fn columns(schema: &TableSchema, chosen: &[Chosen]) -> Result<Vec<(usize, String)>, String> {
    let all = || {
        (0..)
            .zip(&schema.columns)
            .map(|(place, column)| (place, column.name.clone()))
    };
    if chosen.is_empty() {
        return Ok(all().collect());
    }
    let mut columns: Vec<(usize, String)> = Vec::new();
    for one in chosen {
        match one {
            Chosen::All => columns.extend(all()),
            Chosen::One { column, alias } => {
                let (place, found) = find(schema, column)?;
                columns.push((place, alias.clone().unwrap_or_else(|| found.name.clone())));
            }
        }
    }
    let mut names: Vec<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(columns),
        Some(pair) => Err(format!(
            "two columns of the answer are called '{}': give one of them another name (select=other:{})",
            shown(pair[0]),
            shown(pair[0])
        )),
    }
}

/// A column by its name.
fn find<'a>(schema: &'a TableSchema, name: &str) -> Result<(usize, &'a Column), String> {
    let found = (0..).zip(&schema.columns).find(|(_, column)| column.name == name);
    found.ok_or_else(|| {
        let names = schema.columns.iter().map(|column| column.name.as_str());
        format!(
            "table '{}' has no column '{}'; it has: {}",
            schema.name,
            shown(name),
            listed(names)
        )
    })
}

fn condition(schema: &TableSchema, filter: &Filter) -> Result<Condition, String> {
    let each = |filters: &[Filter]| -> Result<Vec<Condition>, String> {
        filters.iter().map(|filter| condition(schema, filter)).collect()
    };
    Ok(match filter {
        Filter::All(filters) => Condition::All(each(filters)?),
        Filter::Any(filters) => Condition::Any(each(filters)?),
        Filter::Not(filter) => Condition::Not(Box::new(condition(schema, filter)?)),
        Filter::Test { column, test } => {
            let (place, column) = find(schema, column)?;
            of_column(place, column, test)?
        }
    })
}

fn of_column(place: usize, column: &Column, test: &Test) -> Result<Condition, String> {
    let value = |given: &str| {
        literal::value(column.kind, given).map_err(|takes| {
            let hint = match given.eq_ignore_ascii_case("null") {
                true => "; rows without a value are found by is.null",
                false => "",
            };
            format!(
                "column '{}' is {} and takes {takes}; '{}' was given{hint}",
                column.name,
                word(column.kind),
                shown(given)
            )
        })
    };
    Ok(match test {
        Test::Compare(comparison, given) => Condition::Compare(place, *comparison, value(given)?),
        Test::In(given) => {
            let values: Result<Vec<Value>, String> = given.iter().map(|given| value(given)).collect();
            Condition::In(place, values?)
        }
        Test::Like { pattern, any_case } => {
            if !matches!(column.kind, ColumnType::Text | ColumnType::Json) {
                return Err(format!(
                    "column '{}' is {}, and 'like' and 'ilike' are for text",
                    column.name,
                    word(column.kind)
                ));
            }
            let pattern = pattern.replace('*', "%");
            let wrong = |why: String| {
                format!(
                    "column '{}' cannot be like '{}': {why}",
                    column.name,
                    shown(&pattern)
                )
            };
            if pattern.len() > PATTERN_BYTES_MAX {
                return Err(wrong(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
            }
            if pattern.contains('\0') {
                return Err(wrong("no text holds U+0000".to_owned()));
            }
            Pattern::read(&pattern, *any_case).map_err(wrong)?;
            Condition::Like(place, pattern, *any_case)
        }
        Test::Is(Is::Null) => Condition::IsNull(place),
        Test::Is(Is::NotNull) => Condition::Not(Box::new(Condition::IsNull(place))),
        Test::Is(is) => {
            if column.kind != ColumnType::Boolean {
                return Err(format!(
                    "column '{}' is {}, and only boolean columns are true, false or unknown",
                    column.name,
                    word(column.kind)
                ));
            }
            match is {
                Is::Unknown => Condition::IsNull(place),
                is => Condition::Is(place, *is == Is::True),
            }
        }
    })
}

/// The order that was asked for, then the key: no two rows are equal in it, so that pages neither repeat nor miss one.
fn order(schema: &TableSchema, select: &Select) -> Result<Vec<Term>, String> {
    let mut terms: Vec<Term> = Vec::new();
    for by in &select.order {
        let (column, _) = find(schema, &by.column)?;
        // A second term of one column never decides.
        if terms.iter().all(|term| term.column != column) {
            terms.push(Term {
                column,
                descending: by.descending,
                nulls_first: by.nulls_first.unwrap_or(by.descending),
            });
        }
    }
    for key in &schema.primary_key {
        let column = *key as usize;
        if terms.iter().all(|term| term.column != column) {
            terms.push(Term {
                column,
                descending: false,
                nulls_first: false,
            });
        }
    }
    Ok(terms)
}

/// A kind as it is written in messages: `decimal(2)`.
fn word(kind: ColumnType) -> String {
    match kind {
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Integer => "integer".to_owned(),
        ColumnType::Real => "real".to_owned(),
        ColumnType::Decimal(scale) => format!("decimal({scale})"),
        ColumnType::Text => "text".to_owned(),
        ColumnType::Bytes => "bytes".to_owned(),
        ColumnType::Timestamp => "timestamp".to_owned(),
        ColumnType::Json => "json".to_owned(),
    }
}

/// What the asker wrote, cut.
fn shown(given: &str) -> String {
    let mut text: String = given.chars().take(SHOWN_MAX).collect();
    if text.len() < given.len() {
        text.push('…');
    }
    text
}

/// Names with commas between them, cut.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for name in names {
        if list.len() + name.len() > LIST_BYTES_MAX {
            list.push_str(", …");
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(name);
    }
    list
}
