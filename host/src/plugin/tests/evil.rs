//! The evil guest: what it passes to the host, and what it declares, is refused with a message that is worth reading.
//!
//! | misdeed | how the puppet does it | shown here or in |
//! |---|---|---|
//! | spin, also through host calls | `Spin`, `SpinCalling`, `describe=spin` | `limits`, `descriptors` |
//! | recursion, on the stack and in memory | `Recurse`, `RecurseInMemory`, `describe=recurse` | `limits`, `descriptors` |
//! | memory growth | `EatMemory`, `describe=eat` | `limits`, `descriptors` |
//! | huge strings | `HugeRow`, `HugeKey`, `LongKey`, `LongIndexed`, `DecimalHuge` | `limits`, here |
//! | deep values | `KeepData`, `DeepJson`, `DeeperJson`, `wicked=initial-deep`, `Raw` | here |
//! | NaN, infinities, what is no number | `Nan`, `Infinity`, `AddToInfinity`, `Decimal…`, `NanKey`, `Raw`, `wicked=initial-…` | here |
//! | invalid UTF-8 | `Raw` on the packed lane, a guest in text on the typed one | here |
//! | packed bytes cut short or damaged | `Raw`, `RawApply`, `RawRead` | here, and of the decoder alone in `sdk/contract/tests` |
//! | ten million changes | `TenMillionChanges` | here |
//! | undeclared tables, columns, indexes, types | `Undeclared…`, `Wrong…`, `ReadUndeclared`, `Raw` | `calls`, here |
//! | panics, failures and log lines of 10 MB | `HugePanic`, `HugeFailure`, `HugeLog`, `TenMegabyteLine` | here |
//! | a `describe` that changes its answer | `describe=disagree` | `descriptors` |
//! | names with quotes, semicolons, U+0000; long, reserved; 2,000 columns | `wicked=…` | here |
//! | WASI: environment, arguments, files, sockets, exit | `LookAround`, `Exit` | here, `files`, `determinism` |
//!
//! `tests/tests/scenarios/sandbox.rs` has them before a running host, on both databases.

use insta::assert_snapshot;
use lamphouse_contract::{Cell, CellChange};

use super::*;
use crate::core::Class;

/// Longest message of any of them, in bytes.
const MESSAGE_BYTES_MAX: usize = 5_000;

fn evil_puppet() -> Arc<Plugin> {
    puppet(&[("kinds", "kinds")])
}

/// What a call says that has to fail; on any lane.
#[track_caller]
fn said(plugin: &Plugin, event: &str) -> String {
    let error = fault_of(plugin, &["Count", event]);
    let shown: String = event.chars().take(40).collect();
    assert_eq!(error.class, Class::Fault, "{shown}: {}", error.message);
    assert!(
        error.message.len() <= MESSAGE_BYTES_MAX && error.trace.len() <= 20_000,
        "{shown}: {} and {} bytes",
        error.message.len(),
        error.trace.len()
    );
    error.message
}

#[track_caller]
fn refusal(settings: &[(&str, &str)]) -> String {
    let error = sandbox()
        .load_projector(&patch_puppet(puppet_file(), settings))
        .unwrap_err();
    assert_eq!(error.class(), Class::Fault, "{settings:?}");
    let message = error.to_string();
    assert!(
        message.len() <= MESSAGE_BYTES_MAX,
        "{settings:?}: {} bytes",
        message.len()
    );
    message
}

fn wicked(how: &str) -> String {
    refusal(&[("wicked", how)])
}

