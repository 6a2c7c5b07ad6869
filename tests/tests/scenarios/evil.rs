//! The evil guest before a running host, on both databases: whatever it says, its tables hold nothing wrong, the other
//! projections go on, and the message is worth reading. The list of misdeeds is in `host/src/plugin/tests/evil.rs`.

use lamphouse_tests::host::of;
use lamphouse_tests::puppet::{patch_puppet, puppet};
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::{Value, json};

on_each_database!(
    whatever_a_typed_guest_says_is_parked_by_name_and_its_tables_are_right,
    whatever_a_packed_guest_says_is_parked_by_name_and_its_tables_are_right,
    wicked_descriptors_are_refused_by_name_and_the_others_go_on,
    tables_and_columns_may_be_called_as_sql_words_are,
    a_guest_that_looks_for_a_way_out_finds_none,
);

const SETTINGS: &str = "[projection]\non_fault = \"dead-letter\"\n[limits]\nchanges_per_call_max = 5000\n";
/// Longest message of a status or a dead letter, in bytes.
const MESSAGE_BYTES_MAX: usize = 6_000;

/// What a guest on the typed lane is told to do, and what its message has to say.
const TYPED: &[(&str, &[&str])] = &[
    ("EatMemory", &["memory_bytes_max"]),
    ("Recurse", &["stack_bytes_max"]),
    ("RecurseInMemory", &["deep in a recursion", "stack-size"]),
    ("Trap", &["unreachable"]),
    ("MillionChanges", &["changes_per_call_max"]),
    ("TenMillionChanges", &["changes_per_call_max"]),
    ("HugeRow", &["bytes_per_change_max"]),
    ("HugeKey", &["key", "1000"]),
    ("LongKey", &["typed", "(id)", "5000 bytes", "1000"]),
    ("LongIndexed", &["typed", "(note)", "5000 bytes", "2000"]),
    ("UndeclaredTable", &["table"]),
    ("ReadUndeclared", &["table"]),
    ("FindUndeclared", &["index", "9"]),
    ("UndeclaredColumn", &["column", "99"]),
    ("WrongType", &["typed.count", "integer", "boolean"]),
    ("WrongDecimal", &["typed.amount", "12,50"]),
    ("Nan", &["kinds.ratio", "NaN", "finite"]),
    ("Infinity", &["kinds.ratio", "inf", "finite"]),
    ("MinusInfinity", &["kinds.ratio", "-inf", "finite"]),
    ("AddNan", &["kinds.ratio"]),
    ("AddToInfinity", &["kinds.ratio"]),
    ("AddTooMuch", &["kinds.n"]),
    ("AddJson", &["kinds.doc"]),
    ("DecimalNan", &["kinds.amount", "NaN"]),
    ("DecimalInfinity", &["kinds.amount", "-Infinity"]),
    ("DecimalExponent", &["kinds.amount", "1e9"]),
    ("DecimalHuge", &["kinds.amount", "38 digits"]),
    ("DecimalDigits", &["kinds.amount", "1.001"]),
    ("LateTimestamp", &["kinds.at", "9999"]),
    ("DeepJson", &["kinds.doc", "128 deep"]),
    ("DeeperJson", &["kinds.doc", "128 deep"]),
    ("NoJson", &["kinds.doc"]),
    ("JsonNan", &["kinds.doc"]),
    ("JsonNul", &["kinds.doc", "U+0000"]),
    ("NulText", &["typed.note", "U+0000"]),
    ("NulKey", &["typed.id", "U+0000"]),
    ("NanKey", &["typed.id"]),
    ("NullKey", &["typed.id", "null"]),
    ("TwoKeys", &["typed", "2 came"]),
    ("SetKey", &["typed.id", "key column"]),
    ("TwiceTheColumn", &["typed.count", "twice"]),
    ("EmptyRow", &["typed", "6 columns", "0 values"]),
    ("WideRow", &["typed", "6 columns", "100000 values"]),
    ("HugePanic", &["panicked at", "why? why?"]),
    ("HugeFailure", &["no! no!"]),
];

