use proptest::prelude::*;

use super::*;
use crate::{Descriptor, EventSchema, Rule, Subscription, UpcasterDescriptor};

fn column(name: &str, kind: ColumnType, nullable: bool, initial: Option<Value>) -> Column {
    Column {
        name: name.into(),
        kind,
        nullable,
        initial,
    }
}

fn orders() -> TableSchema {
    TableSchema {
        name: "orders".into(),
        columns: vec![
            column("order_id", ColumnType::Text, false, None),
            column("customer_id", ColumnType::Text, true, None),
            column("lines", ColumnType::Integer, false, Some(Value::Integer(0))),
            column("total", ColumnType::Decimal(2), false, Some(Value::Integer(0))),
            column("weight", ColumnType::Real, true, None),
            column("status", ColumnType::Text, false, None),
        ],
        primary_key: vec![0],
        indexes: vec![vec![1, 5]],
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).unwrap())
}

fn set(column: u32, value: Value) -> Cell {
    Cell {
        column,
        change: CellChange::Set(value),
    }
}

fn plus(column: u32, value: Value) -> Cell {
    Cell {
        column,
        change: CellChange::Add(value),
    }
}

fn key(id: &str) -> Key {
    [text(id)].into()
}

fn descriptor(table: TableSchema) -> Descriptor {
    Descriptor {
        name: "order-summary".into(),
        version: "1.0.0".into(),
        subscriptions: vec![Subscription {
            event_type: None,
            stream_type: None,
            schema_versions: vec![],
        }],
        tables: vec![table],
        options: vec![],
    }
}

#[test]
fn an_upsert_of_a_new_row_starts_from_the_initial_values() {
    let cells = vec![
        set(5, text("placed")),
        plus(3, decimal("1.5")),
        plus(4, Value::Real(-0.0)),
    ];
    let row = upsert(&orders(), None, &key("o1"), cells).unwrap();
    let want = [
        text("o1"),
        Value::Null,
        Value::Integer(0),
        decimal("1.50"),
        Value::Real(0.0),
        text("placed"),
    ];
    assert_eq!(*row, want);
    assert_eq!(format!("{:?}", row[3]), "Decimal(1.50)");
    let Value::Real(weight) = row[4] else { panic!() };
    assert!(weight.is_sign_positive());
}

#[test]
fn an_upsert_must_set_what_has_no_initial_value() {
    let error = upsert(&orders(), None, &key("o1"), vec![]).unwrap_err();
    assert!(
        error
            .0
            .starts_with("orders.status: an upsert of a new row must set it"),
        "{error}"
    );
}

#[test]
fn cells_that_break_the_declaration_say_where() {
    let mut row = upsert(&orders(), None, &key("o1"), vec![set(5, text("x"))]).unwrap();
    let mut error = |cells| patch(&orders(), &mut row, cells).unwrap_err().0;
    assert_eq!(
        error(vec![set(2, text("3"))]),
        "orders.lines: the column is integer, but text '3' came"
    );
    assert_eq!(
        error(vec![set(2, Value::Null)]),
        "orders.lines: null came, but the column is not nullable"
    );
    assert_eq!(
        error(vec![set(3, decimal("1.005"))]),
        "orders.total: 1.005 does not fit decimal(2): 3 digits after the point where 2 are kept (nothing is rounded)"
    );
    assert_eq!(
        error(vec![plus(5, text("y"))]),
        "orders.status: the column is text, which is only set, never added to"
    );
    assert_eq!(
        error(vec![plus(2, decimal("1"))]),
        "orders.lines: cannot add decimal 1 to a column of type integer"
    );
    assert_eq!(
        error(vec![plus(2, Value::Null)]),
        "orders.lines: cannot add null to a column of type integer"
    );
    assert!(error(vec![set(0, text("o2"))]).starts_with("orders.order_id: it is a key column"));
    assert_eq!(
        error(vec![plus(2, Value::Integer(1)), set(2, Value::Integer(1))]),
        "orders.lines: one change names it twice"
    );
    assert!(error(vec![set(9, Value::Null)]).contains("there is none with number 9"));
    assert_eq!(
        error(vec![set(1, text("a\0b"))]),
        "orders.customer_id: text may not contain U+0000"
    );
    assert_eq!(
        error(vec![set(4, Value::Real(f64::NAN))]),
        "orders.weight: NaN is not a finite number"
    );
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    let start = vec![
        set(5, text("x")),
        set(2, Value::Integer(i64::MAX)),
        set(4, Value::Real(f64::MAX)),
    ];
    let row = upsert(&orders(), None, &key("o1"), start).unwrap();
    for cell in [
        plus(2, Value::Integer(1)),
        plus(4, Value::Real(f64::MAX)),
        plus(3, decimal(&"9".repeat(38))),
    ] {
        let error = patch(&orders(), &mut row.clone(), vec![cell]).unwrap_err().0;
        assert!(error.contains("does not fit"), "{error}");
    }
}

