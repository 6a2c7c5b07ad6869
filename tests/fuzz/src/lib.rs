//! Fuzz targets: a function each over any bytes, that panics where something does not hold.
//!
//! `cargo xtask fuzz` compiles the code behind them with counters, and runs the loop of `main.rs`: an input that reaches
//! an edge that no other reached is kept, and later inputs are made of it. What was worth keeping is in
//! `corpus/TARGET`; `tests/replay.rs` runs every target on its corpus in each ordinary test run.
//!
//! *Always:* a run of a target takes memory in proportion to its input, and little time ([`check`] holds it to both).
//!
//! libFuzzer would do the same with a C++ compiler, and a toolchain that is not the stable one for its flags; the
//! counters alone need neither.

pub mod coverage;
mod memory;
pub mod mutate;
mod targets;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub run: fn(&[u8]),
    /// Pieces that inputs are made of: words and tags that chance would take long to find.
    pub words: &'static [&'static [u8]],
    /// Longest input that is tried.
    pub bytes_max: usize,
    /// Memory in bytes that a run may have at a time, beside what its input gives reason for.
    pub memory_beside_max: usize,
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    targets::PACKED,
    targets::IMPORT_LINE,
    targets::DESCRIPTOR,
    targets::FIELDS,
];

/// Memory that a run may have at a time, for each byte of its input: a nil of one byte becomes a value of 24 bytes, in a
/// vector that is twice as long as it has to be, while its copy is made.
const MEMORY_PER_BYTE_MAX: usize = 256;
/// Time that a run may take; a thousand times of what it takes.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Runs a target on an input.
///
/// # Panics
/// Where something does not hold: of the target, of the memory or of the time that it took.
pub fn check(target: &Target, input: &[u8]) {
    let began = Instant::now();
    memory::start();
    (target.run)(input);
    let peak = memory::peak();
    let allowed = target.memory_beside_max + MEMORY_PER_BYTE_MAX * input.len();
    assert!(
        peak <= allowed,
        "{peak} bytes of memory for an input of {}; {allowed} are allowed",
        input.len()
    );
    let took = began.elapsed();
    assert!(took <= TIME_MAX, "{took:?} for an input of {} bytes", input.len());
}

/// `tests/fuzz/corpus/TARGET`.
pub fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}