/// A log in which each misdeed comes on a stream of its own, between a row that is put before it and a change that
/// comes after it; and a stream that nothing is wrong with. Positions: three for each, from 1.
fn import(project: &Project, orders: &[(String, Value)]) {
    let mut lines = Vec::new();
    for (number, (order, data)) in orders.iter().enumerate() {
        let stream = format!("evil-{number:03}");
        lines.push(log_file::line(&stream, "Count", &Value::Null));
        lines.push(log_file::line(&stream, order, data));
        lines.push(log_file::line(&stream, "Count", &Value::Null));
        lines.push(log_file::line("good", "Count", &Value::Null));
    }
    project.import_lines("log", lines);
}

/// Waits until everything is read, and checks what is parked: each misdeed with its message, and what waits behind it.
#[track_caller]
fn assert_parked(
    project: &Project,
    host: &lamphouse_tests::Host,
    name: &str,
    orders: &[(String, Vec<&str>)],
) {
    let parked = format!(
        "{} events of {} streams are parked",
        2 * orders.len(),
        orders.len()
    );
    host.wait_status(&parked, wait::LONG, |status| {
        let shown = of(status, name);
        shown["incomplete"] == parked.as_str() && shown["live"]["lag_events"] == 0
    });
    let letters = project.json(&["dead-letters", "list", name, "--limit", "1000"]);
    let letters = letters["dead_letters"].as_array().unwrap();
    for (number, (order, words)) in orders.iter().enumerate() {
        let (position, letter) = (4 * number as u64 + 2, &letters[2 * number]);
        assert_eq!(letter["position"], position, "{order}: {letter:#}");
        assert_eq!(letters[2 * number + 1]["behind"], position, "{order}");
        let message = letter["message"].as_str().unwrap();
        let place = [
            format!("plugin {name} 1.0.0"),
            format!("at position {position} (event "),
        ];
        for word in words.iter().copied().chain(place.iter().map(String::as_str)) {
            assert!(
                message.contains(word),
                "{order}: the message should say '{word}': {message}"
            );
        }
        assert!(
            message.len() <= MESSAGE_BYTES_MAX,
            "{order}: {} bytes",
            message.len()
        );
    }
    let rows = project
        .client()
        .query(&format!("SELECT id, CAST(count AS text) FROM {name} ORDER BY id"))
        .unwrap();
    let row = |id: String, count: usize| vec![Some(id), Some(count.to_string())];
    let mut wanted: Vec<_> = (0..orders.len())
        .map(|number| row(format!("evil-{number:03}"), 1))
        .collect();
    wanted.push(row("good".to_owned(), orders.len()));
    assert_eq!(rows, wanted);
}

fn whatever_a_typed_guest_says_is_parked_by_name_and_its_tables_are_right(database: Database) {
    let project = Project::with_settings(database, SETTINGS);
    let settings = [("name", "typed"), ("table", "typed"), ("kinds", "kinds")];
    project.deploy_bytes(&puppet(&settings), "typed");
    let events: Vec<(String, Value)> = TYPED
        .iter()
        .map(|(order, _)| ((*order).to_owned(), json!("x")))
        .collect();
    import(&project, &events);
    let mut host = project.serve();
    let orders: Vec<(String, Vec<&str>)> = TYPED
        .iter()
        .map(|(order, words)| ((*order).to_owned(), words.to_vec()))
        .collect();
    assert_parked(&project, &host, "typed", &orders);
    assert_eq!(project.client().number("SELECT count(*) FROM kinds").unwrap(), 0);

    // What is only noise is no fault; what is deep, but not too deep, is kept as it is.
    let deep = format!("{}1{}", "[".repeat(127), "]".repeat(127));
    project.import_lines(
        "noise",
        [
            log_file::line("noise", "HugeLog", &Value::Null),
            log_file::line("noise", "TenMegabyteLine", &Value::Null),
            log_file::line("noise", "KeepData", &serde_json::from_str(&deep).unwrap()),
            log_file::line("noise", "Count", &Value::Null),
        ],
    );
    let status = host.wait_status("the noise to be over", wait::LONG, |status| {
        of(status, "typed")["live"]["lag_events"] == 0
            && of(status, "typed")["live"]["checkpoint"] == status["log"]["head"]
    });
    assert_eq!(
        project.client().query("SELECT id, doc FROM kinds").unwrap(),
        [[Some("noise".to_owned()), Some(deep)]]
    );
    assert!(of(&status, "typed").to_string().len() < 300_000);
    assert!(host.log().len() < 4_000_000, "{} bytes of log", host.log().len());
    assert!(
        !host.log().contains('\u{1b}'),
        "a guest's escape codes reach the host's log"
    );
    assert!(host.is_running());
    host.stop();
}

