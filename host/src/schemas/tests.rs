use std::fs;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::core::NewEvent;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, Value)]) -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for (file, document) in files {
            place.write(file, &document.to_string());
        }
        place
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).unwrap();
    }

    fn load(&self) -> Schemas {
        Schemas::load(self.dir.path(), UnknownTypes::Allow)
    }
}

fn event(event_type: &str, schema_version: u32, data: &str) -> NewEvent {
    NewEvent {
        id: None,
        event_type: event_type.to_owned(),
        schema_version,
        data: RawValue::from_string(data.to_owned()).unwrap(),
        metadata: RawValue::from_string("{}".to_owned()).unwrap(),
        occurred_at: None,
    }
}

fn check(schemas: &Schemas, events: &[NewEvent]) -> Result<(), Violations> {
    let events = events.iter().enumerate();
    schemas.check(events.map(|(place, event)| ("s-1", place as u64, event)))
}

/// `event pointer keyword` of each violation.
fn found(schemas: &Schemas, events: &[NewEvent]) -> Vec<String> {
    match check(schemas, events) {
        Ok(()) => Vec::new(),
        Err(Violations::Found { listed, .. }) => listed
            .iter()
            .map(|one| format!("{} {} {}", one.event, one.pointer, one.keyword))
            .collect(),
        Err(Violations::Unusable(why)) => vec![why],
    }
}

fn placed() -> Value {
    json!({
        "type": "object",
        "required": ["total", "lines"],
        "properties": {
            "total": {"$ref": "_money.json"},
            "lines": {"type": "array", "items": {"$ref": "_money.json#/$defs/line"}},
            "at": {"format": "date-time"},
        },
    })
}

fn money() -> Value {
    json!({
        "type": "string", "pattern": "^[0-9]+\\.[0-9]{2}$",
        "$defs": {"line": {"type": "object", "properties": {"price": {"$ref": "#"}}, "required": ["sku"]}},
    })
}

#[test]
fn every_violation_of_every_event_is_listed() {
    let place = Place::new(&[("OrderPlaced.1.json", placed()), ("_money.json", money())]);
    let schemas = place.load();
    assert_eq!(schemas.problems(), Vec::<String>::new());
    let good = r#"{"total":"9.50","lines":[{"sku":"A","price":"9.50"}],"at":"2026-03-15T00:00:00Z"}"#;
    let bad = r#"{"total":9.5,"lines":[{"sku":"A","price":"9"},{"price":"1.00"}],"at":"today"}"#;
    let events = [
        event("OrderPlaced", 1, good),
        event("OrderPlaced", 1, bad),
        event("OrderPlaced", 2, bad),
        event("OrderPlaced", 1, "{}"),
    ];
    let mut all = found(&schemas, &events);
    all.sort();
    assert_eq!(
        all,
        [
            "1 /at format",
            "1 /lines/0/price pattern",
            "1 /lines/1 required",
            "1 /total type",
            "3  required",
            "3  required",
        ]
    );
    let Err(violations) = check(&schemas, &events) else {
        panic!("none")
    };
    let said = violations.to_string();
    assert!(
        said.starts_with("2 events are not as the schemas want: nothing was appended"),
        "{said}"
    );
    assert!(said.ends_with("and 5 more violations"), "{said}");
}

