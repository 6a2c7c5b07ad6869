//! Time and chance are the same in every call.

use insta::assert_snapshot;

use super::*;

/// Loads a guest, calls it twice, and gives the rows, which have to be the same.
fn twice(module: &[u8]) -> (String, CallReport, Result<(), CallError>) {
    let plugin = sandbox().load_projector(module).unwrap();
    let (first, _, _) = call(&plugin, &["Any"]);
    let (second, report, result) = call(&plugin, &["Any"]);
    assert_eq!(first.text(), second.text());
    (second.text(), report, result)
}

#[test]
fn clocks_start_at_one_instant_and_tick() {
    let module = wat_guest::guest(
        "import wasi:clocks/wall-clock@0.2.0; import wasi:clocks/monotonic-clock@0.2.0;",
        r#"(import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
           (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))"#,
        "(call $say (call $now)) (call $say (call $now))
         (call $wall (i32.const 4096))
         (call $say (i64.load (i32.const 4096))) (call $say (i64.load32_u (i32.const 4104)))",
    );
    let (rows, _, result) = twice(&module);
    result.unwrap();
    assert_snapshot!(rows, @r#"
    [Integer(0)]
    [Integer(1000)]
    [Integer(2000)]
    [Integer(946684800)]
    "#);
}

#[test]
fn a_sleep_is_over_at_once_and_the_clock_is_past_it() {
    let module = wat_guest::guest(
        "import wasi:clocks/monotonic-clock@0.2.0; import wasi:io/poll@0.2.0;",
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
           (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $sleep (param i64) (result i32)))
           (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
        "(call $block (call $sleep (i64.const 3600000000000))) (call $say (call $now))
         (call $block (call $sleep (i64.const -1)))",
    );
    let began = std::time::Instant::now();
    let (rows, _, result) = twice(&module);
    result.unwrap();
    assert_snapshot!(rows, @"[Integer(3600000000000)]");
    assert!(began.elapsed().as_secs() < 60);
}

#[test]
fn randomness_has_one_seed() {
    let module = wat_guest::guest(
        "import wasi:random/random@0.2.0; import wasi:random/insecure-seed@0.2.0;",
        r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
           (import "wasi:random/insecure-seed@0.2.0" "insecure-seed" (func $seed (param i32)))"#,
        "(call $say (call $random)) (call $say (call $random))
         (call $seed (i32.const 4096)) (call $say (i64.load (i32.const 4096)))",
    );
    let (rows, _, result) = twice(&module);
    result.unwrap();
    assert_snapshot!(rows, @r#"
    [Integer(-8571812931711024004)]
    [Integer(-4548236405452200740)]
    [Integer(2685821657736338717)]
    "#);
}

#[test]
fn what_a_guest_prints_is_logged() {
    let module = wat_guest::guest(
        "import wasi:cli/stdout@0.2.0; import wasi:io/streams@0.2.0; import wasi:cli/exit@0.2.0;",
        r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
           (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
               (func $write (param i32 i32 i32 i32)))
           (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
           (data (i32.const 8192) "first line\nsecond line")"#,
        "(call $write (call $stdout) (i32.const 8192) (i32.const 22) (i32.const 4096)) (call $exit (i32.const 1))",
    );
    let (_, report, result) = twice(&module);
    let lines: Vec<_> = report
        .log
        .iter()
        .map(|line| (line.level.as_str(), line.message.as_str()))
        .collect();
    assert_eq!(lines, [("info", "first line"), ("info", "second line")]);
    assert_snapshot!(result.unwrap_err().message, @"the plugin stopped: it called exit with status 1");
}

#[test]
fn preview_1_is_adapted_and_grants_nothing() {
    let module = wat_guest::guest(
        "",
        r#"(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
           (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#,
        "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 4096))) (call $say (i64.load (i32.const 4096)))
         (drop (call $random (i32.const 4096) (i32.const 8))) (call $say (i64.load (i32.const 4096)))
         (call $say (i64.extend_i32_u (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 4096))))",
    );
    let (rows, _, result) = twice(&module);
    result.unwrap();
    assert_snapshot!(rows, @r#"
    [Integer(8)]
    [Integer(946684800000001000)]
    [Integer(8655998737804082861)]
    "#);
}

#[test]
fn nans_have_one_form() {
    // 0/0, and the same with its sign turned: both are the canonical NaN where a value is stored.
    let module = wat_guest::guest(
        "",
        "",
        "(f64.store (i32.const 4096) (f64.div (f64.const 0) (f64.const 0))) (call $say (i64.load (i32.const 4096)))
         (f64.store (i32.const 4096) (f64.add (f64.const 1) (f64.const -nan:0x8000000000123)))
         (call $say (i64.load (i32.const 4096)))",
    );
    let (rows, _, result) = twice(&module);
    result.unwrap();
    assert_snapshot!(rows, @"[Integer(9221120237041090560)]");
}

#[test]
fn relaxed_simd_is_refused() {
    let zero = "(v128.const i64x2 0 0)";
    let body = format!("(drop (f32x4.relaxed_madd {zero} {zero} {zero}))");
    let error = sandbox()
        .load_projector(&wat_guest::guest("", "", &body))
        .unwrap_err();
    assert!(error.to_string().contains("relaxed"), "{error}");
}

#[test]
fn threads_are_refused() {
    let error = sandbox()
        .load_projector(&wat_guest::guest("", "(memory $shared 1 1 shared)", ""))
        .unwrap_err();
    assert!(
        matches!(error, PluginError::Invalid(_) | PluginError::World(_)),
        "{error}"
    );
    assert!(error.to_string().contains("threads"), "{error}");
}