fn hexadecimal(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

fn whatever_a_packed_guest_says_is_parked_by_name_and_its_tables_are_right(database: Database) {
    // `[0, 0, ["k", …` and then a value for the integer column.
    let put = |value: &[u8]| [&[0x93, 0, 0, 0x92, 0xa1, b'k'], value].concat();
    let good = put(&[7]);
    let cut = "packed bytes end at byte";
    let raw: Vec<(Vec<u8>, Vec<&str>)> = vec![
        (good[..6].to_vec(), vec!["change 1", cut]),
        (good[..3].to_vec(), vec!["change 1", cut]),
        (
            [&good[..], &good[..5]].concat(),
            vec!["change 2", "before byte 11", "longer than the bytes"],
        ),
        (put(&[0xc1]), vec!["change 1", "0xc1"]),
        (put(&[0xc3]), vec!["packed.count", "integer", "boolean"]),
        (
            put(&[&[0xcb][..], &f64::NAN.to_be_bytes()].concat()),
            vec!["packed.count", "NaN"],
        ),
        (put(&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0]), vec!["64 bits"]),
        (put(&[0xc7, 3, 1, b'N', b'a', b'N']), vec!["NaN", "decimal"]),
        (vec![0x93, 0, 0, 0x92, 0xa2, 0xc3, 0x28, 1], vec!["not UTF-8"]),
        (
            vec![0x93, 0, 0, 0x92, 0xa3, b'a', 0, b'b', 1],
            vec!["packed.id", "U+0000"],
        ),
        (
            vec![0x93, 0, 0, 0xdd, 0xff, 0xff, 0xff, 0xff],
            vec!["longer than the bytes"],
        ),
        (vec![0x93, 0, 0, 0x91, 0xdb, 0xff, 0xff, 0xff, 0xff], vec![cut]),
        (vec![0x91; 100_000], vec!["0x91"]),
        (vec![0x93, 3, 9, 0x91, 0xa1, b'k'], vec!["table number 9"]),
        (
            vec![0x94, 2, 0, 0x91, 0xa1, b'k', 0x93, 9, 0, 1],
            vec!["packed", "number 9"],
        ),
        (
            vec![0x94, 1, 0, 0x91, 0xa1, b'k', 0x93, 1, 0, 1],
            vec!["packed", "not there"],
        ),
    ];
    let mut events: Vec<(String, Value)> = Vec::new();
    let mut orders: Vec<(String, Vec<&str>)> = Vec::new();
    for (bytes, words) in &raw {
        for lane in ["Raw", "RawApply"] {
            events.push((lane.to_owned(), hexadecimal(bytes)));
            orders.push((
                format!("{lane} {:?}", &bytes[..bytes.len().min(20)]),
                words.clone(),
            ));
        }
    }
    for (order, words) in [
        ("GarbageRead", vec!["tables.read", "read 1", "0xc1"]),
        ("Recurse", vec!["stack_bytes_max"]),
        ("EatMemory", vec!["memory_bytes_max"]),
        ("TenMillionChanges", vec!["changes_per_call_max"]),
        ("HugeRow", vec!["bytes_per_change_max"]),
        ("HugePanic", vec!["panicked at", "why? why?"]),
    ] {
        events.push((order.to_owned(), Value::Null));
        orders.push((order.to_owned(), words));
    }
    let project = Project::with_settings(database, SETTINGS);
    let file = xtask::paths::guest("puppet-packed").unwrap();
    let settings = [("name", "packed"), ("table", "packed")];
    project.deploy_bytes(&patch_puppet(&std::fs::read(file).unwrap(), &settings), "packed");
    import(&project, &events);
    let mut host = project.serve();
    assert_parked(&project, &host, "packed", &orders);
    assert!(host.is_running());
    host.stop();
}

