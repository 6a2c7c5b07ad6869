//! The query of the address, as PostgREST has it.

use std::time::Duration;

use super::grammar::{self, Budget, shown};
use crate::core::{Position, address};
use crate::tables::select::{Chosen, Filter, OrderBy};

/// Bytes of the query. Raise it for longer lists of values; every proxy on the way has a limit of its own.
pub(super) const QUERY_BYTES_MAX: usize = 16 << 10;
/// Columns that `select` names.
const COLUMNS_MAX: usize = 500;
/// Columns that `order` names.
const ORDER_MAX: usize = 50;
/// Characters of a column's other name.
const ALIAS_MAX: usize = 100;
/// How long `min_position` waits, if the caller does not say.
const WAIT: Duration = Duration::from_secs(5);
/// How long it waits at the most: a request has 30 s, and the read itself wants some.
pub(super) const WAIT_MS_MAX: u64 = 20_000;

/// What the query says.
#[derive(Debug, PartialEq)]
pub(super) struct Ask {
    pub(super) columns: Vec<Chosen>,
    pub(super) filter: Filter,
    pub(super) order: Vec<OrderBy>,
    pub(super) limit: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) min_position: Option<u64>,
    pub(super) wait: Duration,
}

impl Ask {
    /// Reads it; the error is for the caller.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let mut ask = Self {
            columns: Vec::new(),
            filter: Filter::everything(),
            order: Vec::new(),
            limit: None,
            offset: None,
            min_position: None,
            wait: WAIT,
        };
        let mut budget = Budget::default();
        let mut filters = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            match name.as_str() {
                "and" | "or" | "not.and" | "not.or" => {
                    filters.push(grammar::tree(&name, &value, &mut budget)?);
                    continue;
                }
                "select" => ask.columns = columns(&value)?,
                "order" => ask.order = order(&value)?,
                "limit" => ask.limit = Some(number("limit", &value, u64::MAX)?),
                "offset" => ask.offset = Some(number("offset", &value, i64::MAX.unsigned_abs())?),
                "min_position" => ask.min_position = Some(position("min_position", &value)?),
                "min_position_wait_ms" => {
                    ask.wait = Duration::from_millis(number("min_position_wait_ms", &value, WAIT_MS_MAX)?);
                }
                column => {
                    filters.push(grammar::column(column, &value, &mut budget)?);
                    continue;
                }
            }
            if seen.contains(&name) {
                return Err(format!("'{name}' is given twice"));
            }
            seen.push(name);
        }
        ask.filter = Filter::All(filters);
        Ok(ask)
    }
}

/// A position from the query or a header.
pub(super) fn position(name: &str, value: &str) -> Result<u64, String> {
    number(name, value, Position::MAX.0)
}

fn number(name: &str, value: &str, most: u64) -> Result<u64, String> {
    let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| is_digits && *number <= most);
    number.ok_or_else(|| {
        format!(
            "{name} is '{}', and is a whole number from 0 to {most}",
            shown(value)
        )
    })
}

/// `%41` and `+` as forms have them.
fn decoded(given: &str) -> Result<String, String> {
    address::decoded(&given.replace('+', " "))
        .ok_or_else(|| format!("'{}' in the query is not UTF-8 in percent-encoding", shown(given)))
}

