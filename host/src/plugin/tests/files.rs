//! Files that are no plugins.

use insta::assert_snapshot;

use super::*;

fn refusal(bytes: &[u8]) -> PluginError {
    let error = sandbox().load_projector(bytes).unwrap_err();
    assert_eq!(error.class(), crate::core::Class::Fault);
    error
}

#[test]
fn what_is_not_wasm_is_named() {
    assert_snapshot!(refusal(b""), @"the file is empty. Deploy the .wasm file that your build makes");
    assert_snapshot!(refusal(b"\x7fELF\x02\x01\x01 and so on"), @"the file is not WebAssembly: it is a native program or library (ELF). Deploy the .wasm file that your build makes");
    assert_snapshot!(refusal(b"\x1f\x8b\x08"), @"the file is not WebAssembly: it is compressed with gzip. Deploy the .wasm file that your build makes");
    assert_snapshot!(refusal(b"  (module)"), @"the file is WebAssembly text. Deploy the binary form of it");
    assert_snapshot!(refusal(b"<!DOCTYPE html>\n<title>404</title>"), @"the file is not WebAssembly: it is text that begins '<!DOCTYPE html>'. Deploy the .wasm file that your build makes");
    assert_snapshot!(refusal(&[0xde, 0xad, 0xbe, 0xef, 0x00]), @"the file is not WebAssembly: it begins with the bytes de ad be ef, not 00 61 73 6d");
}

#[test]
fn precompiled_code_is_refused() {
    let engine = wasmtime::Engine::default();
    let code = engine
        .precompile_component(&wat::parse_str("(component)").unwrap())
        .unwrap();
    assert_snapshot!(refusal(&code), @"the file is precompiled native code (.cwasm); loading code that somebody else compiled is unsafe, so that it is refused. Deploy the .wasm file that it was made from");
}

#[test]
fn half_a_file_is_said_to_be_cut_short() {
    let puppet = puppet_file();
    let error = refusal(&puppet[..puppet.len() / 2]).to_string();
    assert!(error.contains("it looks cut short"), "{error}");
    for bytes in [5, 100, puppet.len() - 1] {
        assert!(
            matches!(refusal(&puppet[..bytes]), PluginError::Invalid(_)),
            "{bytes} bytes"
        );
    }
}

#[test]
fn damaged_code_is_invalid() {
    let mut module = wat_guest::guest("", "", "");
    let end = module
        .windows(4)
        .position(|window| window == b"\x0f\x6a\x10\x00".as_slice());
    assert_eq!(end, None);
    // The body of `describe` is `i32.const 0, end`: make an unknown instruction of it.
    let body = module
        .windows(5)
        .position(|window| window == [4, 0, 0x41, 0, 0x0b])
        .unwrap();
    module[body + 2] = 0xff;
    let error = refusal(&module);
    assert!(
        matches!(error, PluginError::World(_) | PluginError::Invalid(_)),
        "{error}"
    );
}

#[test]
fn components_of_other_worlds_say_what_they_are() {
    assert_snapshot!(refusal(b"\0asm\x0d\0\x01\0"), @"the component is of another world: it exports nothing, and a plugin exports lamphouse:plugin/projector@0.1.0, lamphouse:plugin/packed-projector@0.1.0, lamphouse:plugin/upcaster@0.1.0 or lamphouse:plugin/packed-upcaster@0.1.0");
    let other = wat::parse_str(
        r#"(component (core module $m (func (export "run"))) (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run"))) (export "run" (func $run)))"#,
    );
    assert_snapshot!(refusal(&other.unwrap()), @"the component is of another world: it exports run, and a plugin exports lamphouse:plugin/projector@0.1.0, lamphouse:plugin/packed-projector@0.1.0, lamphouse:plugin/upcaster@0.1.0 or lamphouse:plugin/packed-upcaster@0.1.0");
    let both = wat::parse_str(
        r#"(component (instance $i) (export "lamphouse:plugin/upcaster@0.1.0" (instance $i))
        (export "lamphouse:plugin/projector@0.1.0" (instance $i)))"#,
    );
    assert_snapshot!(refusal(&both.unwrap()), @"the plugin exports both lamphouse:plugin/projector@0.1.0 and lamphouse:plugin/upcaster@0.1.0: a plugin is a projector or an upcaster. Make two plugins of it");
    let packed = wat::parse_str(
        r#"(component (instance $i) (export "lamphouse:plugin/packed-upcaster@0.1.0" (instance $i))
        (export "lamphouse:plugin/projector@0.1.0" (instance $i)))"#,
    );
    assert_snapshot!(refusal(&packed.unwrap()), @"the plugin exports both lamphouse:plugin/projector@0.1.0 and lamphouse:plugin/packed-upcaster@0.1.0: a plugin is a projector or an upcaster. Make two plugins of it");
    let newer = wat::parse_str(
        r#"(component (instance $i) (export "lamphouse:plugin/projector@0.9.0" (instance $i)))"#,
    );
    assert_snapshot!(refusal(&newer.unwrap()), @"the plugin exports lamphouse:plugin/projector@0.9.0, and this host serves version 0.1.0 of the contract. Build the plugin against that version, or use a host that serves its version");
}