fn said_each(plugin: &Plugin, orders: &[&str]) -> String {
    let lines = orders
        .iter()
        .map(|order| format!("{order}: {}", said(plugin, order)));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_no_number_is_refused() {
    let orders = [
        "Nan",
        "Infinity",
        "MinusInfinity",
        "AddNan",
        "AddToInfinity",
        "AddTooMuch",
        "AddJson",
        "DecimalNan",
        "DecimalInfinity",
        "DecimalExponent",
        "DecimalHuge",
        "DecimalDigits",
        "LateTimestamp",
        "NanKey",
    ];
    assert_snapshot!(said_each(&evil_puppet(), &orders), @r#"
    Nan: tables.upsert: kinds.ratio: NaN is not a finite number
    Infinity: tables.upsert: kinds.ratio: inf is not a finite number
    MinusInfinity: tables.upsert: kinds.ratio: -inf is not a finite number
    AddNan: tables.upsert: kinds.ratio: the sum does not fit real
    AddToInfinity: tables.upsert: kinds.ratio: the sum does not fit real
    AddTooMuch: tables.upsert: kinds.n: the sum does not fit integer
    AddJson: tables.upsert: kinds.doc: the column is json, which is only set, never added to
    DecimalNan: tables.upsert: kinds.amount: 'NaN' is not a decimal of the form [-]digits[.digits]
    DecimalInfinity: tables.upsert: kinds.amount: '-Infinity' is not a decimal of the form [-]digits[.digits]
    DecimalExponent: tables.upsert: kinds.amount: '1e9' is not a decimal of the form [-]digits[.digits]
    DecimalHuge: tables.upsert: kinds.amount: decimal '999999999999999999999999999999999999999999999999999999999999' has more than 38 digits
    DecimalDigits: tables.upsert: kinds.amount: 1.001 does not fit decimal(2): 3 digits after the point where 2 are kept (nothing is rounded)
    LateTimestamp: tables.upsert: kinds.at: 9223372036854775807 microseconds since 1970 lie outside the years 1 to 9999, which both databases can keep
    NanKey: tables.upsert: puppet.id: the column is text, but real NaN came
    "#);
}

#[test]
fn values_that_no_table_keeps_are_refused() {
    let orders = [
        "DeepJson",
        "DeeperJson",
        "NoJson",
        "JsonNan",
        "JsonNul",
        "NulText",
        "NulKey",
        "LongKey",
        "HugeKey",
        "NullKey",
        "TwoKeys",
        "SetKey",
        "TwiceTheColumn",
        "EmptyRow",
        "WideRow",
        "LongIndexed",
        "ReadUndeclared",
        "FindUndeclared",
    ];
    assert_snapshot!(said_each(&evil_puppet(), &orders), @r#"
    DeepJson: tables.upsert: kinds.doc: not JSON that can be kept: nested more than 128 deep at byte 128
    DeeperJson: tables.upsert: kinds.doc: not JSON that can be kept: nested more than 128 deep at byte 128
    NoJson: tables.upsert: kinds.doc: not JSON that can be kept: the text ends where a value is due at byte 5
    JsonNan: tables.upsert: kinds.doc: not JSON that can be kept: expected a value at byte 0
    JsonNul: tables.upsert: kinds.doc: not JSON that can be kept: U+0000 in a text, which databases do not keep, at byte 7
    NulText: tables.upsert: puppet.note: text may not contain U+0000
    NulKey: tables.remove: puppet.id: text may not contain U+0000
    LongKey: tables.upsert: table 'puppet': a key (id) has 5000 bytes; at most 1000 are allowed
    HugeKey: tables.get: table 'puppet': a key (id) has 8000000 bytes; at most 1000 are allowed
    NullKey: tables.upsert: puppet.id: null came, but the column is not nullable
    TwoKeys: tables.upsert: table 'puppet': a key has 1 value (id), but 2 came
    SetKey: tables.upsert: puppet.id: it is a key column, and a row keeps its key (remove the row and put another)
    TwiceTheColumn: tables.upsert: puppet.count: one change names it twice
    EmptyRow: tables.put: table 'puppet' has 6 columns, but a row of 0 values came
    WideRow: tables.put: table 'puppet' has 6 columns, but a row of 100000 values came
    LongIndexed: tables.upsert: table 'puppet': the indexed columns (note) have 5000 bytes; at most 2000 are allowed
    ReadUndeclared: tables.get: table 4294967295 is not declared; there are 2
    FindUndeclared: tables.find: table 'puppet' declares 1 indexes; there is none with number 9 (they count from 0)
    "#);
}

#[test]
fn data_as_deep_as_the_log_takes_it_goes_through() {
    let deep = format!("KeepData={}1{}", "[".repeat(128), "]".repeat(128));
    let (tables, _, result) = call(&evil_puppet(), &[&deep]);
    result.unwrap();
    assert!(tables.text().contains(&"[".repeat(128)));
}

#[test]
fn ten_million_changes_end_at_the_limit() {
    assert_snapshot!(said(&puppet(&[]), "TenMillionChanges"), @"tables.upsert: the plugin made more than 1000 changes in one call; raise [limits] changes_per_call_max if it has to");
    // 70 MB in one answer.
    let roomy = Sandbox::new(
        PluginLimits {
            memory_bytes_max: 256 << 20,
            ..small_limits()
        },
        None,
    );
    let plugin = roomy.unwrap().load_projector(packed_puppet_file()).unwrap();
    assert_snapshot!(said(&plugin, "TenMillionChanges"), @"the changes that project returned: the plugin made more than 1000 changes in one call; raise [limits] changes_per_call_max if it has to");
}

#[test]
fn ten_megabytes_of_words_are_cut() {
    let roomy = Sandbox::new(
        PluginLimits {
            memory_bytes_max: 128 << 20,
            ..small_limits()
        },
        None,
    )
    .unwrap();
    let typed = roomy.load_projector(puppet_file()).unwrap();
    let packed = roomy.load_projector(packed_puppet_file()).unwrap();
    for plugin in [&typed, &packed] {
        let (_, report, result) = call(plugin, &["Count", "HugePanic"]);
        let message = result.unwrap_err().message;
        assert!(
            message.starts_with("the plugin stopped: panicked at src/"),
            "{message}"
        );
        assert!(
            message.contains("why? why? ") && message.ends_with("(wasm `unreachable` instruction executed)"),
            "{message}"
        );
        assert!(message.len() <= MESSAGE_BYTES_MAX, "{} bytes", message.len());
        assert_eq!(report.log.len(), 1);
        assert!(report.log[0].message.len() <= 2_003);
    }
    let failed = fault_of(&typed, &["Count", "HugeFailure"]);
    assert!(
        failed.message.starts_with("no! no! ") && failed.message.ends_with('…'),
        "{}",
        failed.message
    );
    assert!(failed.message.len() <= MESSAGE_BYTES_MAX && failed.trace.len() <= 20_000);
    // An index far behind the call's events is none of theirs: whoever uses it bounds it.
    assert_eq!(failed.index, Some(u32::MAX));
    for (order, dropped) in [("HugeLog", 100), ("TenMegabyteLine", 0)] {
        let (_, report, result) = call(&typed, &[order]);
        result.unwrap();
        assert_eq!(report.log_dropped, dropped);
        assert!(
            report.log.iter().all(|line| line.message.len() <= 2_003),
            "{order}"
        );
        assert!(
            report.log.iter().all(|line| line.message.ends_with('…')),
            "{order}"
        );
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A good answer of the packed puppet: table 0 is `(id text key, count integer)`.
fn good_answer() -> Vec<u8> {
    let mut bytes = Vec::new();
    let key: Key = Box::new([Value::Text("a key".into())]);
    let cells = |change| vec![Cell { column: 1, change }];
    for change in [
        Change::Put {
            table: 0,
            row: Box::new([Value::Text("a key".into()), Value::Integer(-70_000)]),
        },
        Change::Patch {
            table: 0,
            key: key.clone(),
            cells: cells(CellChange::Set(Value::Integer(5))),
        },
        Change::Upsert {
            table: 0,
            key: key.clone(),
            cells: cells(CellChange::Add(Value::Integer(1 << 40))),
        },
        Change::Remove { table: 0, key },
    ] {
        packed::write_change(&mut bytes, &change);
    }
    bytes
}

/// Has the packed puppet answer with these bytes; None: the host took them.
fn answered(lane: &str, bytes: &[u8]) -> Option<String> {
    let event = format!("{lane}={}", hexadecimal(bytes));
    let (_, _, result) = call(&calls::packed_puppet(), &[&event]);
    result.err().map(|error| {
        assert_eq!(error.class, Class::Fault, "{}", error.message);
        assert!(error.message.len() <= MESSAGE_BYTES_MAX);
        error.message
    })
}

#[test]
fn a_packed_answer_that_is_cut_or_damaged_is_a_fault_that_says_where() {
    let good = good_answer();
    assert_eq!(answered("Raw", &good), None);
    for lane in ["Raw", "RawApply"] {
        for end in 0..good.len() {
            let said = answered(lane, &good[..end]);
            // Cut between two changes, the rest is whole.
            match packed::changes(&good[..end]).all(|change| change.is_ok()) {
                true => assert_eq!(said, None, "{end}"),
                false => {
                    let said = said.unwrap();
                    assert!(
                        said.contains("is not what PACKED.md says: packed bytes"),
                        "{end}: {said}"
                    );
                    assert!(said.contains(" byte "), "{end}: {said}");
                }
            }
        }
    }
    let mut refused = 0;
    for at in 0..good.len() {
        for byte in [
            0x00, 0x7f, 0x80, 0x94, 0xa5, 0xc0, 0xc1, 0xc4, 0xc7, 0xcb, 0xd9, 0xdd, 0xff,
        ] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            // Taken where the bytes say something else that is sound; never a panic, never another class.
            refused += u32::from(answered("Raw", &bytes).is_some());
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn packed_bytes_that_are_no_changes_say_what_is_wrong() {
    let change = |value: &[u8]| [&[0x93, 0, 0, 0x92, 0xa1, b'k'], value].concat();
    let ext = |kind: u8, bytes: &[u8]| [&[0xc7, bytes.len() as u8, kind], bytes].concat();
    let deep = vec![0x91; 500_000];
    let cases: [(&str, Vec<u8>); 16] = [
        (
            "a text that is not UTF-8",
            [&[0x93, 0, 0, 0x92, 0xa2, 0xc3, 0x28], &[1][..]].concat(),
        ),
        ("JSON that is not UTF-8", change(&ext(3, &[0x22, 0xff, 0x22]))),
        ("a decimal that is not ASCII", change(&ext(1, &[0xd9, 0xa1]))),
        ("a NaN", change(&[&[0xcb][..], &f64::NAN.to_be_bytes()].concat())),
        (
            "an infinity",
            change(&[&[0xca][..], &f32::INFINITY.to_be_bytes()].concat()),
        ),
        (
            "an integer of 64 bits without sign",
            change(&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("a timestamp of 4 bytes", change(&[0xd6, 2, 0, 0, 0, 0])),
        ("an unknown extension", change(&[0xd4, 9, 0])),
        ("a map", change(&[0x80])),
        (
            "a promise of 2^32 values",
            vec![0x93, 0, 0, 0xdd, 0xff, 0xff, 0xff, 0xff],
        ),
        (
            "a promise of 4 GB of text",
            vec![0x93, 0, 0, 0x91, 0xdb, 0xff, 0xff, 0xff, 0xff],
        ),
        ("deep arrays", deep.clone()),
        ("deep arrays in a row", [&[0x93, 0, 0][..], &deep].concat()),
        ("an undeclared table", vec![0x93, 3, 9, 0x91, 0xa1, b'k']),
        (
            "an undeclared column",
            vec![0x94, 2, 0, 0x91, 0xa1, b'k', 0x93, 9, 0, 1],
        ),
        ("another type", change(&[0xc3])),
    ];
    let sandbox = Sandbox::new(
        PluginLimits {
            memory_bytes_max: 64 << 20,
            ..small_limits()
        },
        None,
    );
    let plugin = sandbox.unwrap().load_projector(packed_puppet_file()).unwrap();
    let lines = cases.iter().map(|(what, bytes)| {
        let said = said(&plugin, &format!("Raw={}", hexadecimal(bytes)));
        format!("{what}: {said}")
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    a text that is not UTF-8: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 18: a text is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0
    JSON that is not UTF-8: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 23: JSON is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1
    a decimal that is not ASCII: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 22: '١' is not a decimal of the form [-]digits[.digits]
    a NaN: the changes that project returned: puppet.count: the column is integer, but real NaN came
    an infinity: the changes that project returned: puppet.count: the column is integer, but real inf came
    an integer of 64 bits without sign: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 26: an integer does not fit 64 bits with a sign
    a timestamp of 4 bytes: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 23: a timestamp has 4 bytes instead of 8
    an unknown extension: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 20: extension type 9 is unknown
    a map: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 18: found tag 0x80 where a value is due
    a promise of 2^32 values: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 19: an array is longer than the bytes that are left
    a promise of 4 GB of text: the changes that project returned: change 2 is not what PACKED.md says: packed bytes end at byte 20, within a piece that began before
    deep arrays: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 13: found tag 0x91 where an unsigned integer is due
    deep arrays in a row: the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 16: found tag 0x91 where a value is due
    an undeclared table: the changes that project returned: table 9 is not declared; there are 1
    an undeclared column: the changes that project returned: table 'puppet' has 2 columns; there is none with number 9 (they count from 0)
    another type: the changes that project returned: puppet.count: the column is integer, but boolean true came
    "#);
    assert_snapshot!(answered("RawRead", &[0x92, 9, 0x91, 0xa1, b'k']).unwrap(), @"tables.read: table 9 is not declared; there are 1");
    assert_snapshot!(answered("RawRead", &[0x92, 0, 0x91, 0xa1, 0xff]).unwrap(), @"tables.read: read 1 is not what PACKED.md says: packed bytes, before byte 5: a text is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0");
}

#[test]
fn a_text_that_is_not_utf_8_does_not_cross_the_typed_boundary() {
    let module = wat_guest::guest(
        "",
        r#"(import "lamphouse:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
           (data (i32.const 8192) "ab\ff\fe")"#,
        "(call $write (i32.const 2) (i32.const 8192) (i32.const 4))",
    );
    let plugin = sandbox().load_projector(&module).unwrap();
    assert_snapshot!(said(&plugin, "Any"), @"the plugin passed a text that is not UTF-8: invalid utf-8 sequence of 1 bytes from index 2");
}

#[test]
fn names_that_are_no_names_are_refused() {
    let ways = [
        "quote",
        "apostrophe",
        "semicolon",
        "nul",
        "newline",
        "quoted-table",
    ];
    let lines: Vec<String> = ways.iter().map(|how| wicked(how)).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    the plugin's descriptor is not valid: table 'puppet': column name 'no"te' must be lower-case ASCII: a letter first, then letters, digits and '_'
    the plugin's descriptor is not valid: table 'puppet': column name 'no'te' must be lower-case ASCII: a letter first, then letters, digits and '_'
    the plugin's descriptor is not valid: table 'puppet': column name 'note; DROP TABLE events' must be lower-case ASCII: a letter first, then letters, digits and '_'
    the plugin's descriptor is not valid: table 'puppet': column name 'no�te' must be lower-case ASCII: a letter first, then letters, digits and '_'
    the plugin's descriptor is not valid: table name 'pup�pet�[2J' must be lower-case ASCII: a letter first, then letters, digits and '_'
    the plugin's descriptor is not valid: table name '"events"; DROP TABLE events --' must be lower-case ASCII: a letter first, then letters, digits and '_'
    "#);
}

#[test]
fn long_names_are_cut_in_the_message() {
    let ways = [
        "long-name",
        "long-version",
        "long-table",
        "long-column",
        "long-option",
        "long-event",
        "nul-event",
    ];
    let lines: Vec<String> = ways.iter().map(|how| wicked(how)).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    the plugin's descriptor is not valid: plugin name 'longlonglonglonglonglonglonglonglonglong…' has 1000000 bytes; at most 48 are allowed
    the plugin's descriptor is not valid: version 'longlonglonglonglonglonglonglonglonglong…' must be 1 to 64 visible ASCII characters
    the plugin's descriptor is not valid: table name 'longlonglonglonglonglonglonglonglonglong…' has 1000000 bytes; at most 48 are allowed
    the plugin's descriptor is not valid: table 'puppet': column name 'longlonglonglonglonglonglonglonglonglong…' has 1000000 bytes; at most 48 are allowed
    the plugin's descriptor is not valid: option 'longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong…' is unknown to this host; it knows 'entries', 'fields' and 'partition'
    the plugin's descriptor is not valid: a subscription names stream type 'longlonglonglonglonglonglonglonglonglong…', which has more than 256 bytes or a U+0000, as no event's has
    the plugin's descriptor is not valid: a subscription names event type 'Put�', which has more than 256 bytes or a U+0000, as no event's has
    "#);
}

#[test]
fn too_much_of_anything_is_refused_and_the_list_is_cut() {
    let ways = [
        "many-columns",
        "many-tables",
        "many-indexes",
        "wide-index",
        "wide-key",
        "many-subscriptions",
    ];
    let lines: Vec<String> = ways.iter().map(|how| wicked(how)).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    the plugin's descriptor is not valid: table 'puppet' declares 2006 columns; 1 to 200 are allowed
    the plugin's descriptor is not valid: 2000 tables are declared; at most 64 are allowed
    the plugin's descriptor is not valid:
    - table 'puppet' declares 2000 indexes; at most 32 are allowed
    - table 'puppet' declares the index (note) twice
    the plugin's descriptor is not valid: table 'puppet': the index 0 has 100000 columns; 1 to 8 are allowed
    the plugin's descriptor is not valid:
    - table 'puppet': the primary key has 12 columns; 1 to 8 are allowed
    - table 'puppet': key column 'note' is nullable; a key has no null
    - table 'puppet': key column 'count' has an initial value; a key is always given
    - table 'puppet': key column 'amount' has an initial value; a key is always given
    - table 'puppet': key column 'stamp' has an initial value; a key is always given
    - table 'puppet': key column 'at' is nullable; a key has no null
    - table 'puppet': key column 'note' is nullable; a key has no null
    the plugin's descriptor is not valid: 100000 subscriptions are declared; at most 1000 are allowed
    "#);
    let wrong = wicked("many-wrong-columns");
    assert_eq!(wrong.lines().count(), 22, "{wrong}");
    assert!(wrong.ends_with("more"), "{wrong}");
    assert!(wicked("many-options").ends_with("more"));
}

#[test]
fn columns_that_cannot_be_kept_are_refused() {
    let ways = [
        "real-key",
        "json-index",
        "scale",
        "initial-nan",
        "initial-word",
        "initial-long",
        "initial-type",
        "initial-deep",
    ];
    let lines: Vec<String> = ways.iter().map(|how| wicked(how)).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    the plugin's descriptor is not valid: table 'puppet': key column 'id' is real or json, which cannot be a key
    the plugin's descriptor is not valid: table 'puppet': index 0 has a json column, which cannot be indexed
    the plugin's descriptor is not valid:
    - table 'puppet': column 'amount' is decimal(255); at most 38 digits after the point are allowed
    - initial value of puppet.amount: 0 does not fit decimal(255): more than 38 digits
    the plugin's descriptor is not valid: initial value of puppet.amount: NaN is not a finite number
    the plugin's descriptor is not valid: table 'puppet', column 'longlonglonglonglonglonglonglonglonglonglonglonglonglonglong…': initial: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…' is not a decimal of the form [-]digits[.digits]
    the plugin's descriptor is not valid: table 'puppet': the initial value of column 'note' has 100000 bytes; at most 10000 are allowed
    the plugin's descriptor is not valid: initial value of puppet.count: the column is integer, but text 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…' came
    the plugin's descriptor is not valid:
    - table 'puppet': index 0 has a json column, which cannot be indexed
    - initial value of puppet.note: not JSON that can be kept: nested more than 128 deep at byte 128
    "#);
}

#[test]
fn well_formed_names_may_be_words_of_sql() {
    let plugin = puppet(&[("wicked", "reserved"), ("table", "select"), ("name", "user")]);
    assert_eq!(plugin.descriptor().tables[0].columns[6].name, "select");
}

#[test]
fn there_is_no_way_out() {
    let plugin = sandbox().load_projector(wasi_puppet_file()).unwrap();
    let (tables, _, result) = call(&plugin, &["LookAround"]);
    result.unwrap();
    assert_snapshot!(tables.text(), @r#"[Text("s1"), Text("variables 0, arguments 0, folder None, directories 0, stdin closed, tcp access-denied, udp access-denied, names permanent-resolver-failure"), Integer(0), Decimal(0.00), Text("v1"), Null]"#);
    assert_snapshot!(said(&plugin, "Exit"), @"the plugin stopped: it called exit with status 1");
}