#[test]
fn rows_are_brought_to_one_form() {
    let row: Row = [
        text("o1"),
        Value::Null,
        Value::Integer(1),
        Value::Integer(7),
        Value::Real(-0.0),
        text("x"),
    ]
    .into();
    let row = conform_row(&orders(), row).unwrap();
    assert_eq!(format!("{:?}", row[3]), "Decimal(7.00)");
    assert_eq!(key_of(&orders(), &row), key("o1"));
    let error = conform_row(&orders(), [text("o1")].into()).unwrap_err();
    assert_eq!(
        error.0,
        "table 'orders' has 6 columns, but a row of 1 values came"
    );
    assert_eq!(conform_row(&orders(), row.clone()).unwrap(), row);
}

#[test]
fn keys_and_indexed_columns_have_a_size() {
    assert!(conform_key(&orders(), key(&"k".repeat(1_000))).is_ok());
    let error = conform_key(&orders(), key(&"k".repeat(1_001))).unwrap_err();
    assert_eq!(
        error.0,
        "table 'orders': a key (order_id) has 1001 bytes; at most 1000 are allowed"
    );
    let mut row = upsert(&orders(), None, &key("o"), vec![set(5, text("x"))]).unwrap();
    assert!(patch(&orders(), &mut row, vec![set(1, text(&"c".repeat(1_999)))]).is_ok());
    let error = patch(&orders(), &mut row, vec![set(1, text(&"c".repeat(2_000)))]).unwrap_err();
    assert!(
        error
            .0
            .contains("indexed columns (customer_id, status) have 2001 bytes"),
        "{error}"
    );
    assert!(conform_key(&orders(), [Value::Null].into()).is_err());
    assert!(conform_key(&orders(), [text("a"), text("b")].into()).is_err());
}

#[test]
fn a_prefix_is_of_a_declared_index_and_has_no_null() {
    assert!(conform_prefix(&orders(), 0, vec![text("c1")]).is_ok());
    assert!(conform_prefix(&orders(), 0, vec![text("c1"), text("placed")]).is_ok());
    assert!(conform_prefix(&orders(), 0, vec![text("c1"), text("placed"), text("x")]).is_err());
    assert!(conform_prefix(&orders(), 0, vec![]).is_err());
    assert!(conform_prefix(&orders(), 1, vec![text("c1")]).is_err());
    assert!(conform_prefix(&orders(), 0, vec![Value::Null]).is_err());
}

#[test]
fn a_right_descriptor_has_no_errors() {
    assert_eq!(check(&descriptor(orders())), Vec::<String>::new());
}

#[test]
fn a_name_that_is_none_is_never_shown_as_it_is() {
    let mut wrong = orders();
    wrong.name = "a\0b\u{1b}[2J".to_owned();
    let column = wrong
        .columns
        .iter()
        .position(|column| column.initial.is_some())
        .unwrap();
    wrong.columns[column].name = "long".repeat(100_000);
    wrong.columns[column].initial = Some(Value::Bytes(Box::new([0])));
    wrong.indexes = vec![vec![column as u32]; 2];
    let errors = check(&descriptor(wrong));
    assert!(
        errors
            .iter()
            .any(|error| error.starts_with("initial value of a\u{fffd}b")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|error| error.contains("the index (long")),
        "{errors:?}"
    );
    for error in errors {
        assert!(
            error.len() < 300 && !error.contains(char::is_control),
            "{error:?}"
        );
    }
}

#[test]
fn mistakes_without_end_are_not_listed_without_end() {
    let nameless = EventSchema {
        event_type: String::new(),
        schema_version: 0,
    };
    let rule = |number: u32| Rule {
        takes: EventSchema {
            event_type: "A".to_owned(),
            schema_version: number,
        },
        gives: vec![nameless.clone(); 100],
    };
    let errors = check_upcaster(&UpcasterDescriptor {
        name: "upcaster".to_owned(),
        version: "1".to_owned(),
        rules: (1..=1_000).map(rule).collect(),
        options: vec![],
    });
    assert!((1_000..1_300).contains(&errors.len()), "{}", errors.len());
}

