//! Guests that take too much: each is stopped, and the message names limit and knob.

use std::time::Instant;

use insta::assert_snapshot;

use super::*;
use crate::core::Class;

#[test]
fn a_spinning_guest_is_stopped() {
    let plugin = hasty_sandbox().load_projector(puppet_file()).unwrap();
    let began = Instant::now();
    let error = fault_of(&plugin, &["Put", "Spin"]);
    assert_eq!(error.class, Class::TimeLimit);
    assert_snapshot!(error.message, @"the plugin did not finish a call within 200 ms and was stopped; raise [limits] call_ms_max if it needs longer");
    assert!(error.trace.contains("spin"), "{}", error.trace);
    let took = began.elapsed().as_millis();
    assert!((200..2_000).contains(&took), "{took} ms");
}

#[test]
fn a_guest_that_spins_through_host_calls_is_stopped() {
    let plugin = hasty_sandbox().load_projector(puppet_file()).unwrap();
    let (tables, _, result) = call(&plugin, &["SpinCalling"]);
    assert_eq!(result.unwrap_err().class, Class::TimeLimit);
    assert!(tables.calls > 100, "{}", tables.calls);
}

#[test]
fn a_second_try_has_more_time() {
    let plugin = hasty_sandbox().load_projector(puppet_file()).unwrap();
    let call = Call {
        deadline_factor: 3,
        ..batch(&["Spin"])
    };
    let began = Instant::now();
    let error = plugin.project(&call, Tables::of(&plugin)).2.unwrap_err();
    assert_snapshot!(error.message, @"the plugin did not finish a call within 600 ms (a second try, with more than the usual 200 ms) and was stopped; raise [limits] call_ms_max if it needs longer");
    assert!(began.elapsed().as_millis() >= 600);
}

#[test]
fn a_slow_database_is_not_the_guests_time() {
    let plugin = hasty_sandbox().load_projector(puppet_file()).unwrap();
    let mut tables = Tables::of(&plugin);
    tables.read_time = std::time::Duration::from_millis(150);
    // Two reads: 300 ms, where 200 are allowed.
    plugin.project(&batch(&["GetAfterPut"]), tables).2.unwrap();
}

#[test]
fn memory_is_limited() {
    let error = fault_of(&puppet(&[]), &["EatMemory"]);
    assert_eq!(error.class, Class::Fault);
    assert_snapshot!(error.message, @"the plugin wanted 16.1 MiB of memory, and 16 MiB are allowed; raise [limits] memory_bytes_max if it needs that much");
}

#[test]
fn a_module_whose_memory_begins_too_large_is_refused() {
    let module = wat_guest::guest("", "", "");
    let limits = PluginLimits {
        memory_bytes_max: 64 << 10,
        ..small_limits()
    };
    let error = Sandbox::new(limits, None)
        .unwrap()
        .load_projector(&module)
        .unwrap_err();
    assert_snapshot!(error, @"describe did not answer: the plugin wanted 128 KiB of memory, and 64 KiB are allowed; raise [limits] memory_bytes_max if it needs that much");
}

#[test]
fn the_stack_is_limited() {
    let error = fault_of(&puppet(&[]), &["Recurse"]);
    assert_eq!(error.class, Class::Fault);
    assert_snapshot!(error.message, @"the plugin used more than 256 KiB of stack; raise [limits] stack_bytes_max if its recursion has to be that deep");
    assert_eq!(error.trace.lines().count(), 50, "{}", error.trace);
}

#[test]
fn a_guest_that_outgrows_its_own_stack_is_told_so() {
    assert_snapshot!(fault_of(&puppet(&[]), &["RecurseInMemory"]).message, @"the plugin stopped: out of bounds memory access, deep in a recursion: it may have outgrown the stack that the plugin keeps in its own memory, whose size its linker sets (-z stack-size=BYTES)");
}

#[test]
fn changes_are_counted() {
    let typed = fault_of(&puppet(&[]), &["MillionChanges"]);
    assert_eq!(typed.class, Class::Fault);
    assert_snapshot!(typed.message, @"tables.upsert: the plugin made more than 1000 changes in one call; raise [limits] changes_per_call_max if it has to");
    let packed = fault_of(&calls::packed_puppet(), &["MillionChanges"]);
    assert_eq!(packed.class, Class::Fault);
    assert_snapshot!(packed.message, @"the plugin wanted 17.4 MiB of memory, and 16 MiB are allowed; raise [limits] memory_bytes_max if it needs that much");
}

