//! The statements as they are, and that nothing of the asker's gets into one.

use lamphouse_contract::TableSchema;
use proptest::prelude::*;

use super::{Checked, Chosen, Comparison, Filter, Is, OrderBy, Select, Statement, Test, count, rows_of};
use crate::tables::ddl::{Dialect, Relation};
use crate::tables::sample;

fn test(column: &str, test: Test) -> Filter {
    Filter::Test {
        column: column.to_owned(),
        test,
    }
}

fn compare(column: &str, comparison: Comparison, value: &str) -> Filter {
    test(column, Test::Compare(comparison, value.to_owned()))
}

fn select(filter: Filter) -> Select {
    Select {
        table: "everything".to_owned(),
        columns: Vec::new(),
        filter,
        order: Vec::new(),
        offset: 0,
        limit: 10,
        count: false,
    }
}

fn rows(dialect: Dialect, schema: &TableSchema, select: &Select) -> Statement {
    let checked = Checked::new(select, schema).unwrap();
    rows_of(dialect, Relation::within("s", "everything__g7"), &checked)
}

fn both(select: &Select) -> String {
    let schema = sample::everything();
    let of = |dialect| {
        let Statement { text, values } = rows(dialect, &schema, select);
        format!("{text}\n{values:?}")
    };
    format!("{}\n\n{}", of(Dialect::Sqlite), of(Dialect::Postgres))
}

