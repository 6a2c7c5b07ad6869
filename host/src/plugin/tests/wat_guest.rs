//! Guests in WebAssembly text, for what the Rust puppet cannot do: WASI, wrong imports, no exports.

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The parts of WASI that these guests import.
const WASI: &str = "
    package wasi:clocks@0.2.0 {
        interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
        interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable};
            now: func() -> u64;
            subscribe-duration: func(when: u64) -> pollable;
        }
    }
    package wasi:io@0.2.0 {
        interface poll { resource pollable { block: func(); ready: func() -> bool; } }
        interface error { resource error; }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
        }
    }
    package wasi:random@0.2.0 {
        interface random { get-random-u64: func() -> u64; }
        interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; }
    }
    package wasi:cli@0.2.0 {
        interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
        interface exit { exit: func(status: result); }
    }
    package wasi:sockets@0.2.0 {
        interface network {
            resource network;
            enum error-code {
                unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
                concurrency-conflict, not-in-progress, would-block, invalid-state,
                new-socket-limit, address-not-bindable, address-in-use, remote-unreachable,
                connection-refused, connection-reset, connection-aborted, datagram-too-large,
                name-unresolvable, temporary-resolver-failure, permanent-resolver-failure
            }
            enum ip-address-family { ipv4, ipv6 }
        }
        interface tcp { resource tcp-socket; }
        interface tcp-create-socket {
            use network.{error-code, ip-address-family};
            use tcp.{tcp-socket};
            create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
        }
    }
    package wasi:http@0.2.0 { interface outgoing-handler { handle: func() -> u32; } }
";

/// A core module of world `projector-plugin` with these further imports: `wit` are lines of a world, `core` the
/// module's own import fields, `project` the body of `project` (which then returns ok).
///
/// It declares one table `t(n integer key)`. `$say (value: i64)` puts a row of that key.
pub(super) fn guest(wit: &str, core: &str, project: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "lamphouse:plugin/tables@0.1.0" "put" (func $put (param i32 i32 i32)))
            {core}
            (memory (export "memory") 2)
            (global $free (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            ;; At 0: descriptor (name, version, subscriptions, tables, options), then what it points to.
            (data (i32.const 0) "\80\00\00\00\03\00\00\00" "\84\00\00\00\01\00\00\00" "\90\00\00\00\01\00\00\00" "\c0\00\00\00\01\00\00\00")
            (data (i32.const 128) "wat\00" "1")
            ;; At 144: one subscription to everything: 32 zeros. At 192: one table.
            (data (i32.const 192) "\86\00\00\00\01\00\00\00" "\f0\00\00\00\01\00\00\00" "\8c\00\00\00\01\00\00\00")
            (data (i32.const 134) "t")
            (data (i32.const 136) "n")
            ;; At 140: the primary key, column 0. At 240: the column.
            (data (i32.const 240) "\88\00\00\00\01\00\00\00" "\01\00\00")
            (func (export "lamphouse:plugin/projector@0.1.0#describe") (result i32) (i32.const 0))
            (func $say (param $value i64)
                (i32.store8 (i32.const 1024) (i32.const 2))
                (i64.store (i32.const 1032) (local.get $value))
                (call $put (i32.const 0) (i32.const 1024) (i32.const 1)))
            (func (export "lamphouse:plugin/projector@0.1.0#project") (param i32 i32) (result i32)
                {project}
                (i32.const 2048)))"#
    );
    let module = wat::parse_str(text).expect("the guest's text");
    let world = format!("world guest {{ include lamphouse:plugin/projector-plugin@0.1.0; {wit} }}");
    embed(module, &world)
}

/// Embeds a world into a core module, as language toolchains do.
pub(super) fn embed(mut module: Vec<u8>, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve
        .push_str("lamphouse.wit", include_str!("../../../../wit/lamphouse.wit"))
        .expect("the contract");
    let package = resolve
        .push_str("guest.wit", &format!("package test:guest;\n{WASI}\n{world}"))
        .expect("the world");
    let world = resolve.select_world(&[package], None).expect("one world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("a module");
    module
}
