//! Calls on both lanes: what reaches the tables, and what comes back.

use insta::assert_snapshot;

use super::*;
use crate::core::Class;

pub(super) fn packed_puppet() -> Arc<Plugin> {
    sandbox().load_projector(packed_puppet_file()).unwrap()
}

#[test]
fn typed_changes_reach_the_tables() {
    let plugin = puppet(&[("stamp", "v7")]);
    let (tables, report, result) = call(&plugin, &["Put={\"a\":1}", "Count", "Put=x", "NotMine"]);
    result.unwrap();
    assert_snapshot!(tables.text(), @r#"
    [Text("s1"), Text("{\"a\":1}"), Integer(1), Decimal(1.50), Text("v7"), Timestamp(1000000)]
    [Text("s2"), Null, Integer(1), Decimal(0.25), Text("v7"), Null]
    [Text("s3"), Text("x"), Integer(1), Decimal(1.50), Text("v7"), Timestamp(1000000)]
    "#);
    assert!(report.nanos > 0 && report.log.is_empty());
}

#[test]
fn typed_reads_see_earlier_changes() {
    let (tables, _, result) = call(
        &puppet(&[]),
        &["GetAfterPut", "Put=same", "Put=same", "Find=same"],
    );
    result.unwrap();
    assert_snapshot!(tables.text(), @r#"
    [Text("s1"), Text("read [Value::Text(\"s1\"), Value::Text(\"{}\"), Value::Integer(1), Value::Decimal(\"1.50\"), Value::Text(\"v1\"), Value::Timestamp(1000000)]"), Integer(1), Decimal(1.50), Text("v1"), Timestamp(1000000)]
    [Text("s2"), Text("same"), Integer(1), Decimal(1.50), Text("v1"), Timestamp(1000000)]
    [Text("s3"), Text("same"), Integer(1), Decimal(1.50), Text("v1"), Timestamp(1000000)]
    [Text("s4"), Null, Integer(2), Decimal(0.00), Text("v1"), Null]
    "#);
}

#[test]
fn a_range_of_a_batch_is_a_call() {
    let plugin = puppet(&[]);
    let call = Call {
        range: 1..3,
        ..batch(&["Trap", "Count", "Count", "Trap"])
    };
    let (tables, _, result) = plugin.project(&call, Tables::of(&plugin));
    result.unwrap();
    assert_eq!(tables.rows.len(), 2);
}

#[test]
fn nothing_outlives_a_call() {
    let plugin = puppet(&[]);
    fault_of(&plugin, &["EatMemory"]);
    fault_of(&plugin, &["Trap"]);
    for _ in 0..20 {
        call(&plugin, &["Count"]).2.unwrap();
    }
}

#[test]
fn an_instance_that_was_made_ahead_is_as_fresh_as_any() {
    for plugin in [puppet(&[]), packed_puppet()] {
        let made_now = call(&plugin, &["Count", "Count"]);
        for _ in 0..3 {
            plugin.make_ready();
            // One is enough.
            plugin.make_ready();
            let made_ahead = call(&plugin, &["Count", "Count"]);
            made_ahead.2.unwrap();
            assert_eq!(made_ahead.0.text(), made_now.0.text());
            assert_eq!(made_ahead.1.log, made_now.1.log);
        }
        // What one call leaves in an instance is in no other, however that one was made.
        plugin.make_ready();
        fault_of(&plugin, &["Trap"]);
        plugin.make_ready();
        call(&plugin, &["Count"]).2.unwrap();
        call(&plugin, &["Count"]).2.unwrap();
    }
}

#[test]
fn the_deadline_of_a_call_does_not_begin_before_it() {
    let plugin = hasty_sandbox().load_projector(puppet_file()).unwrap();
    plugin.make_ready();
    // Longer than a call may take.
    std::thread::sleep(std::time::Duration::from_millis(300));
    call(&plugin, &["Count"]).2.unwrap();
    plugin.make_ready();
    assert_eq!(fault_of(&plugin, &["Spin"]).class, Class::TimeLimit);
}

#[test]
fn packed_changes_reach_the_tables() {
    let plugin = packed_puppet();
    assert_eq!(plugin.lane(), Lane::Packed);
    let (tables, _, result) = call(&plugin, &["Count", "NotMine", "Count"]);
    result.unwrap();
    assert_snapshot!(tables.text(), @r#"
    [Text("s1"), Integer(1)]
    [Text("s3"), Integer(1)]
    "#);
}

#[test]
fn packed_reads_see_what_was_applied() {
    let (_, report, result) = call(&packed_puppet(), &["ApplyThenRead"]);
    result.unwrap();
    assert_snapshot!(report.log[0].message, @r#"[Some([Text("s1"), Integer(1)]), None]"#);
}

#[test]
fn bytes_that_are_no_changes_are_a_fault() {
    assert_snapshot!(fault_of(&packed_puppet(), &["Count", "Garbage"]).message, @"the changes that project returned: change 2 is not what PACKED.md says: packed bytes, before byte 13: operation 7 is unknown");
    assert_snapshot!(fault_of(&packed_puppet(), &["GarbageRead"]).message, @"tables.read: read 1 is not what PACKED.md says: packed bytes, before byte 1: found tag 0xc1 where an array is due");
}

#[test]
fn a_trap_tells_its_reason_and_its_place() {
    let error = fault_of(&puppet(&[]), &["Put", "Trap"]);
    assert_eq!((error.class, error.index), (Class::Fault, None));
    assert_snapshot!(error.message, @"the plugin stopped: wasm `unreachable` instruction executed");
    assert_snapshot!(error.trace, @r#"
    0: puppet::misbehave::trap
    1: <puppet::typed::Puppet as puppet::typed::exports::lamphouse::plugin::projector::Guest>::project
    2: puppet::typed::exports::lamphouse::plugin::projector::_export_project_cabi
    3: lamphouse:plugin/projector@0.1.0#project
    "#);
}

#[test]
fn a_panic_tells_its_message() {
    let (_, report, result) = call(&puppet(&[]), &["Panic=no such order"]);
    let error = result.unwrap_err();
    let words = "the puppet panics: no such order (wasm `unreachable` instruction executed)";
    assert!(
        error
            .message
            .starts_with("the plugin stopped: panicked at src/typed.rs"),
        "{}",
        error.message
    );
    assert!(error.message.ends_with(words), "{}", error.message);
    assert_eq!(report.log[0].level, "error");
    assert!(report.log[0].message.contains("the puppet panics: no such order"));
}

#[test]
fn a_failure_names_its_event() {
    let error = fault_of(&puppet(&[]), &["Put", "Put", "Fail=an amount without a currency"]);
    assert_eq!((error.class, error.index), (Class::Fault, Some(2)));
    assert_eq!(
        (error.message.as_str(), error.trace.as_str()),
        ("an amount without a currency", "puppet::project")
    );
    let error = fault_of(&puppet(&[]), &["FailWithoutIndex= "]);
    assert_eq!(
        (error.index, error.message.as_str()),
        (None, "the plugin failed without a message")
    );
}

#[test]
fn broken_rules_name_the_function() {
    let plugin = puppet(&[]);
    assert_snapshot!(fault_of(&plugin, &["UndeclaredTable"]).message, @"tables.put: table 7 is not declared; there are 1");
    assert_snapshot!(fault_of(&plugin, &["UndeclaredColumn"]).message, @"tables.upsert: table 'puppet' has 6 columns; there is none with number 99 (they count from 0)");
    assert_snapshot!(fault_of(&plugin, &["WrongType"]).message, @"tables.upsert: puppet.count: the column is integer, but boolean true came");
    assert_snapshot!(fault_of(&plugin, &["WrongDecimal"]).message, @"tables.upsert: puppet.amount: '12,50' is not a decimal of the form [-]digits[.digits]");
    assert_snapshot!(fault_of(&plugin, &["Patch"]).message, @r#"tables.patch: patch of a row that is not there: [Text("s1")]"#);
}

#[test]
fn the_tables_decide_the_class() {
    let plugin = puppet(&[]);
    let with = |answer| {
        let tables = Tables {
            answer: Some(answer),
            ..Tables::of(&plugin)
        };
        let error = plugin.project(&batch(&["Count"]), tables).2.unwrap_err();
        (error.class, error.message)
    };
    assert_eq!(
        with(TablesError::Unavailable("away".into())),
        (Class::Retryable, "away".into())
    );
    assert_eq!(with(TablesError::Bug("ours".into())), (Class::Bug, "ours".into()));
    assert_eq!(with(TablesError::Violation("bad".into())).0, Class::Fault);
}

#[test]
fn project_may_be_broken_where_describe_is_not() {
    let error = fault_of(&puppet(&[("project", "panic"), ("version", "3.0.0")]), &["Put"]);
    assert!(
        error.message.contains("version 3.0.0 cannot project"),
        "{}",
        error.message
    );
}

#[test]
fn calls_run_beside_each_other() {
    let plugin = puppet(&[]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| call(&plugin, &["Count", "GetAfterPut"]).2.unwrap()));
        }
    });
}
