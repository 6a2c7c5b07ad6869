#!/bin/sh
# Builds Rust's standard library for wasm32-unknown-unknown from Debian's sources into a private sysroot, for machines
# where rustup cannot add the target. Once, about a minute on 2 cores. `cargo xtask guests` calls it by itself.
#
#   RUSTC=/usr/bin/rustc xtask/wasm-sysroot.sh DIR
#
# Wants Debian's packages rustc-web and rust-web-src, and the linker that comes with rustup's own toolchain.
set -eu
dir=${1:?usage: wasm-sysroot.sh DIR}
RUSTC=${RUSTC:-/usr/bin/rustc}
export RUSTC
host=$("$RUSTC" -vV | sed -n 's/host: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
echo '#![no_std]' >"$work/src/lib.rs"
printf '[package]\nname="seed"\nversion="0.0.0"\nedition="2021"\n[profile.release]\npanic="abort"\n[workspace]\n' >"$work/Cargo.toml"
(
    cd "$work"
    # The one place where an unstable flag is used; plain cargo builds with what comes of it.
    PATH="$PATH:$(rustc --print sysroot)/lib/rustlib/$host/bin" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$work/target" \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-Cembed-bitcode=yes" \
        cargo build -q --release -Zbuild-std=std,panic_abort,proc_macro --target wasm32-unknown-unknown
)
# Whole or not at all: a sysroot that was cut off half-way must not be taken for one.
new=$dir.$$
lib=$new/lib/rustlib/wasm32-unknown-unknown/lib
mkdir -p "$lib"
ln -s "$("$RUSTC" --print sysroot)/lib/rustlib/$host" "$new/lib/rustlib/$host"
cp "$work"/target/wasm32-unknown-unknown/release/deps/*.rlib "$lib/"
rm -f "$lib"/libseed*
rm -rf "$dir"
mv "$new" "$dir"
