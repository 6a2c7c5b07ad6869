//! The puppet: a guest that does what its events tell it, bad things included. One compiled file becomes any number of
//! versions.

use std::fs;

include!("../guests/puppet/patch.rs");

/// The puppet's bytes with these settings (see [`patch_puppet`]).
///
/// # Panics
/// When it has not been built.
pub fn puppet(settings: &[(&str, &str)]) -> Vec<u8> {
    let file = xtask::paths::guest("puppet").unwrap_or_else(|error| panic!("{error:#}"));
    patch_puppet(&fs::read(file).expect("the puppet's bytes"), settings)
}

/// A puppet of this name and version whose rows carry `stamp` in the column of that name, in the table of its name
/// (with `_` for `-`).
///
/// # Panics
/// When it has not been built.
pub fn named(name: &str, version: &str, stamp: &str) -> Vec<u8> {
    puppet(&[
        ("name", name),
        ("version", version),
        ("stamp", stamp),
        ("table", &name.replace('-', "_")),
    ])
}

/// A lifter of this name and version: an upcaster that does what its script says (keys in `tests/guests/lifter`).
///
/// # Panics
/// When it has not been built.
pub fn lifter(name: &str, version: &str, settings: &[(&str, &str)]) -> Vec<u8> {
    let file = xtask::paths::guest("lifter").unwrap_or_else(|error| panic!("{error:#}"));
    let mut all = vec![("name", name), ("version", version)];
    all.extend(settings);
    patch_puppet(&fs::read(file).expect("the lifter's bytes"), &all)
}