/// What is wrong with the descriptor, and what its refusal has to say.
const WICKED: &[(&str, &[&str])] = &[
    ("quote", &["column name 'no\"te'", "lower-case ASCII"]),
    ("apostrophe", &["column name 'no'te'", "lower-case ASCII"]),
    ("semicolon", &["DROP TABLE", "lower-case ASCII"]),
    ("nul", &["lower-case ASCII"]),
    ("newline", &["table name", "lower-case ASCII"]),
    ("quoted-table", &["table name", "lower-case ASCII"]),
    ("long-name", &["1000000 bytes", "48"]),
    ("long-version", &["version", "64 visible ASCII"]),
    ("long-table", &["table name", "1000000 bytes", "48"]),
    ("long-column", &["column name", "1000000 bytes", "48"]),
    ("long-option", &["option 'long"]),
    ("nul-event", &["event type 'Put", "U+0000"]),
    ("long-event", &["stream type 'long", "256 bytes"]),
    ("many-subscriptions", &["100000 subscriptions", "1000"]),
    ("many-columns", &["2006 columns", "200"]),
    ("many-wrong-columns", &["'No Name'", "more"]),
    ("many-tables", &["2000 tables", "64"]),
    ("many-indexes", &["2000 indexes", "32"]),
    ("wide-key", &["primary key", "12 columns"]),
    ("real-key", &["key column 'id'", "real"]),
    ("json-index", &["index 0", "json"]),
    ("scale", &["decimal(255)"]),
    ("initial-nan", &["amount", "NaN"]),
    ("initial-word", &["initial"]),
    ("initial-type", &["count", "integer"]),
    ("initial-deep", &["note", "128 deep"]),
    ("initial-long", &["note", "100000 bytes"]),
];

fn wicked_descriptors_are_refused_by_name_and_the_others_go_on(database: Database) {
    let project = Project::new(database);
    project.deploy_bytes(&puppet(&[("name", "good"), ("table", "good")]), "good");
    for (how, _) in WICKED {
        let table = how.replace('-', "_");
        project.deploy_bytes(&puppet(&[("name", how), ("table", &table), ("wicked", how)]), how);
    }
    project.append("row-1", "Put", &Value::Null);
    let host = project.serve();
    let status = host.wait_status("all files to be judged", wait::LONG, |status| {
        let refused = |file: &&Value| file["state"] == "refused";
        status["files"].as_array().unwrap().iter().filter(refused).count() == WICKED.len()
    });
    for (how, words) in WICKED {
        let files = status["files"].as_array().unwrap();
        let file = files
            .iter()
            .find(|file| file["file"] == format!("{how}.wasm"))
            .unwrap();
        let message = file["message"].as_str().unwrap();
        for word in *words {
            assert!(
                message.contains(word),
                "{how}: the message should say '{word}': {message}"
            );
        }
        assert!(
            message.len() <= MESSAGE_BYTES_MAX,
            "{how}: {} bytes",
            message.len()
        );
    }
    let text = project.ok(&["status"]);
    assert!(
        text.len() < 60_000 && !text.contains('\u{1b}') && !text.contains('\0'),
        "{text}"
    );
    host.wait_level("good");
    assert_eq!(project.client().number("SELECT count(*) FROM good").unwrap(), 1);
    assert_eq!(
        project.json(&["status"])["projections"].as_array().unwrap().len(),
        1
    );
    host.stop();
}