/// `a,other:b,*`.
fn columns(given: &str) -> Result<Vec<Chosen>, String> {
    let mut chosen = Vec::new();
    let mut rest = given;
    loop {
        let (item, after) = item(rest);
        chosen.push(one(item.trim_matches(' '))?);
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    if chosen.len() > COLUMNS_MAX {
        return Err(format!(
            "select names {} columns, and may name {COLUMNS_MAX}",
            chosen.len()
        ));
    }
    Ok(chosen)
}

/// Up to the next comma that is in no quotes, and what follows it.
fn item(given: &str) -> (&str, Option<&str>) {
    let mut is_quoted = false;
    for (place, sign) in given.char_indices() {
        match sign {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => return (&given[..place], Some(&given[place + 1..])),
            _ => {}
        }
    }
    (given, None)
}

fn one(given: &str) -> Result<Chosen, String> {
    let refused = |why: &str| Err(format!("'{}' in select: {why}", shown(given)));
    if given == "*" {
        return Ok(Chosen::All);
    }
    for (signs, why) in [
        ("::", "casts are not supported; values come as the column's kind"),
        ("->", "paths into JSON are not supported; select the column"),
        (
            "(",
            "embedded tables and aggregates are not supported; `lamphouse query` takes SQL",
        ),
        ("...", "embedded tables are not supported"),
    ] {
        if given.contains(signs) {
            return refused(why);
        }
    }
    let (alias, column) = match given.rsplit_once(':') {
        Some((alias, column)) => (Some(unquoted(alias).to_owned()), unquoted(column)),
        None => (None, unquoted(given)),
    };
    if column.is_empty() {
        return refused("a column's name is missing");
    }
    if let Some(alias) = &alias
        && (alias.is_empty() || alias.chars().count() > ALIAS_MAX || alias.contains(char::is_control))
    {
        return refused(&format!(
            "another name has 1 to {ALIAS_MAX} characters, and no control characters"
        ));
    }
    Ok(Chosen::One {
        column: column.to_owned(),
        alias,
    })
}

fn unquoted(given: &str) -> &str {
    let within = given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    within.unwrap_or(given)
}

/// `a.desc.nullslast,b`.
fn order(given: &str) -> Result<Vec<OrderBy>, String> {
    let terms: Result<Vec<OrderBy>, String> =
        given.split(',').map(|term| by(term.trim_matches(' '))).collect();
    let terms = terms?;
    if terms.len() > ORDER_MAX {
        return Err(format!(
            "order names {} columns, and may name {ORDER_MAX}",
            terms.len()
        ));
    }
    Ok(terms)
}

fn by(given: &str) -> Result<OrderBy, String> {
    let mut words = given.split('.');
    let column = unquoted(words.next().unwrap_or_default());
    let words: Vec<&str> = words.collect();
    let nulls = |word: &str| match word {
        "nullsfirst" => Some(true),
        "nullslast" => Some(false),
        _ => None,
    };
    let (descending, nulls_first) = match words[..] {
        [] | ["asc"] => (false, None),
        ["desc"] => (true, None),
        ["asc", word] if nulls(word).is_some() => (false, nulls(word)),
        ["desc", word] if nulls(word).is_some() => (true, nulls(word)),
        [word] if nulls(word).is_some() => (false, nulls(word)),
        _ => {
            return Err(format!(
                "'{}' in order: behind the column come .asc or .desc, then .nullsfirst or .nullslast",
                shown(given)
            ));
        }
    };
    if column.is_empty() {
        return Err("order has a term without a column".to_owned());
    }
    Ok(OrderBy {
        column: column.to_owned(),
        descending,
        nulls_first,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::select::{Comparison, Test};

    #[test]
    fn a_query_is_read_whole() {
        let query = "select=id,%22the%20name%22:name,*&order=a.desc.nullslast,b,c.nullsfirst&limit=5&offset=10\
                     &name=eq.caf%C3%A9+au&min_position=7&min_position_wait_ms=100&or=(a.gt.1)";
        let ask = Ask::read(query).unwrap();
        let one = |column: &str, alias: Option<&str>| Chosen::One {
            column: column.to_owned(),
            alias: alias.map(str::to_owned),
        };
        assert_eq!(
            ask.columns,
            [one("id", None), one("name", Some("the name")), Chosen::All]
        );
        let by = |column: &str, descending, nulls_first| OrderBy {
            column: column.to_owned(),
            descending,
            nulls_first,
        };
        assert_eq!(
            ask.order,
            [
                by("a", true, Some(false)),
                by("b", false, None),
                by("c", false, Some(true))
            ]
        );
        assert_eq!(
            (ask.limit, ask.offset, ask.min_position),
            (Some(5), Some(10), Some(7))
        );
        assert_eq!(ask.wait, Duration::from_millis(100));
        let test = |column: &str, comparison, value: &str| Filter::Test {
            column: column.to_owned(),
            test: Test::Compare(comparison, value.to_owned()),
        };
        assert_eq!(
            ask.filter,
            Filter::All(vec![
                test("name", Comparison::Equal, "café au"),
                Filter::Any(vec![test("a", Comparison::Greater, "1")]),
            ])
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, words) in [
            ("limit=-1", "limit is '-1'"),
            ("limit=+1", "limit is ' 1'"),
            ("limit=", "whole number"),
            ("limit=1&limit=2", "given twice"),
            ("offset=9223372036854775808", "offset"),
            ("min_position=9007199254740992", "9007199254740991"),
            ("min_position_wait_ms=20001", "20000"),
            ("select=", "name is missing"),
            ("select=a,,b", "name is missing"),
            ("select=a::text", "casts"),
            ("select=doc->>a", "JSON"),
            ("select=orders(*)", "embedded"),
            ("select=count()", "aggregates"),
            ("select=:a", "another name"),
            ("order=", "without a column"),
            ("order=a.up", "'a.up' in order"),
            ("order=a.nullslast.desc", "in order"),
            ("order=a;drop%20table", ""),
            ("name=eq.%FF", "not UTF-8"),
            ("name=eq.%4", "percent-encoding"),
            ("name", "neither a filter"),
            ("columns=a", "neither a filter"),
        ] {
            match Ask::read(query) {
                Err(error) => assert!(error.contains(words), "{query}: {error}"),
                // The table says that there is no such column.
                Ok(ask) => assert_eq!((words, ask.order[0].column.as_str()), ("", "a;drop table")),
            }
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "[a-z=&.,()\"%+:*0-9]{0,80}") {
            let _ = Ask::read(&query);
        }
    }
}
