//! Filters as PostgREST writes them: `gt.5`, `not.in.(a,"b,c")`, `(a.gt.1,or(b.eq.x,c.is.null))`.

use crate::tables::select::{Comparison, Filter, Is, Test};

/// Conditions of one request. Raise it for programs that make filters up; each one is evaluated for every row.
const CONDITIONS_MAX: usize = 100;
/// Values of all lists of one request. A database takes a few thousand parameters a statement.
const VALUES_MAX: usize = 1_000;
/// How deep `and(…)` and `or(…)` may be in one another: reading them takes stack.
const DEPTH_MAX: usize = 20;
/// Characters of the address that a message repeats.
const SHOWN_MAX: usize = 60;

const OPERATORS: &str = "eq, neq, gt, gte, lt, lte, like, ilike, in, is, each also behind not.";

/// What is left of the bounds of one request.
#[derive(Debug)]
pub(super) struct Budget {
    conditions: usize,
    values: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            conditions: CONDITIONS_MAX,
            values: VALUES_MAX,
        }
    }
}

/// The filter of a parameter that is a column's name: `age=not.lt.18`. All of the rest is the value; quotes mean
/// something in lists alone.
pub(super) fn column(name: &str, given: &str, budget: &mut Budget) -> Result<Filter, String> {
    let mut reader = Reader { rest: given, budget };
    let Some((negated, operator)) = reader.operator() else {
        return Err(format!(
            "'{}={}' is neither a filter nor one of the parameters select, order, limit, offset, and, or, not.and, not.or, \
             min_position, min_position_wait_ms: a filter is COLUMN=OPERATOR.VALUE, as in {}=eq.{}; the operators are {OPERATORS}",
            shown(name),
            shown(given),
            shown(name),
            shown(given)
        ));
    };
    let test = match operator {
        Operator::In => {
            let values = reader.list()?;
            reader.end()?;
            Test::In(values)
        }
        other => {
            let rest = reader.rest.to_owned();
            other.test(rest)?
        }
    };
    reader.filter(name.to_owned(), negated, test)
}

/// The filters of `and=(…)`, `or=(…)` and the same behind `not.`.
pub(super) fn tree(name: &str, given: &str, budget: &mut Budget) -> Result<Filter, String> {
    let mut reader = Reader { rest: given, budget };
    let (negated, word) = match name.strip_prefix("not.") {
        Some(word) => (true, word),
        None => (false, name),
    };
    let filter = reader
        .members(word == "and", 1)
        .and_then(|filter| reader.end().map(|()| filter));
    let filter = filter.map_err(|why| format!("in '{name}=': {why}"))?;
    Ok(opposite(filter, negated))
}

fn opposite(filter: Filter, negated: bool) -> Filter {
    match negated {
        true => Filter::Not(Box::new(filter)),
        false => filter,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Compare(Comparison),
    Like { any_case: bool },
    In,
    Is,
}

impl Operator {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Compare(Comparison::Equal),
            "neq" => Self::Compare(Comparison::NotEqual),
            "gt" => Self::Compare(Comparison::Greater),
            "gte" => Self::Compare(Comparison::GreaterOrEqual),
            "lt" => Self::Compare(Comparison::Less),
            "lte" => Self::Compare(Comparison::LessOrEqual),
            "like" => Self::Like { any_case: false },
            "ilike" => Self::Like { any_case: true },
            "in" => Self::In,
            "is" => Self::Is,
            _ => return None,
        })
    }

    /// With one value.
    fn test(self, given: String) -> Result<Test, String> {
        Ok(match self {
            Self::Compare(comparison) => Test::Compare(comparison, given),
            Self::Like { any_case } => Test::Like {
                pattern: given,
                any_case,
            },
            Self::In => Test::In(vec![given]),
            Self::Is => Test::Is(match given.to_ascii_lowercase().as_str() {
                "null" => Is::Null,
                "not_null" => Is::NotNull,
                "true" => Is::True,
                "false" => Is::False,
                "unknown" => Is::Unknown,
                _ => {
                    return Err(format!(
                        "'is.{}': a value is null, not_null, true, false or unknown",
                        shown(&given)
                    ));
                }
            }),
        })
    }
}

struct Reader<'a, 'b> {
    rest: &'a str,
    budget: &'b mut Budget,
}

impl Reader<'_, '_> {
    fn eat(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.rest {
            "" => Ok(()),
            rest => Err(format!("'{}' comes after the end", shown(rest))),
        }
    }

    /// `not.eq.`: whether `not` is there, and which operator. Nothing is taken where there is none.
    fn operator(&mut self) -> Option<(bool, Operator)> {
        let (negated, rest) = match self.rest.strip_prefix("not.") {
            Some(rest) => (true, rest),
            None => (false, self.rest),
        };
        let (word, rest) = rest.split_once('.')?;
        let operator = Operator::read(word)?;
        self.rest = rest;
        Some((negated, operator))
    }