#[test]
fn a_change_has_a_largest_size() {
    assert_snapshot!(fault_of(&puppet(&[]), &["HugeRow"]).message, @"tables.put: the plugin made a change of 8388660 bytes, and 1048576 are allowed; raise [limits] bytes_per_change_max if its rows have to be that large");
    let sandbox = Sandbox::new(
        PluginLimits {
            memory_bytes_max: 64 << 20,
            ..small_limits()
        },
        None,
    )
    .unwrap();
    let puppet = sandbox.load_projector(puppet_file()).unwrap();
    assert_snapshot!(fault_of(&puppet, &["HugeRow"]).message, @"tables.put: the plugin made a change of 8388660 bytes, and 1048576 are allowed; raise [limits] bytes_per_change_max if its rows have to be that large");
    let packed = sandbox.load_projector(packed_puppet_file()).unwrap();
    assert_snapshot!(fault_of(&packed, &["HugeRow"]).message, @"the changes that project returned: the plugin made a change of 8388621 bytes, and 1048576 are allowed; raise [limits] bytes_per_change_max if its rows have to be that large");
}

#[test]
fn log_lines_are_capped_and_the_last_one_is_kept() {
    let plugin = puppet(&[]);
    let (_, report, result) = call(&plugin, &["Log=first", "FloodLog", "Panic=\u{1F4A5}"]);
    assert_eq!(report.log.len(), 100);
    // 1 + 100,000 + 1 lines came.
    assert_eq!(report.log_dropped, 100_002 - 100);
    assert_eq!(
        report.log[0],
        LogLine {
            level: "info".into(),
            message: "first".into()
        }
    );
    assert_eq!(report.log[99].level, "error");
    let message = result.unwrap_err().message;
    assert!(message.contains("the puppet panics: \u{1F4A5}"), "{message}");

    let long = format!("Log={}", "é".repeat(3_000));
    let (_, report, _) = call(&plugin, &[&long]);
    assert_eq!(report.log[0].message, format!("{}…", "é".repeat(1_000)));
}

#[test]
fn a_running_call_can_be_stopped() {
    let sandbox = Sandbox::new(
        PluginLimits {
            call_ms_max: 60_000,
            ..small_limits()
        },
        None,
    )
    .unwrap();
    let plugin = sandbox.load_projector(puppet_file()).unwrap();
    let call = batch(&["Spin"]);
    let error = std::thread::scope(|scope| {
        let spinning = scope.spawn(|| plugin.project(&call, Tables::of(&plugin)).2.unwrap_err());
        std::thread::sleep(std::time::Duration::from_millis(50));
        call.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        spinning.join().unwrap()
    });
    assert_eq!(error.class, Class::Retryable);
    assert_snapshot!(error.message, @"the projection is being stopped, so the call was ended");
}

#[test]
fn lists_that_share_their_elements_do_not_fill_the_hosts_memory() {
    // 8,192 keys, each of the same 4,096 values: 64 KiB and 64 KiB in the guest, 800 MiB in the host.
    let module = wat_guest::guest(
        "",
        r#"(import "lamphouse:plugin/tables@0.1.0" "get-many" (func $get_many (param i32 i32 i32 i32)))"#,
        "(local $at i32)
         (drop (memory.grow (i32.const 4)))
         (local.set $at (i32.const 131072))
         (loop $next
            (i32.store (local.get $at) (i32.const 262144)) (i32.store offset=4 (local.get $at) (i32.const 4096))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 196608))))
         (call $get_many (i32.const 0) (i32.const 131072) (i32.const 8192) (i32.const 4096))",
    );
    let plugin = sandbox().load_projector(&module).unwrap();
    let error = fault_of(&plugin, &["Any"]);
    assert_eq!(error.class, Class::Fault);
    assert_snapshot!(error.message, @"the plugin passed lists of more than 16 MiB in one call across the boundary; pass less at once, or raise [limits] memory_bytes_max");
}

#[test]
fn answers_fit_the_guests_memory() {
    // Each of the 1,000 reads is of one row of 100 kB.
    let events: Vec<String> = std::iter::once("Put=".to_owned() + &"x".repeat(100_000))
        .chain(["GetAThousandTimes=s1".to_owned()])
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_snapshot!(fault_of(&puppet(&[("index", "none")]), &events).message, @"tables.get-many: the plugin asked for rows of 95.5 MiB at once, and its memory may have 16 MiB; read fewer rows, or raise [limits] memory_bytes_max");
}

#[test]
fn a_guest_with_a_large_stack_runs_on_any_thread() {
    let limits = PluginLimits {
        stack_bytes_max: 32 << 20,
        ..small_limits()
    };
    let plugin = Sandbox::new(limits, None)
        .unwrap()
        .load_projector(puppet_file())
        .unwrap();
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let error = std::thread::scope(|scope| {
        small
            .spawn_scoped(scope, || fault_of(&plugin, &["Recurse"]))
            .unwrap()
            .join()
            .unwrap()
    });
    assert_snapshot!(error.message, @"the plugin used more than 32 MiB of stack; raise [limits] stack_bytes_max if its recursion has to be that deep");
}
