//! What a plugin says of itself.

use insta::assert_snapshot;

use super::*;

fn refusal(settings: &[(&str, &str)]) -> PluginError {
    sandbox()
        .load_projector(&patch_puppet(puppet_file(), settings))
        .unwrap_err()
}

#[test]
fn a_descriptor_is_what_the_guest_said() {
    let plugin = puppet(&[
        ("name", "shop-orders"),
        ("version", "2.1.0"),
        ("events", "A,B"),
        ("options", "partition:stream"),
    ]);
    let descriptor = plugin.descriptor();
    assert_eq!(
        (descriptor.name.as_str(), descriptor.version.as_str()),
        ("shop-orders", "2.1.0")
    );
    assert_eq!(descriptor.subscriptions.len(), 2);
    assert_eq!(descriptor.subscriptions[1].event_type.as_deref(), Some("B"));
    assert_eq!(
        descriptor.options,
        [("partition".to_owned(), "stream".to_owned())]
    );
    let columns: Vec<_> = descriptor.tables[0]
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(columns, ["id", "note", "count", "amount", "stamp", "at"]);
    assert_eq!(descriptor.tables[0].indexes, [[1]]);
    assert_eq!(plugin.lane(), Lane::Typed);
    assert_eq!(
        plugin.digest(),
        crate::core::PluginDigest::of(&patch_puppet(
            puppet_file(),
            &[
                ("name", "shop-orders"),
                ("version", "2.1.0"),
                ("events", "A,B"),
                ("options", "partition:stream"),
            ]
        ))
    );
}

#[test]
fn all_that_is_wrong_with_a_descriptor_is_listed() {
    let error = refusal(&[
        ("name", "Shop Orders"),
        ("version", "1 0"),
        ("table", "orders__g7"),
        ("more_tables", "a,a"),
        ("key", "77"),
        ("events", "none"),
        ("options", "partition:hash,speed:high"),
    ]);
    assert_snapshot!(error, @r#"
    the plugin's descriptor is not valid:
    - plugin name 'Shop Orders' must be lower-case ASCII: a letter first, then letters, digits, '_' and '-'
    - version '1 0' must be 1 to 64 visible ASCII characters
    - no subscription is declared, so no event would ever come (one without event type and stream type takes every event)
    - table 'a' is declared twice
    - table name 'orders__g7' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')
    - table 'orders__g7': the primary key names column 77, but there are 6 (they count from 0)
    - table 'a': the primary key names column 77, but there are 6 (they count from 0)
    - table 'a': the primary key names column 77, but there are 6 (they count from 0)
    - option 'partition' is 'hash'; this host knows 'stream'
    - option 'speed' is unknown to this host; it knows 'entries', 'fields' and 'partition'
    "#);
}

#[test]
fn a_describe_that_misbehaves_is_refused() {
    assert_snapshot!(refusal(&[("describe", "trap")]), @"describe did not answer: the plugin stopped: wasm `unreachable` instruction executed");
    let panicked = refusal(&[("describe", "panic")]).to_string();
    assert!(panicked.contains("describe has nothing to say"), "{panicked}");
    assert_snapshot!(refusal(&[("describe", "read")]), @"describe did not answer: tables.get: describe must be pure: it may not call the tables; only project may");
    assert_snapshot!(refusal(&[("describe", "disagree")]), @"describe was called twice and disagreed with itself: version '1.0.0.0', then '1.0.0.1'. It must give the same answer every time");
    let spinning = hasty_sandbox()
        .load_projector(&patch_puppet(puppet_file(), &[("describe", "spin")]))
        .unwrap_err();
    assert_eq!(spinning.class(), crate::core::Class::TimeLimit);
    assert_snapshot!(spinning, @"describe did not answer: the plugin did not finish a call within 200 ms and was stopped; raise [limits] call_ms_max if it needs longer");
    assert_snapshot!(refusal(&[("describe", "recurse")]), @"describe did not answer: the plugin used more than 256 KiB of stack; raise [limits] stack_bytes_max if its recursion has to be that deep");
    assert_snapshot!(refusal(&[("describe", "eat")]), @"describe did not answer: the plugin wanted 16.1 MiB of memory, and 16 MiB are allowed; raise [limits] memory_bytes_max if it needs that much");
}

#[test]
fn declared_fields_are_of_the_packed_lane() {
    let option = |text: &str| refusal(&[("events", "A"), ("options", text)]);
    assert_snapshot!(option("fields:[]"), @r#"
    the plugin's descriptor is not valid: option 'fields' is of the packed lane: an event of `projector` has no place for values; export `packed-projector`, or leave the option out
    "#);
    assert!(
        option("fields:nothing")
            .to_string()
            .contains("option 'fields' is not of the form")
    );
    assert_snapshot!(option("entries:weather"), @r#"
    the plugin's descriptor is not valid:
    - option 'entries' is not of the form ["stream_version", "occurred_at"]: expected value at line 1 column 1
    - option 'entries' is of events whose fields are declared, but there is no option 'fields': an event that comes whole has all entries
    "#);
}