    fn filter(&mut self, column: String, negated: bool, test: Test) -> Result<Filter, String> {
        let left = self.budget.conditions.checked_sub(1);
        self.budget.conditions =
            left.ok_or_else(|| format!("a request has at most {CONDITIONS_MAX} conditions"))?;
        Ok(opposite(Filter::Test { column, test }, negated))
    }

    /// `(…,…)` of filters.
    fn members(&mut self, all: bool, depth: usize) -> Result<Filter, String> {
        if depth > DEPTH_MAX {
            return Err(format!("and(…) and or(…) go at most {DEPTH_MAX} deep"));
        }
        self.skip_blanks();
        if !self.eat('(') {
            return Err(format!("'(' is missing before '{}'", shown(self.rest)));
        }
        let mut members = Vec::new();
        loop {
            self.skip_blanks();
            members.push(self.member(depth)?);
            self.skip_blanks();
            if self.eat(')') {
                break;
            }
            if !self.eat(',') {
                return Err(match self.rest {
                    "" => "a ')' is missing at the end".to_owned(),
                    rest => format!("',' or ')' is missing before '{}'", shown(rest)),
                });
            }
        }
        Ok(match all {
            true => Filter::All(members),
            false => Filter::Any(members),
        })
    }

    fn member(&mut self, depth: usize) -> Result<Filter, String> {
        let start = self.rest;
        // A column may be called `and` or `not`: it is one where an operator follows.
        if let Some(column) = self.name()
            && self.eat('.')
            && let Some((negated, operator)) = self.operator()
        {
            let test = match operator {
                Operator::In => Test::In(self.list()?),
                other => {
                    let value = self.value()?;
                    other.test(value)?
                }
            };
            return self.filter(column, negated, test);
        }
        self.rest = start;
        let (negated, rest) = match start.strip_prefix("not.") {
            Some(rest) => (true, rest),
            None => (false, start),
        };
        for (word, all) in [("and", true), ("or", false)] {
            if let Some(rest) = rest.strip_prefix(word)
                && rest.trim_start_matches(' ').starts_with('(')
            {
                self.rest = rest;
                return Ok(opposite(self.members(all, depth + 1)?, negated));
            }
        }
        Err(format!(
            "'{}' is no condition: write COLUMN.OPERATOR.VALUE, and(…) or or(…); the operators are {OPERATORS}",
            shown(start)
        ))
    }

    /// A column's name, perhaps in quotes.
    fn name(&mut self) -> Option<String> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find(['.', ',', '(', ')', '"'])?;
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// `"…"`, in which `\` takes the next character as it is. Nothing is taken where it has no end.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.strip_prefix('"')?.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => text.push(characters.next()?),
                other => text.push(other),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }

    /// A value within a list: quoted, or all up to `,` or `)`. What only begins with quotes is taken as it is.
    fn element(&mut self) -> (String, bool) {
        let start = self.rest;
        if let Some(text) = self.quoted() {
            if self.rest.is_empty() || self.rest.starts_with([',', ')']) {
                return (text, true);
            }
            self.rest = start;
        }
        let end = start.find([',', ')']).unwrap_or(start.len());
        let (text, rest) = start.split_at(end);
        self.rest = rest;
        (text.to_owned(), false)
    }

    /// A value within `and=(…)`: as in a list, or `{…}` with all that is in it.
    fn value(&mut self) -> Result<String, String> {
        if self.rest.starts_with('{')
            && let Some(end) = self.rest[1..].find(['{', '}']).map(|end| end + 1)
            && self.rest[end..].starts_with('}')
        {
            let (text, rest) = self.rest.split_at(end + 1);
            self.rest = rest;
            return Ok(text.to_owned());
        }
        Ok(self.element().0)
    }

    /// `(1,2,"a,b")`. `()` is a list of nothing; a list of one empty text is `("")`.
    fn list(&mut self) -> Result<Vec<String>, String> {
        let start = self.rest;
        self.skip_blanks();
        if !self.eat('(') {
            return Err(format!(
                "'in.{}': a list is in brackets, as in in.(1,2,3)",
                shown(start)
            ));
        }
        let mut values = Vec::new();
        loop {
            let (value, is_quoted) = self.element();
            let is_last = self.eat(')');
            if is_last && values.is_empty() && value.is_empty() && !is_quoted {
                break;
            }
            let left = self.budget.values.checked_sub(1);
            self.budget.values =
                left.ok_or_else(|| format!("lists have at most {VALUES_MAX} values together"))?;
            values.push(value);
            if is_last {
                break;
            }
            if !self.eat(',') {
                return Err(format!("'in.{}': the list has no end", shown(start)));
            }
        }
        self.skip_blanks();
        Ok(values)
    }
}