fn tables_and_columns_may_be_called_as_sql_words_are(database: Database) {
    const TABLES: &str = "order,table,group,values,primary,default,index,user,null,end,from,to";
    let project = Project::new(database);
    let version = |version: &str| {
        puppet(&[
            ("name", "select"),
            ("version", version),
            ("table", "select"),
            ("more_tables", TABLES),
            ("wicked", "reserved"),
            ("stamp", version),
        ])
    };
    project.deploy_bytes(&version("1.0.0"), "select");
    for (stream, order) in [
        ("row-1", "Count"),
        ("row-2", "Count"),
        ("row-1", "Find"),
        ("row-3", "Count"),
    ] {
        project.append(stream, order, &json!("x"));
    }
    let host = project.serve();
    host.wait_version("select", "1.0.0");
    // Live, beside what was built; then a row goes.
    project.append("row-1", "Patch", &json!("patched"));
    project.append("row-3", "Remove", &Value::Null);
    host.wait_level("select");
    let read = |stamp: &str| {
        let sql = "SELECT id, note, CAST(\"count\" AS text), \"from\", \"select\", stamp FROM \"select\" ORDER BY id";
        let rows = project.client().query(sql).unwrap();
        let row = |id: &str, note: Option<&str>, count: &str| {
            let text = |text: &str| Some(text.to_owned());
            vec![
                text(id),
                note.map(str::to_owned),
                text(count),
                text("from here"),
                None,
                text(stamp),
            ]
        };
        // `Find` looks for rows whose note is that of the event, of which there was none then.
        assert_eq!(
            rows,
            [row("row-1", Some("\"patched\""), "0"), row("row-2", None, "1")]
        );
    };
    read("1.0.0");
    project.deploy_bytes(&version("2.0.0"), "select");
    host.wait_version("select", "2.0.0");
    read("2.0.0");
    project.ok(&["rollback", "select"]);
    host.wait_version("select", "1.0.0");
    read("1.0.0");
    for table in TABLES.split(',') {
        let sql = format!("SELECT count(*) FROM \"{table}\"");
        assert_eq!(project.client().number(&sql).unwrap(), 0, "{table}");
        project.ok(&["query", &sql]);
    }
    project.ok(&["query", "SELECT \"from\" FROM \"select\" WHERE \"where\" IS NULL"]);
    host.stop();
    project.ok(&["rebuild", "select"]);
    project.catch_up();
    read("1.0.0");
}

fn a_guest_that_looks_for_a_way_out_finds_none(database: Database) {
    let project = Project::new(database);
    let file = std::fs::read(xtask::paths::guest("puppet-wasi").unwrap()).unwrap();
    project.deploy_bytes(
        &patch_puppet(&file, &[("name", "nosy"), ("table", "nosy")]),
        "nosy",
    );
    project.append("row-1", "LookAround", &Value::Null);
    let mut host = project.serve();
    host.wait_level("nosy");
    let seen = project.client().query("SELECT note FROM nosy").unwrap();
    assert_eq!(
        seen[0][0].as_deref(),
        Some(
            "variables 0, arguments 0, folder None, directories 0, stdin closed, tcp access-denied, udp access-denied, \
             names permanent-resolver-failure"
        )
    );
    project.append("row-2", "Exit", &Value::Null);
    let status = host.wait_status("a fault", wait::LONG, |status| {
        of(status, "nosy")["state"] == "faulted"
    });
    let message = of(&status, "nosy")["message"].as_str().unwrap();
    for word in [
        "plugin nosy 1.0.0",
        "at position 2",
        "exit with status 1",
        "`lamphouse resume nosy`",
        "mended version",
    ] {
        assert!(message.contains(word), "{message}");
    }
    assert!(host.is_running());
    host.stop();
}