#[test]
fn every_mistake_of_a_descriptor_is_reported() {
    let mut table = orders();
    table.name = "pg_orders".into();
    table.columns[2].name = "Lines".into();
    table.columns[3].initial = Some(text("0"));
    table
        .columns
        .push(column("ctid", ColumnType::Decimal(39), false, None));
    table.columns.push(column("status", ColumnType::Json, true, None));
    table.primary_key = vec![1, 9, 1];
    table.indexes = vec![vec![], vec![7], vec![5], vec![5]];
    let mut wrong = descriptor(table);
    wrong.name = "order summary".into();
    wrong.version = String::new();
    wrong.tables.push(wrong.tables[0].clone());
    wrong.subscriptions.clear();
    let errors = check(&wrong).join("\n");
    for part in [
        "plugin name 'order summary' must be lower-case ASCII",
        "version '' must be",
        "no subscription",
        "table 'pg_orders' is declared twice",
        "table name 'pg_orders' uses a reserved form",
        "column name 'Lines' must be lower-case",
        "declares column 'status' twice",
        "column name 'ctid' is one that databases",
        "column 'ctid' is decimal(39)",
        "the primary key names column 9, but there are 8",
        "the primary key names a column twice",
        "key column 'customer_id' is nullable",
        "the index 0 has 0 columns",
        "index 1 has a json column",
        "declares the index (status) twice",
        "initial value of pg_orders.total: the column is decimal(2), but text '0' came",
    ] {
        assert!(errors.contains(part), "missing: {part}\nin:\n{errors}");
    }
}

#[test]
fn json_is_what_both_databases_keep() {
    for good in [
        "{}",
        " [1, -0.5e+3, \"\\u00e9\\ud83d\\ude00\", {\"a\": null}] ",
        "true",
        "\"\"",
        "0",
        "{\"a\":{},\"b\":[]}",
    ] {
        assert_eq!(json::check(good, 128), Ok(()), "{good}");
    }
    for bad in [
        "",
        "{",
        "[1,]",
        "{\"a\"}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "nul",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\udc00x\"",
        "\"\\ud800\\u0041\"",
        "\"\t\"",
        "\"\\x\"",
        "1 2",
        "[1}",
        "1e99999",
        "{\"a\":1,}",
        "\"\\u00+1\"",
    ] {
        assert!(json::check(bad, 128).is_err(), "{bad}");
    }
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json::check(&deep(128), 128), Ok(()));
    assert!(
        json::check(&deep(129), 128)
            .unwrap_err()
            .contains("nested more than 128 deep")
    );
}

fn any_key() -> impl Strategy<Value = Vec<Value>> {
    // One shape of key, so that any two can be compared.
    (
        any::<bool>(),
        any::<i64>(),
        -9_999i128..9_999,
        "[ab\u{e9}]{0,3}",
        prop::collection::vec(0u8..3, 0..4),
    )
        .prop_map(|(boolean, integer, decimal, text, bytes)| {
            vec![
                Value::Boolean(boolean),
                Value::Text(text.into()),
                Value::Bytes(bytes.into()),
                Value::Decimal(Decimal::new(decimal, 2).unwrap()),
                Value::Integer(integer),
                Value::Timestamp(-integer.saturating_add(1)),
            ]
        })
}