#[test]
fn a_statement_has_names_from_the_schema_and_values_beside_it() {
    let mut asked = select(Filter::All(vec![
        compare("price", Comparison::Equal, "1.5"),
        compare("price", Comparison::Less, "9"),
        Filter::Not(Box::new(Filter::Any(vec![
            test("note", Test::In(vec!["a".to_owned(), "'; --".to_owned()])),
            test("flag", Test::Is(Is::True)),
        ]))),
        test(
            "note",
            Test::Like {
                pattern: "a*".to_owned(),
                any_case: true,
            },
        ),
    ]));
    asked.columns = vec![Chosen::One {
        column: "note".to_owned(),
        alias: Some("'; DROP TABLE x; --".to_owned()),
    }];
    asked.order = vec![OrderBy {
        column: "price".to_owned(),
        descending: true,
        nulls_first: None,
    }];
    insta::assert_snapshot!(both(&asked), @r#"
    SELECT t."note" FROM "s"."everything__g7" AS t WHERE (t."price" = ? AND t."price" COLLATE lamphouse_decimal < ? AND NOT ((t."note" IN (?, ?) OR t."flag" IS TRUE)) AND lamphouse_like(?, t."note", 1)) ORDER BY t."price" COLLATE lamphouse_decimal DESC NULLS FIRST, t."part", t."name" LIMIT ? OFFSET ?
    [One(Decimal(4), Decimal(1.5000)), One(Decimal(4), Decimal(9.0000)), One(Text, Text("a")), One(Text, Text("'; --")), One(Text, Text("a%")), One(Integer, Integer(11)), One(Integer, Integer(0))]

    SELECT t."note" FROM "s"."everything__g7" AS t WHERE (t."price" = $1::numeric AND t."price" < $2::numeric AND NOT ((t."note" = ANY ($3::text[]) OR t."flag" IS TRUE)) AND t."note" ILIKE $4::text) ORDER BY t."price" DESC NULLS FIRST, t."part", t."name" LIMIT $5::bigint OFFSET $6::bigint
    [One(Decimal(4), Decimal(1.5000)), One(Decimal(4), Decimal(9.0000)), Many(Text, [Text("a"), Text("'; --")]), One(Text, Text("a%")), One(Integer, Integer(11)), One(Integer, Integer(0))]
    "#);
}

#[test]
fn json_is_compared_as_the_text_that_it_is() {
    let asked = select(Filter::Any(vec![
        compare("doc", Comparison::Equal, "{}"),
        test("doc", Test::In(vec!["[]".to_owned()])),
        test("doc", Test::Is(Is::NotNull)),
        Filter::Any(Vec::new()),
    ]));
    insta::assert_snapshot!(both(&asked), @r#"
    SELECT t."part", t."name", t."flag", t."count", t."ratio", t."price", t."note", t."data", t."at", t."doc" FROM "s"."everything__g7" AS t WHERE (t."doc" = ? OR t."doc" IN (?) OR NOT (t."doc" IS NULL) OR 1 = 0) ORDER BY t."part", t."name" LIMIT ? OFFSET ?
    [One(Text, Text("{}")), One(Text, Text("[]")), One(Integer, Integer(11)), One(Integer, Integer(0))]

    SELECT t."part", t."name", t."flag", t."count", t."ratio", t."price", t."note", t."data", t."at", t."doc" FROM "s"."everything__g7" AS t WHERE (t."doc"::text COLLATE "C" = $1::text OR t."doc"::text COLLATE "C" = ANY ($2::text[]) OR NOT (t."doc" IS NULL) OR 1 = 0) ORDER BY t."part", t."name" LIMIT $3::bigint OFFSET $4::bigint
    [One(Text, Text("{}")), Many(Text, [Text("[]")]), One(Integer, Integer(11)), One(Integer, Integer(0))]
    "#);
}

#[test]
fn what_is_wrong_is_told_with_what_there_is() {
    let schema = sample::everything();
    let wrong = |filter| Checked::new(&select(filter), &schema).unwrap_err();
    insta::assert_snapshot!(wrong(compare("quantity", Comparison::Equal, "1")), @"table 'everything' has no column 'quantity'; it has: part, name, flag, count, ratio, price, note, data, at, doc");
    insta::assert_snapshot!(wrong(compare("count", Comparison::Equal, "one")), @"column 'count' is integer and takes whole numbers from -9223372036854775808 to 9223372036854775807; 'one' was given");
    insta::assert_snapshot!(wrong(compare("price", Comparison::Less, "1,5")), @"column 'price' is decimal(4) and takes numbers of up to 38 digits, such as -12.0005; '1,5' was given");
    insta::assert_snapshot!(wrong(test("note", Test::Is(Is::True))), @"column 'note' is text, and only boolean columns are true, false or unknown");
    insta::assert_snapshot!(
        wrong(test("count", Test::Like { pattern: "1%".to_owned(), any_case: false })), @"column 'count' is integer, and 'like' and 'ilike' are for text");
    insta::assert_snapshot!(
        wrong(test("note", Test::Like { pattern: "1\\".to_owned(), any_case: false })), @r"column 'note' cannot be like '1\': a lone \ at the end stands for nothing: write \\");
    let mut twice = select(Filter::everything());
    twice.columns = vec![
        Chosen::All,
        Chosen::One {
            column: "note".to_owned(),
            alias: None,
        },
    ];
    insta::assert_snapshot!(Checked::new(&twice, &schema).unwrap_err(), @"two columns of the answer are called 'note': give one of them another name (select=other:note)");
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let column = prop_oneof![
        Just("note".to_owned()),
        Just("doc".to_owned()),
        "[a-z\"'; -]{1,8}"
    ];
    let words = "[a-z'\";\\-()%_*\\\\ $?0-9]{0,12}";
    let tests = prop_oneof![
        words.prop_map(|value| Test::Compare(Comparison::NotEqual, value)),
        prop::collection::vec(words, 0..4).prop_map(Test::In),
        (words, any::<bool>()).prop_map(|(pattern, any_case)| Test::Like { pattern, any_case }),
    ];
    let leaf = (column, tests).prop_map(|(column, test)| Filter::Test { column, test });
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

/// The words of a statement, without the schema's names.
fn skeleton(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split('"').enumerate() {
        out.push_str(if place % 2 == 0 { part } else { "N" });
    }
    out
}

proptest! {
    /// Whatever is typed: the text has quoted names of the schema and words of ours, and as many places as values.
    #[test]
    fn no_typed_text_gets_into_a_statement(filter in any_filter(), alias in "[a-z'\";-]{1,9}") {
        let schema = sample::everything();
        let mut asked = select(filter);
        asked.columns = vec![Chosen::One { column: "note".to_owned(), alias: Some(alias) }];
        if let Ok(checked) = Checked::new(&asked, &schema) {
            for dialect in [Dialect::Sqlite, Dialect::Postgres] {
                let relation = Relation::within("s", "everything__g7");
                for statement in [rows_of(dialect, relation, &checked), count(dialect, relation, &checked)] {
                    for (place, part) in statement.text.split('"').enumerate() {
                        let is_known = place % 2 == 0
                            || part == "s"
                            || part == "C"
                            || part == "everything__g7"
                            || schema.columns.iter().any(|column| column.name == part);
                        prop_assert!(is_known, "{}", statement.text);
                    }
                    let words = skeleton(&statement.text);
                    prop_assert!(!words.contains(['\'', ';', '%', '\\', '-']), "{words}");
                    let places = match dialect {
                        Dialect::Sqlite => words.matches('?').count(),
                        Dialect::Postgres => words.matches('$').count(),
                    };
                    prop_assert_eq!(places, statement.values.len());
                }
            }
        }
    }
}