#[test]
fn a_long_list_is_cut_and_counted_and_values_are_not_repeated() {
    let item = json!({"type": "string", "enum": ["x".repeat(5_000)]});
    let place = Place::new(&[("A.1.json", json!({"items": item}))]);
    let schemas = place.load();
    let data = json!(vec!["secret"; 5_000]).to_string();
    let Err(Violations::Found {
        listed,
        total,
        events,
    }) = check(&schemas, &[event("A", 1, &data)])
    else {
        panic!("none found")
    };
    assert_eq!((listed.len(), total, events), (100, 5_000, 1));
    assert!(
        listed
            .iter()
            .all(|one| one.message.chars().count() <= 301 && !one.message.contains("secret"))
    );
    // Of what is very large, the first is enough.
    let data = json!(vec![1; 300_000]).to_string();
    let Err(Violations::Found { total, .. }) = check(&schemas, &[event("A", 1, &data)]) else {
        panic!("none found")
    };
    assert_eq!(total, 1);
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let place = Place::new(&[("A.1.json", json!({"properties": {"n": {"type": "integer"}}}))]);
    let schemas = place.load();
    for data in [r#"{"n":1,"n":"lots"}"#, r#"{"n":1e999}"#] {
        let Err(Violations::Found { listed, .. }) = check(&schemas, &[event("A", 1, data)]) else {
            panic!("{data} passed")
        };
        assert!(listed[0].message.contains("cannot be checked"), "{listed:?}");
    }
    assert_eq!(check(&schemas, &[event("B", 1, r#"{"n":1,"n":2}"#)]), Ok(()));
}

#[test]
fn types_without_a_schema_are_refused_where_that_is_set() {
    let place = Place::new(&[("A.1.json", json!({}))]);
    let schemas = Schemas::load(place.dir.path(), UnknownTypes::Refuse);
    assert_eq!(check(&schemas, &[event("A", 1, "1")]), Ok(()));
    let Err(violations) = check(&schemas, &[event("A", 2, "1"), event("a/b", 1, "1")]) else {
        panic!("passed")
    };
    assert!(violations.to_string().contains("A.2.json"), "{violations}");
    assert!(
        format!("{violations:?}").contains("a%2Fb.1.json"),
        "{violations:?}"
    );
}

#[test]
fn nothing_but_the_folders_files_is_looked_at() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "{}").unwrap();
    for address in [
        format!("file://{}", secret.path().display()),
        secret.path().display().to_string(),
        "../../../../etc/hostname".to_owned(),
        "http://127.0.0.1:9/schema.json".to_owned(),
        "https://json-schema.example/other".to_owned(),
        "_none.json".to_owned(),
        "lamphouse-schemas://host/_money.json".to_owned(),
    ] {
        let place = Place::new(&[("A.1.json", json!({"$ref": address})), ("_money.json", money())]);
        let schemas = place.load();
        let problems = schemas.problems();
        assert!(
            problems.len() == 1 && problems[0].contains("A.1.json"),
            "{address}: {problems:?}"
        );
        assert!(
            matches!(
                check(&schemas, &[event("A", 1, "1")]),
                Err(Violations::Unusable(_))
            ),
            "{address}"
        );
    }
}

#[test]
fn files_find_each_other_by_name_and_by_id() {
    let place = Place::new(&[
        (
            "A.1.json",
            json!({"$id": "https://shop.example/schemas/a", "$ref": "_money.json"}),
        ),
        ("B.1.json", json!({"$ref": "https://shop.example/money"})),
        ("a%2Fb.1.json", json!({"$ref": "Gr%25C3%25B6%25C3%259Fe.1.json"})),
        ("Gr%C3%B6%C3%9Fe.1.json", json!({"type": "string"})),
        ("_money.json", json!({"type": "integer"})),
        (
            "_other.json",
            json!({"$id": "https://shop.example/money", "type": "boolean"}),
        ),
    ]);
    let schemas = place.load();
    assert_eq!(schemas.problems(), Vec::<String>::new());
    let events = [
        event("A", 1, "1"),
        event("B", 1, "true"),
        event("a/b", 1, "\"x\""),
        event("Größe", 1, "\"x\""),
    ];
    assert_eq!(check(&schemas, &events), Ok(()));
    let events = [
        event("A", 1, "true"),
        event("B", 1, "1"),
        event("a/b", 1, "1"),
        event("Größe", 1, "1"),
    ];
    assert_eq!(found(&schemas, &events).len(), 4);
}

#[test]
fn patterns_take_no_longer_than_their_text() {
    let place = Place::new(&[
        (
            "A.1.json",
            json!({"pattern": "^(a+)+$", "propertyNames": {"pattern": "(x*)*y"}}),
        ),
        ("B.1.json", json!({"pattern": "(?=a)b"})),
        ("C.1.json", json!({"pattern": "((a{1000}){1000}){1000}"})),
    ]);
    let schemas = place.load();
    // What cannot be matched in linear time, or takes too much memory, is no pattern for us.
    let problems = schemas.problems().join("\n");
    assert!(
        problems.contains("B.1.json") && problems.contains("C.1.json"),
        "{problems}"
    );
    assert!(!problems.contains("A.1.json"), "{problems}");
    let began = Instant::now();
    let text = format!("{}!", "a".repeat(100_000));
    assert_eq!(
        found(&schemas, &[event("A", 1, &json!(text).to_string())]),
        ["0  pattern"]
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn schemas_that_come_back_to_themselves_and_deep_data_end() {
    let chain: serde_json::Map<String, Value> = (0..5_000)
        .map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)})))
        .chain([(
            "d5000".to_owned(),
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}}),
        )])
        .collect();
    let doubling: serde_json::Map<String, Value> = (0..60)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"anyOf": [next.clone(), next]}))
        })
        .chain([("d60".to_owned(), json!({"type": "string"}))])
        .collect();
    let place = Place::new(&[
        ("Self.1.json", json!({"$ref": "#"})),
        (
            "AllOf.1.json",
            json!({"allOf": [{"$ref": "#"}, {"type": "object"}]}),
        ),
        ("Not.1.json", json!({"not": {"$ref": "#"}})),
        (
            "Tree.1.json",
            json!({"type": "object", "additionalProperties": {"$ref": "#"}}),
        ),
        ("Chain.1.json", json!({"$ref": "#/$defs/d0", "$defs": chain})),
        (
            "Doubling.1.json",
            json!({"$ref": "#/$defs/d0", "$defs": doubling}),
        ),
    ]);
    let schemas = place.load();
    assert_eq!(schemas.problems(), Vec::<String>::new());
    let deep = format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120));
    let began = Instant::now();
    for name in ["Self", "AllOf", "Not", "Tree", "Chain", "Doubling"] {
        // Whatever it says, it ends.
        let _ = check(
            &schemas,
            &[event(name, 1, &deep), event(name, 1, "{}"), event(name, 1, "1")],
        );
        eprintln!("{name}: {:?}", began.elapsed());
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_check_says_the_same_on_a_small_stack_and_on_a_deep_one() {
    let chain: serde_json::Map<String, Value> = (0..500)
        .map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)})))
        .chain([(
            "d500".to_owned(),
            json!({"type": ["object", "integer"], "properties": {"a": {"$ref": "#/$defs/d0"}}}),
        )])
        .collect();
    let place = Place::new(&[
        (
            "Tree.1.json",
            json!({"type": ["object", "integer"], "additionalProperties": {"$ref": "#"}}),
        ),
        ("Chain.1.json", json!({"$ref": "#/$defs/d0", "$defs": chain})),
    ]);
    let schemas = place.load();
    assert_eq!(schemas.problems(), Vec::<String>::new());
    let deep = |inmost: &str| format!("{}{inmost}{}", "{\"a\":".repeat(120), "}".repeat(120));
    let verdicts = || {
        ["Tree", "Chain"].map(|name| {
            ["1", "\"one\""].map(|inmost| {
                let verdict = check(&schemas, &[event(name, 1, &deep(inmost))]);
                verdict.map_err(|violations| violations.to_string())
            })
        })
    };
    // The checker alone would need more than this for them.
    let on = |work: &(dyn Fn() -> [[Result<(), String>; 2]; 2] + Sync)| {
        std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(128 << 10);
            small.spawn_scoped(scope, work).unwrap().join().unwrap()
        })
    };
    let small = on(&verdicts);
    let [tree, chain] = &small;
    assert_eq!(tree[0], Ok(()));
    let wrong = tree[1].as_ref().unwrap_err();
    assert!(wrong.contains("/a/a") && wrong.contains("types"), "{wrong}");
    assert!(chain[1].is_err(), "{chain:?}");
    assert_eq!(on(&|| with_deep_stack(verdicts)), small);
}

