//! The packed format: what is written is read back, every valid form is read, and nothing makes a reader panic.

#![allow(clippy::unwrap_used)]

use lamphouse_contract::packed::{self, Event, Reader};
use lamphouse_contract::{Cell, CellChange, Change, Decimal, Row, Value};
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        (-200i64..200).prop_map(Value::Integer),
        any::<i32>().prop_map(|number| Value::Integer(number.into())),
        (-1e300f64..1e300).prop_map(Value::Real),
        (any::<i64>(), 0u8..39).prop_map(|(m, s)| Value::Decimal(Decimal::new(m.into(), s).unwrap())),
        "\\PC{0,40}".prop_map(|text| Value::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<i64>().prop_map(Value::Timestamp),
        (0usize..70_000).prop_map(|length| Value::Json("1".repeat(length).into())),
    ]
}

fn any_values() -> impl Strategy<Value = Box<[Value]>> {
    prop::collection::vec(any_value(), 0..20).prop_map(Vec::into_boxed_slice)
}

fn any_cells() -> impl Strategy<Value = Vec<Cell>> {
    prop::collection::vec(
        (any::<u32>(), any_value(), any::<bool>()).prop_map(|(column, value, add)| Cell {
            column,
            change: if add {
                CellChange::Add(value)
            } else {
                CellChange::Set(value)
            },
        }),
        0..6,
    )
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<u32>(), any_values()).prop_map(|(table, row)| Change::Put { table, row }),
        (0u32..3, any_values(), any_cells()).prop_map(|(table, key, cells)| Change::Patch {
            table,
            key,
            cells
        }),
        (0u32..3, any_values(), any_cells()).prop_map(|(table, key, cells)| Change::Upsert {
            table,
            key,
            cells
        }),
        (0u32..3, any_values()).prop_map(|(table, key)| Change::Remove { table, key }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn changes_come_back(changes in prop::collection::vec(any_change(), 0..5)) {
        let mut bytes = vec![];
        changes.iter().for_each(|change| packed::write_change(&mut bytes, change));
        let back: Result<Vec<Change>, _> = packed::changes(&bytes).collect();
        prop_assert_eq!(back.unwrap(), changes);
    }

    #[test]
    fn reads_and_answers_come_back(rows in prop::collection::vec(prop::option::of(any_values()), 0..5)) {
        let (mut answers, mut reads) = (vec![], vec![]);
        for row in &rows {
            packed::write_answer(&mut answers, row.as_deref());
            packed::write_read(&mut reads, 7, row.as_deref().unwrap_or_default());
        }
        let back: Result<Vec<_>, _> = packed::answers(&answers).collect();
        prop_assert_eq!(back.unwrap(), rows.clone());
        let back: Result<Vec<_>, _> = packed::reads(&reads).collect();
        let want: Vec<_> = rows.into_iter().map(|row| (7, row.unwrap_or_default())).collect();
        prop_assert_eq!(back.unwrap(), want);
    }

    #[test]
    fn events_come_back(
        numbers in (0u64..1 << 53, any::<u32>(), any::<u64>(), any::<u32>(), any::<i64>(), any::<i64>()),
        texts in ("\\PC{0,40}", "\\PC{0,300}", "[a-z]{0,9}", "[A-Za-z]{0,20}", "\\PC{0,70}"),
    ) {
        let event = Event {
            position: numbers.0, part: numbers.1, id: &texts.0, stream_id: &texts.1, stream_type: &texts.2,
            stream_version: numbers.2, event_type: &texts.3, schema_version: numbers.3, data: &texts.4,
            metadata: "{}", occurred_at: numbers.4, recorded_at: numbers.5, fields: None,
        };
        let mut bytes = vec![];
        let slim = Event { data: "", metadata: "", fields: Some(texts.4.as_bytes()), ..event };
        packed::write_event(&mut bytes, &event);
        let first = bytes.len();
        packed::write_event(&mut bytes, &slim);
        let back: Result<Vec<_>, _> = packed::events(&bytes).collect();
        prop_assert_eq!(back.unwrap(), vec![event, slim]);
        // Cut anywhere, it is an error and not a panic.
        for end in 1..bytes.len() {
            if end != first {
                prop_assert!(packed::events(&bytes[..end]).any(|event| event.is_err()));
            }
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = packed::events(&bytes).count();
        let _ = packed::changes(&bytes).count();
        let _ = packed::reads(&bytes).count();
        let _ = packed::answers(&bytes).count();
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(change in any_change(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = vec![];
        packed::write_change(&mut bytes, &change);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = packed::changes(&bytes).count();
    }

    #[test]
    fn decimals_come_back_from_their_text(mantissa in -10i128.pow(38) + 1..10i128.pow(38), scale in 0u8..39) {
        let number = Decimal::new(mantissa, scale).unwrap();
        let back = Decimal::parse(&number.to_string()).unwrap();
        prop_assert_eq!((back.mantissa(), back.scale()), (mantissa, scale));
    }

    #[test]
    fn decimals_order_and_add_as_integers_do(left in any::<i32>(), right in any::<i32>(), more in 0u8..6) {
        let decimal = |number: i32, more| Decimal::new(number.into(), 3).unwrap().rescale(3 + more).unwrap();
        let (l, r) = (decimal(left, more), decimal(right, 0));
        prop_assert_eq!(l.cmp(&r), left.cmp(&right));
        let sum = l.checked_add(&r).unwrap();
        prop_assert_eq!(sum.mantissa(), (i128::from(left) + i128::from(right)) * 10i128.pow(more.into()));
        prop_assert_eq!(sum.rescale(3).unwrap().scale(), 3);
    }
}

#[test]
fn every_encoding_of_an_integer_is_read() {
    for bytes in [
        &[5][..],
        &[0xcc, 5],
        &[0xcd, 0, 5],
        &[0xce, 0, 0, 0, 5],
        &[0xcf, 0, 0, 0, 0, 0, 0, 0, 5],
        &[0xd0, 5],
        &[0xd1, 0, 5],
        &[0xd2, 0, 0, 0, 5],
        &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
    ] {
        assert_eq!(Reader::new(bytes).value().unwrap().to_value(), Value::Integer(5));
        assert_eq!(Reader::new(bytes).uint(), Ok(5));
        assert_eq!(Reader::new(bytes).int(), Ok(5));
    }
    assert!(Reader::new(&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0]).value().is_err());
    assert!(Reader::new(&[0xff]).uint().is_err());
    assert_eq!(
        Reader::new(&[0xca, 0x3f, 0x80, 0, 0]).value().unwrap().to_value(),
        Value::Real(1.0)
    );
}

#[test]
fn longer_forms_of_texts_arrays_and_extensions_are_read() {
    assert_eq!(Reader::new(&[0xdb, 0, 0, 0, 1, b'a']).str(), Ok("a"));
    assert_eq!(Reader::new(&[0xdd, 0, 0, 0, 1, 0xc0]).array(), Ok(1));
    let timestamp = [0xc7, 8, 2, 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(
        Reader::new(&timestamp).value().unwrap().to_value(),
        Value::Timestamp(9)
    );
    assert!(Reader::new(&[0xd6, 2, 0, 0, 0, 9]).value().is_err());
    assert!(Reader::new(&[0xd4, 9, 0]).value().is_err());
    assert!(Reader::new(&[0x81, 0, 0]).value().is_err());
}

#[test]
fn a_head_that_promises_too_much_reserves_nothing() {
    assert!(
        packed::answers(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1])
            .next()
            .unwrap()
            .is_err()
    );
    assert!(
        packed::changes(&[0x94, 1, 0, 0x90, 0xdd, 0xff, 0xff, 0xff, 0xff])
            .next()
            .unwrap()
            .is_err()
    );
}

#[test]
fn decimals_are_read_strictly() {
    for (text, back) in [
        ("12.50", "12.50"),
        ("-0.00", "0.00"),
        ("007", "7"),
        ("0", "0"),
        ("-3", "-3"),
        ("0.001", "0.001"),
    ] {
        assert_eq!(Decimal::parse(text).unwrap().to_string(), back);
    }
    for text in [
        "", "-", ".5", "5.", "+1", "1e3", "1.2.3", " 1", "1 ", "--1", "0x1", "١",
    ] {
        assert!(Decimal::parse(text).is_err(), "{text}");
    }
    let nines = "9".repeat(38);
    assert_eq!(Decimal::parse(&nines).unwrap().to_string(), nines);
    assert_eq!(
        Decimal::parse(&format!("-0.{nines}")).unwrap().to_string(),
        format!("-0.{nines}")
    );
    assert!(Decimal::parse(&"9".repeat(39)).is_err());
    assert!(Decimal::parse(&"9".repeat(100)).is_err());
    assert_eq!(
        Decimal::parse(&format!("{}7", "0".repeat(60))).unwrap(),
        Decimal::from(7)
    );
    assert!(Decimal::parse(&format!("0.{}", "0".repeat(39))).is_err());
    assert_eq!(Decimal::from(i64::MIN).to_string(), i64::MIN.to_string());
}

#[test]
fn decimals_compare_by_number() {
    let parse = |text: &str| Decimal::parse(text).unwrap();
    assert_eq!(parse("1.5"), parse("1.50"));
    assert_ne!(parse("1.5"), parse("1.51"));
    let (large, small) = (
        parse(&"9".repeat(38)),
        parse(&format!("0.{}", "0".repeat(37) + "1")),
    );
    assert_eq!(large.cmp(&small), std::cmp::Ordering::Greater);
    assert_eq!((-large).cmp(&small), std::cmp::Ordering::Less);
    assert_eq!(small.cmp(&large), std::cmp::Ordering::Less);
    assert_eq!(small.cmp(&-large), std::cmp::Ordering::Greater);
    assert!(parse("1.5").rescale(0).is_err());
    assert_eq!(parse("2.50").rescale(1).unwrap().to_string(), "2.5");
    assert!(parse(&"9".repeat(38)).rescale(1).is_err());
    assert!(parse(&"9".repeat(38)).checked_add(&Decimal::from(1)).is_err());
    assert_eq!(serde_json::to_string(&parse("1.50")).unwrap(), "\"1.50\"");
    assert_eq!(serde_json::from_str::<Decimal>("3").unwrap(), Decimal::from(3));
    assert!(serde_json::from_str::<Decimal>("3.5").is_err());
}

/// A change of each kind, with a value of each kind.
fn good_answer() -> Vec<u8> {
    let values: Row = Box::new([
        Value::Null,
        Value::Boolean(true),
        Value::Integer(-70_000),
        Value::Real(0.1),
        Value::Decimal(Decimal::parse("-12.50").unwrap()),
        Value::Text("déjà vu".into()),
        Value::Bytes(vec![0, 255].into()),
        Value::Timestamp(-1),
        Value::Json("{\"a\":[]}".into()),
    ]);
    let cells = vec![
        Cell {
            column: 300,
            change: CellChange::Set(Value::Text("x".repeat(40).into())),
        },
        Cell {
            column: 1,
            change: CellChange::Add(Value::Integer(1 << 40)),
        },
    ];
    let mut bytes = vec![];
    for change in [
        Change::Put {
            table: 0,
            row: values.clone(),
        },
        Change::Patch {
            table: 70_000,
            key: values.clone(),
            cells: cells.clone(),
        },
        Change::Upsert {
            table: 1,
            key: Box::new([Value::Integer(7)]),
            cells,
        },
        Change::Remove {
            table: 2,
            key: values,
        },
    ] {
        packed::write_change(&mut bytes, &change);
    }
    bytes
}

/// Reads changes from bytes that may be anything: an error names a byte that is there, and what is read has one form.
fn read_or_refused(bytes: &[u8]) -> bool {
    match packed::changes(bytes).collect::<Result<Vec<_>, _>>() {
        Ok(changes) => {
            let (mut once, mut twice) = (vec![], vec![]);
            changes
                .iter()
                .for_each(|change| packed::write_change(&mut once, change));
            // Compared as bytes: a NaN is not equal to itself.
            packed::changes(&once).for_each(|change| packed::write_change(&mut twice, &change.unwrap()));
            assert_eq!(once, twice);
            true
        }
        Err(error) => {
            let after = error
                .0
                .split(" byte ")
                .nth(1)
                .unwrap_or_else(|| panic!("no place: {error}"));
            let place: usize = after.split([':', ',']).next().unwrap().parse().unwrap();
            assert!(place <= bytes.len(), "{error}");
            assert!(error.0.len() < 300, "{error}");
            false
        }
    }
}

#[test]
fn an_answer_cut_anywhere_is_refused_with_the_place() {
    let good = good_answer();
    assert!(read_or_refused(&good));
    let whole = (0..good.len())
        .filter(|&end| read_or_refused(&good[..end]))
        .count();
    assert_eq!(whole, 4, "nothing, and behind the first, second and third change");
}

#[test]
fn an_answer_with_any_byte_changed_is_read_or_refused_with_the_place() {
    let good = good_answer();
    let mut refused = 0_u32;
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.clone();
            bytes[at] = byte;
            refused += u32::from(!read_or_refused(&bytes));
            bytes.remove(at);
            refused += u32::from(!read_or_refused(&bytes));
        }
    }
    assert!(refused > 10_000, "{refused}");
}
