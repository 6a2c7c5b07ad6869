//! `cargo xtask …`: the project's own commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{generate, guests, synthetic};

mod bench;
mod demo;
mod fuzz;
mod test;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The project's own commands",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the guests, start a PostgreSQL, run every test, and say what was skipped and why
    Test(test::Arguments),
    /// Build the plugins and the tests' guests into target/guests/NAME.wasm
    Guests {
        /// Only those whose name begins so
        only: Vec<String>,
        /// Say nothing of what is fresh
        #[arg(long, short)]
        quiet: bool,
    },
    /// Import a log, build its tables, drop a new version in under readers, and switch: the main job in two minutes
    Demo(demo::Arguments),
    /// Try inputs of all kinds on what reads what comes from outside, guided by what they reach
    Fuzz(fuzz::Arguments),
    /// Measure every target and print one table; or one thing by itself
    Bench(bench::Bench),
    /// Write an invented shop's order log as JSON Lines
    Generate {
        /// The benchmark's log instead: every event of 183 bytes, compressed
        #[arg(long)]
        synthetic: bool,
        /// Lines of the log
        #[arg(long, default_value_t = 500_000)]
        events: u64,
        /// The same seed gives the same log
        #[arg(long, default_value_t = 7)]
        seed: u64,
        /// The file to write; compressed when its name ends in .zst
        #[arg(long)]
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Guests { only, quiet } => guests::run(&guests::Options { only, quiet }).map(|()| true),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(what) => bench::run(&what),
        Command::Generate {
            synthetic: true,
            events,
            seed,
            output,
        } => synthetic::write_file(events, seed, &output).map(|()| true),
        Command::Generate {
            events, seed, output, ..
        } => generate::write_file(generate::Plan { events, seed }, &output).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
