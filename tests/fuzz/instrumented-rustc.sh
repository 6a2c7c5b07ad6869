#!/bin/sh
# Cargo's RUSTC_WORKSPACE_WRAPPER for `cargo xtask fuzz`: compiles what is fuzzed with a counter on each edge, and all
# else as ever. The flags are stable ones; the counters' runtime is in src/coverage.rs.
case " $* " in
*" --crate-name lamphouse --edition"*"--crate-type lib"* | *" --crate-name lamphouse_contract --edition"*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-prune-blocks=0
    ;;
*) exec "$@" ;;
esac