#[test]
fn a_module_that_names_no_world_is_refused() {
    let module = wat::parse_str(r#"(module (func (export "main")))"#).unwrap();
    assert_snapshot!(refusal(&module), @"the file is a core WebAssembly module that does not say which world it is made for: it has no embedded component type, and exports no function of a world, such as lamphouse:plugin/packed-projector@0.1.0#project (it exports main). Build it with the Lamphouse SDK of its language or with wit-bindgen, and do not strip custom sections");
    let other = r#"(module (func (export "lamphouse:plugin/painter@0.1.0#paint")))"#;
    let error = refusal(&wat::parse_str(other).unwrap()).to_string();
    assert!(error.contains("lamphouse:plugin/painter@0.1.0#paint"), "{error}");
}

/// A module as a compiler leaves it that knows nothing of components: exports of the canonical ABI, WASI 0.1 at hand.
fn bare(interface: &str, functions: &str) -> Vec<u8> {
    let functions = functions.replace("IFACE", &format!("lamphouse:plugin/{interface}"));
    wat::parse_str(format!(
        r#"(module
            (import "lamphouse:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "_initialize") (i32.store8 (i32.const 4000) (i32.const 77)))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
            (data (i32.const 128) "bare" "2" "t" "n")
            {functions})"#
    ))
    .unwrap()
}

/// Describes itself as `bare` 2 with one table `t(n integer key)`, and says `M` in the log, as `_initialize` left it.
const PROJECTOR: &str = r#"
    (data (i32.const 0) "\80\00\00\00\04\00\00\00" "\84\00\00\00\01\00\00\00" "\00\04\00\00\01\00\00\00" "\c0\00\00\00\01\00\00\00")
    (data (i32.const 192) "\85\00\00\00\01\00\00\00" "\f0\00\00\00\01\00\00\00" "\00\04\00\00\01\00\00\00")
    (data (i32.const 240) "\86\00\00\00\01\00\00\00" "\01\00\00")
    (func (export "IFACE@0.1.0#describe") (result i32) (i32.const 0))
    (func (export "cabi_post_IFACE@0.1.0#describe") (param i32))
    (func (export "IFACE@0.1.0#project") (param i32 i32) (result i32)
        (drop (call $random (i32.const 3000) (i32.const 8)))
        (call $write (i32.const 2) (i32.const 4000) (i32.const 1))
        (i32.const 2048))"#;

/// Describes itself as `bare` 2 without a rule.
const UPCASTER: &str = r#"
    (data (i32.const 0) "\80\00\00\00\04\00\00\00" "\84\00\00\00\01\00\00\00")
    (func (export "IFACE@0.1.0#describe") (result i32) (i32.const 0))
    (func (export "IFACE@0.1.0#upcast") (param i32 i32) (result i32) (i32.const 2048))"#;

#[test]
fn a_module_whose_exports_name_a_world_is_of_it() {
    for (interface, lane) in [("projector", Lane::Typed), ("packed-projector", Lane::Packed)] {
        let plugin = sandbox().load_projector(&bare(interface, PROJECTOR)).unwrap();
        assert_eq!((plugin.descriptor().name.as_str(), plugin.lane()), ("bare", lane));
        let (_, report, result) = call(&plugin, &["Any"]);
        result.unwrap();
        assert_eq!(report.log[0].message, "M");
    }
    for interface in ["upcaster", "packed-upcaster"] {
        let module = bare(interface, UPCASTER);
        assert!(is_upcaster(&module));
        let error = sandbox().load(&module).unwrap_err();
        // It got as far as its descriptor.
        assert!(matches!(error, PluginError::Descriptor { .. }), "{error}");
    }
}

#[test]
fn a_module_of_a_world_that_is_not_ours_or_not_whole_says_so() {
    let newer = bare("packed-projector", &PROJECTOR.replace("@0.1.0", "@0.9.0"));
    assert_snapshot!(refusal(&newer), @"the plugin exports lamphouse:plugin/packed-projector@0.9.0, and this host serves version 0.1.0 of the contract. Build the plugin against that version, or use a host that serves its version");
    let half = bare("projector", &PROJECTOR.replace("#project", "#projects"));
    assert_snapshot!(refusal(&half), @"the core module does not fit the world projector-plugin, which its exports name: failed to decode world from module: module was not valid: failed to find export of interface `lamphouse:plugin/projector@0.1.0` function `project`");
    let both = PROJECTOR.replace("IFACE", "lamphouse:plugin/projector")
        + r#"(func (export "lamphouse:plugin/upcaster@0.1.0#upcast"))"#;
    assert_snapshot!(refusal(&bare("", &both)), @"the plugin exports both lamphouse:plugin/projector@0.1.0 and lamphouse:plugin/upcaster@0.1.0: a plugin is a projector or an upcaster. Make two plugins of it");
}

#[test]
fn a_module_that_does_not_fit_its_world_is_refused() {
    let module = wat::parse_str(r#"(module (memory (export "memory") 1))"#).unwrap();
    let module = wat_guest::embed(
        module,
        "world w { include lamphouse:plugin/projector-plugin@0.1.0; }",
    );
    let error = refusal(&module).to_string();
    assert!(
        error.starts_with("the core module does not fit the world that it was built for: "),
        "{error}"
    );
    assert!(error.contains("describe"), "{error}");
}

#[test]
fn forbidden_imports_are_named() {
    let http = wat_guest::guest(
        "import wasi:http/outgoing-handler@0.2.0;",
        r#"(import "wasi:http/outgoing-handler@0.2.0" "handle" (func (result i32)))"#,
        "",
    );
    assert_snapshot!(refusal(&http), @"the plugin imports wasi:http/outgoing-handler@0.2.0, which plugins do not get: there are lamphouse:plugin/tables and /log, and a WASI 0.2 without network, files and real time (cli, clocks, random, io, filesystem, sockets). Remove what needs it");
    let env = wat_guest::guest(
        "",
        r#"(import "env" "foo" (func)) (import "env" "bar" (func))"#,
        "",
    );
    assert_snapshot!(refusal(&env), @"the plugin imports env.foo, env.bar, which plugins do not get: there are lamphouse:plugin/tables and /log, and a WASI 0.2 without network, files and real time (cli, clocks, random, io, filesystem, sockets). Remove what needs it");
    let component = wat::parse_str(
        r#"(component (import "wasi:http/types@0.2.3" (instance)) (import "my:own/thing" (instance)) (import "plain" (func)))"#,
    );
    assert_snapshot!(refusal(&component.unwrap()), @"the plugin imports wasi:http/types@0.2.3, my:own/thing, plain, which plugins do not get: there are lamphouse:plugin/tables and /log, and a WASI 0.2 without network, files and real time (cli, clocks, random, io, filesystem, sockets). Remove what needs it");
}

#[test]
fn a_socket_links_and_is_denied() {
    // Ok is 0 in the first byte of the answer; the error's case follows: 1 is access-denied.
    let module = wat_guest::guest(
        "import wasi:sockets/tcp-create-socket@0.2.0;",
        r#"(import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $create (param i32 i32)))"#,
        "(call $create (i32.const 0) (i32.const 4096))
         (call $say (i64.load8_u (i32.const 4096))) (call $say (i64.add (i64.const 100) (i64.load8_u (i32.const 4100))))",
    );
    let plugin = sandbox().load_projector(&module).unwrap();
    let (tables, _, result) = call(&plugin, &["Any"]);
    result.unwrap();
    assert_snapshot!(tables.text(), @r#"
    [Integer(1)]
    [Integer(101)]
    "#);
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let limits = PluginLimits {
        plugin_bytes_max: 1000,
        ..small_limits()
    };
    let error = Sandbox::new(limits, None)
        .unwrap()
        .load_projector(&[0; 1001])
        .unwrap_err();
    assert_snapshot!(error, @"the plugin file has 1001 bytes, and 1000 bytes are allowed; raise [limits] plugin_bytes_max if it has to be that large");
}