fn compare(left: &[Value], right: &[Value]) -> std::cmp::Ordering {
    let one = |pair: (&Value, &Value)| match pair {
        (Value::Boolean(l), Value::Boolean(r)) => l.cmp(r),
        (Value::Text(l), Value::Text(r)) => l.as_bytes().cmp(r.as_bytes()),
        (Value::Bytes(l), Value::Bytes(r)) => l.cmp(r),
        (Value::Decimal(l), Value::Decimal(r)) => l.cmp(r),
        (Value::Integer(l), Value::Integer(r)) | (Value::Timestamp(l), Value::Timestamp(r)) => l.cmp(r),
        _ => panic!(),
    };
    left.iter()
        .zip(right)
        .map(one)
        .find(|order| order.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}

fn any_cells() -> impl Strategy<Value = Vec<Cell>> {
    let cell = |column: u32, set_value: BoxedStrategy<Value>| {
        (any::<bool>(), set_value).prop_map(move |(add, value)| {
            if add {
                plus(column, value)
            } else {
                set(column, value)
            }
        })
    };
    let lines = cell(2, (-9i64..9).prop_map(Value::Integer).boxed());
    let total = cell(
        3,
        prop_oneof![(-9i64..9).prop_map(Value::Integer), Just(decimal("0.05"))].boxed(),
    );
    let weight = cell(4, (-1e3f64..1e3).prop_map(Value::Real).boxed());
    let status = "[a-c]{1,2}".prop_map(|status| set(5, text(&status)));
    (
        prop::option::of(lines),
        prop::option::of(total),
        prop::option::of(weight),
        prop::option::of(status),
    )
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

/// Mantissas around the ends of a half word, a word, and all the digits there are.
fn any_mantissa() -> impl Strategy<Value = i128> {
    let ends = [0, i128::from(i32::MAX), i128::from(i64::MAX), 10i128.pow(38) - 1];
    (prop::sample::select(ends.to_vec()), -3i128..=3, any::<bool>()).prop_map(|(end, near, negative)| {
        let mantissa = (end + near).clamp(0, 10i128.pow(38) - 1);
        if negative { -mantissa } else { mantissa }
    })
}

fn parts(number: Result<Decimal, DecimalError>) -> Option<(i128, u8)> {
    number.ok().map(|number| (number.mantissa(), number.scale()))
}

proptest! {
    #[test]
    fn decimals_reckon_as_wide_numbers_do(
        left in any_mantissa(), right in any_mantissa(), times in any_mantissa(), scale in 0u8..4, wider in 0u8..12,
    ) {
        let exact = |mantissa: Option<i128>, scale| parts(Decimal::new(mantissa.unwrap_or(i128::MAX), scale));
        let (a, b) = (Decimal::new(left, scale).unwrap(), Decimal::new(right, scale).unwrap());
        prop_assert_eq!(parts(a.checked_add(&b)), exact(left.checked_add(right), scale));
        let times = times as i64;
        prop_assert_eq!(parts(a.checked_mul(times)), exact(left.checked_mul(times.into()), scale));
        let power = 10i128.pow(wider.into());
        prop_assert_eq!(parts(a.rescale(scale + wider)), exact(left.checked_mul(power), scale + wider));
    }

    #[test]
    fn a_key_that_looks_conformed_stays_as_it_is(
        name in prop_oneof!["[a\u{0}\u{e9}]{0,3}", (KEY_BYTES_MAX - 60..=KEY_BYTES_MAX).prop_map(|bytes| "x".repeat(bytes))],
        number in prop_oneof![(-9i128..9, 0u8..4).prop_map(|(m, s)| Value::Decimal(Decimal::new(m, s).unwrap())), Just(Value::Integer(1))],
        at in prop_oneof![any::<i64>(), -9i64..9],
        values in 2usize..5,
    ) {
        let mut table = orders();
        table.columns[4].kind = ColumnType::Timestamp;
        table.primary_key = vec![0, 3, 4];
        let key = [Value::Text(name.into()), number, Value::Timestamp(at), Value::Null];
        let key: Key = key.into_iter().take(values).collect();
        let looked: Vec<ValueRef<'_>> = key.iter().map(Value::borrow).collect();
        if is_conformed_key(&table, &looked) {
            prop_assert_eq!(conform_key(&table, key.clone()), Ok(key));
        }
    }

    #[test]
    fn merged_cells_make_the_same_row(old in any_cells(), first in any_cells(), second in any_cells()) {
        let table = orders();
        let mut start = vec![set(5, text("start"))];
        let rest = merge_cells(&table, &mut start, old).unwrap();
        prop_assert!(rest.is_empty());
        let row = upsert(&table, None, &key("o1"), start).unwrap();
        let mut one_by_one = row.clone();
        patch(&table, &mut one_by_one, first.clone()).unwrap();
        patch(&table, &mut one_by_one, second.clone()).unwrap();
        let mut merged = conform_cells(&table, first).unwrap();
        let rest = merge_cells(&table, &mut merged, second).unwrap();
        let mut at_once = row;
        patch(&table, &mut at_once, merged).unwrap();
        patch(&table, &mut at_once, rest).unwrap();
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn ordered_keys_sort_as_their_values(left in any_key(), right in any_key()) {
        let (mut l, mut r) = (vec![], vec![]);
        ordered_key(&left, &mut l);
        ordered_key(&right, &mut r);
        prop_assert_eq!(l.cmp(&r), compare(&left, &right));
        let mut first = vec![];
        ordered_key(&left[..2], &mut first);
        prop_assert!(l.starts_with(&first));
    }

    #[test]
    fn ordered_reals_sort_as_numbers(left in -1e9f64..1e9, right in -1e9f64..1e9) {
        let bytes = |number| { let mut out = vec![]; ordered_index([&Value::Real(number)], &mut out); out };
        prop_assert_eq!(bytes(left).cmp(&bytes(right)), left.partial_cmp(&right).unwrap());
    }

    #[test]
    fn json_is_judged_as_serde_judges_it(text in "[\\[\\]{}:,\"0-9a-f\\\\eunl .-]{0,12}") {
        // serde takes what jsonb refuses only behind an escape or an exponent.
        if !text.contains('\\') && !text.contains('e') {
            prop_assert_eq!(json::check(&text, 64).is_ok(), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }
}