#[test]
fn at_the_start_good_files_count_and_types_of_bad_ones_are_refused() {
    let place = Place::new(&[("A.1.json", json!({"type": "string"}))]);
    place.write("B.1.json", "{\"type\": ");
    place.write("C.json", "{}");
    place.write("D.1.json", "{\"type\": \"number\", \"type\": \"string\"}");
    place.write("E.1.json", "{\"type\": \"strange\"}");
    let schemas = place.load();
    let problems = schemas.problems().join("\n");
    for file in ["B.1.json", "C.json", "D.1.json", "E.1.json"] {
        assert!(problems.contains(file), "{problems}");
    }
    assert_eq!(
        check(&schemas, &[event("A", 1, "\"a\""), event("Z", 1, "1")]),
        Ok(())
    );
    for name in ["B", "D", "E"] {
        let refused = check(&schemas, &[event("A", 1, "\"a\""), event(name, 1, "\"a\"")]);
        assert!(
            matches!(&refused, Err(Violations::Unusable(why)) if why.contains(&format!("{name}.1.json"))),
            "{refused:?}"
        );
    }
}

fn wait(what: &str, mut good: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !good() {
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_folder_that_changes_is_read_again_and_a_bad_file_changes_nothing() {
    let place = Place::new(&[("A.1.json", json!({"type": "string"}))]);
    let schemas = Arc::new(place.load());
    schemas.watch().unwrap();
    let takes = |event_type: &str, data: &str| check(&schemas, &[event(event_type, 1, data)]).is_ok();
    assert!(takes("A", "\"a\"") && !takes("A", "1"));
    place.write("A.1.json", "{\"type\": \"integer\"}");
    wait("the new schema", || takes("A", "1") && !takes("A", "\"a\""));
    // A bad file leaves all as it was, also what is good beside it.
    place.write("B.1.json", "{\"type\": \"string\"");
    place.write("A.1.json", "{\"type\": \"boolean\"}");
    wait("the problem", || schemas.problems().len() == 1);
    assert!(
        schemas.problems()[0].contains("B.1.json"),
        "{:?}",
        schemas.problems()
    );
    assert!(takes("A", "1") && !takes("A", "true") && takes("B", "1"));
    place.write("B.1.json", "{\"type\": \"string\"}");
    wait("the mended file", || takes("A", "true") && !takes("B", "1"));
    assert_eq!(schemas.problems(), Vec::<String>::new());
    fs::remove_file(place.dir.path().join("B.1.json")).unwrap();
    wait("the file to be forgotten", || takes("B", "1"));
    let aside = place.dir.path().with_extension("aside");
    fs::rename(place.dir.path(), &aside).unwrap();
    wait("the folder to be missed", || schemas.problems().len() == 1);
    assert!(
        takes("A", "true") && !takes("A", "1"),
        "what is gone is no removal"
    );
    fs::rename(&aside, place.dir.path()).unwrap();
    wait("the folder to be back", || schemas.problems().is_empty());
}
