//! The `lamphouse` command.

use std::process::ExitCode;

/// Batches and rows are made on one thread and dropped on another, millions a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lamphouse::cli::run()
}
