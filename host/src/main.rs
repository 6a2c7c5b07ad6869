//! The `lamphouse` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    lamphouse::cli::run()
}