/// What the asker wrote, cut.
pub(super) fn shown(given: &str) -> String {
    let mut text: String = given.chars().take(SHOWN_MAX).collect();
    if text.len() < given.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(column: &str, comparison: Comparison, value: &str) -> Filter {
        Filter::Test {
            column: column.to_owned(),
            test: Test::Compare(comparison, value.to_owned()),
        }
    }

    fn one_of(values: &[&str]) -> Filter {
        Filter::Test {
            column: "a".to_owned(),
            test: Test::In(values.iter().map(|value| (*value).to_owned()).collect()),
        }
    }

    #[test]
    fn lists_quote_and_escape_as_postgrest_has_it() {
        for (given, values) in [
            ("in.(1,2,3)", &["1", "2", "3"][..]),
            ("in.()", &[]),
            ("in.(\"\")", &[""]),
            ("in.(,)", &["", ""]),
            ("in.(a, b)", &["a", " b"]),
            (r#"in.("a,b","c)d")"#, &["a,b", "c)d"]),
            (
                r#"in.("say \"hi\"","back\\slash")"#,
                &["say \"hi\"", "back\\slash"],
            ),
            (r#"in.("half"quoted,x)"#, &["\"half\"quoted", "x"]),
            (r#"in.(a"b)"#, &["a\"b"]),
            ("in.(日本,語) ", &["日本", "語"]),
        ] {
            assert_eq!(
                column("a", given, &mut Budget::default()),
                Ok(one_of(values)),
                "{given}"
            );
        }
    }

    #[test]
    fn a_columns_filter_takes_all_of_the_rest() {
        for given in ["", "a.b", "\"quoted\"", "(x),y", "not.eq.1"] {
            assert_eq!(
                column("a", &format!("eq.{given}"), &mut Budget::default()),
                Ok(is("a", Comparison::Equal, given))
            );
        }
    }

    #[test]
    fn trees_may_have_columns_with_the_names_of_words() {
        let filter = tree(
            "and",
            r#"(select.gt.1, or(and.eq."x,y)",not.and(not.lt.d,in.eq.{a,b}) , not.or(or.neq.))) "#,
            &mut Budget::default(),
        );
        let not = |filter| Filter::Not(Box::new(filter));
        assert_eq!(
            filter,
            Ok(Filter::All(vec![
                is("select", Comparison::Greater, "1"),
                Filter::Any(vec![
                    is("and", Comparison::Equal, "x,y)"),
                    not(Filter::All(vec![
                        is("not", Comparison::Less, "d"),
                        is("in", Comparison::Equal, "{a,b}"),
                    ])),
                    not(Filter::Any(vec![is("or", Comparison::NotEqual, "")])),
                ]),
            ]))
        );
        let negated = tree("not.or", "(a.not.eq.1)", &mut Budget::default());
        assert_eq!(
            negated,
            Ok(not(Filter::Any(vec![not(is("a", Comparison::Equal, "1"))])))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (given, words) in [
            ("5", "as in a=eq.5"),
            ("", "neither a filter"),
            ("equals.5", "the operators are eq"),
            ("not.not.eq.5", "neither a filter"),
            ("like(any).{a,b}", "neither a filter"),
            ("in.1", "in brackets"),
            ("in.(1", "no end"),
            ("in.(1)2", "after the end"),
            ("is.nothing", "not_null"),
        ] {
            let error = column("a", given, &mut Budget::default()).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
        let deep = format!("{}a.eq.1{}", "(and".repeat(30), ")".repeat(30));
        let wide = format!("({}a.eq.1)", "a.eq.1,".repeat(100));
        let long = format!("(a.in.({}1))", "1,".repeat(1_000));
        for (given, words) in [
            ("a.eq.1", "'(' is missing"),
            ("()", "no condition"),
            ("(a.eq.1", "')' is missing"),
            ("(a.eq.1)x", "after the end"),
            ("(a.eq.\"1\"2)", ""),
            ("(a.foo.1)", "no condition"),
            ("(a.eq.{1}2)", "is missing before '2)'"),
            (&deep, "20 deep"),
            (&wide, "100 conditions"),
            (&long, "1000 values"),
        ] {
            match tree("and", given, &mut Budget::default()) {
                Err(error) => assert!(error.contains(words), "{given}: {error}"),
                Ok(filter) => assert_eq!((words, given), ("", "(a.eq.\"1\"2)"), "{filter:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(given in r#"[abnot.,()"\\{} eqin1]{0,60}"#) {
            let _ = column("a", &given, &mut Budget::default());
            let _ = tree("or", &format!("({given})"), &mut Budget::default());
        }

        #[test]
        fn every_text_can_be_quoted(text: String) {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(
                tree("and", &format!("(a.eq.{quoted})"), &mut Budget::default()),
                Ok(Filter::All(vec![is("a", Comparison::Equal, &text)]))
            );
            prop_assert_eq!(column("a", &format!("in.({quoted})"), &mut Budget::default()), Ok(one_of(&[&text])));
        }
    }
}
